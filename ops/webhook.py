"""`ops webhook`: events go out again; one is sent for a test; a secret is made."""

from __future__ import annotations

import argparse
import base64
import secrets
import uuid
from datetime import UTC, datetime
from decimal import Decimal

from ops.answers import Answer
from ops.rotation import secret_answer
from ops.session import Commands, NotPossible, Session, WrongUse, add_clue, add_group
from ops.words import counted
from shared.deadline import Deadline
from shared.gateway.outbox import WebhookDue
from shared.payments import Status
from shared.settings import webhook_settings
from shared.shop_events import Sold

A_TEST_LASTS_S = 15.0


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "webhook", "events of payments for the shop's own server")
    again = actions.add_parser("resend", help="the events of a payment once more, under their ids")
    which = again.add_mutually_exclusive_group(required=True)
    add_clue(which, nargs="?")
    which.add_argument("--failed", action="store_true", help="every event that was given up, as after an outage")
    again.set_defaults(run=_resend)
    test = actions.add_parser("test", help="post one event of a payment that never was, now, from here")
    test.set_defaults(run=_test)
    actions.add_parser("secret", help="a new ORDER_WEBHOOK_SECRET").set_defaults(run=_secret)


def _resend(session: Session, chosen: argparse.Namespace) -> Answer:
    transaction_id = None if chosen.failed else str(session.payment(chosen.clue, Status.PAID)["id"])
    events = session.gateway(chosen).sales.webhooks_again(transaction_id)
    if not events and not chosen.failed:
        raise NotPossible(f"{transaction_id} has no event that could be sent again: they wait, or there was no webhook")
    says = f"{counted(events, 'event')} to be sent again by the sweep's next look: in an idle shop within an hour"
    return Answer({"transaction_id": transaction_id, "events": events}, [says])


def _test(session: Session, _: argparse.Namespace) -> Answer:
    """With the settings of this environment, as the functions would."""
    from shared.webhooks import Post

    webhook = webhook_settings(session.environ)
    if webhook.url is None:
        raise WrongUse("ORDER_WEBHOOK_URL and ORDER_WEBHOOK_SECRET must be set here as the functions have them")
    now = datetime.now(UTC)
    sold = Sold(
        transaction_id=str(uuid.UUID(int=0)),
        account_reference="TEST",
        amount_kes=Decimal(1),
        items=None,
        description=None,
        receipt=None,
        paid_at=now,
        customer_name=None,
        customer_email=None,
        customer_phone=None,
        note="A test: nobody paid.",
    )
    problem = Post(webhook, WebhookDue(0, "paid", now, sold, 0, 1), now, Deadline.after(A_TEST_LASTS_S)).outcome()
    says = "delivered: the server took it" if problem is None else f"not delivered: {problem.why}"
    document = {"delivered": problem is None, "why_not": problem and problem.why}
    return Answer(document, [says], code=0 if problem is None else 1)


def _secret(_: Session, __: argparse.Namespace) -> Answer:
    return secret_answer("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
