"""A stored callback whose person was erased: what is kept of it, and how it is read again."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal

from shared.daraja.callback_reader import (
    CallbackFailure,
    CallbackIds,
    CallbackRead,
    CallbackSuccess,
    CallbackUnknownCode,
    CallbackUnreadable,
    read_callback,
)
from shared.daraja.result_codes import CALLBACK_FAILURES
from shared.database import Row


def impersonal(body: bytes) -> bytes:
    """What a callback says about the money, as JSON: its code, amount, receipt and date."""
    said, found = read_callback(body), dict[str, object]()
    match said:
        case CallbackSuccess():
            found = {
                "result_code": "0",
                "amount_kes": said.amount_kes,
                "amount_said": said.amount_said,
                "mpesa_receipt_number": said.receipt,
                "transaction_date": said.transaction_date and said.transaction_date.isoformat(),
            }
        case CallbackFailure() | CallbackUnknownCode():
            found = {"result_code": said.code}
        case CallbackUnreadable():
            found = {"unreadable": said.reason}
    return json.dumps(found, default=str).encode()


def read_stored(row: Row) -> CallbackRead:
    """What a row of the inbox says, also where its bytes were erased: then without ids, number and words."""
    body = bytes(row["body"])
    if row["erased_sha256"] is None:
        return read_callback(body)
    found, nobody = json.loads(body), CallbackIds(None, None)
    if "unreadable" in found:
        return CallbackUnreadable(found["unreadable"])
    if found["result_code"] != "0":
        kind = CallbackFailure if found["result_code"] in CALLBACK_FAILURES else CallbackUnknownCode
        return kind(nobody, found["result_code"], "")
    amount, said, date = found["amount_kes"], found.get("amount_said"), found["transaction_date"]
    return CallbackSuccess(
        ids=nobody,
        amount_kes=None if amount is None else Decimal(amount),
        amount_said=None if said is None else Decimal(said),
        receipt=found["mpesa_receipt_number"],
        transaction_date=None if date is None else datetime.fromisoformat(date),
        phone=None,
        balance_kes=None,
        description="",
    )
