"""The shop's books as the long proofs look at them: all invariants in one question, and a clean start."""

from __future__ import annotations

import logging
import re

import pytest

from ops.verify import INVARIANTS, read_invariants
from shared.database import Database, Row
from shared.observability.log import note
from tests.fixtures.shop import Shop

ALL_AT_ONCE = " UNION ALL ".join(
    f"SELECT '{name}' AS invariant, broken_by::text FROM ({sql}) AS {name} (broken_by)"
    for name, _, sql in read_invariants(INVARIANTS.read_text(encoding="utf-8"))
)
KEPT = ("installation", "schema_migrations")
MAIL_MAY_BE_DOWN = {"invoices_failed", "notices_failed", "anchors_failed", "sales_failed", "alert_mails_failed"}
"""What a sweep may count as failed: it is tried again. Everything else is a fault of ours."""
LIMITS = ("PHONE_PUSHES_PER_HOUR", "PHONE_UNANSWERED_PUSHES", "ADDRESS_PUSHES_PER_HOUR", "SHOP_PUSHES_PER_MINUTE")

DOUBLE_PROMPTS = """
    SELECT a.id::text AS first, b.id::text AS second
    FROM transactions a JOIN transactions b
      ON b.phone_number = a.phone_number AND (b.amount = a.amount OR b.account_reference = a.account_reference)
     AND b.id <> a.id AND b.created_at >= a.created_at
    CROSS JOIN LATERAL (
        SELECT to_status, outcome FROM audit_log l WHERE l.transaction_id = a.id AND l.at < b.created_at
        ORDER BY l.id DESC LIMIT 1) then_
    WHERE then_.to_status IN ('INITIATED', 'PENDING', 'UNCERTAIN')
      AND b.created_at < a.created_at + interval '15 minutes'
"""
"""Pairs of payments that both were asked for while the first one might still have been paid: there are none."""


def broken_invariants(database: Database) -> list[tuple[str, str]]:
    """The names of invariants that do not hold, each with a payment that breaks it."""
    with database.transaction() as tx:
        rows = tx.rows(ALL_AT_ONCE)
    return [(row["invariant"], row["broken_by"]) for row in rows]


def make_the_question_cheap(database: Database) -> None:
    """`SELECT * FROM whatever_is_broken()` asks for all invariants and for double prompts at one moment.

    To plan so long a question takes longer than to answer it; a function's plan is kept.
    """
    with database.transaction() as tx:
        tx.script(
            f"""
            CREATE FUNCTION whatever_is_broken() RETURNS TABLE (invariant text, broken_by text)
            LANGUAGE plpgsql AS $ask$
            #variable_conflict use_column
            BEGIN
                RETURN QUERY {ALL_AT_ONCE} UNION ALL
                    SELECT 'one_prompt_at_a_time', pair.first || ', ' || pair.second FROM ({DOUBLE_PROMPTS}) AS pair;
            END $ask$
            """
        )


WRONG_NOTICES = """
    SELECT o.topic || ' ' || o.transaction_id AS told, wrong.why
    FROM outbox o JOIN transactions t ON t.id = o.transaction_id
    CROSS JOIN LATERAL (
        SELECT 'not so any more' AS why WHERE EXISTS (
            SELECT FROM audit_log a WHERE a.transaction_id = o.transaction_id AND a.id > o.tells_of
               AND a.from_status <> a.to_status AND a.at < o.sent_at - interval '10 seconds')
        UNION ALL SELECT 'seen before' WHERE o.topic = 'failed' AND o.created_at = t.failed_at
            AND t.watched_at BETWEEN t.failed_at AND o.sent_at - interval '10 seconds'
        UNION ALL SELECT 'never left' WHERE o.next_try_at < now() - interval '15 minutes') wrong
    WHERE o.kind = 'notice'
"""
"""Notices that told what was no longer so, or what the customer had seen, or that never left: there are none."""


def wrong_notices(database: Database) -> list[Row]:
    with database.transaction() as tx:
        return tx.rows(WRONG_NOTICES)


def double_prompts(database: Database) -> list[Row]:
    with database.transaction() as tx:
        return tx.rows(DOUBLE_PROMPTS)


def wipe(database: Database) -> None:
    """Empty books of the same environment. Only here may history be thrown away."""
    with database.transaction() as tx:
        tables = tx.rows(
            """
            SELECT table_name FROM information_schema.tables
            WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> ALL (:kept)
            """,
            kept=list(KEPT),
        )
        names = ", ".join(row["table_name"] for row in tables)
        tx.script(f"SET LOCAL session_replication_role = 'replica'; TRUNCATE {names} RESTART IDENTITY")
        tx.run("UPDATE installation SET reconciliation_length = 0, reconciliation_head = NULL")


def only_the_shop_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of payments log more than a test's report should keep: the shop's listener has it all, day by day."""
    note("the shop opens")
    logger = logging.getLogger("lipa")
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "handlers", [one for one in logger.handlers if one.__class__.__name__ == "_Listener"])


def nothing_private_was_logged(shop: Shop) -> None:
    """What was logged so far is searched, and forgotten."""
    told = "\n".join(shop.logged)
    assert [private for private in shop.private() if private in told] == []
    assert re.search("[0-9a-f]{64}", told) is None
    shop.logged.clear()
