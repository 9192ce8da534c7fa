/** What a customer reads when a payment request is refused: the answer's `code` (shared/problems.py) → a title and what to do. */

const WORDS = {
  too_soon: {
    title: "Please wait before you pay again",
    text: "A request for this payment went to the phone a moment ago. Look for its M-Pesa prompt or message first.",
  },
  already_paid: {
    title: "This was paid before",
    text: "M-Pesa says that an earlier payment like this one was made. Do not pay again: look for its M-Pesa message, or ask the shop.",
  },
  too_many: {
    title: "Please wait before you pay",
    text: "Nothing was sent to your phone.",
  },
  above_limit: {
    title: "This shop cannot take this payment",
    text: "Nothing was sent to your phone.",
  },
  prompt_open: {
    title: "An M-Pesa prompt is open on this phone",
    text: "Finish it or cancel it on the phone, wait a moment, then pay again.",
  },
  daraja_rejected: {
    title: "M-Pesa did not accept the request",
    text: "Nothing was charged. Check the phone number, then pay again. If it happens again, please tell the shop.",
  },
  unavailable: {
    title: "Payments are not available right now",
    text: "Nothing was sent to your phone and nothing was charged. Please try again in a few minutes.",
  },
  misconfigured: {
    title: "This shop cannot take payments yet",
    text: "Nothing was sent to your phone and nothing was charged. The shop has to complete its settings.",
  },
  idempotency_mismatch: {
    title: "The order changed while it was being sent",
    text: "Look for an M-Pesa prompt or message on the phone. If there is none, check the order and pay again.",
  },
  invalid: {
    title: "Please check what you entered",
    text: "",
  },
  other: {
    title: "The request was not accepted",
    text: "Nothing was sent to your phone. Please check your order and try again.",
  },
};

/** Refusals whose `detail` already tells the customer which limit it is and what to do. */
const TELL_THEMSELVES = new Set(["too_many", "above_limit"]);

/** {title, text, errors} for a Problem. Errors of the server name its settings, so customers do not see them. */
export function wordsFor(problem) {
  const errors = problem.status < 500 ? problem.errors : [];
  const words = WORDS[errors.length > 0 ? "invalid" : problem.code] ?? WORDS.other;
  const text = TELL_THEMSELVES.has(problem.code) && problem.detail ? `${problem.detail} ${words.text}` : words.text;
  return { ...words, text, errors };
}
