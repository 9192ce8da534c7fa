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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
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
        took_s, _, document = _ops(large_books, tmp_path / "peak", "case", str(clue))
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
        took_s, most_mb, _ = _ops(large_books, tmp_path / "peak", command, *arguments)
        measured.append(f"`{' '.join([command, *arguments[:1]])}` {took_s:.1f} s and {most_mb:.0f} MB")
        print(measured[-1], flush=True)
        assert most_mb < MOST_MB, measured[-1]
    figure(", ".join(measured))


PEAK_AT_EXIT = """
import atexit, pathlib, runpy, sys
peak, process = pathlib.Path(sys.argv.pop(1)), pathlib.Path("/proc/self/status")
atexit.register(lambda: peak.write_text(process.read_text()))
runpy.run_module("ops", run_name="__main__", alter_sys=True)
"""
"""What wait4() says of a child's memory holds that of whoever started it."""


def _ops(url: str, peak: Path, *arguments: str) -> tuple[float, float, dict[str, list[dict[str, object]]]]:
    """(seconds, most megabytes, document) of a command, which has to say that all is well."""
    began = time.monotonic()
    environ = {**os.environ, "DATABASE_URL": url}
    command = [sys.executable, "-c", PEAK_AT_EXIT, str(peak), *arguments, "--json"]
    ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (most,) = [line.split()[1] for line in peak.read_text().splitlines() if line.startswith("VmHWM:")]
    return time.monotonic() - began, int(most) / 1024, json.loads(ran.stdout)
