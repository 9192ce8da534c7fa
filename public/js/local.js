/**
 * On a developer's machine only: links to the simulator's virtual phone and mailbox.
 *
 * The simulator listens on port 8890; `?sim=PORT` names another one, remembered while the tab lives.
 */

const CONVENTIONAL_PORT = "8890";
const NAME = "lipa.sim";

if (["127.0.0.1", "localhost"].includes(location.hostname)) showLocalLinks();

function showLocalLinks() {
  const named = new URLSearchParams(location.search).get("sim") ?? remembered();
  remember(named);
  const simulator = `http://127.0.0.1:${/^\d{1,5}$/.test(named) ? named : CONVENTIONAL_PORT}`;
  for (const part of document.querySelectorAll("[data-local]")) part.hidden = false;
  for (const link of document.querySelectorAll("[data-local-mail]")) link.href = `${simulator}/mail`;
  for (const link of document.querySelectorAll("[data-local-phone]")) link.href = `${simulator}/phone`;
}

function remembered() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

function remember(port) {
  try {
    sessionStorage.setItem(NAME, port);
  } catch {
    // this browser stores nothing: the usual port
  }
}
