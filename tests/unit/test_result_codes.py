"""The two closed tables: complete, consistent, and in words a customer can use."""

from __future__ import annotations

import re

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
    only_the_community = {"26", "1001", "1101", "1102", "2006", "2008", "2026", "9999"}
    assert set(CALLBACK_FAILURES) - set(QUERY_FAILURES) == only_the_community


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
