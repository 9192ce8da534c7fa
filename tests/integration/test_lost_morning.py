"""A morning of which every callback was lost, and three customers who then paid by hand: found, booked, and agreed.

Rule 5 of the design: a statement's row settles what it names exactly, and money that came another way is a person's to
book. The statement is the simulator's, downloaded as a person downloads it.
"""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulator.clock import EAT
from simulator.statements import FORMS
from tests.fixtures.shop import Shop

PAYBILL, TILL = "174379", "600584"
BY_HAND = (("254711000001", 350, "order 71"), ("254711000002", 1200, "ORDER-72"), ("254711000003", 90, "order73"))


class Reconciling:
    """What a person does at the terminal, in JSON."""

    def __init__(self, shop: Shop, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._shop = shop
        self._capsys = capsys
        self._folder = folder

    def ops(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        self._capsys.readouterr()
        code = self._shop.ops(*arguments, "--json")
        return code, json.loads(self._capsys.readouterr().out)

    def download(self, form: str, shortcode: str = PAYBILL) -> str:
        """The days until now: midnight may have passed meanwhile."""
        until: date = datetime.now(EAT).date()
        since, ending = until - timedelta(days=1), form.rpartition(".")[2]
        path = self._folder / f"Statements for {shortcode} from {since} to {until}.{ending}"
        path.write_bytes(self._shop.simulator.client.statement(shortcode, since, until, form))
        return str(path)


@pytest.mark.parametrize("form", [name for name in FORMS if name.startswith(("a", "b"))])
def test_a_lost_morning_is_found_booked_and_agreed(
    shop: Shop, capsys: pytest.CaptureFixture[str], tmp_path: Path, form: str
) -> None:
    safaricom, person = shop.simulator.client, Reconciling(shop, capsys, tmp_path)
    before = shop.settled(phone_number="254722000050", account_reference="EARLY1", amount=500)
    safaricom.behave(callbacks_lost=True)
    safaricom.fault("query", "error_500", for_s=86_400)
    lost = []
    for number in range(3):
        phone = f"25472200006{number}"
        safaricom.script(phone, "pay", after_s=0)
        reply = shop.pay(phone_number=phone, account_reference=f"LOST{number}", amount=1000 + number)
        assert reply.status == 202
        lost.append(reply.body["transaction_id"])
    safaricom.wait_for(lambda: len(safaricom.ledger()) == 4 or None, "the money of all four", 60)
    by_hand = [safaricom.pay(phone, PAYBILL, amount, account) for phone, amount, account in BY_HAND]
    assert {shop.payment(each)["status"] for each in lost} == {"PENDING"}

    file = person.download(form)
    code, found = person.ops("reconcile", file)
    kinds = {one["receipt"]: (one["kind"], one["transaction_id"]) for one in found["differences"]}
    assert code == 1
    assert {kind for kind in kinds.values() if kind[0] == "state_differs"} == {("state_differs", each) for each in lost}
    assert {receipt for receipt, (kind, _) in kinds.items() if kind == "missing_here"} == set(by_hand)
    assert len(kinds) == 6
    assert {shop.payment(each)["status"] for each in lost} == {"PENDING"}, "a look writes nothing"

    person.ops("reconcile", file, "--write", "--yes", "--who", "asha")
    assert {shop.payment(each)["status"] for each in [before, *lost]} == {"PAID"}
    for receipt, (_, _, account) in zip(by_hand, BY_HAND, strict=True):
        reference = account.upper().replace(" ", "").replace("-", "")
        code, _ = person.ops(
            "book", receipt, "--reference", reference, "--why", "paid by hand", "--yes", "--who", "asha"
        )
        assert code == 0
    code, found = person.ops("reconcile", file)
    assert (code, found["differences"], found["matched"]) == (0, [], 7)


@pytest.mark.parametrize("form", [name for name in FORMS if name not in ("a.xls", "c-2019.csv")])
def test_a_tills_lost_payment_is_proposed_where_one_order_fits(
    shop: Shop, capsys: pytest.CaptureFixture[str], tmp_path: Path, form: str
) -> None:
    """A till's rows name no order."""
    shop.configure(MPESA_SHORTCODE="600000", MPESA_PARTY_B=TILL, MPESA_TRANSACTION_TYPE="CustomerBuyGoodsOnline")
    safaricom, person = shop.simulator.client, Reconciling(shop, capsys, tmp_path)
    shop.settled(phone_number="254722000050", account_reference="EARLY1", amount=500)
    safaricom.fault("query", "error_500", for_s=86_400)
    lost = {}
    for number, amount in enumerate((1000, 70, 70)):
        order: dict[str, Any] = {"phone_number": f"25472200006{number}", "amount": amount}
        safaricom.script(order["phone_number"], "ignore", after_s=0, paid_later_s=60)
        lost[f"LOST{number}"] = shop.called_back(account_reference=f"LOST{number}", **order)
    assert {shop.payment(each)["status"] for each in lost.values()} == {"FAILED"}
    safaricom.behave(callbacks_lost=True)
    safaricom.advance(61)
    safaricom.wait_for(lambda: len(safaricom.ledger()) == 4 or None, "the money of all four", 60)
    file = person.download(form, TILL)
    code, found = person.ops("reconcile", file, "--write", "--yes", "--who", "asha")
    differs = sorted((one["kind"], one["transaction_id"] or "", one["settles"]) for one in found["differences"])
    assert (code, found["matched"]) == (1, 1)
    assert differs == [("missing_here", "", None)] * 2 + [("state_differs", lost["LOST0"], None)]
    proposed = next(one for one in found["differences"] if one["transaction_id"])
    assert f"book {proposed['receipt']} --reference LOST0" in proposed["do_now"]
    assert (
        person.ops("book", proposed["receipt"], "--reference", "LOST0", "--why", "till", "--yes", "--who", "asha")[0]
        == 0
    )
    assert shop.payment(lost["LOST0"])["status"] == "PAID"
