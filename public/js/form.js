/**
 * The checkout form: reads it, shows its errors, and disables the button while a payment has to wait.
 *
 * Inputs are found by `name`, the same names as in the API, so an error of the server finds its field.
 */

import { LARGEST_KES, SMALLEST_KES, formatKes } from "./money.js";
import { readPhone } from "./phone.js";

const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;
const LANGUAGES = ["en", "sw"]; // that the shop writes in

export class CheckoutForm {
  #root;
  #form;
  #alert;
  #button;
  #readyLabel = "Pay";
  #holdTimer = null;

  /** `root` contains the form, and perhaps fields outside of it (the customer's own amount). */
  constructor(root) {
    this.#root = root;
    this.#form = root.querySelector('[data-slot="form"]');
    this.#alert = root.querySelector('[data-slot="alert"]');
    this.#button = root.querySelector('[data-slot="pay"]');
    root.addEventListener("input", ({ target }) => {
      this.#showFieldError(target.name, "");
      if (target.name === "phone_number") this.#release();
    });
  }

  onSubmit(handler) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.#button.disabled) handler();
    });
  }

  /** The API's JSON body for this basket; null after showing the errors. */
  read({ amount, reference, description }) {
    const value = (name) => this.#field(name).value.trim();
    const phone = readPhone(value("phone_number"));
    const email = value("customer_email");
    const errors = [];
    if (amount === null) errors.push({ field: "amount", detail: "Enter a whole number of shillings, like 1500" });
    else if (amount < SMALLEST_KES) errors.push({ field: "amount", detail: "Choose something, or enter an amount" });
    else if (amount > LARGEST_KES) errors.push({ field: "amount", detail: `M-Pesa takes at most ${formatKes(LARGEST_KES)} at once` });
    if (phone === null) errors.push({ field: "phone_number", detail: "Enter a Kenyan mobile number, like 0712 345 678" });
    if (email && !isEmail(email)) errors.push({ field: "customer_email", detail: "Enter an e-mail address, like wanjiku@example.com" });
    if (errors.length > 0) {
      this.refuse({ title: "Please check what you entered", text: "", errors });
      return null;
    }
    const order = { phone_number: phone, amount, account_reference: reference };
    if (description) order.transaction_desc = description;
    if (value("customer_name")) order.customer_name = value("customer_name");
    if (email) order.customer_email = email;
    const lang = document.documentElement.lang.toLowerCase().split("-")[0];
    if (LANGUAGES.includes(lang)) order.lang = lang;
    return order;
  }

  /** Restores an earlier order's details in the fields that are empty. */
  fill(order) {
    for (const name of ["phone_number", "customer_name", "customer_email"]) {
      const field = this.#field(name);
      if (!field.value && order[name]) field.value = order[name].replace(/^254(?=\d{9}$)/, "0");
    }
  }

  /** Shows a problem above the form and at its fields, and moves the focus there. */
  refuse({ title, text, errors }) {
    this.clear();
    this.#alert.append(element("p", title, "alert-title"));
    if (text) this.#alert.append(element("p", text));
    if (errors.length > 0) {
      const list = document.createElement("ul");
      for (const { field, detail } of errors) list.append(this.#errorLine(field, sentence(detail)));
      this.#alert.append(list);
    }
    this.#alert.hidden = false;
    this.#alert.focus();
    this.#alert.scrollIntoView({ block: "nearest" });
  }

  clear() {
    this.#alert.replaceChildren();
    this.#alert.hidden = true;
    for (const slot of this.#root.querySelectorAll("[data-error-for]")) this.#showFieldError(slot.dataset.errorFor, "");
  }

  setTotal(amount) {
    this.#readyLabel = amount ? `Pay ${formatKes(amount)}` : "Pay";
    if (!this.#holdTimer) this.#button.textContent = this.#readyLabel;
  }

  /** Disables the button for `seconds` and counts them down on it. Another phone number need not wait. */
  hold(seconds) {
    this.#release();
    const until = Date.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      if (left <= 0) this.#release();
      else this.#button.textContent = `Pay again in ${clock(left)}`;
    };
    this.#button.disabled = true;
    this.#holdTimer = setInterval(tick, 1000);
    tick();
  }

  #release() {
    clearInterval(this.#holdTimer);
    this.#holdTimer = null;
    this.#button.disabled = false;
    this.#button.textContent = this.#readyLabel;
  }

  #field(name) {
    return this.#root.querySelector(`[name="${name}"]`);
  }

  #errorLine(name, detail) {
    const line = document.createElement("li");
    const field = this.#field(name);
    if (!field) {
      line.textContent = detail;
      return line;
    }
    this.#showFieldError(name, detail);
    const link = element("a", detail);
    link.href = `#${field.id}`;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      field.focus();
    });
    line.append(link);
    return line;
  }

  #showFieldError(name, detail) {
    const slot = name && this.#root.querySelector(`[data-error-for="${name}"]`);
    if (!slot) return;
    slot.textContent = detail;
    slot.hidden = !detail;
    if (detail) this.#field(name).setAttribute("aria-invalid", "true");
    else this.#field(name).removeAttribute("aria-invalid");
  }
}

/** Whether it looks like an e-mail address. The server decides. */
export function isEmail(text) {
  return EMAIL.test(text);
}

/** 75 → "1:15" */
export function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** The server's "must be a whole number" → "Must be a whole number". */
export function sentence(detail) {
  return detail.charAt(0).toUpperCase() + detail.slice(1);
}

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}
