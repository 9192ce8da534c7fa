"""What else becomes of a payment is told to its customer: once, in their language, and not what they know already."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from shared import collaborators
from shared.gateway.outbox import Dropped
from shared.mail.mailer import ID_HEADER
from tests.fixtures.shop import CUSTOMER, Shop

pytestmark = pytest.mark.usefixtures("left_to_the_sweep", "unhurried")
FAILS = 1037
CANCELLED = 1032
UNEXPLAINED = 7777


def asked(shop: Shop, **order: Any) -> str:
    """A payment that a customer has been asked for, and of which nobody has told us."""
    shop.simulator.client.script(CUSTOMER, "cancel", after_s=0, callback_count=0)
    reply = shop.pay(**order)
    assert reply.status == 202, reply.body
    checkout_id = reply.body["checkout_request_id"]
    shop.simulator.client.wait_for(
        lambda: True if shop.simulator.client.payment(checkout_id)["finished_at"] else None, "an outcome", 10
    )
    return str(reply.body["transaction_id"])


def failed(shop: Shop, **order: Any) -> str:
    transaction_id = asked(shop, **order)
    shop.calls_back(transaction_id, FAILS)
    return transaction_id


def review(shop: Shop, verdict: str, transaction_id: str, *more: str) -> None:
    assert shop.ops("review", verdict, transaction_id, *more, "--who", "Amina", "--why", "on the statement") == 0


def let_minutes_pass(shop: Shop, minutes: float = 1.1) -> None:
    shop.age(minutes * 60)
    assert shop.sweep().status == 200


def told(shop: Shop) -> list[str]:
    """What the customers have been told, oldest first: 'invoice', or the notice's topic."""
    topics = {f"notice.{row['id']}": row["topic"] for row in shop.rows("SELECT id, topic FROM outbox")}
    ids = [dict(mail["headers"])[ID_HEADER] for mail in reversed(shop.letters())]
    return [topics.get(each, "invoice") for each in ids]


def notices(shop: Shop) -> list[tuple[str, str | None]]:
    """Every notice on file, and why it was dropped."""
    rows = shop.rows("SELECT topic, dropped FROM outbox WHERE kind = 'notice' ORDER BY id")
    return [(row["topic"], row["dropped"]) for row in rows]


# A failure ------------------------------------------------------------------------------------------------------------


def test_a_failure_is_sent_to_customers_who_left_the_page_before_it(shop: Shop) -> None:
    transaction_id = asked(shop)
    shop.status(transaction_id)
    shop.age(1)
    shop.calls_back(transaction_id, FAILS)
    shop.sweep()
    assert told(shop) == [], "the page has a minute to say it"
    let_minutes_pass(shop)
    assert told(shop) == ["failed"]
    let_minutes_pass(shop, 60)
    assert told(shop) == ["failed"]
    (mail,) = shop.letters()
    assert "alice@example.com" in str(mail["to"])
    assert "708374149" not in mail["text"] + mail["html"]


def test_a_failure_that_the_page_showed_is_not_sent(shop: Shop) -> None:
    transaction_id = failed(shop)
    assert shop.status(transaction_id).body["status"] == "failed"
    let_minutes_pass(shop)
    assert (told(shop), notices(shop)) == ([], [("failed", "seen")])


def test_a_look_at_a_failure_is_stored_once_and_only_with_an_address(shop: Shop) -> None:
    told, untold = failed(shop), failed(shop, customer_email=None, account_reference="OTHER", amount=700)
    seen = []
    for _ in range(2):
        shop.status(told)
        seen.append(shop.payment(told)["watched_at"])
    assert seen[0] == seen[1] >= shop.payment(told)["failed_at"]
    shop.status(untold)
    assert shop.payment(untold)["watched_at"] is None


def test_a_shop_may_send_failures_that_the_page_showed(shop: Shop) -> None:
    shop.configure(NOTICES="failed_seen")
    transaction_id = failed(shop)
    shop.status(transaction_id)
    let_minutes_pass(shop)
    assert told(shop) == ["failed"]


def test_a_failure_is_not_sent_after_the_same_order_was_tried_again(shop: Shop) -> None:
    failed(shop)
    shop.age(130)
    again = asked(shop)
    shop.calls_back(again)
    let_minutes_pass(shop, 0)
    assert (told(shop), notices(shop)) == (["invoice"], [("failed", "tried_again")])


def test_the_end_of_a_review_is_sent_also_after_trying_again(shop: Shop) -> None:
    transaction_id = asked(shop)
    shop.calls_back(transaction_id, UNEXPLAINED)
    let_minutes_pass(shop, 20)
    shop.calls_back(asked(shop), FAILS)
    review(shop, "fail", transaction_id)
    let_minutes_pass(shop)
    assert told(shop) == ["under_review", "failed", "failed"]


def test_another_order_of_the_same_customer_stops_no_notice(shop: Shop) -> None:
    failed(shop)
    shop.calls_back(asked(shop, account_reference="OTHER", amount=700))
    let_minutes_pass(shop)
    assert told(shop) == ["invoice", "failed"]


def fails_with(shop: Shop, number: int, address: str) -> None:
    """Another phone's order that fails, for which somebody typed this address."""
    phone = f"2547000000{number:02}"
    shop.simulator.client.script(phone, "cancel", after_s=0, callback_count=0)
    reply = shop.pay(phone_number=phone, account_reference=f"ORDER{number}", customer_email=address)
    shop.calls_back(str(reply.body["transaction_id"]), FAILS)


def test_one_mailbox_gets_three_notices_of_failures_a_day(shop: Shop) -> None:
    """Whoever rings phones with somebody else's address typed in, also in the ways that reach the same mailbox."""
    spellings = ("victim@example.com", "Victim@Example.com", "vic.tim@example.com", "victim+1@example.com")
    for number in range(6):
        fails_with(shop, number, spellings[number % 4])
    fails_with(shop, 6, "other@example.com")
    let_minutes_pass(shop)
    assert sorted(why or "sent" for _, why in notices(shop)) == ["daily_limit"] * 3 + ["sent"] * 4
    assert len(shop.letters()) == 4
    let_minutes_pass(shop, 24 * 60)
    fails_with(shop, 7, "victim@example.com")
    let_minutes_pass(shop)
    assert len(shop.letters()) == 5


def test_a_refused_push_causes_no_notice(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, push_answer="wrong_credentials")
    assert shop.pay().status == 502
    let_minutes_pass(shop)
    assert (shop.letters(), notices(shop)) == ([], [])


def test_a_repeated_callback_causes_one_notice(shop: Shop) -> None:
    transaction_id = failed(shop)
    for _ in range(3):
        shop.calls_back(transaction_id, FAILS)
    for _ in range(3):
        let_minutes_pass(shop)
    assert (told(shop), notices(shop)) == (["failed"], [("failed", None)])


# Paid after all -------------------------------------------------------------------------------------------------------


def test_a_failure_that_is_paid_before_its_notice_left_gets_the_invoice_alone(shop: Shop) -> None:
    transaction_id = failed(shop)
    shop.calls_back(transaction_id)
    let_minutes_pass(shop)
    assert shop.payment(transaction_id)["paid_late"]
    assert told(shop) == ["invoice"]
    assert notices(shop) == [("failed", "overtaken"), ("paid_late", "never_told")]


def test_no_failure_is_sent_while_a_success_waits_for_its_query(shop: Shop) -> None:
    transaction_id = asked(shop, amount=25_000)
    shop.calls_back(transaction_id, CANCELLED)
    shop.calls_back(transaction_id)
    assert (shop.payment(transaction_id)["status"], shop.payment(transaction_id)["paid_at"]) == ("CANCELLED", None)
    shop.age(65)
    shop.simulator.client.fault("query", "error_500", times=9)
    shop.sweep()
    assert (told(shop), notices(shop)) == ([], [("failed", "overtaken")])
    let_minutes_pass(shop, 70)
    assert told(shop) == ["under_review"]


def test_a_failure_by_an_operator_names_no_older_reason(shop: Shop) -> None:
    transaction_id = failed(shop)
    shop.calls_back(transaction_id, Amount=7)
    review(shop, "fail", transaction_id)
    let_minutes_pass(shop)
    (mail,) = shop.letters()
    assert "M-Pesa did not take the payment." in mail["text"]
    assert "did not respond" not in mail["text"]


def test_paid_late_is_sent_where_the_page_showed_the_failure(shop: Shop) -> None:
    transaction_id = failed(shop)
    shop.status(transaction_id)
    shop.calls_back(transaction_id)
    let_minutes_pass(shop)
    assert told(shop) == ["invoice", "paid_late"]
    assert notices(shop) == [("failed", "overtaken"), ("paid_late", None)]


# People look ----------------------------------------------------------------------------------------------------------


def test_a_review_is_sent_at_once_and_so_is_its_end(shop: Shop) -> None:
    transaction_id = asked(shop)
    shop.calls_back(transaction_id, UNEXPLAINED)
    shop.status(transaction_id)
    shop.sweep()
    assert told(shop) == ["under_review"]
    review(shop, "fail", transaction_id)
    let_minutes_pass(shop)
    assert told(shop) == ["under_review", "failed"]


def test_a_failure_that_went_to_review_and_failed_again_is_sent_each_time(shop: Shop) -> None:
    """The customer was told that a person looks: how that ended is no repetition."""
    transaction_id = failed(shop)
    let_minutes_pass(shop)
    shop.calls_back(transaction_id, Amount=1)
    let_minutes_pass(shop)
    review(shop, "fail", transaction_id)
    let_minutes_pass(shop)
    assert told(shop) == ["failed", "under_review", "failed"]


def test_a_review_that_ends_before_its_notice_left_is_not_sent(shop: Shop) -> None:
    transaction_id = asked(shop)
    shop.calls_back(transaction_id, UNEXPLAINED)
    shop.calls_back(transaction_id)
    let_minutes_pass(shop)
    assert (told(shop), notices(shop)) == (["invoice"], [("under_review", "overtaken")])


def test_a_refund_is_sent_with_its_receipt(shop: Shop) -> None:
    transaction_id = asked(shop)
    shop.calls_back(transaction_id)
    let_minutes_pass(shop)
    review(shop, "refunded", transaction_id, "--receipt", "UE9RF00001")
    let_minutes_pass(shop)
    assert told(shop) == ["invoice", "refunded"]
    assert "UE9RF00001" in shop.letters()[0]["text"]


def test_a_refund_of_another_sum_than_was_asked_for_does_not_name_that(shop: Shop) -> None:
    transaction_id = asked(shop)
    shop.calls_back(transaction_id, Amount=7)
    review(shop, "refunded", transaction_id, "--receipt", "UE9RF00001")
    let_minutes_pass(shop)
    (mail,) = shop.letters()
    assert "has been refunded" in mail["subject"]
    assert "1,500" not in mail["subject"] + mail["text"] + mail["html"]


# Who is told, and what ------------------------------------------------------------------------------------------------


def goes_through_all(shop: Shop, **order: Any) -> None:
    """A payment that fails, is paid after all and refunded, and one that goes to review."""
    transaction_id = failed(shop, **order)
    let_minutes_pass(shop)
    shop.calls_back(transaction_id)
    let_minutes_pass(shop)
    review(shop, "refunded", transaction_id, "--receipt", "UE9RF00001")
    shop.calls_back(asked(shop, **order, account_reference="OTHER", amount=700), UNEXPLAINED)
    let_minutes_pass(shop)


ALL = ["failed", "invoice", "paid_late", "refunded", "under_review"]


@pytest.mark.parametrize("off", ["failed", "paid_late", "refunded", "under_review"])
def test_a_shop_switches_each_kind_off(shop: Shop, off: str) -> None:
    shop.configure(NOTICES=",".join(each for each in ALL if each not in (off, "invoice")))
    goes_through_all(shop)
    without = {off, "paid_late"} if off == "failed" else {off}  # nobody was told that it had failed
    assert told(shop) == [each for each in ALL if each not in without]
    assert (off, "off") in notices(shop)


def test_a_shop_switches_all_off_and_invoices_go_on(shop: Shop) -> None:
    shop.configure(NOTICES="off")
    goes_through_all(shop)
    assert told(shop) == ["invoice"]


def test_pointless_notices_are_dropped_together(shop: Shop) -> None:
    for reference in ("ONE", "TWO"):
        failed(shop, account_reference=reference)
        shop.age(200)
    outbox = collaborators.collaborators().gateway.outbox
    assert outbox.take(notices=()) == Dropped(2)
    assert notices(shop) == [("failed", "off"), ("failed", "off")]


MANY_FAILURES = """
    WITH ordered AS (
        INSERT INTO transactions (phone_number, amount, account_reference, customer_email, merchant_request_id,
                                  checkout_request_id, status, result_code, failed_at, audit_length, audit_head)
        SELECT '2547' || lpad(n::text, 8, '0'), 100, 'R' || n, CASE n % 2 WHEN 0 THEN 'alice@example.com'
               ELSE 'a.lice+' || n || '@example.com' END, n || '-1', 'ws_CO_' || n, 'FAILED', '1032', now(), 2, 'head'
        FROM generate_series(1, 60000) n RETURNING id),
    history AS (
        INSERT INTO audit_log (transaction_id, actor, event, outcome, from_status, to_status, place, link, link_key)
        SELECT id, 'callback', 'Declined', 'declined', 'PENDING', 'FAILED', 2, 'link', 'key' FROM ordered
        RETURNING id, transaction_id)
    INSERT INTO outbox (kind, topic, transaction_id, tells_of, next_try_at)
    SELECT 'notice', 'failed', transaction_id, id, now() - interval '1 hour' FROM history
"""
"""As many as somebody with patience can have told to one mailbox."""


def test_sixty_thousand_failures_to_one_mailbox_hold_up_no_other_letter(shop: Shop) -> None:
    """Three leave; the rest is dropped, many at once, and a customer who must not pay again hears it at once."""
    shop.history_is_made_up = True
    transaction_id = asked(shop)
    shop.overwrite(MANY_FAILURES)
    shop.rows("SELECT 1 AS analyzed FROM outbox LIMIT 1")
    shop.calls_back(transaction_id, 9_999_999)
    done: Counter[str] = Counter()
    for _ in range(5):  # on a busy machine it takes more than one
        done.update(shop.sweep().body)
        if done["notices"] >= 4:
            break
    subjects = [mail["subject"] for mail in shop.letters()]
    assert (done["notices"], done["notices_dropped"] >= 10_000) == (4, True)
    assert len([subject for subject in subjects if "check" in subject.lower()]) == 1
    shop.overwrite("DELETE FROM audit_log WHERE link = 'link'")
    shop.overwrite("DELETE FROM outbox WHERE kind = 'notice' AND topic = 'failed'")
    shop.overwrite("DELETE FROM transactions WHERE audit_head = 'head'")


def test_without_an_address_no_notice_is_sent(shop: Shop) -> None:
    transaction_id = failed(shop, customer_email=None)
    shop.calls_back(transaction_id)
    review(shop, "refunded", transaction_id, "--receipt", "UE9RF00001")
    let_minutes_pass(shop)
    assert (shop.letters(), notices(shop)) == ([], [])


def erase(shop: Shop) -> int:
    return shop.ops("privacy", "erase", "alice@example.com", "--who", "Amina", "--why", "asked for it")


def test_an_address_is_erased_while_a_notice_waits_and_the_notice_is_dropped(shop: Shop) -> None:
    shop.calls_back(asked(shop), CANCELLED)
    shop.age(49 * 3600)
    assert erase(shop) == 0
    shop.sweep()
    assert (shop.letters(), notices(shop)) == ([], [("failed", "no_address")])


def test_a_refund_to_an_erased_customer_is_not_sent(shop: Shop) -> None:
    transaction_id = asked(shop)
    shop.calls_back(transaction_id)
    shop.sweep()
    shop.age(49 * 3600)
    assert erase(shop) == 0
    review(shop, "refunded", transaction_id, "--receipt", "UE9RF00001")
    let_minutes_pass(shop)
    assert (told(shop), notices(shop)) == (["invoice"], [])


@pytest.mark.parametrize("lang", ["en", "sw"])
def test_the_invoice_and_every_notice_are_in_the_language_of_the_order(shop: Shop, lang: str) -> None:
    goes_through_all(shop, lang=lang)
    assert [f'<html lang="{lang}"' in mail["html"] for mail in shop.letters()] == [True] * len(ALL)


# How it leaves --------------------------------------------------------------------------------------------------------


def test_a_notice_that_was_sent_and_not_recorded_is_sent_again_under_its_id(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process is killed in between: at least once, and known by its id."""
    failed(shop)
    with monkeypatch.context() as patched:
        patched.setattr(collaborators.collaborators().gateway.outbox, "sent", lambda due: 1 / 0)
        let_minutes_pass(shop)
    assert told(shop) == ["failed"]
    shop.sweep()
    assert told(shop) == ["failed"], "it is leased to the one that was killed"
    let_minutes_pass(shop)
    assert told(shop) == ["failed", "failed"]
    let_minutes_pass(shop, 10)
    first, second = shop.letters()
    assert dict(first["headers"])[ID_HEADER] == dict(second["headers"])[ID_HEADER]


def test_a_notice_that_fails_three_times_is_given_up_with_an_alert(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = failed(shop)
    shop.simulator.client.fault("mail", "error_500", times=10, to="alice@example.com")
    let_minutes_pass(shop)
    for _ in range(3):
        let_minutes_pass(shop, 30)
    row = shop.row("SELECT tries, next_try_at, sent_at, dropped FROM outbox WHERE kind = 'notice'")
    assert row == {"tries": 3, "next_try_at": None, "sent_at": None, "dropped": None}
    assert shop.alerts(transaction_id) == {"notice_not_sent"}
    assert any("notice_not_sent" in line for line in shop.logged), "told in the same sweep"


def test_mail_that_is_queued_during_a_pause_waits_for_its_end_and_costs_no_try(shop: Shop) -> None:
    failed(shop)
    shop.simulator.client.fault("mail", "too_many_429", seconds=3000)
    let_minutes_pass(shop)
    shop.calls_back(asked(shop, account_reference="OTHER", amount=700))
    let_minutes_pass(shop, 40)
    assert shop.letters() == []
    assert shop.row("SELECT tries FROM outbox WHERE kind = 'invoice'") == {"tries": 0}
    assert shop.row("SELECT count(*) AS n FROM outbox WHERE topic = 'work_stuck'") == {"n": 0}
    let_minutes_pass(shop, 10)
    assert told(shop) == ["invoice", "failed"]


def test_a_case_shows_each_notice_and_why_one_was_not_sent(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = failed(shop)
    shop.status(transaction_id)
    let_minutes_pass(shop)
    shop.calls_back(transaction_id)
    let_minutes_pass(shop)
    capsys.readouterr()
    assert shop.ops("case", transaction_id) == 0
    case = " ".join(capsys.readouterr().out.split())
    assert "Notice to the customer, that it failed: not sent, because the customer saw it on the page." in case
    assert "Notice to the customer, that it was paid after all: sent." in case
