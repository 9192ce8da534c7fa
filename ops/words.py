"""What an operator types, and what an operator reads: checked and printed in one way by every command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from ops.answers import Table
from shared.daraja.callback_reader import PHONE_NUMBER
from shared.database import Row
from shared.payments import Status
from shared.prices import bought
from shared.shop_events import known_email, known_phone
from shared.values import EAT, in_words, masked, one_line

FILLING = r"[ \-.()/]{0,2}"
"""What people write between the digits of a phone number."""
_PHONE = re.compile(rf"(?<![0-9])(?:\+?254{FILLING}|0)?[17](?:{FILLING}[0-9]){{8}}(?![0-9])")


def impersonal_words(text: str) -> str:
    """For the audit log, which never changes: nobody may stand in it. Raises `argparse.ArgumentTypeError`."""
    words = " ".join(text.split())
    if not words or not words.isprintable() or len(words) > 300:
        raise argparse.ArgumentTypeError("must be words: at most 300 printable characters, and not none")
    if "@" in words or _PHONE.search(words):
        raise argparse.ArgumentTypeError(
            "must be words with no phone number and no e-mail address in them: they can never be erased"
        )
    return words


def receipt_number(text: str) -> str:
    """In capitals, as Safaricom writes it; no phone number. Raises `argparse.ArgumentTypeError`."""
    receipt = text.strip().upper()
    if not re.fullmatch(r"(?=.*[A-Z])[A-Z0-9]{8,20}", receipt) or PHONE_NUMBER.search(receipt):
        raise argparse.ArgumentTypeError(
            f"{visible(text)!r} is no M-Pesa receipt number: it has about ten letters and digits, like TJ3MX6CLYC"
        )
    return receipt


def visible(text: object) -> str:
    """What came from outside, as one line without anything that a terminal would obey."""
    return one_line(str(text))[:200]


def counted(number: int, what: str, many: str = "") -> str:
    """`1 payment`, `2 payments`; `many` where an s does not make it."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"


def eat(at: datetime | None, *, seconds: bool = False) -> str:
    """A moment in East Africa Time, to the minute."""
    form = "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M"
    return "-" if at is None else at.astimezone(EAT).strftime(form)


def payment_line(row: Row) -> str:
    """Id, when, status, amount, reference, masked phone, reason for review, receipts."""
    about = [
        f"{row['id']}  {eat(row['created_at'])}  {row['status']:9}  {in_words(row['amount']):>12}",
        f"{row['account_reference']:12}  {masked(row['phone_number'])}",
    ]
    if row["review_reason"]:
        about.append(row["review_reason"])
    if receipts := _receipts(row):
        about.append(f"receipt {', '.join(receipts)}")
    return "  ".join(about)


def payment_table(rows: Iterable[Row]) -> Table:
    """The same, one below the other."""
    columns = ("Payment", "Ordered (EAT)", "Status", ">Amount", "Order", "Phone", "Receipt", "~Why in review")
    return Table(
        columns,
        [
            (
                (
                    *(str(row["id"]), eat(row["created_at"]), row["status"], in_words(row["amount"])),
                    *(row["account_reference"], masked(row["phone_number"])),
                    *("\n".join(_receipts(row)), row["review_reason"] or ""),
                ),
                payment_line(row),
            )
            for row in rows
        ],
    )


def payment_record(row: Row) -> dict[str, object]:
    """The same for a document."""
    return {
        "transaction_id": row["id"],
        "created_at": row["created_at"],
        "status": row["status"],
        "amount_kes": row["amount"],
        "account_reference": row["account_reference"],
        "phone_number": masked(row["phone_number"]),
        "review_reason": row["review_reason"],
        "receipts": _receipts(row),
    }


def _receipts(row: Row) -> list[str]:
    """All that callbacks named, where that was asked for; else the one that confirms the payment."""
    return row.get("receipts_seen") or [each for each in [row["mpesa_receipt_number"]] if each]


def order_record(payment: Row) -> dict[str, object]:
    """What `order_lines` says, for a document."""
    return {
        "items": payment["items"],
        "priced_by_the_shop": bool(payment["items"] or payment["link_digest"]),
        "description": payment["transaction_desc"],
        "note": payment["note"],
        "customer_name": payment["customer_name"],
        "customer_phone": _phone(payment),
        "customer_email": _email(payment),
    }


def order_lines(payment: Row) -> Iterator[str]:
    """What was ordered, by whom; for what is paid, how to reach them."""
    items = bought(payment["items"])
    for line in items:
        yield f"  {visible(line.what)}: {in_words(line.cost_kes)}"
    if not items and payment["link_digest"] is None:
        who = "The browser" if payment["pushed_at"] else "Whoever paid"
        yield f"  {who} named this amount, not the shop: compare it with the order before you deliver."
    for label, words in (("For", "transaction_desc"), ("Note", "note"), ("Name", "customer_name")):
        if payment[words]:
            yield f"  {label}: {visible(payment[words])}"
    ways = [f"+{phone}" for phone in [_phone(payment)] if phone] + [visible(mail) for mail in [_email(payment)] if mail]
    if ways:
        yield f"  Reach them: {', '.join(ways)}"


def _phone(payment: Row) -> str | None:
    return known_phone(payment["phone_number"]) if payment["status"] == Status.PAID.value else None


def _email(payment: Row) -> str | None:
    return known_email(payment["customer_email"]) if payment["status"] == Status.PAID.value else None
