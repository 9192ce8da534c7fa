"""Delivers the result of a payment to its CallBackURL: real HTTP, once, never again.

No signature and no retry: after a 500 no second delivery came in 31 minutes, after an unreachable address none in 44
(measured 2026-09). A script can make a callback say something else than what happened.
"""

from __future__ import annotations

import random
from datetime import datetime
from decimal import Decimal

import aiohttp

from simulator import bodies
from simulator.clock import EAT
from simulator.payments import Payment
from simulator.scripts import Result, Script

HEADERS = {"User-Agent": "ReactorNetty/1.2.9", "Accept": "*/*"}
"""As captured 2025-10-03, with Businessshortcode and Content-Type."""


def body(payment: Payment, result: Result, at: datetime, randomness: random.Random) -> bytes:
    """The callback about `result`, in the form that the script asks for."""
    script = payment.script
    items = None
    if result.paid and script.callback_metadata != "absent":
        items = [] if script.callback_metadata == "empty" else _items(payment, at)
        if script.callback_metadata == "shuffled":
            randomness.shuffle(items)
    code: int | str = result.code
    if script.callback_code == "str":
        code = str(code)
    return bodies.callback(payment.merchant_request_id, payment.checkout_request_id, code, result.desc, items)


def c2b_body(payment: Payment, at: datetime) -> bytes:
    """The same money as a C2B confirmation: the C2B overview lists the STK push among its sources (Daraja portal)."""
    return bodies.c2b_confirmation(
        receipt=str(payment.receipt),
        time_eat=f"{at.astimezone(EAT):%Y%m%d%H%M%S}",
        amount=f"{payment.amount_moved_kes}.00",
        shortcode=payment.push.merchant.shortcode,
        bill_reference=payment.push.account_reference,
        balance="",
        msisdn=payment.push.msisdn,
    )


def _items(payment: Payment, at: datetime) -> list[dict[str, object]]:
    script = payment.script
    values: dict[str, object] = {
        "Amount": _amount(payment),
        "MpesaReceiptNumber": script.callback_receipt_told or payment.receipt,
        "Balance": None if payment.balance_after_kes is None else Decimal(f"{payment.balance_after_kes}.00"),
        "TransactionDate": int(f"{at.astimezone(EAT):%Y%m%d%H%M%S}"),
        "PhoneNumber": _phone(payment.push.msisdn, script),
    }
    left_out = set(script.callback_leave_out)
    if script.callback_balance == "absent":
        left_out.add("Balance")
    if script.callback_phone == "absent":
        left_out.add("PhoneNumber")
    items: list[dict[str, object]] = []
    for name, value in values.items():
        if name in left_out:
            continue
        if name == "Balance" and script.callback_balance == "no_value":
            items.append({"Name": name})
        else:
            items.append({"Name": name, "Value": value})
    return items


def _amount(payment: Payment) -> int | Decimal:
    script = payment.script
    if script.callback_amount_told is not None:
        return script.callback_amount_told
    amount_kes = payment.amount_moved_kes or 0
    return Decimal(f"{amount_kes}{script.callback_amount.removeprefix('1')}")


def _phone(msisdn: str, script: Script) -> int | str:
    match script.callback_phone:
        case "masked":
            return f"{msisdn[:6]}***{msisdn[-3:]}"
        case "text":
            return msisdn
        case _:
            return int(msisdn)


async def post(url: str, shortcode: str, content: bytes, timeout_s: float) -> tuple[int | None, str | None]:
    """The HTTP status it was answered with, or None and what went wrong."""
    headers = {**HEADERS, "Businessshortcode": shortcode, "Content-Type": "application/json;charset=UTF-8"}
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=timeout_s), skip_auto_headers=["Accept-Encoding"]
            ) as session,
            session.post(url, data=content, headers=headers, allow_redirects=False) as answer,
        ):
            await answer.read()
            return answer.status, None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return None, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
