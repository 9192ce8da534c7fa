"""What the deployed functions see, for `ops doctor`: which database, commit, deploy context, region and limits.

`GET …/status/doctor` answers whoever proves with each request that they have the callback secret, and nobody else: to
all others it is the id of no payment. Nothing in the answer is secret: the database is named by a digest of its stamp.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from shared import settings
from shared.problems import Kind, Problem

if TYPE_CHECKING:
    from shared.collaborators import Collaborators

HEADER = "x-lipa-doctor"
AN_HOUR_S = 3600


def proof(secret: str, at: datetime, hours: int = 0) -> str:
    """What the header holds: an HMAC of the hour, so that one that is seen is soon worth nothing."""
    hour = int(at.timestamp()) // AN_HOUR_S + hours
    return _signed(secret, f"lipa doctor asks {hour}")


def name_of(secret: str, environment: str, stamped_at: datetime) -> str:
    """A database, for those who have the callback secret."""
    return _signed(secret, f"lipa database {environment} {stamped_at.isoformat()}")[:32]


def describe(mine: Collaborators, headers: Mapping[str, str]) -> dict[str, object]:
    """Raises a 404 `Problem` for whoever proves nothing."""
    now, given = mine.clock(), headers.get(HEADER, "").encode()
    secret = next(
        (
            secret
            for secret in mine.settings.callback.secrets
            if any(hmac.compare_digest(proof(secret, now, hours).encode(), given) for hours in (-1, 0, 1))
        ),
        None,
    )
    if secret is None:
        raise Problem(Kind.NOT_FOUND)
    mine.gateway.watch.stamp()  # connects
    began = time.monotonic()
    stamp = mine.gateway.watch.stamp()
    took_s = time.monotonic() - began
    limits = mine.settings.limits
    return {
        "database": stamp and name_of(secret, stamp["environment"], stamp["stamped_at"]),
        "database_ms": round(took_s * 1000),
        "environment": mine.settings.database.environment,
        **settings.deploy(),
        "limits": {
            "MAX_PAYMENT_KES": int(limits.payment_kes),
            "MAX_PHONE_KES_PER_DAY": int(limits.phone_kes_a_day),
            "MAX_SHOP_KES_PER_DAY": limits.shop_kes_a_day and int(limits.shop_kes_a_day),
        },
    }


def _signed(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
