"""Sentry's SDK, set up to gather nothing by itself. Every report passes `safe_report` before it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.crons import capture_checkin
from sentry_sdk.transport import HttpTransport

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

    from shared.settings import MonitoringSettings

TAGS = ("function", "code", "while_doing", "alert", "transaction_id")
"""The fields that errors and alerts can be searched by."""
SWEEP_MONITOR: Any = {
    "schedule": {"type": "crontab", "value": "* * * * *"},
    "timezone": "UTC",
    "checkin_margin": 5,
    "max_runtime": 2,
    "failure_issue_threshold": 3,
    "recovery_threshold": 1,
}
"""Sentry creates the monitor at the first check-in. Three missed or failed runs are an issue."""


class Sentry:
    """The project of a DSN. Reports are sent by the SDK's own thread; `flush` waits for them."""

    def __init__(self, settings: MonitoringSettings, safe_report: Callable[[Any], Any]) -> None:
        """Raises `sentry_sdk.utils.BadDsn`."""
        sentry_sdk.init(
            dsn=settings.dsn,
            environment=settings.environment,
            release=settings.release or "",  # for None the SDK asks git, in a process of its own
            before_send=lambda event, hint: safe_report(event),
            transport=_ConfirmedTransport,
            http_proxy="",
            https_proxy="",
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            include_local_variables=False,
            include_source_context=False,
            max_breadcrumbs=0,
            send_client_reports=False,
            server_name="",
            debug=False,
            spotlight=False,
        )

    def error(self, failure: BaseException, fields: Mapping[str, object]) -> None:
        with _scope(fields):
            sentry_sdk.capture_exception(failure)

    def alert(self, topic: str, says: str, fields: Mapping[str, object], occasion: str) -> None:
        """One issue for each topic and occasion."""
        with _scope(fields) as scope:
            scope.fingerprint = ["alert", topic, occasion]
            sentry_sdk.capture_message(f"{topic}: {says}", level="error")

    def check_in(self, *, ok: bool, taken_s: float) -> None:
        status = "ok" if ok else "error"
        capture_checkin("sweep", status=status, duration=round(taken_s, 3), monitor_config=SWEEP_MONITOR)

    def flush(self, timeout_s: float) -> bool:
        """Whether Sentry confirmed everything within `timeout_s`."""
        sentry_sdk.flush(timeout_s)
        transport = sentry_sdk.get_client().transport
        return isinstance(transport, _ConfirmedTransport) and transport.all_confirmed()


class _ConfirmedTransport(HttpTransport):
    """The SDK's own transport, which remembers what Sentry has not confirmed."""

    TIMEOUT = 5

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._unconfirmed: set[str] = set()

    def capture_envelope(self, envelope: Envelope) -> None:
        self._unconfirmed.add(envelope.headers["event_id"])
        super().capture_envelope(envelope)

    def _handle_response(self, response: Any, envelope: Envelope | None) -> None:
        if envelope is not None and 200 <= response.status < 300:
            self._unconfirmed.discard(envelope.headers["event_id"])
        super()._handle_response(response, envelope)

    def all_confirmed(self) -> bool:
        """Asked once: what is not confirmed now counts as lost."""
        lost, self._unconfirmed = self._unconfirmed, set()
        return not lost


@contextmanager
def _scope(fields: Mapping[str, object]) -> Iterator[sentry_sdk.Scope]:
    with sentry_sdk.new_scope() as scope:
        scope.set_context("lipa", dict(fields))
        scope.set_tags({name: fields[name] for name in TAGS if name in fields})
        yield scope
