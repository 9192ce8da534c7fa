"""The operator's command line, on the books of a shop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ops.__main__ import main
from tests.fixtures.shop import CUSTOMER, Shop


def run(shop: Shop, *arguments: str) -> int:
    return main(arguments, {"DATABASE_URL": shop.database_url})


def paid(shop: Shop, reference: str = "INV00042") -> str:
    asked = shop.pay(account_reference=reference).body
    shop.simulator.client.wait_for_prompt(CUSTOMER)
    shop.simulator.client.answer(CUSTOMER, "pin")
    shop.simulator.client.wait_for_callback(asked["checkout_request_id"])
    assert shop.status(asked["transaction_id"]).body["status"] == "paid"
    return str(asked["transaction_id"])


def in_review(shop: Shop) -> str:
    """A payment about which a callback said something that nobody understands."""
    shop.simulator.client.script(CUSTOMER, {"code": "7777", "desc": "Something new"}, after_s=0)
    asked = shop.pay(amount=700, account_reference="REVIEWED").body
    shop.simulator.client.wait_for_callback(asked["checkout_request_id"])
    assert shop.status(asked["transaction_id"]).body["status"] == "under_review"
    return str(asked["transaction_id"])


def test_healthy_books_verify(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid(shop)
    assert run(shop, "verify") == 0
    assert "0 broken" in capsys.readouterr().out


def test_broken_books_are_named(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = paid(shop)
    invoice = shop.row("SELECT * FROM invoices")
    shop.overwrite("DELETE FROM invoices")
    assert run(shop, "verify") == 1
    told = capsys.readouterr().out
    assert "BROKEN  one_invoice" in told
    assert transaction_id in told
    shop.rows(
        "INSERT INTO invoices (transaction_id, customer_email, amount) VALUES (:transaction_id, :email, :amount)",
        transaction_id=invoice["transaction_id"],
        email=invoice["customer_email"],
        amount=invoice["amount"],
    )


def test_a_case_is_told_in_order(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = paid(shop)
    shop.sweep()
    assert run(shop, "case", transaction_id) == 0
    told = capsys.readouterr().out
    parts = (
        "the order was admitted",
        "Daraja took the push",
        "Safaricom called back: 0, success: KES 1,500",
        "invoice sent",
    )
    assert [told.index(part) for part in parts] == sorted(told.index(part) for part in parts)
    assert "It is PAID" in told
    assert "Do now: Deliver." in told
    assert CUSTOMER not in told


def test_a_case_is_found_by_its_receipt_and_its_reference(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = paid(shop)
    receipt = shop.row("SELECT mpesa_receipt_number FROM payment_confirmations")["mpesa_receipt_number"]
    for clue in (receipt, receipt.lower(), "INV00042", CUSTOMER, "0708 374 149", "+254708374149"):
        assert run(shop, "case", clue) == 0
        assert transaction_id in capsys.readouterr().out
    assert run(shop, "case", "NOSUCHTHING") == 1


def test_what_waits_for_a_person_is_listed_and_explained(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = in_review(shop)
    assert run(shop, "review", "list") == 0
    told = capsys.readouterr().out
    assert "1 payments wait" in told
    assert transaction_id in told
    assert "unknown_code" in told
    assert run(shop, "case", transaction_id) == 0
    assert "nobody has explained this code" in capsys.readouterr().out


def test_an_operator_pays_what_the_statement_shows_and_the_invoice_goes_out(shop: Shop) -> None:
    transaction_id = in_review(shop)
    assert (
        run(
            shop,
            "review",
            "pay",
            transaction_id,
            "--receipt",
            "ue4js31rbv",
            "--why",
            "on the statement",
            "--who",
            "amina",
        )
        == 0
    )
    shop.sweep()
    assert shop.status(transaction_id).body["mpesa_receipt_number"] == "UE4JS31RBV"
    assert len(shop.simulator.client.mail()) == 1
    audit = shop.row("SELECT * FROM audit_log WHERE event = 'OperatorPaid'")
    assert (audit["actor"], audit["reason"], audit["to_status"]) == ("operator amina", "on the statement", "PAID")


def test_a_receipt_that_pays_another_payment_pays_nothing_again(shop: Shop) -> None:
    first = paid(shop, "FIRST")
    receipt = shop.status(first).body["mpesa_receipt_number"]
    second = in_review(shop)
    assert run(shop, "review", "pay", second, "--receipt", receipt, "--why", "I think so") == 1
    assert shop.status(second).body["status"] == "under_review"


def test_an_operator_fails_what_never_came(shop: Shop) -> None:
    transaction_id = in_review(shop)
    assert run(shop, "review", "fail", transaction_id, "--why", "not on the statement") == 0
    assert shop.status(transaction_id).body["status"] == "failed"


@pytest.mark.parametrize("put", [in_review, paid])
def test_an_operator_records_a_refund_from_review_and_from_paid(shop: Shop, put: Callable[[Shop], str]) -> None:
    transaction_id = put(shop)
    assert run(shop, "review", "refunded", transaction_id, "--receipt", "UE5AA11BBC", "--why", "sent back") == 0
    assert shop.status(transaction_id).body["status"] == "refunded"
    assert shop.payment(transaction_id)["refund_receipt"] == "UE5AA11BBC"


def test_a_receipt_is_filled_in_after_a_refund_only_where_there_was_a_confirmation(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_amount_told=7)
    asked = shop.pay().body
    delivered = shop.simulator.client.wait_for_callback(asked["checkout_request_id"])
    transaction_id = asked["transaction_id"]
    assert run(shop, "review", "refunded", transaction_id, "--receipt", "UE5AA11BBC", "--why", "sent back") == 0
    right = delivered["callbacks"][0]["body"].replace('"Value":7}', '"Value":1500}').encode()
    for _ in range(2):
        shop.call("callback", "POST", shop.callback_path(transaction_id), raw=right)
    assert shop.outcomes(transaction_id) == ["to_review", "noted", "noted"]
    assert shop.rows("SELECT id FROM payment_confirmations") == []


def test_what_a_person_failed_is_not_held_for_a_query_any_more(shop: Shop) -> None:
    shop.simulator.client.script(
        CUSTOMER, "pay", after_s=0, callback_count=1, query_result={"code": 1032, "desc": "Request cancelled by user"}
    )
    asked = shop.pay(amount=30_000).body
    shop.simulator.client.wait_for_callback(asked["checkout_request_id"])
    shop.sweep()
    transaction_id = asked["transaction_id"]
    assert shop.status(transaction_id).body["status"] == "under_review"
    assert run(shop, "review", "fail", transaction_id, "--why", "not on the statement") == 0
    shop.age(3 * 3600)
    shop.sweep()
    told = shop.status(transaction_id).body
    assert (told["status"], "went through" in told["message"]) == ("failed", False)


def test_review_changes_nothing_that_is_not_in_review(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = paid(shop)
    assert run(shop, "review", "fail", transaction_id, "--why", "mistaken") == 1
    assert run(shop, "review", "pay", transaction_id, "--receipt", "UE5AA11BBC", "--why", "mistaken") == 1
    assert "PAID" in capsys.readouterr().err
    assert shop.status(transaction_id).body["status"] == "paid"


def test_a_large_payment_that_is_judged_again_still_waits_for_its_query(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0)
    asked = shop.pay(amount=20_001).body
    shop.simulator.client.wait_for_callback(asked["checkout_request_id"])
    entry = str(shop.row("SELECT id FROM callback_inbox")["id"])
    assert run(shop, "inbox", "retry", entry) == 0
    assert shop.status(asked["transaction_id"]).body["status"] == "pending"


def test_a_dead_letter_is_listed_and_judged_again(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = paid(shop)
    entry = shop.row("UPDATE callback_inbox SET outcome = 'dead_letter', last_error = 'x' RETURNING id")["id"]
    assert run(shop, "inbox", "list") == 0
    told = capsys.readouterr().out
    assert str(entry) in told
    assert "dead_letter" in told
    assert run(shop, "inbox", "retry") == 0
    assert shop.outcomes(transaction_id) == ["repeated"]
    assert run(shop, "inbox", "retry", str(entry)) == 0
    assert run(shop, "inbox", "retry") == 1


def test_paid_payments_without_a_receipt_are_listed(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_count=0)
    transaction_id = shop.pay().body["transaction_id"]
    shop.age(25)
    shop.sweep()
    assert shop.status(transaction_id).body["status"] == "paid"
    assert run(shop, "receipts", "missing") == 0
    assert transaction_id in capsys.readouterr().out


def test_the_callback_secret_is_printed_before_credentials_are_rotated(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            ["callback-secret"], {"MPESA_ENV": "sandbox", "MPESA_PASSKEY": "p" * 64, "MPESA_CONSUMER_SECRET": "s" * 20}
        )
        == 0
    )
    derived = capsys.readouterr().out.strip()
    assert len(derived) == 64
    assert main(["callback-secret"], {"CALLBACK_SECRET": "c" * 40}) == 0
    assert capsys.readouterr().out.strip() == "c" * 40


def test_a_command_without_a_database_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"], {}) == 2
    assert "DATABASE_URL" in capsys.readouterr().err


def test_every_decision_is_taken_again_from_the_evidence(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid(shop)
    second = in_review(shop)
    run(shop, "review", "fail", second, "--why", "not on the statement")
    capsys.readouterr()
    assert run(shop, "replay") == 0
    assert "5 decisions taken again, 0 differences" in capsys.readouterr().out


def test_changed_bytes_and_changed_books_show_in_the_replay(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.history_is_made_up = True
    transaction_id = paid(shop)
    shop.overwrite("UPDATE callback_inbox SET body = replace(encode(body, 'escape'), '1500', '1400')::bytea")
    assert run(shop, "replay") == 1
    told = capsys.readouterr().out
    assert f"DIFFERS  {transaction_id}" in told
    assert "gave paid, PAID; now it gives to_review, REVIEW" in told


@pytest.mark.parametrize(
    "arguments", [("replay", "--confirm-above-kes", "abc"), ("review", "fail", "abc", "--why", "x")]
)
def test_a_mistyped_argument_is_explained(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments, {"DATABASE_URL": "postgresql://nobody@127.0.0.1/nothing"})
    assert ended.value.code == 2
    assert "must be" in capsys.readouterr().err
