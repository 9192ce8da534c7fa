"""What customers are told beside their invoice: the truth, once, and not what they know."""

from __future__ import annotations

from dev.planted_bugs.bug import CASES, OUTBOX, Bug, bug

NOTICES = ("tests/integration/test_notices.py",)

BUGS: tuple[Bug, ...] = (
    bug(
        "a notice tells what is no longer so",
        OUTBOX,
        "AND a.from_status <> a.to_status) THEN 'overtaken'",
        "AND a.from_status = a.to_status) THEN 'overtaken'",
        NOTICES,
        "before_anybody_was_told or ends_before",
    ),
    bug(
        "a notice tells of a failure that the page showed",
        OUTBOX,
        "WHEN due.topic = 'failed' AND t.watched_at >= t.failed_at",
        "WHEN due.topic = 'failed' AND t.watched_at < t.created_at",
        NOTICES,
        "saw_on_the_page",
    ),
    bug(
        "a notice is not sent to who looked before the failure came",
        OUTBOX,
        "WHEN due.topic = 'failed' AND t.watched_at >= t.failed_at",
        "WHEN due.topic = 'failed' AND t.watched_at >= t.created_at",
        NOTICES,
        "left_the_page",
    ),
    bug(
        "a notice is sent whatever the shop says",
        OUTBOX,
        "WHEN due.topic <> ALL (CAST(:notices AS text[])) THEN 'off'",
        "WHEN false THEN 'off'",
        NOTICES,
        "turns_all_off",
    ),
    bug(
        "a notice is written to an erased address",
        CASES,
        "FROM moved WHERE customer_email <> :erased)",
        "FROM moved WHERE customer_email IS NOT NULL AND CAST(:erased AS text) IS NOT NULL)",
        NOTICES,
        "erased_customer",
    ),
    bug(
        "a notice is written where nothing changed",
        "shared/notices.py",
        "    if decision.status is was:\n        return None\n",
        "",
        NOTICES,
        "however_often",
    ),
    bug(
        "a notice is written of a push that never rang",
        "shared/notices.py",
        " and decision.outcome not in (Outcome.REFUSED, Outcome.NOT_SENT):",
        ":",
        NOTICES,
        "never_rang",
    ),
    bug(
        "a notice leaves before the invoices that wait",
        OUTBOX,
        "ORDER BY kind = 'alert' DESC, kind = 'notice', next_try_at",
        "ORDER BY kind = 'alert' DESC, kind <> 'notice', next_try_at",
        NOTICES,
        "after_the_invoice or from_being_told",
    ),
    bug(
        "a notice that was given up is told to nobody",
        OUTBOX,
        "transaction_id FROM given_up WHERE kind = 'notice'",
        "transaction_id FROM given_up WHERE false",
        NOTICES,
        "three_times",
    ),
    bug(
        "a pause is not kept by a notice or an invoice that is queued meanwhile",
        OUTBOX,
        ":mail_too AND NOT EXISTS (SELECT FROM mail_pause WHERE until > now())",
        ":mail_too",
        NOTICES,
        "pause",
    ),
)
