"""What a log line says, and what it never says."""

from __future__ import annotations

import logging

import pytest

from shared.log import log_line
from shared.settings import Misconfigured, Settings


def test_a_function_that_is_misconfigured_says_in_its_log_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.from_environment({"MPESA_ENV": "sandbox", "MPESA_SHORTCODE": "not-a-number-1234"})
    with caplog.at_level(logging.INFO, logger="lipa"):
        log_line("sweep", 500, 1.0, {}, refused.value)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "MPESA_CONSUMER_KEY" in repr(record.__dict__)
    assert "not-a-number-1234" not in repr(record.__dict__)
