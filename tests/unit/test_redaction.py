"""A person's values leave words, ids and messages; what a message says about the money stays."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.export import ADDRESS
from ops.redaction import Redaction, nine_digits, numbers_told
from shared.daraja.callback_reader import CallbackSuccess, CallbackUnreadable, read_callback, receipts_seen
from shared.erased import as_told, is_erased
from shared.payments import Ids

NUMBER, ERASED = "708374149", "012345678"
NOBODY = Redaction({NUMBER: ERASED}, ("Alice Wanjiku", "alice@example.com"), whole_person=True)

WRITTEN = {
    "254708374149": "254012345678",
    "+254708374149": "+254012345678",
    "0708374149": "0012345678",
    "708374149": "012345678",
    "0708 374 149": "0012 345 678",
    "+254 (708) 374-149": "+254 (012) 345-678",
    "ws_CO_03102025030409377708374149": "ws_CO_03102025030409377012345678",
    "2547*****149": "2540*****678",
    "2547 ***** 149": "2540 ***** 678",
    "0708XXX149": "0012XXX678",
    "0708****": "0012****",
    "tell Alice  Wanjiku <Alice@Example.com>": "tell erased <erased@erased.invalid>",
    "550 'alice@example.com' unknown": "550 'erased@erased.invalid' unknown",
    "RCPT=alice@example.com, b'alice@example.com'": "RCPT=erased@erased.invalid, b'erased@erased.invalid'",
    hashlib.sha256(b"254708374149").hexdigest(): hashlib.sha256(b"254012345678").hexdigest(),
}
NOT_THE_PERSON = [
    "20250703030427",  # a moment, which may hold anybody's digits
    "254708374148",
    "2547*****148",
    "5998-46a7-a4aa-5a37a83f21ad3833",
    "TJ3MX6CLYC",
    "Wanjiku",
    "malice@example.com.invalid",
    "jane.alice@example.com",
    "jane-alice@example.com",
    "o'alice@example.com",
    "550 <o'alice@example.com>: no such user",
    "x!alice@example.com",
    "alice@example.com.ke",
    "alice@example.com-alike.ke",
    "",
]


def callback(phone: object = 254708374149, **changed: object) -> bytes:
    items = {"Amount": 10, "MpesaReceiptNumber": "TJ3MX6CLYC", "TransactionDate": 20251003030427, "PhoneNumber": phone}
    entries: list[dict[str, object]] = [{"Name": name, "Value": value} for name, value in items.items()]
    stk = {
        "MerchantRequestID": "5998-46a7-a4aa-5a37a83f21ad3833",
        "CheckoutRequestID": f"ws_CO_03102025030409377{NUMBER}",
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "CallbackMetadata": {"Item": [*entries, {"Name": "Balance"}]},
    }
    return json.dumps({"Body": {"stkCallback": {**stk, **changed}}}).encode()


@pytest.mark.parametrize(("written", "becomes"), WRITTEN.items())
def test_a_person_is_found_however_they_are_written(written: str, becomes: str) -> None:
    assert NOBODY.text(written) == becomes
    assert NOBODY.text(f"({written})") == f"({becomes})"
    assert NOBODY.text(becomes) == becomes


@pytest.mark.parametrize("text", NOT_THE_PERSON)
def test_what_is_not_the_person_stays(text: str) -> None:
    number_in_a_moment = Redaction({"703030427": ERASED, NUMBER: ERASED}, NOBODY.words)
    assert number_in_a_moment.text(text) == text


@pytest.mark.parametrize(
    "phone",
    [
        b"254708374149",
        b'"254708374149"',
        b'"0708374149"',
        b"708374149",
        b"254708374149.0",
        b"2.54708374149E11",
        b'"2547*****149"',
        b'"2547 ***** 149"',
        rb'"\u0032\u0035470837\u003414\u0039"',
        b"255712345678",  # not a number of theirs, but in the place of the payer's
        b'"2557*****678"',
    ],
)
def test_a_callback_says_the_same_about_the_money_afterwards(phone: bytes) -> None:
    body = callback("PHONE").replace(b'"PHONE"', phone)
    before, after = read_callback(body), read_callback(NOBODY.body(body))
    assert isinstance(before, CallbackSuccess)
    assert isinstance(after, CallbackSuccess)
    assert (after.amount_kes, after.receipt, after.transaction_date) == (
        before.amount_kes,
        before.receipt,
        before.transaction_date,
    )
    assert after.ids.merchant_request_id == before.ids.merchant_request_id
    assert after.ids.checkout_request_id == f"ws_CO_03102025030409377{ERASED}"
    assert nine_digits(after.phone or "") is None
    assert NUMBER.encode() not in NOBODY.body(body)
    assert NOBODY.body(NOBODY.body(body)) == NOBODY.body(body)


@pytest.mark.parametrize("name", ["Amount", "MpesaReceiptNumber", "TransactionDate"])
def test_an_amount_a_receipt_or_a_date_stays_even_if_it_reads_like_the_number(name: str) -> None:
    value = {"Amount": 8374149, "MpesaReceiptNumber": "0708374149", "TransactionDate": 20250708374149}[name]
    body = callback().replace(
        json.dumps(
            {"Name": name, "Value": {"Amount": 10, "MpesaReceiptNumber": "TJ3MX6CLYC"}.get(name, 20251003030427)}
        ).encode(),
        json.dumps({"Name": name, "Value": value}).encode(),
    )
    before, after = read_callback(body), read_callback(NOBODY.body(body))
    assert isinstance(before, CallbackSuccess)
    assert isinstance(after, CallbackSuccess)
    assert (after.amount_kes, after.receipt, after.transaction_date) == (
        before.amount_kes,
        before.receipt,
        before.transaction_date,
    )
    assert (after.phone, after.ids.checkout_request_id) == (f"254{ERASED}", f"ws_CO_03102025030409377{ERASED}")


def test_a_message_that_contradicts_itself_still_does() -> None:
    """Two payers in one message make it unreadable; the same digits for both would make it readable."""
    body = callback().replace(
        b'{"Name": "Balance"}', b'{"Name": "PhoneNumber", "Value": "0708374149"}, {"Name": "Balance"}'
    )
    assert isinstance(read_callback(body), CallbackUnreadable)
    assert isinstance(read_callback(NOBODY.body(body)), CallbackUnreadable)
    assert NUMBER.encode() not in NOBODY.body(body)


def test_a_c2b_message_loses_name_and_number_and_keeps_the_rest() -> None:
    body = (
        b'{"TransID":"RKTQDM7W6S","TransTime":"20191122063845","TransAmount":"10","BillRefNumber":"0708374149",'
        b'"MSISDN":"2547 ***** 149","FirstName":"JOHN","MiddleName":"","LastName":"DOE"}'
    )
    assert NOBODY.body(body) == (
        b'{"TransID":"RKTQDM7W6S","TransTime":"20191122063845","TransAmount":"10","BillRefNumber":"0012345678",'
        b'"MSISDN":"2540 ***** 678","FirstName":"erased","MiddleName":"","LastName":"erased"}'
    )


def test_bytes_that_nobody_can_read_are_searched_all_the_same() -> None:
    body = b"\xff\xfe not json 254708374149 \x00 {{{"
    assert NOBODY.body(body) == b"\xff\xfe not json 254012345678 \x00 {{{"


@given(
    st.text(alphabet='0708374149 254*"{}[]:,.\\uabWanjiku-+xX', max_size=200)
    | st.from_regex(r'\{"[A-Z]{1,5}":("?(\+?254|0)?708374149"?|708 ?374 ?149|[0-9]{1,9})\}', fullmatch=True)
    | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1") + NUMBER)
)
def test_whatever_arrives_loses_the_number_once_and_for_all(text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    once = NOBODY.body(body)
    assert NUMBER.encode() not in once
    assert NOBODY.body(once) == once
    assert type(read_callback(once)) is type(read_callback(body))


@given(
    st.sampled_from([0, "0", 1032, "SFC_IC0003", None]),
    st.sampled_from([254708374149, "0708374149", "2547*****149", None, 708374149, "alice@example.com", True]),
    st.sampled_from([f"ws_CO_03102025030409377{NUMBER}", NUMBER, f"{NUMBER}-{NUMBER}", "ws_CO_1", None]),
    st.sampled_from(["The service request is processed.", f"For {NUMBER}", "Alice Wanjiku"]),
)
def test_every_callback_is_read_as_before_but_for_the_person(
    code: object, phone: object, checkout: object, words: str
) -> None:
    body = callback(phone, ResultCode=code, CheckoutRequestID=checkout, ResultDesc=words)
    redacted = NOBODY.body(body)
    before, after = read_callback(body), read_callback(redacted)
    assert type(before) is type(after)
    assert receipts_seen(body) == receipts_seen(redacted)
    assert NUMBER.encode() not in redacted
    if not isinstance(before, CallbackUnreadable) and not isinstance(after, CallbackUnreadable):
        told = before.ids.checkout_request_id
        assert after.ids.checkout_request_id == (None if told is None else NOBODY.text(told))


@pytest.mark.parametrize(
    "part", [" " + "x" * 61 + "y", "-" + "x" * 60, "a", "7", "07", "7--", "x "], ids=lambda part: part[:4]
)
def test_no_message_takes_much_longer_than_another(part: str) -> None:
    """Strangers choose them: a person whose payment was flooded is exported and erased all the same."""

    def takes_s(text: str) -> float:
        began = time.process_time()
        NOBODY.body(text.encode())
        list(ADDRESS.finditer(text))
        return time.process_time() - began

    plain = min(takes_s("plain words " * 1300) for _ in range(3))
    assert min(takes_s(part * (16_000 // len(part))) for _ in range(3)) < 60 * plain


def test_the_payers_numbers_are_read_out_of_any_message() -> None:
    assert numbers_told(callback()) == {NUMBER}
    assert numbers_told(b'{"MSISDN":"0708374149","x":') == {NUMBER}
    assert numbers_told(callback("2547*****149")) == set()


# The same push, but for the digits -----------------------------------------------------------------------------------

STORED = Ids("5998-46a7", f"ws_CO_03102025030409377{ERASED}")


def test_an_erased_push_is_recognised_by_the_ids_safaricom_knows() -> None:
    told = Ids("5998-46a7", f"ws_CO_03102025030409377{NUMBER}")
    assert as_told(STORED, told, f"254{ERASED}") == told


@pytest.mark.parametrize(
    "told",
    [
        Ids("5998-46a8", f"ws_CO_03102025030409377{NUMBER}"),
        Ids("5998-46a7", f"ws_CO_03102025030409378{NUMBER}"),
        Ids("5998-46a7", f"ws_CO_03102025030409377{NUMBER}1"),
        Ids("5998-46a7", "ws_CO_0310202503040937770837414x"),
        None,
    ],
)
def test_another_push_is_not(told: Ids | None) -> None:
    assert as_told(STORED, told, f"254{ERASED}") == STORED


def test_ids_of_a_payment_that_was_not_erased_are_compared_to_the_letter() -> None:
    told = Ids("5998-46a7", "ws_CO_03102025030409377700000001")
    stored = Ids("5998-46a7", f"ws_CO_03102025030409377{NUMBER}")
    assert as_told(stored, told, f"254{NUMBER}") == stored
    assert is_erased(f"254{ERASED}")
    assert not is_erased(f"254{NUMBER}")
