/**
 * Shows one screen of the checkout at a time and fills its blanks.
 *
 * Screens are elements with data-screen-name, blanks are elements with data-slot: all words stay in the HTML, where
 * a shop can change them. A new screen gets the focus at its title, which is how a screen reader announces it.
 */

export class Screens {
  #root;
  #siteTitle = document.title;
  #shown = "form";

  constructor(root) {
    this.#root = root;
  }

  get shown() {
    return this.#shown;
  }

  show(name) {
    if (name === this.#shown) return;
    this.#shown = name;
    for (const screen of this.#root.querySelectorAll("[data-screen-name]")) {
      screen.hidden = screen.dataset.screenName !== name;
    }
    document.body.dataset.screen = name;
    const title = this.#find(`[data-screen-name="${name}"] .screen-title`);
    document.title = name === "form" ? this.#siteTitle : `${title.textContent} · ${this.#siteTitle}`;
    this.fill({ note: "" });
    title.focus({ preventScroll: true });
    if (name === "form") this.#root.scrollIntoView({ block: "nearest" });
    else window.scrollTo(0, 0);
  }

  /** Writes texts into the blanks. Empty ones are hidden with their data-row, except live regions. */
  fill(texts) {
    for (const [name, text] of Object.entries(texts)) {
      for (const blank of this.#root.querySelectorAll(`[data-slot="${name}"]`)) {
        if (blank.textContent !== text) blank.textContent = text;
        (blank.closest("[data-row]") ?? blank).hidden = text === "" && !blank.hasAttribute("role");
      }
    }
  }

  /** The first element with this data-slot. */
  slot(name) {
    return this.#find(`[data-slot="${name}"]`);
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }
}
