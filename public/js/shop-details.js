/**
 * Your shop's details for the receipt, the privacy notice and the refund policy. An empty detail is left out, or the
 * page shows its own words.
 */

export const SHOP = {
  name: "Duka la Mfano",
  company: "", // as registered, like "Duka la Mfano Ltd, PVT-ABC123"
  address: "", // "Kimathi Street 1, Nairobi"
  pin: "", // your KRA PIN, for the receipt: "P000000000A"
  email: "", // "privacy@dukalamfano.example"
  phone: "", // "0700 000 001"
  registration: "", // with the Data Commissioner, where you have one: "123-4567-89AB"
  database: "", // who keeps the database, and where: "Neon, Frankfurt"
};
