"""Mail to the shop itself: each sale, with what to send to whom, and the alerts of a topic. Pure.

Only here does a whole phone number stand in a message: the shop must reach its customer. What a customer typed is shown
as text only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from shared.mail.letters import typed
from shared.mail.mailer import Email, mail_line
from shared.prices import bought
from shared.values import EAT, in_words

if TYPE_CHECKING:
    from shared.gateway.outbox import AlertDue
    from shared.shop_events import Sold

LONGEST_NOTE = 200
SALES = {
    "paid": ("Paid", "An order was paid."),
    "paid_late": (
        "Paid late",
        "The money for an order came after the payment had failed. Send the order, or refund it if the goods are gone.",
    ),
    "refunded": ("Refunded", "A payment was refunded. If the order is not on its way yet, do not send it."),
}
"""The first word of the subject, and the first sentence."""


def sale(topic: str, at: datetime, sold: Sold, refund_receipt: str | None, to_address: str, shop_name: str) -> Email:
    """What was bought, by whom, and how to reach them."""
    word, sentence = SALES[topic]
    subject = f"{word}: {in_words(sold.amount_kes)}, order {sold.account_reference}"
    rows = [(name, value) for name, value in _rows(at, sold, refund_receipt) if value]
    last = "" if topic == "refunded" else f"When it is on its way: python -m ops sent {sold.transaction_id}"
    return _email(to_address, shop_name, subject, sentence, rows, last)


def _rows(at: datetime, sold: Sold, refund_receipt: str | None) -> Iterator[tuple[str, str]]:
    yield "Order", sold.account_reference
    yield "Bought", "\n".join(lines_of(sold.items)) or typed(sold.description)
    yield "Amount", in_words(sold.amount_kes)
    yield "Name", typed(sold.customer_name)
    yield "Phone", f"+{sold.customer_phone}" if sold.customer_phone else ""
    yield "Email", mail_line(sold.customer_email or "", 254)
    yield "Note", typed(sold.note, LONGEST_NOTE)
    yield "M-Pesa receipt", mail_line(sold.receipt or "")
    yield "Invoice", mail_line(sold.invoice_number or "")
    yield "Refund receipt", mail_line(refund_receipt or "")
    yield "When", f"{at.astimezone(EAT):%Y-%m-%d %H:%M} EAT"
    yield "Payment", sold.transaction_id


def lines_of(items: Sequence[Mapping[str, object]] | None) -> list[str]:
    """How many of what, and what they cost together: one line for each item."""
    return [f"{mail_line(line.what, 120)}, {in_words(line.cost_kes)}" for line in bought(items)]


def alerts(
    says: str, do_now: str, topic: str, told: Sequence[AlertDue], in_all: int, to_address: str, shop_name: str
) -> Email:
    """The alerts of one topic since the last mail about it."""
    rows = [(f"{one.created_at.astimezone(EAT):%Y-%m-%d %H:%M} EAT", _about(one)) for one in told]
    if in_all > len(told):
        rows.append(("And", f"{in_all - len(told)} more: python -m ops alerts"))
    last = f"{do_now}\n\nMore: docs/runbook.md#{topic}. There is one mail a day about {topic}; the log has each alert."
    return _email(to_address, shop_name, f"Alert: {topic}", says, rows, last)


def _about(one: AlertDue) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in one.facts.items() if not isinstance(value, bool))
    return mail_line(
        ", ".join(filter(None, (one.transaction_id and f"payment {one.transaction_id}", facts))) or one.topic
    )


def _email(
    to_address: str, shop_name: str, subject: str, sentence: str, rows: Sequence[tuple[str, str]], last: str
) -> Email:
    listed = "\n".join(f"{name}: {value}".replace("\n", "\n  ") for name, value in rows)
    text = "\n\n".join(filter(None, (sentence, listed, last))) + "\n"
    cells = "".join(
        f'<tr><td style="padding:4px 16px 4px 0;vertical-align:top">{escape(name)}</td>'
        f"<td>{escape(value).replace(chr(10), '<br>')}</td></tr>"
        for name, value in rows
    )
    paragraphs = "".join(f"<p>{escape(part)}</p>" for part in last.split("\n\n") if part)
    html = f"<p>{escape(sentence)}</p><table>{cells}</table>{paragraphs}"
    return Email(to_address, None, subject, text, html, from_name=mail_line(shop_name))
