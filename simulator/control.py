"""The control API: what happened, what shall happen next, and answering the phone. JSON in and out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulator.clock import Clock
from simulator.daraja import Daraja, RequestSeen
from simulator.faults import Fault, Faults
from simulator.ledger import Entry
from simulator.live import Live
from simulator.mailbox import Delivery as MailDelivery
from simulator.mailbox import Mail, Mailbox
from simulator.mpesa import MPesa, NoPrompt
from simulator.payments import Delivery, Payment
from simulator.phones import Phone, prompt_text
from simulator.scripts import Msisdn, Outcome, Script, Scripts

Model = TypeVar("Model", bound=BaseModel)


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


@dataclass
class Control:
    clock: Clock
    live: Live
    mpesa: MPesa
    daraja: Daraja
    scripts: Scripts
    faults: Faults
    mailbox: Mailbox
    reset: Callable[[int | None], Awaitable[None]]
    smtp_port: Callable[[], int]

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/control/info", self._info),
            web.get("/control/payments", self._payments),
            web.get("/control/ledger", self._ledger),
            web.get("/control/requests", self._requests),
            web.get("/control/phones", self._phones),
            web.get("/control/phones/{msisdn}", self._phone),
            web.post("/control/phones/{msisdn}/answer", self._answer),
            web.post("/control/phones/{msisdn}/balance", self._balance),
            web.get("/control/scripts", self._scripts),
            web.post("/control/scripts", self._add_script),
            web.post("/control/scripts/forget", self._forget_scripts),
            web.get("/control/faults", self._faults),
            web.post("/control/faults", self._add_fault),
            web.post("/control/peace", self._peace),
            web.get("/control/behaviour", self._behaviour),
            web.post("/control/behaviour", self._change_behaviour),
            web.post("/control/token/kill", self._kill_token),
            web.post("/control/clock", self._advance),
            web.get("/control/mail", self._mails),
            web.get("/control/mail/{id}", self._mail),
            web.get("/control/deliveries", self._deliveries),
            web.get("/control/events", self._events),
            web.post("/control/reset", self._reset),
            web.route("*", "/control{rest:(/.*)?}", self._unknown),
        ]

    # --- What happened ---

    async def _info(self, request: web.Request) -> web.Response:
        return _json(
            {
                "smtp_port": self.smtp_port(),
                "now": _time(self.clock.now()),
                "merchants": [
                    merchant.model_dump(mode="json", exclude={"passkey"}) for merchant in self.daraja.settings.merchants
                ],
            }
        )

    async def _payments(self, request: web.Request) -> web.Response:
        return _json([payment_shown(payment) for payment in reversed(self.mpesa.payments.values())])

    async def _ledger(self, request: web.Request) -> web.Response:
        renamed = {"amount_kes": "amount", "msisdn": "phone", "balance_after_kes": "balance_after"}
        return _json([_shown(entry, renamed) for entry in self.mpesa.ledger.entries()])

    async def _requests(self, request: web.Request) -> web.Response:
        return _json([_shown(seen) for seen in reversed(self.daraja.requests)])

    async def _events(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        try:
            await stream.write(b"retry: 1000\n\n")
            async for what in self.live.listen(every_s=10):
                await stream.write(f"data: {what}\n\n".encode())
        except ConnectionError:
            pass  # the page was closed
        return stream

    # --- Phones ---

    async def _phones(self, request: web.Request) -> web.Response:
        return _json([self._phone_shown(phone) for phone in self.mpesa.phones.all()])

    async def _phone(self, request: web.Request) -> web.Response:
        return _json(self._phone_shown(self.mpesa.phone(_msisdn(request))))

    async def _answer(self, request: web.Request) -> web.Response:
        answer = await _read(request, PhoneAnswer)
        action = None if answer.action == "pin" else Outcome(answer.action)
        try:
            payment = self.mpesa.answer(_msisdn(request), action, answer.pin)
        except NoPrompt:
            raise _problem(web.HTTPConflict, "no prompt is open on this phone") from None
        return _json({"checkout_request_id": payment.checkout_request_id})

    async def _balance(self, request: web.Request) -> web.Response:
        balance = await _read(request, Balance)
        phone = self.mpesa.phone(_msisdn(request))
        phone.balance_kes = balance.balance_kes
        self.live.changed("phones")
        return _json(self._phone_shown(phone))

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
        return max(0.0, prompt.prompt_wait_s - (self.clock.now() - prompt.prompted_at).total_seconds())

    # --- What shall happen ---

    async def _scripts(self, request: web.Request) -> web.Response:
        return _json([script.model_dump(mode="json") for script in self.scripts.waiting()])

    async def _add_script(self, request: web.Request) -> web.Response:
        self.scripts.add(await _read(request, Script))
        self.live.changed("scripts")
        return _json({"waiting": len(self.scripts.waiting())})

    async def _forget_scripts(self, request: web.Request) -> web.Response:
        self.scripts.clear()
        self.live.changed("scripts")
        return _json({})

    async def _faults(self, request: web.Request) -> web.Response:
        return _json([fault.model_dump(mode="json") for fault in self.faults.waiting()])

    async def _add_fault(self, request: web.Request) -> web.Response:
        self.faults.add(await _read(request, Fault))
        return _json({"waiting": len(self.faults.waiting())})

    async def _peace(self, request: web.Request) -> web.Response:
        """No more faults and hostility. Payments that were pushed before keep their callbacks."""
        self.faults.clear()
        self.scripts.clear()
        self.mpesa.behaviour = self.mpesa.behaviour.model_copy(update={"hostility": 0.0})
        self.mpesa.ask_for_the_truth()
        return _json({})

    async def _behaviour(self, request: web.Request) -> web.Response:
        return _json(self.mpesa.behaviour.model_dump(mode="json"))

    async def _change_behaviour(self, request: web.Request) -> web.Response:
        """Only what is named changes."""
        changes = await _read_object(request)
        self.mpesa.behaviour = _valid(type(self.mpesa.behaviour), {**self.mpesa.behaviour.model_dump(), **changes})
        return _json(self.mpesa.behaviour.model_dump(mode="json"))

    async def _kill_token(self, request: web.Request) -> web.Response:
        self.daraja.tokens.kill()
        return _json({})

    async def _advance(self, request: web.Request) -> web.Response:
        """`wakes_in_s`: when something happens next, on a clock that stands still; else null."""
        wakes_in_s = await self.clock.advance((await _read(request, Advance)).advance_s)
        return _json({"now": _time(self.clock.now()), "wakes_in_s": wakes_in_s})

    async def _reset(self, request: web.Request) -> web.Response:
        await self.reset((await _read(request, Reset)).seed)
        return _json({})

    # --- Mail ---

    async def _mails(self, request: web.Request) -> web.Response:
        return _json([mail_shown(mail) for mail in self.mailbox.mails()])

    async def _mail(self, request: web.Request) -> web.Response:
        mail = self.mailbox.find(request.match_info["id"])
        if mail is None:
            raise _problem(web.HTTPNotFound, "no such mail")
        return _json(mail_shown(mail))

    async def _deliveries(self, request: web.Request) -> web.Response:
        return _json([_shown(delivery) for delivery in self.mailbox.deliveries()])

    async def _unknown(self, request: web.Request) -> web.Response:
        raise _problem(web.HTTPNotFound, "the control API has no such address")


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


def mail_shown(mail: Mail) -> dict[str, object]:
    return _shown(mail, {"sender": "from"})


def _shown(
    thing: Entry | RequestSeen | Delivery | Mail | MailDelivery, renamed: Mapping[str, str] = {}
) -> dict[str, object]:
    """Its fields as JSON: times as text, names as the API has them."""
    return {
        renamed.get(name, name): _time(value) if isinstance(value, datetime) else value
        for name, value in asdict(thing).items()
    }


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(content: object, status: int = 200) -> web.Response:
    return web.json_response(content, status=status, headers={"Cache-Control": "no-store"})


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
