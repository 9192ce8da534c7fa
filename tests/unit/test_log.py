"""What a log line says, and what it never says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.environment_variables import Misconfigured
from shared.observability import log
from shared.observability.log import log_line, note, safe_fields, where_it_broke
from shared.settings import Settings

ROOT = Path(__file__).parents[2]
PHONE, EMAIL = "254708374149", "alice@example.com"


def test_a_function_that_is_misconfigured_says_in_its_log_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.from_environment({"MPESA_ENV": "sandbox", "MPESA_SHORTCODE": "not-a-number-1234"})
    log_line("sweep", 500, 1.0, {}, refused.value)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "MPESA_CONSUMER_KEY" in repr(record.__dict__)
    assert "not-a-number-1234" not in repr(record.__dict__)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("transaction_id", "4b6b4a9e-7a7e-4f0e-9c1f-0d9c3a1f2b11"),
        ("outcome", "paid_late"),
        ("failure", "ValueError at edge.py:12 answer < stkpush.py:3 <lambda>, caused by KeyError"),
        ("daraja_code", "500.001.1001"),
        ("daraja_says", "Check MPESA_PASSKEY: it must be the one of MPESA_SHORTCODE."),
        ("since", "2026-11-23T01:07:23+00:00"),
        ("invoices", 3),
        ("reminder", False),
    ],
)
def test_a_listed_field_in_its_form_is_written(name: str, value: object) -> None:
    assert safe_fields({name: value}) == {name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("phone_number", PHONE),
        ("anything", "paid"),
        ("outcome", PHONE),
        ("outcome", EMAIL),
        ("outcome", "Alice Wanjiku"),
        ("transaction_id", f"{PHONE}-7a7e-4f0e-9c1f"),
        ("failure", f"ValueError: {PHONE} at edge.py:12 answer"),
        ("failure", f"ValueError at {EMAIL}"),
        ("daraja_code", PHONE),
        ("daraja_says", f"Wrong number {PHONE}."),
        ("says", f"Write to {EMAIL}."),
        ("invoices", int(PHONE)),
        ("invoices", int(PHONE[-9:])),
        ("invoices", -int(PHONE)),
        ("invoices", float("nan")),
        ("outcome", ["paid"]),
        ("outcome", {"paid": PHONE}),
        ("outcome", "paid\n"),
    ],
)
def test_any_other_field_is_withheld_and_only_its_name_is_written(name: str, value: object) -> None:
    assert safe_fields({name: value}) == {"withheld": [name]}


def test_a_name_that_is_a_value_is_not_written_either() -> None:
    assert safe_fields({PHONE: 1, EMAIL: "x"}) == {"withheld": ["unnamed", "unnamed"]}


def test_what_is_absent_is_left_out() -> None:
    assert safe_fields({"outcome": None, "phone_number": None}) == {}


def test_a_line_with_a_field_that_is_not_listed_goes_without_it(caplog: pytest.LogCaptureFixture) -> None:
    log_line("status", 200, 1.0, {"outcome": "paid", "phone_number": PHONE})
    note("something happened", customer_email=EMAIL)
    told = repr([record.__dict__ for record in caplog.records])
    assert "'outcome': 'paid'" in told
    assert "phone_number" in told
    assert "customer_email" in told
    assert PHONE not in told
    assert EMAIL not in told


def test_an_exception_is_written_as_type_place_and_cause_without_values() -> None:
    def outer() -> None:
        try:
            raise KeyError(PHONE)
        except KeyError as cause:
            raise ValueError(EMAIL) from cause

    with pytest.raises(ValueError, match=EMAIL) as raised:
        outer()
    told = where_it_broke(raised.value)
    assert told.startswith("ValueError at test_log.py:")
    assert " outer < " in told
    assert told.endswith(", caused by KeyError")
    assert safe_fields({"failure": told}) == {"failure": told}


# Others, in a process of their own ------------------------------------------------------------------------------------

SAYS = {
    "a library's log record": "logging.getLogger('urllib3').warning('to %s', PRIVATE)",
    "a record of a logger without a name": "logging.warning(PRIVATE)",
    "a record with an exception": "\ntry: int(PRIVATE)\nexcept ValueError: logging.getLogger('x').exception('at')",
    "a record with a stack": "logging.getLogger('x').error('at', stack_info=True)",
    "a record that cannot be formatted": "logging.getLogger('x').error('%s %s', PRIVATE)",
    "a handler that fails": "logging.getLogger().addHandler(Broken()); logging.getLogger('x').error('at')",
    "a warning": "warnings.warn(PRIVATE)",
    "a thread that dies": "thread = threading.Thread(target=int, args=(PRIVATE,)); thread.start(); thread.join()",
    "an object that cannot be deleted": "Fails()",
    "an exception that nobody catches": "int(PRIVATE)",
}
PROCESS = """
import logging, sys, threading, warnings
from shared.observability.log import keep_others_quiet
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
PRIVATE = "254708374149 alice" + "@example.com"
class Fails:
    def __del__(self):
        int(PRIVATE)
class Broken(logging.Handler):
    def emit(self, record):
        try:
            int(PRIVATE)
        except ValueError:
            self.handleError(record)
{first}
{says}
"""


def said(says: str, first: str) -> str:
    told = subprocess.run(
        [sys.executable, "-W", "always", "-c", PROCESS.format(first=first, says=says)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return told.stdout + told.stderr


@pytest.mark.parametrize("what", SAYS)
def test_of_what_libraries_log_only_who_and_where_is_written(what: str) -> None:
    told = said(SAYS[what], "keep_others_quiet()")
    assert told.strip(), "it is said that something was"
    assert PHONE not in told
    assert EMAIL not in told


@pytest.mark.parametrize("what", [what for what in SAYS if what != "a record with a stack"])
def test_without_that_it_would_have_been(what: str) -> None:
    assert PHONE in said(SAYS[what], "")


def test_an_exception_that_nobody_caught_is_a_line_like_any_other() -> None:
    (line,) = said(SAYS["a thread that dies"], "keep_others_quiet()").splitlines()
    assert json.loads(line) | {"timestamp": ""} == {
        "level": "ERROR",
        "message": "failed",
        "timestamp": "",
        "service": "lipa",
        "while_doing": "uncaught",
        "failure": json.loads(line)["failure"],
    }
    assert json.loads(line)["failure"].startswith("ValueError at threading.py:")


def test_hooks_that_are_set_already_stay() -> None:
    told = said(
        "import sys\nprint(sys.excepthook is mine)",
        "import sys\nmine = lambda *_: None\nsys.excepthook = mine\nkeep_others_quiet()",
    )
    assert told == "True\n"


def test_only_what_is_ours_is_let_through_whole() -> None:
    assert {"lipa", "last_resort"} == log.OURS
