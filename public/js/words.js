/**
 * Keeps words like M-Pesa and e-mail on one line: a phone's browser breaks lines at their hyphen otherwise.
 *
 * The text stays the same for screen readers, search and copying. Text that a script writes later is covered too.
 * Without JavaScript they break. Needs `.whole` of styles.css.
 */

const WITH_A_HYPHEN = /\b(m-pesa|e-mail\w*)/i;

keepWhole(document.body);
new MutationObserver((changes) => {
  for (const { target } of changes) keepWhole(target);
}).observe(document.body, { childList: true, characterData: true, subtree: true });

function keepWhole(below) {
  const texts = document.createTreeWalker(below, NodeFilter.SHOW_TEXT);
  const found = [];
  for (let text = below.nodeType === Node.TEXT_NODE ? below : texts.nextNode(); text; text = texts.nextNode()) {
    if (WITH_A_HYPHEN.test(text.data) && !text.parentElement?.closest(".whole, script")) found.push(text);
  }
  for (const text of found) {
    text.replaceWith(...text.data.split(WITH_A_HYPHEN).map((part, place) => (place % 2 ? whole(part) : part)));
  }
}

function whole(word) {
  const made = document.createElement("span");
  made.className = "whole";
  made.textContent = word;
  return made;
}
