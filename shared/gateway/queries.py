"""Which payment Daraja is asked about next, within a budget that all instances share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.payments import NOT_PAID, Ids, Payment, Status, next_query_at, queries_after_failure

if TYPE_CHECKING:
    from shared.gateway.store import Store

A_THROTTLED_APP_WAITS_S = 60
A_QUESTION_NOT_ANSWERED_WAITS = timedelta(minutes=5)
A_FAILURE_IS_ASKED_ABOUT_FOR = timedelta(hours=2)


@dataclass(frozen=True)
class QueryDue:
    """A payment to ask about, leased for a minute."""

    payment: Payment
    checkout_request_id: str
    failed_at: datetime | None
    asked_at: datetime


@dataclass(frozen=True)
class Later:
    """Nothing may be asked before so many seconds; None: nothing is due at all."""

    in_s: float | None


class Queries:
    """The schedule and the budget."""

    def __init__(self, store: Store, app: str) -> None:
        self._store = store
        self._app = app

    def take(self, every_s: float) -> QueryDue | Later:
        """First those waiting for confirmation, then those a customer is watching, then the oldest; one slot each."""
        with self._store.transaction() as tx:
            (row,) = tx.rows(
                """
                WITH due AS (
                    SELECT id FROM transactions
                    WHERE next_query_at <= now() AND checkout_request_id IS NOT NULL AND NOT ids_are_learnt
                    ORDER BY success_held_at IS NOT NULL AND status <> 'PAID' DESC,
                             coalesce(watched_at > now() - interval '30 seconds', false) DESC, created_at
                    LIMIT 1 FOR UPDATE SKIP LOCKED),
                slot AS (
                    INSERT INTO query_budget (app, next_slot_at)
                    SELECT :app, now() + interval '1 second' * CAST(:every_s AS float8) FROM due
                    ON CONFLICT (app) DO UPDATE SET next_slot_at = excluded.next_slot_at
                    WHERE query_budget.next_slot_at <= now()
                    RETURNING app),
                taken AS (
                    UPDATE transactions t SET next_query_at = now() + interval '1 minute', last_query_at = now(),
                           query_count = query_count + 1
                    FROM due, slot WHERE t.id = due.id
                    RETURNING t.*)
                SELECT t.id, t.status, t.amount, t.created_at, t.merchant_request_id, t.checkout_request_id,
                       t.failed_at, t.success_held_at, now() AS now, EXISTS (SELECT FROM due) AS any_due,
                       (SELECT extract(epoch FROM next_slot_at - now()) FROM query_budget WHERE app = :app) AS free_in_s
                FROM (SELECT 1) one LEFT JOIN taken t ON true
                """,
                app=self._app,
                every_s=every_s,
            )
        if row["id"] is None:
            return Later(max(float(row["free_in_s"] or 0), 0.1) if row["any_due"] else None)
        payment = Payment(
            id=str(row["id"]),
            status=Status(row["status"]),
            amount_kes=row["amount"],
            created_at=row["created_at"],
            ids=Ids(row["merchant_request_id"], row["checkout_request_id"]),
            success_held=row["success_held_at"] is not None,
        )
        return QueryDue(payment, row["checkout_request_id"], row["failed_at"], row["now"])

    def ask_again(self, due: QueryDue, no_answer: str | None = None, *, throttled: bool = False) -> None:
        """The answer settled nothing: the next one comes by the schedule. `no_answer` is what came in its place.

        A failure is asked about only twice, so a question that nobody answered is not one of them. A question that was
        one too many was not even heard: it is asked again when all others are, not by the schedule.
        """
        again = next_query_at(due.payment, due.asked_at)
        if due.payment.status in NOT_PAID and not due.payment.success_held and due.failed_at is not None:
            again = queries_after_failure(due.failed_at, due.asked_at)
            if no_answer is not None and due.asked_at < due.failed_at + A_FAILURE_IS_ASKED_ABOUT_FOR:
                again = due.asked_at + A_QUESTION_NOT_ANSWERED_WAITS
        if throttled and again is not None:
            again = min(again, due.asked_at + timedelta(seconds=A_THROTTLED_APP_WAITS_S))
        with self._store.transaction() as tx:
            tx.run(
                """
                WITH answered AS (
                    INSERT INTO query_answers (transaction_id, said, outcome)
                    SELECT CAST(:id AS uuid), CAST(:no_answer AS text), 'no_answer_yet'
                    WHERE CAST(:no_answer AS text) IS NOT NULL)
                UPDATE transactions SET next_query_at = CAST(:again AS timestamptz)
                WHERE id = CAST(:id AS uuid) AND status = :was
                """,
                id=due.payment.id,
                was=due.payment.status.value,
                again=again,
                no_answer=no_answer,
            )

    def throttled(self) -> None:
        """Daraja said 429: everybody waits a minute."""
        with self._store.transaction() as tx:
            tx.run(
                """
                UPDATE query_budget
                SET next_slot_at = greatest(next_slot_at, now() + interval '1 second' * CAST(:wait_s AS float8))
                WHERE app = :app
                """,
                app=self._app,
                wait_s=A_THROTTLED_APP_WAITS_S,
            )

    def silent(self, most: int) -> list[str]:
        """What the clock has something to say about: died before its push, or waiting too long.

        So does a success that came after a failure and is held for a query, once it is held for a quarter of an hour.
        """
        with self._store.transaction() as tx:
            rows = tx.rows(
                """
                SELECT t.id FROM transactions t
                WHERE t.status = 'INITIATED' AND t.created_at <= now() - interval '90 seconds'
                   OR t.status IN ('PENDING', 'UNCERTAIN') AND t.created_at <= now() - interval '60 minutes'
                   OR t.status = 'UNCERTAIN' AND t.created_at <= now() - interval '15 minutes'
                   OR t.status IN ('FAILED', 'CANCELLED', 'EXPIRED')
                      AND t.success_held_at <= now() - interval '15 minutes'
                      AND (t.created_at <= now() - interval '60 minutes'
                           OR NOT EXISTS (SELECT FROM outbox o WHERE o.transaction_id = t.id
                                            AND o.kind = 'alert' AND o.topic = 'silence'))
                   OR t.status IN ('INITIATED', 'PENDING', 'UNCERTAIN')
                      AND t.created_at <= now() - interval '15 minutes'
                      AND NOT EXISTS (SELECT FROM outbox o WHERE o.transaction_id = t.id
                                        AND o.kind = 'alert' AND o.topic = 'silence')
                ORDER BY t.created_at LIMIT :most
                """,
                most=most,
            )
            return [str(row["id"]) for row in rows]
