"""Lines about erasures, which left the house when a person was erased, repeat them after a restore.

A line names the payment, the scope and, of a mention, the columns; never the person. It is signed, so nobody without
the key of the audit log can have a stranger erased by one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ops.erasure import Eraser
from ops.people import People
from ops.session import WrongUse
from ops.statements.unclaimed import OF_NO_PAYMENT
from ops.words import counted
from shared.audit_chain import AuditKey, Erasure, read_erasures
from shared.gateway.invoices import Operator
from shared.gateway.trail import Trail
from shared.values import EAT

if TYPE_CHECKING:
    from shared.database import Database

A_BROKEN_LINE = re.compile(r"=\r?\n")
"""As mail programs save a long line (quoted-printable)."""


@dataclass(frozen=True)
class Repeated:
    """What became of the lines in a text."""

    counts: Mapping[str, int]
    by_hand: Sequence[str] = field(default=())
    """What a person has to do, in words."""

    @property
    def complete(self) -> bool:
        return not self.by_hand

    @property
    def document(self) -> dict[str, object]:
        names = ("erased", "erased_before", "not_in_the_backup", "not_yet", "of_no_payment", "not_genuine")
        return {**{name: self.counts.get(name, 0) for name in names}, "by_hand": list(self.by_hand)}

    @property
    def lines(self) -> Iterator[str]:
        of, before, gone = (self.counts.get(each, 0) for each in ("erased", "erased_before", "not_in_the_backup"))
        yield f"{counted(of, 'erasure')} repeated, {before} there already, {gone} of payments that the backup has not"
        yield from self.by_hand


def lines_file(file: Path) -> str:
    """Its text. Raises `WrongUse`."""
    try:
        return file.read_text("utf-8", "replace")
    except OSError as refused:
        raise WrongUse(f"{file} cannot be read: {refused.strerror}") from None


def erase_again(database: Database, keys: Sequence[AuditKey], text: str, who: str) -> Repeated:
    """Every erasure that a text has a line of, once: a saved log, mails. May be repeated."""
    people, counts, on = People(database, nothing_owed=True), Counter[str](), set[str]()
    done: set[str] = set()
    news = {each for order in people.erased_orders_with_news() for each in order.ids}
    found = dict(read_erasures(A_BROKEN_LINE.sub("", text), keys))
    for said in sorted(filter(None, found.values()), key=lambda each: each.at):
        day = f"{said.at.astimezone(EAT):%Y-%m-%d}"
        by = Operator(who, f"again after a restore: erased on {day}")
        became = _again(database, people, Eraser(database, people, Trail(keys[0]), by), said, done, news)
        counts[became] += 1
        on |= {day} if became == "of_no_payment" else set()
    counts["not_genuine"] = sum(said is None for said in found.values())
    return Repeated(counts, list(_by_hand(counts, sorted(on))))


def _again(database: Database, people: People, eraser: Eraser, said: Erasure, done: set[str], news: set[str]) -> str:
    """The name of what became of it. `news`: erased payments about which something came since."""
    if said.transaction_id in done:
        return "erased"
    if said.transaction_id == OF_NO_PAYMENT:
        return "of_no_payment"
    order = people.order(said.transaction_id)
    if order is None and (said.scope != "mention" or not _has_callbacks(database, said)):
        return "not_in_the_backup"
    if said.scope == "mention" and not (order and order.is_erased):
        if _mention_is_erased(database, said):
            return "erased_before"
        return "erased" if eraser.mention_again(said.transaction_id, said.columns) else "not_yet"
    assert order is not None
    if order.is_erased and not news & set(order.ids):
        return "erased_before"
    if not eraser.person(order):
        return "not_yet"
    done.update(order.ids)
    return "erased"


def _has_callbacks(database: Database, said: Erasure) -> bool:
    stored = "SELECT FROM callback_inbox WHERE transaction_id = CAST(:id AS uuid) LIMIT 1"
    return database.row(stored, id=said.transaction_id) is not None


def _mention_is_erased(database: Database, said: Erasure) -> bool:
    recorded = """
        SELECT FROM erasures WHERE transaction_id = CAST(:id AS uuid) AND scope = 'mention' AND at >= :at LIMIT 1
    """
    return database.row(recorded, id=said.transaction_id, at=said.at) is not None


def _by_hand(counts: Mapping[str, int], days: Sequence[str]) -> Iterator[str]:
    if counts["not_yet"]:
        yield (
            f"{counted(counts['not_yet'], 'erasure')} not yet: a payment is open, in review, or changed within 48"
            " hours. Later: python -m ops privacy repeat FILE"
        )
    if days:
        yield (
            f"rows of statements that no payment has were erased on {', '.join(days)}: erase whoever asked then once"
            " more, with `ops privacy erase`"
        )
    if counts["not_genuine"]:
        yield (
            f"{counted(counts['not_genuine'], 'line')} not signed with a key at hand (AUDIT_SECRET_PREVIOUS):"
            " nobody was erased by them"
        )
