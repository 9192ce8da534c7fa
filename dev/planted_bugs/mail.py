"""What leaves the house, and to whom."""

from __future__ import annotations

from dev.planted_bugs.bug import OUTBOX, SWEEP, Bug, Change, bug

SENDING = "shared/mail/sending.py"
STORMS = ("tests/chaos/test_mail_storms.py",)
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
        "letters are tried for ever",
        OUTBOX,
        "UPDATE outbox SET next_try_at = NULL WHERE next_try_at <= now() AND tries >= :most_tries",
        "UPDATE outbox SET tries = 0 WHERE next_try_at <= now() AND tries >= :most_tries",
        SWEEP,
        "three_times",
    ),
    # --- Under a storm
    bug(
        "storm: a letter counts as sent before it is",
        SENDING,
        "    try:\n        mailer().send(",
        "    try:\n        gateway.outbox.sent(due)\n        mailer().send(",
        STORMS,
    ),
    bug(
        "storm: a letter that was sent is not recorded",
        SENDING,
        "        raise NoMailNow from silence\n    gateway.outbox.sent(due)\n",
        "        raise NoMailNow from silence\n",
        STORMS,
    ),
    bug(
        "storm: a lost answer counts as sent",
        SENDING,
        "        gateway.outbox.failed(due, str(silence))\n",
        "        gateway.outbox.sent(due)\n",
        STORMS,
    ),
    bug(
        "storm: letters have no lease",
        OUTBOX,
        "THEN now() + interval '1 minute' * power(5, o.tries) END",
        "THEN o.next_try_at END",
        STORMS,
    ),
    bug("storm: four tries", OUTBOX, "MOST_TRIES = 3", "MOST_TRIES = 4", STORMS),
    bug("storm: two tries", OUTBOX, "MOST_TRIES = 3", "MOST_TRIES = 2", STORMS),
    bug(
        "storm: a key that is refused costs each letter a try",
        SENDING,
        "        gateway.outbox.put_back(due, str(stopped))\n",
        "",
        STORMS,
    ),
    bug(
        "storm: a key that is refused gives up the letter",
        "shared/mail/sendgrid.py",
        "        case 401:\n",
        "        case 402:\n",
        STORMS,
    ),
    bug(
        "storm: a 429's reset is not waited for",
        SENDING,
        "            gateway.outbox.hold_mail(silence.retry_after_s)\n",
        "            pass\n",
        STORMS,
    ),
    bug(
        "storm: a letter that is refused for good is tried again",
        SENDING,
        "gateway.outbox.failed(due, str(refusal), give_up=True)",
        "gateway.outbox.failed(due, str(refusal))",
        STORMS,
    ),
    bug(
        "storm: nobody is told what was given up",
        OUTBOX,
        "'invoice_not_sent', transaction_id FROM given_up WHERE kind = 'invoice'",
        "'invoice_not_sent', transaction_id FROM given_up WHERE kind = 'none'",
        STORMS,
    ),
    bug(
        "storm: a repeat is another letter",
        SENDING,
        'f"{due.invoice_number}.{due.id}"',
        'f"{due.invoice_number}.{due.id}.{due.tries}"',
        STORMS,
    ),
)
