// What every page needs: the control API, live changes, and small helpers to build the page without any HTML in strings.

export async function ask(path, content) {
  const options = content === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
  };
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail), { status: answer.status });
  return body;
}

/* Calls `refresh` at once, whenever one of `topics` changes, and after each reconnection. Never two at a time. */
export function live(topics, refresh) {
  let running = false;
  let again = false;
  async function run() {
    if (running) { again = true; return; }
    running = true;
    try {
      do { again = false; await refresh(); } while (again);
      connected(true);
    } catch (error) {
      if (error.status === undefined && !(error instanceof TypeError)) console.error(error);
      connected(false);
    } finally {
      running = false;
    }
  }
  const events = new EventSource("/control/events");
  events.addEventListener("open", run);
  events.addEventListener("error", () => connected(false));
  events.addEventListener("message", (event) => { if (topics.includes(event.data)) run(); });
  run();
}

function connected(yes) {
  const sign = document.getElementById("connection");
  if (!sign) return;
  sign.textContent = yes ? "live" : "not connected";
  sign.dataset.state = yes ? "on" : "off";
}

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const shillings = (amount) =>
  "Ksh " + Number(amount).toLocaleString("en-KE", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/* 254722111111 → 0722 111 111, as people in Kenya write it. */
export function local(msisdn) {
  const rest = msisdn.slice(3);
  return `0${rest.slice(0, 3)} ${rest.slice(3, 6)} ${rest.slice(6)}`;
}

/* Any usual way to write a number → 254…, or null. */
export function msisdn(written) {
  const digits = written.replace(/[\s()+-]/g, "");
  const found = /^(?:254|0)?([17]\d{8})$/.exec(digits);
  return found ? "254" + found[1] : null;
}

const EAT = "Africa/Nairobi";
export const clock = (at) => new Date(at).toLocaleTimeString("en-GB", { timeZone: EAT, hour: "2-digit", minute: "2-digit" });
export const exact = (at) => new Date(at).toLocaleTimeString("en-GB", { timeZone: EAT });
export const day = (at) => new Date(at).toLocaleDateString("en-GB", { timeZone: EAT, weekday: "long", day: "numeric", month: "long" });

/* A payment's state: a word, a colour and what its callbacks said. */
export function outcome(payment) {
  if (payment.state === "prompt") {
    return { word: payment.prompt_open ? "on the phone" : "on its way", tone: "wait", told: "the shop waits" };
  }
  const word = payment.state === "paid" ? `paid ${payment.receipt}` : `failed ${payment.result_code}`;
  return { word, tone: payment.state === "paid" ? "good" : "bad", told: told(payment.callbacks) };
}

function told(callbacks) {
  if (callbacks.length === 0) return "no callback yet";
  const answers = callbacks.map((one) => one.http_status ?? "no answer").join(", ");
  return `${callbacks.length === 1 ? "callback" : `${callbacks.length} callbacks`} → ${answers}`;
}
