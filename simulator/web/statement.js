// The account of a paybill or till: its entries, and the files of a period.

import { ask, exact, live, local, make, shillings } from "./common.js";

const byId = (id) => document.getElementById(id);

const FILES = [
  ["a.xlsx", "Classic portal", ".xlsx", null],
  ["a.xls", "Classic portal", ".xls", null],
  ["a.csv", "Classic portal", ".csv", null],
  ["b.xlsx", "New portal", ".xlsx", null],
  ["b.csv", "New portal", ".csv", null],
  ["c.csv", "Daily file of the last day", ".csv", "till"],
  ["c-2019.csv", "Daily file of the last day", ".csv", "paybill"],
];
const CALLED = {
  payment: ["payment", "good"], organisation: ["from an organisation", "good"], charge: ["charge", ""], reversal: ["reversal", "bad"],
  sweep: ["sweep", ""], settlement: ["to the bank", ""], b2c: ["paid out", "bad"], other: ["other", ""],
};

const dayOf = (at) => new Date(at).toLocaleDateString("en-CA", { timeZone: "Africa/Nairobi" });
byId("first").value = byId("last").value = dayOf(Date.now());
byId("period").addEventListener("submit", (event) => event.preventDefault());
byId("period").addEventListener("change", () => refresh());

const query = (more) => new URLSearchParams({
  shortcode: byId("shortcode").value, first: byId("first").value, last: byId("last").value, ...more,
});

function accounts(merchants) {
  if (byId("shortcode").children.length === merchants.length) return;
  byId("shortcode").replaceChildren(...merchants.map((one) =>
    make("option", { value: one.receives, "data-kind": one.kind }, `${one.name}, ${one.kind} ${one.receives}`)));
}

function files() {
  const kind = byId("shortcode").selectedOptions[0].dataset.kind;
  byId("files").replaceChildren(...FILES.filter(([, , , only]) => only === null || only === kind).map(([form, name, ending]) =>
    make("li", {}, make("a", { class: "file", href: `/control/account/statement?${query({ form })}`, download: "" },
      make("strong", {}, ending), make("span", {}, name)))));
}

function row(entry) {
  const [word, tone] = entry.status === "Completed" ? CALLED[entry.kind] : [entry.status.toLowerCase(), "bad"];
  const who = /^254/.test(entry.payer) ? make("a", { href: `/phone/${entry.payer}` }, local(entry.payer)) : entry.name || "M-PESA";
  const sign = entry.kind === "payment" || entry.kind === "organisation" ? "" : "\u2212";
  return make("tr", {},
    make("td", {}, dayOf(entry.at) === byId("last").value ? exact(entry.at) : `${dayOf(entry.at)} ${exact(entry.at)}`),
    make("td", {}, who),
    make("td", { class: "number" }, sign + shillings(entry.amount)),
    make("td", {}, entry.account),
    make("td", {}, make("span", { class: `chip ${tone}` }, word), make("small", {}, entry.receipt + (entry.linked_receipt ? ` of ${entry.linked_receipt}` : "") + (entry.fuliza ? ", Fuliza" : ""))),
    make("td", {}, entry.can_be_reversed
      ? make("button", { type: "button", class: "undo", "aria-label": `Reverse ${entry.receipt}`, onclick: () => reverse(entry.receipt) }, "Reverse")
      : ""));
}

async function reverse(receipt) {
  byId("reverse-problem").textContent = "";
  try {
    await ask("/control/account/reverse", { shortcode: byId("shortcode").value, receipt });
  } catch (error) {
    byId("reverse-problem").textContent = `That did not work: ${error.message}.`;
  }
}

async function refresh() {
  accounts((await ask("/control/info")).merchants);
  const isPeriod = byId("first").value !== "" && byId("first").value <= byId("last").value;
  byId("period-problem").textContent = isPeriod ? "" : "The first day has to come before the last.";
  if (!isPeriod) return;
  files();
  const entries = await ask(`/control/account?${query()}`);
  byId("no-entries").hidden = entries.length > 0;
  byId("entries-box").hidden = entries.length === 0;
  byId("entries").replaceChildren(...entries.slice(0, 200).map(row));
}

live(["account", "behaviour"], refresh);
