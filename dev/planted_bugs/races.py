"""Locks and leases: what goes wrong only when two come at once."""

from __future__ import annotations

from dev.planted_bugs.bug import (
    ADMISSIONS,
    CALLBACK,
    CASES,
    INBOX,
    OUTBOX,
    SETTLEMENT,
    STKPUSH,
    SWEEP,
    Bug,
    Change,
    bug,
)

RACES = ("tests/chaos/test_races.py",)

BUGS: tuple[Bug, ...] = (
    bug(
        "a phone has no lock: two pushes are admitted at once",
        ADMISSIONS,
        "SELECT pg_advisory_xact_lock(hashtextextended(CAST(:phone AS text), 0))",
        "SELECT CAST(:phone AS text)",
        STKPUSH + RACES,
        "two_instances or hundred_keys or waits_for",
    ),
    Bug(
        "a payment is read without any lock",
        (
            Change(CASES, "                FOR UPDATE OF t\n", ""),
            Change(
                CASES,
                "SELECT pg_advisory_xact_lock(hashtextextended(CAST(phone_number AS text), 0))",
                "SELECT hashtextextended(CAST(phone_number AS text), 0)",
            ),
        ),
        SETTLEMENT + CALLBACK + RACES,
        "keeps_everybody_else or four_copies or two_hundred or agree_on_one",
    ),
    bug(
        "twins are decided about side by side: no phone lock around a settlement",
        CASES,
        "SELECT pg_advisory_xact_lock(hashtextextended(CAST(phone_number AS text), 0))",
        "SELECT hashtextextended(CAST(phone_number AS text), 0)",
        SETTLEMENT + CALLBACK + RACES,
        "keeps_everybody_else or twin or both_attempts or phone",
    ),
    bug(
        "a status is written without looking at what it was, under no lock",
        CASES,
        "WHERE id = CAST(:id AS uuid) AND status = :was\n                RETURNING id, customer_email)",
        "WHERE id = CAST(:id AS uuid) AND :was <> ''\n                RETURNING id, customer_email)",
        ("tests/integration/test_cases.py",),
    ),
    bug(
        "the sweep takes callbacks without a lease",
        INBOX,
        "SET tries = i.tries + 1, next_try_at = now() + interval '30 seconds'\n                FROM (SELECT id FROM"
        " callback_inbox WHERE next_try_at <= now() AND tries < :most_tries\n"
        "                      ORDER BY received_at LIMIT :most FOR UPDATE SKIP LOCKED) due",
        "SET tries = i.tries + 1\n                FROM (SELECT id FROM"
        " callback_inbox WHERE next_try_at <= now() AND tries < :most_tries\n"
        "                      ORDER BY received_at LIMIT :most) due",
        SWEEP + RACES,
        "two_sweeps or sweeps_that_run_at_once",
    ),
    bug(
        "two sweeps send the same letter",
        OUTBOX,
        "next_try_at, id LIMIT 1 FOR UPDATE SKIP LOCKED),\n                pointless AS",
        "next_try_at, id LIMIT 1),\n                pointless AS",
        SWEEP + RACES,
        "two_sweeps or sweeps_that_run_at_once",
    ),
    bug(
        "every instance fetches a token of its own",
        "shared/gateway/tokens.py",
        "        return row is not None\n",
        "        return True\n",
        STKPUSH,
        "fetch_one_token",
    ),
)
