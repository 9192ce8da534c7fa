"""Books and statements compared: each kind of difference and its neighbours, and no shilling without an explanation."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.statements.comparison import compare
from ops.statements.sides import Booked, BooksView, FillReceipt, Kind, Reconciliation, Refund, Settle
from ops.statements.statement import Row, RowClass, Statement
from shared.payments import ReviewReason, Status
from shared.values import EAT

DAY = datetime(2026, 10, 13, tzinfo=EAT)
NOW = datetime(2026, 10, 15, 9, tzinfo=EAT)
SHARED = "TJD0SHARED"


def at(hours: float, day: datetime = DAY) -> datetime:
    return day + timedelta(hours=hours)


def row(receipt: str, kes: str | int = 500, hours: float = 12.01, **more: Any) -> Row:
    """Money that came; with `out=True` money that went."""
    out = more.pop("out", False)
    given: dict[str, Any] = {
        "number": 1,
        "receipt": receipt,
        "at": at(hours),
        "details": "",
        "status": "Completed",
        "completed": True,
        "paid_in_kes": Decimal(0 if out else kes),
        "withdrawn_kes": Decimal(kes if out else 0),
        "balance_kes": None,
        "account": None if out else "INV1",
        "account_is_number": False,
        "party": None,
        "linked_receipt": None,
        "row_class": RowClass.REVERSAL if out else RowClass.PAYMENT,
        "raw": "[]",
    }
    return Row(**given | more)


def statement(*rows: Row, **more: Any) -> Statement:
    """Of the whole day, with a receipt that the books share."""
    given: dict[str, Any] = {
        "sha256": "0" * 64,
        "name": "statement.csv",
        "family": "A",
        "shortcode": "123456",
        "starts": DAY,
        "ends": at(24) - timedelta(seconds=1),
        "rows": (row(SHARED, 70, 9, account="SHARED"), *rows),
        "balance_chain": "ok",
        "opening_kes": None,
        "closing_kes": None,
        "unknown": (),
    }
    return Statement(**given | more)


def payment(name: str = "p1", **more: Any) -> Booked:
    """Paid at noon, KES 500 for INV1, with its receipt."""
    given: dict[str, Any] = {
        "transaction_id": name,
        "status": Status.PAID,
        "amount_kes": Decimal(500),
        "reference": "INV1",
        "created_at": at(12),
        "paid_at": at(12.01),
        "receipt": "TJD0000P01",
        "money_at": at(12.01),
        "by_callback": True,
    }
    return Booked(**given | more)


def unpaid(name: str = "p1", status: Status = Status.CANCELLED, **more: Any) -> Booked:
    return payment(name, **{"status": status, "paid_at": None, "receipt": None, "money_at": None} | more)


def by_query(name: str = "p1", **more: Any) -> Booked:
    return payment(name, **{"receipt": None, "money_at": None} | more)


def books(*payments: Booked, **more: Any) -> BooksView:
    shared = payment("shared", reference="SHARED", amount_kes=Decimal(70), receipt=SHARED, created_at=at(9),
                     paid_at=at(9), money_at=at(9))  # fmt: skip
    given: dict[str, Any] = {
        "payments": (shared, *payments),
        "now": NOW,
        "confirm_above_kes": Decimal(20_000),
        "begin": DAY.date(),
    }
    return BooksView(**given | more)


def found(result: Reconciliation) -> list[tuple[str, str | None, str | None]]:
    return [(each.kind.value, each.receipt, each.transaction_id) for each in result.differences]


def only(result: Reconciliation) -> Any:
    assert len(result.differences) == 1, found(result)
    return result.differences[0]


def check_shillings(result: Reconciliation) -> None:
    """Each shilling that came or went is explained once."""
    rows = [each for difference in result.differences for each in difference.rows]
    assert len(rows) == len({id(each) for each in rows})
    explained = [result.matched, result.returned, result.no_sale, result.not_judged]
    for way, of_row in (("in_kes", "paid_in_kes"), ("out_kes", "withdrawn_kes")):
        total = sum(getattr(each, way) for each in result.classes.values())
        assert total == sum(getattr(each, way) for each in explained) + sum(getattr(each, of_row) for each in rows)


def test_what_agrees_is_matched() -> None:
    result = compare([statement(row("TJD0000P01"))], books(payment()))
    assert found(result) == []
    assert (result.matched.count, int(result.matched.in_kes)) == (2, 570)


@pytest.mark.parametrize("status", [Status.PAID, Status.REFUNDED])
def test_a_payment_whose_row_is_missing_in_a_covered_period(status: Status) -> None:
    refund: dict[str, Any] = (
        {"refunded_at": at(13), "refund_receipt": "TJD0000R01"} if status is Status.REFUNDED else {}
    )
    back = [row("TJD0000R01", out=True)] if refund else []
    assert only(compare([statement(*back)], books(payment(status=status, **refund)))).kind is Kind.MISSING_THERE


@pytest.mark.parametrize("days", [-2000, 0, 2000])
def test_a_time_that_a_callback_names_far_from_its_order_hides_nothing(days: int) -> None:
    forged = payment(money_at=at(12.01) + timedelta(days=days))
    assert found(compare([statement()], books(forged))) == [("missing_there", "TJD0000P01", "p1")]
    back = replace(forged, status=Status.REFUNDED, refunded_at=at(13), refund_receipt="TJD0000R01")
    assert found(compare([statement(row("TJD0000P01"))], books(back))) == [("refund_unseen", "TJD0000R01", "p1")]
    booked_late = payment(money_at=at(-48), by_callback=False)
    assert found(compare([statement()], books(booked_late))) == []


@pytest.mark.parametrize(
    ("hours", "kind"),
    [(0.4, "timing"), (0.6, "missing_there"), (23.4, "missing_there"), (23.6, "timing"), (24.1, None), (-0.1, None)],
)
def test_near_the_edge_of_a_period_it_is_timing_and_outside_nothing(hours: float, kind: str | None) -> None:
    result = compare([statement()], books(payment(created_at=at(hours), paid_at=at(hours), money_at=at(hours))))
    assert [each for each, _, _ in found(result)] == ([kind] if kind else [])


def test_the_files_before_and_after_take_the_edge_away() -> None:
    tomorrow = statement(starts=at(24), ends=at(48) - timedelta(seconds=1))
    late = payment(created_at=at(23.9), paid_at=at(23.9), money_at=at(23.9))
    assert only(compare([statement(), tomorrow], books(late))).kind is Kind.MISSING_THERE
    assert only(compare([statement()], books(late, kept=[tomorrow]))).kind is Kind.MISSING_THERE


def test_a_row_that_an_earlier_file_holds_is_not_missing() -> None:
    kept = statement(row("TJD0000P01"))
    assert found(compare([statement()], books(payment(), kept=[kept]))) == []


def test_a_payment_without_a_receipt_may_have_its_row_in_the_next_file() -> None:
    """Where the row is, the comparison of that file says so: a till's names no order."""
    late = by_query(created_at=at(23.9), paid_at=at(24.5))
    following = statement(row("TJD0000P01", hours=24.4, account=None), starts=at(24), ends=at(48))
    assert found(compare([statement()], books(late, kept=[following]))) == []
    assert only(compare([following], books(late, kept=[statement()]))).kind is Kind.RECEIPT_MISSING
    for kes, hours in ((501, 24.4), (500, 24.6), (500, 27)):
        nothing = statement(row("TJD0000P01", kes, hours, account=None), starts=at(24), ends=at(48))
        assert only(compare([statement()], books(late, kept=[nothing]))).kind is Kind.MISSING_THERE


def test_a_row_that_was_not_completed_is_no_money() -> None:
    failed = row("TJD0000P01", completed=False, status="Failed")
    missing = only(compare([statement(failed)], books(payment())))
    assert (missing.kind, "not completed" in missing.says) == (Kind.MISSING_THERE, True)


def test_a_row_without_a_payment_is_missing_here() -> None:
    missing = only(compare([statement(row("TJD0000X01", account="inv 42"))], books()))
    assert (missing.kind, missing.receipt, missing.amount_kes) == (Kind.MISSING_HERE, "TJD0000X01", 500)
    assert "book TJD0000X01 --reference inv42" in missing.do_now


def test_an_organisation_that_pays_may_be_a_customer_and_has_cents() -> None:
    paid = row("TJD0000X01", "499.50", row_class=RowClass.ORGANISATION)
    missing = only(compare([statement(paid)], books(unpaid())))
    assert (missing.kind, missing.amount_kes) == (Kind.MISSING_HERE, Decimal("499.50"))
    assert "not-a-sale TJD0000X01" in missing.do_now


def test_what_a_person_said_is_no_sale_is_none() -> None:
    result = compare([statement(row("TJD0000X01"))], books(no_sales=frozenset({"TJD0000X01"})))
    assert (found(result), int(result.no_sale.in_kes)) == ([], 500)


def test_charges_sweeps_and_settlements_are_summed_and_are_no_difference() -> None:
    result = compare(
        [
            statement(
                row("TJD0000P01"),
                row("TJD0000P01", "3.24", out=True, row_class=RowClass.CHARGE),
                row("TJD0000S01", 400, row_class=RowClass.SWEEP),
                row("TJD0000S01", 400, out=True, row_class=RowClass.SWEEP),
                row("TJD0000B01", 400, out=True, row_class=RowClass.SETTLEMENT),
                row("TJD0000O01", 40, out=True, row_class=RowClass.OTHER),
            )
        ],
        books(payment()),
    )
    assert (found(result), result.no_sale.count) == ([], 5)
    assert result.classes[RowClass.CHARGE].out_kes == Decimal("3.24")
    check_shillings(result)


def test_another_amount_under_the_same_receipt() -> None:
    assert only(compare([statement(row("TJD0000P01", 50))], books(payment()))).kind is Kind.AMOUNT_DIFFERS


def test_a_missing_receipt_is_filled_where_one_row_and_one_payment_fit() -> None:
    fill = only(compare([statement(row("TJD0000P01", account="inv-1."))], books(by_query())))
    assert (fill.kind, type(fill.settlement)) == (Kind.RECEIPT_MISSING, FillReceipt)


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ({}, {"balance_chain": "broken"}),
        ({}, {"balance_chain": "absent"}),
        ({"account_is_number": True}, {}),
        ({"account": None}, {}),
    ],
)
def test_what_is_not_exact_is_proposed(change: dict[str, Any], more: dict[str, Any]) -> None:
    proposed = only(compare([statement(row("TJD0000P01", **change), **more)], books(by_query())))
    assert (proposed.kind, proposed.settlement) == (Kind.RECEIPT_MISSING, None)


def test_a_file_that_shares_no_receipt_with_the_books_settles_nothing() -> None:
    strange = statement(rows=(row("TJD0000P01"),))
    proposed = [each.settlement for each in compare([strange], books(by_query())).differences]
    assert proposed == [None, None]


def test_a_receipt_that_a_statement_brought_vouches_for_no_statement() -> None:
    """Else a file would vouch for itself once a row of it was booked, and with a wrong clock refuse others."""
    rows = row(SHARED, 70, 9, account="SHARED"), row("TJD0000P01"), row("TJD0000P02", hours=9, account="LATE")
    booked = payment("p2", receipt="TJD0000P02", reference="LATE", created_at=at(20), money_at=at(6), by_callback=False)
    result = compare([statement(rows=rows[1:])], books(by_query(), booked))
    assert (result.files[0].clock.shared, result.settlements) == (0, ())
    late = [replace(booked, transaction_id=each, receipt=each) for each in ("TJD0000P02", "TJD0000P03", "TJD0000P04")]
    more = [replace(rows[2], receipt=each.receipt) for each in late if each.receipt]
    result = compare([statement(rows=(*rows[:2], *more))], books(by_query(), *late))
    assert (result.refuses, [type(each) for each in result.settlements]) == ((), [FillReceipt])


@pytest.mark.parametrize("change", [{"account": "INV2"}, {"hours": 13}, {"linked_receipt": "TJD0000Q01"}])
@pytest.mark.parametrize("kept", [True, False])
def test_a_row_about_which_files_disagree_settles_nothing_whichever_comes_first(change: Any, kept: bool) -> None:
    fits: dict[str, Any] = {"account": "INV1", "linked_receipt": "TJD0000Q02"}
    one, other = statement(row("TJD0000P01", **fits)), statement(row("TJD0000P01", **fits | change))
    for first, second in ((one, other), (other, one)):
        if not kept:
            result = compare([first, second], books(by_query(), unpaid("p2", reference="INV2")))
        elif "hours" in change:  # a kept file's clock may have been wrong
            continue
        else:
            result = compare([first], books(by_query(), unpaid("p2", reference="INV2"), kept=[second]))
        assert result.settlements == ()
        differs = next(each for each in result.differences if each.receipt == "TJD0000P01")
        assert ("files disagree" in differs.says, "receipts find" in differs.do_now) == (True, True)


def test_files_that_say_less_or_write_a_number_do_not_disagree() -> None:
    whole = statement(row("TJD0000P01", account="0042"))
    less = statement(row("TJD0000P01", account=None, hours=12.005))
    as_number = statement(row("TJD0000P01", account="42.0", account_is_number=True))
    result = compare([whole, less, as_number], books(by_query(reference="0042")))
    assert [type(each) for each in result.settlements] == [FillReceipt]


def test_two_rows_and_two_payments_are_two_proposals_and_nothing_else() -> None:
    result = compare(
        [statement(row("TJD0000P01"), row("TJD0000P02", hours=13.01))],
        books(by_query("p1"), by_query("p2", created_at=at(13), paid_at=at(13.01))),
    )
    assert found(result) == [("receipt_missing", "TJD0000P01", "p1"), ("receipt_missing", "TJD0000P02", "p2")]
    assert result.settlements == ()


@pytest.mark.parametrize(("hours", "fits"), [(11.95, False), (11.97, True), (36, True), (36.01, False)])
def test_a_row_fits_from_two_minutes_before_the_order_to_a_day_after_it(hours: float, fits: bool) -> None:
    file = statement(row("TJD0000P01", hours=hours), ends=at(48))
    assert [type(each) for each in compare([file], books(unpaid())).settlements] == ([Settle] if fits else [])


@pytest.mark.parametrize("status", [Status.FAILED, Status.EXPIRED, Status.PENDING, Status.REVIEW])
def test_a_payment_that_failed_here_and_is_completed_there(status: Status) -> None:
    reason = ReviewReason.SILENCE if status is Status.REVIEW else None
    result = compare([statement(row("TJD0000P01"))], books(unpaid(status=status, review_reason=reason)))
    differs = only(result)
    assert (differs.kind, type(differs.settlement)) == (Kind.STATE_DIFFERS, Settle)


def test_where_references_are_of_no_single_order_a_row_is_nobodys_by_itself() -> None:
    """Two people give to the same cause: one tried in vain, the other paid by hand."""
    file = [statement(row("TJD0000P01"))]
    for tried, does in ((unpaid(), Settle), (by_query(), FillReceipt)):
        assert [type(each) for each in compare(file, books(tried)).settlements] == [does]
        assert compare(file, books(tried, references_are_reusable=True)).settlements == ()


def test_what_an_organisation_paid_for_an_order_is_booked_by_a_person() -> None:
    file = [statement(row("TJD0000P01", row_class=RowClass.ORGANISATION))]
    for tried, kind in ((unpaid(), Kind.STATE_DIFFERS), (by_query(), Kind.RECEIPT_MISSING)):
        proposed = only(compare(file, books(tried)))
        assert (proposed.kind, proposed.settlement) == (kind, None)
        assert "book TJD0000P01 --reference INV1" in proposed.do_now


def test_the_receipt_that_a_callback_named_binds_whatever_reference_and_time() -> None:
    waits = unpaid(status=Status.REVIEW, review_reason=ReviewReason.INCOMPLETE_SUCCESS, named=("TJD0000P01",))
    differs = only(compare([statement(row("TJD0000P01", hours=3, account=None))], books(waits)))
    assert (differs.kind, type(differs.settlement)) == (Kind.STATE_DIFFERS, Settle)


@pytest.mark.parametrize(
    ("reason", "settled"),
    [
        (ReviewReason.SILENCE, True),
        (ReviewReason.INCOMPLETE_SUCCESS, True),
        (ReviewReason.AMOUNT_MISMATCH, False),
        (ReviewReason.IDS_DISAGREE, False),
    ],
)
def test_what_the_core_leaves_to_a_person_is_not_settled(reason: ReviewReason, settled: bool) -> None:
    """Else the advice is to write, and writing changes nothing."""
    waits = unpaid(status=Status.REVIEW, review_reason=reason, named=("TJD0000P01",))
    differs = only(compare([statement(row("TJD0000P01"))], books(waits)))
    assert (differs.kind, isinstance(differs.settlement, Settle)) == (Kind.STATE_DIFFERS, settled)
    assert ("--write" in differs.do_now) is settled


def test_a_payment_for_which_a_callback_named_a_receipt_that_no_row_has_is_found_by_its_order() -> None:
    """The callback may have been forged: the money came under another receipt."""
    waits = unpaid(status=Status.REVIEW, review_reason=ReviewReason.REUSED_RECEIPT, named=("ZZ00000001",))
    differs = only(compare([statement(row("TJD0000P01"))], books(waits)))
    assert (differs.kind, differs.transaction_id, differs.settlement) == (Kind.STATE_DIFFERS, "p1", None)


def test_above_the_threshold_it_is_proposed() -> None:
    large: Any = {"amount_kes": Decimal(20_001)}
    result = compare([statement(row("TJD0000P01", 20_001))], books(unpaid(**large)))
    assert (only(result).kind, result.settlements) == (Kind.STATE_DIFFERS, ())
    back = row("TJD0000R01", 20_001, out=True, linked_receipt="TJD0000P01")
    assert compare([statement(row("TJD0000P01", 20_001), back)], books(payment(**large))).settlements == ()


def test_a_till_names_no_order_so_one_that_fits_is_proposed_and_of_two_none() -> None:
    file = [statement(row("TJD0000P01", account=None))]
    assert found(compare(file, books(unpaid()))) == [("state_differs", "TJD0000P01", "p1")]
    assert compare(file, books(unpaid())).settlements == ()
    assert found(compare(file, books(unpaid(), unpaid("p2")))) == [("state_differs", "TJD0000P01", "p2")]
    another = unpaid("p2", reference="ANOTHER")
    assert found(compare(file, books(unpaid(), another))) == [("missing_here", "TJD0000P01", None)]
    two = [statement(row("TJD0000P01", account=None), row("TJD0000P02", account=None))]
    assert found(compare(two, books(unpaid()))) == [
        ("missing_here", "TJD0000P01", None),
        ("missing_here", "TJD0000P02", None),
    ]
    assert found(compare([statement(row("TJD0000P01", account=None, hours=14.1))], books(unpaid()))) == [
        ("missing_here", "TJD0000P01", None)
    ]


def test_an_order_with_two_receipts() -> None:
    by_hand = [statement(row("TJD0000P01"), row("TJD0000P02", hours=13))]
    assert found(compare(by_hand, books(payment()))) == [("doubled", "TJD0000P02", "p1")]
    assert found(compare(by_hand, books(payment(), references_are_reusable=True))) == [
        ("missing_here", "TJD0000P02", None)
    ]
    assert found(compare(by_hand, books(payment(), unpaid("p2")))) == [("doubled", "TJD0000P02", "p1")]
    assert found(compare(by_hand, books(unpaid()))) == [
        ("state_differs", "TJD0000P01", "p1"),
        ("doubled", "TJD0000P02", "p1"),
    ]


def test_a_second_payment_of_an_order_in_the_books_and_a_held_duplicate() -> None:
    file = [statement(row("TJD0000P01"), row("TJD0000P02"))]
    twice = payment("p2", receipt="TJD0000P02", paid_twice_with="p1")
    assert found(compare(file, books(payment(), twice))) == [("doubled", "TJD0000P02", "p2")]
    held = unpaid("p2", Status.REVIEW, review_reason=ReviewReason.DUPLICATE_PAYMENT, named=("TJD0000P02",))
    assert found(compare(file, books(payment(), held))) == [("doubled", "TJD0000P02", "p2")]
    second = payment(named=("TJD0000P02",))
    assert found(compare(file, books(second))) == [("doubled", "TJD0000P02", "p1")]


BACK: dict[str, Any] = {"out": True, "linked_receipt": "TJD0000P01"}


def test_a_reversal_of_what_is_paid_here_is_settled_as_a_refund() -> None:
    result = compare([statement(row("TJD0000P01"), row("TJD0000R01", **BACK))], books(payment()))
    assert (found(result), type(result.settlements[0])) == ([("reversed", "TJD0000R01", "p1")], Refund)


@pytest.mark.parametrize(
    ("change", "transaction_id"),
    [
        ({"kes": 499}, "p1"),
        ({"linked_receipt": None, "party": "2547****111 - A"}, "p1"),
        ({"linked_receipt": None}, None),
    ],
)
def test_a_reversal_of_a_part_or_without_the_receipt_is_proposed(change: Any, transaction_id: str | None) -> None:
    file = statement(row("TJD0000P01", party="2547****111 - A"), row("TJD0000R01", **BACK | change))
    result = compare([file], books(payment()))
    assert (found(result), result.settlements) == ([("reversed", "TJD0000R01", transaction_id)], ())


@pytest.mark.parametrize("linked", ["N/A", "TJDUNKNOWN"])
def test_a_linked_receipt_that_names_nothing_leaves_amount_and_party(linked: str) -> None:
    party: Any = {"party": "2547****111 - A"}
    back = row("TJD0000R01", out=True, linked_receipt=linked, **party)
    result = compare([statement(row("TJD0000P01", **party), back)], books(payment()))
    assert (found(result), result.settlements) == ([("reversed", "TJD0000R01", "p1")], ())
    nobodys = compare([statement(row("TJD0000P01", account="X", **party), back)], books())
    assert nobodys.returned.count == (0 if linked == "TJDUNKNOWN" else 2)


def test_a_reversal_of_a_payment_whose_row_is_in_no_file_is_known_by_its_receipt() -> None:
    earlier = payment(created_at=at(-30), paid_at=at(-30), money_at=at(-30))
    result = compare([statement(row("TJD0000R01", **BACK))], books(earlier))
    assert (found(result), type(result.settlements[0])) == ([("reversed", "TJD0000R01", "p1")], Refund)


def test_a_reversal_under_the_receipt_of_its_payment_is_a_persons_to_record() -> None:
    result = compare([statement(row("TJD0000P01"), row("TJD0000P01", out=True))], books(payment()))
    assert (found(result), result.settlements) == ([("reversed", "TJD0000P01", "p1")], ())
    assert "review refunded p1 --receipt REVERSAL" in only(result).do_now


def test_a_reversal_of_a_second_payment_closes_it() -> None:
    rows = row("TJD0000P01"), row("TJD0000P02", hours=13), row("TJD0000R01", out=True, linked_receipt="TJD0000P02")
    result = compare([statement(*rows)], books(payment()))
    assert (found(result), result.returned.count) == ([], 2)


@pytest.mark.parametrize("book", [[], [unpaid()], [unpaid(named=("TJD0000P01",))]])
def test_money_that_came_and_went_back_is_explained_by_itself(book: list[Booked]) -> None:
    result = compare([statement(row("TJD0000P01"), row("TJD0000R01", **BACK))], books(*book))
    assert (found(result), result.returned.count) == ([], 2)


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_reversal_takes_back_is_known_where_any_file_says_it(kept: bool) -> None:
    """The new portal's file has the same rows, and no linked receipts."""
    whole = statement(row("TJD0000P01"), row("TJD0000R01", **BACK))
    less = statement(row("TJD0000P01"), row("TJD0000R01", out=True))
    result = compare([less], books(kept=[whole])) if kept else compare([less, whole], books())
    assert (found(result), result.returned.count) == ([], 2)


def test_a_payment_in_review_that_was_reversed_becomes_refunded() -> None:
    waits = unpaid(status=Status.REVIEW, review_reason=ReviewReason.SILENCE)
    result = compare([statement(row("TJD0000P01"), row("TJD0000R01", **BACK))], books(waits))
    assert (found(result), type(result.settlements[0])) == ([("reversed", "TJD0000R01", "p1")], Refund)


REFUNDED: dict[str, Any] = {"status": Status.REFUNDED, "refunded_at": at(13), "refund_receipt": "TJD0000R01"}


@pytest.mark.parametrize("way", [RowClass.REVERSAL, RowClass.B2C])
def test_a_refund_of_the_books_with_its_row_agrees(way: RowClass) -> None:
    back = row("TJD0000R01", out=True, row_class=way)
    charge = row("TJD0000R01", 15, out=True, row_class=RowClass.CHARGE)
    assert found(compare([statement(row("TJD0000P01"), back, charge)], books(payment(**REFUNDED)))) == []
    less = replace(back, withdrawn_kes=Decimal(100))
    assert only(compare([statement(row("TJD0000P01"), less)], books(payment(**REFUNDED)))).kind is Kind.AMOUNT_DIFFERS


def test_a_refund_of_the_books_without_a_row() -> None:
    assert found(compare([statement(row("TJD0000P01"))], books(payment(**REFUNDED)))) == [
        ("refund_unseen", "TJD0000R01", "p1")
    ]
    soon = REFUNDED | {"refunded_at": at(23.8)}
    assert only(compare([statement(row("TJD0000P01"))], books(payment(**soon)))).kind is Kind.TIMING
    later = REFUNDED | {"refunded_at": at(25)}
    assert found(compare([statement(row("TJD0000P01"))], books(payment(**later)))) == []


def test_a_refund_under_another_receipt_is_one_difference() -> None:
    file = statement(row("TJD0000P01"), row("TJD0000R99", **BACK))
    assert found(compare([file], books(payment(**REFUNDED)))) == [("refund_unknown", "TJD0000R99", "p1")]


def test_money_that_went_to_a_person_without_a_refund() -> None:
    paid_out = row("TJD0000B01", out=True, row_class=RowClass.B2C)
    assert only(compare([statement(paid_out)], books())).kind is Kind.REFUND_UNKNOWN
    assert found(compare([statement(paid_out)], books(no_sales=frozenset({"TJD0000B01"})))) == []


def test_a_payment_refunded_straight_from_review_needs_no_more() -> None:
    refunded = payment(paid_at=None, receipt=None, named=("TJD0000P01",), **REFUNDED)
    file = statement(row("TJD0000P01"), row("TJD0000R01", out=True))
    assert found(compare([file], books(refunded))) == []


def test_the_same_receipt_with_two_amounts_refuses_to_be_written() -> None:
    result = compare([statement(row("TJD0000P01"), row("TJD0000P01", 50))], books(payment()))
    assert (only(result).kind, len(only(result).rows)) == (Kind.DUPLICATE_ROW, 2)
    assert "several amounts" in result.refuses[0]


def test_a_row_that_its_balances_count_twice_refuses_to_be_written() -> None:
    twice = [row("TJD0000P01", balance_kes=Decimal(each)) for each in (500, 1000)]
    result = compare([statement(*twice), statement(*twice[::-1])], books(payment()))
    assert (only(result).kind, len(only(result).rows), len(result.refuses)) == (Kind.DUPLICATE_ROW, 2, 1)
    check_shillings(result)
    assert found(compare([statement(*twice, balance_chain="broken")], books(payment()))) == []
    again = [twice[0], replace(twice[0], number=9)]
    assert found(compare([statement(*again)], books(payment()))) == []


def test_the_same_row_twice_and_in_two_files_counts_once() -> None:
    file = statement(row("TJD0000P01"), row("TJD0000P01"))
    result = compare([file, replace(file, sha256="1" * 64)], books(payment()))
    assert (found(result), result.matched.count) == ([], 2)


@pytest.mark.parametrize(
    ("off", "says"),
    [
        (timedelta(hours=-3), "times are 3 h off: the file is in UTC"),
        (timedelta(minutes=7), "times are 0:07:00 off"),
        (timedelta(days=60), "times are 60 days off: were day and month swapped?"),
        (timedelta(seconds=120), ""),
    ],
)
def test_a_file_whose_clock_is_wrong_settles_and_covers_nothing(off: timedelta, says: str) -> None:
    rows = [replace(each, at=each.at + off) for each in statement(row("TJD0000P01")).rows]
    result = compare([statement(rows=tuple(rows), ends=at(24 * 90))], books(by_query(), unpaid("p2", reference="B")))
    assert (result.files[0].clock.says, bool(result.refuses), bool(result.settlements)) == (
        says,
        bool(says),
        not says,
    )
    assert bool(found(result)) is not bool(says)
    assert DAY.date() in (result.days_not_covered if says else result.days_covered)


def test_a_file_whose_balances_do_not_add_up_covers_nothing() -> None:
    """A row was taken out, or put in."""
    broken = statement(balance_chain="broken")
    result = compare([broken], books(payment()))
    assert (found(result), result.days_covered, result.agrees) == ([], (), False)
    whole = replace(broken, sha256="1" * 64, balance_chain="ok")
    beside = compare([broken], books(kept=[whole], now=at(30)))
    assert (beside.days_covered, beside.days_not_covered, beside.agrees) == ((DAY.date(),), (), False)
    assert compare([whole], books(kept=[broken])).days_covered == (DAY.date(),)
    assert compare([statement(starts=at(48), ends=at(72))], books(kept=[broken])).days_covered == ()


@pytest.mark.parametrize(
    ("rows", "days"),
    [
        ([], []),
        ([row("TJD0000P02", hours=30)], [14]),
        ([row("TJD0000P02", hours=30), row("TJD0000P03", hours=60)], [14, 15]),
        ([row("TJD0000P02", hours=0), row("TJD0000P03", hours=96.01)], [13, 14, 15, 16]),
    ],
)
def test_a_period_that_only_the_name_states_is_believed_as_far_as_its_rows(rows: list[Row], days: list[int]) -> None:
    """Of four days. The last one has a row of the first minute after them."""
    file = statement(rows=tuple(rows), period_in_name=True, ends=at(96) - timedelta(seconds=1))
    result = compare([file], books(now=at(24 * 20), begin=None))
    assert [day.day for day in result.days_covered] == days
    assert bool(result.files[0].dated.starts) is bool(rows)


def test_days_without_a_file_are_not_covered() -> None:
    result = compare([statement()], books(begin=date(2026, 10, 11)))
    assert result.days_covered == (DAY.date(),)
    assert [day.day for day in result.days_not_covered] == [11, 12, 14]
    kept = statement(starts=at(-48), ends=at(0))
    assert compare([statement()], books(begin=date(2026, 10, 11), kept=[kept])).days_not_covered == (
        date(2026, 10, 14),
    )


def test_a_file_covers_nothing_after_it_was_made() -> None:
    afternoon = payment(created_at=at(15), paid_at=at(15), money_at=at(15))
    made = statement(made_at=at(14))
    assert (found(compare([made], books(afternoon))), compare([made], books()).days_covered) == ([], ())
    today = statement(now := row("TJD0000P02", 10, hours=12), rows=(statement().rows[0], now))
    result = compare([today], books(afternoon, payment("p2", receipt="TJD0000P02", amount_kes=Decimal(10)), now=at(18)))
    assert found(result) == []


def test_what_a_comparison_costs_grows_with_the_rows_and_not_with_their_square() -> None:
    rows = [row(f"TJE{number:07}", hours=12 + number / 100_000) for number in range(30_000)]
    known = [payment(each.receipt, receipt=each.receipt, money_at=each.at) for each in rows]
    file, view = statement(*rows), books(*known)
    began = time.process_time()
    assert found(compare([file], view)) == []
    assert time.process_time() - began < 10


AMOUNTS = st.sampled_from([Decimal(100), Decimal(500), Decimal("99.50"), Decimal(20_001)])
RECEIPTS = st.sampled_from([f"TJD00000{number:02}" for number in range(12)])
HOURS = st.floats(0, 23.9)


@st.composite
def any_row(draw: st.DrawFn) -> Row:
    row_class = draw(st.sampled_from(list(RowClass)))
    return row(
        draw(RECEIPTS),
        str(draw(AMOUNTS)),
        draw(HOURS),
        out=draw(st.booleans()) if row_class is not RowClass.PAYMENT else False,
        row_class=row_class,
        completed=draw(st.booleans()) or draw(st.booleans()),
        account=draw(st.sampled_from([None, "INV1", "inv 2", "7"])),
        account_is_number=draw(st.booleans()),
        party=draw(st.sampled_from([None, "2547****111 - A"])),
        linked_receipt=draw(st.none() | RECEIPTS),
    )


@st.composite
def any_payment(draw: st.DrawFn, name: str, receipt: str, refund: str) -> Booked:
    status = draw(st.sampled_from(list(Status)))
    hours = draw(HOURS)
    given: dict[str, Any] = {
        "status": status,
        "amount_kes": Decimal(int(draw(AMOUNTS))),
        "reference": draw(st.sampled_from(["INV1", "INV2", "7"])),
        "created_at": at(hours),
        "review_reason": draw(st.sampled_from(list(ReviewReason))) if status is Status.REVIEW else None,
        "named": draw(st.sampled_from([(), (f"{receipt}",)])),
    }
    settled = status is Status.PAID or (status is Status.REFUNDED and draw(st.booleans()))
    given |= {"paid_at": at(hours + 0.1) if settled else None, "money_at": None, "receipt": None}
    if settled and draw(st.booleans()):
        given |= {"receipt": receipt, "named": (), "money_at": at(hours)}
    if status is Status.REFUNDED:
        given |= {"refund_receipt": refund, "refunded_at": at(hours + 1)}
    return payment(name, **given)


@given(st.data())
def test_each_shilling_is_explained_once(data: st.DataObject) -> None:
    receipts = data.draw(st.permutations([f"TJD00000{number:02}" for number in range(12)]))
    payments = [
        data.draw(any_payment(f"p{number}", receipts[number], receipts[number + 6]))
        for number in range(data.draw(st.integers(0, 6)))
    ]
    rows = data.draw(st.lists(any_row(), max_size=14))
    result = compare([statement(*rows)], books(*payments))
    check_shillings(result)
    unexplained = [each for each in result.differences if each.kind is not Kind.TIMING and not each.says]
    assert not unexplained
    settled = [each.transaction_id for each in result.settlements if not isinstance(each, Refund)]
    assert len(settled) == len(set(settled))
