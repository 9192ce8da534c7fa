"""`ops replay`: every decision again, from the evidence on file. Changes nothing.

The audit log says in which order things were decided and on which evidence; callbacks are read again from their raw
bytes, answers to queries from their codes. Each payment goes through `decide` again, from its order to its end, and all
payments together, because a receipt can belong to one payment only. What then differs from the books is named: bytes
that were changed, history that was changed, or a rule that has changed since.

A payment whose evidence was erased has only its audit rows: they are followed, and have to lead to where it stands.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import get_args

from ops.answers import Answer
from ops.evidence import PAGE, Page, callbacks_of_no_payment, pages
from ops.progress import progress
from ops.session import Commands, Session, add_confirm_above
from ops.words import counted
from shared.daraja.callback_reader import CallbackUnreadable, read_message
from shared.daraja.result_codes import QUERY_FAILURES
from shared.database import Database, Row
from shared.payments import (
    DUPLICATE_WITHIN,
    NOT_PAID,
    SETTLED,
    Circumstances,
    Confirmed,
    Decision,
    Declined,
    Event,
    Ids,
    OperatorPaid,
    OperatorRefunded,
    Outcome,
    Payment,
    PushAccepted,
    QueryDeclined,
    Status,
    UnknownCode,
    decide,
)
from shared.settlement import reported

DECIDES_NOTHING = {"Order", "PersonErased", "InvoiceResent", "OrderSent"}
"""Events that decide nothing about the money."""
NAME_SAYS_ALL: dict[str, Callable[[], Event]] = {
    event.__name__: event
    for event in get_args(Event)
    if not [field for field in fields(event) if field.default is MISSING]
}
"""Events of which the audit row's name says all that a status depends on."""
EVIDENCE_ERASED = {("PersonErased", scope) for scope in ("person", "late_evidence", "mention")}
WAITS_FOR_A_PERSON = {"dead_letter", "held"}
"""Outcomes of callbacks that nobody judged: `ops inbox list` has them, and an alert every day."""
NAMES_IDS = {"PushAccepted", "Confirmed", "Declined", "UnknownCode"}
NOT_KEPT = Ids("not kept", "not kept")
"""What Daraja named a push whose ids another payment had: they could not be stored."""


def add_commands(commands: Commands) -> None:
    again = commands.add_parser("replay", help="every decision again, from the evidence on file; changes nothing")
    add_confirm_above(again)
    again.set_defaults(run=_replay)


def _replay(session: Session, chosen: argparse.Namespace) -> Answer:
    threshold_kes = session.confirm_above_kes(chosen)
    with progress("payments", session.books.payments_in_all) as advance:
        decisions, differences = replay(session.database, threshold_kes, advance=advance)
    lines = [f"DIFFERS  {difference.transaction_id}  {difference.what}" for difference in differences]
    lines.append(f"{counted(decisions, 'decision')} taken again, {counted(len(differences), 'difference')}")
    return Answer({"decisions": decisions, "differences": differences}, lines, code=1 if differences else 0)


@dataclass(frozen=True)
class Difference:
    """Where the books and the replay part."""

    transaction_id: str
    what: str


@dataclass
class _Replayed:
    """A payment as the replay has it by now."""

    row: Row
    payment: Payment
    paid_at: datetime | None = None
    push_ids: Ids | None = field(default=None)
    judged: set[str] = field(default_factory=set)
    """Callbacks that were judged, and not only put off until a query."""
    was_erased: bool = False
    codes: set[str | None] = field(default_factory=lambda: {None, "0"})
    """The result codes that the evidence names."""


class _World:
    """All payments, and which of them share an order, a receipt or an id: asked for every decision, so kept at hand."""

    def __init__(self, rows: Iterable[Row], erased: set[str]) -> None:
        self.payments = {str(row["id"]): _Replayed(row, _as_ordered(row), push_ids=_push_ids(row)) for row in rows}
        for it in self.payments.values():
            it.was_erased = it.payment.id in erased
            it.codes |= set(it.row["answered_codes"])
        self._orders: dict[object, list[_Replayed]] = defaultdict(list)
        self._named: dict[tuple[str, str], set[str]] = defaultdict(set)
        for it in self.payments.values():
            self._orders[_order(it.row)].append(it)

    def becomes(self, it: _Replayed, payment: Payment) -> None:
        for name in _names(it.payment.ids, it.payment.receipt):
            self._named[name].discard(payment.id)
        for name in _names(payment.ids, payment.receipt):
            self._named[name].add(payment.id)
        it.payment = payment

    def names_money_that_went_back(self, it: _Replayed, receipt: str) -> None:
        """No other payment has this receipt from now on. (`becomes` forgets what a payment was named before.)"""
        self._named["receipt", receipt].add(it.payment.id)

    def twins(self, it: _Replayed) -> list[_Replayed]:
        """The other payments for the same reference, phone and amount."""
        return [other for other in self._orders[_order(it.row)] if other is not it]

    def taken(self, it: _Replayed, *, ids: Ids | None = None, receipt: str | None = None) -> bool:
        """Another payment has one of these ids, or this receipt."""
        return any(self._named.get(name, set()) - {it.payment.id} for name in _names(ids, receipt))


def replay(
    database: Database, confirm_above_kes: Decimal, *, most: int = PAGE, advance: Callable[[int], None] = lambda _: None
) -> tuple[int, list[Difference]]:
    """How many decisions were taken again, and every difference. Reads only, `most` payments at a time."""
    decisions, differences = 0, list[Difference]()
    for page in pages(database, most):
        taken, found = _replay_page(page, confirm_above_kes)
        decisions += taken
        differences += found
        advance(len(page.own))
    for row in callbacks_of_no_payment(database):
        if row["outcome"] is not None and row["erased_sha256"] is None:
            differences += _compare_callback(_World([], set()), row, confirm_above_kes, on_record=False)
    return decisions, differences


def _replay_page(page: Page, confirm_above_kes: Decimal) -> tuple[int, list[Difference]]:
    erased = {
        str(step["transaction_id"]) for step in page.history if (step["event"], step["outcome"]) in EVIDENCE_ERASED
    }
    world = _World(page.payments, erased)
    bodies = {str(row["id"]): bytes(row["body"]) for row in page.callbacks}
    decisions = 0
    differences: list[Difference] = []
    for step in page.history:
        if step["event"] in DECIDES_NOTHING:
            continue
        it = world.payments[str(step["transaction_id"])]
        decisions += it.payment.id in page.own
        it.codes.add(step["said"])
        again = _follow(world, it, step) if it.was_erased else _take_again(world, it, bodies, step, confirm_above_kes)
        differences += again
    on_record = {str(step["inbox_id"]) for step in page.history}
    for row in page.callbacks:
        if row["outcome"] is not None and row["erased_sha256"] is None:
            differences += _compare_callback(world, row, confirm_above_kes, on_record=str(row["id"]) in on_record)
    for it in world.payments.values():
        differences += _compare(it)
    return decisions, [difference for difference in differences if difference.transaction_id in page.own]


def _follow(world: _World, it: _Replayed, step: Row) -> Iterator[Difference]:
    """What an audit row says became of a payment whose evidence was erased; the others still have to see it."""
    if step["from_status"] != it.payment.status.value:
        yield Difference(
            it.payment.id,
            f"audit row {step['id']} begins at {step['from_status']}, the one before ended at {it.payment.status}",
        )
    after = replace(it.payment, status=Status(step["to_status"]))
    if step["event"] in NAMES_IDS and it.row["checkout_request_id"] is not None:
        after = replace(after, ids=Ids(it.row["merchant_request_id"], it.row["checkout_request_id"]))
    paid = step["outcome"] in (Outcome.PAID, Outcome.PAID_LATE)
    if step["outcome"] == Outcome.RECEIPT_FILLED or (paid and step["event"] != "QueryConfirmed"):
        after = replace(after, receipt=it.row["mpesa_receipt_number"])
    world.becomes(it, after)
    if step["outcome"] == Outcome.REFUNDED:
        world.names_money_that_went_back(it, str(step["said"]))
    if paid:
        it.paid_at = step["at"]


def _take_again(
    world: _World, it: _Replayed, bodies: dict[str, bytes], step: Row, confirm_above_kes: Decimal
) -> Iterator[Difference]:
    event = _event(it, bodies, step)
    if event is None:
        yield Difference(
            it.payment.id, f"audit row {step['id']}: its evidence cannot be read as {step['event']} any more"
        )
        return
    decision = decide(it.payment, event, _around(world, it, event, step, confirm_above_kes))
    if (decision.outcome.value, decision.status.value) != (step["outcome"], step["to_status"]):
        yield Difference(
            it.payment.id,
            f"audit row {step['id']}: {step['event']} gave {step['outcome']}, {step['to_status']}; "
            f"now it gives {decision.outcome}, {decision.status}",
        )
    if decision.outcome is not Outcome.WAITS_FOR_QUERY:
        it.judged.add(str(step["inbox_id"]))
    world.becomes(it, _after(it, decision))
    if decision.status is Status.REFUNDED and isinstance(event, OperatorRefunded):
        world.names_money_that_went_back(it, str(step["said"]))
    if decision.paid is not None:
        it.paid_at = step["at"]


def _event(it: _Replayed, bodies: dict[str, bytes], step: Row) -> Event | None:
    """The event that the audit row speaks of, made anew from the evidence."""
    said = step["said"]
    match step["event"]:
        case "PushAccepted":
            return PushAccepted(it.push_ids or NOT_KEPT)
        case "QueryDeclined":
            return QueryDeclined(QUERY_FAILURES[said].becomes) if said in QUERY_FAILURES else None
        case "OperatorPaid":
            return OperatorPaid(said)
        case "OperatorRefunded":
            return OperatorRefunded(said)
        case event if event in NAME_SAYS_ALL:
            return NAME_SAYS_ALL[event]()
    message, _ = read_message(bodies.get(str(step["inbox_id"]), b""))
    if isinstance(message, CallbackUnreadable):
        return None
    report = reported(message, actor="replay")
    return report.event if report.name == step["event"] else None


def _around(world: _World, it: _Replayed, event: Event, step: Row, confirm_above_kes: Decimal) -> Circumstances:
    receipt = event.receipt if isinstance(event, Confirmed | OperatorPaid | OperatorRefunded) else None
    ids = _ids_told(event)
    now: datetime = step["at"]
    return Circumstances(
        now=now,
        confirm_above_kes=confirm_above_kes,
        receipt_taken=world.taken(it, receipt=receipt),
        ids_taken=ids == NOT_KEPT or world.taken(it, ids=ids),
        duplicate_paid=any(
            other.payment.status is Status.PAID and other.paid_at is not None and other.paid_at > now - DUPLICATE_WITHIN
            for other in world.twins(it)
        ),
        already_judged=step["inbox_id"] is not None and str(step["inbox_id"]) in it.judged,
    )


def _ids_told(event: Event) -> Ids | None:
    return event.ids if isinstance(event, PushAccepted | Confirmed | Declined | UnknownCode) else None


def _after(it: _Replayed, decision: Decision) -> Payment:
    """The payment as the gateway would have stored it."""
    payment = it.payment
    learnt = payment.ids_are_learnt if decision.ids is None else decision.ids_are_learnt
    return replace(
        payment,
        status=decision.status,
        ids=decision.ids or payment.ids,
        ids_are_learnt=learnt,
        review_reason=decision.review_reason if decision.status is Status.REVIEW else None,
        receipt=decision.paid.receipt if decision.paid else decision.fill_receipt or payment.receipt,
        success_held=(payment.success_held or decision.hold_success) and not decision.drop_success,
        refunded_unpaid=decision.status is Status.REFUNDED and it.paid_at is None,
    )


def _compare(it: _Replayed) -> Iterator[Difference]:
    row, payment = it.row, it.payment
    if payment.status.value != row["status"]:
        yield Difference(payment.id, f"the books say {row['status']}, the evidence says {payment.status}")
    if payment.status in SETTLED and payment.receipt != row["mpesa_receipt_number"]:
        yield Difference(payment.id, "the receipt number in the books is not the one in the evidence")
    if payment.status in NOT_PAID and row["mpesa_receipt_number"] is not None:
        yield Difference(payment.id, "the books have a receipt number for a payment that was not paid")

    if it.paid_at != row["paid_at"]:
        yield Difference(payment.id, "the books say another time of payment than its history")
    if it.was_erased:
        return
    if _ids_stored(row) != payment.ids or row["ids_are_learnt"] != payment.ids_are_learnt:
        yield Difference(payment.id, "the ids in the books are not those that an answer or a callback named")
    if row["review_reason"] != (payment.review_reason and payment.review_reason.value):
        yield Difference(payment.id, f"the books say that it is in review for {row['review_reason']}")
    if (row["success_held_at"] is not None) != payment.success_held:
        yield Difference(payment.id, "the books disagree with the evidence whether a success waits for a query")
    if row["result_code"] not in it.codes:
        yield Difference(payment.id, f"the books have the code {row['result_code']}, which no evidence names")


def _compare_callback(world: _World, row: Row, confirm_above_kes: Decimal, *, on_record: bool) -> Iterator[Difference]:
    """A callback that was judged is on record; one that is not would change nothing now."""
    transaction_id, outcome = str(row["transaction_id"]), row["outcome"]
    it = world.payments.get(transaction_id)
    message, receipts = read_message(bytes(row["body"]))
    if it is not None and not isinstance(message, CallbackUnreadable):
        it.codes.add(reported(message, actor="replay").result_code)
    if outcome in WAITS_FOR_A_PERSON:
        return
    if not set(receipts) <= set(row["receipts"]):
        yield Difference(transaction_id, f"callback {row['id']} names a receipt that the books do not have")
    if on_record or it is None or it.was_erased:
        return
    if isinstance(message, CallbackUnreadable):
        changes = outcome != "unreadable"
    else:
        event = reported(message, actor="replay").event
        around = _around(world, it, event, {"at": row["received_at"], "inbox_id": row["id"]}, confirm_above_kes)
        changes = decide(it.payment, event, around).status is not it.payment.status
    if changes:
        yield Difference(transaction_id, f"callback {row['id']} has the outcome {outcome}, and nobody judged it")


def _ids_stored(row: Row) -> Ids | None:
    if row["checkout_request_id"] is None:
        return None
    return Ids(row["merchant_request_id"], row["checkout_request_id"])


def _as_ordered(row: Row) -> Payment:
    return Payment(str(row["id"]), Status.INITIATED, row["amount"], row["created_at"])


def _push_ids(row: Row) -> Ids | None:
    if row["checkout_request_id"] is None or row["ids_are_learnt"]:
        return None
    return Ids(row["merchant_request_id"], row["checkout_request_id"])


def _names(ids: Ids | None, receipt: str | None) -> list[tuple[str, str]]:
    """What no two payments may share."""
    both = [("merchant", ids.merchant_request_id), ("checkout", ids.checkout_request_id)] if ids else []
    return [*both, *([("receipt", receipt)] if receipt is not None else [])]


def _order(row: Row) -> object:
    return row["phone_number"], row["amount"], row["account_reference"].lower()
