/**
 * Phone numbers: read in every Kenyan form, sent in one form, shown in one form.
 * Only the form is checked. Safaricom knows whether it is an M-Pesa line.
 */

const FILLING = /[\s\-.()]/g;
const KENYAN = /^(?:\+?254|0)?([71]\d{8})$/;

/** "0712 345 678", "712345678", "+254 712…", "254712…" → "254712345678". Anything else → null. */
export function readPhone(text) {
  const found = KENYAN.exec(text.trim().replace(FILLING, ""));
  return found ? `254${found[1]}` : null;
}

/** "254712345678" → "0712 ••• 678": enough to recognise it. */
export function maskPhone(msisdn) {
  return `0${msisdn.slice(3, 6)} ••• ${msisdn.slice(-3)}`;
}
