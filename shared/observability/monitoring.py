"""Errors, alerts and check-ins for Sentry, where SENTRY_DSN is set; nothing at all where it is not.

A report never fails or holds up a payment. The SDK is imported with the first report; nothing is sent at import. Before
a function answers, `flush` waits for what is on its way, since the function may be frozen then: a second at most. A
Sentry that has not confirmed everything by then gets no reports for a minute.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from shared.settings_reader import Misconfigured

if TYPE_CHECKING:
    from shared.observability.sentry import Sentry
    from shared.settings import MonitoringSettings

A_REPORT_MAY_TAKE_S = 1.0
PAUSE_S = 60.0
THE_SAME_ERROR_AGAIN_AFTER_S = 60.0


class Monitor:
    """What this process reports to one Sentry project. Never raises."""

    of_this_process: ClassVar[Monitor | None] = None

    def __init__(self, settings: MonitoringSettings) -> None:
        self.settings = settings
        self._sentry: Sentry | None = None
        self._waiting = False
        self._reported: dict[object, float] = {}
        self._paused_until = 0.0

    def error(self, failure: BaseException, fields: Mapping[str, object]) -> None:
        """Report an error, the same one once a minute. It is on its way until `flush`."""
        now, place = time.monotonic(), _place(failure)
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

                self._sentry = Sentry(self.settings)
            report(self._sentry)
        except Exception:  # whatever it was: no report is worth a payment
            self._pause()
            return False
        self._waiting = True
        return True

    def _pause(self) -> None:
        self._paused_until = time.monotonic() + PAUSE_S


def start(settings: MonitoringSettings) -> None:
    """From now on this process reports to the DSN of `settings`."""
    if Monitor.of_this_process is None or Monitor.of_this_process.settings != settings:
        Monitor.of_this_process = Monitor(settings)


def monitor() -> Monitor | None:
    """This process's own, since errors may be reported from anywhere, as lines are logged. None: there is no DSN."""
    mine = Monitor.of_this_process
    return mine if mine is not None and mine.settings.dsn else None


def _place(failure: BaseException) -> object:
    trace = failure.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return type(failure), trace and (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
