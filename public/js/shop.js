/**
 * The demo shop: a basket of products and an amount of the customer's own, handed to the checkout.
 *
 * Replace this file with your own shop; the checkout needs only `basket()` and `onLeave()`.
 * A payment link fills the order: /?amount=1500&reference=INV2041
 */

import { Checkout } from "./checkout.js";
import { showLocalLinks } from "./local.js";
import { formatKes, readKes } from "./money.js";
import { forget, keep, kept } from "./storage.js";

const BASKET = "lipa.basket";
const REFERENCE = "lipa.reference";
const REFERENCE_FORM = /^[A-Za-z0-9]{1,12}$/;
const LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const MOST_OF_ONE = 20;
/** The API's limit for the text that describes a payment. */
const LONGEST_DESCRIPTION = 100;

const ownAmount = document.querySelector("#own-amount");
const lines = document.querySelector('[data-slot="lines"]');
const total = document.querySelector('[data-slot="total"]');
const empty = document.querySelector('[data-slot="empty"]');
const products = [...document.querySelectorAll("[data-product]")].map((card) => ({
  id: card.dataset.product,
  name: card.dataset.name,
  price: Number(card.dataset.price),
  stepper: addStepper(card),
}));

let quantities = {};

const checkout = new Checkout({
  page: document.querySelector("main"),
  root: document.querySelector("#checkout"),
  basket: () => ({ amount: sum(), reference: orderReference(), description: describe() }),
  onLeave: (order, closed) => {
    if (closed) newOrder();
  },
});

start();

function start() {
  showLocalLinks();
  takePaymentLink();
  const saved = kept(BASKET) ?? { quantities: {}, ownAmount: "" };
  quantities = saved.quantities;
  ownAmount.value = saved.ownAmount;
  ownAmount.addEventListener("input", update);
  update();
  checkout.resume();
}

/** Fills the order from the link, once: what the customer changes afterwards survives a reload. */
function takePaymentLink() {
  const query = new URLSearchParams(location.search);
  const reference = query.get("reference");
  if (query.has("amount")) keep(BASKET, { quantities: {}, ownAmount: query.get("amount") });
  if (reference && REFERENCE_FORM.test(reference)) keep(REFERENCE, reference);
  if (location.search) history.replaceState(null, "", location.pathname);
}

function update() {
  keep(BASKET, { quantities, ownAmount: ownAmount.value });
  lines.replaceChildren();
  for (const product of products) {
    const count = quantities[product.id] ?? 0;
    product.stepper.show(count);
    if (count > 0) lines.append(line(`${count} × ${product.name}`, count * product.price));
  }
  const own = readKes(ownAmount.value);
  if (own) lines.append(line("Another amount", own));
  empty.hidden = lines.children.length > 0;
  total.textContent = formatKes(sum() ?? 0);
  checkout.setTotal(sum());
}

/** Shillings to pay; null when the customer's own amount cannot be read. */
function sum() {
  const own = readKes(ownAmount.value);
  if (own === null) return null;
  return products.reduce((soFar, { id, price }) => soFar + (quantities[id] ?? 0) * price, own);
}

/** What is bought, for the invoice. The customer's phone shows its first 13 letters and digits. */
function describe() {
  const chosen = products.filter(({ id }) => quantities[id] > 0);
  return chosen.map(({ id, name }) => (quantities[id] > 1 ? `${quantities[id]} × ${name}` : name)).join(", ").slice(0, LONGEST_DESCRIPTION);
}

/** The same for every attempt to pay this order: double payments are found by it. */
function orderReference() {
  const reference = kept(REFERENCE) ?? Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => LETTERS[byte % LETTERS.length]).join("");
  keep(REFERENCE, reference);
  return reference;
}

function newOrder() {
  quantities = {};
  ownAmount.value = "";
  forget(REFERENCE);
  update();
}

function line(name, amount) {
  const item = document.createElement("li");
  const price = document.createElement("span");
  price.textContent = formatKes(amount);
  item.append(name, price);
  return item;
}

/** The buttons for less and more. They are made here because they need this script. */
function addStepper(card) {
  const { product, name } = card.dataset;
  const change = (by) => {
    quantities[product] = Math.min(Math.max((quantities[product] ?? 0) + by, 0), MOST_OF_ONE);
    update();
    if (quantities[product] === 0) more.focus();
  };
  const box = document.createElement("div");
  const count = document.createElement("span");
  const less = stepButton("−", `One ${name} less`, () => change(-1));
  const more = stepButton("+", `Add one ${name}`, () => change(1));
  box.className = "stepper";
  box.append(less, count, more);
  card.append(box);
  return {
    show(number) {
      count.textContent = String(number);
      count.hidden = less.hidden = number === 0;
      more.disabled = number === MOST_OF_ONE;
      card.classList.toggle("chosen", number > 0);
    },
  };
}

function stepButton(sign, label, onClick) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = sign;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", onClick);
  return button;
}
