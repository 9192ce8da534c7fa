"""What a person said about whole months, and about money that is no sale: rows that are only added, in a signed chain.

Each row is signed like a row of the audit log (shared/audit_chain.py), after the row before it. The end of the chain is
kept in `installation`, so a row that was changed, taken out, added or cut off at the end is seen by `ops audit verify`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from shared.audit_chain import NOTHING_YET, AuditKey
from shared.database import Database, Row, Transaction

LINK, HEAD = "lipa reconciliation link 1", "lipa reconciliation head 1"


@dataclass(frozen=True)
class Entry:
    """One row, as it was written."""

    id: int
    place: int
    at: datetime


def add(
    tx: Transaction, key: AuditKey, kind: str, subject: str, facts: Mapping[str, object], who: str, why: str | None
) -> Entry:
    """One row more. `facts` are lists, texts, whole numbers and what JSON has beside them; nothing personal.

    A Decimal becomes a whole number, or a text where it has cents.
    """
    end = tx.row(
        """
        SELECT reconciliation_length AS length, reconciliation_head AS head, stamped_at AS since, now() AS at
        FROM installation FOR UPDATE
        """
    )
    if end is None:
        raise ValueError("this database is empty: nobody has used it yet")
    text = _canonical(facts)
    place = end["length"] + 1
    row: Row = {"place": place, "at": end["at"], "kind": kind, "subject": subject, "facts": json.loads(text)}
    link = _link(key, end["head"] or NOTHING_YET, row | {"who": who, "why": why}, end["since"])
    tx.run(
        "UPDATE installation SET reconciliation_length = :place, reconciliation_head = :head",
        place=place,
        head=_head(key, place, link),
    )
    added = tx.row(
        """
        INSERT INTO reconciliation_log (at, kind, subject, facts, who, why, place, link, link_key)
        VALUES (now(), :kind, :subject, CAST(:facts AS jsonb), :who, :why, :place, :link, :link_key) RETURNING id
        """,
        kind=kind,
        subject=subject,
        facts=text,
        who=who,
        why=why,
        place=place,
        link=link,
        link_key=key.id,
    )
    assert added is not None
    return Entry(added["id"], place, end["at"])


def entries(database: Database, *, kind: str | None = None, subject: str | None = None) -> list[Row]:
    """The rows in order, of one kind or about one subject where these are given."""
    return database.rows(
        """
        SELECT id, at, kind, subject, facts, who, why, place, link, link_key FROM reconciliation_log
        WHERE kind = coalesce(CAST(:kind AS text), kind) AND subject = coalesce(CAST(:subject AS text), subject)
        ORDER BY place
        """,
        kind=kind,
        subject=subject,
    )


def wrong(tx: Transaction, keys: Sequence[AuditKey]) -> Iterator[str]:
    """What is not as it was signed, in words."""
    end = tx.row(
        "SELECT reconciliation_length AS length, reconciliation_head AS head, stamped_at AS since FROM installation"
    )
    rows = tx.rows("SELECT * FROM reconciliation_log ORDER BY place")
    if end is None:
        return
    known = {key.id: key for key in keys}
    before: str | None = NOTHING_YET
    place = 0
    for row in rows:
        name = f"row {row['place']} of the reconciliation log ({row['kind']} {row['subject']})"
        if row["place"] != place + 1:
            yield f"{name}: row {place + 1} was expected"
            before = None
        place = row["place"]
        key = known.get(row["link_key"])
        if key is None:
            yield f"{name} is signed with the key {row['link_key']}, which is not at hand"
        elif before is not None and _link(key, before, row, end["since"]) != row["link"]:
            yield f"{name} is not what was signed"
        before = _head(key, row["place"], row["link"]) if key else None
    if end["length"] != len(rows):
        yield f"the reconciliation log had {end['length']} rows, there are {len(rows)}"
    if before not in (end["head"] or NOTHING_YET, None):
        yield "the reconciliation log does not end in the row that was written last"


def _link(key: AuditKey, before: str, row: Row, since: datetime) -> str:
    at = (row["at"] - since) // timedelta(microseconds=1)
    facts = _canonical(row["facts"])
    return key.sign(LINK, before, row["place"], at, row["kind"], row["subject"], facts, row["who"], row["why"])


def _head(key: AuditKey, place: int, link: str) -> str:
    return key.sign(HEAD, place, link)


def _canonical(facts: object) -> str:
    """One text for one meaning, before the database stores it and after."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), default=_plain, allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset | tuple):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is no fact that can be signed")
