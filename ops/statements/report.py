"""The report of a closed month: one HTML file to print, made of the signed facts and of nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from html import escape
from typing import Any

from ops.statements.explanations import MEANS, kes
from ops.statements.showing import in_ranges
from ops.statements.sides import Kind
from ops.statements.statement import RowClass
from ops.words import eat

STYLE = (
    "body{font:14px/1.5 sans-serif;margin:2em auto;max-width:52em;color:#111}table{border-collapse:collapse;width:100%}"
    "th,td{padding:.2em .6em;border-bottom:1px solid #ccc;text-align:left;vertical-align:top}"
    "td.n,th.n{text-align:right}code{font-size:11px;word-break:break-all}"
)


def report(month: object, facts: Mapping[str, Any], who: str, why: str | None, at: datetime) -> str:
    """The same facts give the same bytes."""
    return "\n".join(_parts(str(month), facts, who, why, at)) + "\n"


def _parts(month: str, facts: Mapping[str, Any], who: str, why: str | None, at: datetime) -> Iterator[str]:
    books = facts["books"]
    title = f"Reconciliation of {month}"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield f"<style>{STYLE}</style></head><body><h1>{title}</h1>"
    yield f"<p>Closed by {escape(who)} on {eat(at)} (East Africa Time).{f' Reason: {escape(why)}.' if why else ''}</p>"
    yield "<h2>Books</h2>"
    yield _table(
        ("", ">Number", ">KES"),
        [
            ("Sales", books["sales"], _kes(books["sales_kes"])),
            ("Refunds", books["refunds"], _kes(books["refunds_kes"])),
        ],
    )
    yield "<h2>Safaricom's statements</h2>"
    yield _table(
        ("SHA-256", "Family", ">Rows", "Chain of balances", "Written by"),
        [
            (each["sha256"], each["family"], each["rows"], each["balance_chain"], each["written_by"])
            for each in facts["files"]
        ],
    )
    sums = [(name.value, facts["classes"][name.value]) for name in RowClass if name.value in facts["classes"]]
    named = (("Explained by the books", "matched"), ("Came and went back", "returned"), ("No sale", "no_sale"))
    yield _table(
        ("Rows", ">Number", ">In", ">Out"),
        [(name, each["count"], _kes(each["in_kes"]), _kes(each["out_kes"])) for name, each in sums]
        + [(name, facts[key]["count"], _kes(facts[key]["in_kes"]), _kes(facts[key]["out_kes"])) for name, key in named],
    )
    days = [date.fromisoformat(day) for day in facts["days_not_covered"]]
    yield f"<p>Days that no statement covers: <b>{in_ranges(days) or 'none'}</b></p>"
    yield f"<h2>Open differences: {len(facts['differences'])}</h2>"
    if facts["differences"]:
        yield _table(
            ("What", ">KES", "When", "Receipt", "Payment"),
            [
                (
                    MEANS[Kind(each["kind"])],
                    _kes(each["amount_kes"]),
                    each["at"][:16].replace("T", " "),
                    each["receipt"] or "-",
                    each["transaction_id"] or "-",
                )
                for each in facts["differences"]
            ],
        )
    yield "<p>Signature: ______________________ &nbsp; Date: ______________</p>"
    yield "<p>It is made of one signed row of the books: <code>ops audit verify --report FILE</code> checks it.</p>"
    yield "</body></html>"


def _kes(amount: int | str) -> str:
    return kes(Decimal(amount)).removeprefix("KES ")


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """`>` before a column's name: numbers."""
    classes = [' class="n"' if column.startswith(">") else "" for column in columns]
    head = "".join(f"<th{way}>{escape(name.lstrip('>'))}</th>" for way, name in zip(classes, columns, strict=True))
    body = [
        "<tr>" + "".join(f"<td{way}>{_cell(cell)}</td>" for way, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in rows
    ]
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"


def _cell(cell: object) -> str:
    text = str(cell)
    return f"<code>{escape(text)}</code>" if len(text) == 64 else escape(text)
