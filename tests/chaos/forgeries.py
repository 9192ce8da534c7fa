"""What a forger may post to the callback function: every class of forgery, with as many variants as are wanted.

A forger who does not hold a payment's callback address knows everything else: ids, amount, phone, a receipt that looks
real. One who holds it (it leaked from a log or a proxy) has no money to show, so something in his story cannot fit.

Each class is a row of a table, or a function of a `Scene`, whose randomness is its own: one seed forges the same again.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import random
import re
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TypeAlias, TypeVar

One = TypeVar("One")


@dataclass(frozen=True)
class Target:
    """A payment, as a forger knows it."""

    transaction_id: str
    path: str
    """Its callback address."""
    merchant_request_id: str
    checkout_request_id: str
    phone: str
    amount: int
    receipt: str | None = None
    """Where it is paid."""


class AimsAt(StrEnum):
    """What the target has to be like for the forgery to mean anything."""

    OPEN = "a payment that is not paid: asked for, failed, in review, or with ids that only a callback would tell"
    ACCEPTED = "a payment that is not paid, whose ids Daraja gave us"
    LARGE = "a payment above CONFIRM_ABOVE_KES that is not paid"
    PAID = "a paid payment"


@dataclass(frozen=True)
class Scene:
    """One forger's moment."""

    target: Target
    other: Target
    """Another customer's payment, paid, of which the forger knows everything, its own address too."""
    third: Target
    """Another payment that is not paid."""
    randomness: random.Random

    def one_of(self, *choices: One) -> One:
        return self.randomness.choice(choices)

    def receipt(self) -> str:
        """One that nobody has, in the right form."""
        return "UKM" + "".join(self.randomness.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", k=7))

    def hex(self, digits: int) -> str:
        return f"{self.randomness.getrandbits(4 * digits):0{digits}x}"

    def told(self, **parts: str) -> bytes:
        """A success of the target; these parts are literal JSON, the rest is as it should be."""
        return told(self.target, self, **parts)


@dataclass(frozen=True)
class Forgery:
    """A request to the callback function."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


@dataclass(frozen=True)
class Kind:
    """A class of forgeries: what it aims at, and whether the callback address has leaked."""

    name: str
    forge: Callable[[Scene], Forgery]
    aims_at: AimsAt
    address_leaked: bool


FORGERIES: list[Kind] = []
Forge: TypeAlias = Callable[[Scene], str | bytes | Forgery]
"""Of an address alone: a perfect success is told to it. Of a body alone: it is sent to the right address."""


def forgery(aims_at: AimsAt, *, address_leaked: bool) -> Callable[[Forge], Forge]:
    """A class that is called as the function."""

    def keep(forge: Forge) -> Forge:
        FORGERIES.append(Kind(forge.__name__, partial(whole, forge), aims_at, address_leaked))
        return forge

    return keep


def whole(forge: Forge, scene: Scene) -> Forgery:
    match forge(scene):
        case str() as path:
            return Forgery(path, scene.told())
        case bytes() as body:
            return Forgery(scene.target.path, body)
        case Forgery() as forged:
            return forged


stranger = forgery(AimsAt.OPEN, address_leaked=False)
leaked = forgery(AimsAt.OPEN, address_leaked=True)


def told(
    target: Target,
    scene: Scene,
    *,
    code: str = "0",
    amount: str | None = None,
    receipt: str | None = None,
    merchant: str | None = None,
    checkout: str | None = None,
    items: str | None = None,
    more: str = "",
) -> bytes:
    """A callback's body; every part that is given is literal JSON, the rest is as it should be."""
    if items is None:
        items = (
            f'{{"Name":"Amount","Value":{amount or target.amount}}},'
            f'{{"Name":"MpesaReceiptNumber","Value":{receipt or quoted(scene.receipt())}}},'
            f'{{"Name":"TransactionDate","Value":20261122153000}},{{"Name":"PhoneNumber","Value":{target.phone}}}'
        )
    text = (
        f'{{"Body":{{"stkCallback":{{"MerchantRequestID":{merchant or quoted(target.merchant_request_id)},'
        f'"CheckoutRequestID":{checkout or quoted(target.checkout_request_id)},"ResultCode":{code},'
        f'"ResultDesc":"The service request is processed successfully."{more},'
        f'"CallbackMetadata":{{"Item":[{items}]}}}}}}}}'
    )
    return text.encode("utf-8", "surrogatepass")


def failing(target: Target, code: str) -> bytes:
    """A failure has no metadata."""
    ids = f'"MerchantRequestID":{quoted(target.merchant_request_id)}'
    ids += f',"CheckoutRequestID":{quoted(target.checkout_request_id)}'
    return f'{{"Body":{{"stkCallback":{{{ids},"ResultCode":{code},"ResultDesc":"No"}}}}}}'.encode()


def quoted(text: str) -> str:
    return json.dumps(text)


def address(target: Target) -> tuple[str, str, str]:
    """Prefix, transaction id and token."""
    prefix, transaction_id, token = target.path.rsplit("/", 2)
    return prefix, transaction_id, token


# Without the address --------------------------------------------------------------------------------------------------

ADDRESSES: dict[str, tuple[str, str]] = {
    "no_token": (
        "The token is left out, empty, or stands where it is not looked for.",
        "PREFIX/ID | PREFIX/ID/ | PREFIX/ID// | PREFIX | PREFIX/ | PREFIX//TOKEN | PREFIX/TOKEN | PREFIX/ID?token=TOKEN"
        " | PREFIX/ID/null | PREFIX/ID/undefined",
    ),
    "another_payments_token": (
        "A customer knows the token of their own payment, and tries it on others, or on one that does not exist.",
        "PREFIX/ID/OTHER | PREFIX/NOBODY/OTHER | PREFIX/ID/OTHER/HIS | PREFIX/HIS/OTHER/ID | PREFIX/HIS/OTHER/NOBODY"
        " | PREFIX/ID/HIS/OTHER",
    ),
    "a_path_that_only_looks_right": (
        "The right address, and something about it that a router or a regular expression may overlook.",
        "RIGHT/ | RIGHT\n | RIGHT\x00 | RIGHT  | RIGHT%00 | RIGHT%0a | RIGHT%20 | RIGHT;v=1 | RIGHT?v=1 | RIGHT#v"
        " | RIGHT/. | RIGHT/../TOKEN | RIGHT.json | /RIGHT | CUT | /xRIGHT | http://shop.exampleRIGHT"
        " | PREFIX//ID/TOKEN | PREFIX/./ID/TOKEN | PREFIX/x/../ID/TOKEN | PREFIX%2fID%2fTOKEN | PREFIX/ID%2fTOKEN"
        " | PREFIX/ID\\TOKEN | PREFIX/CODEDID/TOKEN | PREFIX/ID/CODEDTOKEN | PREFIX/PLAIN/TOKEN | PREFIX/{ID}/TOKEN"
        " | PREFIX/ID/0xTOKEN | PREFIX/TOKEN/ID | PREFIX/HIS/OTHER/../../ID/TOKEN"
        " | /.netlify/functions/callback/ID/TOKEN | /api/mpesa/status/ID/TOKEN | /api/mpesa/stkpush/ID/TOKEN",
    ),
    "upper_case": (
        "The right address in other letters: all of it, one part, or one letter.",
        "PREFIX/ID/LOUD | PREFIX/ID/ONE | PREFIX/BIG/TOKEN | PREFIX/BIG/LOUD | UPPER/ID/TOKEN | TITLE/ID/TOKEN",
    ),
}
"""What is tried, and the paths, in which words stand for the parts of the right address and of another payment's."""


def addressed(paths: list[str], scene: Scene) -> Forgery:
    prefix, transaction_id, token = address(scene.target)
    _, other_id, other_token = address(scene.other)
    place = scene.one_of(*(place for place, sign in enumerate(token) if sign.isalpha()))
    words = {
        "RIGHT": scene.target.path,
        "CUT": scene.target.path[1:],
        "PREFIX": prefix,
        "UPPER": prefix.upper(),
        "TITLE": prefix.title(),
        "ID": transaction_id,
        "PLAIN": transaction_id.replace("-", ""),
        "BIG": transaction_id.upper() if transaction_id.upper() != transaction_id else "A" + transaction_id[1:],
        "NOBODY": str(uuid.UUID(int=scene.randomness.getrandbits(128), version=4)),
        "TOKEN": token,
        "LOUD": token.upper(),
        "ONE": token[:place] + token[place].upper() + token[place + 1 :],
        "HIS": other_id,
        "OTHER": other_token,
        "CODEDID": f"%{ord(transaction_id[0]):02x}{transaction_id[1:]}",
        "CODEDTOKEN": f"%{ord(token[0]):02x}{token[1:]}",
    }
    path = re.sub("[A-Z]+", lambda word: words[word[0]], scene.one_of(*paths))
    return Forgery(path, scene.told(), {"authorization": f"Bearer {token}", "x-callback-token": token})


for _name, (_, _paths) in ADDRESSES.items():
    FORGERIES.append(Kind(_name, partial(addressed, _paths.split(" | ")), AimsAt.OPEN, address_leaked=False))


@stranger
def a_wrong_token(scene: Scene) -> str:
    """64 hex digits that are not the token: random, all the same, or the token with one digit changed."""
    prefix, transaction_id, token = address(scene.target)
    place = scene.randomness.randrange(64)
    near = token[:place] + ("0" if token[place] != "0" else "1") + token[place + 1 :]
    return f"{prefix}/{transaction_id}/{scene.one_of(scene.hex(64), near, near, '0' * 64, 'f' * 64, token[::-1])}"


@stranger
def a_truncated_or_longer_token(scene: Scene) -> str:
    """A part of the token, from either end, or all of it and more: a comparison of prefixes would take it."""
    prefix, transaction_id, token = address(scene.target)
    length = scene.randomness.randrange(1, 64)
    more = scene.hex(length)
    parts = (token[:length], token[length:], token + more, more + token, token + token, token[:63], token[1:])
    return f"{prefix}/{transaction_id}/{scene.one_of(*parts)}"


@stranger
def a_token_of_another_secret(scene: Scene) -> str:
    """Signed with a secret that is retired, published, guessed or empty, sometimes in another way."""
    prefix, transaction_id, _ = address(scene.target)
    secret = scene.one_of("", "secret", "lipa", "lipa-dev-secret", "last-years-secret", "174379", scene.receipt())
    token = hmac.new(secret.encode(), transaction_id.encode(), "sha256").hexdigest()
    if scene.randomness.randrange(4) == 0:
        message = scene.one_of(transaction_id, scene.target.path, scene.target.checkout_request_id)
        token = scene.one_of(
            hmac.new(secret.encode(), message.encode(), "sha3_256").hexdigest(),
            hmac.new(message.encode(), secret.encode(), "sha256").hexdigest(),
            hashlib.sha256((secret + message).encode()).hexdigest(),
        )
    return f"{prefix}/{transaction_id}/{token}"


@stranger
def an_address_in_other_digits(scene: Scene) -> str:
    """Digits and letters of other scripts that mean, or look, the same."""
    prefix, transaction_id, token = address(scene.target)
    zero = scene.one_of(0x0660, 0x06F0, 0x0966, 0xFF10, 0x1D7CE)
    digits = {ord(str(digit)): chr(zero + digit) for digit in range(10)}
    swapped = scene.one_of(digits, {ord("a"): "\u0430", ord("c"): "\u0441", ord("e"): "\u0435"})
    changed, kept = scene.one_of((transaction_id.translate(swapped), token), (transaction_id, token.translate(swapped)))
    return f"{prefix}/{changed}/{kept}"


@stranger
def forged_address_headers(scene: Scene) -> Forgery:
    """Headers that claim to be Safaricom, another path, or another method, with a wrong token."""
    prefix, transaction_id, token = address(scene.target)
    safaricom = scene.one_of("196.201.214.200", "196.201.213.114", "196.201.212.127", "127.0.0.1", "::1")
    here = ("x-original-url", "x-rewrite-url", "x-forwarded-prefix", "x-nf-original-path")
    headers = {
        **dict.fromkeys(("x-real-ip", "x-nf-client-connection-ip", "x-client-ip", "true-client-ip"), safaricom),
        **dict.fromkeys(here, scene.target.path),
        "x-forwarded-for": f"{safaricom}, 10.0.0.1",
        "forwarded": f"for={safaricom}",
        "x-http-method-override": "POST",
        "businessshortcode": "174379",
        "user-agent": "ReactorNetty/1.2.9",
        "host": "sandbox.safaricom.co.ke",
        "referer": f"https://shop.example{scene.target.path}",
    }
    chosen = dict(scene.randomness.sample(sorted(headers.items()), k=scene.randomness.randrange(4, len(headers) + 1)))
    wrong = scene.one_of(f"/{scene.hex(64)}", "", f"/{token[:-1]}")
    return Forgery(f"{prefix}/{transaction_id}{wrong}", scene.told(), chosen)


@stranger
def another_method(scene: Scene) -> Forgery:
    """The right address and body by another method, with headers that claim it was a POST."""
    method = scene.one_of("GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "POSTS", "", "P\u041eST")
    claims = {"x-http-method-override": "POST", "origin": "https://shop.example"}
    return Forgery(scene.target.path, scene.told(), claims, method)


@stranger
def more_than_a_callback_can_hold(scene: Scene) -> bytes:
    """The right address and a body that only begins as a callback: padded beyond any limit, inside or after it."""
    padding = scene.randomness.randrange(16 * 1024, 64 * 1024)
    return scene.one_of(scene.told() + b" " * padding, scene.told(more=f',"Padding":"{"x" * padding}"'))


@forgery(AimsAt.PAID, address_leaked=False)
def a_failure_of_what_is_paid_without_its_address(scene: Scene) -> Forgery:
    """Somebody wants an order cancelled that was paid for, and does not hold its address."""
    prefix, transaction_id, token = address(scene.target)
    wrong = scene.one_of(scene.hex(64), token.upper() + "A", token[:-1], address(scene.other)[2])
    return Forgery(f"{prefix}/{transaction_id}/{wrong}", failing(scene.target, scene.one_of("1032", "1", "1037")))


# With the address: whose payment it is --------------------------------------------------------------------------------


@forgery(AimsAt.ACCEPTED, address_leaked=True)
def another_payments_ids(scene: Scene) -> bytes:
    """One or both ids of a payment that was paid, of one that was not, of none at all, or each other's."""
    target, other = scene.target, scene.one_of(scene.other, scene.third)
    invented = quoted(f"ws_CO_22112026{scene.randomness.randrange(10**9):09d}{target.phone[-9:]}")
    right = (quoted(target.merchant_request_id), quoted(target.checkout_request_id))
    wrong = (quoted(other.merchant_request_id), quoted(other.checkout_request_id))
    mixed = ((right[0], wrong[1]), (wrong[0], right[1]), (right[1], right[0]), (right[0], right[0]))
    merchant, checkout = scene.one_of(wrong, *mixed, (right[0], invented), (invented, right[1]))
    return scene.told(merchant=merchant, checkout=checkout)


@leaked
def the_ids_of_a_known_payment(scene: Scene) -> bytes:
    """Both ids of another payment, also where the target has none yet that could disagree."""
    other = scene.one_of(scene.other, scene.third)
    return scene.told(merchant=quoted(other.merchant_request_id), checkout=quoted(other.checkout_request_id))


@forgery(AimsAt.ACCEPTED, address_leaked=True)
def ids_that_almost_agree(scene: Scene) -> bytes:
    """The right ids as other types, in other letters, with blanks around them, cut, or left out."""
    ids = {"merchant": scene.target.merchant_request_id, "checkout": scene.target.checkout_request_id}
    name, right = scene.one_of(*ids.items())
    foreign = right.replace("0", "\u0660").replace("1", "\u0661").replace("2", "\u0662") + "\u200b"
    texts = ("", right.swapcase(), f" {right}", f"{right}\n", f"{right}\x00", right[:-1], right + "0", "%", foreign)
    others = ("null", "0", "true", f"[{quoted(right)}]", f'{{"id":{quoted(right)}}}', quoted("' OR '1'='1"))
    return scene.told(**{name: scene.one_of(*map(quoted, texts), *others)})


@leaked
def another_payments_callback(scene: Scene) -> bytes:
    """A callback that was real, word for word, sent to another payment's address."""
    return told(scene.other, scene, receipt=quoted(scene.other.receipt or ""))


# With the address: how much -------------------------------------------------------------------------------------------


@leaked
def an_inflated_amount(scene: Scene) -> bytes:
    """More than was asked."""
    more = scene.one_of(1, 2, 10, scene.target.amount, 249_000, 10**7, scene.randomness.randrange(1, 10**6))
    return scene.told(amount=str(scene.target.amount + more))


@leaked
def too_small_an_amount(scene: Scene) -> bytes:
    """Less than was asked: one shilling for everything."""
    less = scene.one_of(1, scene.target.amount - 1, scene.randomness.randrange(1, scene.target.amount))
    return scene.told(amount=str(scene.target.amount - less))


@leaked
def a_huge_number(scene: Scene) -> bytes:
    """Integers and exponents that overflow a column, a float, or Python's own limit of digits."""
    amount, digits = scene.target.amount, scene.one_of(9, 10, 20, 40, 309, 4299, 4300, 4301, 9000)
    exponents = (10**digits, -(10**digits)) if digits <= 40 else (digits, -digits)
    long = ("1" + "0" * digits, "9" * digits, f"{amount}{'0' * digits}e-{digits + 1}", f"{amount}.{'0' * digits}1")
    over = (str(2**32 + amount), str(2**64 + amount), f"{amount}e{digits}", f"{amount}e-{digits}")
    return scene.told(amount=scene.one_of(*long, *over, *(f"{amount}e{each}" for each in exponents)))


@leaked
def two_amounts(scene: Scene) -> bytes:
    """The right amount and another one; the first or the last of two could win."""
    amount, wrong = scene.target.amount, scene.randomness.randrange(1, scene.target.amount)
    other = scene.one_of(str(wrong), f'"{amount}"', "null", f"{amount}.5", f"[{amount}]")
    amounts = [f'{{"Name":"Amount","Value":{amount}}}', f'{{"Name":"Amount","Value":{other}}}']
    scene.randomness.shuffle(amounts)
    return scene.told(
        items=f'{amounts[0]},{{"Name":"MpesaReceiptNumber","Value":{quoted(scene.receipt())}}},{amounts[1]}'
    )


# With the address: one part, spelled in another way -------------------------------------------------------------------

SPELLINGS: dict[str, tuple[str, str, str]] = {
    "a_negative_amount": (
        "Below zero, nothing, or nothing with a sign.",
        "amount",
        "-AMOUNT | -AMOUNT.00 | 0 | -0 | -0.0 | 0.00 | -1 | -AMOUNTe0 | -1e50",
    ),
    "a_fraction_of_a_shilling_off": (
        "What rounds, truncates or floats to the right amount.",
        "amount",
        "AMOUNT.5 | AMOUNT.01 | AMOUNT.001 | AMOUNT.0000000000000000000000001 | AMOUNT.4999999999999999999999"
        " | LESS.99 | LESS.999999999999999999999999 | LESS.995 | AMOUNT.07 | AMOUNT.93",
    ),
    "not_a_number": (
        "NaN and the infinities, which equal nothing or everything, depending on who compares.",
        "amount",
        'NaN | -NaN | nan | Infinity | -Infinity | inf | "NaN" | "Infinity" | 1e400 | -1e400 | 1e999999999 | sNaN',
    ),
    "an_amount_as_text": (
        "The right amount, as anything but a JSON number.",
        "amount",
        r'"AMOUNT" | "AMOUNT.00" | " AMOUNT " | "KES AMOUNT" | "0AMOUNT" | "AMOUNT\u0000" | [AMOUNT] | {"Value":AMOUNT}'
        ' | true | null | [] | {} | ["AMOUNT"] | "0xAMOUNT" | "AMOUNT,00"',
    ),
    "a_result_code_that_is_almost_zero": (
        "What is false, empty, or equal to zero where types are not told apart.",
        "code",
        r'false | "" | "00" | 0.0 | 0.00 | -0.0 | 0e0 | 0E5 | [0] | [] | {} | null | " 0" | "0 " | "0\n" | "0\u0000"'
        r' | "+0" | "-0" | "0x0" | "0.0" | "false" | "null" | "O" | "\u0660" | "\uff10" | {"code":0} | ["0"] | true'
        " | 000",
    ),
    "no_receipt": (
        "Success without a receipt, with an empty one, or with something that is none.",
        "receipt",
        r'null | "" | "   " | 0 | true | [] | {} | "\u0000" | ["UKM1234567"] | "UKM 12345" | "\u2603"',
    ),
    "a_reused_receipt": (
        "The receipt of money that paid for something else.",
        "receipt",
        r'"USED" | " USED" | "USED " | "\tUSED\r\n"',
    ),
    "success_told_beside_another_code": (
        "A code that is not success, in a body that is success in every other way.",
        "code",
        '1 | 1032 | "1032" | 1037 | 2001 | 17 | 4999 | "4999" | -1 | 9999 | "SFC_IC0003" | 200'
        ' | 1,"ResponseCode":"0" | 1032,"resultCode":0 | 1037,"ResultCode ":0 | 1,"Result":{"ResultCode":0}',
    ),
    "metadata_of_another_form": (
        "Amount and receipt where they are not looked for, or under almost their names.",
        "items",
        '{"Amount":AMOUNT},{"MpesaReceiptNumber":"NEW"}'
        ' | {"name":"Amount","value":AMOUNT},{"name":"MpesaReceiptNumber","value":"NEW"}'
        ' | {"Name":"amount","Value":AMOUNT},{"Name":"mpesaReceiptNumber","Value":"NEW"}'
        ' | {"Name":"Amount ","Value":AMOUNT},{"Name":"MpesaReceiptNumber ","Value":"NEW"}'
        ' | [{"Name":"Amount","Value":AMOUNT},{"Name":"MpesaReceiptNumber","Value":"NEW"}]'
        ' | {"Key":"Amount","Value":AMOUNT},{"Key":"MpesaReceiptNumber","Value":"NEW"}'
        ' | {"Name":["Amount"],"Value":AMOUNT},{"Name":{},"Value":"NEW"}'
        ' | "Amount",AMOUNT,"MpesaReceiptNumber","NEW" | null,AMOUNT,"NEW" | {"Name":"Amount","Value":AMOUNT} | ',
    ),
}
"""A class of forgeries: what is tried, the part of the body, and its values as JSON."""


def spelled(part: str, values: list[str], scene: Scene) -> Forgery:
    words = {"AMOUNT": scene.target.amount, "LESS": scene.target.amount - 1, "USED": scene.other.receipt}
    value = scene.one_of(*values).replace("NEW", scene.receipt())
    for word, meant in words.items():
        value = value.replace(word, str(meant))
    # the moment differs from one forgery to the next, and so does everything that is not forged
    moment = f',"Moment":{scene.randomness.getrandbits(40)}'
    return Forgery(scene.target.path, scene.told(**{part: value}, more=moment))


for _name, (_, _part, _values) in SPELLINGS.items():
    FORGERIES.append(Kind(_name, partial(spelled, _part, _values.split(" | ")), AimsAt.OPEN, address_leaked=True))


@leaked
def no_result_code(scene: Scene) -> bytes:
    """The code is missing, or has almost its name."""
    names = ("Resultcode", "resultCode", "RESULTCODE", "Result Code", "ResponseCode", "ResultCode\u200b", "Code")
    return scene.told().replace(b'"ResultCode"', quoted(scene.one_of(*names)).encode())


@leaked
def digits_of_other_scripts(scene: Scene) -> bytes:
    """Numbers that are numbers to a person, and to some readers."""
    zero = scene.one_of(0x0660, 0x06F0, 0x0966, 0xFF10)
    foreign = "".join(chr(zero + int(digit)) for digit in str(scene.target.amount))
    amounts = [{"amount": foreign}, {"amount": quoted(foreign)}]
    return scene.told(**scene.one_of(*amounts, {"code": chr(zero)}, {"code": quoted(chr(zero))}))


# With the address: what kind of message -------------------------------------------------------------------------------


@leaked
def a_key_that_stands_twice(scene: Scene) -> bytes:
    """JSON that one reader takes for a failure and the next for a success."""
    name, twice = scene.one_of(
        ('"ResultCode":0', '"ResultCode":1032,"ResultCode":0'),
        ('"ResultCode":0', '"ResultCode":0,"ResultCode":1032'),
        ('"ResultCode":0', '"ResultCode":0,"Result\\u0043ode":0'),
        ('"Value":', '"Value":1,"Value":'),
        ('"Name":"Amount"', '"Name":"Balance","Name":"Amount"'),
        ('"Body":{', '"Body":{},"Body":{'),
        ('"stkCallback":{', '"stkCallback":{},"stkCallback":{'),
        ('"MerchantRequestID":', '"MerchantRequestID":"x","MerchantRequestID":'),
        ('"CheckoutRequestID":', '"CheckoutRequestID":"x","CheckoutRequestID":'),
        ('"CallbackMetadata":{', '"CallbackMetadata":{},"CallbackMetadata":{'),
        ('"Item":[', '"Item":[],"Item":['),
    )
    return scene.told().decode().replace(name, twice, 1).encode()


@leaked
def a_message_of_another_api(scene: Scene) -> bytes:
    """C2B confirmations, B2C results, answers to pushes and queries: all say success, none is an STK callback."""
    target, receipt = scene.target, scene.receipt()
    ids = {"MerchantRequestID": target.merchant_request_id, "CheckoutRequestID": target.checkout_request_id}
    told = {**ids, "ResultCode": 0, "ResultDesc": "The service request is processed successfully."}
    c2b = {
        "TransactionType": "Pay Bill",
        "TransID": receipt,
        "TransTime": "20261122153000",
        "TransAmount": f"{target.amount}.00",
        "BusinessShortCode": "174379",
        "BillRefNumber": target.transaction_id,
        "MSISDN": target.phone,
    }
    parameters = [{"Key": "TransactionAmount", "Value": target.amount}, {"Key": "TransactionReceipt", "Value": receipt}]
    b2c = {"ResultType": 0, **told, "TransactionID": receipt, "ResultParameters": {"ResultParameter": parameters}}
    messages: list[object] = [
        c2b,
        {**c2b, **told},
        {"Result": b2c},
        {"ResponseCode": "0", "ResponseDescription": "Success", **told, "ResultCode": "0"},
        {"Body": c2b},
        {"Body": {"stkcallback": told}},
        {"Body": {"c2bCallback": told}},
        {**told, "Amount": target.amount, "MpesaReceiptNumber": receipt},
        {"Body": [{"stkCallback": told}]},
        {"stkCallback": told},
    ]
    return json.dumps(scene.one_of(*messages)).encode()


@leaked
def bytes_that_are_no_text(scene: Scene) -> bytes:
    """NULs, lone surrogates, other encodings, broken UTF-8, nothing at all."""
    right = scene.told()
    place = scene.randomness.randrange(len(right))
    inside = [right[:place] + wrong + right[place:] for wrong in (b"\x00", b"\xff", b"\xed\xa0\x80")]
    around = [right[:place], right + b"\x00", right + right, right + b"}", b"\xef\xbb\xbf\xef\xbb\xbf" + right]
    wrapped = [b"[" + right + b"]", quoted(right.decode()).encode(), b"payload=" + right]
    encoded = [right.decode().encode("utf-16"), right.decode().encode("utf-32"), scene.randomness.randbytes(435)]
    receipts = [scene.told(receipt='"UKM\\u0000ABC"'), scene.told(receipt='"\\ud800"')]
    nothing = [b"", b"\x00", b"null", b"0", b'"0"']
    return scene.one_of(*inside, *around, *wrapped, *encoded, *receipts, *nothing)


@leaked
def deep_nesting(scene: Scene) -> bytes:
    """Thousands of brackets, before, around or inside a body that says success."""
    right, deep = scene.told(), scene.one_of(200, 1_000, 3_000, 7_500)
    return scene.one_of(
        b"[" * deep + right + b"]" * deep,
        b"[" * deep,
        b"[" * (2 * deep),
        b'[{"Body":' * (deep // 4),
        b'{"Body":' * (deep // 4) + right + b"}" * (deep // 4),
        scene.told(amount="[" * deep + str(scene.target.amount) + "]" * deep),
        scene.told(code="[" * deep + "0" + "]" * deep),
    )


@leaked
def compressed(scene: Scene) -> Forgery:
    """A right body, compressed: whoever unpacks it believes it, or is blown up by it."""
    right, raw = scene.told(), zlib.compressobj(wbits=-15)
    zipped = gzip.compress(right, mtime=0)
    body, encoding = scene.one_of(
        (zipped, "gzip"),
        (gzip.compress(zipped, mtime=0), "gzip, gzip"),
        (zlib.compress(right), "deflate"),
        (raw.compress(right) + raw.flush(), "deflate"),
        (gzip.compress(right + b" " * scene.randomness.randrange(10**5, 10**6), mtime=0), "gzip"),  # a bomb
        (zipped[:-4], "gzip"),
        (zipped, "identity"),
    )
    return Forgery(scene.target.path, body, {"content-encoding": encoding})


@forgery(AimsAt.LARGE, address_leaked=True)
def a_perfect_success_above_the_threshold(scene: Scene) -> bytes:
    """Everything fits, the address leaked, and no money moved. Daraja is asked first, and knows nothing of it."""
    amount = str(scene.target.amount) + scene.one_of("", ".0", ".00")
    return scene.told(code=scene.one_of("0", '"0"'), amount=amount)


# Against what is paid -------------------------------------------------------------------------------------------------


@forgery(AimsAt.PAID, address_leaked=True)
def a_failure_of_what_is_paid(scene: Scene) -> bytes:
    """Somebody wants an order cancelled that was paid for."""
    code = scene.one_of(1, 17, 26, 1019, 1025, 1032, 1036, 1037, 2001, 9999, 7, "1032", "SFC_IC0003")
    return failing(scene.target, json.dumps(code))


@forgery(AimsAt.PAID, address_leaked=True)
def another_success_of_what_is_paid(scene: Scene) -> bytes:
    """A second receipt, another amount, another payment's receipt or ids: none may replace what is on file."""
    target, other = scene.target, scene.other
    merchant, checkout = quoted(other.merchant_request_id), quoted(other.checkout_request_id)
    changes: list[dict[str, str]] = [
        {},
        *({"receipt": receipt} for receipt in (quoted(other.receipt or ""), quoted(target.receipt or ""), "null")),
        *({"amount": amount} for amount in (str(target.amount + 1), "1")),
        {"checkout": checkout},
        {"merchant": merchant, "checkout": checkout},
        {"code": "false"},
    ]
    return scene.told(**scene.one_of(*changes))
