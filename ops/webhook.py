"""`ops webhook`: events go out again; one is sent for a test; a secret is made."""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import uuid
from datetime import UTC, datetime
from decimal import Decimal

from ops.sent import paid_payment
from ops.session import Commands, NotPossible, Session, WrongUse, add_group
from ops.words import counted
from shared.deadline import Deadline
from shared.gateway.outbox import WebhookDue
from shared.settings import webhook_settings
from shared.shop_events import Sold

A_TEST_LASTS_S = 15.0


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "webhook", "events of payments for the shop's own server")
    again = actions.add_parser("resend", help="the events of a payment once more, under their ids")
    which = again.add_mutually_exclusive_group(required=True)
    which.add_argument("clue", metavar="TX", nargs="?", help="transaction id, receipt or order reference")
    which.add_argument("--failed", action="store_true", help="every event that was given up, as after an outage")
    again.set_defaults(run=_resend)
    test = actions.add_parser("test", help="post one event of a payment that never was, now, from here")
    test.set_defaults(run=_test)
    for action in (again, test):
        action.add_argument("--json", action="store_true", help="one JSON document")
    actions.add_parser("secret", help="a new ORDER_WEBHOOK_SECRET").set_defaults(run=_secret)


def _resend(session: Session, chosen: argparse.Namespace) -> int:
    transaction_id = None if chosen.failed else paid_payment(session, chosen.clue)
    events = session.gateway(chosen).sales.webhooks_again(transaction_id)
    if not events and not chosen.failed:
        raise NotPossible(f"{transaction_id} has no event that could be sent again: they wait, or there was no webhook")
    if chosen.json:
        print(json.dumps({"transaction_id": transaction_id, "events": events}))
    else:
        print(f"{counted(events, 'event')} to be sent again by the sweep's next look: in an idle shop within an hour")
    return 0


def _test(session: Session, chosen: argparse.Namespace) -> int:
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
    if chosen.json:
        print(json.dumps({"delivered": problem is None, "why_not": problem and problem.why}))
    else:
        print("delivered: the server took it" if problem is None else f"not delivered: {problem.why}")
    return 0 if problem is None else 1


def _secret(_: Session, __: argparse.Namespace) -> int:
    print("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
    return 0
