/**
 * The rows of the paid page's receipt: those of the e-mailed invoice, as far as this page knows them.
 *
 * The time is the status answer's `updated_at`, which changes only with the status: for a paid payment, when it was paid,
 * also if its receipt number came later. It is shown in Nairobi's time.
 */

import { formatKes } from "./money.js";

const NAIROBI = { timeZone: "Africa/Nairobi" };
const DAY = new Intl.DateTimeFormat("en-GB", { ...NAIROBI, day: "numeric", month: "long", year: "numeric" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { ...NAIROBI, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** {blank: text} for a paid payment, from the status answer and the order that this page sent. "" is left out. */
export function receiptOf(status, order) {
  return {
    customer: order.customer_name ?? "",
    description: order.transaction_desc ?? `Order ${status.account_reference}`,
    "paid-at": inNairobi(status.updated_at),
    receipt: status.mpesa_receipt_number ?? "To follow",
    amount: formatKes(status.amount),
  };
}

/** "2026-11-22T22:29:59Z" → "23 November 2026, 01:29 EAT". Anything else → "". */
function inNairobi(instant) {
  const moment = new Date(instant ?? "");
  return Number.isNaN(moment.getTime()) ? "" : `${DAY.format(moment)}, ${MINUTE.format(moment)} EAT`;
}
