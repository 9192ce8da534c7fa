"""The control API: what happened, what shall happen next, and answering the phone. JSON in and out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulator.daraja import RequestSeen
from simulator.mailbox import Delivery as MailDelivery
from simulator.mailbox import Mail
from simulator.mpesa import NoPrompt
from simulator.outages import Fault
from simulator.payments import Delivery, Movement, Payment
from simulator.phones import Phone, prompt_text
from simulator.scripts import Msisdn, Outcome, Script

if TYPE_CHECKING:
    from simulator.server import World

Model = TypeVar("Model", bound=BaseModel)
Answers = Callable[[web.Request], Awaitable[object]]
"""Gives what is answered, as JSON can hold it."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PhoneAnswer(_Request):
    action: Literal["pin", "wrong_pin", "cancel", "ignore", "no_funds"]
    pin: Annotated[str, Field(pattern=r"^\d{4}$")] = "1234"


class Balance(_Request):
    balance_kes: Annotated[int, Field(ge=0, le=500_000)]


class Advance(_Request):
    advance_s: Annotated[float, Field(ge=0, le=86_400 * 366)]


class Reset(_Request):
    seed: int | None = None
    """For what is drawn from now on."""


class _Number(_Request):
    msisdn: Msisdn


class Control:
    """The addresses below /control, for one simulator."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._mpesa = world.mpesa

    def routes(self) -> list[web.RouteDef]:
        shows: dict[str, Callable[[], object]] = {
            "info": self._info,
            "payments": lambda: [payment_shown(payment) for payment in reversed(self._mpesa.payments.values())],
            "ledger": lambda: [movement_shown(movement) for movement in reversed(self._mpesa.ledger)],
            "requests": lambda: [_shown(seen) for seen in reversed(self._world.daraja.requests)],
            "phones": lambda: [self._phone_shown(phone) for phone in self._mpesa.phones_in_order()],
            "scripts": lambda: [script.model_dump(mode="json") for script in self._world.scripts.waiting()],
            "faults": lambda: [fault.model_dump(mode="json") for fault in self._world.faults.waiting()],
            "behaviour": lambda: self._mpesa.behaviour.model_dump(mode="json"),
            "mail": lambda: [mail_shown(mail) for mail in self._world.mailbox.mails()],
            "deliveries": lambda: [_shown(delivery) for delivery in self._world.mailbox.deliveries()],
        }
        does: dict[str, Answers] = {
            "phones/{msisdn}/answer": self._answer,
            "phones/{msisdn}/balance": self._balance,
            "scripts": self._add_script,
            "scripts/forget": self._forget_scripts,
            "faults": self._add_fault,
            "peace": self._peace,
            "behaviour": self._change_behaviour,
            "token/kill": self._kill_token,
            "clock": self._advance,
            "reset": self._reset,
        }
        return [
            *(web.get(f"/control/{path}", _showing(show)) for path, show in shows.items()),
            *(web.post(f"/control/{path}", _doing(do)) for path, do in does.items()),
            web.get("/control/phones/{msisdn}", _doing(self._phone)),
            web.get("/control/events", self._events),
            web.route("*", "/control{rest:(/.*)?}", self._unknown),
        ]

    # --- What happened ---

    def _info(self) -> object:
        merchants = self._world.settings.merchants
        return {
            "smtp_port": self._world.smtp_ports[0],
            "now": _time(self._world.clock.now()),
            "merchants": [merchant.model_dump(mode="json", exclude={"passkey"}) for merchant in merchants],
        }

    async def _events(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        try:
            await stream.write(b"retry: 1000\n\n")
            async for what in self._world.live.listen(every_s=10):
                await stream.write(f"data: {what}\n\n".encode())
        except ConnectionError:
            pass  # the page was closed
        return stream

    # --- Phones ---

    async def _phone(self, request: web.Request) -> object:
        return self._phone_shown(self._mpesa.phone(_msisdn(request)))

    async def _answer(self, request: web.Request) -> object:
        answer = await _read(request, PhoneAnswer)
        action = None if answer.action == "pin" else Outcome(answer.action)
        try:
            payment = self._mpesa.answer(_msisdn(request), action, answer.pin)
        except NoPrompt:
            raise _problem(web.HTTPConflict, "no prompt is open on this phone") from None
        return {"checkout_request_id": payment.checkout_request_id}

    async def _balance(self, request: web.Request) -> object:
        balance = await _read(request, Balance)
        phone = self._mpesa.phone(_msisdn(request))
        phone.balance_kes = balance.balance_kes
        self._world.live.changed("phones")
        return self._phone_shown(phone)

    def _phone_shown(self, phone: Phone) -> dict[str, object]:
        prompt = phone.prompt
        return {
            "msisdn": phone.msisdn,
            "balance": phone.balance_kes,
            "last_used_at": _time(phone.last_used_at),
            "messages": [{"at": _time(message.at), "text": message.text} for message in reversed(phone.messages)],
            "prompt": None
            if prompt is None
            else {
                "checkout_request_id": prompt.checkout_request_id,
                "business": prompt.push.merchant.name,
                "amount": prompt.push.amount_kes,
                "account_reference": prompt.push.account_reference,
                "text": prompt_text(prompt.push.merchant.name, prompt.push.amount_kes, prompt.push.account_reference),
                "left_s": self._left_s(prompt),
                "wait_s": prompt.prompt_wait_s,
            },
        }

    def _left_s(self, prompt: Payment) -> float:
        if prompt.prompted_at is None or prompt.prompt_wait_s is None:
            return 0.0
        return max(0.0, prompt.prompt_wait_s - (self._world.clock.now() - prompt.prompted_at).total_seconds())

    # --- What shall happen ---

    async def _add_script(self, request: web.Request) -> object:
        self._world.scripts.add(await _read(request, Script))
        self._world.live.changed("scripts")
        return {"waiting": len(self._world.scripts.waiting())}

    async def _forget_scripts(self, request: web.Request) -> object:
        self._world.scripts.clear()
        self._world.live.changed("scripts")
        return {}

    async def _add_fault(self, request: web.Request) -> object:
        self._world.faults.add(await _read(request, Fault))
        return {"waiting": len(self._world.faults.waiting())}

    async def _peace(self, request: web.Request) -> object:
        """No more faults and hostility. Payments that were pushed before keep their callbacks."""
        self._world.faults.clear()
        self._world.scripts.clear()
        self._mpesa.behaviour = self._mpesa.behaviour.model_copy(update={"hostility": 0.0})
        self._mpesa.ask_for_the_truth()
        return {}

    async def _change_behaviour(self, request: web.Request) -> object:
        """Only what is named changes."""
        changes = await _read_object(request)
        self._mpesa.behaviour = _valid(type(self._mpesa.behaviour), {**self._mpesa.behaviour.model_dump(), **changes})
        return self._mpesa.behaviour.model_dump(mode="json")

    async def _kill_token(self, request: web.Request) -> object:
        self._world.daraja.tokens.kill()
        return {}

    async def _advance(self, request: web.Request) -> object:
        """`wakes_in_s`: when something happens next, on a clock that stands still; else null."""
        wakes_in_s = await self._world.clock.advance((await _read(request, Advance)).advance_s)
        return {"now": _time(self._world.clock.now()), "wakes_in_s": wakes_in_s}

    async def _reset(self, request: web.Request) -> object:
        await self._world.reset((await _read(request, Reset)).seed)
        return {}

    async def _unknown(self, request: web.Request) -> web.Response:
        raise _problem(web.HTTPNotFound, "the control API has no such address")


def _showing(show: Callable[[], object]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(_: web.Request) -> web.Response:
        return _json(show())

    return handler


def _doing(do: Answers) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.Response:
        return _json(await do(request))

    return handler


def payment_shown(payment: Payment) -> dict[str, object]:
    push = payment.push
    return {
        "checkout_request_id": payment.checkout_request_id,
        "merchant_request_id": payment.merchant_request_id,
        "phone": push.msisdn,
        "amount": push.amount_kes,
        "account_reference": push.account_reference,
        "transaction_desc": push.transaction_desc,
        "callback_url": push.callback_url,
        "state": payment.state,
        "prompt_open": payment.prompt_open,
        "result_code": None if payment.result is None else str(payment.result.code),
        "result_desc": None if payment.result is None else payment.result.desc,
        "receipt": payment.receipt,
        "pushed_at": _time(payment.pushed_at),
        "finished_at": None if payment.finished_at is None else _time(payment.finished_at),
        "callbacks": [_shown(delivery) for delivery in payment.deliveries],
    }


def movement_shown(movement: Movement) -> dict[str, object]:
    return _shown(movement, {"amount_kes": "amount", "msisdn": "phone", "balance_after_kes": "balance_after"})


def mail_shown(mail: Mail) -> dict[str, object]:
    return _shown(mail, {"sender": "from"})


def _shown(
    thing: Movement | RequestSeen | Delivery | Mail | MailDelivery, renamed: Mapping[str, str] = {}
) -> dict[str, object]:
    """Its fields as JSON: times as text, names as the API has them."""
    return {
        renamed.get(name, name): _time(value) if isinstance(value, datetime) else value
        for name, value in asdict(thing).items()
    }


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(content: object) -> web.Response:
    return web.json_response(content, headers={"Cache-Control": "no-store"})


def _problem(
    kind: type[web.HTTPException], detail: str, errors: list[dict[str, Any]] | None = None
) -> web.HTTPException:
    content = {"detail": detail, **({"errors": errors} if errors else {})}
    return kind(text=json.dumps(content), content_type="application/json")


def _msisdn(request: web.Request) -> str:
    return _valid(_Number, {"msisdn": request.match_info["msisdn"]}).msisdn


async def _read(request: web.Request, model: type[Model]) -> Model:
    return _valid(model, await _read_object(request))


async def _read_object(request: web.Request) -> dict[str, Any]:
    """Only application/json: a page of another site cannot send it without a preflight."""
    if request.content_type != "application/json":
        raise _problem(web.HTTPUnsupportedMediaType, "send application/json")
    try:
        content = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise _problem(web.HTTPBadRequest, "the body is not JSON") from None
    if not isinstance(content, dict):
        raise _problem(web.HTTPBadRequest, "the body is not a JSON object")
    return content


def _valid(model: type[Model], content: dict[str, Any]) -> Model:
    """A 422 that names each wrong field."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        errors = [{"field": _field(one["loc"], one["msg"]), "message": one["msg"]} for one in error.errors()]
        named = ", ".join(dict.fromkeys(one["field"] for one in errors))
        raise _problem(web.HTTPUnprocessableEntity, f"wrong: {named}", errors) from None


def _field(loc: tuple[int | str, ...], message: str) -> str:
    """A rule about several fields has no place of its own; its message begins with the field to change."""
    return str(loc[0]) if loc else message.removeprefix("Value error, ").split()[0].rstrip(":")
