/**
 * The cart: {id: quantity}. It travels in the address of the checkout page, and is remembered while the tab lives; in a
 * browser that stores nothing the address is enough.
 */

const NAME = "shop.cart";
const LINE = /^([a-z0-9-]{1,40}):(\d{1,4})$/;

/** From text like "tea:2,honey:1". */
export function readCart(text) {
  return Object.fromEntries(text.split(",").map((line) => LINE.exec(line)).filter(Boolean).map(([, id, quantity]) => [id, Number(quantity)]));
}

/** "tea:2,honey:1": the form of the address, and of <lipa-pay items>. */
export function writeCart(cart) {
  return Object.entries(cart).filter(([, quantity]) => quantity > 0).map(([id, quantity]) => `${id}:${quantity}`).join(",");
}

export function loadCart() {
  try {
    return readCart(sessionStorage.getItem(NAME) ?? "");
  } catch {
    return {};
  }
}

export function saveCart(cart) {
  try {
    sessionStorage.setItem(NAME, writeCart(cart));
  } catch {
    // this browser stores nothing
  }
}

/** The shop's items by id. What is a way of delivery begins with "delivery-". */
export async function loadCatalogue() {
  const answer = await fetch("/catalogue.json");
  if (!answer.ok) throw new Error(`The catalogue answered ${answer.status}.`);
  const { items } = await answer.json();
  return {
    goods: items.filter(({ id }) => !id.startsWith("delivery-")),
    deliveries: items.filter(({ id }) => id.startsWith("delivery-")),
  };
}

/** The ways of delivery that these goods can be bought with. */
export function waysFor(chosen, deliveries) {
  return deliveries.filter(({ id }) => chosen.some(({ requires = [] }) => requires.includes(id)));
}

/** {id: quantity} of the chosen goods, with one way of delivery. */
export function quantitiesOf(chosen, cart, way) {
  const goods = Object.fromEntries(chosen.map(({ id }) => [id, cart[id]]));
  return way ? { ...goods, [way.id]: 1 } : goods;
}

export function inKes(amount) {
  return `KES ${amount.toLocaleString("en-US")}`;
}
