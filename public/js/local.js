/**
 * On a developer's machine only: links to the simulator's virtual phone and mailbox.
 *
 * The simulator listens on port 8890; `?sim=PORT` names another one, remembered while the tab lives.
 */

import { keep, kept } from "./storage.js";

const NAME = "lipa.sim";
const CONVENTIONAL_PORT = "8890";
const LOCAL = ["127.0.0.1", "localhost"];

export function showLocalLinks() {
  if (!LOCAL.includes(location.hostname)) return;
  const named = new URLSearchParams(location.search).get("sim");
  if (named && /^\d{1,5}$/.test(named)) keep(NAME, named);
  for (const part of document.querySelectorAll("[data-local]")) part.hidden = false;
  for (const link of document.querySelectorAll("[data-local-mail]")) link.href = `${simulator()}/mail`;
  for (const link of document.querySelectorAll("[data-local-phone]")) link.href = `${simulator()}/phone`;
}

export function pointToVirtualPhone(msisdn) {
  if (!LOCAL.includes(location.hostname)) return;
  for (const link of document.querySelectorAll("[data-local-phone]")) link.href = `${simulator()}/phone/${msisdn}`;
}

function simulator() {
  return `http://127.0.0.1:${kept(NAME) ?? CONVENTIONAL_PORT}`;
}
