"""Errors, alerts and check-ins for Sentry, where the shop has a DSN; nothing at all where it has none.

Nothing here fails or holds up a payment. Errors are kept until the request's answer is ready and sent before the
function may be frozen. A Sentry that is slow or dead costs at most a second, and is then left alone for a minute. The
SDK is imported when there is something to send: a callback that settles never pays for it.
"""

from __future__ import annotations

import functools
import time
import traceback
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.deadline import Deadline
from shared.observability.log import note, where_it_broke
from shared.observability.safe_fields import is_safe
from shared.settings import monitoring
from shared.settings_reader import Misconfigured

if TYPE_CHECKING:
    from shared.observability.sentry import Sentry
    from shared.settings import MonitoringSettings

A_REPORT_MAY_TAKE_S = 1.0
LEFT_ALONE_FOR_S = 60.0
AT_MOST_LEFT_ALONE_FOR_S = 3600.0
THE_SAME_ERROR_AGAIN_AFTER_S = 60.0
MOST_ERRORS_KEPT = 5
SWEEP_SCHEDULE = {
    "schedule": {"type": "crontab", "value": "* * * * *"},
    "timezone": "UTC",
    "checkin_margin": 5,
    "max_runtime": 2,
    "failure_issue_threshold": 3,
    "recovery_threshold": 1,
}
"""Sentry makes the monitor by itself at the first check-in: three missed or failed runs are an issue."""


TAGS = ("function", "code", "while_doing", "alert", "transaction_id")
"""What errors and alerts can be searched by."""


class Monitor:
    """What this process has to tell Sentry. Never raises."""

    def __init__(self, settings: MonitoringSettings) -> None:
        self._settings = settings
        self._sentry: Sentry | None = None
        self._errors: list[dict[str, object]] = []
        self._told: dict[str, float] = {}
        self._left_alone_until = 0.0

    def remember_error(self, failure: BaseException, fields: Mapping[str, object]) -> None:
        """Keep an error until `flush`. The same one is told once a minute."""
        now, place = time.monotonic(), where_it_broke(failure)
        self._told = {other: at for other, at in self._told.items() if now - at < THE_SAME_ERROR_AGAIN_AFTER_S}
        if place in self._told or len(self._errors) >= MOST_ERRORS_KEPT:
            return
        self._told[place] = now
        self._errors.append(_error(failure, fields))

    def flush(self) -> None:
        """Send what was kept; a second in all."""
        if not self._errors:
            return
        kept, self._errors = self._errors, []
        self._send(*kept)

    def alert(self, topic: str, says: str, fields: Mapping[str, object], occasion: str) -> bool:
        """Tell of an alert now. False: it did not arrive, as far as we know."""
        told: dict[str, object] = {
            "level": "error",
            "message": f"{topic}: {says}",
            "fingerprint": ["alert", topic, occasion],
            "tags": {name: fields[name] for name in TAGS if name in fields},
            "contexts": {"lipa": dict(fields)},
        }
        return self._send(_event(told))

    def check_in(self, *, ok: bool, taken_s: float) -> None:
        """The sweep ran. Sentry says when it stops coming."""
        self._send(
            {
                "type": "check_in",
                "event_id": uuid.uuid4().hex,
                "check_in_id": uuid.uuid4().hex,
                "monitor_slug": "sweep",
                "status": "ok" if ok else "error",
                "duration": round(taken_s, 3),
                "monitor_config": SWEEP_SCHEDULE,
            }
        )

    def _send(self, *reports: Mapping[str, object]) -> bool:
        if time.monotonic() < self._left_alone_until:
            return False
        try:
            sentry = self._sentry = self._sentry or self._made()
            deadline = Deadline.after(A_REPORT_MAY_TAKE_S)
            for report in reports:
                sentry.send(report, deadline)
        except Exception as failure:  # whatever it was: no report is worth a payment
            wait_s = min(getattr(failure, "wait_s", None) or LEFT_ALONE_FOR_S, AT_MOST_LEFT_ALONE_FOR_S)
            self._left_alone_until = time.monotonic() + wait_s
            note("Sentry took no report", failure=where_it_broke(failure))
            return False
        return True

    def _made(self) -> Sentry:
        from shared.observability.sentry import Sentry

        return Sentry(self._settings)


@functools.cache
def monitor() -> Monitor | None:
    """This process's own; None where no DSN is set, or one that cannot be used (`settings()` says so)."""
    try:
        mine = monitoring()
    except Misconfigured:
        return None
    return Monitor(mine) if mine.dsn else None


def remember_error(failure: BaseException, fields: Mapping[str, object]) -> None:
    """Keep an error for Sentry until `flush`."""
    if (mine := monitor()) is not None:
        mine.remember_error(failure, fields)


def flush() -> None:
    """Send what was kept: called when the answer is ready, before the function may be frozen."""
    if (mine := monitor()) is not None:
        mine.flush()


def check_in(*, ok: bool, taken_s: float) -> None:
    """The sweep ran."""
    if (mine := monitor()) is not None:
        mine.check_in(ok=ok, taken_s=taken_s)


def _error(failure: BaseException, fields: Mapping[str, object]) -> dict[str, object]:
    """An event with the exception's type and places, and its cause's; never a message."""
    chain = [failure]
    while (cause := chain[-1].__cause__) is not None and len(chain) < 4:
        chain.append(cause)
    told = {name: value for name, value in fields.items() if is_safe(name, value)}
    if isinstance(failure, Misconfigured):
        told["variables"] = ", ".join(problem.name for problem in failure.problems)
    return _event(
        {
            "level": "error",
            "exception": {"values": [_exception(each) for each in reversed(chain)]},
            "tags": {name: told[name] for name in TAGS if name in told},
            "contexts": {"lipa": told},
        }
    )


def _exception(failure: BaseException) -> dict[str, object]:
    frames = [
        {
            "filename": "/".join(frame.filename.split("/")[-3:]),
            "function": frame.name,
            "lineno": frame.lineno,
            "in_app": "site-packages" not in frame.filename and "/lib/python" not in frame.filename,
        }
        for frame in traceback.extract_tb(failure.__traceback__)
    ]
    kind = type(failure)
    return {"type": kind.__name__, "module": kind.__module__, "stacktrace": {"frames": frames[-30:]}}


def _event(told: dict[str, object]) -> dict[str, object]:
    return {
        "event_id": uuid.uuid4().hex,
        "timestamp": datetime.now(UTC).isoformat(),
        "platform": "python",
        "logger": "lipa",
        **told,
    }
