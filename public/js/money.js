/**
 * Amounts: whole Kenyan shillings, 1 to 250,000 (M-Pesa's limit for one transaction).
 * The server is the authority; these checks only save the customer a round trip.
 */

export const SMALLEST_KES = 1;
export const LARGEST_KES = 250_000;

/** 1500 or "1500.00" → "KES 1,500". */
export function formatKes(amount) {
  return `KES ${Math.round(Number(amount)).toLocaleString("en-KE")}`;
}

/** "1,500", "1 500", "KES 1500" → 1500. Empty → 0. Anything else → null. */
export function readKes(text) {
  const digits = text.trim().replace(/^kes\s*/i, "").replace(/[,\s]/g, "");
  if (digits === "") return 0;
  return /^\d{1,7}$/.test(digits) ? Number(digits) : null;
}
