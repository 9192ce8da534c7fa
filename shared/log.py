"""One canonical line a request, as JSON on standard output, by Powertools: fields rather than prose.

Only what is named here or passed as a safe field is written. An exception is written with its type and where it was
raised, never with its message or its arguments: those may carry a phone number or an address.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING

from shared.settings import Misconfigured

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger


@functools.cache
def _logger() -> Logger:
    from aws_lambda_powertools import Logger

    return Logger(service="lipa", level="INFO", location=None, sampling_rate=None)


def log_line(
    function: str, status: int, taken_ms: float, fields: Mapping[str, object], failure: BaseException | None = None
) -> None:
    """The request's own line; an error line where something broke."""
    told = {name: value for name, value in fields.items() if value is not None}
    line = {"function": function, "status": status, "taken_ms": taken_ms, **told}
    if isinstance(failure, Misconfigured):
        _logger().error("misconfigured", extra=line | {"should_hold": should_hold(failure)})
    elif failure is not None:
        _logger().error("failed", extra=line | {"failure": where_it_broke(failure)})
    else:
        _logger().info("answered", extra=line)


def alert_line(topic: str, transaction_id: str | None, **fields: object) -> None:
    """Something an operator should look at: every alert has this one shape, so that a log drain can pick it up."""
    _logger().error("alert", extra={"alert": topic, "transaction_id": transaction_id, **fields})


def note(message: str, **fields: object) -> None:
    """Something that happened on the way and needs nobody."""
    _logger().info(message, extra=fields)


def should_hold(failure: Misconfigured) -> dict[str, str]:
    """Variables and what they should hold, never values: nobody sees what `sweep` answers, so its log says it."""
    return {problem.name: problem.should_hold for problem in failure.problems}


def where_it_broke(failure: BaseException) -> str:
    """The exception's type and the places it passed, without any value."""
    frames = traceback.extract_tb(failure.__traceback__)[-4:]
    places = " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )
    cause = failure.__cause__
    return f"{type(failure).__name__} at {places}" + (f", caused by {type(cause).__name__}" if cause else "")
