// All phones that were called, the one that rings first.

import { ask, clock, live, local, make, msisdn, shillings } from "./common.js";

const byId = (id) => document.getElementById(id);

byId("open").addEventListener("submit", (event) => {
  event.preventDefault();
  const number = msisdn(byId("number").value);
  byId("number-problem").textContent = number ? "" : "That is no Kenyan mobile number: 07…, 01… or 254…";
  byId("number").setAttribute("aria-invalid", String(!number));
  if (number) location.assign(`/phone/${number}`);
});

function ringing(phone) {
  return make("a", { class: "ring", href: `/phone/${phone.msisdn}` },
    make("span", { class: "ring-icon", "aria-hidden": "true" }),
    make("span", { class: "ring-words" },
      make("strong", {}, `${local(phone.msisdn)} is asked to pay`),
      make("span", {}, phone.prompt.text)),
    make("span", { class: "ring-go" }, "Pick up"));
}

function card(phone) {
  const last = phone.messages[0];
  return make("li", {}, make("a", { href: `/phone/${phone.msisdn}`, class: "phone-card" },
    make("strong", {}, local(phone.msisdn)),
    make("span", { class: "phone-balance" }, shillings(phone.balance)),
    make("span", { class: "phone-last" }, last ? last.text : "No message yet"),
    make("time", { datetime: phone.last_used_at }, clock(phone.last_used_at))));
}

live(["phones"], async () => {
  const phones = await ask("/control/phones");
  const asked = phones.filter((phone) => phone.prompt);
  byId("ringing").replaceChildren(...asked.map(ringing));
  byId("phones").replaceChildren(...phones.filter((phone) => !phone.prompt).map(card));
  byId("none").hidden = phones.length > 0;
  document.title = asked.length ? `(${asked.length}) Virtual phones` : "Virtual phones";
});
