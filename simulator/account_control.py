"""The control API of accounts: paying a paybill or till by hand, reversing, and the statement as rows or as a file."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal, Self

from aiohttp import web
from pydantic import AfterValidator, Field, model_validator

from simulator.account import Account, NotReversible
from simulator.answers import Request, json_answer, problem, read, time_text, valid
from simulator.clock import EAT
from simulator.entries import Entry, Kind, Way
from simulator.mpesa import TooLittleMoney
from simulator.scripts import Msisdn
from simulator.statements import FORMS, file_name, write

if TYPE_CHECKING:
    from simulator.server import World


class Payment(Request):
    msisdn: Msisdn
    shortcode: str
    amount_kes: Annotated[Decimal, Field(gt=0, le=250_000, decimal_places=2)]
    account: Annotated[str, Field(max_length=20)] = ""
    """As the customer types it."""
    way: Literal["menu", "app", "bank"] = "menu"

    @model_validator(mode="after")
    def _cents_come_from_banks(self) -> Self:
        if self.way != "bank" and self.amount_kes % 1:
            raise ValueError("amount_kes: M-PESA moves whole shillings, a bank's app also cents")
        return self


class Reversal(Request):
    shortcode: str
    receipt: str


def _known(form: str) -> str:
    if form not in FORMS:
        raise ValueError(f"one of {', '.join(FORMS)}")
    return form


class Period(Request):
    shortcode: str
    first: date
    last: date
    form: Annotated[str, AfterValidator(_known)] = "a.csv"

    @property
    def starts(self) -> datetime:
        return datetime.combine(self.first, time.min, EAT)

    @property
    def ends(self) -> datetime:
        return datetime.combine(self.last, time(23, 59, 59), EAT)


class AccountControl:
    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._mpesa = world.mpesa

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/control/account/pay", self._pay),
            web.post("/control/account/reverse", self._reverse),
            web.get("/control/account", self._shown),
            web.get("/control/account/statement", self._statement),
        ]

    async def _pay(self, request: web.Request) -> web.Response:
        asked = await read(request, Payment)
        self._account(asked.shortcode)
        try:
            entry = self._mpesa.pay(asked.msisdn, asked.shortcode, asked.amount_kes, asked.account, Way(asked.way))
        except TooLittleMoney:
            raise problem(web.HTTPConflict, "there is too little money on this phone") from None
        return json_answer({"receipt": entry.receipt})

    async def _reverse(self, request: web.Request) -> web.Response:
        asked = await read(request, Reversal)
        self._account(asked.shortcode)
        try:
            self._mpesa.reverse(asked.shortcode, asked.receipt)
        except NotReversible:
            raise problem(web.HTTPConflict, "no payment of this receipt is left to reverse") from None
        return json_answer({})

    async def _shown(self, request: web.Request) -> web.Response:
        """The account's entries in a period, newest first."""
        period = valid(Period, dict(request.query))
        entries = self._account(period.shortcode).entries()
        reversed_ = {one.linked_receipt for one in entries if one.kind is Kind.REVERSAL}
        shown = [one for one in reversed(entries) if period.starts <= one.at <= period.ends]
        return json_answer([_entry_shown(one, can_be_reversed=one.receipt not in reversed_) for one in shown])

    async def _statement(self, request: web.Request) -> web.Response:
        """A file, as the portal gives it. The daily file holds the last day of the period.

        The period begins when the account was opened: what is in a shop's books from before is not missing there.
        """
        period = valid(Period, dict(request.query))
        account, form = self._account(period.shortcode), FORMS[period.form]
        starts = period.starts if form.family in "AB" else datetime.combine(period.last, time.min, EAT)
        content = write(
            form,
            account.of,
            account.entries(),
            max(starts, account.opened_at),
            period.ends,
            reported_at=min(period.ends, self._clock.now()),
        )
        headers = {
            "Content-Disposition": f'attachment; filename="{file_name(form, account.of, starts, period.ends)}"',
            "Cache-Control": "no-store",
        }
        return web.Response(body=content, content_type="application/octet-stream", headers=headers)

    def _account(self, shortcode: str) -> Account:
        account = self._mpesa.accounts.get(shortcode)
        if account is None:
            raise problem(web.HTTPNotFound, "no merchant receives money there")
        return account


def _entry_shown(entry: Entry, *, can_be_reversed: bool) -> dict[str, object]:
    return {
        "kind": entry.kind,
        "receipt": entry.receipt,
        "at": time_text(entry.at),
        "amount": float(entry.amount_kes),
        "change": float(entry.change_kes),
        "payer": entry.payer,
        "name": entry.name,
        "account": entry.account,
        "linked_receipt": entry.linked_receipt,
        "status": entry.status,
        "fuliza": entry.fuliza,
        "can_be_reversed": can_be_reversed and entry.change_kes > 0,
    }
