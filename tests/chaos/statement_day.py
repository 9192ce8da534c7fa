"""A hostile day and its statement: what differs was planted, or left by the day itself, and is known here.

The books are real; the statement is written from the simulator's account, in a form drawn from the day's seed. Both are
moved to yesterday, the last of it to ten minutes before midnight in Nairobi, so that a day's file holds all of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ops import review
from shared.collaborators import collaborators
from shared.database import Row
from simulator.clock import EAT
from simulator.entries import Entry, Kind, Organisation
from simulator.statements import file_name, write
from tests.chaos.day import Day, _transaction_of
from tests.chaos.planted import FORMS, PLANTS, Planted, left_by_the_day, named, nothing_is_unexplained
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.shop import Shop, replayed_differently, wrongly_signed

PAYBILL = "174379"
ENDS_AT = time(23, 50)
EDGE = timedelta(minutes=30)
WRITE = ("--write", "--yes", "--who", "asha")
COUNTED = """
    SELECT (SELECT count(*) FROM audit_log) AS history, (SELECT count(*) FROM statement_rows) AS rows,
           (SELECT count(*) FROM statement_files) AS files, (SELECT count(*) FROM outbox) AS outbox,
           (SELECT string_agg(status, ',' ORDER BY id) FROM transactions) AS statuses
"""


class StatementDay(Day):
    open_s = 30 * 60
    purchases = 25
    least_payments = 18

    def __init__(
        self, seed: int, shop: Shop, time: VirtualTime, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        super().__init__(seed, shop, time)
        self._folder = folder
        self._capsys = capsys
        self._drawn = Random(f"statement {seed}")
        self._form = self._drawn.choice(FORMS)
        self._plants = [kind for kind in PLANTS if self._drawn.random() < 0.5]
        self._receipts = 0
        self._used: set[str] = set()

    def _close_the_books(self) -> None:
        """By the statement, in place of a person."""
        planted = Planted(Counter(), [])
        self._before_midnight(planted)
        starts, ends = self._to_yesterday()
        planted.entries = self._entries(starts)
        self._tell_the_time_of_the_books(planted.entries)
        self._left_by_the_day(planted)
        self._on_the_statement(planted, starts)
        if "duplicate_row" in self._plants:
            self._a_file_with_a_row_twice_is_refused(planted, starts, ends)
        file = self._file(planted.entries, starts, ends)
        found = self._reconcile(file)
        self._is_right(found, planted, ends)
        written = self._reconcile(file, *WRITE)
        self._is_right(written, planted, ends)
        self._settled_what_is_exact(written)
        once = self.shop.row(COUNTED)
        again = self._reconcile(file, *WRITE)
        assert self.shop.row(COUNTED) == once, "the second time changed something"
        assert again["classes"] == found["classes"]
        self._in_another_form_it_is_the_same(again, planted, starts, ends)
        self._invariants_hold()
        assert replayed_differently(self.shop.books) == []
        assert wrongly_signed(self.shop.books) == []
        self.came.update(f"found {one['kind']}" for one in found["differences"])
        self.came[f"form {self._form.family} .{self._form.file}"] += 1
        self.came["settled"] += sum(one["written"] is not None for one in written["differences"])

    # What differs -----------------------------------------------------------------------------------------------------

    def _before_midnight(self, planted: Planted) -> None:
        """In the books, and on the account as Safaricom has it."""
        gateway = collaborators().gateway
        if "refund_unseen" in self._plants:
            for paid in self._some_paid():
                refund = self._receipt()
                review.refunded(gateway, paid["id"], refund, "asha", "in the portal, I think")
                planted.expect("refund_unseen", refund)
        if "reversed" in self._plants:
            for paid in self._some_paid():
                self.safaricom.reverse(PAYBILL, paid["confirmed_receipt"])
                planted.expect("reversed", self._last_reversal())
        for paid in self._some_paid(at_most=1):  # known on both sides
            self.safaricom.reverse(PAYBILL, paid["confirmed_receipt"])
            review.refunded(gateway, paid["id"], self._last_reversal(), "asha", "sent back by a mistake")
        if "missing_here" in self._plants:
            planted.expect("missing_here", self.safaricom.pay("254711000001", PAYBILL, 350, "cash 7"))
            planted.expect("missing_here", self.safaricom.pay("254711000002", PAYBILL, "99.50", "N 8", way="bank"))
        came_and_went = self.safaricom.pay("254711000003", PAYBILL, 125, "mistake")
        self.safaricom.reverse(PAYBILL, came_and_went)
        if self._form.family != "A":  # only there a reversal names what it takes back
            planted.expect("missing_here", came_and_went)
            planted.expect("reversed", self._last_reversal())
        self.time.go_on(45 * 60)
        self._sweep()
        if "timing" in self._plants:
            self.safaricom.script("254711000004", "pay", after_s=1)
            reply = self.shop.pay(phone_number="254711000004", amount=777, account_reference="JUSTNOW")
            assert reply.status == 202, reply.body
            self.time.go_on(60)
            paid = next(row for row in self._payments() if row["id"] == reply.body["transaction_id"])
            assert paid["status"] == "PAID"
            planted.expect("timing", paid["confirmed_receipt"])
            self._used |= {paid["id"], paid["confirmed_receipt"]}

    def _left_by_the_day(self, planted: Planted) -> None:
        """What the day's faults have made of payments for which money moved."""
        ids = {one["receipt"]: _transaction_of(one) for one in self.safaricom.payments() if one["receipt"]}
        ours = {row["id"]: row for row in self._payments()}
        orders = Counter(ours[transaction_id]["reference"].lower() for transaction_id in ids.values())
        for entry in planted.entries:
            if entry.kind is not Kind.PAYMENT or entry.receipt not in ids or entry.receipt in self._used:
                continue
            row = ours[ids[entry.receipt]]
            kind = left_by_the_day(row, entry, self.shop.alerts(row["id"]))
            if kind in ("state_differs", "receipt_missing") and orders[row["reference"].lower()] > 1:
                kind = "doubled|receipt_missing|state_differs"
            if kind is not None:
                planted.expect(kind, entry.receipt)

    def _on_the_statement(self, planted: Planted, starts: datetime) -> None:
        """By changing entries."""
        lost = {receipt for kind, receipt in planted.expected if kind == "timing"}
        if "missing_there" in self._plants:
            for paid in self._some_paid():
                lost.add(paid["confirmed_receipt"])
                planted.expect("missing_there", paid["confirmed_receipt"])
        changed: dict[str, Decimal] = {}
        if "amount_differs" in self._plants:
            for paid in self._some_paid():
                changed[paid["confirmed_receipt"]] = paid["amount"] + self._drawn.choice((-1, 1, 100))
                planted.expect("amount_differs", paid["confirmed_receipt"])
        planted.entries = [
            replace(one, amount_kes=changed[one.receipt])
            if one.receipt in changed and one.kind is Kind.PAYMENT
            else one
            for one in planted.entries
            if one.receipt not in lost
        ]
        by_receipt = {one.receipt: one for one in planted.entries if one.kind is Kind.PAYMENT}
        if "doubled" in self._plants:
            for paid in self._some_paid():
                first = by_receipt[paid["confirmed_receipt"]]
                second = replace(first, receipt=self._receipt(), at=first.at + timedelta(minutes=7), fuliza=False)
                planted.entries.append(second)
                planted.expect("doubled", second.receipt)
        if "state_differs" in self._plants:
            for failed in self._some("FAILED", "CANCELLED"):
                at = failed["created_at"].replace(microsecond=0) + timedelta(seconds=40)
                late = Entry(
                    Kind.PAYMENT,
                    self._receipt(),
                    at,
                    failed["amount"],
                    "254722000009",
                    "DAVID MFANO",
                    failed["reference"],
                )
                planted.entries.append(late)
                planted.expect("state_differs", late.receipt)
        if "refund_unknown" in self._plants:
            out = Entry(
                Kind.B2C, self._receipt(), starts + timedelta(hours=23), Decimal(640), "254722000008", "EVE SAMPLE"
            )
            planted.entries.append(out)
            planted.expect("refund_unknown", out.receipt)

    def _a_file_with_a_row_twice_is_refused(self, planted: Planted, starts: datetime, ends: datetime) -> None:
        there = [one for one in planted.entries if one.kind is Kind.PAYMENT and one.change_kes and one.at >= starts]
        twice = self._drawn.choice(there)
        entries = [*planted.entries, replace(twice, amount_kes=twice.amount_kes + 10)]
        file = self._file(entries, starts, ends)
        before = self.shop.row(COUNTED)
        found = self._reconcile(file)
        kinds = {(one["kind"], one["receipt"]) for one in found["differences"]}
        assert ("duplicate_row", twice.receipt) in kinds
        self._reconcile(file, *WRITE, refused=True)
        assert self.shop.row(COUNTED) == before, "a refused file was written"
        self.came["found duplicate_row"] += 1

    # Which payments ---------------------------------------------------------------------------------------------------

    def _some_paid(self, at_most: int = 2) -> list[Row]:
        return self._some("PAID", at_most=at_most, receipt=True)

    def _some(self, *statuses: str, at_most: int = 2, receipt: bool = False) -> list[Row]:
        """Of an order that no other payment has, and that no other plant has taken."""
        rows = self._payments()
        references = Counter(row["reference"].lower() for row in rows)
        fit = [
            row
            for row in rows
            if row["status"] in statuses
            and references[row["reference"].lower()] == 1
            and row["id"] not in self._used
            and (row["confirmed_receipt"] is not None or not receipt)
        ]
        chosen = self._drawn.sample(fit, min(len(fit), self._drawn.randint(1, at_most)))
        for row in chosen:
            self._used |= {row["id"], *([row["confirmed_receipt"]] if receipt else [])}
        return chosen

    def _payments(self) -> list[Row]:
        references = {
            row["id"]: row["reference"]
            for row in self.shop.rows("SELECT id::text, account_reference AS reference FROM transactions")
        }
        return [{**row, "reference": references[row["id"]]} for row in super()._payments()]

    # The statement ----------------------------------------------------------------------------------------------------

    def _to_yesterday(self) -> tuple[datetime, datetime]:
        """Everything becomes older, until the last of it was ten minutes before Nairobi's last midnight."""
        now = datetime.now(UTC)
        last = datetime.combine(now.astimezone(EAT).date() - timedelta(days=1), ENDS_AT, EAT)
        self._sweep()
        self.time.go_on((now - last).total_seconds())
        day = last.date()
        return datetime.combine(day, time.min, EAT), datetime.combine(day, time(23, 59, 59), EAT)

    def _entries(self, starts: datetime) -> list[Entry]:
        """On the account, by the clock of the books."""
        simulator = self.shop.simulator
        behind = simulator.now() - datetime.now(UTC)
        there = [
            replace(one, at=(one.at - behind).replace(microsecond=0), fuliza=self._drawn.random() < 0.1)
            for one in simulator.entries(PAYBILL)
            if one.kind not in (Kind.SWEEP, Kind.SETTLEMENT)
        ]
        before = Entry(
            Kind.PAYMENT,
            self._receipt(),
            starts - timedelta(hours=2),
            Decimal(5000),
            "254711000005",
            "EVE",
            "YESTERDAY",
        )
        swept = starts + timedelta(hours=3, minutes=31)
        return [
            before,
            Entry(Kind.SWEEP, self._receipt(), swept, Decimal(5000)),
            Entry(Kind.SETTLEMENT, self._receipt(), swept + timedelta(seconds=23), Decimal(5000)),
            *there,
        ]

    def _tell_the_time_of_the_books(self, entries: Iterable[Entry]) -> None:
        """What callbacks said by the simulator's clock, which is ahead of the database's by all that was skipped."""
        with self.time.database.transaction() as tx:
            tx.script("SET LOCAL session_replication_role = 'replica'")
            for entry in entries:
                tx.later(
                    """
                    UPDATE payment_confirmations SET transaction_date = CAST(:at AS timestamptz)
                    WHERE mpesa_receipt_number = :receipt AND transaction_date IS NOT NULL
                    """,
                    at=entry.at,
                    receipt=entry.receipt,
                )

    def _file(self, entries: Iterable[Entry], starts: datetime, ends: datetime) -> Path:
        of = Organisation(PAYBILL, "Fictional Traders Ltd")
        path = self._folder / file_name(self._form, of, starts, ends)
        path.write_bytes(write(self._form, of, list(entries), starts, ends))
        return path

    def _receipt(self) -> str:
        self._receipts += 1
        return f"UKX{self.seed % 1000:03}P{self._receipts:03}"

    def _last_reversal(self) -> str:
        return next(one.receipt for one in reversed(self.shop.simulator.entries(PAYBILL)) if one.kind is Kind.REVERSAL)

    # What was found ---------------------------------------------------------------------------------------------------

    def _reconcile(self, file: Path, *options: str, refused: bool = False) -> dict[str, Any]:
        self._capsys.readouterr()
        code = self.shop.ops("reconcile", str(file), "--json", *options)
        said = self._capsys.readouterr()
        assert code in (0, 1), (code, said.out[-2000:], said.err[-2000:])
        found: dict[str, Any] = json.loads(said.out)
        assert ("error" in found) is refused, said.out[-2000:]
        return found

    def _in_another_form_it_is_the_same(
        self, before: dict[str, Any], planted: Planted, starts: datetime, ends: datetime
    ) -> None:
        """The same rows once more: nobody is settled or told a second time."""
        family = self._form.family  # what another knows less, the first has said
        self._form = self._drawn.choice([form for form in FORMS if family in (form.family, "A")])
        statuses = self.shop.row(COUNTED)["statuses"]
        found = self._reconcile(self._file(planted.entries, starts, ends), *WRITE)
        assert named(found) == named(before), f"{named(found) - named(before)}, {named(before) - named(found)}"
        assert self.shop.row(COUNTED)["statuses"] == statuses

    def _is_right(self, found: dict[str, Any], planted: Planted, ends: datetime) -> None:
        left = Counter(planted.expected)
        wrong = []
        for one in found["differences"]:
            kind, of = one["kind"], one["receipt"] or one["transaction_id"]
            expected = next((it for it in left if it[1] == of and kind in it[0].split("|")), None)
            if expected is None:
                wrong.append(one)
            else:
                left -= Counter([expected])
        assert wrong == [], f"{len(wrong)} false differences, not found: {left}; {self._about(wrong)}"
        assert left == Counter(), f"not found: {left}"
        assert found["days_covered"] == [ends.date().isoformat()]
        nothing_is_unexplained(found)

    def _about(self, differences: list[dict[str, Any]]) -> str:
        """Each, with the payments of its order."""
        receipts = {one["receipt"] for one in differences}
        pushed = {one["receipt"]: _transaction_of(one) for one in self.safaricom.payments() if one["receipt"]}
        ours = {row["id"]: row for row in self._payments()}
        about = {one["transaction_id"] for one in differences} | {pushed.get(receipt) for receipt in receipts}
        orders = {ours[each]["reference"].lower() for each in about if each}
        books = [(row, [r for r, each in pushed.items() if each == row["id"]]) for row in ours.values()]
        return "\n".join(map(str, [*differences, *(row for row in books if row[0]["reference"].lower() in orders)]))

    def _settled_what_is_exact(self, written: dict[str, Any]) -> None:
        """Whatever is proposed to be settled is, by a file with a balance chain; by one without, nothing."""
        proposed = [one for one in written["differences"] if one["settles"]]
        left = [one for one in proposed if one["written"] is None]
        assert left == [], self._about(left)
        assert proposed == [] or self._form.family != "C-2019"
        statuses = {row["id"]: row["status"] for row in self._payments()}
        became = {"fills_receipt": "PAID", "pays": "PAID", "refunds": "REFUNDED"}
        wrong = [one for one in proposed if statuses[one["transaction_id"]] != became[one["settles"]]]
        assert wrong == [], self._about(wrong)
