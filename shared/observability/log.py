"""One canonical line for each request, as JSON on standard output, by Powertools' Logger.

Only the fields of safe_fields.py are written. An exception is written with its type and the place that raised it, never
with its message or arguments: they may contain a phone number or an address. The same holds for what libraries log, for
warnings and for exceptions that nobody caught.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from shared.observability.monitoring import monitor
from shared.observability.safe_fields import safe_fields
from shared.settings_reader import Misconfigured

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

SERVICE = "lipa"
OURS = {SERVICE, "last_resort"}


@functools.cache
def _logger() -> Logger:
    from aws_lambda_powertools import Logger

    return Logger(service=SERVICE, level="INFO", location=None, sampling_rate=None)


def log_line(
    function: str, status: int, taken_ms: float, fields: Mapping[str, object], failure: BaseException | None = None
) -> None:
    """The last line of a request; an ERROR where something broke, which is also reported to Sentry."""
    line = {"function": function, "status": status, "taken_ms": taken_ms, **safe_fields(fields)}
    if isinstance(failure, Misconfigured):
        _logger().error("misconfigured", extra=line | {"should_hold": should_hold(failure)})
    elif failure is not None:
        _logger().error("failed", extra=line | safe_fields({"failure": where_it_broke(failure)}))
    else:
        _logger().info("answered", extra=line)
    if (sentry := monitor()) is not None:
        if failure is not None:
            sentry.error(failure, {"function": function, **fields})
        if not sentry.flush():
            note("Sentry took no report")


def failed(while_doing: str, failure: BaseException, **fields: object) -> None:
    """Something broke and the work goes on without it: an ERROR line, also reported to Sentry."""
    line = {"while_doing": while_doing, "failure": where_it_broke(failure), **fields}
    _logger().error("failed", extra=safe_fields(line))
    if (sentry := monitor()) is not None:
        sentry.error(failure, {"while_doing": while_doing, **fields})


def alert_line(topic: str, transaction_id: str | None, **fields: object) -> None:
    """An alert for the operator. All alerts have this one shape, so that a log drain can select them."""
    _logger().error("alert", extra=safe_fields({"alert": topic, "transaction_id": transaction_id, **fields}))


def note(message: str, **fields: object) -> None:
    """Something that needs no action. `message` is a constant of the code."""
    _logger().info(message, extra=safe_fields(fields))


def should_hold(failure: Misconfigured) -> dict[str, str]:
    """Variables and what they should hold, never their values. Nobody reads the answer of `sweep`: its log says it."""
    return {problem.name: problem.should_hold for problem in failure.problems}


def where_it_broke(failure: BaseException) -> str:
    """The exception's type and the places it passed, without any value."""
    frames = traceback.extract_tb(failure.__traceback__)[-4:]
    places = " < ".join(_place(frame.filename, frame.lineno, frame.name) for frame in reversed(frames))
    cause = failure.__cause__
    return f"{type(failure).__name__} at {places or 'no place'}" + (
        f", caused by {type(cause).__name__}" if cause else ""
    )


def _place(filename: str, line: int | None, *names: str) -> str:
    return " ".join((f"{filename.rpartition('/')[2]}:{line}", *names))


# Libraries, warnings and uncaught exceptions --------------------------------------------------------------------------


@functools.cache
def keep_others_quiet() -> None:
    """From now on this process writes no library's message, no warning's text and no uncaught exception's values.

    A library's log record is emptied when it is made, before any handler sees it. Hooks that a debugger or a test
    runner has set stay.
    """
    logging.raiseExceptions = False  # it would print a record's arguments
    logging.setLogRecordFactory(functools.partial(_emptied_record, logging.getLogRecordFactory()))
    if warnings.showwarning.__module__ == "warnings":
        warnings.showwarning = _show_warning
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda kind, failure, trace: _uncaught(failure)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda raised: _uncaught(raised.exc_value)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = lambda raised: _uncaught(raised.exc_value)


def _emptied_record(
    make: Any, name: str, level: int, path: str, line: int, message: Any, arguments: Any, *more: Any, **named: Any
) -> logging.LogRecord:
    record: logging.LogRecord = make(name, level, path, line, message, arguments, *more, **named)
    if name not in OURS:
        record.msg, record.args = f"{name} said something at {_place(path, line)}", ()
        record.exc_info = record.exc_text = record.stack_info = None
    return record


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    note("a library warned", library=category.__name__, at=_place(filename, lineno))


def _uncaught(failure: BaseException | None) -> None:
    if failure is not None and not isinstance(failure, KeyboardInterrupt | SystemExit):
        failed("uncaught", failure)
