/**
 * The three calls to the payment functions.
 *
 * An answer is definite or not:
 *   Problem   the functions refused. This attempt is over.
 *   NoAnswer  the request may have arrived or not (no network, a timeout, a broken gateway).
 *             Send it again with the same Idempotency-Key, never with a new one.
 */

const PUSH_URL = "/api/pay/stkpush";
const INVOICE_URL = "/api/pay/invoice";
const PUSH_TIMEOUT_MS = 40_000;
const STATUS_TIMEOUT_MS = 12_000;
const INVOICE_TIMEOUT_MS = 20_000;

/** Server errors after which nothing was sent to the phone. Every other 5xx is no answer. */
const DEFINITE_SERVER_ERRORS = new Set(["daraja_rejected", "unavailable", "misconfigured"]);
/** Limits of the functions. Any other 429 comes from in front of them and says nothing about this request. */
const DEFINITE_REFUSALS = new Set(["too_soon", "too_many", "too_often"]);
/** Client errors that say nothing about this request: too slow, too early, too often. */
const INDEFINITE_CLIENT_ERRORS = new Set([408, 425, 429]);

/** An RFC 9457 problem: `status`, `code`, `detail`, `errors` [{field, detail}], `retryAfterS`. */
export class Problem extends Error {
  constructor(status, body, retryAfterS) {
    super(body.detail || body.title || `HTTP ${status}`);
    this.status = status;
    this.code = body.code || "";
    this.detail = body.detail || "";
    this.errors = Array.isArray(body.errors) ? body.errors : [];
    this.retryAfterS = retryAfterS;
  }
}

export class NoAnswer extends Error {
  constructor(reason, retryAfterS = null) {
    super(reason);
    this.retryAfterS = retryAfterS;
  }
}

/** Asks for the prompt on the phone. `order` is the JSON body. */
export async function requestPush(order, idempotencyKey) {
  const { response, body } = await call(PUSH_URL, PUSH_TIMEOUT_MS, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey },
    body: JSON.stringify(order),
  });
  if (response.ok && body.status_url) {
    const { transaction_id: transactionId, status_url: statusUrl, poll_after_s: pollAfterS = 3 } = body;
    // without Daraja's id it is not known yet whether the prompt went out
    return { transactionId, statusUrl, pollAfterS, isUnclear: body.checkout_request_id === null };
  }
  throw refusal(response, body);
}

/** The payment now: `status`, `amount`, `message`, `mpesa_receipt_number`?, `next_action`?, `retry_after_s`? */
export async function readStatus(statusUrl) {
  const { response, body } = await call(statusUrl, STATUS_TIMEOUT_MS, {});
  if (response.ok && body.status) return body;
  throw refusal(response, body);
}

/** Asks for the invoice of a paid payment. The shop stores the address only if it has none yet. */
export async function requestInvoice(transactionId, email) {
  const { response, body } = await call(INVOICE_URL, INVOICE_TIMEOUT_MS, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ transaction_id: transactionId, customer_email: email }),
  });
  if (response.ok && body.transaction_id) return;
  throw refusal(response, body);
}

async function call(url, timeoutMs, options) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), timeoutMs);
  try {
    const headers = { Accept: "application/json", ...options.headers };
    const response = await fetch(url, { ...options, headers, cache: "no-store", signal: controller.signal });
    const text = await response.text();
    return { response, body: readJson(text) };
  } catch (error) {
    throw new NoAnswer(String(error));
  } finally {
    clearTimeout(timer);
  }
}

function refusal(response, body) {
  const { status } = response;
  const retryAfterS = Number.parseInt(response.headers.get("Retry-After"), 10) || null;
  const definite =
    DEFINITE_REFUSALS.has(body.code) ||
    DEFINITE_SERVER_ERRORS.has(body.code) ||
    (status >= 400 && status < 500 && !INDEFINITE_CLIENT_ERRORS.has(status));
  return definite ? new Problem(status, body, retryAfterS) : new NoAnswer(`HTTP ${status}`, retryAfterS);
}

/** The JSON object in `text`; an empty one if there is none (an HTML page, a cut answer). */
function readJson(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}
