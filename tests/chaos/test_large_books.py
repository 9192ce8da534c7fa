"""A shop after years: looking one thing up is quick, and what reads everything needs little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.postgres import EmbeddedPostgres
from ops.books import Books
from shared.database import Database
from shared.settings import audit_settings
from tests.fixtures.database import TEMPLATE, fresh_database
from tests.fixtures.large_books import fill
from tests.fixtures.shop import Shop
from tests.fixtures.soak import Figure, Rounds

ROOT = Path(__file__).parents[2]
MOST_MB = 300


@pytest.fixture
def payments(rounds: Rounds) -> int:
    return rounds(3_000, 1_000_000)


@pytest.fixture
def large_books(shop: Shop, postgres_server: EmbeddedPostgres, payments: int, tmp_path: Path) -> Iterator[str]:
    """Their address."""
    with fresh_database(postgres_server, TEMPLATE) as name:
        fill(postgres_server, name, payments, audit_settings(os.environ).keys[0])
        yield postgres_server.url(name)


def test_large_books_are_looked_up_exported_erased_and_checked(
    large_books: str, payments: int, tmp_path: Path, figure: Figure
) -> None:
    database = Database(large_books)
    one = database.row("SELECT * FROM transactions ORDER BY created_at OFFSET :half LIMIT 1", half=payments // 2)
    assert one is not None
    confirmation = Books(database).row("payment_confirmations", str(one["id"]))
    invoice = Books(database).row("invoices", str(one["id"]))
    (entry,) = Books(database).rows("callback_inbox", str(one["id"]))
    assert confirmation
    assert invoice
    database.close()

    clues = {
        "transaction id": one["id"], "receipt": confirmation["mpesa_receipt_number"], "phone": one["phone_number"],
        "reference": str(one["account_reference"]).lower(), "e-mail address": str(one["customer_email"]).upper(),
        "invoice number": invoice["invoice_number"], "CheckoutRequestID": one["checkout_request_id"],
        "entry of the inbox": entry["id"],
    }  # fmt: skip
    slowest_s = 0.0
    for clue in clues.values():
        took_s, _, document = _ops(large_books, "case", str(clue))
        assert str(one["id"]) in {payment["transaction_id"] for payment in document["payments"]}
        slowest_s = max(slowest_s, took_s)
    measured = [f"{payments:,} payments: `case` by any of {len(clues)} clues at most {slowest_s:.1f} s"]
    for command, *arguments in (
        ("limits",),
        ("privacy", "export", str(one["customer_email"]), "--out", str(tmp_path / "alice.json")),
        ("privacy", "erase", str(one["customer_email"]), "--why", "asked for it", "--yes"),
        ("verify",),
        ("audit", "verify"),
        ("replay",),
    ):
        took_s, most_mb, _ = _ops(large_books, command, *arguments)
        measured.append(f"`{' '.join([command, *arguments[:1]])}` {took_s:.1f} s and {most_mb:.0f} MB")
        print(measured[-1], flush=True)
        assert most_mb < MOST_MB, measured[-1]
    figure(", ".join(measured))


def _ops(url: str, *arguments: str) -> tuple[float, float, dict[str, list[dict[str, object]]]]:
    """(seconds, most megabytes, document) of a command, which has to say that all is well."""
    began = time.monotonic()
    environ = {**os.environ, "DATABASE_URL": url}
    command = [sys.executable, "-m", "ops", *arguments, "--json"]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        said = run.stdout.read()
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    assert run.returncode == 0, said
    return time.monotonic() - began, used.ru_maxrss / 1024, json.loads(said)
