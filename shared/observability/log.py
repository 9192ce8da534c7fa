"""What this process says of itself. One file, so that one place decides what may leave: safe fields only.

One canonical line for each request, as JSON on standard output, by Powertools' Logger; errors and alerts to Sentry. An
exception is written with its type and the place that raised it, never with its message or arguments: they may contain a
phone number or an address.
The same holds for what libraries log, for warnings and for exceptions that nobody caught.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from shared.audit_chain import ERASURE_LINE, TOKEN
from shared.environment_variables import Misconfigured
from shared.values import TRANSACTION_ID

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

    from shared.observability.sentry import Sentry
    from shared.settings import MonitoringSettings

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
        _logger().error("failed", extra=line | safe_fields({"failure": where_it_broke(failure), **_explained(failure)}))
    else:
        _logger().info("answered", extra=line)
    if (sentry := monitor()) is not None:
        if failure is not None:
            sentry.error(failure, {"function": function, **fields})
        if not sentry.flush():
            note("Sentry took no report")


def failed(while_doing: str, failure: BaseException, **fields: object) -> None:
    """Something broke and the work goes on without it: an ERROR line, also reported to Sentry."""
    line = {"while_doing": while_doing, "failure": where_it_broke(failure), **_explained(failure), **fields}
    if isinstance(failure, Misconfigured):
        _logger().error("misconfigured", extra=safe_fields(line) | {"should_hold": should_hold(failure)})
    else:
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
    cause = f", caused by {type(failure.__cause__).__name__}" if failure.__cause__ else ""
    return f"{type(failure).__name__} at {places or 'no place'}{cause}"


def _explained(failure: BaseException) -> dict[str, object]:
    """Of a database's error: its own sentence, which holds no value of ours, and what to do."""
    from shared.database.errors import DatabaseError

    return {"says": str(failure), "do_now": failure.do_now or None} if isinstance(failure, DatabaseError) else {}


def _place(filename: str, line: int | None, *names: str) -> str:
    return " ".join((f"{filename.rpartition('/')[2]}:{line}", *names))


# The one list of what may be written and sent -------------------------------------------------------------------------

# A field must be listed by name, and its value must have the form of that name. A log line names the fields that did
# not pass in `withheld`, and the tests fail where there is one. Numbers below 100,000 are counts and may have any name:
# no phone number is that small, not even its last digits.

WORD = re.compile(r"[a-z][a-z_]{0,60}")
UUID = re.compile(TRANSACTION_ID)
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.:+Z]{0,20}")
PLACE = re.compile(r"(?!.*\d{7})[\w.<>:, ]{1,600}", re.ASCII)
PROSE = re.compile(r"(?!.*\d{7})(?!.*@)[ -~]{1,400}")
"""A sentence from our code. Only the code may fill such a field: the form cannot tell a name from a word."""

FORMS: Mapping[str, re.Pattern[str]] = {
    "function": WORD,
    "code": WORD,
    "transaction_id": UUID,
    "inbox_id": UUID,
    "payment_status": re.compile(r"[A-Z]{4,12}"),
    "outcome": WORD,
    "failure": PLACE,
    "while_doing": WORD,
    "daraja_code": re.compile(r"(?!.*\d{7})[A-Za-z0-9._]{1,50}"),
    "daraja_says": PROSE,
    "alert": WORD,
    "since": MOMENT,
    "says": PROSE,
    "do_now": PROSE,
    "runbook": re.compile(r"docs/[a-z.]+#[a-z_]+"),
    "variables": re.compile(r"[A-Z][A-Z0-9_]{1,40}(, [A-Z][A-Z0-9_]{1,40}){0,40}"),
    "library": re.compile(r"(?!.*\d{7})[\w.]{1,80}", re.ASCII),
    "at": PLACE,
    "anchor": TOKEN,
    "erasure": ERASURE_LINE,
    "step": WORD,
    "template": re.compile(r"([a-z]{2}/)?[a-z_]{1,30}\.(txt|html)"),
    "broken_at": re.compile(r"(line \d{1,5}: )?[A-Za-z0-9 -]{1,60}"),
}
LARGEST_COUNT = 99_999
FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def safe_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that may be written, and the names of those that may not as `withheld`. What is None is left out."""
    kept: dict[str, object] = {}
    withheld: list[str] = []
    for name, value in fields.items():
        if value is None:
            continue
        if is_safe(name, value):
            kept[name] = value
        else:
            withheld.append(name if FIELD_NAME.fullmatch(name) else "unnamed")
    return kept | ({"withheld": sorted(withheld)} if withheld else {})


def is_safe(name: str, value: object) -> bool:
    """Whether a field of this name and value may be written or sent."""
    if isinstance(value, bool | int | float):
        return bool(FIELD_NAME.fullmatch(name)) and _is_count(value)
    form = FORMS.get(name)
    return form is not None and isinstance(value, str) and form.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, bool | int | float) and -LARGEST_COUNT <= value <= LARGEST_COUNT


COUNT, FIELDS = "a count", "fields of a log line"
CODE = re.compile(r"(?!/|.*\d{7})[\w.<>/-]{1,200}", re.ASCII)
"""A name from the code, or a relative path: absolute ones may contain a person's name."""
EVENT_ID = re.compile(r"[0-9a-f]{32}")
FRAME = {"filename": CODE, "function": CODE, "module": CODE, "lineno": COUNT, "in_app": COUNT}
REPORT: Mapping[str, object] = {
    "event_id": EVENT_ID,
    "timestamp": re.compile(r"[0-9T:.Z+-]{10,40}"),
    "platform": WORD,
    "level": WORD,
    "environment": WORD,
    "release": re.compile(r"[A-Za-z0-9._@/+-]{1,100}"),
    "message": PROSE,
    "fingerprint": [re.compile(rf"{UUID.pattern}|[a-z_]{{1,60}}|[0-9-]{{1,12}}")],
    "exception": {"values": [{"type": CODE, "module": CODE, "stacktrace": {"frames": [FRAME]}}]},
    "tags": FIELDS,
    "contexts": {"lipa": FIELDS},
    # of a check-in
    "type": re.compile("check_in"),
    "check_in_id": EVENT_ID,
    "monitor_slug": re.compile(r"[a-z-]{1,40}"),
    "status": WORD,
    "duration": COUNT,
    "monitor_config": {
        "schedule": {"type": WORD, "value": re.compile(r"[*/0-9 ]{9,20}")},
        "timezone": re.compile("UTC"),
        "checkin_margin": COUNT,
        "max_runtime": COUNT,
        "failure_issue_threshold": COUNT,
        "recovery_threshold": COUNT,
    },
}


def safe_report(report: Any) -> Any:
    """What of a report may be sent: built anew from `REPORT`, so that an SDK that gathers more sends no more."""
    return _listed(report, REPORT)


def _listed(value: object, form: object) -> Any:
    match form:
        case Mapping() if isinstance(value, Mapping):
            kept = {name: _listed(value.get(name), each) for name, each in form.items()}
            return {name: each for name, each in kept.items() if each is not None}
        case [each] if isinstance(value, list):
            return [kept for one in value if (kept := _listed(one, each)) is not None]
        case re.Pattern() if isinstance(value, str) and form.fullmatch(value):
            return value
        case "a count" if _is_count(value):
            return value
        case "fields of a log line" if isinstance(value, Mapping):
            return {name: each for name, each in value.items() if is_safe(name, each)}
    return None


# Reports to Sentry, where SENTRY_DSN is set; nothing at all where it is not -------------------------------------------

A_REPORT_MAY_TAKE_S = 1.0
PAUSE_S = 60.0
THE_SAME_ERROR_AGAIN_AFTER_S = 60.0


class Monitor:
    """What this process reports to one Sentry project. Never raises: a report never fails or holds up a payment.

    The SDK is imported with the first report; nothing is sent at import. Before a function answers, `flush` waits for
    what is on its way, since the function may be frozen then: a second at most. A Sentry that has not confirmed
    everything by then gets no reports for a minute.
    """

    of_this_process: ClassVar[Monitor | None] = None

    def __init__(self, settings: MonitoringSettings) -> None:
        self.settings = settings
        self._sentry: Sentry | None = None
        self._waiting = False
        self._reported: dict[object, float] = {}
        self._paused_until = 0.0

    def error(self, failure: BaseException, fields: Mapping[str, object]) -> None:
        """Report an error, the same one once a minute. It is on its way until `flush`."""
        now, place = time.monotonic(), _raised_at(failure)
        self._reported = {each: at for each, at in self._reported.items() if now - at < THE_SAME_ERROR_AGAIN_AFTER_S}
        if place not in self._reported:
            self._reported[place] = now
            if isinstance(failure, Misconfigured):
                fields = {**fields, "variables": ", ".join(problem.name for problem in failure.problems)}
            self._report(lambda sentry: sentry.error(failure, fields))

    def alert(self, topic: str, says: str, fields: Mapping[str, object], occasion: str) -> bool:
        """Report an alert now. False: Sentry did not confirm it."""
        return self._report(lambda sentry: sentry.alert(topic, says, fields, occasion)) and self.flush()

    def check_in(self, *, ok: bool, taken_s: float) -> bool:
        """The sweep ran: Sentry notices when this stops. False: Sentry did not confirm it."""
        return self._report(lambda sentry: sentry.check_in(ok=ok, taken_s=taken_s)) and self.flush()

    def flush(self) -> bool:
        """Wait for what is on its way. False: Sentry did not confirm all of it."""
        confirmed = True
        if self._waiting and self._sentry is not None:
            self._waiting = confirmed = False
            with contextlib.suppress(Exception):
                confirmed = self._sentry.flush(A_REPORT_MAY_TAKE_S)
            if not confirmed:
                self._pause()
        return confirmed

    def _report(self, report: Callable[[Sentry], None]) -> bool:
        if time.monotonic() < self._paused_until:
            return False
        try:
            if self._sentry is None:
                from shared.observability.sentry import Sentry

                self._sentry = Sentry(self.settings, safe_report)
            report(self._sentry)
        except Exception:  # whatever it was: no report is worth a payment
            self._pause()
            return False
        self._waiting = True
        return True

    def _pause(self) -> None:
        self._paused_until = time.monotonic() + PAUSE_S


def start_monitoring(settings: MonitoringSettings) -> None:
    """From now on this process reports to the DSN of `settings`."""
    if Monitor.of_this_process is None or Monitor.of_this_process.settings != settings:
        Monitor.of_this_process = Monitor(settings)


def monitor() -> Monitor | None:
    """This process's own, since errors may be reported from anywhere, as lines are logged. None: there is no DSN."""
    mine = Monitor.of_this_process
    return mine if mine is not None and mine.settings.dsn else None


def _raised_at(failure: BaseException) -> object:
    trace = failure.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return type(failure), trace and (trace.tb_frame.f_code.co_filename, trace.tb_lineno)


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
