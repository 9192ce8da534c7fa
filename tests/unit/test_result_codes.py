"""The two closed tables: complete, consistent, and in words a customer can use."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from shared.daraja.result_codes import CALLBACK_FAILURES, QUERY_FAILURES, KnownCode, describe
from shared.payments import Status

ALL = list(CALLBACK_FAILURES.values())
EVERY_FAILING_CODE = {
    *("1", "2", "3", "4", "8", "17", "26"),
    *("1001", "1019", "1025", "1031", "1032", "1036", "1037", "1101", "1102"),
    *("2001", "2006", "2008", "2026", "2028", "8006", "9999", "SFC_IC0003", "E3008"),
}


def test_every_failing_code_that_is_known_of_is_in_the_callback_table() -> None:
    assert set(CALLBACK_FAILURES) == EVERY_FAILING_CODE


@pytest.mark.parametrize("code", ["0", "4999", "", "00", "1032 ", "sfc_ic0003", "100000002", "anything"])
def test_what_is_no_known_failure_is_in_no_table(code: str) -> None:
    assert code not in CALLBACK_FAILURES
    assert code not in QUERY_FAILURES
    assert describe(code) is None


def test_a_query_settles_only_by_codes_with_evidence() -> None:
    for code, known in QUERY_FAILURES.items():
        assert CALLBACK_FAILURES[code] is known
        assert "OFF Daraja portal, M-Pesa Express" in known.evidence or "OBS captured" in known.evidence, code


def test_codes_that_only_the_community_knows_settle_nothing_in_a_query() -> None:
    assert set(CALLBACK_FAILURES) - set(QUERY_FAILURES) == {
        "26",
        "1001",
        "1101",
        "1102",
        "2006",
        "2008",
        "2026",
        "9999",
    }


def test_failures_safaricom_has_been_seen_to_take_back_are_asked_again() -> None:
    assert {known.code for known in ALL if known.may_be_taken_back} == {"1037", "1019", "1036", "26", "9999"}


def test_a_cancelled_prompt_is_cancelled_an_expired_one_expired_and_all_else_failed() -> None:
    assert {known.code for known in ALL if known.becomes is Status.CANCELLED} == {"1031", "1032"}
    assert {known.code for known in ALL if known.becomes is Status.EXPIRED} == {"1019"}
    assert {known.becomes for known in ALL} == {Status.CANCELLED, Status.EXPIRED, Status.FAILED}


@pytest.mark.parametrize("known", ALL, ids=lambda known: known.code)
def test_each_code_says_something_to_everybody(known: KnownCode) -> None:
    for words in (known.message, known.next_action, known.operator_note):
        assert re.match(r"[A-Z].{10,}[.!]$", words), words
    assert re.match(r"(OFF|OBS|COM) ?", known.evidence)
    assert describe(known.code) is known


@pytest.mark.parametrize("known", ALL, ids=lambda known: known.code)
def test_customers_are_spared_our_vocabulary(known: KnownCode) -> None:
    for words in (known.message, known.next_action):
        assert not re.search(r"MPESA_|callback|shortcode|query|DS timeout|SMSC|initiator|\d{4}", words, re.IGNORECASE)


def test_no_table_can_be_changed() -> None:
    with pytest.raises(TypeError):
        CALLBACK_FAILURES["0"] = ALL[0]  # type: ignore[index]


def modules_loaded_by(statement: str) -> set[str]:
    code = f"import sys; sys.path.insert(0, '.'); {statement}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(loaded.stdout.split())


def test_reading_callbacks_loads_nothing_but_the_standard_library() -> None:
    third_party = {"pydantic", "sendgrid", "requests", "pg8000", "certifi", "http.client", "ssl"}
    assert not third_party & modules_loaded_by("import shared.daraja.callback_reader")


def test_calling_daraja_loads_no_mail_and_no_database() -> None:
    third_party = {"sendgrid", "python_http_client", "pg8000", "smtplib"}
    assert not third_party & modules_loaded_by("import shared.daraja.client")
