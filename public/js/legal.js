/** Fills the shop's details into the receipt, the privacy notice and the refund policy. Without JavaScript the page's own words stay. */

import { SHOP } from "./shop-details.js";

for (const place of document.querySelectorAll("[data-shop]")) {
  const value = SHOP[place.dataset.shop];
  if (value) place.textContent = value;
}
for (const place of document.querySelectorAll("[data-shop-if]")) {
  place.hidden = !SHOP[place.dataset.shopIf];
}
for (const link of document.querySelectorAll("a[data-shop='email']")) {
  if (SHOP.email) link.href = `mailto:${SHOP.email}`;
}
document.title = document.title.replace("this shop", SHOP.name);
