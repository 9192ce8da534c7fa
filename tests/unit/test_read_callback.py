"""Reading a callback never raises and never believes: everything odd is an outcome, and no receipt is lost."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.daraja.callback_reader import (
    CallbackFailure,
    CallbackIds,
    CallbackRead,
    CallbackSuccess,
    CallbackUnknownCode,
    CallbackUnreadable,
    prose,
    read_callback,
    read_message,
    receipts_seen,
)

IDS = '"MerchantRequestID":"5998-46a7","CheckoutRequestID":"ws_CO_03102025030409377708374149"'
ITEMS = (
    '{"Name":"Amount","Value":10}',
    '{"Name":"MpesaReceiptNumber","Value":"TJ3MX6CLYC"}',
    '{"Name":"TransactionDate","Value":20251003030427}',
    '{"Name":"PhoneNumber","Value":254708374149}',
)


def callback(code: str = "0", items: tuple[str, ...] | None = ITEMS, ids: str = IDS, desc: str = '"Said"') -> bytes:
    metadata = "" if items is None else f',"CallbackMetadata":{{"Item":[{",".join(items)}]}}'
    return f'{{"Body":{{"stkCallback":{{{ids},"ResultCode":{code},"ResultDesc":{desc}{metadata}}}}}}}'.encode()


def with_item(name: str, value: str) -> bytes:
    others = tuple(item for item in ITEMS if f'"{name}"' not in item)
    return callback(items=(f'{{"Name":"{name}","Value":{value}}}', *others))


def success(body: bytes) -> CallbackSuccess:
    said = read_callback(body)
    assert isinstance(said, CallbackSuccess), said
    return said


# Which code it is -----------------------------------------------------------------------------------------------------


CODES: list[tuple[type[CallbackRead], list[str]]] = [
    (CallbackSuccess, ["0", '"0"']),
    (CallbackUnknownCode, ["0.0", "0e0", "-0.0", "0.0e1", "0E+0", "0e-5", '"0.0"', '"00"', '"-0"', '"+0"', '"0x0"']),
    (CallbackUnknownCode, ['"OK"', '"E0"', "10", "100000000000", '"success"']),
    (CallbackUnreadable, ["false", "true", "null", "[]", "[0]", "{}", '""', '" 0"', '"0 "', '"0\\n"', '"\\u0660"']),
    (CallbackUnreadable, ['"0\\u0000"', f'"{"9" * 51}"', "9" * 51]),
]


@pytest.mark.parametrize(("means", "code"), [(means, code) for means, codes in CODES for code in codes], ids=str)
def test_success_is_the_integer_0_or_the_text_0_and_nothing_that_resembles_it(
    means: type[CallbackRead], code: str
) -> None:
    said = read_callback(callback(code))
    assert type(said) is means
    if not isinstance(said, CallbackUnreadable):
        assert said.description == "Said"


@pytest.mark.parametrize(("code", "text"), [("1032", "1032"), ('"1032"', "1032"), ('"SFC_IC0003"', "SFC_IC0003")])
def test_a_known_failing_code_fails_with_its_ids_and_words(code: str, text: str) -> None:
    said = read_callback(callback(code, items=None, desc='"Request cancelled by user"'))
    ids = CallbackIds("5998-46a7", "ws_CO_03102025030409377708374149")
    assert said == CallbackFailure(ids, text, "Request cancelled by user")


@pytest.mark.parametrize("code", ["4999", '"E3009"', "1032.0", "-1"])
def test_a_code_nobody_has_explained_stays_unknown(code: str) -> None:
    said = read_callback(callback(code))
    assert isinstance(said, CallbackUnknownCode)
    assert (said.code, said.description) == (code.strip('"'), "Said")


# What a success says --------------------------------------------------------------------------------------------------


DATE = datetime(2025, 10, 3, 0, 4, 27, tzinfo=UTC)
WITH_NULS, LONG = '"TJ3\\u0000"', f'"{"A" * 51}"'
ITEMS_READ: list[tuple[str, str, object, list[str]]] = [
    # an item, the field it becomes, and what is read of which values; None: it is as if it had not come
    ("Amount", "amount_kes", Decimal(1), ["1", "1.0", "1.00"]),
    ("Amount", "amount_kes", Decimal("1500.5"), ["1500.50"]),
    ("Amount", "amount_kes", Decimal(1000), ["1e3"]),
    ("Amount", "amount_kes", None, ['"10"', '"KES 10"', "true", "null", "[10]", "{}", "-10", "10.005", "100000000"]),
    ("Amount", "amount_kes", None, ["1e30", "1e-30", "9" * 4000, f"10.{'0' * 34}1"]),
    (
        "MpesaReceiptNumber",
        "receipt",
        None,
        ["12345", "null", "true", '""', '"  "', WITH_NULS, '"TJ3 MX6"', '"é"', LONG],
    ),
    ("TransactionDate", "transaction_date", DATE, ["20251003030427", '"20251003030427"', '"2025-10-03 03:04:27"']),
    ("TransactionDate", "transaction_date", None, ["20251303030427", "20250230030427", "0", "-1", "true", "null"]),
    ("TransactionDate", "transaction_date", None, ['"yesterday"', "2025100303042", "10000101000000", "1e9"]),
    ("TransactionDate", "transaction_date", None, ["20251003030427e0"]),
    ("PhoneNumber", "phone", "254708374149", ["254708374149", '"254708374149"']),
    ("PhoneNumber", "phone", "254708***149", ['"254708***149"']),
    ("PhoneNumber", "phone", None, ["null", "true", "-254", "254708374149e0", "[254708374149]", '"<b>"', "9" * 30]),
    ("Balance", "balance_kes", Decimal(49), ["49.00"]),
    ("Balance", "balance_kes", Decimal(0), ["0"]),
    ("Balance", "balance_kes", None, ['"49"']),
]


@pytest.mark.parametrize(
    ("name", "field", "read", "value"),
    [(name, field, read, value) for name, field, read, values in ITEMS_READ for value in values],
    ids=lambda part: str(part)[:30],
)
def test_an_item_is_read_exactly_or_is_none_and_the_receipt_is_kept(
    name: str, field: str, read: object, value: str
) -> None:
    said = success(with_item(name, value))
    assert getattr(said, field) == read
    assert said.receipt == "TJ3MX6CLYC" or field == "receipt"
    assert said.transaction_date is None or said.transaction_date.tzname() == "EAT"


@pytest.mark.parametrize(
    ("value", "readable"),
    [("1e50", True), ("1e51", False), (f"1.{'0' * 98}", True), (f"1.{'0' * 99}", False)],
)
def test_a_number_may_have_51_digits_and_be_100_characters_long(value: str, readable: bool) -> None:
    assert isinstance(read_callback(with_item("Amount", value)), CallbackSuccess) is readable


NO_METADATA = ["", "null", "{}", '{"Item":null}', '{"Item":[]}', '{"Item":[{}]}', '{"Item":[{"Value":1}]}']
NO_METADATA += ['{"Item":[{"Name":"Amount"},{"Name":7,"Value":1}]}', '{"Item":[{"Name":["Amount"],"Value":1}]}']
OTHER_METADATA = ["[]", "7", '"x"', "true", '{"Item":{"Name":"Amount","Value":10}}', '{"Item":"x"}', '{"Item":[[]]}']
OTHER_METADATA += ['{"Item":[null]}', '{"Item":["Amount"]}']


@pytest.mark.parametrize("metadata", NO_METADATA + OTHER_METADATA)
def test_a_success_may_have_no_metadata_but_none_of_another_form(metadata: str) -> None:
    beside = f',"CallbackMetadata":{metadata}' if metadata else ""
    said = read_callback(callback(items=None, desc='"Said"' + beside))
    if metadata in OTHER_METADATA:
        assert isinstance(said, CallbackUnreadable)
    else:
        assert isinstance(said, CallbackSuccess)
        assert (said.amount_kes, said.receipt, said.transaction_date, said.phone) == (None, None, None, None)


def test_an_item_that_says_two_things_is_unreadable_and_both_receipts_are_kept() -> None:
    body = callback(items=(*ITEMS, '{"Name":"MpesaReceiptNumber","Value":"TJ3MX6CLYD"}'))
    assert isinstance(read_callback(body), CallbackUnreadable)
    assert receipts_seen(body) == ("TJ3MX6CLYC", "TJ3MX6CLYD")


def test_an_item_without_a_name_or_said_twice_alike_changes_nothing() -> None:
    for items in (('{"Name":7,"Value":1}', *ITEMS), ITEMS * 2):
        assert read_callback(callback(items=items)) == read_callback(callback())


@pytest.mark.parametrize("twice", ["true", "1.0", '"1"', "null"])
def test_an_item_twice_in_different_forms_says_two_things(twice: str) -> None:
    items = ('{"Name":"Amount","Value":1}', f'{{"Name":"Amount","Value":{twice}}}')
    assert isinstance(read_callback(callback(items=items)), CallbackUnreadable)


# Ids ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids", ['"New":1', '"MerchantRequestID":null,"CheckoutRequestID":null', '"MerchantRequestID":""']
)
def test_a_callback_may_name_no_ids(ids: str) -> None:
    assert success(callback(ids=ids)).ids == CallbackIds(None, None)


@pytest.mark.parametrize(
    "value", ["7", "[]", "{}", "true", '"a b"', '"a\\u0000"', '"\\ud800"', '"é"', f'"{"a" * 256}"', '"a\\n"']
)
@pytest.mark.parametrize("name", ["MerchantRequestID", "CheckoutRequestID"])
def test_an_id_that_cannot_be_one_makes_it_unreadable(name: str, value: str) -> None:
    assert isinstance(read_callback(callback(ids=f'"{name}":{value}')), CallbackUnreadable)


# Bytes that are no callback -------------------------------------------------------------------------------------------

DEEP = 200_000
UNREADABLE: dict[str, list[bytes]] = {
    "not JSON": [
        *(b"", b" \n", b"ResultCode=0", callback()[:-3], callback() * 2, b"\x00" * 100, callback(desc='"a\x00b"')),
        with_item("Amount", "9" * 5000),
    ],
    "not UTF-8": [
        b"\xff\xfe" + callback(),
        callback(desc='"\u00e9"').replace("\u00e9".encode(), b"\xe9"),
        *(callback().decode().encode(encoding) for encoding in ("utf-16", "utf-32")),
    ],
    "longer than any message of Daraja's": [
        *(b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP, b"a" * (256 * 1024 + 1)),
        callback(desc='"' + "a" * 1_000_000 + '"'),
    ],
    "nested too deeply": [b"[" * DEEP, b'{"New":' + b"[" * 50_000 + b"]" * 50_000 + b"," + callback()[1:]],
    "not a JSON object": [b"[" + callback() + b"]", b"0", b'"0"', b"null"],
    "Body is missing or not an object": [b"{}", b'{"Body":null}', b'{"Body":[{"stkCallback":{}}]}'],
    "stkCallback is missing or not an object": [b'{"Body":{"stkCallback":[]}}', b'{"Body":{"stkCallback":"0"}}'],
    "ResultCode is missing or no code": [
        *(callback("null"), callback("254722000000"), callback('"payer-0722000000"')),
        *(b'{"Body":{"stkCallback":{}}}', callback().replace(b'"ResultCode":0,', b"")),
    ],
    "MerchantRequestID is not an id": [callback(ids='"MerchantRequestID":7')],
    "CheckoutRequestID is not an id": [callback(ids='"CheckoutRequestID":"a b"')],
    "CallbackMetadata is not an object": [callback(items=None, desc='"Said","CallbackMetadata":[]')],
    "CallbackMetadata's Item is not a list of objects": [callback(items=("7",))],
    "CallbackMetadata says one thing in two ways": [callback(items=(*ITEMS, '{"Name":"Amount","Value":11}'))],
    "a key stands twice in one object": [
        callback().replace(b'"ResultCode":0', b'"ResultCode":1032,"ResultCode":0'),
        callback().replace(b'"ResultCode":0', b'"ResultCode":1032,"Result\\u0043ode":0'),
        callback()[:-1] + b',"Body":{}}',
        callback(items=('{"Name":"Amount","Value":1,"Value":10}',)),
    ],
    "NaN or Infinity is not JSON": [
        *(with_item("Amount", "NaN"), with_item("Amount", "Infinity"), with_item("Balance", "-Infinity"))
    ],
    "a number no computer can hold": [with_item("Amount", "1e99999999999999999999")],
    "a number no ledger can hold": [
        *(with_item("Amount", "1e51"), with_item("Amount", "1e999999"), with_item("Amount", "1." + "0" * 5000))
    ],
}


@pytest.mark.parametrize(
    ("reason", "body"),
    [(reason, body) for reason, bodies in UNREADABLE.items() for body in bodies],
    ids=lambda part: ascii(part)[:40],
)
def test_hostile_bytes_are_unreadable_with_a_reason_in_our_words_and_nothing_worse(reason: str, body: bytes) -> None:
    assert read_callback(body) == CallbackUnreadable(reason)
    receipts_seen(body)


def test_256_kilobytes_are_read_and_one_byte_more_is_not() -> None:
    longest = callback() + b" " * (256 * 1024 - len(callback()))
    assert read_callback(longest) == read_callback(callback())
    assert isinstance(read_callback(longest + b" "), CallbackUnreadable)


def test_a_byte_order_mark_does_no_harm() -> None:
    assert read_callback(b"\xef\xbb\xbf" + callback()) == read_callback(callback())
    assert receipts_seen(b"\xef\xbb\xbf" + callback()) == ("TJ3MX6CLYC",)


def test_words_for_people_are_printable_short_and_name_no_phone() -> None:
    body = callback("1032", desc='"a\\u0000b\\nc\\ud800d\\u202ee 254708374149 ' + "x " * 400 + '"')
    said = read_callback(body)
    assert isinstance(said, CallbackFailure)
    assert said.description.startswith("a b c d e … x")
    assert len(said.description) <= 300
    said.description.encode("utf-8")
    assert prose(None) == prose(["x"]) == ""
    assert prose("é" * 400) == "é" * 300
    assert prose("Error Occurred - Invalid Access Token - c9SQxWWhmdVRlyh0zh8gZDTkubVF").endswith("Token - …")


# No receipt is lost ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        callback()[:-5],
        callback("true"),
        b"\xff" + callback(),
        callback(items=('{"Value" : "TJ3MX6CLYC" , "Name" : "MpesaReceiptNumber"}',))[:-1],
        callback().replace(b'"MpesaReceiptNumber"', b'"Mpesa\\u0052eceiptNumber"'),
        b"\xef\xbb\xbf" + callback().replace(b'"MpesaReceiptNumber"', b'"Mpesa\\u0052eceiptNumber"'),
        with_item("Amount", "9" * 5000).replace(b'"MpesaReceiptNumber"', b'"Mpesa\\u0052eceiptNumber"'),
        b'{"Trans\\u0049D":"TJ3MX6CLYC"}',
        b'[{"Name":"MpesaReceiptNumber","Value":"TJ3MX6CLYC"}]',
        callback("1032"),
        with_item("Amount", "NaN"),
        with_item("Amount", "9" * 5000),
        callback(items=(*ITEMS, *ITEMS)),
    ],
)
def test_a_receipt_is_seen_in_whatever_it_stands(body: bytes) -> None:
    assert receipts_seen(body) == ("TJ3MX6CLYC",)


def test_receipts_beside_the_callbacks_own_are_seen_and_a_number_is_one_too() -> None:
    body = callback(items=(*ITEMS, '{"Name":"New","Value":[{"Name":"MpesaReceiptNumber","Value":77}]}'))
    said, receipts = read_message(body[:-1] + b',"Also":{"TransID":"RKL51ZDR4F"}}')
    assert said == read_callback(callback())
    assert receipts == ("TJ3MX6CLYC", "77", "RKL51ZDR4F")


def test_a_callback_that_can_be_read_is_parsed_once() -> None:
    with patch.object(json, "loads", wraps=json.loads) as loads:
        assert read_message(callback())[1] == ("TJ3MX6CLYC",)
    loads.assert_called_once()


def test_both_values_of_a_doubled_key_are_seen() -> None:
    body = callback(items=('{"Name":"MpesaReceiptNumber","Value":"AAA1","Name":"MpesaReceiptNumber","Value":"BBB2"}',))
    assert set(receipts_seen(body)) == {"AAA1", "BBB2"}


def test_receipts_seen_are_bounded_and_storable() -> None:
    items = tuple(f'{{"Name":"MpesaReceiptNumber","Value":"R{n}\\u0000"}}' for n in range(5)) + tuple(
        f'{{"Name":"MpesaReceiptNumber","Value":"R{n}"}}' for n in range(1000)
    )
    seen = receipts_seen(callback(items=items))
    assert len(seen) == 20
    assert all(re.fullmatch(r"[!-~]{1,50}", receipt) for receipt in seen)


@pytest.mark.parametrize("cut", [0, 40])
def test_the_receipt_of_a_c2b_confirmation_is_seen_too(cut: int) -> None:
    """Where a shop has C2B addresses too, the same money is reported twice (Daraja portal, Customer To Business)."""
    sample = (
        b'{"TransactionType":"Pay Bill","TransID":"RKL51ZDR4F","TransTime":"20231121121325","TransAmount":"5.00",'
        b'"BusinessShortCode":"600966","BillRefNumber":"Sample","MSISDN":"2547 ***** 126","FirstName":"NICHOLAS"}'
    )
    body = sample[: len(sample) - cut]
    assert isinstance(read_callback(body), CallbackUnreadable)
    assert receipts_seen(body) == ("RKL51ZDR4F",)


# Whatever comes -------------------------------------------------------------------------------------------------------

NAMES = ["Amount", "0", "MpesaReceiptNumber"]
KEYS = ["Body", "stkCallback", "ResultCode", "CallbackMetadata", "Item", "Name", "Value", "CheckoutRequestID"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)
READ = (CallbackSuccess, CallbackFailure, CallbackUnknownCode, CallbackUnreadable)


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    assert isinstance(read_callback(body), READ)
    receipts_seen(body)


@given(ANYTHING)
def test_no_json_makes_it_raise(value: Any) -> None:
    success = {"ResultCode": 0, "CallbackMetadata": value}
    for body in (value, {"Body": {"stkCallback": value}}, {"Body": {"stkCallback": success}}):
        sent = json.dumps(body).encode()
        assert isinstance(read_callback(sent), READ)
        receipts_seen(sent)


@given(ANYTHING.filter(lambda value: not (value == "0" or (type(value) is int and value == 0))))
def test_only_0_is_success(code: Any) -> None:
    assert not isinstance(read_callback(callback(json.dumps(code))), CallbackSuccess)


@given(ANYTHING, st.sampled_from(["Amount", "MpesaReceiptNumber", "TransactionDate", "PhoneNumber", "Balance"]))
def test_whatever_stands_in_an_item_what_is_read_can_be_stored(value: Any, name: str) -> None:
    said = read_callback(with_item(name, json.dumps(value)))
    if isinstance(said, CallbackSuccess):
        assert said.amount_kes is None or 0 <= said.amount_kes < 10**8
        assert said.receipt is None or re.fullmatch(r"[!-~]{1,50}", said.receipt)
        assert said.phone is None or len(said.phone) <= 20
        assert said.transaction_date is None or said.transaction_date.tzinfo is not None
