"""Daraja's endpoints: OAuth, STK push, STK query, and "Resource not found" for everything else."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web

from simulator import bodies, checks
from simulator.bodies import Answer, Refusal
from simulator.clock import Clock
from simulator.hostility import draw
from simulator.ids import Ids
from simulator.mpesa import MPesa
from simulator.outages import Cut, Faults, Kind, Where, cut, meet
from simulator.payments import Payment
from simulator.scripts import CustomAnswer, PushAnswer, QueryShape, Script, Scripts
from simulator.settings import SimulatorSettings
from simulator.tokens import Tokens

OAUTH_PATH = "/oauth/v1/generate"
PUSH_PATH = "/mpesa/stkpush/v1/processrequest"
QUERY_PATH = "/mpesa/stkpushquery/v1/query"

_NAMED_ANSWERS: dict[PushAnswer, Refusal | Answer] = {
    PushAnswer.INVALID_AMOUNT: bodies.invalid("Amount"),
    PushAnswer.INVALID_BUSINESS_SHORTCODE: bodies.invalid("BusinessShortCode"),
    PushAnswer.INVALID_CALLBACK_URL: bodies.invalid("CallBackURL"),
    PushAnswer.INVALID_REQUEST_PAYLOAD: bodies.INVALID_REQUEST_PAYLOAD,
    PushAnswer.INVALID_ACCESS_TOKEN: bodies.INVALID_ACCESS_TOKEN,
    PushAnswer.INVALID_AUTHENTICATION_HEADER: bodies.INVALID_AUTHENTICATION_HEADER,
    PushAnswer.RESOURCE_NOT_FOUND: bodies.RESOURCE_NOT_FOUND,
    PushAnswer.METHOD_NOT_ALLOWED: bodies.method_not_allowed("GET"),
    PushAnswer.MERCHANT_DOES_NOT_EXIST: bodies.MERCHANT_DOES_NOT_EXIST,
    PushAnswer.WRONG_CREDENTIALS: bodies.WRONG_CREDENTIALS,
    PushAnswer.SUBSCRIBER_LOCKED: bodies.SUBSCRIBER_LOCKED,
    PushAnswer.SYSTEM_BUSY: bodies.SYSTEM_BUSY,
    PushAnswer.SPIKE_ARREST_500: bodies.SPIKE_ARREST_500,
    PushAnswer.QUOTA_VIOLATION: bodies.QUOTA_VIOLATION,
    PushAnswer.INTERNAL_SERVER_ERROR: bodies.INTERNAL_SERVER_ERROR,
    PushAnswer.SPIKE_ARREST_429: bodies.SPIKE_ARREST,
    PushAnswer.FIREWALL_403: bodies.FIREWALL_403,
    PushAnswer.FIREWALL_503: bodies.FIREWALL_503,
}


_NAMED_SHAPES: dict[QueryShape, Refusal | Answer | Cut] = {
    QueryShape.DOES_NOT_EXIST: bodies.TRANSACTION_DOES_NOT_EXIST,
    QueryShape.INVALID_CHECKOUT_REQUEST_ID: bodies.invalid("CheckoutRequestID"),
    QueryShape.SPIKE_ARREST_429: bodies.SPIKE_ARREST,
    QueryShape.FIREWALL_403: bodies.FIREWALL_403,
    QueryShape.FIREWALL_503: bodies.FIREWALL_503,
    QueryShape.SYSTEM_BUSY: bodies.SYSTEM_BUSY,
    QueryShape.DROPPED: Cut.CLOSED,
}
_FAULTS: dict[Kind, Refusal | Answer | Cut] = {
    Kind.ERROR_500: bodies.INTERNAL_SERVER_ERROR,
    Kind.TOO_MANY_429: bodies.SPIKE_ARREST,
    Kind.FIREWALL_403: bodies.FIREWALL_403,
    Kind.FIREWALL_503: bodies.FIREWALL_503,
}


@dataclass(frozen=True)
class RequestSeen:
    """One request that reached Daraja. `http_status` None: the connection was dropped."""

    at: datetime
    method: str
    path: str
    http_status: int | None
    error_code: str | None


class SpikeArrest:
    """The gateway's rate limit with burst 1: requests must be at least a minute divided by the limit apart."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_allowed_at: datetime | None = None

    def allows(self, per_minute: int) -> bool:
        now = self._clock.now()
        if per_minute and self._last_allowed_at is not None:
            apart_s = (now - self._last_allowed_at).total_seconds()
            if apart_s < 60 / per_minute:
                return False
        self._last_allowed_at = now
        return True

    def clear(self) -> None:
        self._last_allowed_at = None


@dataclass
class Daraja:
    settings: SimulatorSettings
    clock: Clock
    ids: Ids
    mpesa: MPesa
    tokens: Tokens
    scripts: Scripts
    faults: Faults
    spike_arrest: SpikeArrest
    requests: deque[RequestSeen] = field(default_factory=lambda: deque(maxlen=10_000))

    def routes(self) -> list[web.RouteDef]:
        return [
            web.route("*", OAUTH_PATH, self._endpoint(Where.OAUTH, self._oauth)),
            web.route("*", PUSH_PATH, self._endpoint(Where.PUSH, self._push)),
            web.route("*", QUERY_PATH, self._endpoint(Where.QUERY, self._query)),
            web.route("*", "/{path:.*}", self._endpoint(None, self._anything_else)),
        ]

    # --- The endpoints ---

    async def _oauth(self, request: web.Request) -> Answer | Refusal:
        """INF: the order of these checks. Each answer by itself is documented or was seen."""
        if request.method != "GET":
            return bodies.method_not_allowed(request.method)
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return bodies.INVALID_AUTHENTICATION
        if request.query.get("grant_type") != "client_credentials":
            return bodies.INVALID_GRANT_TYPE
        try:
            credentials = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return bodies.INVALID_AUTHENTICATION
        if credentials != f"{self.settings.consumer_key}:{self.settings.consumer_secret}".encode():
            return bodies.NO_BODY
        token, expires_in_as_text = self.tokens.issue()
        return bodies.token(token, expires_in_as_text=expires_in_as_text)

    async def _push(self, request: web.Request) -> Answer | Refusal | Cut:
        wrong = checks.caller(request.method, request.headers.get("Authorization"), self.tokens)
        if wrong is not None:
            return wrong
        fields = checks.fields(request.content_type, await request.read())
        if isinstance(fields, Refusal):
            return fields
        push = checks.push(
            fields,
            {merchant.shortcode: merchant for merchant in self.settings.merchants},
            refuse_banned_words=self.mpesa.behaviour.refuse_banned_words,
        )
        if isinstance(push, Refusal):
            return push
        if self.mpesa.locked(push.msisdn):
            return bodies.SUBSCRIBER_LOCKED
        script = self.scripts.take(push.msisdn) or self._unscripted()
        self.mpesa.live.changed("scripts")
        if script.token_dies:
            self.tokens.kill()
            self.scripts.put_back(push.msisdn, script.model_copy(update={"token_dies": False}))
            return bodies.INVALID_ACCESS_TOKEN
        latency_s = self.mpesa.behaviour.push_latency_s if script.push_latency_s is None else script.push_latency_s
        payment = None
        if script.sends_prompt:
            payment = self.mpesa.accept(push, script, prompt_after_s=self._prompt_after_s(script, latency_s))
        if payment is not None and script.callback_before_response:
            await payment.callbacks_sent.wait()
        else:
            await self.clock.sleep(latency_s)
        return self._push_answer(script, payment)

    def _unscripted(self) -> Script:
        """Chance decides if the simulator is hostile, else a person. A push takes no time where time stands still."""
        hostility = self.mpesa.behaviour.hostility
        if not hostility:
            return Script()
        drawn = draw(self.mpesa.randomness, hostility)
        return drawn.model_copy(update={"push_latency_s": None}) if self.clock.stands_still else drawn

    @staticmethod
    def _prompt_after_s(script: Script, latency_s: float) -> float:
        if script.prompt_after_s is not None:
            return script.prompt_after_s
        return 0.0 if script.callback_before_response else latency_s

    def _push_answer(self, script: Script, payment: Payment | None) -> Answer | Refusal | Cut:
        if script.drop_response:
            return Cut.CLOSED
        match script.push_answer:
            case PushAnswer() as name:
                return _NAMED_ANSWERS[name]
            case CustomAnswer() as custom:
                return Refusal(custom.http_status, custom.error_code, custom.error_message)
        if payment is None:
            raise AssertionError("Script makes sure that an accepted push reaches the phone")
        return bodies.push_accepted(payment.merchant_request_id, payment.checkout_request_id)

    async def _query(self, request: web.Request) -> Answer | Refusal | Cut:
        wrong = checks.caller(request.method, request.headers.get("Authorization"), self.tokens)
        if wrong is not None:
            return wrong
        if not self.spike_arrest.allows(
            self.mpesa.behaviour.query_limit_per_minute
        ):  # INF: after the token, before the body
            return bodies.SPIKE_ARREST
        fields = checks.fields(request.content_type, await request.read())
        if isinstance(fields, Refusal):
            return fields
        asked = checks.query(fields, {merchant.shortcode: merchant for merchant in self.settings.merchants})
        if isinstance(asked, Refusal):
            return asked
        payment = self.mpesa.payments.get(asked)
        if payment is None:  # both answers were seen for unknown ids; INF: which form gets which
            return (
                bodies.TRANSACTION_DOES_NOT_EXIST if asked.startswith("ws_CO_") else bodies.invalid("CheckoutRequestID")
            )
        await self.clock.sleep(payment.script.query_latency_s)
        return self._query_answer(payment)

    def _query_answer(self, payment: Payment) -> Answer | Refusal | Cut:
        shape = payment.shapes_left.pop(0) if payment.shapes_left else self._true_shape(payment)
        names = (payment.merchant_request_id, payment.checkout_request_id)
        match shape:
            case QueryShape.STILL_PROCESSING:
                return bodies.query_still_processing(*names)
            case QueryShape.BEING_PROCESSED:
                return bodies.query_being_processed(payment.checkout_request_id)
            case QueryShape.EMPTY_ERROR_200:
                return bodies.query_empty_error(200, self.ids.merchant_request_id())
            case QueryShape.EMPTY_ERROR_500:
                return bodies.query_empty_error(500, self.ids.merchant_request_id())
            case QueryShape.TERMINAL:
                result = payment.script.query_result or payment.result
                if result is None:
                    return bodies.query_still_processing(*names)
                return bodies.query_result(*names, str(result.code), result.desc)
        return _NAMED_SHAPES[shape]

    def _true_shape(self, payment: Payment) -> QueryShape:
        """While the prompt is open either of two shapes, as seen; afterwards the outcome."""
        age_s = (self.clock.now() - payment.pushed_at).total_seconds()
        if payment.script.query_stuck_s is not None and age_s < payment.script.query_stuck_s:
            return QueryShape.STILL_PROCESSING
        if payment.result is None:
            return self.mpesa.randomness.choice([QueryShape.STILL_PROCESSING, QueryShape.BEING_PROCESSED])
        return QueryShape.TERMINAL

    async def _anything_else(self, request: web.Request) -> Refusal:
        return bodies.RESOURCE_NOT_FOUND

    # --- What they have in common ---

    def _endpoint(
        self, where: Where | None, story: Callable[[web.Request], Awaitable[Answer | Refusal | Cut]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            at = self.clock.now()
            fault = None if where is None else self.faults.take(where)
            result = await meet(fault, _FAULTS, self.clock, lambda: story(request))
            answer = result.answer(self.ids.merchant_request_id()) if isinstance(result, Refusal) else result
            self.requests.append(
                RequestSeen(
                    at=at,
                    method=request.method,
                    path=request.path,
                    http_status=None if isinstance(answer, Cut) else answer.http_status,
                    error_code=result.error_code if isinstance(result, Refusal) else None,
                )
            )
            if isinstance(answer, Cut):
                cut(request.transport, answer)
                return web.Response()
            headers = {"Content-Type": answer.content_type} if answer.body else {}
            return web.Response(status=answer.http_status, body=answer.body, headers=headers)

        return handle
