/**
 * Who the shop is, for the receipt, the privacy notice and the refund policy. Write your own details here; what is
 * empty is left out, or shows the page's own words instead.
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
