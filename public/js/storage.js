/** Values that survive a reload of this tab; if the browser stores nothing, they last as long as the page. */

const inMemory = new Map();

export function keep(name, value) {
  const text = JSON.stringify(value);
  inMemory.set(name, text);
  try {
    sessionStorage.setItem(name, text);
  } catch {
    // storage is off or full: the copy in memory lasts as long as the page
  }
}

export function kept(name) {
  let text = inMemory.get(name) ?? null;
  try {
    text = sessionStorage.getItem(name) ?? text;
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

export function forget(name) {
  inMemory.delete(name);
  try {
    sessionStorage.removeItem(name);
  } catch {
    // nothing was kept
  }
}
