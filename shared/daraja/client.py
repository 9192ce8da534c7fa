"""Daraja, as far as a payment needs it: ask a customer's phone for money, ask what became of it, and share one token.

`push` either was accepted, was refused clearly, never left us, or is unclear; each has its own type, and only one
refusal is ever answered by sending again (404.001.03, a dead token, once). `query` settles nothing unless Daraja says
so in words that are known.
"""

from __future__ import annotations

import base64
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

import requests

from shared.call_out import Answer, send
from shared.daraja.answers import (
    Accepted,
    NoAnswerYet,
    QueryAnswered,
    Rejected,
    Token,
    TokenRefused,
    Unanswered,
    Unavailable,
)
from shared.daraja.calls import read_push, read_query, read_token
from shared.deadline import Deadline
from shared.settings import DarajaSettings
from shared.values import EAT

A_PUSH_TAKES_S = 3.0
"""With less time left none is sent. Of 130 pushes 95 % were answered within 2.2 s (captured sandbox log, 2025)."""


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What is asked for. Daraja knows whole shillings, 254…, and at most 12 letters and digits of reference."""

    msisdn: str
    amount_kes: Decimal
    account_reference: str
    transaction_desc: str
    callback_url: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"254[17][0-9]{8}", self.msisdn):
            raise ValueError("msisdn must be 254 and nine digits beginning with 7 or 1")
        if self.amount_kes != self.amount_kes.to_integral_value() or self.amount_kes < 1:
            raise ValueError("amount_kes must be whole shillings")
        if not re.fullmatch(r"[A-Za-z0-9]{1,12}", self.account_reference):
            raise ValueError("account_reference must be 1 to 12 letters and digits")


class Daraja:
    """Safaricom's API, or another server that speaks it."""

    def __init__(
        self, settings: DarajaSettings, tokens: TokenStore, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._settings = settings
        self._tokens = AccessTokens(settings, tokens)
        self._clock = clock

    def push(self, request: PushRequest, deadline: Deadline) -> Accepted:
        """Send the prompt to the customer's phone.

        Raises `Unavailable` (nothing left us), `Rejected` or `PromptOpen` (a clear refusal), or `Unanswered` (it may
        have arrived: never send it again).
        """
        token = self._tokens.current(deadline)
        try:
            return self._push_with(token, request, deadline)
        except TokenRefused:
            token = self._tokens.renewed(token, deadline)
            return self._push_with(token, request, deadline)

    def query(self, checkout_request_id: str, deadline: Deadline) -> QueryAnswered:
        """Ask what became of a push. Never raises for what Daraja or the network do: that is `NoAnswerYet`."""
        try:
            token = self._tokens.current(deadline)
            try:
                return self._query_with(token, checkout_request_id, deadline)
            except TokenRefused:
                token = self._tokens.renewed(token, deadline)
                return self._query_with(token, checkout_request_id, deadline)
        except (Unavailable, Unanswered, Rejected) as silent:
            return NoAnswerYet(f"{type(silent).__name__}: {silent}")

    def _push_with(self, token: str, request: PushRequest, deadline: Deadline) -> Accepted:
        password, timestamp = self._password()
        answer = self._post(
            "/mpesa/stkpush/v1/processrequest",
            {
                "BusinessShortCode": int(self._settings.shortcode),
                "Password": password,
                "Timestamp": timestamp,
                "TransactionType": self._settings.transaction_type,
                "Amount": str(int(request.amount_kes)),
                "PartyA": request.msisdn,
                "PartyB": self._settings.party_b,
                "PhoneNumber": request.msisdn,
                "CallBackURL": request.callback_url,
                "AccountReference": request.account_reference,
                "TransactionDesc": transaction_desc(request.transaction_desc),
            },
            token,
            deadline,
            answer_takes_s=A_PUSH_TAKES_S,
        )
        return read_push(answer)

    def _query_with(self, token: str, checkout_request_id: str, deadline: Deadline) -> QueryAnswered:
        password, timestamp = self._password()
        answer = self._post(
            "/mpesa/stkpushquery/v1/query",
            {
                "BusinessShortCode": self._settings.shortcode,
                "Password": password,
                "Timestamp": timestamp,
                "CheckoutRequestID": checkout_request_id,
            },
            token,
            deadline,
        )
        return read_query(answer, checkout_request_id)

    def _post(
        self, path: str, body: dict[str, str | int], token: str, deadline: Deadline, *, answer_takes_s: float = 0.0
    ) -> Answer:
        url, headers = self._settings.base_url + path, {"Authorization": f"Bearer {token}"}
        request = requests.Request("POST", url, headers=headers, json=body)
        return send(request, deadline, answer_takes_s=answer_takes_s)

    def _password(self) -> tuple[str, str]:
        """Password and Timestamp. Daraja compares the second, in East Africa Time, with what is in the first."""
        timestamp = self._clock().astimezone(EAT).strftime("%Y%m%d%H%M%S")
        plain = f"{self._settings.shortcode}{self._settings.passkey}{timestamp}"
        return base64.b64encode(plain.encode()).decode(), timestamp


def transaction_desc(text: str) -> str:
    """Always sent, since its absence is refused as 'Invalid Remarks': at most 13 letters, digits and spaces."""
    plain = " ".join(re.sub(r"[^A-Za-z0-9]+", " ", text).split())
    return plain[:13].rstrip() or "Payment"


# The access token -----------------------------------------------------------------------------------------------------

LEASE_S = 10
"""How long a store lets one instance fetch while the others wait."""


class TokenStore(Protocol):
    """Where the token is kept, seen by all instances."""

    def read_token(self) -> str | None:
        """A token with more than 60 seconds left."""

    def lease_token(self, dead: str | None) -> bool:
        """True: the caller fetches a new one now. False: another does, or the one stored is no longer `dead`."""

    def save_token(self, token: str, lifetime_s: int) -> None:
        """Keep a new token, which ends the lease."""

    def end_token_lease(self) -> None:
        """End the lease without a token."""


class AccessTokens:
    """One access token for all instances of all functions: a new one makes Daraja forget the one before.

    So it is kept in a shared store, and whoever finds none there takes a lease before fetching one; the others wait for
    it. It is never logged. (Daraja portal, Authorization FAQ: "each request invalidates the previous token".)
    Everything here raises `Unavailable` or, where our credentials are refused, `Rejected`.
    """

    def __init__(
        self, settings: DarajaSettings, store: TokenStore, *, wait_s: float = 5, look_again_after_s: float = 0.3
    ) -> None:
        self._settings = settings
        self._store = store
        self._wait_s = wait_s
        self._look_again_after_s = look_again_after_s

    def current(self, deadline: Deadline) -> str:
        """A token that Daraja has not refused yet."""
        return self._other_than(None, deadline)

    def renewed(self, dead: str, deadline: Deadline) -> str:
        """A token after `dead`: one that another instance has fetched since, or a new one."""
        return self._other_than(dead, deadline)

    def _other_than(self, dead: str | None, deadline: Deadline) -> str:
        waiting = deadline.at_most(self._wait_s)
        while True:
            with _store_asked():
                token = self._store.read_token()
                if token is not None and token != dead:
                    return token
                ours_to_fetch = self._store.lease_token(dead)
            if ours_to_fetch:
                return self._fetch_and_save(deadline)
            if waiting.passed():
                raise Unavailable("another instance is fetching Daraja's access token and has not finished")
            time.sleep(min(self._look_again_after_s, waiting.remaining_s()))

    def _fetch_and_save(self, deadline: Deadline) -> str:
        try:
            token = self._fetch(deadline.at_most(LEASE_S - 2))
        except BaseException:
            with contextlib.suppress(Exception):  # it ends by itself, a little later
                self._store.end_token_lease()
            raise
        with _store_asked():
            self._store.save_token(token.value, token.lifetime_s)
        return token.value

    def _fetch(self, deadline: Deadline) -> Token:
        request = requests.Request(
            "GET",
            f"{self._settings.base_url}/oauth/v1/generate?grant_type=client_credentials",
            auth=(self._settings.consumer_key, self._settings.consumer_secret),
        )
        try:
            return read_token(send(request, deadline))
        except Unanswered as silent:  # asking for a token again does no harm
            raise Unavailable(f"Daraja's OAuth gave no answer ({silent})") from silent


@contextlib.contextmanager
def _store_asked() -> Iterator[None]:
    try:
        yield
    except Exception as failed:
        raise Unavailable(f"the access token could not be read or kept ({type(failed).__name__})") from failed
