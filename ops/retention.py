"""For how long personal data are kept, and the purge of what is past its time. docs/privacy.md says why, row by row.

Rows of payments, callbacks and the audit log are never deleted: after its time a payment loses its person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from ops.erasure import Eraser
from ops.people import Order, People
from shared.database import Database

A_YEAR = timedelta(days=365.25)
BOOKS_KEPT = 7 * A_YEAR
CONTACTS_KEPT = timedelta(days=400)
KEYS_KEPT = timedelta(days=30)
A_DAY = timedelta(days=1)
AT_ONCE = 1000
NOT_OPEN = (
    "NOT EXISTS (SELECT FROM transactions t WHERE t.id = transaction_id "
    "AND t.status IN ('INITIATED', 'PENDING', 'UNCERTAIN', 'REVIEW'))"
)


@dataclass(frozen=True)
class Rule:
    """Rows that need not stay. `what` is the row's first column in the table of docs/privacy.md."""

    what: str
    table: str
    age: timedelta
    condition: str
    """Of rows that are purged; `:age` is how long they are kept."""
    change: str = ""
    """What becomes of a row; empty: it is deleted."""


RULES = (
    Rule(
        "Idempotency-Key and fingerprint of the request",
        "idempotency_keys",
        KEYS_KEPT,
        f"created_at < now() - CAST(:age AS interval) AND {NOT_OPEN}",
    ),
    Rule(
        "when the customer last looked",
        "transactions",
        KEYS_KEPT,
        "watched_at < now() - CAST(:age AS interval) AND status NOT IN ('INITIATED', 'PENDING', 'UNCERTAIN', 'REVIEW')",
        change="watched_at = NULL",
    ),
    Rule(
        "network address a callback came from",
        "callback_inbox",
        CONTACTS_KEPT,
        "source_address IS NOT NULL AND received_at < now() - CAST(:age AS interval) "
        f"AND outcome NOT IN ('dead_letter', 'held') AND {NOT_OPEN}",
        change="source_address = NULL",
    ),
    Rule(
        "why a message was not sent",
        "outbox",
        CONTACTS_KEPT,
        "last_error IS NOT NULL AND next_try_at IS NULL AND created_at < now() - CAST(:age AS interval) "
        f"AND {NOT_OPEN}",
        change="last_error = NULL",
    ),
    Rule(
        "digest of a caller's network address",
        "push_callers",
        A_DAY,
        "asked_at < now() - CAST(:age AS interval)",
    ),
    Rule(
        "access token for Daraja",
        "access_tokens",
        A_DAY,
        "token IS NOT NULL AND expires_at < now() - CAST(:age AS interval)",
        change="token = NULL",
    ),
)


def purge(database: Database, people: People, eraser: Eraser, *, dry_run: bool) -> Iterator[tuple[str, int, int]]:
    """Applies every rule: what, how many orders or rows, and how many have to wait. Safe to break off and run again."""
    late = people.erased_orders_with_news()
    yield "late callbacks about payments whose person was erased", *_each(late, eraser.person)
    yield "persons of payments past their time", *_each(people.orders_past(BOOKS_KEPT, CONTACTS_KEPT), eraser.person)
    yield "contacts past their time", *_each(people.orders_with_contacts_past(CONTACTS_KEPT), eraser.contact)
    yield "statement rows of no payment", eraser.unclaimed_rows(BOOKS_KEPT), 0
    for rule in RULES:
        yield rule.what, _purge_rows(database, rule, dry_run=dry_run), 0


def _each(orders: list[Order], erase: Callable[[Order], bool]) -> tuple[int, int]:
    outcomes = Counter(not order.not_yet and erase(order) for order in orders)
    return outcomes[True], outcomes[False]


def _purge_rows(database: Database, rule: Rule, *, dry_run: bool) -> int:
    """A thousand rows a transaction."""
    if dry_run:
        row = database.row(f"SELECT count(*) AS due FROM {rule.table} WHERE {rule.condition}", age=rule.age)  # noqa: S608
        return int(row["due"]) if row else 0
    doing = f"UPDATE {rule.table} SET {rule.change}" if rule.change else f"DELETE FROM {rule.table}"  # noqa: S608
    some = f"SELECT ctid FROM {rule.table} WHERE {rule.condition} LIMIT {AT_ONCE}"  # noqa: S608
    in_all = 0
    while True:
        changed = database.run(f"{doing} WHERE ctid = ANY (ARRAY({some}))", age=rule.age)
        in_all += changed
        if changed < AT_ONCE:
            return in_all
