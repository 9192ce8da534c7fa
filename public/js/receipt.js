/**
 * What the paid page's receipt says, row by row: the same as the e-mailed invoice, as far as this page knows it.
 *
 * The time is the status answer's `updated_at`, which moves with the status alone: of a paid payment it is when it was
 * paid, also after its M-Pesa receipt number came later. It is told in Nairobi's time, wherever the customer is.
 */

import { formatKes } from "./money.js";

const NAIROBI = { timeZone: "Africa/Nairobi" };
const DAY = new Intl.DateTimeFormat("en-GB", { ...NAIROBI, day: "numeric", month: "long", year: "numeric" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { ...NAIROBI, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** {blank: text} for a paid payment as the server tells it and the order as this page sent it. "" is left out. */
export function receiptOf(status, order) {
  return {
    customer: order.customer_name ?? "",
    description: order.transaction_desc ?? `Order ${status.account_reference}`,
    "paid-at": inNairobi(status.updated_at),
    receipt: status.mpesa_receipt_number ?? "To follow",
    amount: formatKes(status.amount),
  };
}

/** "2026-11-22T22:29:59Z" → "23 November 2026, 01:29 EAT". What is no time → "". */
function inNairobi(instant) {
  const moment = new Date(instant ?? "");
  return Number.isNaN(moment.getTime()) ? "" : `${DAY.format(moment)}, ${MINUTE.format(moment)} EAT`;
}
