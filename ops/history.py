"""What happened to a payment, moment by moment, in words: what Safaricom said, and what that means.

It uses no names of the code but the status.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ops.books import Books
from ops.erased_callbacks import read_stored
from ops.words import counted, eat, visible
from shared.daraja.callback_reader import (
    CallbackFailure,
    CallbackRead,
    CallbackSuccess,
    CallbackUnknownCode,
    CallbackUnreadable,
    prose,
)
from shared.daraja.result_codes import describe
from shared.database import Row
from shared.gateway.sales import ORDER_SENT, REFUND_ASKED
from shared.observability.alerts import TOPICS, UNKNOWN
from shared.payments import ReviewReason
from shared.values import in_words

BY_CALLBACK = ("Confirmed", "Declined", "UnknownCode")
BY_QUERY = ("QueryConfirmed", "QueryDeclined")
PUSHED = {
    "PushAccepted": "Safaricom said: it took the request, and asks the customer's phone.",
    "PushRefused": "Safaricom said: no.",
    "PushUnanswered": "Safaricom said nothing clear to the request: it may have arrived.",
    "PushNotSent": "Safaricom could not be reached: nothing was sent.",
}
MEANS = {
    "accepted": "the customer is being asked.",
    "refused": "no prompt went out, no money can come.",
    "not_sent": "no prompt went out, no money can come.",
    "unclear": "a prompt may have gone out. It is never sent a second time.",
    "paid": "paid.",
    "paid_late": "paid after all.",
    "receipt_filled": "the receipt number, which was missing, is known now.",
    "declined": "not paid.",
    "to_review": "a person has to look.",
    "waits_for_push": "it came before Safaricom answered our request, and is judged with that answer.",
    "waits_for_query": "perhaps paid: Safaricom is asked before it is believed.",
    "refunded": "the money went back.",
    "reopened": "the word that ended it is taken back.",
    "repeated": "nothing new.",
    "noted": "kept on file; it changes nothing.",
    "contradicts": "it does not fit what is on file. Nothing was changed, and an alert went out.",
    "still_waiting": "still waiting.",
}
REASONS = {
    ReviewReason.SILENCE: "nothing was heard for too long",
    ReviewReason.UNKNOWN_CODE: "nobody has explained this code",
    ReviewReason.AMOUNT_MISMATCH: "the amount is not the one asked for",
    ReviewReason.INCOMPLETE_SUCCESS: "success without an amount or a receipt",
    ReviewReason.IDS_DISAGREE: "it names another request than ours",
    ReviewReason.REUSED_RECEIPT: "its receipt pays another payment",
    ReviewReason.DUPLICATE_PAYMENT: "this order was paid already",
    ReviewReason.UNCONFIRMED_LARGE: "a large amount, and nobody to ask about it",
    ReviewReason.CONTRADICTION: "one message says paid, another says failed",
}
BY_HAND = {
    "OperatorPaid": "paid",
    "OperatorFailed": "not paid",
    "OperatorRefunded": "refunded",
    "OperatorReopened": "that was wrong, look again",
    "StatementPaid": "the statement shows it paid",
    "StatementRefunded": "the statement shows that it went back",
    "BookedByHand": "this money is of this payment",
}
NOTICES = {
    "failed": "that it failed",
    "paid_late": "that it was paid after all",
    "under_review": "that it is being checked",
    "refunded": "that it was refunded",
}
DROPPED = {
    "no_address": "there is no address any more",
    "overtaken": "it was no longer so",
    "off": "the shop's settings leave this kind out",
    "seen": "the customer saw it on the page",
    "tried_again": "the customer had tried the same order again",
    "daily_limit": "this address had its notices of failures for that day",
    "never_told": "the customer never heard that it failed, and has the invoice",
}
ERASED = {
    "person": "whoever paid, or was asked to",
    "contact": "the name, the address and the words",
    "mention": "somebody whom the evidence named",
    "late_evidence": "what came in again about an erased person",
}
A_QUESTION_TAKES = timedelta(seconds=30)


@dataclass(frozen=True)
class Moment:
    """One thing that happened, and what that means. `about` and `judges` name the evidence that it is, or judges."""

    at: datetime
    what: str
    means: str = ""
    about: str = ""
    judges: str = ""


def history(books: Books, payment: Row) -> list[Moment]:
    """Everything that happened to a payment, in order."""
    return sorted(_moments(books, payment), key=lambda moment: moment.at)


def _moments(books: Books, payment: Row) -> Iterator[Moment]:
    transaction_id = str(payment["id"])
    audit = books.rows("audit_log", transaction_id)
    judged: set[object] = set()
    for row in audit:
        yield _decided(row, payment, again=row["inbox_id"] in judged)
        judged.add(row["inbox_id"])
    for row in books.rows("callback_inbox", transaction_id):
        yield _called_back(row, judged=row["id"] in judged)
    yield from _asked(books.rows("query_answers", transaction_id), audit)
    for row in books.rows("outbox", transaction_id):
        yield _left(row)
    for row in books.statement_rows_of(transaction_id):
        yield _on_statement(row)
    for row in books.refund_wishes(transaction_id):
        wish = "asked for a refund" if row["kind"] == REFUND_ASKED else "wants no refund any more"
        yield Moment(row["at"], f"{row['who']} {wish}. Why: {row['why']}")


def _decided(row: Row, payment: Row, *, again: bool) -> Moment:
    event, at = row["event"], row["at"]
    if event == "Order":
        if _by_hand(row):
            return Moment(at, f"{row['actor']} put this payment on file: its money came another way.")
        return Moment(at, "The order was admitted and put on file, before Safaricom was asked.")
    means = _means(row)
    if event in PUSHED:
        said = f" ({payment['response_code']}: {_plain(payment['response_message'])})" if event == "PushRefused" else ""
        return Moment(at, PUSHED[event] + said, means)
    if event in BY_CALLBACK:
        by = f", by {row['actor']}: {row['reason']}" if _by_hand(row) else ""
        what = f"The callback was judged{' again' * again}{by}."
        return Moment(at, what, means, judges="" if by else f"callback {row['inbox_id']}")
    if event in BY_QUERY:
        return Moment(at, "The answer was judged.", means, judges="answer")
    if event == "TimePassed":
        return Moment(at, "Time passed.", means)
    if event == "PersonErased":
        return Moment(at, f"{row['actor']} erased {ERASED[row['outcome']]}. Why: {row['reason']}")
    if event == ORDER_SENT:
        why = f" Why: {row['reason']}" if row["reason"] else ""
        return Moment(at, f"{row['actor']} marked the order as sent.{why}")
    if event == "InvoiceResent":
        return Moment(at, f"{row['actor']} had the invoice sent again. Why: {row['reason']}")
    receipt = f", receipt {row['said']}" if row["said"] else ""
    done = "said" if row["outcome"] != "noted" else "wanted to say"
    return Moment(at, f"{row['actor']} {done}: {BY_HAND.get(event, event)}{receipt}. Why: {row['reason']}", means)


def _means(row: Row) -> str:
    means = MEANS.get(row["outcome"]) or str(row["outcome"])
    reason = str(row["reason"]).split(":")[0]
    if row["outcome"] == "to_review" and reason in set(ReviewReason):
        means = f"a person has to look: {REASONS[ReviewReason(reason)]}."
    if row["from_status"] != row["to_status"]:
        means += f" It was {row['from_status']} and became {row['to_status']}."
    return means


def _called_back(row: Row, *, judged: bool) -> Moment:
    said = _said(read_stored(row))
    if row["erased_sha256"]:
        said += " Everything else that it said was erased."
    if row["source_check"] in ("unlisted", "held"):
        said += f" It came from {visible(row['source_address'])}, which is not an address of Safaricom's."
    if row["copies"]:
        said += f" The same came {counted(row['copies'], 'time')} more, word for word, in a flood."
    return Moment(
        row["received_at"], f"Safaricom said: {said}", "" if judged else _not_judged(row), about=f"callback {row['id']}"
    )


def _not_judged(row: Row) -> str:
    """A callback of which the audit log says nothing: it changed nothing, or nobody could judge it."""
    receipts = f" It names the receipt {', '.join(row['receipts'])}." if row["receipts"] else ""
    match row["outcome"]:
        case None:
            return f"not judged yet: try {row['tries'] + 1} of 3 comes with the next sweep."
        case "dead_letter":
            return f"it could not be judged, three times ({row['last_error'] or 'no reason kept'}).{receipts}"
        case "held":
            return f"held for a person because of that address, and not judged.{receipts}"
        case "unreadable":
            return f"nothing that can be read; its bytes are on file.{receipts}"
    return MEANS.get(row["outcome"]) or str(row["outcome"])


def _said(message: CallbackRead) -> str:
    match message:
        case CallbackSuccess():
            amount = in_words(message.amount_kes) if message.amount_kes is not None else "no amount"
            return f"0, success: {amount}, receipt {message.receipt or 'missing'}."
        case CallbackFailure() | CallbackUnknownCode():
            return _code(message.code, message.description)
        case CallbackUnreadable():
            return f"something unreadable ({message.reason})."


def _asked(answers: list[Row], audit: list[Row]) -> Iterator[Moment]:
    """What Safaricom said when it was asked; questions without an answer in a row are told as one."""
    silent: list[Row] = []
    for row in answers:
        if row["result_code"] is None:
            silent.append(row)
            continue
        yield from _unanswered(silent)
        silent = []
        judged = [step["at"] for step in audit if step["event"] in BY_QUERY and step["at"] <= row["answered_at"]]
        at = judged[-1] if judged and row["answered_at"] - judged[-1] < A_QUESTION_TAKES else row["answered_at"]
        said = "0, success." if row["result_code"] == "0" else _code(row["result_code"], row["said"])
        yield Moment(at - timedelta(microseconds=1), f"We asked, and Safaricom said: {said}", about="answer")
    yield from _unanswered(silent)


def _unanswered(silent: list[Row]) -> Iterator[Moment]:
    if silent:
        last = silent[-1]
        often = f", {len(silent)} times until {eat(last['answered_at'], seconds=True)}" if len(silent) > 1 else ""
        why = f": {_plain(last['said'])}" if last["said"] else ""
        yield Moment(silent[0]["answered_at"], f"We asked{often}. No answer yet{why}.")


def _on_statement(row: Row) -> Moment:
    kes, way = (row["paid_in"], "came in") if row["paid_in"] > 0 else (row["withdrawn"], "went out")
    amount = f"{kes:,.2f}".removesuffix(".00")
    what = f"A statement says: KES {amount} {way}, {row['class']}, receipt {row['receipt']}"
    return Moment(row["at"], f"{what} (file {row['sha256'][:12]}, row {row['row_number']}).")


def _left(row: Row) -> Moment:
    if row["kind"] == "alert":
        alert = "Alert" if row["sent_at"] else "Alert, not sent yet,"
        return Moment(row["created_at"], f"{alert} {row['topic']}: {TOPICS.get(row['topic'], UNKNOWN).says}")
    what = "Invoice"
    if row["kind"] == "notice":
        what = f"Notice to the customer, {NOTICES.get(row['topic'], row['topic'])}:"
    if row["kind"] == "sale":
        what = "Mail of the sale to the shop"
    if row["kind"] == "webhook":
        what = f"Webhook payment.{row['topic']}"
    if row["sent_at"]:
        return Moment(row["sent_at"], f"{what} sent.")
    if row["dropped"]:
        return Moment(row["created_at"], f"{what} not sent, because {DROPPED.get(row['dropped'], row['dropped'])}.")
    why = f": {_plain(row['last_error'])}" if row["last_error"] else ""
    return Moment(row["created_at"], f"{what} {'waits to be sent' if row['next_try_at'] else 'given up'}{why}.")


# Words ----------------------------------------------------------------------------------------------------------------


def _code(code: str, description: str | None) -> str:
    known = describe(code)
    note = known.operator_note if known else "Nobody has explained this code."
    words = f", “{_plain(description)}”" if description else ""
    return f"{_plain(code)}{words}. {note}"


def _plain(text: str | None) -> str:
    """What came from outside, without anything that a terminal would obey."""
    return prose(text or "")[:300]


def _by_hand(row: Row) -> bool:
    return str(row["actor"]).startswith("operator")
