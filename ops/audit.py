"""`ops audit verify`: the audit log, checked under its keys: chains, heads, lengths, missing and extra rows, anchors;
and the reconciliation log.

Reads a page at a time, in one snapshot, whatever the size of the log. Changes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path

from ops import reconciliation_log
from ops.answers import Answer
from ops.progress import progress
from ops.session import Commands, Session, WrongUse, add_clue, add_group
from ops.words import counted
from shared.audit_chain import NOTHING_YET, Anchor, AuditKey, head, link, read_anchor, read_step
from shared.database import Database, Row, Transaction
from shared.gateway.trail import NO_ROW, ROWS

PAGE = 2000
MOST_SHOWN = 1000
"""Of what is wrong with payments: under another key each row is."""


@dataclass(frozen=True)
class Finding:
    """What is wrong, and with which payment; None: with the log as a whole."""

    transaction_id: str | None
    what: str


@dataclass(frozen=True)
class Report:
    """How much was read, and what was found."""

    payments: int
    rows: int
    keys: dict[str, int]
    """How many rows each key signed, by its short name."""
    anchors: int
    findings: list[Finding]


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "audit", "the audit log, checked under its key")
    check = actions.add_parser("verify", help="every payment's history, or one; and the anchors; changes nothing")
    add_clue(check, nargs="?")
    check.add_argument("--anchor", action="append", default=[], metavar="A", help="a line that was kept outside")
    check.add_argument(
        "--report", action="append", default=[], metavar="FILE", help="a report that `ops close` printed"
    )
    check.set_defaults(run=_verify)


def _verify(session: Session, chosen: argparse.Namespace) -> Answer:
    keys = session.audit_keys
    if chosen.clue is not None:
        report = verify_one(session.database, keys, _named(session, chosen.clue))
    else:
        try:
            with progress("payments", session.books.payments_in_all) as advance:
                report = verify(session.database, keys, chosen.anchor, advance)
        except ValueError as not_an_anchor:
            raise WrongUse(str(not_an_anchor)) from None
    report.findings.extend(_altered(session.database, chosen.report))
    at_hand = {key.id for key in keys}
    signed = [{"id": name, "rows": count, "at_hand": name in at_hand} for name, count in sorted(report.keys.items())]
    return Answer({**vars(report), "keys": signed}, _lines(report, at_hand), code=1 if report.findings else 0)


def _named(session: Session, clue: str) -> str:
    """An id is taken as it is: there may be history of a payment that is gone."""
    try:
        return str(uuid.UUID(clue))
    except ValueError:
        return str(session.payment(clue)["id"])


def _altered(database: Database, files: Sequence[str]) -> Iterator[Finding]:
    """Reports that are not as a month was closed."""
    closed = reconciliation_log.entries(database, kind="closed") if files else []
    printed = {row["facts"].get("report_sha256") for row in closed}
    for file in files:
        try:
            digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        except OSError as failed:
            raise WrongUse(f"{file} cannot be read: {failed.strerror}") from None
        if digest not in printed:
            yield Finding(
                None, f"{file} is not the report of a month that was closed: it was changed, or is of other books"
            )


def _lines(report: Report, at_hand: set[str]) -> Iterator[str]:
    for finding in report.findings:
        yield f"WRONG  {finding.transaction_id or 'the log'}  {finding.what}"
    for name, count in sorted(report.keys.items()):
        known = "" if name in at_hand else ", which is not at hand"
        yield f"{counted(count, 'row')} signed with the key {name}{known}"
    yield (
        f"{counted(report.payments, 'payment')}, {counted(report.rows, 'row')}, "
        f"{counted(report.anchors, 'anchor')} compared, {counted(len(report.findings), 'thing')} wrong"
    )


def verify(
    database: Database,
    keys: Sequence[AuditKey],
    anchors: Sequence[str] = (),
    advance: Callable[[int], None] = lambda _: None,
) -> Report:
    """Every payment's chain, and every anchor: those kept in the database, and `anchors`, kept outside.

    Raises ValueError where one of `anchors` is none.
    """
    outside = [read_anchor(token) for token in anchors]
    with database.transaction(snapshot=True) as tx:
        since = _since(tx)
        known = {key.id: key for key in keys}
        signed: Counter[str] = Counter()
        findings: list[Finding] = []
        payments = rows = in_all = 0
        for payment, history in _histories(tx):
            payments += payment is not None
            if payments % PAGE == 0:
                advance(PAGE)
            rows += len(history)
            signed.update(str(row["link_key"]) for row in history)
            found = _wrong(payment, history, known, since)
            findings += found[: MOST_SHOWN - len(findings)]
            in_all += len(found)
        wrong_anchors, checked = _anchors(tx, outside, since)
        wrong_anchors += [Finding(None, what) for what in reconciliation_log.wrong(tx, keys)]
    if more := in_all - len(findings):
        findings.append(Finding(None, f"{counted(more, 'more thing is', 'more things are')} wrong with payments"))
    return Report(payments, rows, signed, checked, findings + wrong_anchors)


def verify_one(database: Database, keys: Sequence[AuditKey], transaction_id: str) -> Report:
    """One payment's chain."""
    with database.transaction(snapshot=True) as tx:
        payment = tx.row(f"{PAYMENTS} WHERE id = CAST(:id AS uuid)", id=transaction_id)
        history = tx.rows(f"{ROWS} WHERE transaction_id = CAST(:id AS uuid) ORDER BY id", id=transaction_id)
        since = _since(tx)
    if payment is None and not history:
        return Report(0, 0, {}, 0, [Finding(transaction_id, "there is no such payment, and no history of one")])
    signed = Counter(str(row["link_key"]) for row in history)
    findings = _wrong(payment, history, {key.id: key for key in keys}, since)
    return Report(1, len(history), signed, 0, findings)


# One payment ----------------------------------------------------------------------------------------------------------

PAYMENTS = "SELECT id, status, audit_length, audit_head FROM transactions"


def _wrong(payment: Row | None, history: list[Row], keys: dict[str, AuditKey], since: datetime | None) -> list[Finding]:
    transaction_id = str(payment["id"] if payment else history[0]["transaction_id"])
    return [Finding(transaction_id, what) for what in _faults(payment, history, keys, since)]


def _faults(
    payment: Row | None, history: list[Row], keys: dict[str, AuditKey], since: datetime | None
) -> Iterator[str]:
    if payment is None:
        yield f"{counted(len(history), 'row')} of history, but the payment itself is gone"
    elif not history:
        yield "it has no history"
    if since is None:
        yield "the database is not stamped with its environment"
        return
    yield from _links(history, keys, since)
    if payment is None:
        return
    if payment["audit_length"] != len(history):
        yield f"the payment says that it has {payment['audit_length']} rows, there are {len(history)}"
    if _end(history, keys) not in (payment["audit_head"] or NOTHING_YET, None):
        yield "the head on the payment is not that of its last row"
    if history and history[-1]["to_status"] != payment["status"]:
        yield f"the payment is {payment['status']}, its history ends in {history[-1]['to_status']}"


def _links(chain: list[Row], keys: dict[str, AuditKey], since: datetime) -> Iterator[str]:
    """Each row by its own link, which is made from the head that the rows before it give."""
    before: str | None = NOTHING_YET
    place = 0
    for row in chain:
        if row["place"] != place + 1:
            yield f"row {row['id']} is number {row['place']} of its chain, number {place + 1} was expected"
            before = None
        place = row["place"] or 0
        key = keys.get(row["link_key"])
        if key is None:
            yield f"row {row['id']} is signed with the key {row['link_key']}, which is not at hand"
        elif before is not None and link(key, before, read_step(row, since)) != row["link"]:
            yield f"row {row['id']} is not what was signed"
        before = _head_after(row, keys)


def _end(chain: list[Row], keys: dict[str, AuditKey]) -> str | None:
    """The head that the last row gives; None where its key is not at hand."""
    return _head_after(chain[-1], keys) if chain else NOTHING_YET


def _head_after(row: Row, keys: dict[str, AuditKey]) -> str | None:
    key = keys.get(row["link_key"])
    return head(key, str(row["transaction_id"]), row["place"], row["link"]) if key is not None else None


def _histories(tx: Transaction) -> Iterator[tuple[Row | None, list[Row]]]:
    """Every payment with its rows, and rows whose payment is gone; in the order of payments' ids."""
    after: str | None = None
    while True:
        payments = tx.rows(
            f"{PAYMENTS} WHERE CAST(:after AS uuid) IS NULL OR id > CAST(:after AS uuid) ORDER BY id LIMIT :most",
            after=after,
            most=PAGE,
        )
        until = str(payments[-1]["id"]) if len(payments) == PAGE else None
        rows = tx.rows(
            f"""
            {ROWS} WHERE (CAST(:after AS uuid) IS NULL OR transaction_id > CAST(:after AS uuid))
                     AND (CAST(:until AS uuid) IS NULL OR transaction_id <= CAST(:until AS uuid))
            ORDER BY transaction_id, id
            """,
            after=after,
            until=until,
        )
        histories = {key: list(group) for key, group in groupby(rows, lambda row: str(row["transaction_id"]))}
        for payment in payments:
            yield payment, histories.pop(str(payment["id"]), [])
        for left_over in histories.values():
            yield None, left_over
        if until is None:
            return
        after = until


def _since(tx: Transaction) -> datetime | None:
    stamp = tx.row("SELECT stamped_at FROM installation")
    return stamp["stamped_at"] if stamp else None


# Anchors --------------------------------------------------------------------------------------------------------------


def _anchors(
    tx: Transaction, outside: Sequence[tuple[Anchor, datetime]], since: datetime | None
) -> tuple[list[Finding], int]:
    """What the log no longer holds of what an anchor says; and how many were compared."""
    if since is None:
        return [], 0
    kept = tx.rows("SELECT id, last_audit_id, row_count, payment_count, digest FROM audit_anchors ORDER BY id")
    claims = [
        (
            f"anchor {row['id']} of the database",
            Anchor(row["last_audit_id"], row["row_count"], row["payment_count"], row["digest"]),
        )
        for row in kept
    ]
    claims += [(f"the anchor {anchor.token(stamped)}", anchor) for anchor, stamped in outside]
    findings = [
        Finding(None, f"the anchor {anchor.token(stamped)} was made when the books began at another moment")
        for anchor, stamped in outside
        if stamped != since
    ]
    claims.sort(key=lambda claim: claim[1].last_audit_id)
    reached = Anchor()
    rows = _in_order(tx, claims[-1][1].last_audit_id if claims else 0)
    row = next(rows, None)
    for name, claimed in claims:
        while row is not None and row["id"] <= claimed.last_audit_id:
            reached = reached.after(row)
            row = next(rows, None)
        if reached != claimed:
            findings.append(Finding(None, f"{name} does not hold: {_difference(claimed, reached)}"))
    return findings, len(claims)


def _difference(claimed: Anchor, reached: Anchor) -> str:
    if (claimed.rows, claimed.payments) != (reached.rows, reached.payments):
        return (
            f"up to row {claimed.last_audit_id} it counted {claimed.rows} rows of {claimed.payments} payments, "
            f"now there are {reached.rows} of {reached.payments}"
        )
    return f"rows up to {claimed.last_audit_id} are not those that it was made of"


def _in_order(tx: Transaction, until: int) -> Iterator[Row]:
    after = NO_ROW
    while rows := tx.rows(
        f"{ROWS} WHERE id > :after AND id <= :until ORDER BY id LIMIT :most",
        after=after,
        until=until,
        most=PAGE,
    ):
        yield from rows
        after = rows[-1]["id"]
