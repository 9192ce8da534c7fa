"""An erasure leaves the house as a line that names nobody, and is repeated by it after a restore."""

from __future__ import annotations

import json
import os
import quopri
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops.personal_columns import TABLES
from shared.audit_chain import ERASURE_LINE, Erasure
from shared.database import Database
from shared.settings import audit_settings
from tests.fixtures.backups import Vault, last_document, vault
from tests.fixtures.shop import CUSTOMER, NOBODY, Shop
from tests.integration.test_privacy import OTHER, THREE_DAYS, erase, settled

__all__ = ["vault"]

A_BACKUP = (*TABLES, "audit_log", "erasures")
NUMBER = CUSTOMER[3:]
HERS = (NUMBER, "alice@example.com", "Alice")


def everything(shop: Shop) -> str:
    tables = ("transactions", "payment_confirmations", "invoices", "idempotency_keys")
    told = [row["t"] for table in tables for row in shop.rows(f"SELECT t::text AS t FROM {table} t")]
    bodies = [bytes(row["body"]).decode() for row in shop.rows("SELECT body FROM callback_inbox")]
    return "\n".join([*told, *bodies])


def lines_in(text: str) -> list[str]:
    return [found[0] for found in ERASURE_LINE.finditer(text)]


def mailed(shop: Shop) -> str:
    (mail,) = [one for one in shop.letters(to_the_shop=True) if one["subject"].startswith("Erased")]
    return str(mail["text"])


def repeat(shop: Shop, file: Path, text: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> Any:
    file.write_text(text, encoding="utf-8")
    capsys.readouterr()
    assert shop.ops("privacy", "repeat", str(file), "--who", "amina", "--yes", "--json") == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept.txt"


@pytest.fixture
def two(shop: Shop) -> list[str]:
    """Alice's payment, and Bob's, which names her; three days ago. The order in which they are erased is hers first."""
    hers = settled(shop)
    note = f"or call 0{NUMBER}"
    bobs = settled(
        shop, phone_number=OTHER, account_reference="BOBS", customer_name="Bob", note=note, customer_email=None
    )
    shop.age(THREE_DAYS)
    return [hers, bobs]


def test_an_erasure_leaves_as_signed_lines_into_the_log_and_by_mail_and_names_nobody(
    shop: Shop, two: list[str]
) -> None:
    assert erase(shop) == 0
    shop.sweep()
    lines = lines_in(mailed(shop))
    assert [line.split("/")[2:5] for line in lines] == [
        ["person", two[0], ""],
        ["mention", two[1], "transactions.note"],
    ]
    assert lines_in("\n".join(shop.logged)) == lines
    assert NUMBER not in mailed(shop)
    assert shop.sweep().body == {}


@pytest.mark.parametrize("saved", ["as text", "as a mail program saves it", "as a log"])
def test_whoever_was_erased_since_the_backup_is_erased_again(
    shop: Shop, two: list[str], file: Path, saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = shop.copy_of(*A_BACKUP)
    assert erase(shop) == 0
    shop.sweep()
    text = "\n".join(shop.logged) if saved == "as a log" else mailed(shop)
    if saved == "as a mail program saves it":
        text = quopri.encodestring(text.encode()).decode()
        assert lines_in(text) == []
    shop.put_back(backup)
    assert all(each in everything(shop) for each in HERS)

    done = repeat(shop, file, text, capsys)

    assert (done["erased"], done["by_hand"]) == (2, [])
    assert [each for each in HERS if each in everything(shop)] == []
    assert (shop.payment(two[1])["note"], shop.payment(two[1])["customer_name"]) == (None, "Bob")
    assert OTHER in everything(shop)
    assert repeat(shop, file, text, capsys)["erased_before"] == 2
    assert shop.row("SELECT count(*) AS n FROM outbox WHERE kind = 'erasure'") == {"n": 0}, (
        "what is repeated left before"
    )


def test_a_restore_erases_again_at_once(
    shop: Shop, two: list[str], file: Path, vault: Vault, empty_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = vault.back_up(shop.database_url)
    assert erase(shop) == 0
    shop.sweep()
    file.write_text(mailed(shop), encoding="utf-8")
    capsys.readouterr()
    assert vault.restore(backup, empty_database_url, "--erasures", str(file), "--who", "amina", "--json") == 0
    assert last_document(capsys)["erasures"]["erased"] == 2
    restored = Database(empty_database_url)
    assert restored.rows("SELECT phone_number FROM transactions WHERE phone_number LIKE :hers", hers=f"%{NUMBER}") == []
    restored.close()
    assert vault.restore(backup, empty_database_url, "--erasures", str(file.with_name("none"))) == 2


def test_a_line_that_nobody_with_the_key_wrote_erases_nobody(
    shop: Shop, two: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert erase(shop) == 0
    shop.sweep()
    before = everything(shop)
    (hers, mention) = lines_in(mailed(shop))
    forged = [
        hers.replace(two[0], two[1]),
        mention.replace("transactions.note", "transactions.customer_name"),
        mention.replace("/mention/", "/person/"),
        hers[:-1] + ("A" if hers[-1] != "A" else "B"),
        Erasure(datetime.now(UTC), "person", two[1]).line(audit_settings({"AUDIT_SECRET": "another" * 8}).key),
    ]
    done = repeat(shop, file, "\n".join(forged), capsys, code=1)
    assert (done["not_genuine"], done["erased"]) == (5, 0)
    assert everything(shop) == before


def test_what_cannot_be_repeated_is_counted_and_said(
    shop: Shop, two: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, now = audit_settings(os.environ).key, datetime.now(UTC)
    recent = settled(shop, phone_number="254711000000")
    lines = [
        Erasure(now, "person", NOBODY).line(key),
        Erasure(now, "person", recent).line(key),
        Erasure(now, "mention", "00000000-0000-0000-0000-000000000000", ("statement_rows.raw",)).line(key),
    ]
    done = repeat(shop, file, " ".join(lines), capsys, code=1)
    assert (done["not_in_the_backup"], done["not_yet"], done["of_no_payment"]) == (1, 1, 1)
    assert len(done["by_hand"]) == 2


def test_many_erasures_are_few_messages(shop: Shop) -> None:
    for number in range(3):
        settled(shop, account_reference=f"ORDER{number}", amount=100 + number)
    shop.age(THREE_DAYS)
    assert erase(shop) == 0
    assert shop.rows("SELECT topic, jsonb_array_length(facts -> 'lines') AS n FROM outbox WHERE kind = 'erasure'") == [
        {"topic": "log", "n": 3},
        {"topic": "mail", "n": 3},
    ]
    shop.sweep()
