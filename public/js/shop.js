/**
 * The shop's first page: what /catalogue.json sells, and the cart. A product's picture is /images/ID.svg.
 */

import { inKes, loadCart, loadCatalogue, quantitiesOf, saveCart, waysFor, writeCart } from "./cart.js";

const MOST_OF_ONE = 20;
const cart = loadCart();
const place = (name) => document.querySelector(`[data-place="${name}"]`);

loadCatalogue().then(({ goods, deliveries }) => {
  const sold = goods.filter(({ available }) => available !== false);
  const change = () => {
    saveCart(cart);
    showCart(sold, deliveries);
  };
  place("products").replaceChildren(...sold.map((item) => product(item, change)));
  showCart(sold, deliveries);
}, () => {
  place("products").replaceChildren(made("li", { textContent: "The products cannot be shown. Please reload the page." }));
});

function showCart(goods, deliveries) {
  const chosen = goods.filter(({ id }) => cart[id] > 0);
  const sum = chosen.reduce((soFar, { id, price_kes: price }) => soFar + cart[id] * price, 0);
  place("lines").replaceChildren(
    ...chosen.map(({ id, name, price_kes: price }) =>
      made("li", {}, made("span", { textContent: `${cart[id]} × ${name}` }), made("span", { textContent: inKes(cart[id] * price) })),
    ),
  );
  place("empty").hidden = chosen.length > 0;
  place("sum").hidden = place("checkout").hidden = chosen.length === 0;
  place("total").textContent = inKes(sum);
  const way = waysFor(chosen, deliveries)[0];
  place("checkout").href = `/checkout.html#${writeCart(quantitiesOf(chosen, cart, way))}`;
}

function product({ id, name, price_kes: price, max_quantity: most = MOST_OF_ONE }, onChange) {
  const picture = made("img", { src: `/images/${id}.svg`, width: 72, height: 72, alt: "" });
  picture.addEventListener("error", () => (picture.hidden = true));
  const count = made("span", {});
  const less = button("−", `One ${name} less`, () => change(-1));
  const more = button("+", `Add one ${name}`, () => change(1));
  const card = made(
    "li",
    { className: "product" },
    picture,
    made("h2", { textContent: name }),
    made("p", { className: "price", textContent: inKes(price) }),
    made("div", { className: "stepper" }, less, count, more),
  );
  const change = (by) => {
    cart[id] = Math.min(Math.max((cart[id] ?? 0) + by, 0), most);
    show();
    onChange();
    if (cart[id] === 0) more.focus();
  };
  const show = () => {
    const quantity = cart[id] ?? 0;
    count.textContent = String(quantity);
    count.hidden = less.hidden = quantity === 0;
    more.disabled = quantity >= most;
    card.classList.toggle("chosen", quantity > 0);
  };
  show();
  return card;
}

function button(sign, label, onClick) {
  const it = made("button", { type: "button", textContent: sign });
  it.setAttribute("aria-label", label);
  it.addEventListener("click", onClick);
  return it;
}

function made(tag, properties, ...children) {
  const it = Object.assign(document.createElement(tag), properties);
  it.append(...children);
  return it;
}
