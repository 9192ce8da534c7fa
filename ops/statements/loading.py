"""What a comparison needs of the books: payments around the statements' period, page by page, and those that its rows
name. Reads only, in one snapshot.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

from ops.statements.classes import party_in
from ops.statements.coverage import EDGE
from ops.statements.pairing import AFTER_THE_ORDER, account_of, comparable
from ops.statements.rows import NEVER_A_SALE
from ops.statements.sides import Booked, BooksView
from ops.statements.statement import Row, RowClass, Statement
from shared.database import Database, Transaction
from shared.payments import ReviewReason, Status
from shared.values import EAT

PAGE, MANY = 5000, 2000
KEPT = "id, sha256, row_number, receipt, at, class, status, completed, paid_in, withdrawn, linked_receipt, account"
A_CALLBACK_COMES_WITHIN = timedelta(days=7)
PAYMENTS = """
    SELECT t.id, t.status, t.amount, t.account_reference, t.created_at, t.paid_at, t.refunded_at, t.refund_receipt,
           t.review_reason, c.mpesa_receipt_number AS receipt, c.transaction_date,
           c.evidence IN ('callback', 'query') AND c.inbox_id IS NOT NULL AND c.statement_row_id IS NULL AS by_callback
    FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
"""
MOMENTS = {
    "created_at": "",
    "paid_at": "AND t.created_at < :since",
    "refunded_at": "AND t.created_at < :since AND (t.paid_at < :since OR t.paid_at IS NULL)",
}
"""Three indexes, one after the other: no payment is read twice."""


def view(
    database: Database, statements: Sequence[Statement], confirm_above_kes: Decimal, *, references_are_reusable: bool
) -> BooksView:
    """The books as these statements need them."""
    rows = [row for statement in statements for row in statement.rows]
    edges = [each for statement in statements for each in (statement.starts, statement.ends) if each]
    moments = [row.at for row in rows] + edges
    with database.transaction(snapshot=True) as tx:
        begin = tx.row("SELECT now() AS now, (SELECT min(created_at) FROM transactions) AS begin")
        assert begin is not None
        found: dict[str, Booked] = {}
        named: dict[str, list[str]] = defaultdict(list)
        strays: set[str] = set()
        kept: list[Statement] = []
        if moments:
            since, until = min(moments) - AFTER_THE_ORDER - EDGE, max(moments) + AFTER_THE_ORDER + EDGE
            for moment, but in MOMENTS.items():
                found |= {each.transaction_id: each for each in _pages(tx, moment, but, since, until)}
            for receipt, transaction_id in _named(tx, since, until + A_CALLBACK_COMES_WITHIN):
                if transaction_id is None:
                    strays.add(receipt)
                else:
                    named[transaction_id].append(receipt)
            refunds = (each.refund_receipt for each in found.values() if each.refund_receipt)
            kept = list(kept_statements(tx, since, until, whole=False, receipts=refunds))
        found |= _by_receipt(tx, rows, found.values())
        missing = named.keys() - found.keys()
        found |= _payments(tx, "t.id::text = ANY(string_to_array(:some, ' '))", missing)
        if not references_are_reusable:
            found |= _by_reference(tx, rows, found.values())
        for transaction_id, receipts in named.items():
            if transaction_id in found:
                found[transaction_id] = replace(found[transaction_id], named=tuple(receipts))
        for transaction_id, other in _paid_twice(tx):
            if transaction_id in found:
                found[transaction_id] = replace(found[transaction_id], paid_twice_with=other)
        no_sales = _no_sales(tx)
    return BooksView(
        payments=tuple(found.values()),
        now=begin["now"],
        confirm_above_kes=confirm_above_kes,
        begin=begin["begin"] and begin["begin"].astimezone(EAT).date(),
        kept=tuple(kept),
        no_sales=frozenset(no_sales),
        strays=frozenset(strays),
        references_are_reusable=references_are_reusable,
    )


def _pages(tx: Transaction, moment: str, but: str, since: datetime, until: datetime) -> Iterator[Booked]:
    after, last = since, ""
    while True:
        page = tx.rows(
            f"""
            {PAYMENTS}
            WHERE t.{moment} BETWEEN :after AND :until AND (t.{moment} > :after OR t.id::text > :last) {but}
            ORDER BY t.{moment}, t.id::text LIMIT {PAGE}
            """,
            after=after,
            until=until,
            last=last,
            **({"since": since} if but else {}),
        )
        yield from map(_booked, page)
        if len(page) < PAGE:
            return
        after, last = page[-1][moment], str(page[-1]["id"])


def _booked(row: dict[str, Any]) -> Booked:
    return Booked(
        transaction_id=str(row["id"]),
        status=Status(row["status"]),
        amount_kes=row["amount"],
        reference=row["account_reference"],
        created_at=row["created_at"],
        paid_at=row["paid_at"],
        receipt=row["receipt"],
        money_at=row["transaction_date"],
        by_callback=bool(row["by_callback"]),
        refund_receipt=row["refund_receipt"],
        refunded_at=row["refunded_at"],
        review_reason=ReviewReason(row["review_reason"]) if row["review_reason"] else None,
    )


def _payments(tx: Transaction, where: str, some: Iterable[str]) -> dict[str, Booked]:
    """Those of which `where` says something, asked in portions."""
    found: dict[str, Booked] = {}
    asked = sorted(some)
    for first in range(0, len(asked), MANY):
        portion = " ".join(asked[first : first + MANY])
        found |= {str(row["id"]): _booked(row) for row in tx.rows(f"{PAYMENTS} WHERE {where}", some=portion)}
    return found


def _by_receipt(tx: Transaction, rows: Iterable[Row], known: Iterable[Booked]) -> dict[str, Booked]:
    """A payment of another time may have the receipt, or the one that a reversal names."""
    named = {each for row in rows if row.row_class not in NEVER_A_SALE for each in (row.receipt, row.linked_receipt)}
    books = {receipt for each in known for receipt in (each.receipt, each.refund_receipt)}
    words = {each for each in named - books if each and " " not in each}
    return _payments(tx, "c.mpesa_receipt_number = ANY(string_to_array(:some, ' '))", words) | _payments(
        tx, "t.refund_receipt = ANY(string_to_array(:some, ' '))", words
    )


def _by_reference(tx: Transaction, rows: Iterable[Row], known: Iterable[Booked]) -> dict[str, Booked]:
    """Orders that were paid at another time, and again by a row whose receipt nobody knows."""
    receipts = {each.receipt for each in known}
    accounts = {
        comparable(account_of(row))
        for row in rows
        if row.row_class is RowClass.PAYMENT and row.account and row.receipt not in receipts
    }
    words = {each for each in accounts if each.isascii() and 1 <= len(each) <= 12}
    paid = "t.paid_at IS NOT NULL AND t.status = 'PAID'"
    return _payments(tx, f"lower(t.account_reference) = ANY(string_to_array(:some, ' ')) AND {paid}", words)


def _named(tx: Transaction, since: datetime, until: datetime) -> Iterator[tuple[str, str | None]]:
    """Receipts that callbacks named and that confirm no payment, with their payment; None: it is not in the books.

    What nobody vouches for names nothing.
    """
    rows = tx.rows(
        """
        SELECT DISTINCT upper(receipt) AS receipt, t.id
        FROM callback_inbox i CROSS JOIN unnest(i.receipts) AS receipt
        LEFT JOIN transactions t ON t.id = i.transaction_id
        WHERE i.received_at BETWEEN :since AND :until AND i.seal IS NOT NULL AND i.outcome IS DISTINCT FROM 'held'
          AND NOT EXISTS (SELECT FROM payment_confirmations c WHERE c.mpesa_receipt_number = upper(receipt))
          AND NOT EXISTS (SELECT FROM transactions r WHERE r.refund_receipt = upper(receipt))
        ORDER BY receipt, id
        """,
        since=since,
        until=until,
    )
    for row in rows:
        yield row["receipt"], str(row["id"]) if row["id"] else None


def _paid_twice(tx: Transaction) -> Iterator[tuple[str, str]]:
    """Payments of which the shop was alerted that their order was paid before, and that other payment: both stand.

    Who booked one by hand was told so: that is a person's word.
    """
    rows = tx.rows(
        """
        SELECT DISTINCT ON (t.id) t.id, o.id AS other
        FROM outbox a JOIN transactions t ON t.id = a.transaction_id AND t.status = 'PAID'
        JOIN transactions o ON o.id <> t.id AND o.status = 'PAID' AND o.paid_at IS NOT NULL
             AND (lower(o.account_reference) = lower(t.account_reference) OR o.link_digest = t.link_digest)
        WHERE a.kind = 'alert' AND a.topic = 'order_paid_twice'
          AND NOT EXISTS (SELECT FROM audit_log b WHERE b.transaction_id = t.id AND b.event = 'BookedByHand'
                            AND b.from_status <> b.to_status)
        ORDER BY t.id, o.paid_at
        """
    )
    for row in rows:
        yield str(row["id"]), str(row["other"])


def _no_sales(tx: Transaction) -> list[str]:
    """Receipts of which a person said last that they are no sale."""
    rows = tx.rows(
        """
        SELECT subject FROM (
            SELECT DISTINCT ON (subject) subject, kind FROM reconciliation_log
            WHERE kind IN ('not_a_sale', 'a_sale_after_all') ORDER BY subject, id DESC) last
        WHERE kind = 'not_a_sale'
        """
    )
    return [str(row["subject"]) for row in rows]


def kept_statements(
    tx: Transaction, since: datetime, until: datetime, *, whole: bool, receipts: Iterable[str] = ()
) -> Iterator[Statement]:
    """Statements that were written before: all their periods, and their rows of this time or of these receipts.

    `whole`: with the cells, which say whom a row names.
    """
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in chain(_kept_rows(tx, since, until, whole=whole), _kept_rows_of(tx, receipts)):
        rows[row["sha256"]].append(_row(row))
    for file in tx.rows("SELECT * FROM statement_files ORDER BY written_at, sha256"):
        yield Statement(
            sha256=file["sha256"],
            name=f"statement {file['sha256'][:12]}",
            family=file["family"],
            shortcode=file["shortcode"],
            starts=file["starts"],
            ends=file["ends"],
            rows=tuple(rows[file["sha256"]]),
            balance_chain=file["balance_chain"],
            opening_kes=None,
            closing_kes=None,
            unknown=(),
            made_at=file["ends"],
        )


def _kept_rows_of(tx: Transaction, receipts: Iterable[str]) -> Iterator[dict[str, Any]]:
    asked = sorted(receipts)
    for first in range(0, len(asked), MANY):
        portion = " ".join(asked[first : first + MANY])
        yield from tx.rows(
            f"SELECT {KEPT} FROM statement_rows WHERE receipt = ANY(string_to_array(:some, ' '))",  # noqa: S608
            some=portion,
        )


def _kept_rows(tx: Transaction, since: datetime, until: datetime, *, whole: bool) -> Iterator[dict[str, Any]]:
    after, last = since, 0
    while True:
        page = tx.rows(
            f"""
            SELECT {KEPT}{", raw" if whole else ""}
            FROM statement_rows WHERE at BETWEEN :after AND :until AND (at > :after OR id > :last)
            ORDER BY at, id LIMIT {PAGE}
            """,  # noqa: S608  # our own words
            after=after,
            until=until,
            last=last,
        )
        yield from page
        if len(page) < PAGE:
            return
        after, last = page[-1]["at"], page[-1]["id"]


def _row(row: dict[str, Any]) -> Row:
    return Row(
        number=row["row_number"],
        receipt=row["receipt"],
        at=row["at"].astimezone(EAT),
        details="",
        status=row["status"],
        completed=row["completed"],
        paid_in_kes=row["paid_in"],
        withdrawn_kes=row["withdrawn"],
        balance_kes=None,
        account=row["account"],
        account_is_number=False,
        party=_party(row.get("raw")),
        linked_receipt=row["linked_receipt"],
        row_class=RowClass(row["class"]),
        raw="",
    )


def _party(raw: str | None) -> str | None:
    """The other side, from the row's cells: one of them, or a part of its details."""
    cells = [cell for cell in json.loads(raw or "[]") if isinstance(cell, str) and " - " in cell]
    alone = [cell.strip() for cell in cells if party_in(cell) is None]
    return next(iter([*alone, *filter(None, map(party_in, cells))]), None)
