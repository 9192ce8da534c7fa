"""What to do now about a payment, for whoever has the customer on the phone: sentences, then commands to copy."""

from __future__ import annotations

from dataclasses import dataclass

from ops.books import Books
from shared.daraja.answers import find_refusal
from shared.daraja.result_codes import describe
from shared.database import Row
from shared.gateway.sales import REFUND_ASKED
from shared.payments import NOT_PAID, ReviewReason, Status
from shared.values import EAT

NOW = {
    Status.INITIATED: "Nothing. The sweep looks at it after 90 seconds.",
    Status.PENDING: "Nothing yet. Callbacks are awaited, and the sweep asks Safaricom.",
    Status.UNCERTAIN: "Nothing yet, and do not ask the customer to pay again: a callback may come for 15 minutes.",
    Status.REFUNDED: "Nothing. The money went back.",
}
REVIEW_NOW = {
    ReviewReason.SILENCE: "Look for the reference and the amount in the M-Pesa organisation portal.",
    ReviewReason.UNKNOWN_CODE: "Look in the portal whether money came; send the code to Safaricom's support.",
    ReviewReason.AMOUNT_MISMATCH: "Compare with the portal: how much came? Agree with the customer, or refund.",
    ReviewReason.INCOMPLETE_SUCCESS: "Look in the portal for the receipt of this amount and reference.",
    ReviewReason.IDS_DISAGREE: "A callback named another push. Look in the portal which payment the money belongs to.",
    ReviewReason.REUSED_RECEIPT: "Its receipt pays another payment. Look in the portal whether money came twice.",
    ReviewReason.DUPLICATE_PAYMENT: "The customer paid this order twice. Refund this one in the portal.",
    ReviewReason.UNCONFIRMED_LARGE: "A large payment that could not be confirmed by a query. Look in the portal.",
    ReviewReason.CONTRADICTION: "One message said paid, another said failed. Look in the portal which is true.",
}
THEN = (
    ("pay {id} --receipt R", "the money is there, under receipt R"),
    ("fail {id}", "no money came"),
    ("refunded {id} --receipt R", "it went back; R is the receipt of the reversal"),
)
HELD = (
    "Do not deliver, and do not let the customer pay again: a message said that the money came after all, and "
    "Safaricom is being asked. Within the hour it is decided, or in review."
)
WAITING = {
    "dead_letter": "A callback could not be judged, three times.",
    "held": "A callback is held: it came from an address that is not on Safaricom's list. Judge it if it is theirs.",
}


@dataclass(frozen=True)
class Advice:
    """Sentences, and commands with what each is for."""

    sentences: tuple[str, ...]
    commands: tuple[tuple[str, str], ...] = ()


def do_now(books: Books, payment: Row) -> Advice:
    """What concerns the money first, then callbacks that nobody could judge, then the invoice."""
    transaction_id = str(payment["id"])
    sentences, commands = [_about_the_money(books, payment)], []
    wish = _wish(books, payment)
    if wish is not None:
        on = f"{wish['at'].astimezone(EAT):%d %B %Y}"
        do = f"{wish['who']} asked for a refund on {on}: do not send it. Reverse it in the portal, and record it."
        sentences = [do] if payment["status"] == Status.PAID.value else [do, *sentences]
        commands.append((f'python -m ops refund {transaction_id} --why "…"', "how to reverse it"))
    if payment["status"] == Status.REVIEW.value:
        sentences.append("Then one of these:")
        commands += [(f'python -m ops review {what.format(id=transaction_id)} --why "…"', when) for what, when in THEN]
    if wish is not None and payment["status"] == Status.PAID.value:
        what, when = THEN[-1]
        commands.append((f'python -m ops review {what.format(id=transaction_id)} --why "…"', when))
    elif payment["status"] == Status.PAID.value and payment["order_sent_at"] is None:
        commands.append((f"python -m ops sent {transaction_id}", "when it is on its way"))
    if payment["status"] == Status.REFUNDED.value:
        commands.append((f'python -m ops review reopen {transaction_id} --why "…"', "if another payment went back"))
    for entry in books.rows("callback_inbox", transaction_id):
        if entry["outcome"] in WAITING:
            sentences.append(WAITING[entry["outcome"]])
            commands.append((f"python -m ops inbox retry {entry['id']}", "judge that callback"))
        if entry["outcome"] == "unreadable":
            sentences.append("A callback cannot be read. If it names a receipt, look in the portal what that paid for.")
    invoice = books.row("invoices", transaction_id)
    if invoice is not None and invoice["status"] == "FAILED":
        sentences.append("The invoice could not be sent: POST /api/pay/invoice sends it again.")
    return Advice(tuple(dict.fromkeys(sentences)), tuple(commands))


def _wish(books: Books, payment: Row) -> Row | None:
    """That a refund is wanted which was not made yet."""
    said = books.refund_wishes(str(payment["id"])) if payment["status"] in (Status.PAID, Status.REVIEW) else []
    return said[-1] if said and said[-1]["kind"] == REFUND_ASKED else None


def _about_the_money(books: Books, payment: Row) -> str:
    status = Status(payment["status"])
    if status is Status.REVIEW:
        return REVIEW_NOW[ReviewReason(payment["review_reason"])]
    if status is Status.PAID:
        return _deliver(books, payment)
    if status is Status.REFUNDED and _contradicted(books, payment):
        return "Compare with the portal: after the refund a message told of other money (above, with its alert)."
    if status in NOT_PAID:
        return HELD if payment["success_held_at"] else _order_again(payment)
    return NOW[status]


def _contradicted(books: Books, payment: Row) -> bool:
    """What came while it stood as it stands does not fit."""
    steps = books.rows("audit_log", str(payment["id"]))
    return any(step["outcome"] == "contradicts" and step["to_status"] == payment["status"] for step in steps)


def _deliver(books: Books, payment: Row) -> str:
    transaction_id = str(payment["id"])
    if _contradicted(books, payment):
        return "Before you deliver, compare with the portal: a later message does not fit (above, with its alert)."
    if twins := books.paid_twins(transaction_id):
        return f"Deliver once: the same order was paid twice. Refund this payment or {' or '.join(twins)}."
    if payment["order_sent_at"] is not None:
        return f"Nothing. It was marked as sent on {payment['order_sent_at'].astimezone(EAT):%d %B %Y, %H:%M}."
    advice = "Deliver."
    if payment["paid_late"]:
        advice = "Deliver, or refund if the goods are gone: it had failed, and then the money came."
    confirmation = books.row("payment_confirmations", transaction_id)
    if confirmation is not None and confirmation["mpesa_receipt_number"] is None:
        advice += " The receipt number is missing until a callback or the statement brings it."
    return advice


def _order_again(payment: Row) -> str:
    refusal = find_refusal(payment["response_code"] or "", payment["response_message"] or "")
    if refusal is not None:
        return refusal.explanation
    known = describe(payment["result_code"]) if payment["result_code"] else None
    if known is not None and known.shops_fault:
        return known.operator_note
    if known is not None and known.may_be_taken_back:
        return (
            "Nothing. The customer may order again. Should money have moved all the same, this becomes paid by itself."
        )
    return "Nothing. The customer may order again."
