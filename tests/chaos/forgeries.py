"""What a forger may post to the callback function: every class of forgery, with as many variants as are wanted.

A forger who does not hold a payment's callback address knows everything else: ids, amount, phone, a receipt that looks
real. One who holds it (it leaked from a log or a proxy) has no money to show, so something in his story cannot fit.

Each class is a function of a `Scene`, which holds its own randomness: the same seed forges the same. Its docstring says
what is tried. What is told in `FORGERIES` about each: whom it aims at, and whether the address has leaked.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import random
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial


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

    def one_of(self, *choices: str) -> str:
        return self.randomness.choice(choices)

    def receipt(self) -> str:
        """One that nobody has, in the right form."""
        return "UKM" + "".join(self.randomness.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", k=7))


@dataclass(frozen=True)
class Forgery:
    """A request to the callback function."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


@dataclass(frozen=True)
class Kind:
    """A class of forgeries."""

    name: str
    forge: Callable[[Scene], Forgery]
    aims_at: AimsAt
    address_leaked: bool


FORGERIES: list[Kind] = []


def forgery(
    aims_at: AimsAt, *, address_leaked: bool
) -> Callable[[Callable[[Scene], Forgery]], Callable[[Scene], Forgery]]:
    def keep(forge: Callable[[Scene], Forgery]) -> Callable[[Scene], Forgery]:
        FORGERIES.append(Kind(forge.__name__, forge, aims_at, address_leaked))
        return forge

    return keep


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


@forgery(AimsAt.OPEN, address_leaked=False)
def a_wrong_token(scene: Scene) -> Forgery:
    """64 hex digits that are not the token: random, all the same, or the token with one digit changed."""
    prefix, transaction_id, token = address(scene.target)
    place = scene.randomness.randrange(64)
    near = token[:place] + ("0" if token[place] != "0" else "1") + token[place + 1 :]
    wrong = scene.one_of(f"{scene.randomness.getrandbits(256):064x}", near, near, "0" * 64, "f" * 64, token[::-1])
    return Forgery(f"{prefix}/{transaction_id}/{wrong}", told(scene.target, scene))


@forgery(AimsAt.OPEN, address_leaked=False)
def no_token(scene: Scene) -> Forgery:
    """The token is left out, empty, or stands where it is not looked for."""
    prefix, transaction_id, token = address(scene.target)
    path = scene.one_of(
        f"{prefix}/{transaction_id}",
        f"{prefix}/{transaction_id}/",
        f"{prefix}/{transaction_id}//",
        prefix,
        f"{prefix}/",
        f"{prefix}//{token}",
        f"{prefix}/{token}",
        f"{prefix}/{transaction_id}?token={token}",
        f"{prefix}/{transaction_id}/null",
        f"{prefix}/{transaction_id}/undefined",
    )
    return Forgery(path, told(scene.target, scene), {"authorization": f"Bearer {token}", "x-callback-token": token})


@forgery(AimsAt.OPEN, address_leaked=False)
def a_truncated_or_longer_token(scene: Scene) -> Forgery:
    """A part of the token, from either end, or all of it and more: a comparison of prefixes would take it."""
    prefix, transaction_id, token = address(scene.target)
    length = scene.randomness.randrange(1, 64)
    more = f"{scene.randomness.getrandbits(4 * length):0{length}x}"
    wrong = scene.one_of(
        token[:length], token[length:], token + more, more + token, token + token, token[:63], token[1:]
    )
    return Forgery(f"{prefix}/{transaction_id}/{wrong}", told(scene.target, scene))


@forgery(AimsAt.OPEN, address_leaked=False)
def upper_case(scene: Scene) -> Forgery:
    """The right address in other letters: all of it, one part, or one letter."""
    prefix, transaction_id, token = address(scene.target)
    letters = [place for place, sign in enumerate(token) if sign.isalpha()]
    place = scene.randomness.choice(letters)
    one = token[:place] + token[place].upper() + token[place + 1 :]
    path = scene.one_of(
        f"{prefix}/{transaction_id}/{token.upper()}",
        f"{prefix}/{transaction_id}/{one}",
        f"{prefix}/{_upper(transaction_id)}/{token}",
        f"{prefix}/{_upper(transaction_id)}/{token.upper()}",
        f"{prefix.upper()}/{transaction_id}/{token}",
        f"{prefix.title()}/{transaction_id}/{token}",
    )
    return Forgery(path, told(scene.target, scene))


def _upper(transaction_id: str) -> str:
    """Always another text: an id without a letter gets one."""
    return transaction_id.upper() if transaction_id.upper() != transaction_id else "A" + transaction_id[1:]


@forgery(AimsAt.OPEN, address_leaked=False)
def another_payments_token(scene: Scene) -> Forgery:
    """A customer knows the token of their own payment, and tries it on others, or on one that does not exist."""
    prefix, transaction_id, _ = address(scene.target)
    _, other_id, other_token = address(scene.other)
    wanted = scene.one_of(
        transaction_id, transaction_id, str(uuid.UUID(int=scene.randomness.getrandbits(128), version=4))
    )
    path = scene.one_of(
        f"{prefix}/{wanted}/{other_token}",
        f"{prefix}/{wanted}/{other_token}/{other_id}",
        f"{prefix}/{other_id}/{other_token}/{wanted}",
        f"{prefix}/{wanted}/{other_id}/{other_token}",
    )
    return Forgery(path, told(scene.target, scene))


@forgery(AimsAt.OPEN, address_leaked=False)
def a_token_of_another_secret(scene: Scene) -> Forgery:
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
    return Forgery(f"{prefix}/{transaction_id}/{token}", told(scene.target, scene))


@forgery(AimsAt.OPEN, address_leaked=False)
def a_path_that_only_looks_right(scene: Scene) -> Forgery:
    """The right address, and something before, after or between that a router or a regular expression may overlook."""
    prefix, transaction_id, token = address(scene.target)
    right = f"{prefix}/{transaction_id}/{token}"
    _, other_id, other_token = address(scene.other)
    path = scene.one_of(
        right + "/",
        right + "\n",
        right + "\x00",
        right + " ",
        right + "%00",
        right + "%0a",
        right + "%20",
        right + ";v=1",
        right + "?v=1",
        right + "#v",
        right + "/.",
        right + "/../" + token,
        right + ".json",
        "/" + right,
        right[1:],
        "/x" + right,
        "http://shop.example" + right,
        f"{prefix}//{transaction_id}/{token}",
        f"{prefix}/./{transaction_id}/{token}",
        f"{prefix}/x/../{transaction_id}/{token}",
        f"{prefix}%2F{transaction_id}%2F{token}",
        f"{prefix}/{transaction_id}%2F{token}",
        f"{prefix}/{transaction_id}\\{token}",
        f"{prefix}/%{ord(transaction_id[0]):02x}{transaction_id[1:]}/{token}",
        f"{prefix}/{transaction_id}/%{ord(token[0]):02x}{token[1:]}",
        f"{prefix}/{transaction_id.replace('-', '')}/{token}",
        f"{prefix}/{{{transaction_id}}}/{token}",
        f"{prefix}/{transaction_id}/0x{token}",
        f"{prefix}/{token}/{transaction_id}",
        f"{prefix}/{other_id}/{other_token}/../../{transaction_id}/{token}",
        f"/.netlify/functions/callback/{transaction_id}/{token}",
        f"/api/mpesa/status/{transaction_id}/{token}",
        f"/api/mpesa/stkpush/{transaction_id}/{token}",
    )
    return Forgery(path, told(scene.target, scene))


@forgery(AimsAt.OPEN, address_leaked=False)
def an_address_in_other_digits(scene: Scene) -> Forgery:
    """Digits and letters of other scripts that mean, or look, the same."""
    prefix, transaction_id, token = address(scene.target)
    zero = scene.randomness.choice([0x0660, 0x06F0, 0x0966, 0xFF10, 0x1D7CE])
    swapped = {ord(str(digit)): chr(zero + digit) for digit in range(10)}
    if scene.randomness.randrange(2):
        swapped = {ord("a"): "\u0430", ord("c"): "\u0441", ord("e"): "\u0435"}
    parts = [(transaction_id.translate(swapped), token), (transaction_id, token.translate(swapped))]
    changed, kept = scene.randomness.choice(parts)
    return Forgery(f"{prefix}/{changed}/{kept}", told(scene.target, scene))


@forgery(AimsAt.OPEN, address_leaked=False)
def forged_address_headers(scene: Scene) -> Forgery:
    """Headers that claim to be Safaricom, another path, or another method, with a wrong token."""
    prefix, transaction_id, token = address(scene.target)
    safaricom = scene.one_of("196.201.214.200", "196.201.213.114", "196.201.212.127", "127.0.0.1", "::1")
    headers = {
        "x-forwarded-for": f"{safaricom}, 10.0.0.1",
        "x-real-ip": safaricom,
        "x-nf-client-connection-ip": safaricom,
        "x-client-ip": safaricom,
        "forwarded": f"for={safaricom}",
        "true-client-ip": safaricom,
        "x-original-url": scene.target.path,
        "x-rewrite-url": scene.target.path,
        "x-forwarded-prefix": scene.target.path,
        "x-http-method-override": "POST",
        "x-nf-original-path": scene.target.path,
        "businessshortcode": "174379",
        "user-agent": "ReactorNetty/1.2.9",
        "host": "sandbox.safaricom.co.ke",
        "referer": f"https://shop.example{scene.target.path}",
    }
    chosen = dict(scene.randomness.sample(sorted(headers.items()), k=scene.randomness.randrange(4, len(headers) + 1)))
    wrong = scene.one_of(f"/{scene.randomness.getrandbits(256):064x}", "", f"/{token[:-1]}")
    return Forgery(f"{prefix}/{transaction_id}{wrong}", told(scene.target, scene), chosen)


@forgery(AimsAt.OPEN, address_leaked=False)
def another_method(scene: Scene) -> Forgery:
    """The right address and body by another method, with headers that claim it was a POST."""
    method = scene.one_of("GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "POSTS", "", "P\u041eST")
    claims = {"x-http-method-override": "POST", "origin": "https://shop.example"}
    return Forgery(scene.target.path, told(scene.target, scene), claims, method)


@forgery(AimsAt.OPEN, address_leaked=False)
def more_than_a_callback_can_hold(scene: Scene) -> Forgery:
    """The right address and a body that only begins as a callback: padded beyond any limit, inside or after it."""
    body = told(scene.target, scene)
    padding = scene.randomness.randrange(16 * 1024, 64 * 1024)
    bodies = [body + b" " * padding, told(scene.target, scene, more=f',"Padding":"{"x" * padding}"')]
    return Forgery(scene.target.path, scene.randomness.choice(bodies))


# With the address: whose payment it is --------------------------------------------------------------------------------


@forgery(AimsAt.ACCEPTED, address_leaked=True)
def another_payments_ids(scene: Scene) -> Forgery:
    """One or both ids of a payment that was paid, of one that was not, of none at all, or each other's."""
    target, other = scene.target, scene.randomness.choice([scene.other, scene.third])
    invented = quoted(f"ws_CO_22112026{scene.randomness.randrange(10**9):09d}{target.phone[-9:]}")
    right = (quoted(target.merchant_request_id), quoted(target.checkout_request_id))
    wrong = (quoted(other.merchant_request_id), quoted(other.checkout_request_id))
    merchant, checkout = scene.randomness.choice(
        [
            wrong,
            (right[0], wrong[1]),
            (wrong[0], right[1]),
            (right[1], right[0]),
            (right[0], invented),
            (invented, right[1]),
            (right[0], right[0]),
        ]
    )
    return Forgery(target.path, told(target, scene, merchant=merchant, checkout=checkout))


@forgery(AimsAt.OPEN, address_leaked=True)
def the_ids_of_a_known_payment(scene: Scene) -> Forgery:
    """Both ids of another payment, also where the target has none yet that could disagree."""
    other = scene.randomness.choice([scene.other, scene.third])
    merchant, checkout = quoted(other.merchant_request_id), quoted(other.checkout_request_id)
    return Forgery(scene.target.path, told(scene.target, scene, merchant=merchant, checkout=checkout))


@forgery(AimsAt.ACCEPTED, address_leaked=True)
def ids_that_almost_agree(scene: Scene) -> Forgery:
    """The right ids as other types, in other letters, with blanks around them, cut, or left out."""
    target = scene.target
    name, right = scene.randomness.choice(
        [("merchant", target.merchant_request_id), ("checkout", target.checkout_request_id)]
    )
    wrong = scene.one_of(
        "null",
        '""',
        "0",
        "true",
        f"[{quoted(right)}]",
        f'{{"id":{quoted(right)}}}',
        quoted(right.swapcase()),
        quoted(f" {right}"),
        quoted(f"{right}\n"),
        quoted(f"{right}\x00"),
        quoted(right[:-1]),
        quoted(right + "0"),
        quoted("%"),
        quoted("' OR '1'='1"),
        quoted(right.replace("0", "\u0660").replace("1", "\u0661").replace("2", "\u0662") + "\u200b"),
    )
    return Forgery(target.path, told(target, scene, **{name: wrong}))


@forgery(AimsAt.OPEN, address_leaked=True)
def another_payments_callback(scene: Scene) -> Forgery:
    """A callback that was real, word for word, sent to another payment's address."""
    other = scene.other
    return Forgery(scene.target.path, told(other, scene, receipt=quoted(other.receipt or "")))


# With the address: how much -------------------------------------------------------------------------------------------


@forgery(AimsAt.OPEN, address_leaked=True)
def an_inflated_amount(scene: Scene) -> Forgery:
    """More than was asked."""
    more = scene.randomness.choice(
        [1, 2, 10, scene.target.amount, 249_000, 10**7, scene.randomness.randrange(1, 10**6)]
    )
    return Forgery(scene.target.path, told(scene.target, scene, amount=str(scene.target.amount + more)))


@forgery(AimsAt.OPEN, address_leaked=True)
def too_small_an_amount(scene: Scene) -> Forgery:
    """Less than was asked: one shilling for everything."""
    less = scene.randomness.choice([1, scene.target.amount - 1, scene.randomness.randrange(1, scene.target.amount)])
    return Forgery(scene.target.path, told(scene.target, scene, amount=str(scene.target.amount - less)))


@forgery(AimsAt.OPEN, address_leaked=True)
def a_huge_number(scene: Scene) -> Forgery:
    """Integers and exponents that overflow a column, a float, or Python's own limit of digits."""
    amount = scene.target.amount
    digits = scene.randomness.choice([9, 10, 20, 40, 309, 4299, 4300, 4301, 9000])
    told_amount = scene.one_of(
        "1" + "0" * digits,
        "9" * digits,
        f"{amount}e{digits}",
        f"{amount}{'0' * digits}e-{digits + 1}",
        f"{amount}.{'0' * digits}1",
        str(2**32 + amount),
        str(2**64 + amount),
        f"{amount}e-{digits}",
        f"{amount}e{10**digits}" if digits <= 40 else f"{amount}e{digits}",
        f"{amount}e-{10**digits}" if digits <= 40 else f"-{amount}e{digits}",
    )
    return Forgery(scene.target.path, told(scene.target, scene, amount=told_amount))


@forgery(AimsAt.OPEN, address_leaked=True)
def two_amounts(scene: Scene) -> Forgery:
    """The right amount and another one; the first or the last of two could win."""
    amount, wrong = scene.target.amount, scene.randomness.randrange(1, scene.target.amount)
    other = scene.one_of(str(wrong), f'"{amount}"', "null", f"{amount}.5", f"[{amount}]")
    amounts = [f'{{"Name":"Amount","Value":{amount}}}', f'{{"Name":"Amount","Value":{other}}}']
    scene.randomness.shuffle(amounts)
    items = f'{amounts[0]},{{"Name":"MpesaReceiptNumber","Value":{quoted(scene.receipt())}}},{amounts[1]}'
    return Forgery(scene.target.path, told(scene.target, scene, items=items))


# With the address: one value, spelled in another way ------------------------------------------------------------------

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
}
"""A class of forgeries: what is tried, the part of the body, and its values as JSON."""


def spelled(part: str, values: list[str], scene: Scene) -> Forgery:
    amount = scene.target.amount
    value = scene.one_of(*values).replace("AMOUNT", str(amount)).replace("LESS", str(amount - 1))
    # the moment differs from one forgery to the next, and so does everything that is not forged
    moment = f',"Moment":{scene.randomness.getrandbits(40)}'
    return Forgery(scene.target.path, told(scene.target, scene, **{part: value}, more=moment))


for _name, (_, _part, _values) in SPELLINGS.items():
    FORGERIES.append(Kind(_name, partial(spelled, _part, _values.split(" | ")), AimsAt.OPEN, address_leaked=True))


# With the address: whether it was paid --------------------------------------------------------------------------------


@forgery(AimsAt.OPEN, address_leaked=True)
def success_told_beside_another_code(scene: Scene) -> Forgery:
    """A code that is not success, in a body that is success in every other way."""
    code = scene.one_of(
        "1", "1032", '"1032"', "1037", "2001", "17", "4999", '"4999"', "-1", "9999", '"SFC_IC0003"', "200"
    )
    more = scene.one_of("", ',"ResponseCode":"0"', ',"resultCode":0', ',"ResultCode ":0', ',"Result":{"ResultCode":0}')
    return Forgery(scene.target.path, told(scene.target, scene, code=code, more=more))


@forgery(AimsAt.OPEN, address_leaked=True)
def no_result_code(scene: Scene) -> Forgery:
    """The code is missing, or has almost its name."""
    name = scene.one_of(
        "Resultcode", "resultCode", "RESULTCODE", "Result Code", "ResponseCode", "ResultCode\u200b", "Code"
    )
    body = told(scene.target, scene).replace(b'"ResultCode"', quoted(name).encode())
    return Forgery(scene.target.path, body)


@forgery(AimsAt.OPEN, address_leaked=True)
def a_reused_receipt(scene: Scene) -> Forgery:
    """The receipt of money that paid for something else."""
    used = scene.other.receipt or ""
    receipt = scene.one_of(quoted(used), quoted(used), quoted(f" {used}"), quoted(f"{used} "), quoted(f"\t{used}\r\n"))
    return Forgery(scene.target.path, told(scene.target, scene, receipt=receipt))


# With the address: what kind of message -------------------------------------------------------------------------------


@forgery(AimsAt.OPEN, address_leaked=True)
def a_key_that_stands_twice(scene: Scene) -> Forgery:
    """JSON that one reader takes for a failure and the next for a success."""
    right = told(scene.target, scene).decode()
    name, twice = scene.randomness.choice(
        [
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
        ]
    )
    return Forgery(scene.target.path, right.replace(name, twice, 1).encode())


@forgery(AimsAt.OPEN, address_leaked=True)
def a_message_of_another_api(scene: Scene) -> Forgery:
    """C2B confirmations, B2C results, answers to pushes and queries: all say success, none is an STK callback."""
    target, receipt = scene.target, scene.receipt()
    ids = {"MerchantRequestID": target.merchant_request_id, "CheckoutRequestID": target.checkout_request_id}
    success = {"ResultCode": 0, "ResultDesc": "The service request is processed successfully."}
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
    messages: list[object] = [
        c2b,
        {**c2b, **ids, **success},
        {
            "Result": {
                "ResultType": 0,
                **success,
                "TransactionID": receipt,
                "ResultParameters": {"ResultParameter": parameters},
            }
        },
        {"ResponseCode": "0", "ResponseDescription": "Success", **ids, **success, "ResultCode": "0"},
        {"Body": c2b},
        {"Body": {"stkcallback": {**ids, **success}}},
        {"Body": {"c2bCallback": {**ids, **success}}},
        {**ids, **success, "Amount": target.amount, "MpesaReceiptNumber": receipt},
        {"Body": [{"stkCallback": {**ids, **success}}]},
        {"stkCallback": {**ids, **success}},
    ]
    return Forgery(target.path, json.dumps(scene.randomness.choice(messages)).encode())


@forgery(AimsAt.OPEN, address_leaked=True)
def metadata_of_another_form(scene: Scene) -> Forgery:
    """Amount and receipt where they are not looked for, or under almost their names."""
    amount, receipt = str(scene.target.amount), quoted(scene.receipt())
    items = scene.one_of(
        f'{{"Amount":{amount}}},{{"MpesaReceiptNumber":{receipt}}}',
        f'{{"name":"Amount","value":{amount}}},{{"name":"MpesaReceiptNumber","value":{receipt}}}',
        f'{{"Name":"amount","Value":{amount}}},{{"Name":"mpesaReceiptNumber","Value":{receipt}}}',
        f'{{"Name":"Amount ","Value":{amount}}},{{"Name":"MpesaReceiptNumber ","Value":{receipt}}}',
        f'[{{"Name":"Amount","Value":{amount}}},{{"Name":"MpesaReceiptNumber","Value":{receipt}}}]',
        f'{{"Key":"Amount","Value":{amount}}},{{"Key":"MpesaReceiptNumber","Value":{receipt}}}',
        f'{{"Name":["Amount"],"Value":{amount}}},{{"Name":{{}},"Value":{receipt}}}',
        f'"Amount",{amount},"MpesaReceiptNumber",{receipt}',
        f"null,{amount},{receipt}",
        f'{{"Name":"Amount","Value":{amount}}}',
        "",
    )
    return Forgery(scene.target.path, told(scene.target, scene, items=items))


@forgery(AimsAt.OPEN, address_leaked=True)
def digits_of_other_scripts(scene: Scene) -> Forgery:
    """Numbers that are numbers to a person, and to some readers."""
    zero = scene.randomness.choice([0x0660, 0x06F0, 0x0966, 0xFF10])
    foreign = "".join(chr(zero + int(digit)) for digit in str(scene.target.amount))
    body = scene.randomness.choice(
        [
            told(scene.target, scene, amount=foreign),
            told(scene.target, scene, amount=quoted(foreign)),
            told(scene.target, scene, code=chr(zero)),
            told(scene.target, scene, code=quoted(chr(zero))),
        ]
    )
    return Forgery(scene.target.path, body)


@forgery(AimsAt.OPEN, address_leaked=True)
def bytes_that_are_no_text(scene: Scene) -> Forgery:
    """NULs, lone surrogates, other encodings, broken UTF-8, nothing at all."""
    right = told(scene.target, scene)
    place = scene.randomness.randrange(len(right))
    body = scene.randomness.choice(
        [
            b"",
            b"\x00",
            right[:place] + b"\x00" + right[place:],
            right[:place] + b"\xff" + right[place:],
            right[:place] + b"\xed\xa0\x80" + right[place:],
            right[:place],
            right + b"\x00",
            right + right,
            right + b"}",
            b"\xef\xbb\xbf\xef\xbb\xbf" + right,
            right.decode().encode("utf-16"),
            right.decode().encode("utf-32"),
            scene.randomness.randbytes(435),
            b"null",
            b"0",
            b'"0"',
            b"[" + right + b"]",
            quoted(right.decode()).encode(),
            b"payload=" + right,
            told(scene.target, scene, receipt='"UKM\\u0000ABC"'),
            told(scene.target, scene, receipt='"\\ud800"'),
        ]
    )
    return Forgery(scene.target.path, body)


@forgery(AimsAt.OPEN, address_leaked=True)
def deep_nesting(scene: Scene) -> Forgery:
    """Thousands of brackets, before, around or inside a body that says success."""
    right, deep = told(scene.target, scene), scene.randomness.choice([200, 1_000, 3_000, 7_500])
    body = scene.randomness.choice(
        [
            b"[" * deep + right + b"]" * deep,
            b"[" * deep,
            b"[" * (2 * deep),
            b'[{"Body":' * (deep // 4),
            b'{"Body":' * (deep // 4) + right + b"}" * (deep // 4),
            told(scene.target, scene, amount="[" * deep + str(scene.target.amount) + "]" * deep),
            told(scene.target, scene, code="[" * deep + "0" + "]" * deep),
        ]
    )
    return Forgery(scene.target.path, body)


@forgery(AimsAt.OPEN, address_leaked=True)
def compressed(scene: Scene) -> Forgery:
    """A right body, compressed: whoever unpacks it believes it, or is blown up by it."""
    right = told(scene.target, scene)
    bomb = gzip.compress(right + b" " * scene.randomness.randrange(10**5, 10**6), mtime=0)
    raw = zlib.compressobj(wbits=-15)
    body, encoding = scene.randomness.choice(
        [
            (gzip.compress(right, mtime=0), "gzip"),
            (gzip.compress(gzip.compress(right, mtime=0), mtime=0), "gzip, gzip"),
            (zlib.compress(right), "deflate"),
            (raw.compress(right) + raw.flush(), "deflate"),
            (bomb, "gzip"),
            (gzip.compress(right, mtime=0)[:-4], "gzip"),
            (gzip.compress(right, mtime=0), "identity"),
        ]
    )
    return Forgery(scene.target.path, body, {"content-encoding": encoding})


@forgery(AimsAt.LARGE, address_leaked=True)
def a_perfect_success_above_the_threshold(scene: Scene) -> Forgery:
    """Everything fits, the address leaked, and no money moved. Daraja is asked first, and knows nothing of it."""
    code = scene.one_of("0", '"0"')
    amount = scene.one_of(str(scene.target.amount), f"{scene.target.amount}.0", f"{scene.target.amount}.00")
    return Forgery(scene.target.path, told(scene.target, scene, code=code, amount=amount))


# Against what is paid -------------------------------------------------------------------------------------------------


@forgery(AimsAt.PAID, address_leaked=True)
def a_failure_of_what_is_paid(scene: Scene) -> Forgery:
    """Somebody wants an order cancelled that was paid for."""
    code = scene.one_of(
        "1", "17", "26", "1019", "1025", "1032", '"1032"', "1036", "1037", "2001", "9999", '"SFC_IC0003"', "7"
    )
    return Forgery(scene.target.path, failing(scene.target, code))


@forgery(AimsAt.PAID, address_leaked=True)
def another_success_of_what_is_paid(scene: Scene) -> Forgery:
    """A second receipt, another amount, another payment's receipt or ids: none may replace what is on file."""
    target, other = scene.target, scene.other
    body = scene.randomness.choice(
        [
            told(target, scene),
            told(target, scene, receipt=quoted(other.receipt or "")),
            told(target, scene, amount=str(target.amount + 1)),
            told(target, scene, amount="1"),
            told(target, scene, receipt="null"),
            told(target, scene, checkout=quoted(other.checkout_request_id)),
            told(target, scene, merchant=quoted(other.merchant_request_id), checkout=quoted(other.checkout_request_id)),
            told(target, scene, receipt=quoted(target.receipt or "")),
            told(target, scene, code="false"),
        ]
    )
    return Forgery(target.path, body)


@forgery(AimsAt.PAID, address_leaked=False)
def a_failure_of_what_is_paid_without_its_address(scene: Scene) -> Forgery:
    """The same, by somebody who does not hold the address."""
    prefix, transaction_id, token = address(scene.target)
    wrong = scene.one_of(
        f"{scene.randomness.getrandbits(256):064x}", token.upper() + "A", token[:-1], address(scene.other)[2]
    )
    return Forgery(f"{prefix}/{transaction_id}/{wrong}", failing(scene.target, scene.one_of("1032", "1", "1037")))
