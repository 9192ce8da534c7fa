"""A hostile day on which the database is deleted, and what an operator does then, with real commands.

The backup is made at a random moment of the day, and the database is deleted at a later one. It comes back under its
own name, as old as it would be by now. What came in between is got back as the runbook says: by callbacks, queries and
Safaricom's statement. Then every completed row of the statement is a payment, or in review with its receipt.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from db.migrate import grant_roles
from dev.postgres import EmbeddedPostgres
from netlify.functions import callback
from shared.database import Database, connection_settings
from shared.database.connection import Connection
from shared.payments import OPEN
from simulator.entries import Entry, Kind
from tests.chaos.day import AFTER_FAULTS_S, _transaction_of
from tests.chaos.statement_day import WRITE, StatementDay
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.backups import Vault
from tests.fixtures.database import outside_of_transactions
from tests.fixtures.shop import Shop, forget_collaborators, replayed_differently, wrongly_signed

INVOICE = re.compile(r"INV-\d{4}-\d{6,}")
STAYS = {"doubled", "amount_differs", "refund_unseen", "reversed", "missing_there"}
"""What a hostile day leaves for the portal: Safaricom's own rows, or a second payment that waits for its refund."""


class TimeOfALostDatabase(VirtualTime):
    """Time goes on while there is no database. One that comes back grows as old as it would be."""

    aged_s = 0.0
    is_gone = False

    def _grow_older(self, seconds: float) -> None:
        self.aged_s += seconds
        if not self.is_gone:
            super()._grow_older(seconds)

    def loses_it(self) -> None:
        self.close()
        self.is_gone = True

    def has_it_back(self, database_url: str, aged_s: float) -> None:
        """`aged_s`: when its backup was made."""
        self.database = Database(database_url, statement_timeout_s=60)
        self._clockwork = Connection(connection_settings(database_url), connect_timeout_s=10, read_timeout_s=60)
        self.is_gone = False
        super()._grow_older(self.aged_s - aged_s)
        with self.database.transaction() as tx:
            tx.script("SET LOCAL session_replication_role = 'replica'; UPDATE recoveries SET restored_at = now()")


class WorstDay(StatementDay):
    open_s = 40 * 60
    purchases = 40

    def __init__(
        self,
        seed: int,
        shop: Shop,
        time: TimeOfALostDatabase,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
        vault: Vault,
        server: EmbeddedPostgres,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        super().__init__(seed, shop, time, folder, capsys)
        self._clock, self._vault, self._server, self._patch = time, vault, server, monkeypatch
        self._mailed_before: set[str] = set()

    def run(self) -> Counter[str]:
        self._open()
        backed_up_s = self._drawn.uniform(4, 15) * 60
        deleted_s = backed_up_s + self._drawn.uniform(1, 15) * 60
        self._live_until(backed_up_s)
        backup, aged_s = self._is_backed_up(), self._clock.aged_s
        self._live_until(deleted_s)
        lost = {row["id"] for row in self._payments()}
        self._is_deleted(down_s=self._drawn.uniform(1, 10) * 60)
        self._comes_back(backup, aged_s)
        self.came["lost payments"] = len(lost - {row["id"] for row in self._payments()})
        self._goes_on()
        self._is_got_back()
        self._closes_the_books()
        return self.came

    # The database -----------------------------------------------------------------------------------------------------

    def _is_backed_up(self) -> Path:
        self._capsys.readouterr()
        where = ("--to", str(self._vault.folder), "--recipient", str(self._vault.identity.to_public()))
        assert self.shop.ops("backup", *where, "--json") == 0, self._capsys.readouterr()
        return Path(json.loads(self._capsys.readouterr().out)["place"])

    def _is_deleted(self, down_s: float) -> None:
        self._mailed_before = set(self._mailed_numbers())
        name = urlsplit(self.shop.database_url).path.removeprefix("/")
        self._clock.loses_it()
        self.shop.books.close()
        forget_collaborators()
        outside_of_transactions(self._server, f"DROP DATABASE {name} WITH (FORCE)")
        with self._patch.context() as patch:
            patch.setattr(callback, "STORES_FOR_S", 0.1)
            assert self.shop.pay(phone_number="254711000009").status in (500, 503)
            self.time.go_on(down_s)  # callbacks of these minutes are lost
        forget_collaborators()
        outside_of_transactions(self._server, f"CREATE DATABASE {name} TEMPLATE template1 STRATEGY file_copy")

    def _comes_back(self, backup: Path, aged_s: float) -> None:
        """By `ops restore`, which says that everything in it is right."""
        told = self._drawn.random() < 0.5
        last = ["--last-invoice", max(self._mailed_before, default="none")] if told else []
        code = self._vault.restore(backup, self.shop.database_url, *last, "--who", "asha", "--json")
        assert code == 0, self._capsys.readouterr()
        grant_roles(self.shop.books)
        self._clock.has_it_back(self.shop.database_url, aged_s)
        assert self.shop.pay(phone_number="254711000009").body["code"] == "recovering"

    def _goes_on(self) -> None:
        """Customers come and are refused; callbacks, queries and the sweep go on, until nothing is open."""
        self._live_until(self.open_s)
        self.safaricom.make_peace()
        self._agenda = []
        self._sweep_every(60, until_s=self.open_s + AFTER_FAULTS_S)
        self._live_until(self.open_s + AFTER_FAULTS_S)
        still = [row for row in self._payments() if row["status"] in OPEN]
        assert still == [], f"{len(still)} payments are still open half an hour after the last fault"
        self._let_the_rest_arrive()
        self._invariants_hold()

    # What came since --------------------------------------------------------------------------------------------------

    def _is_got_back(self) -> None:
        """As the runbook says: the statement, what is missing is booked, what waits is decided; then it is finished."""
        starts, ends = self._to_yesterday()
        entries = self._entries(starts)
        self._tell_the_time_of_the_books(entries)
        file = self._file(entries, starts, ends)
        self._reconcile(file, *WRITE)
        for _ in range(3):
            for each in self._reconcile(file)["differences"]:
                self._obeys(each)
        found = {each["kind"] for each in self._reconcile(file)["differences"]}
        assert found <= STAYS, found - STAYS
        assert self.shop.pay(phone_number="254711000009").body["code"] == "recovering"
        self._finishes()
        came = [one for one in entries if one.kind is Kind.PAYMENT and one.status == "Completed"]
        self._nothing_is_unexplained([one for one in came if starts <= one.at <= ends])

    def _obeys(self, difference: dict[str, Any]) -> None:
        """The command that is shown, where it is one that changes something. Both payments of an order are booked."""
        kind, words = difference["kind"], shlex.split(difference["do_now"].replace("…", "after the restore"))[3:]
        if kind == "doubled" and words[0] == "case":
            words = ["book", difference["receipt"], "--why", "the order was paid twice"]
        if words[:2] not in (["review", "pay"], ["receipts", "not-a-sale"]) and words[:1] != ["book"]:
            return
        final = ["--yes"] if words[0] == "book" else []
        code = self.shop.ops(*words, "--who", "asha", *final)
        if code and words[:2] == ["review", "pay"]:  # callbacks lied
            code = self.shop.ops(*words, "--who", "asha", "--against-evidence")
        self.came[f"by hand {kind}"] += not code

    def _finishes(self) -> None:
        last = max(self._mailed_before, default="none")
        options = ("--last-invoice", last, "--why", "what is left is in review", "--who", "asha", "--yes", "--json")
        self._capsys.readouterr()
        code = self.shop.ops("restore", "finish", *options)
        said = self._capsys.readouterr()
        assert code == 0, said
        missing = set(re.findall(r'"what": "(\w+)"', said.out))
        assert missing <= STAYS, missing
        booked = self.shop.rows(
            "SELECT account_reference AS reference, amount::int FROM transactions"
            " WHERE pushed_at IS NULL AND status = 'PAID' ORDER BY created_at LIMIT 1"
        )
        for each in booked:
            again = self.shop.pay(
                phone_number="254711000008", account_reference=each["reference"], amount=each["amount"]
            )
            assert again.body["code"] == "already_paid", "what was lost could be paid again"

    def _nothing_is_unexplained(self, entries: Iterable[Entry]) -> None:
        """0 KES, and nothing double: rows against payments."""
        ours = self._payments()
        confirmed = {row["confirmed_receipt"]: row for row in ours if row["confirmed_receipt"]}
        assert len(confirmed) == sum(row["confirmed_receipt"] is not None for row in ours)
        in_review = {receipt for row in ours if row["status"] == "REVIEW" for receipt in row["receipts"]}
        unexplained = [
            one
            for one in entries
            if one.receipt not in in_review
            and not (
                (row := confirmed.get(one.receipt))
                and row["status"] in ("PAID", "REFUNDED")
                and row["amount"] == one.amount_kes
            )
        ]
        assert unexplained == [], f"{sum(one.amount_kes for one in unexplained)} KES are unexplained"
        there = {one.receipt for one in entries}
        invented = [row for row in ours if row["status"] == "PAID" and row["confirmed_receipt"] not in there]
        assert invented == [], f"{len(invented)} payments are paid, and no money moved"
        self.came["KES"] = sum(int(one.amount_kes) for one in entries)
        self.came["rows"] = len(there)
        self.came["payments"] = len(ours)

    def _closes_the_books(self) -> None:
        pushed = Counter(_transaction_of(one) for one in self.safaricom.payments())
        assert [name for name, times in pushed.items() if times > 1] == [], "a push was sent twice"
        self.time.go_on(60)
        self._sweep()
        self._invariants_hold()
        assert replayed_differently(self.shop.books) == []
        assert wrongly_signed(self.shop.books) == []
        twice = {number: of for number, of in self._mailed_numbers().items() if len(of) > 1}
        assert twice == {}, "an invoice number was mailed for two payments"
        self.shop.logged.clear()

    def _mailed_numbers(self) -> dict[str, set[str]]:
        """Of mail of sales: each invoice's number, and its payments."""
        found: dict[str, set[str]] = defaultdict(set)
        for mail in self.safaricom.mail():
            text = str(mail["text"])
            if (number := INVOICE.search(text)) and (payment := re.search(r"^Payment: (\S+)", text, re.MULTILINE)):
                found[number[0]].add(payment[1])
        return dict(found)
