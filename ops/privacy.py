"""`python -m ops privacy …`: what is stored about a person, erasing it, and what need not stay.

    export PHONE|EMAIL                                everything stored, as one file for the person
    erase PHONE|EMAIL --who NAME --why "…"            removes the person, keeps the money's record
    repeat FILE                                       after a restore: whoever was erased since the backup
    purge --yes                                       what is past its time (run it daily, or by hand)
    check                                             what can be seen of encryption from here

`--dry-run` changes nothing and counts; without it that is shown, and asked. docs/privacy.md says what stays, and on
which ground.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from ops import encryption, export, retention
from ops.answers import Answer
from ops.erasure import Eraser
from ops.erasure_lines import erase_again, lines_file
from ops.people import Order, People, Person, read_person
from ops.personal_columns import TABLES
from ops.session import Commands, NotPossible, Session, WrongUse, add_group, add_who, add_why, add_yes
from ops.words import counted
from shared.audit_chain import AuditKey
from shared.database import Database, DatabaseError
from shared.database.connection import Connection
from shared.gateway.invoices import Operator
from shared.gateway.trail import Trail
from shared.values import EAT, in_words


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "privacy", "what is stored about people: export, erase, purge")
    take_out = actions.add_parser("export", help="everything stored about a person, as one JSON file")
    take_out.add_argument("person", metavar="PHONE|EMAIL", type=_person)
    take_out.add_argument("--out", type=Path, metavar="FILE", help="default: personal-data-DATE-TIME.json, here")
    take_out.set_defaults(run=_export)

    erase = actions.add_parser("erase", help="removes a person, keeps the money's record")
    erase.add_argument("person", metavar="PHONE|EMAIL", type=_person)
    add_who(erase)
    add_why(erase)
    erase.add_argument("--dry-run", action="store_true", help="change nothing, count")
    erase.add_argument(
        "--nothing-owed", action="store_true", help="you looked in the portal: no money has to go back to them"
    )
    add_yes(erase)
    erase.set_defaults(run=_after_a_dry_run(_erase))

    again = actions.add_parser("repeat", help="after a restore: erase again whoever the lines in a file were about")
    again.add_argument("file", type=Path, metavar="FILE", help="mails or logs with lines like lipa-erasure-1/…")
    add_who(again)
    add_yes(again)
    again.set_defaults(run=_repeat)

    purge = actions.add_parser("purge", help="what is past its time: see docs/privacy.md")
    add_who(purge)
    purge.add_argument("--dry-run", action="store_true", help="change nothing, count")
    add_yes(purge)
    purge.set_defaults(run=_after_a_dry_run(_purge))

    actions.add_parser("check", help="what can be seen of encryption from here").set_defaults(run=_check)


def _person(text: str) -> Person:
    try:
        return read_person(text)
    except ValueError as refused:
        raise argparse.ArgumentTypeError(str(refused)) from None


def _after_a_dry_run(
    command: Callable[[Session, argparse.Namespace, bool], Answer],
) -> Callable[[Session, argparse.Namespace], Answer]:
    """What is final is shown by a dry run, and asked."""

    def run(session: Session, chosen: argparse.Namespace) -> Answer:
        if not chosen.dry_run:
            session.ask(chosen, lambda: command(session, chosen, True).lines)
        return command(session, chosen, chosen.dry_run)

    return run


def _export(session: Session, chosen: argparse.Namespace) -> Answer:
    found = export.collect(session.database, chosen.person)
    if export.is_empty(found):
        raise NotPossible("nothing is stored about them; no file was written")
    path: Path = chosen.out or Path(f"personal-data-{datetime.now(EAT):%Y%m%d-%H%M%S}.json")
    try:
        export.write(found, path)
    except OSError as refused:
        raise WrongUse(f"{path} cannot be written: {refused.strerror}") from None
    written = f"written to {path}: readable by you only; give it to the person, and remove it"
    document = {"file": str(path), "payments": len(found["payments"])}
    return Answer(document, [*export.summary(found), written])


def _erase(session: Session, chosen: argparse.Namespace, dry_run: bool) -> Answer:
    """Every order first, then where the person is named beside other payments. 1: something has to wait."""
    person: Person = chosen.person
    people = People(session.database, nothing_owed=chosen.nothing_owed)
    eraser = _eraser(session, people, chosen, chosen.why, dry_run, leaves=session.audit_keys[0])
    orders = people.orders_of(person)
    waiting = [order for order in orders if order.not_yet or not eraser.person(order)]
    done = {transaction_id for order in orders for transaction_id in order.ids}
    unfinished = _elsewhere(people, eraser, person, done)

    advice = _advice(people, person, [order for order in orders if order not in waiting])
    advice += _clean_up(session.database, eraser, dry_run=dry_run)
    lines = [*_counts(eraser, dry_run=dry_run)]
    for order in waiting:
        lines += _waiting(order)
    lines += [f"not yet: {each}, which is not theirs, names them: it is not finished" for each in unfinished]
    lines += advice
    if waiting or unfinished:
        lines.append("what waits is still stored: run this again when its reason is gone")
    elif not orders and not advice:
        lines.append("nothing more is stored about them")
    not_yet = {transaction_id: why for order in waiting for transaction_id, why in _reasons(order).items()}
    not_yet |= dict.fromkeys(unfinished, "names them, and is not finished")
    document = {"dry_run": dry_run, "erased": eraser.done, "not_yet": not_yet, "advice": advice}
    return Answer(document, lines, code=1 if not_yet else 0)


def _eraser(
    session: Session,
    people: People,
    chosen: argparse.Namespace,
    why: str,
    dry_run: bool,
    leaves: AuditKey | None = None,
) -> Eraser:
    by = Operator(session.operator(chosen), why)
    return Eraser(session.database, people, Trail(session.audit_keys[0]), by, dry_run=dry_run, leaves=leaves)


def _elsewhere(people: People, eraser: Eraser, person: Person, done: set[str]) -> list[str]:
    """Late callbacks about payments erased before, and records about others' payments. Returns what has to wait."""
    unfinished = []
    for transaction_id in people.named_elsewhere(person, but=done):
        if transaction_id in done:
            continue
        order = people.order(transaction_id)
        if order is not None and order.is_erased:
            done.update(order.ids)
            finished = eraser.person(order)
        else:
            finished = eraser.mention(transaction_id, person)
        if not finished:
            unfinished.append(transaction_id)
    return unfinished


def _counts(eraser: Eraser, *, dry_run: bool) -> Iterator[str]:
    would = "would be " if dry_run else ""
    done = eraser.done
    payments = counted(done["payments"], "payment")
    yield f"{payments} {would}without the person, {done['mentions']} more no longer naming them"
    for table in sorted(done.keys() - {"payments", "mentions"}):
        if done[table]:
            rows = "row" if done[table] == 1 else "rows"
            what = "deleted" if table == "idempotency_keys" else "rewritten"
            yield f"  {done[table]:5}  {rows} of {table} {would}{what}"


def _reasons(order: Order) -> dict[str, str]:
    return order.not_yet or {order.ids[0]: "changed just now: run this again"}


def _waiting(order: Order) -> Iterator[str]:
    reasons = _reasons(order)
    for transaction_id, why in reasons.items():
        row = next(each for each in order.payments if str(each["id"]) == transaction_id)
        yield f"not yet: {transaction_id}, {in_words(row['amount'])} for {row['account_reference']}: it {why}"
    if len(order.ids) > len(reasons):
        others = counted(len(order.ids) - len(reasons), "other attempt")
        yield f"  with it, {others} at the same order: they are erased together"


def _advice(people: People, person: Person, erased: list[Order]) -> list[str]:
    advice = []
    if (written := people.in_the_audit_log(person)) > 0:
        rows = counted(written, "audit row names", "audit rows name")
        advice.append(f"{rows} them, in a reason that somebody wrote: the audit log never changes")
    if person.email and erased:
        advice.append("payments of theirs without this e-mail address are found by their phone number: erase that too")
    return advice


def _clean_up(database: Database, eraser: Eraser, *, dry_run: bool) -> list[str]:
    """PostgreSQL keeps old versions of rows, and samples of values for its planner, until VACUUM and ANALYZE run."""
    if dry_run or not eraser.done.total():
        return []
    statement = f"VACUUM (ANALYZE) {', '.join(TABLES)}"
    try:
        if _owns_the_tables(database):  # PostgreSQL only warns whoever does not
            connection = Connection(database.settings, connect_timeout_s=5, read_timeout_s=3600)
            try:
                connection.script(statement)
            finally:
                connection.close()
            return []
    except DatabaseError as failed:
        print(f"ops: {failed}", file=sys.stderr)
    return [f"old row versions and planner statistics still hold the values. As the tables' owner, run: {statement}"]


def _owns_the_tables(database: Database) -> bool:
    (row,) = database.rows(
        """
        SELECT bool_and(pg_has_role(c.relowner, 'USAGE')) AS owned FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (string_to_array(:tables, ','))
        """,
        tables=",".join(TABLES),
    )
    return bool(row["owned"])


def _repeat(session: Session, chosen: argparse.Namespace) -> Answer:
    text = lines_file(chosen.file)
    session.ask(chosen, lambda: [f"Whoever the lines in {chosen.file.name} are about is erased again."])
    repeated = erase_again(session.database, session.audit_keys, text, session.operator(chosen))
    return Answer(repeated.document, repeated.lines, code=0 if repeated.complete else 1)


def _purge(session: Session, chosen: argparse.Namespace, dry_run: bool) -> Answer:
    people = People(session.database)
    eraser = _eraser(session, people, chosen, "past its time: see the retention table", dry_run)
    purged = list(retention.purge(session.database, people, eraser, dry_run=dry_run))
    lines = [
        f"{done:7}  {what}" + (f" ({waiting} not finished yet)" if waiting else "") for what, done, waiting in purged
    ]
    advice = _clean_up(session.database, eraser, dry_run=dry_run)
    lines += advice
    lines.append("nothing was changed: a dry run" if dry_run else "done")
    rules = [{"what": what, "done": done, "not_yet": waiting} for what, done, waiting in purged]
    return Answer({"dry_run": dry_run, "rules": rules, "advice": advice}, lines)


def _check(session: Session, _: argparse.Namespace) -> Answer:
    found = encryption.look(session.database)
    return Answer({"findings": found}, [f"{finding.mark:8}{finding.what}" for finding in found])
