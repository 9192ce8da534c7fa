/**
 * One attempt to pay: the request, its Idempotency-Key, and where its status can be read.
 *
 * It is kept before the request leaves, so that a reload repeats the same attempt instead of making a second one.
 * The key is new for each attempt and the same for every repetition of it.
 */

import { forget, keep, kept } from "./storage.js";

const NAME = "lipa.attempt";

export function newAttempt(order) {
  const attempt = { key: randomKey(), order, startedAt: Date.now(), statusUrl: null };
  keep(NAME, attempt);
  return attempt;
}

export const keepAttempt = (attempt) => keep(NAME, attempt);
export const keptAttempt = () => kept(NAME);
export const forgetAttempt = () => forget(NAME);

/** A UUID; from random bytes where the page is not served over HTTPS (a phone on the developer's own network). */
function randomKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
