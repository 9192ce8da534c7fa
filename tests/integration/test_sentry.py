"""Sentry, over HTTP: what it is told, what never, and what it costs where it is slow, dead or not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared import settings
from shared.observability import log
from shared.observability.log import safe_report
from shared.settings import MonitoringSettings
from tests.chaos.customers import nth_order, push
from tests.fixtures.sentry import KEY, SentrySink
from tests.fixtures.shop import CUSTOMER, Shop, forget_collaborators

ROOT = Path(__file__).parents[2]
PHONE_IN_A_MESSAGE = "could not reach 254708374149 alice@example.com"


def fail_once(shop: Shop, monkeypatch: pytest.MonkeyPatch, number: int = 1) -> tuple[str, int]:
    """A callback that is stored and cannot be judged: its payment's id, and the answer."""
    from netlify.functions import callback

    told = push(shop, nth_order(number))

    def broken(*_: object, **__: object) -> str:
        try:
            raise KeyError("254708374149")
        except KeyError as failure:
            raise RuntimeError(PHONE_IN_A_MESSAGE) from failure

    with monkeypatch.context() as patched:
        patched.setattr(callback, "judge", broken)
        reply = shop.call("callback", "POST", told.path, raw=told.success())
    return told.transaction_id, reply.status


def test_an_error_is_reported_with_type_and_place_and_without_its_message(
    sentry: SentrySink, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction_id, answered = fail_once(shop, monkeypatch)
    assert answered == 200
    (event,) = sentry.errors()
    cause, error = event["exception"]["values"]
    assert (cause["type"], error["type"]) == ("KeyError", "RuntimeError")
    assert [frame["function"] for frame in error["stacktrace"]["frames"]] == ["receive", "broken"]
    assert error["stacktrace"]["frames"][0]["module"] == "netlify.functions.callback"
    assert str(ROOT) not in str(event)
    assert event["tags"] == {"while_doing": "judging", "transaction_id": transaction_id}
    assert (event["environment"], event["release"], event["level"]) == ("sandbox", "2026-11-23", "error")
    sent = b"".join(envelope.raw for envelope in sentry.envelopes)
    for private in (b"08374149", b"example.com", b'"value"', b'"vars"', b"server_name", b"breadcrumbs", b"Alice"):
        assert private not in sent


def test_the_key_of_the_dsn_travels_in_its_header_and_nowhere_else(
    sentry: SentrySink, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(shop, monkeypatch)
    (envelope,) = sentry.envelopes
    assert envelope.path == "/api/42/envelope/"
    assert f"sentry_key={KEY}" in envelope.headers["X-Sentry-Auth"]
    assert KEY.encode() not in envelope.raw
    assert KEY not in "\n".join(shop.logged)


def test_whatever_the_sdk_may_gather_only_listed_fields_in_listed_forms_leave() -> None:
    private, place = "254708374149", {"filename": "shared/observability/log.py", "function": "log_line", "lineno": 7}
    frame = {**place, "abs_path": "/var/task/log.py", "vars": {"phone": private}, "context_line": f"phone = {private}"}
    error = {"type": "ValueError", "value": private, "mechanism": {"data": {"errno": private}}}
    gathered = {
        "event_id": "0" * 32,
        "level": "error",
        "platform": "python",
        "message": f"call {private}",
        "server_name": "a-machine",
        "user": {"ip_address": "196.201.214.200"},
        "request": {"url": "https://shop.example/api/pay/callback/x/token", "data": private},
        "breadcrumbs": {"values": [{"message": private}]},
        "extra": {"sys.argv": [private]},
        "modules": {"requests": "1"},
        "tags": {"function": "stkpush", "phone": private, "code": "alice@example.com"},
        "contexts": {"lipa": {"outcome": "paid", "name": "Alice"}, "trace": {"trace_id": "1" * 32}},
        "exception": {"values": [{**error, "stacktrace": {"frames": [frame]}}]},
    }
    assert safe_report(gathered) == {
        "event_id": "0" * 32,
        "level": "error",
        "platform": "python",
        "tags": {"function": "stkpush"},
        "contexts": {"lipa": {"outcome": "paid"}},
        "exception": {"values": [{"type": "ValueError", "stacktrace": {"frames": [place]}}]},
    }


def test_each_process_reports_the_same_error_once_a_minute(
    sentry: SentrySink, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        fail_once(shop, monkeypatch, number)
    assert len(sentry.errors()) == 1
    assert "\n".join(shop.logged).count("RuntimeError at") == 3


def test_an_alert_is_an_issue_of_its_own_that_says_what_to_do(sentry: SentrySink, shop: Shop) -> None:
    told = push(shop, nth_order(1))
    shop.calls_back(told.transaction_id, Amount=102)
    shop.sweep()
    (alert,) = sentry.alerts()
    assert alert["message"] == "amount_mismatch: A callback names another amount than was asked for."
    assert alert["tags"] == {"alert": "amount_mismatch", "transaction_id": told.transaction_id}
    assert alert["fingerprint"] == ["alert", "amount_mismatch", told.transaction_id]
    assert "organisation portal" in alert["contexts"]["lipa"]["do_now"]
    shop.sweep()
    assert len(sentry.alerts()) == 1


def test_an_alert_that_sentry_does_not_take_is_retried_without_a_second_line(sentry: SentrySink, shop: Shop) -> None:
    sentry.status = 503
    told = push(shop, nth_order(1))
    shop.calls_back(told.transaction_id, Amount=102)
    shop.sweep()
    assert shop.row("SELECT sent_at, tries FROM outbox WHERE kind = 'alert'") == {"sent_at": None, "tries": 1}
    sentry.status = 200
    log.Monitor.of_this_process = None  # another process, or a minute later
    shop.age(60)
    shop.sweep()
    kept = shop.row("SELECT sent_at IS NOT NULL AS sent, tries FROM outbox WHERE kind = 'alert'")
    assert kept == {"sent": True, "tries": 2}
    assert "\n".join(shop.logged).count("'alert': 'amount_mismatch'") == 1


def test_every_sweep_checks_in_and_says_how_it_went(sentry: SentrySink, shop: Shop) -> None:
    shop.sweep()
    shop.configure(MPESA_SHORTCODE="nonsense")
    assert shop.sweep().status == 500
    well, badly = sentry.told("check_in")
    assert (well["monitor_slug"], well["status"], badly["status"]) == ("sweep", "ok", "error")
    assert well["monitor_config"]["schedule"] == {"type": "crontab", "value": "* * * * *"}
    (error,) = sentry.errors()
    assert error["contexts"]["lipa"]["variables"] == "MPESA_SHORTCODE"
    assert b"nonsense" not in b"".join(envelope.raw for envelope in sentry.envelopes)


@pytest.mark.parametrize(
    ("told", "release"),
    [
        ({"COMMIT_REF": "0c5df46" + "1" * 33}, "0c5df46" + "1" * 33),
        ({"COMMIT_REF": "0c5df46", "SENTRY_RELEASE": "v7"}, "v7"),
        ({"COMMIT_REF": "not a commit"}, None),
        ({}, None),
    ],
)
def test_a_release_is_what_was_built_unless_the_shop_names_it(
    sentry: SentrySink, monkeypatch: pytest.MonkeyPatch, told: dict[str, str], release: str | None
) -> None:
    for name in ("COMMIT_REF", "SENTRY_RELEASE"):
        monkeypatch.setenv(name, told.get(name, ""))
    forget_collaborators()
    assert log.Monitor(settings.monitoring()).check_in(ok=True, taken_s=1)
    (check_in,) = sentry.told("check_in")
    assert check_in.get("release") == release
    forget_collaborators()


# What it costs --------------------------------------------------------------------------------------------------------


def test_a_sentry_that_never_answers_is_not_waited_for_and_then_left_alone(
    sentry: SentrySink, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentry.may_answer.clear()
    _, answered = fail_once(shop, monkeypatch)
    assert answered == 200, "and Sentry has not answered yet"
    assert shop.sweep().status == 200
    told = push(shop, nth_order(2))
    assert shop.call("callback", "POST", told.path, raw=told.success()).body["ResultCode"] == 0
    assert shop.payment(told.transaction_id)["status"] == "PAID"
    assert len(sentry.envelopes) == 1, "nothing more is tried for a minute"


@pytest.mark.parametrize("fault", ["dead", 429, 500, 302])
def test_a_sentry_that_takes_nothing_costs_no_payment(
    sentry: SentrySink, shop: Shop, monkeypatch: pytest.MonkeyPatch, fault: str | int
) -> None:
    if fault == "dead":
        shop.configure(SENTRY_DSN=f"http://{KEY}@127.0.0.1:9/42")
    else:
        sentry.status = int(fault)
    transaction_id, answered = fail_once(shop, monkeypatch)
    assert answered == 200
    shop.age(31)
    assert shop.sweep().status == 200
    assert shop.payment(transaction_id)["status"] == "PAID"


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [(429, {"Retry-After": "1800"}, 1), (429, {}, 1), (429, {"Retry-After": "soon"}, 2), (500, {}, 2)],
)
def test_sentry_says_how_long_it_wants_to_be_left_alone(
    sentry: SentrySink, monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str], told: int
) -> None:
    monkeypatch.setattr(log, "PAUSE_S", 0.0)
    sentry.status, sentry.answer_headers = status, headers
    mine = log.Monitor(MonitoringSettings(sentry.dsn, "sandbox", None))
    assert mine.alert("silence", "It is silent.", {}, "1") is False
    mine.alert("silence", "It is silent.", {}, "1")
    assert len(sentry.envelopes) == told


@pytest.mark.parametrize(
    "dsn", ["nonsense-1234567890", "https://sentry.io/42", f"http://{KEY}@sentry.io/42", f"https://{KEY}@sentry.io"]
)
def test_a_wrong_dsn_is_named_by_the_sweep_without_its_value_and_costs_no_payment(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, dsn: str
) -> None:
    told = push(shop, nth_order(1))
    with monkeypatch.context() as wrong:
        wrong.setenv("SENTRY_DSN", dsn)
        forget_collaborators()
        assert shop.pay().status == 202
        assert shop.sweep().status == 200
        [said] = [vars(line)["should_hold"] for line in caplog.records if line.getMessage() == "misconfigured"]
        assert list(said) == ["SENTRY_DSN"]
        assert dsn not in "\n".join(shop.logged)
        assert shop.call("callback", "POST", told.path, raw=told.success()).status == 200
    assert shop.payment(told.transaction_id)["status"] == "PAID"


LOADS = """
import json, sys
from types import SimpleNamespace
from netlify.functions import {function}
event = json.load(sys.stdin)
answer = {function}.handler(event, SimpleNamespace(aws_request_id="0"))
print(json.dumps([answer["statusCode"], "sentry_sdk" in sys.modules]))
"""


def in_a_fresh_process(function: str, event: dict[str, Any]) -> tuple[int, bool]:
    """What a function answers, and whether it has imported Sentry's SDK by then."""
    told = subprocess.run(
        [sys.executable, "-c", LOADS.format(function=function)],
        input=json.dumps(event),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    status, loaded = json.loads(told.stdout.splitlines()[-1])
    return status, loaded


def test_a_callback_that_settles_never_imports_the_sdk(sentry: SentrySink, shop: Shop) -> None:
    told = push(shop, nth_order(1))
    event = {"httpMethod": "POST", "path": told.path, "headers": {}, "body": told.success().decode()}
    assert in_a_fresh_process("callback", event) == (200, False)
    assert shop.payment(told.transaction_id)["status"] == "PAID"
    assert sentry.envelopes == []


def test_without_a_dsn_nothing_imports_the_sdk_whatever_breaks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing?sslmode=disable")
    event = {"httpMethod": "POST", "path": "/", "headers": {}, "body": ""}
    assert in_a_fresh_process("sweep", event) == (503, False)


@pytest.mark.usefixtures("left_to_the_sweep")
def test_reports_are_sent_before_the_function_answers(sentry: SentrySink, shop: Shop) -> None:
    """It may be frozen right after: a process of its own, and everything has arrived when it has answered."""
    told = push(shop, nth_order(1))
    shop.calls_back(told.transaction_id, Amount=102)
    event = {"httpMethod": "POST", "path": "/", "headers": {}, "body": ""}
    assert in_a_fresh_process("sweep", event) == (200, True)
    assert [alert["tags"]["alert"] for alert in sentry.alerts()] == ["amount_mismatch"]
    assert [check["status"] for check in sentry.told("check_in")] == ["ok"]
    assert CUSTOMER not in str(sentry.envelopes)
