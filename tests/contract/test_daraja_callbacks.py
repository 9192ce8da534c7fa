"""Callbacks on record: what each says."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest

from shared.daraja.callback_reader import (
    CallbackFailure,
    CallbackSuccess,
    CallbackUnknownCode,
    read_callback,
    receipts_seen,
)
from tests.contract.scripted_daraja import recorded

CALLBACKS = recorded("callbacks.json")
PAID = [row for row in CALLBACKS if row["means"]["is"] == "success"]


@pytest.mark.parametrize("row", CALLBACKS, ids=lambda row: row["name"])
def test_every_callback_on_record_means_one_thing(row: dict[str, Any]) -> None:
    said, means = read_callback(row["body"].encode()), row["means"]
    match means["is"]:
        case "success":
            assert isinstance(said, CallbackSuccess)
            assert said.amount_kes == Decimal(means["amount_kes"])
            assert said.receipt == means["receipt"]
            assert said.transaction_date is not None
            assert said.transaction_date.isoformat() == means["transaction_date"]
            assert said.phone == means["phone"]
            assert said.balance_kes is None
        case "failure":
            assert isinstance(said, CallbackFailure)
            assert said.code == means["code"]
            assert said.description
        case "unknown":
            assert isinstance(said, CallbackUnknownCode)
            assert said.code == means["code"]
    assert not hasattr(said, "reason")
    assert said.ids.checkout_request_id == means["checkout_request_id"]


@pytest.mark.parametrize("row", PAID, ids=lambda row: row["name"])
def test_the_order_of_the_items_and_new_ones_among_them_change_nothing(row: dict[str, Any]) -> None:
    message = json.loads(row["body"], parse_float=Decimal)
    items = message["Body"]["stkCallback"]["CallbackMetadata"]["Item"]
    for seed in range(10):
        random.Random(seed).shuffle(items)
        message["Body"]["stkCallback"]["CallbackMetadata"]["Item"] = [{"Name": "New", "Value": {"a": []}}, *items]
        message["New"] = "key"
        shuffled = json.dumps(message, default=float).encode()
        assert read_callback(shuffled) == read_callback(row["body"].encode())


@pytest.mark.parametrize("row", CALLBACKS, ids=lambda row: row["name"])
def test_the_receipts_seen_are_those_of_the_payments(row: dict[str, Any]) -> None:
    receipt = row["means"].get("receipt")
    assert receipts_seen(row["body"].encode()) == ((receipt,) if receipt else ())
