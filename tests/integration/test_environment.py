"""Sandbox and production never mix: a database belongs to the environment that first used it."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.shop import CUSTOMER, NOBODY, Reply, Shop, at_once, forget_collaborators

PRODUCTION = {
    "MPESA_ENV": "production",
    "MPESA_BASE_URL": "",
    "SENDGRID_BASE_URL": "",
    "MPESA_SHORTCODE": "600000",
    "MPESA_PASSKEY": "a-passkey-of-our-own",
    "MPESA_CALLBACK_URL": "https://duka.co.ke/api/pay/callback",
    "INVOICE_EMAIL_FROM": "invoices@duka.co.ke",
    "INVOICE_EMAIL_REPLY_TO": "support@duka.co.ke",
}


def told_nothing(shop: Shop) -> bool:
    counts = shop.row(
        """
        SELECT (SELECT count(*) FROM transactions) + (SELECT count(*) FROM callback_inbox)
             + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM access_tokens) AS n
        """
    )
    return bool(counts["n"] == 0)


def refused(reply: Reply) -> bool:
    named = [error["field"] for error in reply.body.get("errors", [])]
    return (reply.status, reply.body.get("code"), named) == (500, "misconfigured", ["MPESA_ENV"])


def test_the_first_function_that_uses_a_database_stamps_it(shop: Shop) -> None:
    assert shop.rows("SELECT environment FROM installation") == []
    shop.status(NOBODY)
    assert shop.rows("SELECT environment FROM installation") == [{"environment": "sandbox"}]


def test_functions_that_start_together_agree_on_one_stamp(shop: Shop) -> None:
    replies = at_once(shop.other_instances(3, warm=False), lambda instance: instance.status(NOBODY))
    assert [reply.status for reply in replies] == [404] * 3
    assert shop.rows("SELECT environment FROM installation") == [{"environment": "sandbox"}]


def test_no_function_of_production_touches_a_database_of_the_sandbox(shop: Shop) -> None:
    shop.status(NOBODY)
    shop.configure(**PRODUCTION)
    path = shop.callback_path(NOBODY)
    callback = json.dumps({"Body": {"stkCallback": {"ResultCode": 0}}}).encode()
    assert refused(shop.pay())
    assert refused(shop.status(NOBODY))
    assert refused(shop.call("invoice", "POST", "/api/mpesa/invoice", {"transaction_id": NOBODY}))
    assert refused(shop.sweep())
    assert refused(shop.call("callback", "POST", path, raw=callback))
    assert told_nothing(shop)
    assert shop.simulator.client.requests() == []
    assert shop.rows("SELECT environment FROM installation") == [{"environment": "sandbox"}]


def test_a_function_of_the_sandbox_never_stamps_over_production(shop: Shop) -> None:
    shop.rows("INSERT INTO installation (environment) VALUES ('production') RETURNING environment")
    assert refused(shop.pay())
    assert told_nothing(shop)


def test_a_function_that_was_refused_works_as_soon_as_it_is_set_right(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.status(NOBODY)
    monkeypatch.setenv("MPESA_ENV", "sandbocks")
    forget_collaborators()
    assert shop.status(NOBODY).body["code"] == "misconfigured"
    monkeypatch.setenv("MPESA_ENV", "sandbox")
    assert shop.status(NOBODY).status == 404


@pytest.mark.parametrize("name", ["MPESA_CONSUMER_KEY", "MPESA_SHORTCODE"])
def test_a_mistyped_key_costs_no_callback(shop: Shop, name: str) -> None:
    transaction_id = str(shop.pay().body["transaction_id"])
    path = shop.callback_path(transaction_id)
    shop.configure(**{name: "\u00e9"})
    body = json.dumps({"Body": {"stkCallback": {"ResultCode": 1032, "ResultDesc": "x"}}}).encode()
    assert shop.status(transaction_id).status == 500
    assert shop.call("callback", "POST", path, raw=body).status == 200
    assert shop.row("SELECT count(*) AS n FROM callback_inbox") == {"n": 1}


@pytest.mark.parametrize(
    "name",
    [
        "SENDGRID_API_KEY", "SENDGRID_BASE_URL", "SENDGRID_SANDBOX", "SMTP_URL", "INVOICE_EMAIL_FROM",
        "INVOICE_EMAIL_REPLY_TO", "NOTICES", "SHOP_NAME", "SHOP_ADDRESS", "SHOP_KRA_PIN",
    ],
)  # fmt: skip
def test_a_mistyped_variable_of_mail_stops_mail_and_no_payment(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with monkeypatch.context() as mistyped:
        mistyped.setenv(name, "two\nlines")
        forget_collaborators()
        shop.simulator.client.script(CUSTOMER, "pay", after_s=0)
        transaction_id = str(shop.pay().body["transaction_id"])
        shop.simulator.client.wait_for_callback(shop.payment(transaction_id)["checkout_request_id"])
        assert shop.status(transaction_id).body["status"] == "paid"
        again = shop.call("invoice", "POST", "/api/mpesa/invoice", {"transaction_id": transaction_id})
        assert (again.status, again.body["code"]) == (500, "misconfigured")
        assert [error["field"] for error in again.body["errors"]] == [name]

        assert [shop.sweep().status for _ in range(2)] == [200, 200]
        assert {"topic": "mail_stopped"} in shop.rows("SELECT topic FROM outbox WHERE sent_at IS NOT NULL")
        said = [vars(line)["should_hold"] for line in caplog.records if line.getMessage() == "misconfigured"]
        assert {tuple(variables) for variables in said} == {(name,)}
        assert shop.letters() == []
    forget_collaborators()
    shop.age(301)
    shop.sweep()
    assert len(shop.letters()) == 1, "what waited leaves"
