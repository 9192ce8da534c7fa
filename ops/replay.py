"""`ops replay`: every decision again, from the evidence on file. Changes nothing.

The audit log says in which order things were decided and on which evidence; callbacks are read again from their raw
bytes, answers to queries from their codes, rows of statements by their receipts. Each payment goes through `decide`
again, from its order to its end, and all payments together, because a receipt can belong to one payment only. What then
differs from the books is named: bytes that were changed, history that was changed, or a rule that has changed since.

A payment whose evidence was erased has only its audit rows: they are followed, and have to lead to where it stands.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import get_args

from ops.answers import Answer
from ops.audit import MOST_SHOWN
from ops.evidence import PAGE, Page, callbacks_of_no_payment, pages
from ops.progress import progress
from ops.replayed import Replayed, World
from ops.session import Commands, Session, add_confirm_above
from ops.words import counted
from shared.daraja.callback_reader import CallbackUnreadable, read_message
from shared.daraja.result_codes import QUERY_FAILURES
from shared.database import Database, Row
from shared.payments import (
    AN_INITIATED_PAYMENT_DIED_AFTER,
    DUPLICATE_WITHIN,
    NOT_PAID,
    SETTLED,
    BookedByHand,
    Circumstances,
    Confirmed,
    ConfirmedBy,
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
    StatementPaid,
    StatementRefunded,
    Status,
    UnknownCode,
    before_the_word,
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


def replay(
    database: Database, confirm_above_kes: Decimal, *, most: int = PAGE, advance: Callable[[int], None] = lambda _: None
) -> tuple[int, list[Difference]]:
    """How many decisions were taken again, and every difference. Reads only, `most` payments at a time."""
    decisions, in_all, differences = 0, 0, list[Difference]()
    for page in pages(database, most):
        taken, found = _replay_page(page, confirm_above_kes)
        decisions += taken
        differences += found[: MOST_SHOWN - len(differences)]
        in_all += len(found)
        advance(len(page.own))
    if more := in_all - len(differences):
        differences.append(Difference("", counted(more, "more difference")))
    for row in callbacks_of_no_payment(database):
        if row["outcome"] is not None and row["erased_sha256"] is None:
            differences += _compare_callback(World([], set()), row, confirm_above_kes, on_record=False)
    return decisions, differences


def _replay_page(page: Page, confirm_above_kes: Decimal) -> tuple[int, list[Difference]]:
    erased = {
        str(step["transaction_id"]) for step in page.history if (step["event"], step["outcome"]) in EVIDENCE_ERASED
    }
    world = World(page.payments, erased, page.statement_rows)
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


def _follow(world: World, it: Replayed, step: Row) -> Iterator[Difference]:
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
    if step["outcome"] == Outcome.REOPENED and it.payment.status is Status.REFUNDED:
        world.forgets_what_went_back(it)
    it.came_at = it.row["transaction_date"] if after.receipt else None
    world.becomes(it, after)
    if step["outcome"] == Outcome.REFUNDED:
        world.names_money_that_went_back(it, str(step["said"]))
    if paid:
        it.paid_at = step["at"]


def _take_again(
    world: World, it: Replayed, bodies: dict[str, bytes], step: Row, confirm_above_kes: Decimal
) -> Iterator[Difference]:
    event = _event(world, it, bodies, step)
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
    if step["inbox_id"] is not None:
        it.receipts |= set(read_message(bodies.get(str(step["inbox_id"]), b""))[1])
    if decision.outcome is Outcome.REOPENED and it.payment.status is Status.REFUNDED:
        world.forgets_what_went_back(it)
    before = it.payment.before
    if decision.status is not it.payment.status:
        before = before_the_word(step["event"], it.payment.status.value, it.review_reason and it.review_reason.value)
    world.becomes(it, replace(_after(it, decision), before=before))
    it.review_reason = decision.review_reason if decision.status is Status.REVIEW else it.review_reason
    if decision.status is Status.REFUNDED and isinstance(event, OperatorRefunded | StatementRefunded):
        world.names_money_that_went_back(it, str(step["said"]))
    it.came_at = it.row["transaction_date"] if it.payment.receipt else None
    if decision.paid is not None:
        it.paid_at = step["at"]


def _event(world: World, it: Replayed, bodies: dict[str, bytes], step: Row) -> Event | None:
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
        case "StatementPaid" | "StatementRefunded":
            return _by_statement(world, it, step["event"], said)
        case "BookedByHand":
            by = ConfirmedBy.CALLBACK if step["inbox_id"] is not None else ConfirmedBy.STATEMENT
            return BookedByHand(said, it.payment.amount_kes, by)
        case event if event in NAME_SAYS_ALL:
            return NAME_SAYS_ALL[event]()
    message, _ = read_message(bodies.get(str(step["inbox_id"]), b""))
    if isinstance(message, CallbackUnreadable):
        return None
    report = reported(message, actor="replay")
    return report.event if report.name == step["event"] else None


def _by_statement(world: World, it: Replayed, event: str, receipt: str) -> StatementPaid | StatementRefunded | None:
    """From the row on file: of several under one receipt, the one with the payment's amount. None: there is no row."""
    kind, column = (StatementPaid, "paid_in") if event == "StatementPaid" else (StatementRefunded, "withdrawn")
    amounts = [row[column] for row in world.on_statements[receipt] if row[column] > 0]
    if not amounts:
        return None
    return kind(receipt, it.payment.amount_kes if it.payment.amount_kes in amounts else amounts[0])


def _around(world: World, it: Replayed, event: Event, step: Row, confirm_above_kes: Decimal) -> Circumstances:
    receipt: str | None = getattr(event, "receipt", None)
    came_at = None
    if isinstance(event, StatementPaid):
        came_at = next(row["at"] for row in world.on_statements[event.receipt] if row["paid_in"] == event.amount_kes)
    ids = _ids_told(event)
    now: datetime = step["at"]
    return Circumstances(
        now=now,
        confirm_above_kes=confirm_above_kes,
        receipt_taken=world.taken(it, receipt=receipt),
        ids_taken=ids == NOT_KEPT or world.taken(it, ids=ids),
        duplicate_paid=any(
            other.payment.status is Status.PAID
            and other.paid_at is not None
            and (
                other.paid_at > now - DUPLICATE_WITHIN
                or (came_at is not None and abs((other.came_at or other.paid_at) - came_at) <= DUPLICATE_WITHIN)
            )
            for other in world.twins(it)
        ),
        push_in_flight=isinstance(event, StatementPaid)
        and it.payment.status is Status.INITIATED
        and now - it.payment.created_at < AN_INITIATED_PAYMENT_DIED_AFTER,
        receipts_named=frozenset(it.receipts),
        already_judged=step["inbox_id"] is not None and str(step["inbox_id"]) in it.judged,
    )


def _ids_told(event: Event) -> Ids | None:
    return event.ids if isinstance(event, PushAccepted | Confirmed | Declined | UnknownCode) else None


def _after(it: Replayed, decision: Decision) -> Payment:
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


def _compare(it: Replayed) -> Iterator[Difference]:
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


def _compare_callback(world: World, row: Row, confirm_above_kes: Decimal, *, on_record: bool) -> Iterator[Difference]:
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
