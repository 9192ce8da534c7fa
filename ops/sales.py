"""`ops sales`: what was sold, to whom, for how much, and what went back; or the orders that wait to be sent.

Days are those of Nairobi. A sale counts on the day it was paid, a refund on the day it was made. It reads page by page,
whatever the size of the books.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from ops.answers import Answer, Table
from ops.session import Commands, Session, WrongUse
from ops.words import counted, eat, visible
from shared.database import Database, Row
from shared.gateway.sales import LAST_SAID, REFUND_ASKED
from shared.mail.shop_mail import lines_of
from shared.shop_events import known_email, known_phone
from shared.values import EAT, in_words, masked

PAGE = 500
COLUMNS = (
    "kind", "at", "amount_kes", "status", "account_reference", "items", "description", "mpesa_receipt_number",
    "customer_name", "customer_phone", "customer_email", "note", "paid_late", "order_sent_at", "refund_receipt",
    "transaction_id",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet takes a text that begins so for a formula, and runs it."""
SALES, REFUNDS = "paid_at", "refunded_at"


def add_commands(commands: Commands) -> None:
    sales = commands.add_parser("sales", help="what was sold, to whom, for how much; changes nothing")
    sales.add_argument("--day", type=_day, metavar="YYYY-MM-DD", help="one day (default: today)")
    sales.add_argument("--from", dest="first", type=_day, metavar="YYYY-MM-DD", help="from this day on")
    sales.add_argument("--to", dest="last", type=_day, metavar="YYYY-MM-DD", help="until this day, with it")
    sales.add_argument(
        "--unsent", action="store_true", help="paid orders that nobody marked as sent or asked to refund"
    )
    sales.add_argument("--csv", action="store_true", help="one row for each sale and refund, for a spreadsheet")
    sales.set_defaults(run=_sales)


def _day(text: str) -> date:
    with contextlib.suppress(ValueError):
        day = date.fromisoformat(text)
        if 2000 <= day.year < 2200:
            return day
    raise argparse.ArgumentTypeError("must be a day, like 2026-11-30")


@dataclass
class Totals:
    """By day: sales, their sum, refunds, their sum. By item: its name, how many, their sum."""

    by_day: dict[date, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0, 0]))
    by_item: dict[str | None, list[Any]] = field(default_factory=lambda: defaultdict(lambda: ["", 0, 0]))

    def add(self, row: Row, when: str) -> None:
        day, kes = self.by_day[row[when].astimezone(EAT).date()], int(row["amount"])
        place = 0 if when == SALES else 2
        day[place] += 1
        day[place + 1] += kes
        if when == REFUNDS:
            return
        for item in row["items"] or [{"id": None, "name": "not by items", "quantity": 1, "price_kes": kes}]:
            total = self.by_item[item["id"]]
            total[0] = item["name"]
            total[1] += int(item["quantity"])
            total[2] += int(item["quantity"]) * int(item["price_kes"])

    def days(self) -> Iterator[dict[str, object]]:
        for day, (sales, kes, refunds, back) in sorted(self.by_day.items()):
            money = {"sales_kes": kes, "refunds_kes": back, "left_kes": kes - back}
            yield {"day": day, "sales": sales, "refunds": refunds, **money}

    def items(self) -> Iterator[dict[str, object]]:
        for item, (name, quantity, kes) in self._items():
            yield {"id": item, "name": name, "quantity": quantity, "sales_kes": kes}

    def lines(self) -> Iterator[str]:
        yield "By day"
        for day, (sales, kes, refunds, back) in sorted(self.by_day.items()):
            gone = f", {counted(refunds, 'refund')} {in_words(Decimal(back))}, left {in_words(Decimal(kes - back))}"
            yield f"  {day}  {counted(sales, 'sale')} {in_words(Decimal(kes))}{gone if refunds else ''}"
        yield "By item"
        for item, (name, quantity, kes) in self._items():
            yield f"  {item or '-':20}  {quantity:>6} x {visible(name)}, {in_words(Decimal(kes))}"

    def _items(self) -> list[tuple[str | None, list[Any]]]:
        return sorted(self.by_item.items(), key=lambda each: (-each[1][2], each[0] or ""))


def _sales(session: Session, chosen: argparse.Namespace) -> Answer:
    if chosen.csv and chosen.json:
        raise WrongUse("--csv or --json: not both")
    first, last = _range(chosen)
    totals = Totals()
    rows = _counted(session.database, first, last, totals, unsent=chosen.unsent)
    document = {
        "from": first,
        "to": last,
        "rows": (record(when, row) for when, row in rows),
        "by_day": totals.days(),  # begins when all rows were read
        "by_item": totals.items(),
    }
    return Answer(document, _as_csv(rows) if chosen.csv else _as_text(rows, totals, first, last))


def _range(chosen: argparse.Namespace) -> tuple[date | None, date | None]:
    if chosen.day and (chosen.first or chosen.last):
        raise WrongUse("--day names one day, --from and --to a range: not both")
    if chosen.first and chosen.last and chosen.last < chosen.first:
        raise WrongUse("--to is before --from")
    if chosen.first or chosen.last:
        return chosen.first, chosen.last
    if chosen.day is None and chosen.unsent:
        return None, None
    day = chosen.day or datetime.now(EAT).date()
    return day, day


def _counted(
    database: Database, first: date | None, last: date | None, totals: Totals, *, unsent: bool
) -> Iterator[tuple[str, Row]]:
    """Each sale, then each refund, in order; and added to the totals."""
    for when in (SALES,) if unsent else (SALES, REFUNDS):
        for row in _pages(database, when, first, last, unsent=unsent):
            totals.add(row, when)
            yield when, row


def _pages(database: Database, when: str, first: date | None, last: date | None, *, unsent: bool) -> Iterator[Row]:
    after: tuple[datetime, str] = (_midnight(first) if first else datetime(2000, 1, 1, tzinfo=UTC), "")
    until = _midnight(last + timedelta(days=1)) if last else datetime(2200, 1, 1, tzinfo=UTC)
    asked = f"coalesce((SELECT kind FROM ({LAST_SAID}) r), '') = '{REFUND_ASKED}'"  # noqa: S608  # our own words
    waits = f"AND t.status = 'PAID' AND t.order_sent_at IS NULL AND NOT {asked}" if unsent else ""
    while True:
        page = database.rows(
            f"""
            SELECT t.id, t.status, t.amount, t.account_reference, t.items, t.transaction_desc, t.customer_name,
                   t.phone_number, t.customer_email, t.note, t.paid_at, t.paid_late, t.order_sent_at, t.refunded_at,
                   t.refund_receipt, c.mpesa_receipt_number
            FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
            WHERE t.{when} >= :since AND t.{when} < :until AND t.paid_at IS NOT NULL {waits}
              AND (t.{when} > :since OR t.id::text > :after)
            ORDER BY t.{when}, t.id::text LIMIT {PAGE}
            """,  # noqa: S608  # our own words
            since=after[0],
            until=until,
            after=after[1],
        )
        yield from page
        if len(page) < PAGE:
            return
        after = (page[-1][when], str(page[-1]["id"]))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), EAT)


# Three forms ----------------------------------------------------------------------------------------------------------


def record(when: str, row: Row) -> dict[str, Any]:
    """One sale or refund, as JSON has it."""
    return {
        "kind": "sale" if when == SALES else "refund",
        "at": row[when].astimezone(EAT).isoformat(),
        "amount_kes": int(row["amount"]),
        "status": row["status"],
        "account_reference": row["account_reference"],
        "items": row["items"],
        "description": row["transaction_desc"],
        "mpesa_receipt_number": row["mpesa_receipt_number"],
        "customer_name": row["customer_name"],
        "customer_phone": known_phone(row["phone_number"]),
        "customer_email": known_email(row["customer_email"]),
        "note": row["note"],
        "paid_late": row["paid_late"],
        "order_sent_at": row["order_sent_at"] and row["order_sent_at"].astimezone(EAT).isoformat(),
        "refund_receipt": row["refund_receipt"],
        "transaction_id": str(row["id"]),
    }


class _Lines:
    """Of this a `csv` writer returns each line that it writes."""

    write = staticmethod(str)


def _as_csv(rows: Iterator[tuple[str, Row]]) -> Iterator[str]:
    out = csv.DictWriter(_Lines(), COLUMNS, lineterminator="")
    yield str(out.writeheader())
    for when, row in rows:
        cells = record(when, row) | {"items": "; ".join(lines_of(row["items"]))}
        if when == REFUNDS:
            cells["amount_kes"] = -cells["amount_kes"]
        yield str(out.writerow({name: harmless(cell) for name, cell in cells.items()}))


def harmless(cell: object) -> object:
    """A text that no spreadsheet runs: an apostrophe stands before what it would take for a formula."""
    if not isinstance(cell, str):
        return cell
    text = " ".join(cell.split()) if not cell.isprintable() else cell
    return f"'{text}" if cell.startswith(FORMULA) or text.startswith(FORMULA) else text


ABOUT = ("When (EAT)", "What", ">Amount", "Order", "Receipt", "Payment", "~What to send, to whom")


def _as_text(
    rows: Iterator[tuple[str, Row]], totals: Totals, first: date | None, last: date | None
) -> Iterator[str | Table]:
    days = str(first) if first == last else f"{first or '…'} to {last or '…'}"
    yield "Sales" if first is last is None else f"Sales, {days} (East Africa Time)"
    while page := list(islice(rows, PAGE)):
        yield Table(ABOUT, [(_cells(when, row), "\n".join(_lines(when, row))) for when, row in page])
    yield from totals.lines() if totals.by_day else ["  none"]


def _cells(when: str, row: Row) -> tuple[str, ...]:
    what = "refund" if when == REFUNDS else "late" if row["paid_late"] else "paid"
    receipt = row["refund_receipt"] if when == REFUNDS else row["mpesa_receipt_number"]
    sent = f"sent {eat(row['order_sent_at'])}" if row["order_sent_at"] else ""
    back = "refunded since" if when == SALES and row["refunded_at"] else ""
    return (
        *(eat(row[when]), what, in_words(row["amount"]), row["account_reference"], receipt or "no receipt yet"),
        *(str(row["id"]), "\n".join(filter(None, [*send_what(row), sent, back]))),
    )


def _lines(when: str, row: Row) -> Iterator[str]:
    at, what, amount, order, receipt, payment, _ = _cells(when, row)
    sent = f", sent {eat(row['order_sent_at'])}" if row["order_sent_at"] else ""
    back = ", refunded since" if when == SALES and row["refunded_at"] else ""
    yield f"  {at}  {what:6}  {amount:>12}  {order:12}  {receipt:14}  {payment}{sent}{back}"
    for line in send_what(row):
        yield f"      {line}"


def send_what(row: Row) -> Iterator[str]:
    """What was bought, by whom, how to reach them; for the shop's own people."""
    yield from lines_of(row["items"]) or filter(None, [visible(row["transaction_desc"] or "")])
    phone = known_phone(row["phone_number"])
    email = known_email(row["customer_email"])
    people = (
        visible(row["customer_name"] or ""),
        f"+{phone}" if phone else masked(row["phone_number"]),
        visible(email or ""),
    )
    yield ", ".join(filter(None, people))
    if row["note"]:
        yield f"note: {visible(row['note'])}"
