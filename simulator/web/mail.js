// The mailbox: a list that updates itself, and one message as HTML, text and headers. The address names the message (#id).

import { ask, clock, live, make } from "./common.js";

const byId = (id) => document.getElementById(id);
const TABS = ["html", "text", "headers"];

let mails = [];
let open = null;

function select(tab) {
  for (const name of TABS) {
    const on = name === tab;
    byId(`tab-${name}`).setAttribute("aria-selected", String(on));
    byId(`tab-${name}`).tabIndex = on ? 0 : -1;
    byId(`panel-${name}`).hidden = !on;
  }
}

for (const [position, name] of TABS.entries()) {
  const tab = byId(`tab-${name}`);
  tab.addEventListener("click", () => select(name));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    let next = position;
    do next = (next + step + TABS.length) % TABS.length; while (byId(`tab-${TABS[next]}`).disabled);
    select(TABS[next]);
    byId(`tab-${TABS[next]}`).focus();
  });
}

function name(address) {
  return address.replace(/\s*<.*>$/, "") || address;
}

function item(mail) {
  return make("li", {}, make("a", { href: `#${mail.id}`, class: "letter-row", "aria-current": mail.id === open ? "true" : null },
    make("span", { class: "letter-head" }, make("strong", {}, name(mail.from)), make("time", { datetime: mail.received_at }, clock(mail.received_at))),
    make("span", { class: "letter-subject" }, mail.subject || "(no subject)"),
    make("span", { class: "letter-to" }, `to ${mail.to.join(", ")}`, make("span", { class: "via" }, mail.via))));
}

function line(term, text) {
  return text ? make("div", {}, make("dt", {}, term), make("dd", {}, text)) : null;
}

function show(mail) {
  byId("letter").hidden = false;
  byId("none-open").hidden = true;
  document.body.classList.add("reading");
  if (open === mail.id) return;
  open = mail.id;
  byId("subject").textContent = mail.subject || "(no subject)";
  byId("envelope").replaceChildren(...[
    line("From", mail.from), line("To", mail.to.join(", ")), line("Reply to", mail.reply_to),
    line("Received", `${new Date(mail.received_at).toLocaleString("en-GB", { timeZone: "Africa/Nairobi" })} EAT, by ${mail.via === "smtp" ? "SMTP" : "SendGrid's API"}`),
  ].filter(Boolean));
  byId("tab-html").disabled = !mail.html;
  byId("tab-text").disabled = !mail.text;
  const frame = make("iframe", { id: "frame", sandbox: true, title: "The message as HTML" });
  if (mail.html) frame.src = `/mail/${encodeURIComponent(mail.id)}/html`;
  byId("frame").replaceWith(frame);
  byId("text").textContent = mail.text ?? "";
  byId("headers").textContent = mail.headers.map(([header, value]) => `${header}: ${value}`).join("\n");
  select(mail.html ? "html" : mail.text ? "text" : "headers");
}

function close() {
  open = null;
  byId("letter").hidden = true;
  byId("none-open").hidden = mails.length === 0;
  document.body.classList.remove("reading");
}

function draw() {
  const wanted = mails.find((mail) => `#${mail.id}` === location.hash);
  if (wanted) show(wanted);
  else close();
  byId("list").replaceChildren(...mails.map(item));
  byId("count").textContent = mails.length === 0
    ? "Empty. What the shop sends by SendGrid or SMTP arrives here, and nowhere else."
    : mails.length === 1 ? "1 message" : `${mails.length} messages`;
  document.title = mails.length ? `Mailbox (${mails.length})` : "Mailbox";
}

addEventListener("hashchange", () => {
  draw();
  if (open) byId("subject").focus();
  else byId("main").focus();
});

live(["mail"], async () => {
  mails = await ask("/control/mail");
  if (!location.hash && mails.length && matchMedia("(min-width: 56rem)").matches) history.replaceState(null, "", `#${mails[0].id}`);
  draw();
});
