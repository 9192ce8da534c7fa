"""The log of closed months is one chain: whatever is done to a row, `ops audit verify` names it."""

from __future__ import annotations

import os
from decimal import Decimal

import pytest

from ops import reconciliation_log
from ops.audit import verify
from shared.database import Database
from shared.settings import audit_settings
from tests.fixtures.shop import Shop, at_once

FACTS = {"in_kes": Decimal(1500), "files": ["a", "b"], "charges_kes": Decimal("8.50"), "counts": {"payment": 2}}


def closed(shop: Shop, *months: str) -> None:
    """Two months of a shop, closed."""
    shop.sweep()
    key = audit_settings(os.environ).key
    for month in months:
        with shop.books.transaction() as tx:
            reconciliation_log.add(tx, key, "closed", month, FACTS, "amina", None)


def found(shop: Shop) -> list[str]:
    return [finding.what for finding in verify(shop.books, audit_settings(os.environ).keys).findings]


def test_what_was_written_is_read_again_and_verifies(shop: Shop) -> None:
    closed(shop, "2026-09", "2026-10")
    (row,) = reconciliation_log.entries(shop.books, kind="closed", subject="2026-10")
    assert (row["place"], row["who"], row["why"]) == (2, "amina", None)
    assert row["facts"] == {"in_kes": 1500, "files": ["a", "b"], "charges_kes": "8.50", "counts": {"payment": 2}}
    assert found(shop) == []
    shop.age(3 * 86_400)
    assert found(shop) == [], "books that are moved in time as a whole stay whole"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE reconciliation_log SET facts = facts || '{\"in_kes\": 1501}' WHERE place = 2", "not what was signed"),
        ("UPDATE reconciliation_log SET subject = '2026-11' WHERE place = 2", "not what was signed"),
        ("UPDATE reconciliation_log SET who = 'otieno' WHERE place = 1", "not what was signed"),
        ("UPDATE reconciliation_log SET why = '' WHERE place = 1", "not what was signed"),
        ("UPDATE reconciliation_log SET kind = 'reopened' WHERE place = 1", "not what was signed"),
        ("UPDATE reconciliation_log SET at = at - interval '1 day' WHERE place = 1", "not what was signed"),
        ("UPDATE reconciliation_log SET link_key = '00000000' WHERE place = 1", "the key 00000000, which"),
        ("DELETE FROM reconciliation_log WHERE place = 1", "row 1 was expected"),
        ("DELETE FROM reconciliation_log WHERE place = 2", "had 3 rows, there are 2"),
        ("DELETE FROM reconciliation_log WHERE place = 3", "does not end in the row that was written last"),
        ("DELETE FROM reconciliation_log", "had 3 rows, there are 0"),
        ("DELETE FROM reconciliation_log WHERE place = 3;"
         "UPDATE installation SET reconciliation_length = 2", "does not end in the row"),
        ("UPDATE installation SET reconciliation_head = repeat('0', 64)", "does not end in the row"),
        ("UPDATE reconciliation_log SET place = place + 10;"
         "UPDATE reconciliation_log SET place = 14 - place", "not what was signed"),
    ],
)  # fmt: skip
def test_what_was_tampered_with_is_named(shop: Shop, change: str, says: str) -> None:
    shop.history_is_made_up = True
    closed(shop, "2026-08", "2026-09", "2026-10")
    with shop.books.transaction() as tx:
        tx.run("SET LOCAL session_replication_role = 'replica'")
        for statement in change.split(";"):
            tx.run(statement)
    assert any(says in what for what in found(shop)), found(shop)
    assert shop.ops("audit", "verify") == 1


def test_two_who_write_at_once_make_one_chain(shop: Shop) -> None:
    closed(shop, "2026-08")
    at_once(["2026-09", "2026-10", "2026-11", "2026-12"], lambda month: closed_once(shop, month))
    assert [row["place"] for row in reconciliation_log.entries(shop.books)] == [1, 2, 3, 4, 5]
    assert found(shop) == []


def closed_once(shop: Shop, month: str) -> None:
    database = Database(shop.database_url)
    with database.transaction() as tx:
        reconciliation_log.add(tx, audit_settings(os.environ).key, "closed", month, FACTS, "amina", None)
    database.close()


@pytest.mark.parametrize("facts", [{"at": object()}, {"kes": float("nan")}])
def test_what_cannot_be_signed_is_refused(shop: Shop, facts: dict[str, object]) -> None:
    shop.sweep()
    with shop.books.transaction() as tx, pytest.raises((TypeError, ValueError)):
        reconciliation_log.add(tx, audit_settings(os.environ).key, "closed", "2026-10", facts, "amina", None)
