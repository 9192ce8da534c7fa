"""After a restore nobody is asked to pay, everything else goes on, and what was lost is found again or said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ops.recovery import InvoiceNumber, begin
from shared.collaborators import collaborators
from shared.values import EAT
from tests.fixtures.shop import CUSTOMER, OTHER_CUSTOMER, Shop, broken_invariants

SHA256 = "a" * 64
LOST = timedelta(hours=2)


def restored(shop: Shop, *last_invoices: InvoiceNumber, lost: timedelta = LOST) -> None:
    """The shop's database is a backup's from now on, as far as anybody can see."""
    with shop.books.transaction() as tx:
        begin(tx, SHA256, datetime.now(UTC) - lost, "amina", last_invoices)


def numbers(shop: Shop) -> list[int]:
    return [int(row["invoice_number"][9:]) for row in shop.rows("SELECT invoice_number FROM invoices ORDER BY 1")]


def this_year() -> int:
    return datetime.now(EAT).year


# Nobody is asked to pay -----------------------------------------------------------------------------------------------


def test_nobody_is_asked_to_pay_until_the_restore_is_finished(shop: Shop) -> None:
    shop.settled()
    pushes = len(shop.simulator.client.payments())
    restored(shop)
    for key in ("k1", "k1", None):
        reply = shop.pay(key, phone_number=OTHER_CUSTOMER)
        assert (reply.status, reply.body["code"], reply.headers["retry-after"]) == (503, "recovering", "900")
    assert len(shop.simulator.client.payments()) == pushes
    shop.rows("UPDATE recoveries SET finished_at = now(), finished_by = 'amina', facts = '{}' RETURNING id")
    assert shop.pay("k1", phone_number=OTHER_CUSTOMER).status == 202


def test_a_payment_that_was_asked_for_before_is_answered_as_ever(shop: Shop) -> None:
    first = shop.pay("k1")
    restored(shop)
    again = shop.pay("k1")
    assert (again.status, again.body["transaction_id"]) == (202, first.body["transaction_id"])
    assert shop.pay("k1", amount=7).body["code"] == "idempotency_mismatch"


def test_callbacks_status_invoices_and_the_sweep_go_on(shop: Shop) -> None:
    payment = prompted(shop, CUSTOMER)
    restored(shop, InvoiceNumber(this_year(), 0))
    pays(shop, payment)
    assert shop.status(payment).body["status"] == "paid"
    assert shop.call("invoice", "POST", "/api/pay/invoice", {"transaction_id": payment}).status == 202
    assert shop.sweep().status == 200


def test_asking_costs_no_round_trip_more(shop: Shop) -> None:
    shop.settled()
    restored(shop)
    before = collaborators().gateway.database.round_trips
    assert shop.pay(phone_number=OTHER_CUSTOMER).status == 503
    assert collaborators().gateway.database.round_trips - before <= 2


def test_a_restore_that_is_not_finished_is_said(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled()
    assert shop.ops("alerts") == 0
    restored(shop)
    assert shop.ops("alerts") == 1
    assert "nobody can pay since the restore of" in capsys.readouterr().out


# Invoice numbers ------------------------------------------------------------------------------------------------------


def test_a_number_that_may_have_been_mailed_is_never_given_again(shop: Shop) -> None:
    shop.settled()
    waiting = [prompted(shop, phone) for phone in (OTHER_CUSTOMER, "254711000000")]
    restored(shop)
    pays(shop, waiting[0])
    second = numbers(shop)[1]
    assert second > LOST.total_seconds()
    gap = shop.row("SELECT first_number, last_number, who FROM invoice_gaps")
    assert gap == {"first_number": 2, "last_number": second - 1, "who": "lipa"}
    pays(shop, waiting[1])
    assert numbers(shop) == [1, second, second + 1]


@pytest.mark.parametrize(("last", "given"), [(41, [1, 42]), (1, [1, 2]), (0, [1, 2])])
def test_numbers_go_on_after_the_last_that_was_mailed(shop: Shop, last: int, given: list[int]) -> None:
    shop.settled()
    waiting = prompted(shop, OTHER_CUSTOMER)
    restored(shop, InvoiceNumber(this_year(), last))
    pays(shop, waiting)
    assert numbers(shop) == given


def test_a_gap_that_no_restore_has_left_breaks_the_books(shop: Shop) -> None:
    shop.settled()
    restored(shop, InvoiceNumber(this_year(), 5))
    assert broken_invariants(shop.books) == []
    kept = shop.copy_of("invoice_gaps")
    shop.overwrite("DELETE FROM invoice_gaps")
    assert broken_invariants(shop.books) == ["invoice_numbers_have_no_gap"]
    shop.put_back(kept)


def prompted(shop: Shop, phone: str) -> str:
    shop.simulator.client.script(phone, "ignore")
    return str(shop.pay(phone_number=phone).body["transaction_id"])


def pays(shop: Shop, payment: str) -> None:
    shop.calls_back(payment, MpesaReceiptNumber=f"UE{payment[-8:].upper()}")
    assert shop.payment(payment)["status"] == "PAID"
