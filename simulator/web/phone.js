// One phone: shows its prompt, sends what the person decides, and lists the messages that follow.

import { ask, clock, day, exact, live, local, make, outcome, shillings } from "./common.js";

const number = location.pathname.split("/").pop();
const here = `/control/phones/${number}`;
const byId = (id) => document.getElementById(id);
const prompt = byId("prompt");
const pin = byId("pin");

let ahead = 0;            // how far the simulator's clock is ahead of this browser's
let shown = null;         // the prompt on the screen
let deadline = 0;
let answered = null;      // the prompt that was answered here and is not gone yet
let seenMessages = null;

document.title = `Phone ${local(number)}`;
for (const place of document.querySelectorAll("[data-number]")) place.textContent = local(number);

// --- The keypad ---

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "clear", "0", "back"];
const NAMES = { clear: ["C", "Clear"], back: ["⌫", "Delete the last digit"] };

byId("keypad").append(...KEYS.map((key) => {
  const [face, name] = NAMES[key] ?? [key, key];
  return make("button", { type: "button", class: NAMES[key] ? "key small" : "key", "aria-label": name, onclick: () => press(key) }, face);
}));

function press(key) {
  if (key === "clear") pin.value = "";
  else if (key === "back") pin.value = pin.value.slice(0, -1);
  else if (pin.value.length < 4) pin.value += key;
  typed();
}

function typed() {
  pin.value = pin.value.replace(/\D/g, "").slice(0, 4);
  byId("ok").disabled = pin.value.length !== 4;
}

pin.addEventListener("input", typed);
byId("pin-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (pin.value.length === 4) answer("pin", pin.value);
});
byId("cancel").addEventListener("click", () => answer("cancel"));

prompt.addEventListener("keydown", (event) => {
  if (event.key === "Escape") { event.preventDefault(); answer("cancel"); return; }
  if (/^\d$/.test(event.key) && event.target !== pin) { event.preventDefault(); press(event.key); return; }
  if (event.key === "Tab") keepInside(event);
});

function keepInside(event) {
  const stops = [...prompt.querySelectorAll("input, button:not(:disabled)")];
  const [first, last] = [stops[0], stops[stops.length - 1]];
  if (event.shiftKey && document.activeElement === first) { event.preventDefault(); last.focus(); }
  if (!event.shiftKey && document.activeElement === last) { event.preventDefault(); first.focus(); }
}

// --- What happens to people ---

const SAID = {
  pin: "Sent. Wait for the M-PESA message.",
  wrong_pin: "Sent with a wrong PIN.",
  no_funds: "Sent, with too little money.",
  fuliza: "Sent. Fuliza pays what is missing.",
  cancel: "Cancelled.",
  ignore: "The prompt went away by itself.",
};

for (const button of byId("fates").children) {
  button.addEventListener("click", () => answer(button.dataset.action));
}

async function answer(action, digits) {
  if (!shown) return;
  answered = shown;
  hide();
  toast(SAID[action]);
  try {
    await ask(`${here}/answer`, digits ? { action, pin: digits } : { action });
  } catch (error) {
    answered = null;
    toast(error.status === 409 ? "Too late: the prompt is gone." : "The network did not answer.");
  }
}

async function setBalance(amount) {
  byId("balance-problem").textContent = "";
  try {
    await ask(`${here}/balance`, { balance_kes: amount });
  } catch {
    byId("balance-problem").textContent = "A whole number from 0 to 500,000, the most an account may hold.";
  }
}

byId("balance-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const written = byId("new-balance").value;
  setBalance(/^\d+$/.test(written) ? Number(written) : null);
});
for (const button of document.querySelectorAll("[data-balance]")) {
  button.addEventListener("click", () => setBalance(Number(button.dataset.balance)));
}

// --- Paying by hand ---

function payees(merchants) {
  const place = byId("pay-to");
  if (place.children.length === merchants.length) return;
  place.replaceChildren(...merchants.map((one) =>
    make("option", { value: one.receives, "data-kind": one.kind }, `${one.name}, ${one.kind} ${one.receives}`)));
  kindOfPayee();
}

function kindOfPayee() {
  const isTill = byId("pay-to").selectedOptions[0]?.dataset.kind === "till";
  for (const part of document.querySelectorAll("[data-paybill]")) part.hidden = isTill;
}

byId("pay-to").addEventListener("change", kindOfPayee);
byId("pay-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [amount, way] = [byId("pay-amount").value.trim(), byId("pay-way").value];
  const canBePaid = (way === "bank" ? /^\d+(\.\d\d?)?$/ : /^\d+$/).test(amount) && amount > 0 && amount <= 250000;
  byId("pay-problem").textContent = canBePaid ? "" : "From 1 to 250,000 whole shillings; a bank's app also sends cents.";
  if (!canBePaid) return;
  const [shortcode, account] = [byId("pay-to").value, byId("pay-account").value];
  try {
    await ask("/control/account/pay", { msisdn: number, shortcode, amount_kes: amount, account, way });
    byId("pay-amount").value = "";
    toast("Paid.");
  } catch (error) {
    byId("pay-problem").textContent = error.status === 409 ? "There is too little money on this phone." : error.message;
  }
});

// --- The screen ---

function show(asked) {
  deadline = performance.now() + asked.left_s * 1000;
  byId("patience").max = asked.wait_s;
  if (shown === asked.checkout_request_id) return;
  shown = asked.checkout_request_id;
  byId("toolkit-text").textContent = asked.text;
  pin.value = "";
  typed();
  prompt.hidden = false;
  byId("home").inert = true;
  toast("");
  pin.focus({ preventScroll: true });
  document.title = `● Pay ${asked.business}? Phone ${local(number)}`;
  if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.([120, 80, 120]);
  enableFates(true);
}

function hide() {
  if (!shown) return;
  const hadFocus = prompt.contains(document.activeElement);
  shown = null;
  prompt.hidden = true;
  byId("home").inert = false;
  if (hadFocus) byId("main").focus({ preventScroll: true });
  document.title = `Phone ${local(number)}`;
  enableFates(false);
}

function enableFates(on) {
  for (const button of byId("fates").children) button.disabled = !on;
  byId("fate-hint").textContent = on ? "Instead of typing the PIN:" : "Wait for a prompt, then choose.";
}

let fading;
function toast(text) {
  const place = byId("toast");
  place.textContent = text;
  place.classList.toggle("visible", text !== "");
  clearTimeout(fading);
  fading = setTimeout(() => place.classList.remove("visible"), 4000);
}

function messages(list) {
  byId("quiet").hidden = list.length > 0;
  byId("messages").replaceChildren(...list.map((message, index) => {
    const isNew = seenMessages !== null && index < list.length - seenMessages;
    return make("li", { class: isNew ? "message new" : "message" },
      make("p", { class: "message-head" }, make("span", {}, "MPESA"), make("time", { datetime: message.at }, clock(message.at))),
      make("p", {}, message.text));
  }));
  if (seenMessages !== null && list.length > seenMessages) toast("");
  seenMessages = list.length;
}

function history(payments) {
  const mine = payments.filter((payment) => payment.phone === number).slice(0, 8);
  byId("no-history").hidden = mine.length > 0;
  byId("history").replaceChildren(...mine.map((payment) => {
    const { word, tone, told } = outcome(payment);
    return make("li", {},
      make("span", { class: `chip ${tone}` }, word),
      make("span", { class: "what" }, `${shillings(payment.amount)} for ${payment.account_reference}`),
      make("small", {}, `${exact(payment.pushed_at)} · ${payment.result_desc ? payment.result_desc.replace(/\.$/, "") + " · " : ""}${told}`));
  }));
}

function tick() {
  const now = Date.now() + ahead;
  for (const place of document.querySelectorAll("[data-clock]")) place.textContent = clock(now);
  for (const place of document.querySelectorAll("[data-date]")) place.textContent = day(now);
  if (shown) byId("patience").value = Math.max(0, (deadline - performance.now()) / 1000);
}
setInterval(tick, 250);

live(["phones", "payments"], async () => {
  const [phone, payments, info] = await Promise.all([ask(here), ask("/control/payments"), ask("/control/info")]);
  ahead = new Date(info.now) - Date.now();
  byId("balance").textContent = shillings(phone.balance);
  if (document.activeElement !== byId("new-balance")) byId("new-balance").value = phone.balance;
  messages(phone.messages);
  history(payments);
  payees(info.merchants);
  if (!phone.prompt) { answered = null; hide(); }
  else if (phone.prompt.checkout_request_id !== answered) show(phone.prompt);
  tick();
});
