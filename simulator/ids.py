"""Identifiers in the real form, from one seeded source of randomness.

`ws_CO_03102025030409377…` is the time in Nairobi and the last nine digits of the phone;
`5998-46a7-a4aa-5a37a83f21ad3833` is the tail of a UUID followed by a counter; a receipt begins with its date
(captured sandbox bodies, 2025-04 to 2026-10).
"""

from __future__ import annotations

import random
import string
import uuid
from datetime import datetime, timedelta

from simulator.clock import Clock

_LETTERS = string.ascii_uppercase
_DAYS = "123456789" + _LETTERS[:22]
_RECEIPT_TAIL = _LETTERS + string.digits
_TOKEN = string.ascii_letters + string.digits


class Ids:
    def __init__(self, randomness: random.Random, clock: Clock) -> None:
        self._random = randomness
        self._clock = clock
        self._counter = randomness.randrange(1_000, 2_000_000)
        self._given: set[str] = set()

    def access_token(self) -> str:
        return "".join(self._random.choices(_TOKEN, k=28))

    def merchant_request_id(self) -> str:
        """Also the form of `requestId` in errors."""
        self._counter += 1
        _, tail = str(uuid.UUID(int=self._random.getrandbits(128), version=4)).split("-", 1)
        return f"{tail}{self._counter}"

    def checkout_request_id(self, msisdn: str) -> str:
        at = self._clock.now_eat()
        while (name := f"ws_CO_{at:%d%m%Y%H%M%S}{at.microsecond // 1000:03d}{msisdn[-9:]}") in self._given:
            at += timedelta(milliseconds=1)
        self._given.add(name)
        return name

    def receipt(self, at: datetime) -> str:
        date = _LETTERS[(at.year - 2006) % 26] + _LETTERS[at.month - 1] + _DAYS[at.day - 1]
        while (name := date + "".join(self._random.choices(_RECEIPT_TAIL, k=7))) in self._given:
            pass
        self._given.add(name)
        return name

    def message_id(self) -> str:
        """What SendGrid puts into X-Message-Id: 22 characters."""
        return "".join(self._random.choices(_TOKEN + "-_", k=22))
