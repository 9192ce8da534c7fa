"""The address Safaricom calls back: it names one payment, and only we can write it.

Daraja signs nothing. So each payment gets its own address, `…/callback/{transaction id}/{token}`, where the token is an
HMAC-SHA256 of the id: it binds a callback to its payment even when it overtakes the answer to our push, and is worth
nothing for any other payment. What is not exactly such an address is not looked at.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.transaction_id import TRANSACTION_ID

if TYPE_CHECKING:
    from shared.settings import CallbackSettings

PUBLIC_PREFIXES = ("/api/mpesa/callback", "/api/pay/callback")
TOKEN = r"[0-9a-f]{64}"
_TAIL = re.compile(f"/({TRANSACTION_ID})/({TOKEN})", re.ASCII)


def callback_url(settings: CallbackSettings, transaction_id: str) -> str:
    """The address for Safaricom's callback about this payment."""
    return f"{settings.url}/{transaction_id}/{_token(settings.secrets[0], transaction_id)}"


def genuine(settings: CallbackSettings, path: str) -> str | None:
    """The transaction id of an address that we wrote, with today's secret or the previous; None for all else."""
    for prefix in {*PUBLIC_PREFIXES, urlsplit(settings.url).path}:
        found = _TAIL.fullmatch(path, len(prefix)) if path.startswith(prefix) else None
        if found:
            transaction_id, token = found.groups()
            known = [hmac.compare_digest(_token(secret, transaction_id), token) for secret in settings.secrets]
            return transaction_id if any(known) else None
    return None


def _token(secret: str, transaction_id: str) -> str:
    return hmac.new(secret.encode(), transaction_id.encode(), hashlib.sha256).hexdigest()
