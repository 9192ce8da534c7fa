"""What a backup says about itself: of when, of which database, how many rows and which checksum each table has.

It is measured in the snapshot that pg_dump reads, and signed: whoever has only the public recipient can encrypt a file,
and cannot make one that is taken as a backup of this shop.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ops.backups import NotABackup, WrongKey
from shared.audit_chain import NOTHING_YET, Anchor, AuditKey
from shared.database import Transaction
from shared.gateway.trail import NO_ROW

FORM, SIGNED, KEY = 1, "lipa backup 1", "lipa backup key 1"
SCHEMAS = ("public", "lipa", "netlify")
"""What is Lipa's in a database: the tables, and who applied which migration. Hosts keep schemas of their own."""
PAGE = 10_000


@dataclass(frozen=True)
class Contents:
    """Of one table."""

    rows: int
    checksum: str
    """The same for the same rows, in whatever order, on PostgreSQL 15 to 18."""


@dataclass(frozen=True)
class Manifest:
    """The first line of a backup."""

    at: datetime
    """The database's own moment, to the second."""
    environment: str
    stamped_at: datetime
    """With the environment, this tells the databases of shops apart."""
    server_version: str
    client_version: str
    """Of pg_dump: an older pg_restore cannot read the dump."""
    migrations: tuple[str, ...]
    tables: Mapping[str, Contents]
    """By name: `transactions`; and with its schema where that is not public: `lipa.migrations`."""
    audit: str
    """The audit log up to its last row, as an anchor's line."""
    signed_by: str = ""
    signature: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return f"lipa-{self.environment}-{self.at:%Y%m%dT%H%M%SZ}.age"

    @property
    def line(self) -> bytes:
        return json.dumps({**self._said(), "signed_by": self.signed_by, "signature": self.signature}).encode() + b"\n"

    def signed(self, key: AuditKey) -> Manifest:
        """`key`: of `signing_key`."""
        return replace(self, signed_by=key.id, signature=self._signature(key))

    def verify(self, keys: Sequence[AuditKey]) -> None:
        """Raises `WrongKey` where none of `keys` signed it, or where it was altered."""
        key = next((key for key in keys if key.id == self.signed_by), None)
        if key is None:
            raise WrongKey(
                f"it was signed with the key {self.signed_by}, which is not at hand: set AUDIT_SECRET to that of the "
                "shop whose backup this is, or add the old one to AUDIT_SECRET_PREVIOUS"
            )
        if self.signature != self._signature(key):
            raise WrongKey("its first line is not what was signed: somebody made or altered this file; take another")

    def _signature(self, key: AuditKey) -> str:
        return key.sign(SIGNED, json.dumps(self._said(), sort_keys=True))

    def _said(self) -> dict[str, Any]:
        return {
            "lipa_backup": FORM,
            "at": self.at.astimezone(UTC).isoformat(),
            "environment": self.environment,
            "stamped_at": self.stamped_at.astimezone(UTC).isoformat(),
            "server_version": self.server_version,
            "client_version": self.client_version,
            "migrations": list(self.migrations),
            "tables": {name: vars(contents) for name, contents in sorted(self.tables.items())},
            "audit": self.audit,
        }


def read(line: bytes) -> Manifest:
    """The manifest of a first line. Raises `NotABackup`."""
    try:
        said = json.loads(line)
        form = said.pop("lipa_backup")
        if isinstance(form, int) and form > FORM:
            raise NotABackup("it was made by a newer Lipa: use the checkout that made it, or a newer one")
        tables = {str(name): Contents(int(of["rows"]), str(of["checksum"])) for name, of in said.pop("tables").items()}
        at, stamped_at = (datetime.fromisoformat(said.pop(name)) for name in ("at", "stamped_at"))
        migrations = tuple(map(str, said.pop("migrations")))
        return Manifest(at=at, stamped_at=stamped_at, migrations=migrations, tables=tables, **said)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise NotABackup("it is encrypted to this key, and is no backup of Lipa's") from None


def signing_key(audit_key: AuditKey) -> AuditKey:
    """What signs backups. Derived: the machine that makes backups has it, and cannot sign the audit log with it."""
    return AuditKey(audit_key.sign(KEY))


def differences(said: Mapping[str, Contents], found: Mapping[str, Contents]) -> list[str]:
    """A sentence for each table that is not as the backup says."""
    return list(_differences(said, found))


def _differences(said: Mapping[str, Contents], found: Mapping[str, Contents]) -> Iterator[str]:
    for name in sorted(said.keys() | found.keys()):
        before, after = said.get(name), found.get(name)
        if before is None or after is None:
            yield f"table {name} is not in the {'backup' if before is None else 'database'}"
        elif before.rows != after.rows:
            yield f"table {name} has {after.rows} rows, the backup says {before.rows}"
        elif before != after:
            yield f"table {name} has as many rows as the backup says, with other contents"


# Measuring ------------------------------------------------------------------------------------------------------------


def schemas(tx: Transaction) -> list[str]:
    """Those of `SCHEMAS` that there are. Netlify's may be closed to us, and is not missed then."""
    rows = tx.rows(
        """
        SELECT nspname FROM pg_namespace
        WHERE nspname IN ('public', 'lipa') OR nspname = 'netlify' AND has_schema_privilege(oid, 'USAGE')
        """
    )
    there = {row["nspname"] for row in rows}
    return [name for name in SCHEMAS if name in there]


def measure(tx: Transaction, advance: Callable[[int], None] = lambda _: None) -> dict[str, Contents]:
    """Every table of `schemas`, by name. `advance` is given the rows of each. The transaction sets how values are
    written as text (`shared/database/connection.py`), so the same rows give the same sums everywhere.
    """
    found: dict[str, Contents] = {}
    for schema, table in _tables(tx):
        row = tx.row(CONTENTS.format(f"{_quoted(schema)}.{_quoted(table)}"))
        assert row is not None
        found[table if schema == "public" else f"{schema}.{table}"] = Contents(row["rows"], row["checksum"])
        advance(row["rows"])
    return found


CONTENTS = """
    SELECT count(*) AS rows,
           coalesce(sum(('x' || left(digest, 15))::bit(60)::bigint), 0) || '-'
           || coalesce(sum(('x' || substr(digest, 16, 15))::bit(60)::bigint), 0) AS checksum
    FROM (SELECT md5(whole_row::text) AS digest FROM {} AS whole_row OFFSET 0) each_row
"""
"""Sums, because they do not depend on an order, and because a row that is there twice counts twice."""


def migrations(tx: Transaction) -> tuple[str, ...]:
    """The names of those that were applied, by whomever."""
    kept = [schema for schema, table in _tables(tx) if table == "migrations" and schema != "public"]
    return tuple(sorted({row["name"] for schema in kept for row in tx.rows(f"SELECT name FROM {schema}.migrations")}))  # noqa: S608


def head(tx: Transaction) -> Anchor:
    """The audit log up to its last row. Goes on from the database's own last anchor: that one is checked elsewhere."""
    row = tx.row("SELECT last_audit_id, row_count, payment_count, digest FROM audit_anchors ORDER BY id DESC LIMIT 1")
    reached = Anchor(*row.values()) if row else Anchor(NO_ROW, 0, 0, NOTHING_YET)
    while rows := tx.rows(LINKS, after=reached.last_audit_id, most=PAGE):
        for each in rows:
            reached = reached.after(each)
    return reached if reached.rows else Anchor()


LINKS = """
    SELECT id, transaction_id, place, link, from_status FROM audit_log WHERE id > :after ORDER BY id LIMIT :most
"""
"""What an anchor is made of."""


def _tables(tx: Transaction) -> list[tuple[str, str]]:
    rows = tx.rows(
        """
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname = ANY (string_to_array(:schemas, ' '))
        ORDER BY n.nspname, c.relname
        """,
        schemas=" ".join(schemas(tx)),
    )
    return [(row["nspname"], row["relname"]) for row in rows]


def _quoted(name: str) -> str:
    return '"' + re.sub('"', '""', name) + '"'
