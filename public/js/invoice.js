/**
 * The paid page's question for an e-mail address, where the order had none.
 *
 * The shop stores one address for a payment. This page asks until the shop has accepted one, and remembers that across a
 * reload: `attempt.invoice` is "asked" afterwards, and "unclear" while a request has no answer. The address itself is
 * neither stored here nor shown again.
 */

import { NoAnswer, Problem, requestInvoice } from "./api.js";
import { keepAttempt } from "./attempt.js";
import { isEmail, sentence } from "./form.js";

const ON_ITS_WAY = "The invoice is on its way to your e-mail address.";
const UNCLEAR =
  "We have not heard whether the shop got your request. You can send it again. If both arrive, the invoice goes to the address you gave first.";
const NO_ADDRESS = "Enter an e-mail address, like wanjiku@example.com";
const REFUSALS = {
  not_paid: "The shop cannot send an invoice: this payment no longer stands as paid.",
  too_often: "The invoice was sent three times today. Please look for it in your mail, also in the spam folder, or ask again tomorrow.",
  too_often_in_all: "The invoice was sent ten times and is not sent any more. Please look for it in your mail, also in the spam folder, or ask the shop.",
  too_many: "Many invoices were asked for from your connection. Please wait a while, or try another connection.",
  other: "The shop did not accept the request. Your payment is not affected.",
};
const UNAVAILABLE = "The shop cannot take the request right now. Your payment is not affected. Please try again in a few minutes.";

export class InvoiceRequest {
  #screens;
  #form;
  #field;
  #attempt = null;
  #sending = null;
  #onNotPaid;

  /** `onNotPaid()`: the payment is not paid any more, so its status must be read again. */
  constructor(screens, onNotPaid) {
    this.#screens = screens;
    this.#onNotPaid = onNotPaid;
    this.#form = screens.slot("invoice-form");
    this.#field = this.#form.querySelector("input");
    this.#field.addEventListener("input", () => this.#complain(""));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** Begins with another payment: empties the form and the note. */
  take(attempt) {
    this.#attempt = attempt;
    this.#field.value = "";
    this.#complain("");
    this.#show();
  }

  async #submit() {
    const attempt = this.#attempt;
    if (this.#sending === attempt || isSettled(attempt)) return;
    const email = this.#field.value.trim();
    if (!isEmail(email)) {
      this.#complain(NO_ADDRESS);
      return;
    }
    const before = attempt.invoice;
    this.#sending = attempt;
    this.#mark("unclear");
    this.#show("Sending…");
    let said;
    try {
      await requestInvoice(attempt.transactionId, email);
    } catch (error) {
      if (!(error instanceof Problem || error instanceof NoAnswer)) throw error;
      said = error;
    }
    if (this.#sending === attempt) this.#sending = null;
    if (attempt === this.#attempt) this.#tell(said, before);
  }

  /** `said`: nothing if the shop accepted; else the refusal, or that there was no answer. */
  #tell(said, before) {
    if (!said) {
      this.#mark("asked");
      this.#show();
      this.#screens.slot("invoice-note").focus({ preventScroll: true });
    } else if (said instanceof NoAnswer) {
      this.#show();
    } else {
      if (said.status < 500) this.#mark(before);
      this.#refused(said);
    }
  }

  #refused({ status, code, errors, retryAfterS }) {
    const detail = errors.find(({ field }) => field === "customer_email")?.detail;
    if (status === 422 && detail) {
      this.#show("");
      this.#complain(sentence(detail));
      return;
    }
    const waitingHelps = code !== "too_often" || retryAfterS;
    this.#show(status >= 500 ? UNAVAILABLE : REFUSALS[waitingHelps ? code : "too_often_in_all"] ?? REFUSALS.other);
    if (code === "not_paid") this.#onNotPaid();
  }

  #mark(invoice) {
    this.#attempt.invoice = invoice;
    keepAttempt(this.#attempt);
  }

  #show(note = isSettled(this.#attempt) ? ON_ITS_WAY : this.#attempt.invoice === "unclear" ? UNCLEAR : "") {
    this.#form.hidden = isSettled(this.#attempt);
    this.#screens.slot("invoice-note").textContent = note;
  }

  #complain(detail) {
    this.#screens.fill({ "invoice-error": detail });
    if (detail) {
      this.#field.setAttribute("aria-invalid", "true");
      this.#field.focus();
    } else this.#field.removeAttribute("aria-invalid");
  }
}

/** The shop has an address for this payment. */
function isSettled({ order, invoice }) {
  return Boolean(order.customer_email) || invoice === "asked";
}
