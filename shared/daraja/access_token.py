"""One access token for all instances of all functions: a new one makes Daraja forget the one before.

So it is kept in a shared store, and whoever finds none there takes a lease before fetching one; the others wait for it.
It is never logged. (Daraja portal, Authorization FAQ: "each request invalidates the previous token".)
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

import requests

from shared.daraja.answer_reader import read_token
from shared.daraja.answers import Token, Unanswered, Unavailable
from shared.daraja.transport import send
from shared.deadline import Deadline
from shared.settings import DarajaSettings

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
    """The token to use now. Everything here raises `Unavailable` or, where our credentials are refused, `Rejected`."""

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
