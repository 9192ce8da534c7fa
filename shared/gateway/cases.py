"""A payment under lock: read and changed in one transaction. One file, so that all its statements stand together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.gateway.alerts import alert, incident_of
from shared.gateway.trail import READ
from shared.notices import notice_of, waits_s
from shared.payments import (
    NOT_PAID,
    Alert,
    Before,
    BookedByHand,
    Circumstances,
    Confirmed,
    Decision,
    Event,
    Ids,
    OperatorPaid,
    OperatorReopened,
    Outcome,
    Paid,
    Payment,
    QueryConfirmed,
    QueryDeclined,
    ReviewReason,
    StatementPaid,
    Status,
    before_the_word,
)
from shared.query_schedule import UNCHANGED, after_decision
from shared.shop_events import sale_of, webhook_of
from shared.values import ERASED_EMAIL, as_named

if TYPE_CHECKING:
    from shared.database import Database, Row, Transaction
    from shared.gateway.trail import Signed, Trail

CAN_PAY = (Confirmed, QueryConfirmed, OperatorPaid, OperatorReopened, StatementPaid, BookedByHand)
"""Events after which an order may be paid twice."""
NOT_AUDITED = frozenset({Outcome.REPEATED, Outcome.STILL_WAITING, Outcome.WAITS_FOR_PUSH})
"""These outcomes get no audit row, unless they bring new ids."""
NOT_ITS_MONEY = frozenset({Outcome.NOTED, Outcome.CONTRADICTS})
"""After these outcomes a statement row is still nobody's."""
PROMPT_NOT_SENT = frozenset({Outcome.REFUSED, Outcome.NOT_SENT})
"""No prompt went out and the caller knows. The Idempotency-Key may be used again."""


@dataclass(frozen=True)
class Report:
    """What happened, who said so, and what is kept of their words."""

    event: Event
    actor: str
    """stkpush, callback, sweep or `operator NAME`."""
    inbox_id: str | None = None
    """The callback on file."""
    receipts_seen: tuple[str, ...] = ()
    result_code: str | None = None
    result_desc: str | None = None
    response_code: str | None = None
    response_message: str | None = None
    transaction_date: datetime | None = None
    payer: str | None = None
    balance_kes: Decimal | None = None
    why: str | None = None
    """An operator's own words."""
    statement_row_id: int | None = None
    """The row of a statement on file."""

    @property
    def name(self) -> str:
        """As the audit log names the event."""
        return type(self.event).__name__

    @property
    def ids(self) -> Ids | None:
        return getattr(self.event, "ids", None)

    @property
    def receipt(self) -> str | None:
        return getattr(self.event, "receipt", None)

    @property
    def said(self) -> str | None:
        """What the audit row quotes: the result code, or the receipt that an operator saw."""
        return self.result_code or self.receipt


class Cases:
    """Payments, opened one at a time."""

    def __init__(
        self,
        store: Database,
        trail: Trail,
        confirm_above_kes: Decimal,
        *,
        references_are_reusable: bool,
        webhooks: bool,
    ) -> None:
        self._store = store
        self._trail = trail
        self._confirm_above_kes = confirm_above_kes
        self._once = not references_are_reusable
        self._webhooks = webhooks

    @contextmanager
    def open(self, transaction_id: str, report: Report) -> Iterator[Case | None]:
        """The payment under its phone's and its row's lock, with its circumstances; None: no such payment."""
        with self._store.transaction() as tx:
            yield self.within(tx, transaction_id, report)

    def within(self, tx: Transaction, transaction_id: str, report: Report) -> Case | None:
        """The same in a transaction that is open already, in which the payment may have been inserted."""
        tx.later(
            """
            SELECT pg_advisory_xact_lock(hashtextextended(CAST(phone_number AS text), 0))
            FROM transactions WHERE id = CAST(:id AS uuid)
            """,
            id=transaction_id,
        )
        if isinstance(report.event, CAN_PAY):  # two payments of one order at once: the second one sees the first
            tx.later(
                """
                SELECT pg_advisory_xact_lock(hashtextextended(lower(account_reference), 3))
                FROM transactions WHERE id = CAST(:id AS uuid) AND (:once OR link_digest IS NOT NULL)
                """,
                id=transaction_id,
                once=self._once,
            )
        row = tx.row(
            f"""
            SELECT t.audit_length, t.audit_head, {READ},
                   t.id, t.status, t.amount, least(t.created_at, now()) AS created_at,
                   t.merchant_request_id, t.checkout_request_id,
                   t.phone_number, t.customer_email, t.customer_name, t.ids_are_learnt, t.review_reason,
                   t.success_held_at, t.callback_received_at, t.next_query_at, c.mpesa_receipt_number,
                   t.pushed_at IS NOT NULL AS pushed,
                   CASE WHEN t.status NOT IN ('INITIATED', 'PENDING', 'UNCERTAIN') THEN
                       ARRAY(SELECT unnest(i.receipts) FROM audit_log a JOIN callback_inbox i ON i.id = a.inbox_id
                             WHERE a.transaction_id = t.id) END AS receipts_named,
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
                             AND lower(o.account_reference) = lower(t.account_reference) AND o.id <> t.id
                             AND o.status = 'PAID'
                             AND (o.paid_at > now() - interval '24 hours' OR CAST(:came_at AS timestamptz) IS NOT NULL
                                  AND coalesce((SELECT oc.transaction_date FROM payment_confirmations oc
                                                WHERE oc.transaction_id = o.id), o.paid_at)
                                      BETWEEN CAST(:came_at AS timestamptz) - interval '24 hours'
                                          AND CAST(:came_at AS timestamptz) + interval '24 hours')) AS duplicate_paid,
                   EXISTS (SELECT FROM transactions o
                           WHERE o.link_digest = t.link_digest AND o.status = 'PAID' AND o.id <> t.id)
                   OR :once AND EXISTS (
                       SELECT FROM transactions o
                       WHERE lower(o.account_reference) = lower(t.account_reference) AND o.paid_at IS NOT NULL
                         AND o.status = 'PAID' AND o.id <> t.id) AS order_paid,
                   t.status = 'INITIATED' AND t.created_at BETWEEN now() - interval '90 seconds'
                                                               AND now() + interval '1 minute' AS push_in_flight,
                   EXISTS (SELECT FROM callback_inbox i
                           WHERE i.transaction_id = t.id AND i.outcome IS NULL) AS callback_waits,
                   EXISTS (SELECT FROM audit_log a
                           WHERE a.transaction_id = t.id AND a.inbox_id = CAST(:inbox_id AS uuid)
                             AND a.outcome <> 'waits_for_query') AS already_judged,
                   coalesce(t.next_query_at <= now()
                            AND coalesce(t.last_query_at < t.created_at + interval '45 minutes', true)
                            AND coalesce((SELECT began_at FROM sweeps) < t.created_at + interval '2 hours', true),
                            false) AS query_comes_first
            FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
            WHERE t.id = CAST(:id AS uuid)
            FOR UPDATE OF t
            """,
            id=transaction_id,
            receipt=report.receipt,
            checkout_id=report.ids and report.ids.checkout_request_id,
            merchant_id=report.ids and report.ids.merchant_request_id,
            inbox_id=report.inbox_id,
            came_at=report.transaction_date if isinstance(report.event, StatementPaid) else None,
            once=self._once,
        )
        if row is None:
            return None
        before = stood_before(tx, transaction_id) if isinstance(report.event, OperatorReopened) else None
        return Case(tx, row, report, self._trail, self._confirm_above_kes, self._webhooks, before)


class Case:
    """One payment, locked. `record` writes a decision whole."""

    def __init__(
        self,
        tx: Transaction,
        row: Row,
        report: Report,
        trail: Trail,
        confirm_above_kes: Decimal,
        webhooks: bool,
        before: Before | None = None,
    ) -> None:
        self._tx = tx
        self._row = row
        self._report = report
        self._trail = trail
        self._webhooks = webhooks
        self.payment = _payment(row, report.ids, before)
        self.circumstances = Circumstances(
            now=row["now"],
            confirm_above_kes=confirm_above_kes,
            receipt_taken=row["receipt_taken"],
            ids_taken=row["ids_taken"],
            duplicate_paid=row["duplicate_paid"],
            order_paid=row["order_paid"],
            push_in_flight=row["push_in_flight"],
            callback_waits=row["callback_waits"],
            already_judged=row["already_judged"],
            query_comes_first=row["query_comes_first"],
            receipts_named=frozenset(row["receipts_named"] or ()),
        )

    def record(self, decision: Decision) -> bool:
        """The decision, whole: the payment's columns, then what goes with them. False: somebody else changed it."""
        audited = self._is_audited(decision)
        signed = self._signed(decision)
        columns = self._columns(decision) | (signed.payment if audited else {})
        if columns and not self._move(columns):
            return False
        if audited:
            self._trail.write(self._tx, signed)
        self._close_inbox_entry(decision)
        self._queue(decision)
        if decision.paid is not None:
            self._confirm(decision.paid)
        if decision.fill_receipt is not None:
            self._fill_receipt(decision.fill_receipt)
        if self._report.statement_row_id is not None and decision.outcome not in NOT_ITS_MONEY:
            self._take_statement_row()
        return True

    def sends_now(self, decision: Decision) -> bool:
        """Whether this decision makes an alert, or something for the shop, due. (The rest comes with it, or waits.)"""
        return bool(decision.alerts) or any(self._told(decision).values())

    def _told(self, decision: Decision) -> dict[str, str | None]:
        """What the shop is told of it, by kind."""
        return {
            "sale": sale_of(self.payment.status, decision),
            "webhook": webhook_of(self.payment.status, decision) if self._webhooks else None,
        }

    # The payment's row --------------------------------------------------------------------------------------------

    def _move(self, columns: Mapping[str, object]) -> bool:
        """Compare-and-swap on the status. `status || ''` keeps PostgreSQL off the index on status: old statistics make
        that index look cheaper than the primary key."""
        setting = ", ".join([f"{column} = :{column}" for column in columns])
        return bool(
            self._tx.run(
                f"UPDATE transactions SET {setting} WHERE id = CAST(:id AS uuid) AND status || '' = :was",
                **columns,
                id=self.payment.id,
                was=self.payment.status.value,
            )
        )

    def _columns(self, decision: Decision) -> dict[str, object]:
        """What changes, by column."""
        payment, report, at = self.payment, self._report, self._row["audit_at"]
        columns: dict[str, object] = {}
        if decision.status is not payment.status:
            columns |= {"status": decision.status.value, "updated_at": at}
        reason = decision.review_reason if decision.status is Status.REVIEW else None
        if reason is not payment.review_reason:
            columns["review_reason"] = reason and reason.value
        if decision.ids is not None:
            columns |= {
                "merchant_request_id": decision.ids.merchant_request_id,
                "checkout_request_id": decision.ids.checkout_request_id,
                "ids_are_learnt": decision.ids_are_learnt,
            }
        if report.response_code is not None:
            columns["response_code"] = report.response_code
        if report.response_message is not None:
            columns["response_message"] = report.response_message
        if decision.outcome in PROMPT_NOT_SENT and not decision.judge_waiting:
            columns["pushed_at"] = None
        if report.inbox_id is not None and self._row["callback_received_at"] is None:
            columns["callback_received_at"] = at
        if decision.hold_success and not payment.success_held:
            columns["success_held_at"] = at
        if decision.drop_success:
            columns["success_held_at"] = None
        if decision.paid is not None:
            columns |= {"result_code": "0", "result_desc": report.result_desc, "paid_at": at}
        elif self._explains_failure(decision):
            columns |= {"result_code": report.result_code, "result_desc": report.result_desc}
        if decision.outcome is Outcome.PAID_LATE:
            columns["paid_late"] = True
        if decision.status in NOT_PAID and decision.status is not payment.status:
            columns["failed_at"] = at
        if decision.status is Status.REFUNDED and decision.status is not payment.status:
            columns |= {"refunded_at": at, "refund_receipt": report.receipt}
        if payment.status is Status.REFUNDED and decision.status is not payment.status:
            columns |= {"refunded_at": None, "refund_receipt": None}  # the audit log keeps both
        next_query = after_decision(payment, report.event, decision, self._row["now"])
        if next_query is not UNCHANGED and next_query != self._row["next_query_at"]:
            columns["next_query_at"] = next_query
        return columns

    def _explains_failure(self, decision: Decision) -> bool:
        explains = decision.outcome in (Outcome.DECLINED, Outcome.REPEATED) and decision.status in NOT_PAID
        return explains and self._report.result_code is not None and not self.circumstances.already_judged

    # What is written beside the row: statements that are sent together with COMMIT --------------------------------

    def _is_audited(self, decision: Decision) -> bool:
        changed = decision.status is not self.payment.status or decision.ids is not None
        return changed or decision.outcome not in NOT_AUDITED or self._report.why is not None

    def _signed(self, decision: Decision) -> Signed:
        report, reason = self._report, decision.review_reason
        return self._trail.sign(
            self._row,
            self.payment.id,
            actor=report.actor,
            event=report.name,
            outcome=decision.outcome.value,
            from_status=self.payment.status.value,
            to_status=decision.status.value,
            reason=": ".join(filter(None, (reason and reason.value, report.why))) or None,
            inbox_id=report.inbox_id,
            said=report.said,
        )

    def _close_inbox_entry(self, decision: Decision) -> None:
        """The callback gets its outcome, or waits. What waited for the push or for a query is to be judged now."""
        if decision.outcome is Outcome.WAITS_FOR_PUSH:
            self._tx.later(
                """
                UPDATE callback_inbox SET tries = 0, receipts = string_to_array(:receipts, ' '),
                       next_try_at = (SELECT created_at FROM transactions t WHERE t.id = transaction_id)
                                     + interval '91 seconds'
                WHERE id = CAST(:inbox_id AS uuid) AND outcome IS NULL
                """,
                inbox_id=self._report.inbox_id,
                receipts=" ".join(self._report.receipts_seen),
            )
        elif self._report.inbox_id is not None:
            self._tx.later(
                """
                UPDATE callback_inbox SET outcome = :outcome, judged_at = now(), next_try_at = NULL, last_error = NULL,
                       receipts = string_to_array(:receipts, ' ')
                WHERE id = CAST(:inbox_id AS uuid)
                """,
                inbox_id=self._report.inbox_id,
                outcome=decision.outcome.value,
                receipts=" ".join(self._report.receipts_seen),
            )
        if decision.judge_waiting:
            self._tx.later(
                """
                UPDATE callback_inbox SET next_try_at = now(), tries = 0
                WHERE transaction_id = CAST(:id AS uuid) AND outcome IS NULL
                """,
                id=self.payment.id,
            )
        if decision.paid is not None:
            self._tx.later(
                """
                UPDATE callback_inbox SET outcome = NULL, next_try_at = now(), tries = 0
                WHERE transaction_id = CAST(:id AS uuid) AND outcome = 'waits_for_query'
                """,
                id=self.payment.id,
            )

    def _queue(self, decision: Decision) -> None:
        """Write alerts, notice, what the shop is told, a query's answer. Delete the key if no prompt went out."""
        payment_id, report = self.payment.id, self._report
        for topic in decision.alerts:
            if topic is Alert.SHOP_MISCONFIGURED:
                code = report.result_code or report.response_code or ""
                incident_of(self._tx, topic.value, payment_id, {"daraja_code": code}, code)
            else:
                alert(self._tx, topic.value, payment_id)
        notice = notice_of(self.payment.status, decision)
        if notice is not None and self._row["customer_email"] not in (None, ERASED_EMAIL):
            self._tx.later(
                """
                INSERT INTO outbox (kind, topic, transaction_id, tells_of, next_try_at)
                VALUES ('notice', :notice, CAST(:id AS uuid), :audit_id,
                        now() + interval '1 second' * CAST(:waits_s AS float8))
                """,
                id=payment_id,
                notice=notice.value,
                audit_id=self._row["audit_id"],
                waits_s=waits_s(notice),
            )
        told = self._told(decision)
        if any(told.values()):
            self._tx.later(
                """
                INSERT INTO outbox (kind, topic, transaction_id, tells_of)
                SELECT kind, topic, CAST(:id AS uuid), :audit_id
                FROM (VALUES ('sale', CAST(:sale AS text)), ('webhook', CAST(:webhook AS text))) AS told (kind, topic)
                WHERE topic IS NOT NULL
                """,
                id=payment_id,
                audit_id=self._row["audit_id"],
                **told,
            )
        if isinstance(report.event, QueryConfirmed | QueryDeclined):
            self._tx.later(
                """
                INSERT INTO query_answers (transaction_id, result_code, said, outcome)
                VALUES (CAST(:id AS uuid), :result_code, :result_desc, :outcome)
                """,
                id=payment_id,
                result_code=report.result_code,
                result_desc=report.result_desc,
                outcome=decision.outcome.value,
            )
        if decision.outcome in PROMPT_NOT_SENT and not decision.judge_waiting:
            self._tx.later("DELETE FROM idempotency_keys WHERE transaction_id = CAST(:id AS uuid)", id=payment_id)

    def _confirm(self, paid: Paid) -> None:
        """The confirmation, and the invoice where there is an address.

        The invoice comes last: its number takes a lock of the whole shop (`next_invoice_number` in the schema).
        """
        by_row = self._report.statement_row_id is not None  # the functions may not write this column
        column, value = (", statement_row_id", ", :statement_row_id") if by_row else ("", "")
        self._tx.later(
            f"""
            INSERT INTO payment_confirmations (transaction_id, evidence, inbox_id, result_desc, amount,
                mpesa_receipt_number, balance_amount, transaction_date, phone_number{column})
            VALUES (CAST(:id AS uuid), :evidence, CAST(:inbox_id AS uuid), :result_desc, :amount, :receipt,
                    :balance, :transaction_date, :payer{value})
            """,
            id=self.payment.id,
            evidence=paid.evidence.value,
            amount=self.payment.amount_kes,
            receipt=paid.receipt,
            result_desc=self._report.result_desc,
            **self._quoted(),
        )
        if self._row["customer_email"] is None:
            return
        self._tx.later(
            "INSERT INTO outbox (kind, topic, transaction_id) VALUES ('invoice', 'settled', CAST(:id AS uuid))",
            id=self.payment.id,
        )
        self._tx.later(
            """
            INSERT INTO invoices (transaction_id, customer_email, customer_name, customer_phone, amount)
            VALUES (CAST(:id AS uuid), :email, :name, :phone, :amount)
            """,
            id=self.payment.id,
            email=self._row["customer_email"],
            name=self._row["customer_name"],
            phone=self._row["phone_number"],
            amount=self.payment.amount_kes,
        )

    def _fill_receipt(self, receipt: str) -> None:
        """A query gives no receipt, balance, date or payer. The callback, or a statement, brings them now."""
        by_row = ", statement_row_id = :statement_row_id" if self._report.statement_row_id is not None else ""
        self._tx.later(
            f"""
            UPDATE payment_confirmations SET
                   mpesa_receipt_number = :receipt, inbox_id = CAST(:inbox_id AS uuid),
                   balance_amount = :balance, transaction_date = :transaction_date, phone_number = :payer{by_row}
            WHERE transaction_id = CAST(:id AS uuid) AND mpesa_receipt_number IS NULL
            """,
            id=self.payment.id,
            receipt=receipt,
            **self._quoted(),
        )

    def _take_statement_row(self) -> None:
        """The row is this payment's, and so is the charge under the same receipt."""
        self._tx.later(
            """
            UPDATE statement_rows SET transaction_id = CAST(:id AS uuid)
            WHERE transaction_id IS NULL AND receipt = (SELECT receipt FROM statement_rows WHERE id = :row_id)
            """,
            id=self.payment.id,
            row_id=self._report.statement_row_id,
        )

    def _quoted(self) -> dict[str, object]:
        report = self._report
        row_id = {} if report.statement_row_id is None else {"statement_row_id": report.statement_row_id}
        return {
            **row_id,
            "inbox_id": report.inbox_id,
            "balance": report.balance_kes,
            "transaction_date": report.transaction_date,
            "payer": report.payer,
        }


def stood_before(tx: Transaction, transaction_id: str) -> Before | None:
    """Where the payment stood before the last change of its status, where a person's word was that change."""
    last = tx.row(
        """
        SELECT event, from_status, (
            SELECT split_part(r.reason, ':', 1) FROM audit_log r
            WHERE r.transaction_id = a.transaction_id AND r.to_status = 'REVIEW'
              AND split_part(r.reason, ':', 1) = ANY (string_to_array(:reasons, ' '))
            ORDER BY r.place DESC LIMIT 1) AS review_reason
        FROM audit_log a
        WHERE transaction_id = CAST(:id AS uuid) AND from_status <> to_status ORDER BY place DESC LIMIT 1
        """,
        id=transaction_id,
        reasons=" ".join(ReviewReason),
    )
    return before_the_word(last["event"], last["from_status"], last["review_reason"]) if last else None


def _payment(row: Row, reported: Ids | None, before: Before | None) -> Payment:
    checkout_id, merchant_id = row["checkout_request_id"], row["merchant_request_id"]
    stored = Ids(merchant_id, checkout_id) if checkout_id is not None else None
    return Payment(
        id=str(row["id"]),
        status=Status(row["status"]),
        amount_kes=row["amount"],
        created_at=row["created_at"],
        ids=as_named(stored, reported, row["phone_number"]),
        ids_are_learnt=row["ids_are_learnt"],
        review_reason=ReviewReason(row["review_reason"]) if row["review_reason"] else None,
        receipt=row["mpesa_receipt_number"],
        success_held=row["success_held_at"] is not None,
        refunded_unpaid=row["refunded_unpaid"],
        pushed=row["pushed"],
        before=before,
    )
