"""`ops verify`: the invariants, each one query of db/invariants.sql, read-only in one snapshot; and the audit log."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops import audit
from ops.answers import Answer
from ops.progress import progress
from ops.session import Commands, Session
from ops.words import counted
from shared.audit_chain import AuditKey
from shared.database import Database

INVARIANTS = Path(__file__).parent.parent / "db" / "invariants.sql"


@dataclass(frozen=True)
class Result:
    """One invariant: what it promises, and the ids of the payments that break it."""

    name: str
    promise: str
    broken_by: list[str]

    @property
    def holds(self) -> bool:
        return not self.broken_by


def add_commands(commands: Commands) -> None:
    commands.add_parser("verify", help="check every invariant; changes nothing").set_defaults(run=_verify)


def _verify(session: Session, _: argparse.Namespace) -> Answer:
    keys = session.audit_keys if session.has_audit_key else None
    with progress("payments of the audit log", session.books.payments_in_all) as advance:
        results = check(session.database, keys, advance)
    broken = sum(not result.holds for result in results)
    return Answer(
        {
            "invariants": [{**vars(result), "holds": result.holds} for result in results],
            "broken": broken,
            "signatures_checked": session.has_audit_key,
        },
        _lines(results, signatures_checked=session.has_audit_key),
        code=1 if broken else 0,
    )


def _lines(results: list[Result], *, signatures_checked: bool) -> Iterator[str]:
    for result in results:
        yield f"{'ok    ' if result.holds else 'BROKEN'}  {result.name}: {result.promise}"
        for transaction_id in result.broken_by[:10]:
            yield f"          {transaction_id}"
        if len(result.broken_by) > 10:
            yield f"          and {len(result.broken_by) - 10} more"
    if not signatures_checked:
        yield "not checked: the signatures of the audit log; set AUDIT_SECRET to what `ops audit-secret` prints"
    yield f"{counted(len(results), 'invariant')}, {sum(not result.holds for result in results)} broken"


def check(
    database: Database, keys: Sequence[AuditKey] | None = None, advance: Callable[[int], None] = lambda _: None
) -> list[Result]:
    """Every invariant, on one consistent view of the books; with `keys` the audit log too. Changes nothing.

    Where the tables are not even where the functions look, only that.
    """
    results: list[Result] = []
    with database.transaction(snapshot=True) as tx:
        for name, promise, sql in read_invariants(INVARIANTS.read_text(encoding="utf-8")):
            results.append(Result(name, promise, [str(next(iter(row.values()))) for row in tx.rows(sql)]))
            if name == "tables_are_in_public" and not results[-1].holds:
                return results
    return results if keys is None else [*results, _signatures(database, keys, advance)]


def _signatures(database: Database, keys: Sequence[AuditKey], advance: Callable[[int], None]) -> Result:
    found = [
        f"{finding.transaction_id or 'the log'}: {finding.what}"
        for finding in audit.verify(database, keys, advance=advance).findings
    ]
    return Result(
        "audit_log_is_signed", "every payment's history is as it was signed (`ops audit verify` says more)", found
    )


def read_invariants(text: str) -> list[tuple[str, str, str]]:
    """Name, promise and query of each: a comment `-- name: promise`, then one statement."""
    found = re.findall(r"^-- (\w+): (.+)\n((?:(?!-- ).*\n?)+)", text, re.MULTILINE)
    return [(name, promise, sql.strip().rstrip(";")) for name, promise, sql in found]
