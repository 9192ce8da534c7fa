"""A person leaves messages, words and ids; what a message says about the money stays."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.erased_callbacks import impersonal, read_stored
from ops.export import without_others
from ops.people import Person
from shared.daraja.callback_reader import CallbackRead, CallbackSuccess, CallbackUnreadable, read_callback
from shared.payments import Ids
from shared.values import as_named, is_erased

NUMBER, ERASED = "708374149", "012345678"
EMAIL = "alice@example.com"


def callback(phone: object = 254708374149, receipt: object = "TJ3MX6CLYC", **changed: object) -> bytes:
    items = {"Amount": 10, "MpesaReceiptNumber": receipt, "TransactionDate": 20251003030427, "PhoneNumber": phone}
    stk = {
        "MerchantRequestID": "5998-46a7-a4aa-5a37a83f21ad3833",
        "CheckoutRequestID": f"ws_CO_03102025030409377{NUMBER}",
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "CallbackMetadata": {"Item": [{"Name": name, "Value": value} for name, value in items.items()]},
    }
    return json.dumps({"Body": {"stkCallback": {**stk, **changed}}}).encode()


def about_the_money(said: CallbackRead) -> object:
    if isinstance(said, CallbackSuccess):
        return type(said), said.amount_kes, said.receipt, said.transaction_date
    return type(said), said.reason if isinstance(said, CallbackUnreadable) else said.code


def read_again(body: bytes) -> CallbackRead:
    return read_stored({"body": impersonal(body), "erased_sha256": hashlib.sha256(body).hexdigest()})


@given(
    st.builds(
        callback,
        st.sampled_from([254708374149, "0708374149", "2547*****149", None, 708374149, EMAIL, True]),
        st.sampled_from(["TJ3MX6CLYC", "0708374149", "254708374149", EMAIL, 708374149, None]),
        ResultCode=st.sampled_from([0, "0", 1032, "SFC_IC0003", "7777", None]),
        CheckoutRequestID=st.sampled_from([f"ws_CO_03102025030409377{NUMBER}", NUMBER, "ws_CO_1", None]),
        ResultDesc=st.sampled_from(["The service request is processed.", f"For {NUMBER}", "Alice Wanjiku"]),
    )
    | st.text(alphabet='0708374149 254*"{}[]:,.\\uabWanjiku-+xX', max_size=200).map(str.encode)
    | st.binary(max_size=200).map(lambda raw: raw + NUMBER.encode())
)
def test_an_erased_callback_says_the_same_about_the_money_and_nothing_more(body: bytes) -> None:
    assert about_the_money(read_again(body)) == about_the_money(read_callback(body))
    assert not any(each in impersonal(body) for each in (NUMBER.encode(), b"Alice", EMAIL.encode()))


NAMES_THE_PERSON = [
    *("254708374149", "+254 (708) 374-149", "0708 374 149", "ws_CO_03102025030409377708374149"),
    *("tell <Alice@Example.com>", "550 'alice@example.com' unknown", "RCPT=alice@example.com", "b'alice@example.com'"),
]
NAMES_NOBODY = [
    *("254708374148", "2547*****149", "5998-46a7-a4aa-5a37a83f21ad3833", "Wanjiku", "", "malice@example.com.invalid"),
    *("jane.alice@example.com", "jane-alice@example.com", "o'alice@example.com", "x!alice@example.com"),
    *("550 <o'alice@example.com>: no such user", "alice@example.com.ke", "alice@example.com-alike.ke"),
]


@pytest.mark.parametrize("text", NAMES_THE_PERSON + NAMES_NOBODY)
def test_a_person_is_found_by_the_number_or_the_whole_address(text: str) -> None:
    named = Person(f"254{NUMBER}").is_named_in(text) or Person(email=EMAIL).is_named_in(text)
    assert named == (text in NAMES_THE_PERSON)


@pytest.mark.parametrize(
    ("asker", "text", "shown"),
    [
        (Person(f"254{NUMBER}"), "0708 374 149, not +254 700 000 042", "0708 374 149, not 2547*****042"),
        (Person(f"254{NUMBER}"), "ws_CO_03102025030409377700000042", "ws_CO_031020250304093772547*****042"),
        (Person(f"254{NUMBER}"), "alice@example.com", "…@…"),
        (Person(email=EMAIL), "0708374149 Alice@Example.com bob@example.com", "2547*****149 Alice@Example.com …@…"),
    ],
)
def test_a_person_is_shown_nobody_else(asker: Person, text: str, shown: str) -> None:
    assert without_others(asker, text) == shown


@pytest.mark.parametrize(
    "part", [" " + "x" * 61 + "y", "-" + "x" * 60, "a", "7", "07", "7--", "x "], ids=lambda part: part[:4]
)
def test_no_message_takes_much_longer_than_another(part: str) -> None:
    """Strangers choose them: a person whose payment was flooded is exported and erased all the same."""

    def takes_s(text: str) -> float:
        began = time.process_time()
        impersonal(text.encode())
        without_others(Person(email=EMAIL), text)
        return time.process_time() - began

    plain = min(takes_s("plain words " * 1300) for _ in range(3))
    assert min(takes_s(part * (16_000 // len(part))) for _ in range(3)) < 60 * plain


# The same push, but for the digits -----------------------------------------------------------------------------------

STORED = Ids("5998-46a7", f"ws_CO_03102025030409377{ERASED}")


@pytest.mark.parametrize(
    ("told", "same"),
    [
        (Ids("5998-46a7", f"ws_CO_03102025030409377{NUMBER}"), True),
        (Ids("5998-46a8", f"ws_CO_03102025030409377{NUMBER}"), False),
        (Ids("5998-46a7", f"ws_CO_03102025030409378{NUMBER}"), False),
        (Ids("5998-46a7", f"ws_CO_03102025030409377{NUMBER}1"), False),
        (Ids("5998-46a7", "ws_CO_0310202503040937770837414x"), False),
        (None, False),
    ],
)
def test_an_erased_push_is_recognised_by_all_but_the_erased_digits(told: Ids | None, same: bool) -> None:
    assert as_named(STORED, told, f"254{ERASED}") == (told if same else STORED)


def test_ids_of_a_payment_that_was_not_erased_are_compared_to_the_letter() -> None:
    told = Ids("5998-46a7", "ws_CO_03102025030409377700000001")
    stored = Ids("5998-46a7", f"ws_CO_03102025030409377{NUMBER}")
    assert as_named(stored, told, f"254{NUMBER}") == stored
    assert is_erased(f"254{ERASED}")
    assert not is_erased(f"254{NUMBER}")
