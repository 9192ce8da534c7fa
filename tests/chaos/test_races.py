"""Everything at the same moment: whoever wins, there is one push, one confirmation, one invoice.

Many instances of the functions, in several processes, start each race together. After each round the invariants hold
and our books agree with the simulator's ledger of money that really moved.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from shared.admission import Admitted
from shared.collaborators import collaborators
from shared.database import Database
from shared.gateway.inbox import MOST_FROM_EACH, Entry
from shared.orders import Order
from shared.settings import limits
from tests.chaos.books import LIMITS
from tests.chaos.crew import Crew, Job, ask, callback, later, status, stkpush, sweep
from tests.chaos.customers import Pushed, Truth, nth_order, push
from tests.fixtures.database import broken_invariants
from tests.fixtures.shop import Shop
from tests.fixtures.soak import Figure, Rounds

COPIES = 200
PUSHES = 100
PAYMENTS = 200
BUSY = 503
"""The callback is not on file: on a slow machine some of hundreds at once wait for the database in vain."""
NO_LIMITS = dict.fromkeys(LIMITS, "10000")


@pytest.fixture
def truth(shop: Shop) -> Truth:
    return Truth(shop)


def test_two_hundred_copies_of_a_callback_pay_once(
    shop: Shop, crew: Crew, truth: Truth, rounds: Rounds, figure: Figure
) -> None:
    for number in range(how_many := rounds(2, 200)):
        truth.begin_round()
        paid = push(shop, nth_order(number))
        answers = at_once(shop, crew, [callback(paid.path, paid.success())] * COPIES, number, paid)
        assert Counter(answer.status for answer in answers) == {200: COPIES}
        finish(shop)
        outcomes = Counter(shop.outcomes(paid.transaction_id))
        assert outcomes == {"paid": 1, "repeated": outcomes.total() - 1}
        assert MOST_FROM_EACH <= outcomes.total() <= COPIES  # the others are copies of what is on file
        assert_paid_once(shop, truth, paid)
    figure(f"{how_many} rounds of {COPIES} copies: each paid once")


def test_callbacks_queries_and_sweeps_that_race_agree_on_one_payment(
    shop: Shop, crew: Crew, truth: Truth, rounds: Rounds, figure: Figure
) -> None:
    """In every other round a failure is told too, which Safaricom has since taken back: 1037, and then the money."""
    settled_by: Counter[str] = Counter()
    for number in range(how_many := rounds(3, 200)):
        truth.begin_round()
        paid = push(shop, nth_order(number))
        shop.age(21)
        told = [callback(paid.path, paid.success())] * 6
        if number % 2:
            told += [callback(paid.path, paid.failure(1037, "No response from user."))] * 6
        told = later(0.03 * (number % 3), told)  # a query takes a while: now the one arrives first, now the other
        others = [ask(paid.transaction_id)] * 8 + [sweep()] * 6 + [status(paid.transaction_id)] * 6
        answers = at_once(shop, crew, told + others, number // 2, paid, spread_s=0.04)
        assert_all_went_well(answers)
        finish(shop)
        assert_paid_once(shop, truth, paid)
        settled_by[str(confirmation(shop, paid)["evidence"])] += 1
    figure(f"{how_many} rounds, settled by {dict(settled_by)}: each paid once, each with its receipt")


def test_a_large_payment_that_everybody_confirms_at_once_is_paid_once(
    shop: Shop, crew: Crew, truth: Truth, rounds: Rounds, figure: Figure
) -> None:
    """Above the threshold no callback pays by itself; the query that it waits for comes at the same moment."""
    for number in range(how_many := rounds(2, 200)):
        truth.begin_round()
        paid = push(shop, nth_order(number, amount=30_000 + number))
        jobs = [callback(paid.path, paid.success())] * 20 + [ask(paid.transaction_id)] * 8
        assert_all_went_well(at_once(shop, crew, jobs, number, paid, spread_s=0.02))
        finish(shop)
        assert_paid_once(shop, truth, paid)
        assert confirmation(shop, paid)["evidence"] == "query"
    figure(f"{how_many} rounds: each paid once, on the query's word, each with its receipt")


def test_sweeps_that_run_at_once_do_each_piece_of_work_once(
    shop: Shop, crew: Crew, truth: Truth, rounds: Rounds, figure: Figure
) -> None:
    sweeps = 0
    for number in range(how_many := rounds(3, 200)):
        truth.begin_round()
        untold = push(shop, nth_order(4 * number))
        shop.age(31)
        told = [push(shop, nth_order(4 * number + which)) for which in (1, 2, 3)]
        for paid in told:
            collaborators().gateway.inbox.remember(
                Entry(str(uuid.uuid4()), paid.transaction_id, paid.success()), "127.0.0.1"
            )
        shop.rows("UPDATE callback_inbox SET next_try_at = now() WHERE outcome IS NULL RETURNING id")
        at_once = 2 if number % 2 else 8
        sweeps += at_once
        answers = crew.at_once([sweep()] * at_once)
        assert_all_went_well(answers)
        done: Counter[str] = sum((Counter(answer.body) for answer in answers), Counter())
        assert done == {"judged": 3, "queries": 1, "invoices": 4, "sales": 4}
        for paid in [*told, untold]:
            assert_one_of_each(shop, paid, receipt=paid is not untold)
        assert (truth.pushes(), truth.queries()) == (4, 1)
        assert_books_are_right(shop, truth)
    figure(f"{how_many} rounds, {sweeps} sweeps: each callback judged once, each query asked once, each mail sent once")


PUSHES_TO_RACE: dict[str, tuple[Callable[[int, int], Job], dict[int | str, int], int]] = {
    "one key": (lambda number, which: stkpush(f"key-{number}", **nth_order(number)), {202: PUSHES}, 1),
    "one key, two phones": (  # a key belongs to its phone
        lambda number, which: stkpush(f"key-{number}", **nth_order(2 * number + which % 2)),
        {202: PUSHES},
        2,
    ),
    "a hundred keys, one phone and amount": (
        lambda number, which: stkpush(
            f"key-{number}-{which}", **nth_order(number, account_reference=f"N{number:05}X{which:02}")
        ),
        {202: 1, "too_soon": PUSHES - 1},
        1,
    ),
}
"""The push of a round, how the hundred are answered, and how many payments they are."""


@pytest.mark.parametrize("which", PUSHES_TO_RACE)
def test_a_hundred_pushes_at_once_are_one_push(
    shop: Shop, crew: Crew, truth: Truth, rounds: Rounds, figure: Figure, which: str
) -> None:
    job, expected, payments = PUSHES_TO_RACE[which]
    for number in range(how_many := rounds(2, 200)):
        truth.begin_round()
        shop.simulator.client.script(None, "cancel", after_s=0, callback_count=0)
        answers = crew.at_once([job(number, nth) for nth in range(PUSHES)])
        assert Counter(answer.body.get("code", answer.status) for answer in answers) == expected
        assert len({answer.body["transaction_id"] for answer in answers if answer.status == 202}) == payments
        assert truth.pushes() == payments
        assert_books_are_right(shop, truth)
    figure(f"{how_many} rounds of {PUSHES} pushes: one push a payment")


def test_both_attempts_of_a_retried_order_that_succeed_at_once_pay_once(
    shop: Shop, crew: Crew, truth: Truth, rounds: Rounds, figure: Figure
) -> None:
    """The first timed out on the phone (1037) and was paid all the same; the second was paid as well."""
    for number in range(how_many := rounds(2, 200)):
        truth.begin_round()
        order = nth_order(number)
        first = push(shop, order, "ignore", paid_later_s=0)
        shop.call("callback", "POST", first.path, raw=first.failure(1037, "No response from user."))
        shop.age(121)
        second = push(shop, order)
        first = paid_after_all(shop, first)
        both = [callback(attempt.path, attempt.success()) for attempt in (first, second)] * 10
        both += [ask(attempt.transaction_id) for attempt in (first, second)] * 4
        assert_all_went_well(at_once(shop, crew, both, number, first, second, spread_s=0.02))
        finish(shop)
        statuses = sorted(shop.payment(attempt.transaction_id)["status"] for attempt in (first, second))
        assert statuses == ["PAID", "REVIEW"]
        assert booked(shop, first, second) == {"confirmations": 1, "invoices": 1, "mails": 1}
        assert truth.pushes() == 2
        assert_books_are_right(shop, truth)
    figure(f"{how_many} rounds: one attempt paid, the other in review with its receipt")


def test_two_hundred_payments_at_once_have_invoice_numbers_without_a_gap(
    shop: Shop, crew: Crew, rounds: Rounds, figure: Figure
) -> None:
    """Half of them are told twice. All wait for the one row of the year."""
    for number in range(how_many := rounds(1, 20)):
        payments = [ordered(shop, number * PAYMENTS + which) for which in range(PAYMENTS)]
        told = [callback(paid.path, paid.success()) for paid in payments]
        jobs = told + told[::2]
        while jobs:
            answers = crew.at_once(jobs)
            jobs = [job for job, answer in zip(jobs, answers, strict=True) if answer.status == BUSY]
            assert_all_went_well([answer for answer in answers if answer.status != BUSY])
        while shop.rows("SELECT id FROM callback_inbox WHERE outcome IS NULL"):
            shop.age(31)
            assert shop.sweep().status == 200
        given = [row["invoice_number"][9:] for row in shop.rows("SELECT invoice_number FROM invoices ORDER BY 1")]
        assert given == [f"{nth:06}" for nth in range(1, (number + 1) * PAYMENTS + 1)]
        assert broken_invariants(shop.database_url) == []
    figure(f"{how_many} rounds of {PAYMENTS} payments: invoices 1 to {how_many * PAYMENTS}, without a gap")


# How they meet --------------------------------------------------------------------------------------------------------


def ordered(shop: Shop, number: int) -> Pushed:
    """A payment that is about to be pushed, and already paid: the callback that tells of it overtakes the push."""
    order = Order(f"2547000000{number % 100:02}", Decimal(100 + number), f"R{number:06}", None, "alice@example.com")
    admitted = collaborators().gateway.admissions.admit(order, None, limits(NO_LIMITS), "a caller")
    assert isinstance(admitted, Admitted)
    return Pushed(
        transaction_id=admitted.transaction_id,
        merchant_request_id=f"29115-{number}-1",
        checkout_request_id=f"ws_CO_{number}",
        phone=order.msisdn,
        amount=100 + number,
        receipt=f"UE4JS{number:05}",
        path=shop.callback_path(admitted.transaction_id),
    )


def at_once(
    shop: Shop, crew: Crew, jobs: Sequence[Job], number: int, *payments: Pushed, spread_s: float = 0
) -> list[Any]:
    """In every other round as chance will have it; in the rest all meet at the payments' rows.

    Then the rows are locked until everybody waits: whoever decides before it holds its locks has decided by then.
    """
    if number % 2 == 0:
        return crew.at_once(jobs, spread_s=spread_s, seed=number)
    keeper = Database(shop.database_url)
    with ThreadPoolExecutor(max_workers=1) as pool:
        with keeper.transaction() as tx:
            tx.rows(LOCKED, ids=",".join(payment.transaction_id for payment in payments))
            racing = pool.submit(crew.at_once, jobs, seed=number)
            until_nobody_else_comes(shop)
        keeper.close()
        return racing.result()


def until_nobody_else_comes(shop: Shop) -> None:
    """The crowd at the locks has stopped growing, and is there at all; or soon somebody would lose patience."""
    crowd, give_up_at = 0, time.monotonic() + 0.8
    while time.monotonic() < give_up_at:
        time.sleep(0.1)
        before, crowd = crowd, shop.row(WAITING)["n"]
        if crowd == before > 0:
            return


# What must be so afterwards -------------------------------------------------------------------------------------------


def finish(shop: Shop) -> None:
    """The next minute: callbacks whose judgement lost every race are taken up again, and the mail leaves."""
    if shop.rows("SELECT id FROM callback_inbox WHERE outcome IS NULL"):
        shop.age(31)
    assert shop.sweep().status == 200
    cut_off = "SELECT id FROM outbox WHERE kind <> 'webhook' AND sent_at IS NULL AND next_try_at > now() AND tries > 0"
    if shop.rows(cut_off):  # a letter that did not end within its callback's time, on a busy machine
        shop.age(301)
        assert shop.sweep().status == 200


def assert_paid_once(shop: Shop, truth: Truth, paid: Pushed) -> None:
    assert_one_of_each(shop, paid)
    assert truth.pushes() == 1
    assert_books_are_right(shop, truth)


def assert_one_of_each(shop: Shop, paid: Pushed, *, receipt: bool = True) -> None:
    """It became paid once, with one confirmation, one invoice and one mail."""
    assert shop.payment(paid.transaction_id)["status"] == "PAID"
    assert confirmation(shop, paid)["mpesa_receipt_number"] == (paid.receipt if receipt else None)
    assert booked(shop, paid) == {"confirmations": 1, "invoices": 1, "mails": 1}
    assert len(shop.rows(BECAME_PAID, id=paid.transaction_id)) == 1


def assert_books_are_right(shop: Shop, truth: Truth) -> None:
    assert broken_invariants(shop.database_url) == []
    assert truth.unexplained() == []


def assert_all_went_well(answers: list[object]) -> None:
    """No function answered with an error, and no story failed."""
    wrong = [
        answer
        for answer in answers
        if (isinstance(answer, str) and answer.startswith("failed")) or getattr(answer, "status", 200) != 200
    ]
    assert wrong == []


def confirmation(shop: Shop, paid: Pushed) -> dict[str, object]:
    return shop.row(
        "SELECT * FROM payment_confirmations WHERE transaction_id = CAST(:id AS uuid)", id=paid.transaction_id
    )


def booked(shop: Shop, *attempts: Pushed) -> dict[str, int]:
    """Over all attempts of an order."""
    found: Counter[str] = Counter()
    sent = [mail["subject"] for mail in shop.simulator.client.mail()]
    for attempt in attempts:
        counted = shop.row(COUNTED, id=attempt.transaction_id)
        found.update(confirmations=counted["confirmations"], invoices=len(counted["numbers"]))
        found.update(mails=sum(number in subject for number in counted["numbers"] for subject in sent))
    return dict(found)


def paid_after_all(shop: Shop, first: Pushed) -> Pushed:
    """The same push, with the receipt of the money that moved after its failure."""
    client = shop.simulator.client
    shown = client.wait_for(
        lambda: next(
            (
                one
                for one in client.payments()
                if one["checkout_request_id"] == first.checkout_request_id and one["receipt"]
            ),
            None,
        ),
        "the late money",
        10,
    )
    return Pushed(**{**vars(first), "receipt": shown["receipt"]})


LOCKED = """
    SELECT id FROM transactions WHERE id::text = ANY (string_to_array(CAST(:ids AS text), ',')) ORDER BY id FOR UPDATE
"""
WAITING = """
    SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
BECAME_PAID = """
    SELECT id FROM audit_log
    WHERE transaction_id = CAST(:id AS uuid) AND to_status = 'PAID' AND from_status <> 'PAID'
"""
COUNTED = """
    SELECT (SELECT count(*) FROM payment_confirmations WHERE transaction_id = CAST(:id AS uuid)) AS confirmations,
           ARRAY(SELECT invoice_number FROM invoices WHERE transaction_id = CAST(:id AS uuid)) AS numbers
"""
