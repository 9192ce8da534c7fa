"""What all instances share of Daraja: one access token, and one budget of queries.

The token is kept in the database and fetched by whoever holds the lease. A new token invalidates the old one (Daraja
portal, Authorization FAQ), so two instances that each fetch their own would keep killing each other's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from shared.gateway.instants import LATEST
from shared.payments import Ids, Payment, Status
from shared.query_schedule import A_THROTTLED_QUERY_WAITS, A_WATCHED_PAYMENT_WAITS, WATCHED_UNTIL_AGE, after_query

if TYPE_CHECKING:
    from shared.database import Database
    from shared.query_schedule import Budget


IS_ALIVE = f"expires_at BETWEEN now() + interval '60 seconds' AND {LATEST['access_tokens.expires_at']}"


class Tokens:
    """The `TokenStore` of the Daraja client, on PostgreSQL. Tokens are never logged."""

    def __init__(self, store: Database, app: str) -> None:
        self._store = store
        self._app = app

    def read_token(self) -> str | None:
        """A token with more than 60 s left."""
        row = self._store.row(
            f"SELECT token FROM access_tokens WHERE app = :app AND {IS_ALIVE}",
            app=self._app,
        )
        return str(row["token"]) if row else None

    def lease_token(self, dead: str | None) -> bool:
        """True: the caller fetches a new one now, within 10 s. False: another does, or the stored one is not `dead`."""
        leased = self._store.run(
            f"""
            INSERT INTO access_tokens (app, leased_until) VALUES (:app, now() + interval '10 seconds')
            ON CONFLICT (app) DO UPDATE SET leased_until = excluded.leased_until
            WHERE (coalesce(access_tokens.leased_until <= now(), true)
                   OR access_tokens.leased_until > {LATEST["access_tokens.leased_until"]})
              AND (NOT coalesce(access_tokens.{IS_ALIVE}, false) OR access_tokens.token = CAST(:dead AS text))
            """,
            app=self._app,
            dead=dead,
        )
        return leased > 0

    def save_token(self, token: str, lifetime_s: int) -> None:
        """Keep it for everybody, and end the lease."""
        self._store.run(
            """
            UPDATE access_tokens SET token = :token, leased_until = NULL,
                   expires_at = now() + interval '1 second' * CAST(:lifetime_s AS float8)
            WHERE app = :app
            """,
            app=self._app,
            token=token,
            lifetime_s=lifetime_s,
        )

    def end_token_lease(self) -> None:
        """The fetch failed: let the next caller try."""
        self._store.run("UPDATE access_tokens SET leased_until = NULL WHERE app = :app", app=self._app)


# Queries --------------------------------------------------------------------------------------------------------------


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


CAN_BE_ASKED = "t.next_query_at IS NOT NULL AND t.checkout_request_id IS NOT NULL AND NOT t.ids_are_learnt"
"""Daraja itself gave us the id, and no answer has ended it."""
WATCHED_DUE_AT = f"""
    CASE WHEN t.status IN ('PENDING', 'UNCERTAIN')
              AND t.created_at > now() - interval '{WATCHED_UNTIL_AGE.total_seconds():g} seconds'
         THEN least(t.next_query_at, coalesce(t.last_query_at, t.created_at)
                                     + interval '{A_WATCHED_PAYMENT_WAITS.total_seconds():g} seconds')
         ELSE t.next_query_at END
"""
"""When a payment is due that a customer is watching."""
IS_WATCHED = "coalesce(t.watched_at > now() - interval '30 seconds', false)"
SLOT_IS_AT = f"""
    (SELECT next_slot_at FROM query_budget WHERE app = :app AND next_slot_at <= {LATEST["query_budget.next_slot_at"]})
"""
"""When a slot is free."""


class Queries:
    """The budget, and the queries that are due. `shared.query_schedule` says when they are."""

    def __init__(self, store: Database, app: str) -> None:
        self._store = store
        self._app = app

    def take(self, budget: Budget, *, only: str | None = None, at_once: bool = False) -> QueryDue | Later:
        """One payment to ask about, with a slot of the budget; or, where it is due, `only` this.

        First those waiting for confirmation, then those a customer is watching, then the one that is due for longest.
        `at_once`: also before its time, unless somebody asked a moment ago.
        """
        (row,) = self._store.change(
            f"""
            WITH due AS (
                SELECT t.id FROM transactions t
                WHERE {CAN_BE_ASKED} AND (CAST(:only AS uuid) IS NULL OR t.id = CAST(:only AS uuid))
                  AND (t.next_query_at <= now() OR {IS_WATCHED} AND {WATCHED_DUE_AT} <= now()
                       OR :at_once AND coalesce(t.last_query_at <= now() - interval '20 seconds', true))
                ORDER BY t.success_held_at IS NOT NULL AND t.status <> 'PAID' DESC, {IS_WATCHED} DESC, t.next_query_at
                LIMIT 1 FOR UPDATE SKIP LOCKED),
            slot AS (
                INSERT INTO query_budget (app, next_slot_at)
                SELECT :app, now() + interval '1 second' * CAST(:every_s AS float8) FROM due
                ON CONFLICT (app) DO UPDATE SET
                    next_slot_at = greatest(least(query_budget.next_slot_at, now()),
                                            now() - interval '1 second' * CAST(:saved_s AS float8))
                                   + interval '1 second' * CAST(:every_s AS float8)
                WHERE query_budget.next_slot_at <= now()
                   OR query_budget.next_slot_at > {LATEST["query_budget.next_slot_at"]}
                RETURNING app),
            taken AS (
                UPDATE transactions t SET next_query_at = now() + interval '1 minute', last_query_at = now(),
                       query_count = query_count + 1
                FROM due, slot WHERE t.id = due.id
                RETURNING t.*)
            SELECT t.id, t.status, t.amount, t.created_at, t.merchant_request_id, t.checkout_request_id,
                   t.failed_at, t.success_held_at, now() AS now, EXISTS (SELECT FROM due) AS any_due,
                   extract(epoch FROM {SLOT_IS_AT} - now()) AS free_in_s
            FROM (SELECT 1) one LEFT JOIN taken t ON true
            """,
            app=self._app,
            only=only,
            at_once=at_once,
            every_s=budget.every_s,
            saved_s=budget.saved_s,
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
        """The query settled nothing: ask again by the schedule. `no_answer` is what came in place of an answer."""
        again = after_query(due.payment, due.asked_at, due.failed_at, answered=no_answer is None, throttled=throttled)
        with self._store.transaction() as tx:
            if no_answer is not None:
                tx.later(
                    """
                    INSERT INTO query_answers (transaction_id, said, outcome)
                    VALUES (CAST(:id AS uuid), :no_answer, 'no_answer_yet')
                    """,
                    id=due.payment.id,
                    no_answer=no_answer,
                )
            tx.later(
                "UPDATE transactions SET next_query_at = :again WHERE id = CAST(:id AS uuid) AND status = :was",
                id=due.payment.id,
                was=due.payment.status.value,
                again=again,
            )

    def throttled(self) -> None:
        """Daraja answered 429: all instances wait a minute."""
        self._store.run(
            """
            UPDATE query_budget
            SET next_slot_at = greatest(next_slot_at, now() + interval '1 second' * CAST(:wait_s AS float8))
            WHERE app = :app
            """,
            app=self._app,
            wait_s=A_THROTTLED_QUERY_WAITS.total_seconds(),
        )

    def silent(self, most: int) -> list[str]:
        """Payments whose age decides something: died before their push, or waiting too long.

        So does a success that came after a failure and is held for a query, once it is held for a quarter of an hour.
        """
        rows = self._store.rows(
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
