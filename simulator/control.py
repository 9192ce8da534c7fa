"""The control API: what happened, what shall happen next, and answering the phone. JSON in and out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from aiohttp import web
from pydantic import Field

from simulator.answers import Request, json_answer, problem, read, read_object, time_text, valid
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

Answers = Callable[[web.Request], Awaitable[object]]
"""Gives what is answered, as JSON can hold it."""


class PhoneAnswer(Request):
    action: Literal["pin", "wrong_pin", "cancel", "ignore", "no_funds", "fuliza"]
    pin: Annotated[str, Field(pattern=r"^\d{4}$")] = "1234"


class Balance(Request):
    balance_kes: Annotated[int, Field(ge=0, le=500_000)]


class Advance(Request):
    advance_s: Annotated[float, Field(ge=0, le=86_400 * 366)]


class Reset(Request):
    seed: int | None = None
    """For what is drawn from now on."""


class _Number(Request):
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
            "now": time_text(self._world.clock.now()),
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
        answer = await read(request, PhoneAnswer)
        match answer.action:
            case "pin":
                action = None
            case "fuliza":
                action = Outcome.PAY  # whatever the balance
            case other:
                action = Outcome(other)
        try:
            payment = self._mpesa.answer(_msisdn(request), action, answer.pin)
        except NoPrompt:
            raise problem(web.HTTPConflict, "no prompt is open on this phone") from None
        return {"checkout_request_id": payment.checkout_request_id}

    async def _balance(self, request: web.Request) -> object:
        balance = await read(request, Balance)
        phone = self._mpesa.phone(_msisdn(request))
        phone.balance_kes = balance.balance_kes
        self._world.live.changed("phones")
        return self._phone_shown(phone)

    def _phone_shown(self, phone: Phone) -> dict[str, object]:
        prompt = phone.prompt
        return {
            "msisdn": phone.msisdn,
            "balance": phone.balance_kes,
            "last_used_at": time_text(phone.last_used_at),
            "messages": [{"at": time_text(message.at), "text": message.text} for message in reversed(phone.messages)],
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
        self._world.scripts.add(await read(request, Script))
        self._world.live.changed("scripts")
        return {"waiting": len(self._world.scripts.waiting())}

    async def _forget_scripts(self, request: web.Request) -> object:
        self._world.scripts.clear()
        self._world.live.changed("scripts")
        return {}

    async def _add_fault(self, request: web.Request) -> object:
        self._world.faults.add(await read(request, Fault))
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
        changes = await read_object(request)
        self._mpesa.behaviour = valid(type(self._mpesa.behaviour), {**self._mpesa.behaviour.model_dump(), **changes})
        self._world.live.changed("behaviour")
        return self._mpesa.behaviour.model_dump(mode="json")

    async def _kill_token(self, request: web.Request) -> object:
        self._world.daraja.tokens.kill()
        return {}

    async def _advance(self, request: web.Request) -> object:
        """`wakes_in_s`: when something happens next, on a clock that stands still; else null."""
        wakes_in_s = await self._world.clock.advance((await read(request, Advance)).advance_s)
        return {"now": time_text(self._world.clock.now()), "wakes_in_s": wakes_in_s}

    async def _reset(self, request: web.Request) -> object:
        await self._world.reset((await read(request, Reset)).seed)
        return {}

    async def _unknown(self, request: web.Request) -> web.Response:
        raise problem(web.HTTPNotFound, "the control API has no such address")


def _showing(show: Callable[[], object]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(_: web.Request) -> web.Response:
        return json_answer(show())

    return handler


def _doing(do: Answers) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.Response:
        return json_answer(await do(request))

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
        "pushed_at": time_text(payment.pushed_at),
        "finished_at": None if payment.finished_at is None else time_text(payment.finished_at),
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
        renamed.get(name, name): time_text(value) if isinstance(value, datetime) else value
        for name, value in asdict(thing).items()
    }


def _msisdn(request: web.Request) -> str:
    return valid(_Number, {"msisdn": request.match_info["msisdn"]}).msisdn
