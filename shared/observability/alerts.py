"""Every alert: what it says, and what the operator does now. docs/runbook.md has a section for each.

Here are the words. Conditions of the whole shop are in shared/gateway/watch.py; alerts about one payment are raised by
shared/payments.py and by the part of shared/gateway that sees the reason. An alert is a row of the outbox, written with
what caused it. `deliver` is the one way out: a log line and, where the shop has Sentry, an issue there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.observability.log import alert_line, failed, monitor

if TYPE_CHECKING:
    from shared.gateway import Gateway
    from shared.gateway.outbox import AlertDue


@dataclass(frozen=True)
class Topic:
    """What is wrong, and what to do about it."""

    says: str
    do_now: str


CASE = "Run: python -m ops case TRANSACTION_ID. It says what happened and what to do."
COMPARE = (
    "Deliver nothing yet. Compare the payment with the M-Pesa organisation portal, then settle it with ops review. "
    + CASE
)
TOPICS: Mapping[str, Topic] = {
    # One payment
    "silence": Topic(
        "15 minutes without an answer from M-Pesa.",
        "Nothing yet: it is still asked about, and goes to review by itself after 60 minutes; an unclear push now.",
    ),
    "silent_in_review": Topic("M-Pesa never said how this payment ended. It is in review.", COMPARE),
    "late_payment": Topic(
        "Paid after it had failed: the money came late.",
        "Deliver the order, or refund it if the goods are gone. " + CASE,
    ),
    "duplicate_payment": Topic(
        "The same order was paid twice; the second payment is in review.",
        "Refund the one in review in the M-Pesa organisation portal, then: ops review refunded. " + CASE,
    ),
    "order_paid_twice": Topic(
        "An order was paid a second time: from another phone, with another amount, or more than a day later.",
        "Both payments stand. Send the order once, and refund one of them in the M-Pesa organisation portal, then:"
        " ops review refunded. " + CASE,
    ),
    "amount_mismatch": Topic("A callback names another amount than was asked for.", COMPARE),
    "ids_disagree": Topic("A callback names ids of another payment.", COMPARE),
    "contradiction": Topic("Two answers about this payment contradict each other.", COMPARE),
    "second_receipt": Topic("A second receipt number came for a payment that has one.", COMPARE),
    "reused_receipt": Topic("A receipt number came that confirms another payment.", COMPARE),
    "unknown_code": Topic(
        "A result code came that nobody has explained.",
        "Look for the payment in the M-Pesa organisation portal; ask Safaricom what the code means. " + CASE,
    ),
    "incomplete_success": Topic("A success without amount or receipt number: it waits for M-Pesa to confirm it.", CASE),
    "unconfirmed_large": Topic("A large payment that M-Pesa has not confirmed when asked.", COMPARE),
    "dead_letter": Topic(
        "A callback could not be judged in three tries; it is on file.",
        "Run: python -m ops inbox list, put right what it names, then: python -m ops inbox retry.",
    ),
    "unreadable": Topic(
        "A callback came that cannot be read; it is on file.", "Run: python -m ops inbox list. " + CASE
    ),
    "unknown_transaction": Topic(
        "A genuine callback came for a payment that is not in this database.",
        "Was the database replaced or restored? Run: python -m ops inbox list. Its receipt can be booked.",
    ),
    "unlisted_address": Topic(
        "A callback came from an address that is not on Safaricom's list. It was judged all the same.",
        "Compare the address in ops case with the list on the Daraja portal.",
    ),
    "held": Topic(
        "A callback is held: it came from an address that is not on Safaricom's list (CALLBACK_IP_MODE is enforce), or"
        " it is on file without the functions' seal.",
        "Run: python -m ops inbox list, and compare with the M-Pesa organisation portal. If it is Safaricom's:"
        " python -m ops inbox retry ENTRY, and add a new address to shared/daraja/callback_address.py.",
    ),
    "callback_flood": Topic(
        "So many callbacks came for this payment that new ones are not stored any more: its callback address leaked.",
        "Look in the M-Pesa organisation portal how this payment ended: a callback of Safaricom's may be among those "
        "that were not stored. " + CASE,
    ),
    "callback_key_retired": Topic(
        "A callback came to an address that was signed with a secret which is not used any more. It was not stored.",
        "Did you rotate CALLBACK_SECRET or M-Pesa's credentials within the hour? Then set CALLBACK_SECRET_PREVIOUS to"
        " the old one, and deploy. Otherwise somebody forges callbacks with it: delete old deploys on Netlify. " + CASE,
    ),
    "anchor_not_sent": Topic(
        "The day's anchor of the audit log, or a line about an erasure, could not be mailed to the shop.",
        "It is in the log all the same: search it for anchor or erasure, and keep the line. See that mail works again.",
    ),
    "invoice_not_sent": Topic(
        "An invoice could not be sent in three tries.",
        "The reason is in ops case. Put it right, then: python -m ops invoice resend TRANSACTION_ID.",
    ),
    "notice_not_sent": Topic(
        "A notice to a customer, or the mail of a sale to the shop, could not be sent in three tries.",
        "The reason is in ops case. Where it matters to them, write or call: a notice is not sent again."
        " Orders that wait are in: python -m ops sales --unsent.",
    ),
    "webhook_not_delivered": Topic(
        "The shop's webhook did not take an event in seven tries, answered 410, or its settings are wrong.",
        "The reason is in ops case, or named here. Put the receiver or ORDER_WEBHOOK_URL right, then:"
        " python -m ops webhook resend TRANSACTION_ID, or --failed for all.",
    ),
    "shop_misconfigured": Topic(
        "Payments are refused because of how the shop is set up: none works until that is put right.",
        "With a payment, run: python -m ops case TRANSACTION_ID. Without one it is the catalogue: the log of stkpush"
        " says what is wrong with it. Put it right, and deploy.",
    ),
    # The whole shop
    "sweep_stopped": Topic(
        "The scheduled function sweep does not run or does not get through, or did not for a while.",
        "Netlify, Logs, Functions, sweep: is the deploy published, and do its lines end in errors? Payments are taken "
        "meanwhile, but nobody asks about missing callbacks and no invoice leaves.",
    ),
    "callbacks_missing": Topic(
        "Customers pay, as M-Pesa says when asked, but no callback arrives.",
        "Check MPESA_CALLBACK_URL: public https, on this deploy, without redirect, password or firewall. A POST to it "
        "by curl must be answered with a 404 in JSON.",
    ),
    "failure_rate": Topic(
        "Many more payments fail than usual.",
        "Run: python -m ops case on a few of the last ones. The same code each time is a cause: credentials, limits, "
        "Safaricom's own trouble.",
    ),
    "no_push_accepted": Topic(
        "M-Pesa takes no push at all: customers are not asked to pay.",
        "Look for 'push refused' in the log of stkpush: it says what to check. Otherwise look at Safaricom's status.",
    ),
    "mail_failing": Topic(
        "No invoice leaves: several failed one after the other.",
        "The reason is in ops case of any paid payment. Check SENDGRID_API_KEY and the sender's authentication, or "
        "SMTP_URL.",
    ),
    "mail_stopped": Topic(
        "No e-mail leaves: SendGrid or the mail server refuses our key, login or sender, or nobody vouches for its "
        "certificate. Nothing is lost: messages wait, and one is tried every five minutes.",
        "Run: python -m ops case on a paid payment that waits for its invoice: it says which. Then put right "
        "SENDGRID_API_KEY, INVOICE_EMAIL_FROM or SMTP_URL, and deploy.",
    ),
    "letter_template": Topic(
        "A template of the shop's own for letters to customers has an error. The built-in one was sent in its place.",
        "Run: python -m ops letters check, on the version that is deployed. Put right what it names, and deploy.",
    ),
    "work_stuck": Topic(
        "The sweep runs, but payments, callbacks or messages stay where they are.",
        "Look at the lines of sweep with the message failed: they name what breaks and where.",
    ),
    "review_waiting": Topic(
        "Payments have been waiting for a person for more than a day.", "Run: python -m ops review list."
    ),
    "callbacks_waiting": Topic(
        "Callbacks have been waiting for a person for more than a day.", "Run: python -m ops inbox list."
    ),
    "not_reconciled": Topic(
        "The books have not been compared with M-Pesa's statement for more than 35 days.",
        "Export the statement of the days since, then: python -m ops reconcile FILE. What is open:"
        " python -m ops reconcile --status.",
    ),
    "backup_missing": Topic(
        "The last good backup is more than 36 hours old.",
        "Look at what makes them (GitHub: Actions, Backup), and run: python -m ops backup. docs/backups.md.",
    ),
    "drill_due": Topic(
        "No backup has been restored as a drill for more than 100 days: nobody knows whether they can be.",
        "Where the private key is, run: python -m ops drill --from FOLDER --identity KEYFILE.",
    ),
    "shop_push_limit": Topic(
        "Customers are turned away: the shop's own limit of pushes a minute is reached.",
        "A good day or a flood? Run: python -m ops limits. Raise SHOP_PUSHES_PER_MINUTE if it is business.",
    ),
    "shop_day_limit": Topic(
        "Customers are turned away: the shop's own limit of takings a day is reached.",
        "Run: python -m ops limits. Raise MAX_SHOP_KES_PER_DAY if all is as it should be.",
    ),
}
UNKNOWN = Topic("An alert without a description.", CASE)


def report(due: AlertDue) -> bool:
    """Write the log line, once, and report to Sentry, where the shop has it. False: Sentry did not confirm it."""
    topic = TOPICS.get(due.topic, UNKNOWN)
    fields = {
        "since": due.created_at.isoformat(timespec="seconds"),
        "says": topic.says,
        "do_now": topic.do_now,
        "runbook": f"docs/runbook.md#{due.topic}",
        **due.facts,
    }
    if not due.line_is_written:
        alert_line(due.topic, due.transaction_id, **fields)
    sentry = monitor()
    if sentry is None:
        return True
    about = {"alert": due.topic, "transaction_id": due.transaction_id, **fields}
    return sentry.alert(due.topic, topic.says, about, due.transaction_id or str(due.id))


def deliver(gateway: Gateway, due: AlertDue) -> None:
    """Report the alert, and record whether it left."""
    if report(due):
        gateway.outbox.sent(due)
    else:
        gateway.outbox.failed(due, "Sentry did not take it; the log line is written")


def step_breaks(gateway: Gateway, step: str) -> None:
    """The alert that a step of the sweep breaks: once, and then once a day; each time where it cannot even be stored.

    Raises `DatabaseUnavailable`.
    """
    from shared.database.errors import DatabaseUnavailable

    try:
        if (due := gateway.watch.step_breaks(step)) is not None:
            deliver(gateway, due)
    except DatabaseUnavailable:
        raise
    except Exception as failure:
        failed("alerting", failure)
        topic = TOPICS["work_stuck"]
        alert_line("work_stuck", None, step=step, says=topic.says, do_now=topic.do_now)


def sweep_is_late(gateway: Gateway) -> None:
    """The alert that no sweep runs, raised by another function: once, and then once a day."""
    if (due := gateway.watch.sweep_is_late()) is not None:
        deliver(gateway, due)
