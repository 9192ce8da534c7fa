// The start page: payments, their callbacks, and faults by one click.

import { ask, exact, live, local, make, outcome, shillings } from "./common.js";

const TROUBLES = [
  ["The callback never comes", "The commonest complaint.", { outcome: "pay", callback_count: 0 }],
  ["The callback comes three times", "At the same moment.", { outcome: "pay", callback_count: 3 }],
  ["The callback overtakes the answer", "Paid before the push is answered.", { outcome: "pay", callback_before_response: true }],
  ["The answer is lost", "The push is accepted, the connection breaks.", { drop_response: true }],
  ["Busy, and yet it rings", "HTTP 500, and the phone gets its prompt.", { push_answer: "system_busy", reaches_phone: true }],
  ["Firewall page", "403 and HTML instead of JSON.", { push_answer: "firewall_403" }],
  ["Failed, then paid", "1037 first; ten seconds later the money moves.", { outcome: "ignore", paid_later_s: 10 }],
  ["A code that is text", "E3008: not a number, not a success.", { outcome: { code: "E3008", desc: "Error, the user has a bad debt contract." } }],
  ["Pays less than asked", "One shilling arrives.", { outcome: "pay", paid_amount: 1 }],
  ["Still processing, for long", "The query says 4999 for half an hour.", { outcome: "pay", callback_count: 0, query_stuck_s: 1975 }],
];

const byId = (id) => document.getElementById(id);
const said = byId("trouble-said");
const prepared = [];  // names of the troubles chosen here that still wait

byId("troubles").append(...TROUBLES.map(([name, why, script]) =>
  make("li", {}, make("button", { type: "button", class: "trouble", onclick: () => prepare(name, script) },
    make("strong", {}, name), make("span", {}, why)))));

async function prepare(name, script) {
  try {
    prepared.push(name);
    await ask("/control/scripts", script);
  } catch (error) {
    said.textContent = `That did not work: ${error.message}`;
  }
}

byId("trouble-forget").addEventListener("click", () => ask("/control/scripts/forget", {}));

byId("lost").addEventListener("click", () =>
  ask("/control/behaviour", { callbacks_lost: byId("lost").getAttribute("aria-pressed") !== "true" }));

function losing(yes) {
  byId("lost").setAttribute("aria-pressed", String(yes));
  byId("lost").textContent = yes ? "Callbacks are being lost. Deliver them from now on" : "Lose every callback";
  byId("callbacks-count").textContent = yes ? "every callback is being lost" : "";
}

function waiting(scripts) {
  if (scripts.length === 0) prepared.length = 0;
  byId("trouble-forget").hidden = scripts.length === 0;
  const named = prepared.length === scripts.length ? prepared.map((name) => `“${name}”`).join(", then ") : `${scripts.length} ${scripts.length === 1 ? "script" : "scripts"}`;
  const text = scripts.length === 0 ? "" : `Waiting for the next push: ${named}.`;
  if (said.textContent !== text) said.textContent = text;
}

function row(payment) {
  const { word, tone, told } = outcome(payment);
  return make("tr", {},
    make("td", {}, exact(payment.pushed_at)),
    make("td", {}, make("a", { href: `/phone/${payment.phone}` }, local(payment.phone))),
    make("td", { class: "number" }, shillings(payment.amount)),
    make("td", {}, payment.account_reference),
    make("td", {}, make("span", { class: `chip ${tone}` }, word), payment.result_desc ? make("small", {}, payment.result_desc) : null),
    make("td", {}, told));
}

live(["payments", "phones", "mail", "scripts", "behaviour"], async () => {
  const [payments, phones, mail, info, scripts, behaviour] = await Promise.all(
    ["payments", "phones", "mail", "info", "scripts", "behaviour"].map((name) => ask(`/control/${name}`)));
  waiting(scripts);
  losing(behaviour.callbacks_lost);
  byId("no-payments").hidden = payments.length > 0;
  byId("payments-box").hidden = payments.length === 0;
  byId("payments").replaceChildren(...payments.slice(0, 50).map(row));
  const ringing = phones.filter((phone) => phone.prompt);
  byId("phone-count").textContent = ringing.length
    ? `${ringing.length} waiting for a PIN`
    : phones.length ? `${phones.length} known, none is asked for a PIN` : "no phone was called yet";
  byId("phone-count").classList.toggle("ringing", ringing.length > 0);
  byId("mail-count").textContent = mail.length === 0 ? "empty" : mail.length === 1 ? "1 message" : `${mail.length} messages`;
  for (const place of document.querySelectorAll("[data-setting=base]")) place.textContent = location.origin;
  document.querySelector("[data-setting=smtp]").textContent = `smtp://127.0.0.1:${info.smtp_port}`;
});
