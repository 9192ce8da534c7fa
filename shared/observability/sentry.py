"""Sentry's own words: reports as envelopes of its official SDK, carried by our own exchange within a deadline.

The SDK gathers nothing here: no integrations, breadcrumbs, local variables, request data or machine's name; and it
starts no thread that a frozen function would leave behind. What it has put together in the end is built anew from a
list (`only_listed`, its `before_send`), so that a later version that gathers more sends no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import sentry_sdk
from sentry_sdk.consts import EndpointType
from sentry_sdk.transport import Transport
from sentry_sdk.utils import Dsn

from shared.calls_out import CallFailed, Request, exchange
from shared.deadline import Deadline
from shared.observability.safe_fields import PROSE, UUID, WORD, is_safe

if TYPE_CHECKING:
    from sentry_sdk._types import DataCollectionUserOptions
    from sentry_sdk.envelope import Envelope
    from sentry_sdk.types import Event

    from shared.settings import MonitoringSettings

CLIENT = f"lipa.python/{sentry_sdk.VERSION}"

NOTHING: DataCollectionUserOptions = {
    "user_info": False,
    "cookies": {"mode": "off"},
    "http_headers": {"request": {"mode": "off"}},
    "http_bodies": [],
    "url_query_params": {"mode": "off"},
    "graphql": {"document": False, "variables": False},
    "gen_ai": {"inputs": False, "outputs": False},
    "database_query_data": False,
    "queues": False,
    "stack_frame_variables": False,
    "frame_context_lines": 0,
}
"""What the SDK gathers by itself."""


class NotDelivered(Exception):
    """Sentry did not take it. `wait_s`: how long it asks to be left alone."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        self.wait_s = wait_s
        super().__init__(why)


class Sentry:
    """One project at Sentry, addressed by its DSN."""

    def __init__(self, settings: MonitoringSettings) -> None:
        """Raises `sentry_sdk.utils.BadDsn`."""
        self._auth = Dsn(settings.dsn or "").to_auth(CLIENT)
        self._basket = _Basket()
        self._client = sentry_sdk.Client(
            dsn=settings.dsn,
            transport=self._basket,
            before_send=only_listed,
            environment=settings.environment,
            release=settings.release or "",  # for None it would ask git, in a process of its own
            server_name="",
            default_integrations=False,
            auto_enabling_integrations=False,
            max_breadcrumbs=0,
            data_collection=NOTHING,
            max_request_body_size="never",
            auto_session_tracking=False,
            send_client_reports=False,
            traces_sample_rate=None,
            enable_logs=False,
            sample_rate=1.0,
            debug=False,
            spotlight=False,
        )

    def send(self, report: Mapping[str, object], deadline: Deadline) -> None:
        """One event or check-in. Raises `NotDelivered`, at the latest when the deadline passes."""
        self._client.capture_event(cast("Event", dict(report)))
        envelopes = self._basket.emptied()
        if not envelopes:
            raise NotDelivered("the SDK made nothing of it")
        for envelope in envelopes:
            self._post(envelope, deadline)

    def _post(self, envelope: Envelope, deadline: Deadline) -> None:
        headers = {"Content-Type": "application/x-sentry-envelope", "X-Sentry-Auth": self._auth.to_header()}
        request = Request("POST", self._auth.get_api_url(EndpointType.ENVELOPE), headers, envelope.serialize())
        try:
            answer = exchange(request, deadline)
        except CallFailed as failure:
            raise NotDelivered(str(failure)) from failure
        if not 200 <= answer.status < 300:
            wait = answer.headers.get("retry-after", "")
            raise NotDelivered(f"Sentry answered HTTP {answer.status}", float(wait) if wait.isdecimal() else None)


class _Basket(Transport):
    """Takes envelopes from the SDK. They are sent by who filled it, not by a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self._envelopes.append(envelope)

    def emptied(self) -> list[Envelope]:
        envelopes, self._envelopes = self._envelopes, []
        return envelopes


# The last door: what may be in a report -------------------------------------------------------------------------------

Form = Callable[[object], object]
"""What may be kept of a value; None: nothing."""


def _text(pattern: str | re.Pattern[str]) -> Form:
    form = re.compile(pattern, re.ASCII) if isinstance(pattern, str) else pattern
    return lambda value: value if isinstance(value, str) and form.fullmatch(value) else None


def _number(value: object) -> object:
    return value if isinstance(value, bool | int | float) and abs(value) <= 99_999 else None


def _each(form: Form) -> Form:
    return lambda value: [kept for one in value if (kept := form(one)) is not None] if isinstance(value, list) else None


def _fields(**forms: Form) -> Form:
    def keep(value: object) -> object:
        if not isinstance(value, Mapping):
            return None
        kept = {name: form(value[name]) for name, form in forms.items() if name in value}
        return {name: what for name, what in kept.items() if what is not None}

    return keep


def _safe(value: object) -> object:
    if not isinstance(value, Mapping):
        return None
    return {name: kept for name, kept in value.items() if is_safe(name, kept)}


_CODE = _text(r"(?!.*\d{7})[\w.<>/-]{1,200}")
_WORD = _text(WORD)
_EVENT_ID = _text(r"[0-9a-f]{32}")
_FRAME = _fields(filename=_CODE, function=_CODE, module=_CODE, lineno=_number, in_app=_number)
_EXCEPTION = _fields(type=_CODE, module=_CODE, stacktrace=_fields(frames=_each(_FRAME)))
_REPORT = _fields(
    event_id=_EVENT_ID,
    timestamp=_text(r"[0-9T:.Z+-]{10,40}"),
    platform=_WORD,
    level=_WORD,
    logger=_WORD,
    environment=_WORD,
    release=_text(r"[A-Za-z0-9._@/+-]{1,100}"),
    message=_text(PROSE),
    fingerprint=_each(_text(rf"{UUID.pattern}|\{{\{{ default \}}\}}|[a-z_:]{{1,60}}|[0-9-]{{1,12}}")),
    exception=_fields(values=_each(_EXCEPTION)),
    tags=_safe,
    contexts=_fields(lipa=_safe),
    # of a check-in
    type=_text("check_in"),
    check_in_id=_EVENT_ID,
    monitor_slug=_text(r"[a-z-]{1,40}"),
    status=_WORD,
    duration=_number,
    monitor_config=_fields(
        schedule=_fields(type=_WORD, value=_text(r"[*/0-9 ]{9,20}")),
        timezone=_text("UTC"),
        checkin_margin=_number,
        max_runtime=_number,
        failure_issue_threshold=_number,
        recovery_threshold=_number,
    ),
)


def only_listed(event: Any, _hint: Any = None) -> Any:
    """What of a report may leave: the fields above in the forms above. All else is gone, whoever put it there."""
    return _REPORT(event)
