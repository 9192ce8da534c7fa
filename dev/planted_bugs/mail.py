"""What leaves the house, and to whom."""

from __future__ import annotations

from dev.planted_bugs.bug import OUTBOX, SWEEP, Bug, Change, bug

SHOWN_AND_SENT = ("tests/integration/test_what_is_shown_and_sent.py",)

BUGS: tuple[Bug, ...] = (
    Bug(
        "the beginning of an id is enough to read a payment",
        (
            Change(
                "shared/transaction_id.py",
                "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
                "[0-9a-f]{8}[0-9a-f-]*",
            ),
            Change(
                "shared/gateway/statuses.py",
                "                WHERE t.id = CAST(:id AS uuid)\n",
                "                WHERE t.id::text LIKE :id || '%'\n",
            ),
            Change(
                "shared/gateway/statuses.py",
                "                    WHERE id = CAST(:id AS uuid)\n                      AND (status IN",
                "                    WHERE id::text LIKE :id || '%'\n                      AND (status IN",
            ),
        ),
        SHOWN_AND_SENT,
    ),
    bug(
        "an invoice is sent for a payment in review",
        OUTBOX,
        '            if row["status"] != "PAID":\n',
        '            if row["status"] not in ("PAID", "REVIEW"):\n',
        SHOWN_AND_SENT,
    ),
    bug(
        "an invoice is sent to whatever address was given",
        OUTBOX,
        "SET customer_email = coalesce(customer_email, :email)",
        "SET customer_email = coalesce(:email, customer_email)",
        SHOWN_AND_SENT,
    ),
    bug(
        "letters are tried for ever",
        OUTBOX,
        "UPDATE outbox SET next_try_at = NULL WHERE next_try_at <= now() AND tries >= :most_tries",
        "UPDATE outbox SET tries = 0 WHERE next_try_at <= now() AND tries >= :most_tries",
        SWEEP,
        "three_times",
    ),
)
