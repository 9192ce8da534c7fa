/**
 * One payment, from the form to its end.
 *
 *   form → sending → waiting → paid | failed | under review | refunded
 *             ↓         ↓
 *       unreachable   stopped (no answer after five minutes; the customer can look again)
 *
 * An attempt has one Idempotency-Key, also when it is repeated or continued after a reload. Only the server says that a
 * payment failed; if it is paid after all, the page shows that. A new attempt begins only when the customer asks for it,
 * after the status of the earlier one was read once more.
 */

import { NoAnswer, Problem, readStatus, requestPush } from "./api.js";
import { forgetAttempt, keepAttempt, keptAttempt, newAttempt } from "./attempt.js";
import { CheckoutForm, clock } from "./form.js";
import { InvoiceRequest } from "./invoice.js";
import { pointToVirtualPhone } from "./local.js";
import { formatKes } from "./money.js";
import { Pause } from "./pause.js";
import { maskPhone } from "./phone.js";
import { wordsFor } from "./problems.js";
import { receiptOf } from "./receipt.js";
import { Screens } from "./screens.js";

const PATIENCE_MS = 5 * 60_000;
const OFFER_HELP_AFTER_S = 30;
const LONGEST_PAUSE_S = 60;
/** A longer wait is named, not counted down. */
const HOLDS_AT_MOST_S = 15 * 60;
/** How often an answer that may still change is read again: a receipt that follows, a late success. */
const SETTLING_PAUSE_S = { paid: 10, under_review: 15, failed: 20 };

export class Checkout {
  #basket;
  #onLeave;
  #screens;
  #form;
  #invoice;
  #attempt = null;
  #pause = new Pause();
  #run = 0;

  /**
   * `basket()` → {amount, reference, description} of the order to pay.
   * `onLeave(order, closed)`: the customer goes back to the shop; `closed` when this order must not be paid again.
   */
  constructor({ page, root, basket, onLeave }) {
    this.#basket = basket;
    this.#onLeave = onLeave;
    this.#screens = new Screens(root);
    this.#form = new CheckoutForm(page);
    this.#form.onSubmit(() => this.#submit());
    this.#invoice = new InvoiceRequest(this.#screens, () => this.#follow(0));
    root.addEventListener("click", (event) => this.#act(event.target.closest("[data-action]")?.dataset.action));
    window.addEventListener("online", () => this.#wakeUnlessTooOld());
    document.addEventListener("visibilitychange", () => document.hidden || this.#wakeUnlessTooOld());
    setInterval(() => this.#tick(), 1000);
  }

  setTotal(amount) {
    this.#form.setTotal(amount);
  }

  /** Continues what a reload interrupted. */
  resume() {
    const attempt = keptAttempt();
    if (!attempt) return;
    this.#take(attempt);
    if (attempt.statusUrl) {
      this.#screens.show("checking");
      this.#follow(0);
    } else {
      this.#send();
    }
  }

  // What the customer does ------------------------------------------------------------------------------------------

  #submit() {
    if (this.#screens.shown !== "form") return;
    const order = this.#form.read(this.#basket());
    if (order) this.#pay(order);
  }

  #act(action) {
    if (action === "wake") this.#pause.wake();
    if (action === "check") this.#checkAgain();
    if (action === "retry") this.#unlessSettledSince(() => this.#pay(this.#attempt.order));
    if (action === "edit") this.#unlessSettledSince(() => this.#backToForm());
    if (action === "leave") this.#leave();
    if (action === "print") window.print();
  }

  #pay(order) {
    this.#form.clear();
    this.#take(newAttempt(order));
    this.#send();
  }

  #checkAgain() {
    this.#screens.show("checking");
    this.#follow(0);
  }

  /** A payment that failed can still succeed late, so it is asked about before anything new is sent. */
  async #unlessSettledSince(goOn) {
    const run = this.#begin();
    this.#screens.show("checking");
    const { status } = await this.#ask();
    if (run !== this.#run) return;
    if (!status || status.status === "failed") goOn();
    else {
      this.#present(status);
      this.#follow(this.#attempt.pollAfterS);
    }
  }

  #leave() {
    const closed = ["paid", "under-review", "refunded"].includes(this.#screens.shown);
    const { order } = this.#attempt;
    this.#backToForm();
    this.#onLeave(order, closed);
  }

  // What happens ----------------------------------------------------------------------------------------------------

  /** Sends the request until it has a definite answer. */
  async #send() {
    const run = this.#begin();
    const attempt = this.#attempt;
    if (this.#isOld()) await this.#holdUnreachable(Infinity);
    for (let tries = 1; run === this.#run; tries += 1) {
      if (this.#screens.shown !== "unreachable") this.#screens.show("sending");
      try {
        const accepted = await requestPush(attempt.order, attempt.key);
        if (run !== this.#run) return;
        Object.assign(attempt, accepted);
        keepAttempt(attempt);
        this.#screens.show("waiting");
        await this.#follow(attempt.pollAfterS);
        return;
      } catch (error) {
        if (run !== this.#run) return;
        if (error instanceof Problem) {
          this.#refused(error);
          return;
        }
        if (!(error instanceof NoAnswer)) throw error;
        await this.#holdUnreachable(this.#isOld() ? Infinity : error.retryAfterS ?? Math.min(2 ** tries, 30));
      }
    }
  }

  /** Waits on the "cannot reach" screen. An old request is sent only if the customer asks: its prompt would surprise. */
  async #holdUnreachable(seconds) {
    this.#screens.show("unreachable");
    const again = Date.now() + seconds * 1000;
    this.#screens.slot("leave-unreachable").hidden = Number.isFinite(seconds);
    const tell = () => {
      const left = Math.max(0, Math.ceil((again - Date.now()) / 1000));
      this.#screens.fill({ "next-try": Number.isFinite(seconds) ? `Next try in ${clock(left)}` : "Try again when you are back online." });
    };
    tell();
    const ticking = setInterval(tell, 1000);
    await this.#pause.for(seconds);
    clearInterval(ticking);
    this.#screens.fill({ "next-try": "Trying…" });
  }

  /**
   * Asks for the status until it is final or another run begins. After five minutes it asks only when the customer
   * returns to the page.
   */
  async #follow(firstPauseS) {
    const run = this.#begin();
    for (let pauseS = firstPauseS; ; ) {
      if (pauseS > 0) await this.#pause.for(pauseS);
      if (run !== this.#run) return;
      const answer = await this.#ask();
      if (run !== this.#run) return;
      if (answer.missing) this.#screens.show("missing");
      else if (answer.status) this.#present(answer.status);
      else this.#presentSilence();
      if (answer.missing || isLast(answer.status)) return;
      pauseS = this.#isOld() ? Infinity : this.#nextPause(answer);
    }
  }

  /** {status} as the server says, {missing: true}, or neither when there was no answer. */
  async #ask() {
    try {
      return { status: await readStatus(this.#attempt.statusUrl) };
    } catch (error) {
      if (error instanceof Problem) return { missing: true };
      if (error instanceof NoAnswer) return { retryAfterS: error.retryAfterS };
      throw error;
    }
  }

  /** What the server asked for, but slower after a minute: it asks M-Pesa when the page asks it. */
  #nextPause({ status, retryAfterS }) {
    const age = this.#age();
    const shortest = age > 60 ? 5 : status ? 1 : 3;
    const wished = SETTLING_PAUSE_S[status?.status] ?? status?.retry_after_s ?? retryAfterS ?? this.#attempt.pollAfterS;
    return Math.min(Math.max(wished, shortest), LONGEST_PAUSE_S);
  }

  // What the customer sees ------------------------------------------------------------------------------------------

  #present(status) {
    const receipt = status.mpesa_receipt_number;
    const pending = status.status === "pending";
    const name = pending ? (this.#isOld() ? "stopped" : "waiting") : status.status.replace("_", "-");
    const words = [status.message, status.next_action].filter(Boolean);
    this.#screens.fill({
      reference: status.account_reference,
      message: status.message ?? "",
      "next-action": status.next_action ?? "",
      ...receiptOf(status, this.#attempt.order),
    });
    this.#screens.slot("receipt-row").hidden = !receipt;
    this.#screens.show(name);
    this.#screens.fill({
      note: {
        waiting: this.#attempt.isUnclear ? words.join(" ") : "",
        stopped: `Last checked at ${timeOfDay()}.`,
        paid: receipt ? "" : "M-Pesa has confirmed the payment. Its receipt number is still on the way.",
        "under-review": `Last checked at ${timeOfDay()}.`,
      }[name] ?? "",
    });
  }

  #presentSilence() {
    if (this.#isOld() && ["checking", "waiting", "stopped"].includes(this.#screens.shown)) {
      this.#screens.show("stopped");
      this.#screens.fill({ note: `The shop could not be reached at ${timeOfDay()}.` });
      return;
    }
    if (this.#screens.shown === "checking") this.#screens.show("waiting");
    if (this.#screens.shown === "waiting") {
      this.#screens.fill({ note: "No connection right now. We keep trying; your payment is not affected." });
    }
  }

  #refused(problem) {
    this.#backToForm();
    this.#form.refuse(wordsFor(problem));
    const waitS = problem.retryAfterS ?? 30;
    if (["too_soon", "too_many"].includes(problem.code) && waitS <= HOLDS_AT_MOST_S) this.#form.hold(waitS);
  }

  #backToForm() {
    this.#begin();
    const attempt = this.#attempt;
    this.#attempt = null;
    forgetAttempt();
    this.#screens.show("form");
    if (attempt) this.#form.fill(attempt.order);
  }

  #tick() {
    if (this.#screens.shown !== "waiting" || !this.#attempt) return;
    this.#screens.fill({ elapsed: clock(Math.floor(this.#age())) });
    const help = this.#screens.slot("help");
    if (this.#age() > OFFER_HELP_AFTER_S && !help.dataset.offered) {
      help.dataset.offered = "yes";
      help.open = true;
    }
  }

  // Helpers ---------------------------------------------------------------------------------------------------------

  #take(attempt) {
    this.#attempt = attempt;
    const { order } = attempt;
    this.#screens.fill({
      amount: formatKes(order.amount),
      phone: maskPhone(order.phone_number),
      reference: order.account_reference,
      elapsed: clock(Math.floor(this.#age())),
    });
    this.#invoice.take(attempt);
    delete this.#screens.slot("help").dataset.offered;
    this.#screens.slot("help").open = false;
    pointToVirtualPhone(order.phone_number);
  }

  /** Ends the run before this one: it finds another number. */
  #begin() {
    this.#run += 1;
    this.#pause.wake();
    return this.#run;
  }

  #age() {
    return Math.max(0, (Date.now() - this.#attempt.startedAt) / 1000);
  }

  #isOld() {
    return this.#age() * 1000 > PATIENCE_MS;
  }

  #wakeUnlessTooOld() {
    if (this.#attempt && (this.#attempt.statusUrl || !this.#isOld())) this.#pause.wake();
  }
}

function isLast(status) {
  return status?.status === "refunded" || (status?.status === "paid" && Boolean(status.mpesa_receipt_number));
}

function timeOfDay() {
  return new Date().toLocaleTimeString("en-KE", { hour: "2-digit", minute: "2-digit", hour12: false });
}
