"""The audit log as a chain: what is hashed, and how. Pure: no database, no clock, no environment.

Every row of a payment's history carries a link: an HMAC-SHA256, under a key that the database never sees, of the
payment's head before it and of everything in the row. The head after it, an HMAC of the payment's id, the number of its
rows and that link, is kept on the payment. So nobody without the key can

- change, add, remove, reorder or exchange a row: its link, or the next one's, no longer fits;
- cut off the end: the head on the payment is of a longer chain, and the head of a shorter one cannot be made;
- have us sign over it: the next link is made from the head on the payment, never from the rows that are there.

Whoever kept an old head with its rows can put both back, and a payment can vanish whole. Against that, anchors: one
running SHA-256 over all links, whose value leaves the house once a day.

What is hashed is canonical and says what it is: each part is its length in bytes, a colon and its UTF-8 text, or a
minus sign where there is none; the first part names the purpose and its version.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

LINK, HEAD, KEY_ID = "lipa audit link 1", "lipa audit head 1", "lipa audit key id 1"
ANCHOR, SEAL, ERASURE = "lipa audit anchor 1", "lipa callback seal 1", "lipa erasure 1"
NOTHING_YET = ""
"""The head of a payment without history, and the digest of an empty log."""


@dataclass(frozen=True)
class AuditKey:
    """A secret that signs history, and the short name by which rows say which one signed them."""

    secret: str = field(repr=False)

    @property
    def id(self) -> str:
        """Eight hex digits that distinguish keys and reveal nothing about them."""
        return self.sign(KEY_ID)[:8]

    def sign(self, *parts: str | int | None) -> str:
        """64 hex digits."""
        return hmac.new(self.secret.encode(), canonical(*parts), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Step:
    """One row of the audit log: all of it but its signature."""

    id: int
    transaction_id: str
    place: int
    """Its number in the payment's chain, from 1."""
    at: datetime
    since: datetime
    """When the database was stamped with its environment: times are counted from there."""
    actor: str
    event: str
    outcome: str
    from_status: str | None
    to_status: str
    reason: str | None
    inbox_id: str | None
    said: str | None

    @property
    def parts(self) -> tuple[str | int | None, ...]:
        """Every column. The time is in microseconds since `since`, so that books that are moved in time as a
        whole, as tests do, stay whole, while no single row can be moved."""
        return (
            self.id,
            self.transaction_id,
            self.place,
            (self.at - self.since) // timedelta(microseconds=1),
            self.actor,
            self.event,
            self.outcome,
            self.from_status,
            self.to_status,
            self.reason,
            self.inbox_id,
            self.said,
        )


def read_step(row: Mapping[str, Any], since: datetime) -> Step:
    """A row of the audit log, as it is stored."""
    return Step(
        id=row["id"],
        transaction_id=str(row["transaction_id"]),
        place=row["place"],
        at=row["at"],
        since=since,
        actor=row["actor"],
        event=row["event"],
        outcome=row["outcome"],
        from_status=row["from_status"],
        to_status=row["to_status"],
        reason=row["reason"],
        inbox_id=str(row["inbox_id"]) if row["inbox_id"] else None,
        said=row["said"],
    )


def link(key: AuditKey, head_before: str, step: Step) -> str:
    """The signature of a row, after the head that the payment had before it."""
    return key.sign(LINK, head_before, *step.parts)


def head(key: AuditKey, transaction_id: str, length: int, last_link: str) -> str:
    """What the payment keeps of its chain, beside its length."""
    return key.sign(HEAD, transaction_id, length, last_link)


def signed(key: AuditKey, head_before: str, step: Step) -> tuple[str, str]:
    """A new row's signature, and the head that its payment has from then on."""
    signature = link(key, head_before, step)
    return signature, head(key, step.transaction_id, step.place, signature)


def seal(key: AuditKey, inbox_id: str, transaction_id: str, body: bytes) -> str:
    """The receiver's signature of a callback on file: nobody without the key can put one there to be judged."""
    return key.sign(SEAL, inbox_id, transaction_id, hashlib.sha256(body).hexdigest())


def canonical(*parts: str | int | None) -> bytes:
    """One text for one meaning: no two lists of parts give the same bytes."""
    texts = [None if part is None else str(part).encode() for part in parts]
    return b"".join([b"-" if text is None else b"%d:%b" % (len(text), text) for text in texts])


# Anchors --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Anchor:
    """All heads at one moment, in one line that is kept outside: what the log held up to its row `last_audit_id`."""

    last_audit_id: int = 0
    rows: int = 0
    payments: int = 0
    digest: str = NOTHING_YET

    def after(self, row: Mapping[str, Any]) -> Anchor:
        """With the next row of the log, in the order of ids. The row's link stands for everything in the row."""
        parts = canonical(ANCHOR, self.digest, row["id"], str(row["transaction_id"]), row["place"], row["link"])
        digest = hashlib.sha256(parts).hexdigest()
        return Anchor(row["id"], self.rows + 1, self.payments + (row["from_status"] is None), digest)

    def token(self, since: datetime) -> str:
        """The line: `lipa-anchor-1`, when the database was stamped, last id, rows, payments, digest."""
        digest = urlsafe_b64encode(bytes.fromhex(self.digest)).decode().rstrip("=")
        stamped = f"{since.astimezone(UTC):{STAMPED}}"
        return f"lipa-anchor-1/{stamped}/{self.last_audit_id}/{self.rows}/{self.payments}/{digest}"


STAMPED = "%Y%m%dT%H%M%S.%f"
TOKEN = re.compile(r"lipa-anchor-1/(\d{8}T\d{6}\.\d{6})/(\d{1,18})/(\d{1,18})/(\d{1,18})/([\w-]{43})", re.ASCII)


def read_anchor(token: str) -> tuple[Anchor, datetime]:
    """The anchor, and when its database was stamped. Raises ValueError where it is none."""
    found = TOKEN.fullmatch(token.strip())
    if found is None:
        raise ValueError("an anchor is one line like lipa-anchor-1/20260504T090000.000000/1234/1234/400/…")
    stamped, last_audit_id, rows, payments, digest = found.groups()
    since = datetime.strptime(stamped, STAMPED).replace(tzinfo=UTC)
    return Anchor(int(last_audit_id), int(rows), int(payments), urlsafe_b64decode(digest + "=").hex()), since


# Erasures -------------------------------------------------------------------------------------------------------------


ERASURE_LINE = re.compile(
    r"lipa-erasure-1/(\d{8}T\d{6})/(person|late_evidence|mention)/([0-9a-f-]{36})/([a-z_.+]{0,600})/([0-9a-f]{8})/([\w-]{43})"
    r"(?![\w-])",
    re.ASCII,
)


@dataclass(frozen=True)
class Erasure:
    """Somebody was erased from the records of a payment. As a line it names nobody, and can be kept outside."""

    at: datetime
    scope: str
    transaction_id: str
    columns: tuple[str, ...] = ()
    """Of a mention: what had named the person, like `transactions.note`."""

    def line(self, key: AuditKey) -> str:
        """Signed: nobody without the key can have anybody erased by it."""
        parts = f"{self.at.astimezone(UTC):%Y%m%dT%H%M%S}", self.scope, self.transaction_id, "+".join(self.columns)
        signature = urlsafe_b64encode(bytes.fromhex(key.sign(ERASURE, *parts))).decode().rstrip("=")
        return "/".join(("lipa-erasure-1", *parts, key.id, signature))


def read_erasures(text: str, keys: Sequence[AuditKey]) -> Iterator[tuple[str, Erasure | None]]:
    """Every such line in a text, and what it says; None: none of the keys signed it."""
    for found in ERASURE_LINE.finditer(text):
        at, scope, transaction_id, columns, _, _ = found.groups()
        moment = datetime.strptime(at, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        said = Erasure(moment, scope, transaction_id, tuple(filter(None, columns.split("+"))))
        genuine = any(hmac.compare_digest(said.line(key), found[0]) for key in keys)
        yield found[0], said if genuine else None
