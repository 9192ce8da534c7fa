"""A Safaricom that does exactly what it is told, over real HTTP, and knows the truth: whose money really moved.

Nothing happens here by itself, so that a history replays step by step. For a Safaricom with a life of its own there is
the simulator; the words are its words.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from simulator import SANDBOX_PASSKEY, bodies
from simulator.bodies import Answer, Refusal
from tests.fixtures.http_server import Handler, serving

SUCCESS = "0"
A_PROMPT_IS_OPEN_S = 60
SAYS = {
    SUCCESS: "The service request is processed successfully.",
    "1": "The balance is insufficient for the transaction",
    "17": "Rule limited.",
    "1019": "Transaction has expired",
    "1032": "Request cancelled by user",
    "1037": "No response from user.",
    "2001": "The initiator information is invalid.",
    "9999": "An error occurred while sending a push request.",
    "4242": "A code that nobody has explained",
    "SFC_IC0003": "The operator does not exist.",
}

PUSH_ANSWERS: dict[str, tuple[bool, Answer | Refusal | None]] = {
    "accepted": (True, None),
    "overtaken": (True, None),
    "dead_token": (True, None),
    "refused": (False, bodies.invalid("PartyA")),
    "prompt_open": (False, bodies.SUBSCRIBER_LOCKED),
    "busy_but_it_rings": (True, bodies.SYSTEM_BUSY),
    "busy": (False, bodies.SYSTEM_BUSY),
    "firewall_but_it_rings": (True, bodies.FIREWALL_503),
    "firewall": (False, bodies.FIREWALL_403),
    "no_answer_but_it_rings": (True, None),
    "no_answer": (False, None),
}
"""Whether the phone rings, and what is answered where it is not acceptance."""

QUERY_ANSWERS = (
    "truth", "denial", "still_processing", "being_processed", "empty_200", "empty_500", "does_not_exist", "too_many",
    "firewall", "no_answer", "dead_token",
)  # fmt: skip


@dataclass
class Prompt:
    """A push that reached a phone, and the truth about it."""

    transaction_id: str
    callback_path: str
    phone: str
    amount: int
    reference: str
    merchant_request_id: str
    checkout_request_id: str
    pushed_at_s: float
    results: list[str] = field(default_factory=list)
    """What became of it; more than one where M-PESA changed its mind."""
    receipt: str | None = None
    """Of the money that moved."""
    answered: bool = False
    """The shop was told its ids as the answer to its push."""
    told_plainly: bool = False
    """Its success was told by a callback with its ids, its amount and its receipt."""

    @property
    def paid(self) -> bool:
        return self.receipt is not None

    def callback(self, code: str, **told: object) -> bytes:
        """What a callback says; `told` changes items, None leaves one out."""
        items: list[dict[str, object]] | None = None
        if code == SUCCESS:
            told = {
                "Amount": self.amount,
                "MpesaReceiptNumber": self.receipt,
                "TransactionDate": 20261122153000,
                "PhoneNumber": int(self.phone),
                **told,
            }
            items = [{"Name": name, "Value": value} for name, value in told.items() if value is not None]
            items.insert(1, {"Name": "Balance"})
        spelt = int(code) if code.isdigit() and code != "9999" else code
        return bodies.callback(self.merchant_request_id, self.checkout_request_id, spelt, SAYS[code], items)


STRANGERS = Prompt(
    transaction_id="of another shop",
    callback_path="/elsewhere",
    phone="254700000049",
    amount=1,
    reference="X",
    merchant_request_id="5998-46a7-a4aa-strangers",
    checkout_request_id="ws_CO_strangers",
    pushed_at_s=0,
    results=[SUCCESS],
    receipt="UKX0000001",
)
"""A payment at another shop, which Safaricom knows as well as ours, and whose ids its customer knows."""


class Safaricom:
    def __init__(self) -> None:
        self.base_url = ""
        self.now_s: Callable[[], float] = lambda: 0.0
        self.tell: Callable[[str, bytes], int] = lambda path, body: 0
        self.forget_everything()

    def forget_everything(self) -> None:
        self.prompts: list[Prompt] = []
        self.asked: Counter[str] = Counter()
        """Push requests for each payment that got beyond the token."""
        self.push_answer = "accepted"
        self.query_answer = "truth"
        self.oauth_is_down = False
        self.mail_is_down = False
        self.denied: set[str] = set()
        """Paid, and a query said otherwise."""
        self.affirmed: set[str] = set()
        """A query said that it was paid."""
        self.mails: list[dict[str, Any]] = []
        self._token: str | None = None
        self._tokens = 0
        self._numbers = 0

    def environment(self) -> dict[str, str]:
        return {
            "MPESA_ENV": "sandbox",
            "MPESA_CONSUMER_KEY": "lipa-dev-key",
            "MPESA_CONSUMER_SECRET": "lipa-dev-secret",
            "MPESA_SHORTCODE": "174379",
            "MPESA_PASSKEY": SANDBOX_PASSKEY,
            "MPESA_BASE_URL": self.base_url,
            "SENDGRID_API_KEY": "SG.simulator",
            "SENDGRID_BASE_URL": self.base_url,
        }

    def prompt_of(self, transaction_id: str) -> Prompt | None:
        return next((prompt for prompt in self.prompts if prompt.transaction_id == transaction_id), None)

    def becomes(self, prompt: Prompt, code: str) -> None:
        """The customer decided, or M-PESA thought again; nobody is told."""
        prompt.results.append(code)
        if code == SUCCESS:
            prompt.receipt = f"UKM{self._next():07d}"

    def undecided(self) -> list[Prompt]:
        """Prompts that a customer may still answer; for the others the network has given up."""
        open_still = [prompt for prompt in self.prompts if not prompt.results]
        for prompt in open_still:
            if self.now_s() - prompt.pushed_at_s > A_PROMPT_IS_OPEN_S:
                self.becomes(prompt, "1037")
        return [prompt for prompt in open_still if not prompt.results]

    def kill_token(self) -> None:
        self._token = None

    # --- HTTP ---

    def serve(self, path: str, authorization: str, body: bytes) -> Answer | None:
        """None: the connection is closed without an answer."""
        match path:
            case "/oauth/v1/generate":
                if self.oauth_is_down:
                    return bodies.FIREWALL_503
                self._tokens += 1
                self._token = f"token-number-{self._tokens}"
                return bodies.token(self._token, expires_in_as_text=bool(self._tokens % 2))
            case "/v3/mail/send":
                if self.mail_is_down:
                    return Answer(500, b"{}")
                self.mails.append(json.loads(body))
                return Answer(202, b"")
        if authorization != f"Bearer {self._token}":
            return bodies.INVALID_ACCESS_TOKEN.answer("0")
        asked = json.loads(body)
        return self._push(asked) if path.endswith("/processrequest") else self._query(asked["CheckoutRequestID"])

    def _push(self, asked: dict[str, Any]) -> Answer | None:
        how = self.push_answer
        if how == "dead_token":
            self.push_answer = "accepted"
            return bodies.INVALID_ACCESS_TOKEN.answer("0")
        path = urlsplit(asked["CallBackURL"]).path
        transaction_id = path.rsplit("/", 2)[1]
        self.asked[transaction_id] += 1
        rings, instead = PUSH_ANSWERS[how]
        number = self._next()
        prompt = Prompt(
            transaction_id=transaction_id,
            callback_path=path,
            phone=asked["PhoneNumber"],
            amount=int(asked["Amount"]),
            reference=asked["AccountReference"],
            merchant_request_id=f"5998-46a7-a4aa-{number}",
            checkout_request_id=f"ws_CO_{number:017d}{asked['PhoneNumber'][-9:]}",
            pushed_at_s=self.now_s(),
        )
        if rings:
            self.prompts.append(prompt)
        if how == "overtaken":
            self.becomes(prompt, SUCCESS)
            assert self.tell(path, prompt.callback(SUCCESS)) == 200
            prompt.told_plainly = True
        if how.startswith("no_answer"):
            return None
        if instead is None:
            prompt.answered = True
            return bodies.push_accepted(prompt.merchant_request_id, prompt.checkout_request_id)
        return instead.answer("0") if isinstance(instead, Refusal) else instead

    def _query(self, checkout_request_id: str) -> Answer | None:
        known = [*self.prompts, STRANGERS]
        prompt = next((one for one in known if one.checkout_request_id == checkout_request_id), None)
        if prompt is None:
            return bodies.TRANSACTION_DOES_NOT_EXIST.answer("0")
        self.undecided()
        names = (prompt.merchant_request_id, prompt.checkout_request_id)
        match self.query_answer:
            case "being_processed":
                return bodies.query_being_processed(prompt.checkout_request_id)
            case "empty_200":
                return bodies.query_empty_error(200, "0")
            case "empty_500":
                return bodies.query_empty_error(500, "0")
            case "does_not_exist":
                return bodies.TRANSACTION_DOES_NOT_EXIST.answer("0")
            case "too_many":
                return bodies.SPIKE_ARREST
            case "firewall":
                return bodies.FIREWALL_403
            case "no_answer":
                return None
            case "dead_token":
                self.query_answer = "truth"
                return bodies.INVALID_ACCESS_TOKEN.answer("0")
        if not prompt.results or self.query_answer == "still_processing":
            return bodies.query_still_processing(*names)
        code = prompt.results[-1]
        if self.query_answer == "denial" and prompt.paid:
            code = "1032"
            self.denied.add(prompt.transaction_id)
        elif code == SUCCESS:
            self.affirmed.add(prompt.transaction_id)
        return bodies.query_result(*names, code, SAYS[code])

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers


@contextmanager
def scripted_safaricom() -> Iterator[Safaricom]:
    """On a free port."""

    safaricom = Safaricom()

    class Answers(Handler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            authorization = self.headers.get("Authorization", "")
            answer = safaricom.serve(self.path.partition("?")[0], authorization, self.body())
            if answer is None:
                self.close_connection = True
            else:
                self.answer(answer.http_status, answer.body, {"Content-Type": answer.content_type})

    with serving(Answers) as safaricom.base_url:
        yield safaricom


def amount_as(written: str, amount: int) -> Decimal | int:
    """1, 1.0 and 1.00 are three ways to write one shilling."""
    return Decimal(f"{amount}{written.removeprefix('1')}") if written != "1" else amount
