/**
 * The checkout page: a way of delivery, and <lipa-pay> with what the address says is in the cart. A paid order has a page of
 * its own, which its address opens again.
 */

import { inKes, loadCart, loadCatalogue, quantitiesOf, readCart, saveCart, waysFor, writeCart } from "./cart.js";

const pay = document.querySelector("lipa-pay");
const choice = document.querySelector('[data-place="deliveries"]');
const cart = location.hash ? readCart(location.hash.slice(1)) : loadCart();

pay.setAttribute("items", writeCart(cart));
loadCatalogue().then(offerDeliveries, () => {}); // without them the order stays as it is in the address
window.addEventListener("hashchange", () => location.reload());
document.addEventListener("lipa:paid", ({ detail }) => {
  saveCart({});
  location.replace(`/order.html#${detail.transaction_id}`);
});

function offerDeliveries({ goods, deliveries }) {
  const chosen = goods.filter(({ id }) => cart[id] > 0);
  const ways = waysFor(chosen, deliveries);
  const order = (way) => pay.setAttribute("items", writeCart(quantitiesOf(chosen, cart, way)));
  const first = ways.find(({ id }) => cart[id]) ?? ways[0];
  choice.append(...ways.map((way) => option(way, way === first, () => order(way))));
  choice.hidden = ways.length === 0;
  if (first && !cart[first.id]) order(first);
}

function option({ id, name, price_kes: price }, isChosen, onChoose) {
  const label = document.createElement("label");
  const button = Object.assign(document.createElement("input"), { type: "radio", name: "delivery", value: id, checked: isChosen });
  button.addEventListener("change", onChoose);
  label.append(button, ` ${name}, ${inKes(price)}`);
  return label;
}
