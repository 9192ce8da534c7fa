"""A payment under lock: read with all that a decision needs, moved by compare-and-swap, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.erased import ERASED_EMAIL, as_told
from shared.gateway.trail import READ, WRITE
from shared.notices import notice_of, waits_s
from shared.payments import (
    FIRST_QUERY_AFTER,
    NOT_PAID,
    QUERY_CAN_RESOLVE,
    SETTLED,
    Circumstances,
    Decision,
    Ids,
    Outcome,
    Paid,
    Payment,
    ReviewReason,
    Status,
    queries_after_failure,
)

if TYPE_CHECKING:
    from shared.database import Row, Transaction
    from shared.gateway.store import Store
    from shared.gateway.trail import Trail

UNREMARKABLE = frozenset({Outcome.REPEATED, Outcome.STILL_WAITING})
"""Leave no audit row where they change nothing. Ids that a repetition teaches a payment are a change."""

NEVER_LEFT = frozenset({Outcome.REFUSED, Outcome.NOT_SENT})
"""The customer's phone was not asked, and had that as the answer: the key is free again."""
AUDITED = f""",
            audited AS ({WRITE} moved)"""
ALERTED = """,
            alerted AS (
                INSERT INTO outbox (kind, topic, transaction_id)
                SELECT 'alert', unnest(string_to_array(CAST(:alerts AS text), ',')), id FROM moved
                ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO NOTHING)"""
NOTICED = """,
            noticed AS (
                INSERT INTO outbox (kind, topic, transaction_id, tells_of, next_try_at)
                SELECT 'notice', CAST(:notice AS text), id, CAST(:audit_id AS bigint),
                       now() + interval '1 second' * CAST(:notice_waits_s AS float8)
                FROM moved WHERE customer_email <> :erased)"""
ANSWERED = """,
            answered AS (
                INSERT INTO query_answers (transaction_id, result_code, said, outcome)
                SELECT id, CAST(:result_code AS text), CAST(:result_desc AS text), :outcome FROM moved)"""
RELEASED = """,
            released AS (DELETE FROM idempotency_keys k USING moved WHERE k.transaction_id = moved.id)"""
JUDGED = """,
            judged AS (
                UPDATE callback_inbox i SET outcome = :outcome, judged_at = now(), next_try_at = NULL,
                       last_error = NULL, receipts = string_to_array(:receipts, ' ')
                FROM moved WHERE i.id = CAST(:inbox_id AS uuid))"""
JUDGED_AGAIN = """,
            judged_again AS (
                UPDATE callback_inbox i SET outcome = NULL, next_try_at = now(), tries = 0
                FROM moved WHERE i.transaction_id = moved.id AND i.outcome = 'waits_for_query')"""
"""What goes with a change, each only where there is something of its kind: PostgreSQL plans what it is sent anew each
time, and a callback that pays needs the fewest."""


@dataclass(frozen=True)
class Evidence:
    """What an event said, as far as it is kept: told by whom, in which inbox entry, in which words."""

    actor: str
    event: str
    inbox_id: str | None = None
    receipts_seen: tuple[str, ...] = ()
    ids: Ids | None = None
    receipt: str | None = None
    result_code: str | None = None
    result_desc: str | None = None
    response_code: str | None = None
    response_message: str | None = None
    transaction_date: datetime | None = None
    payer: str | None = None
    balance_kes: Decimal | None = None
    may_be_taken_back: bool = False
    by_query: bool = False
    why: str | None = None
    """An operator's own words."""


class Cases:
    """Payments, opened one at a time."""

    def __init__(self, store: Store, trail: Trail, confirm_above_kes: Decimal) -> None:
        self._store = store
        self._trail = trail
        self._confirm_above_kes = confirm_above_kes

    @contextmanager
    def open(self, transaction_id: str, evidence: Evidence) -> Iterator[Case | None]:
        """The payment under its phone's and its row's lock, with what surrounds it; None: no such payment."""
        with self._store.transaction() as tx:
            tx.row(
                """
                SELECT pg_advisory_xact_lock(hashtextextended(CAST(phone_number AS text), 0))
                FROM transactions WHERE id = CAST(:id AS uuid)
                """,
                id=transaction_id,
            )
            row = tx.row(
                f"""
                SELECT t.audit_length, t.audit_head, {READ},
                       t.id, t.status, t.amount, t.created_at, t.merchant_request_id, t.checkout_request_id,
                       t.phone_number, t.ids_are_learnt, t.review_reason, t.success_held_at, c.mpesa_receipt_number,
                       t.status = 'REFUNDED' AND c.id IS NULL AS refunded_unpaid,
                       clock_timestamp() AS now,
                       EXISTS (SELECT FROM payment_confirmations o
                               WHERE o.mpesa_receipt_number = CAST(:receipt AS text) AND o.transaction_id <> t.id)
                       OR EXISTS (SELECT FROM transactions o
                                  WHERE o.refund_receipt = CAST(:receipt AS text) AND o.id <> t.id) AS receipt_taken,
                       EXISTS (SELECT FROM transactions o
                               WHERE (o.checkout_request_id = CAST(:checkout_id AS text)
                                      OR o.merchant_request_id = CAST(:merchant_id AS text))
                                 AND o.id <> t.id) AS ids_taken,
                       EXISTS (SELECT FROM transactions o
                               WHERE o.phone_number = t.phone_number AND o.amount = t.amount
                                 AND o.account_reference = t.account_reference AND o.id <> t.id
                                 AND o.paid_at > now() - interval '24 hours') AS twin_paid,
                       EXISTS (SELECT FROM audit_log a
                               WHERE a.transaction_id = t.id AND a.inbox_id = CAST(:inbox_id AS uuid)
                                 AND a.outcome <> 'waits_for_query') AS weighed_before
                FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
                WHERE t.id = CAST(:id AS uuid)
                FOR UPDATE OF t
                """,
                id=transaction_id,
                receipt=evidence.receipt,
                checkout_id=evidence.ids and evidence.ids.checkout_request_id,
                merchant_id=evidence.ids and evidence.ids.merchant_request_id,
                inbox_id=evidence.inbox_id,
            )
            yield Case(tx, row, evidence, self._trail, self._confirm_above_kes) if row else None


class Case:
    """One payment, locked. `record` writes a decision whole; `note` writes down what decides nothing."""

    def __init__(self, tx: Transaction, row: Row, evidence: Evidence, trail: Trail, confirm_above_kes: Decimal) -> None:
        self._tx = tx
        self._row = row
        self._evidence = evidence
        self._trail = trail
        self.payment = _payment(row, evidence.ids)
        self.circumstances = Circumstances(
            now=row["now"],
            confirm_above_kes=confirm_above_kes,
            receipt_taken=row["receipt_taken"],
            ids_taken=row["ids_taken"],
            twin_paid=row["twin_paid"],
            weighed_before=row["weighed_before"],
        )

    def record(self, decision: Decision) -> bool:
        """Status, ids, audit row, alerts, notice, inbox outcome, confirmation and invoice together. False: nothing
        moved."""
        evidence, changed = self._evidence, decision.status is not self.payment.status
        says_more = evidence.result_code is not None and decision.outcome in (Outcome.DECLINED, Outcome.REPEATED)
        says_more = says_more and decision.status in NOT_PAID and not self.circumstances.weighed_before
        never_left = decision.outcome in NEVER_LEFT
        remarkable = changed or decision.ids is not None or decision.outcome not in UNREMARKABLE
        remarkable = remarkable or evidence.why is not None
        step = self._step(decision.outcome.value, decision.status, decision.review_reason)
        effects = [*([(AUDITED, step)] if remarkable else []), *self._effects(decision)]
        asked = {name: value for _, more in effects for name, value in more.items()}
        row = self._tx.row(
            f"""
            WITH moved AS (
                UPDATE transactions SET
                    status = :now, review_reason = :review_reason,
                    updated_at = CASE WHEN :changed THEN now() ELSE updated_at END,
                    merchant_request_id = coalesce(:merchant_id, merchant_request_id),
                    checkout_request_id = coalesce(:checkout_id, checkout_request_id),
                    ids_are_learnt = CASE WHEN CAST(:checkout_id AS text) IS NULL THEN ids_are_learnt ELSE :learnt END,
                    response_code = coalesce(:response_code, response_code),
                    response_message = coalesce(:response_message, response_message),
                    result_code = CASE WHEN :paid THEN '0' WHEN :says_more THEN :result_code ELSE result_code END,
                    result_desc = CASE WHEN :paid OR :says_more THEN :result_desc ELSE result_desc END,
                    pushed_at = CASE WHEN :never_left THEN NULL ELSE pushed_at END,
                    callback_received_at = CASE WHEN CAST(:inbox_id AS uuid) IS NULL THEN callback_received_at
                                                ELSE coalesce(callback_received_at, now()) END,
                    success_held_at = CASE WHEN :hold THEN coalesce(success_held_at, now())
                                           WHEN NOT :drop THEN success_held_at END,
                    paid_at = CASE WHEN :paid THEN now() ELSE paid_at END,
                    paid_late = paid_late OR :late,
                    failed_at = CASE WHEN :failed THEN now() ELSE failed_at END,
                    refunded_at = CASE WHEN :refunded THEN now() ELSE refunded_at END,
                    refund_receipt = CASE WHEN :refunded THEN :receipt ELSE refund_receipt END,
                    next_query_at = CASE WHEN :asks THEN CAST(:next_query_at AS timestamptz) ELSE next_query_at END,
                    audit_length = CASE WHEN :remarkable THEN :audit_length ELSE audit_length END,
                    audit_head = CASE WHEN :remarkable THEN :audit_head ELSE audit_head END
                WHERE id = CAST(:id AS uuid) AND status = :was
                RETURNING id, customer_email){"".join(sql for sql, _ in effects)}
            SELECT id FROM moved
            """,
            **asked
            | {
                "id": self.payment.id,
                "was": self.payment.status.value,
                "now": decision.status.value,
                "changed": changed,
                "review_reason": decision.review_reason.value
                if decision.status is Status.REVIEW and decision.review_reason
                else None,
                "merchant_id": decision.ids and decision.ids.merchant_request_id,
                "checkout_id": decision.ids and decision.ids.checkout_request_id,
                "learnt": decision.ids_are_learnt,
                "response_code": evidence.response_code,
                "response_message": evidence.response_message,
                "says_more": says_more,
                "result_code": evidence.result_code,
                "result_desc": evidence.result_desc,
                "never_left": never_left,
                "inbox_id": evidence.inbox_id,
                "hold": decision.hold_success,
                "drop": decision.drop_success,
                "paid": decision.paid is not None,
                "late": decision.outcome is Outcome.PAID_LATE,
                "failed": changed and decision.status in NOT_PAID,
                "refunded": changed and decision.status is Status.REFUNDED,
                "receipt": evidence.receipt,
                **self._next_query(decision),
                "remarkable": remarkable,
                "audit_length": step["audit_length"],
                "audit_head": step["audit_head"],
            },
        )
        if row is not None and decision.paid is not None:
            self._confirm(decision.paid)
        if row is not None and decision.fill_receipt is not None:
            self._fill_receipt(decision.fill_receipt)
        return row is not None

    def _effects(self, decision: Decision) -> Iterator[tuple[str, dict[str, object]]]:
        """What goes with a move, each with what it alone asks for."""
        evidence = self._evidence
        outcome: dict[str, object] = {"outcome": decision.outcome.value}
        if decision.alerts:
            yield ALERTED, {"alerts": ",".join(alert.value for alert in decision.alerts)}
        if notice := notice_of(self.payment.status, decision):
            yield NOTICED, {"notice": notice.value, "notice_waits_s": waits_s(notice), "erased": ERASED_EMAIL}
        if evidence.by_query:
            yield ANSWERED, outcome
        if decision.outcome in NEVER_LEFT:
            yield RELEASED, {}
        if evidence.inbox_id is not None:
            yield JUDGED, {**outcome, "receipts": " ".join(evidence.receipts_seen)}
        if decision.paid is not None:
            yield JUDGED_AGAIN, {}

    def note(self, outcome: str) -> None:
        """One audit row about something that changes no status: by whom and why, the evidence says. Once a case."""
        evidence = self._evidence
        self._trail.note(
            self._tx,
            self._row,
            self.payment.id,
            actor=evidence.actor,
            event=evidence.event,
            outcome=outcome,
            reason=evidence.why,
            inbox_id=evidence.inbox_id,
            said=evidence.result_code or evidence.receipt,
        )

    def _step(self, outcome: str, status: Status, review_reason: ReviewReason | None = None) -> dict[str, object]:
        evidence = self._evidence
        return self._trail.step(
            self._row,
            self.payment.id,
            actor=evidence.actor,
            event=evidence.event,
            outcome=outcome,
            from_status=self.payment.status.value,
            to_status=status.value,
            reason=evidence.why or (review_reason.value if review_reason else None),
            inbox_id=evidence.inbox_id,
            said=evidence.result_code or evidence.receipt,
        )

    def _confirm(self, paid: Paid) -> None:
        """The confirmation, the invoice where there is an address, and its place in the outbox."""
        self._tx.run(
            """
            WITH confirmed AS (
                INSERT INTO payment_confirmations (transaction_id, evidence, inbox_id, result_desc, amount,
                    mpesa_receipt_number, balance_amount, transaction_date, phone_number)
                SELECT id, :evidence, CAST(:inbox_id AS uuid), :result_desc, amount, :receipt,
                       CAST(:balance AS numeric), CAST(:transaction_date AS timestamptz), :payer
                FROM transactions WHERE id = CAST(:id AS uuid)
                RETURNING transaction_id),
            invoiced AS (
                INSERT INTO invoices (transaction_id, customer_email, customer_name, customer_phone, amount)
                SELECT t.id, t.customer_email, t.customer_name, t.phone_number, t.amount
                FROM transactions t JOIN confirmed ON confirmed.transaction_id = t.id WHERE t.customer_email IS NOT NULL
                RETURNING transaction_id)
            INSERT INTO outbox (kind, topic, transaction_id) SELECT 'invoice', 'settled', transaction_id FROM invoiced
            """,
            id=self.payment.id,
            evidence=paid.evidence.value,
            receipt=paid.receipt,
            result_desc=self._evidence.result_desc,
            **self._told(),
        )

    def _fill_receipt(self, receipt: str) -> None:
        """What a query could not say: all of it is still missing where the receipt is."""
        self._tx.run(
            """
            UPDATE payment_confirmations SET
                   mpesa_receipt_number = :receipt, inbox_id = CAST(:inbox_id AS uuid),
                   balance_amount = CAST(:balance AS numeric),
                   transaction_date = CAST(:transaction_date AS timestamptz), phone_number = :payer
            WHERE transaction_id = CAST(:id AS uuid) AND mpesa_receipt_number IS NULL
            """,
            id=self.payment.id,
            receipt=receipt,
            **self._told(),
        )

    def _told(self) -> dict[str, object]:
        told = self._evidence
        return {
            "inbox_id": told.inbox_id,
            "balance": told.balance_kes,
            "transaction_date": told.transaction_date,
            "payer": told.payer,
        }

    def _next_query(self, decision: Decision) -> dict[str, object]:
        """When to ask Daraja about it, where this decision changes that."""
        now: datetime = self._row["now"]
        if decision.hold_success:
            return {"asks": True, "next_query_at": now}
        if decision.status is Status.PENDING and self.payment.success_held:
            return {"asks": True, "next_query_at": now}
        if decision.status is Status.PENDING and self.payment.status is not Status.PENDING:
            return {"asks": True, "next_query_at": max(now, self.payment.created_at + FIRST_QUERY_AFTER)}
        if decision.status in SETTLED:
            return {"asks": True, "next_query_at": None}
        if decision.status is Status.REVIEW and decision.review_reason not in QUERY_CAN_RESOLVE:
            return {"asks": True, "next_query_at": None}  # no answer changes it; the budget belongs to the others
        if decision.ids and not decision.ids_are_learnt and decision.review_reason in QUERY_CAN_RESOLVE:
            return {"asks": True, "next_query_at": max(now, self.payment.created_at + FIRST_QUERY_AFTER)}
        if decision.status in NOT_PAID and decision.status is not self.payment.status:
            again = queries_after_failure(now, now) if self._evidence.may_be_taken_back else None
            return {"asks": True, "next_query_at": again}
        return {"asks": False, "next_query_at": None}


def _payment(row: Row, told: Ids | None) -> Payment:
    checkout_id, merchant_id = row["checkout_request_id"], row["merchant_request_id"]
    stored = Ids(merchant_id, checkout_id) if checkout_id is not None else None
    return Payment(
        id=str(row["id"]),
        status=Status(row["status"]),
        amount_kes=row["amount"],
        created_at=row["created_at"],
        ids=as_told(stored, told, row["phone_number"]),
        ids_are_learnt=row["ids_are_learnt"],
        review_reason=ReviewReason(row["review_reason"]) if row["review_reason"] else None,
        receipt=row["mpesa_receipt_number"],
        success_held=row["success_held_at"] is not None,
        refunded_unpaid=row["refunded_unpaid"],
    )
