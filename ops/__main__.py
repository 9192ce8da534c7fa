"""`python -m ops COMMAND`: what an operator does with the books. Needs DATABASE_URL; `--help` lists the commands."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from ops import alerts, audit, case, letters, privacy, review
from ops.books import Books
from ops.verify import check
from ops.words import counted, impersonal_words, visible
from shared.daraja.callback_reader import receipts_seen
from shared.database import Database, DatabaseError, Row
from shared.east_africa_time import EAT
from shared.gateway import Gateway
from shared.money import LARGEST_KES, in_words
from shared.observability.log import where_it_broke
from shared.phone import masked
from shared.settings import (
    audit_key_is_at_hand,
    audit_settings,
    callback_secret,
    confirm_above_kes,
    database_url,
    limits,
)
from shared.settings_reader import Misconfigured

CLUES = "transaction id, receipt, order reference, phone, invoice number, CheckoutRequestID, or an entry of the inbox"
CAN_BE_LOOKED_UP = f"what can be looked up: {CLUES}"


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """0: done, and all is well. 1: it was refused, or something is wrong with the books. 2: it could not be run."""
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.command == "callback-secret":
            print(callback_secret(environ))
            return 0
        if chosen.command == "audit-secret":
            print(audit_settings(environ).key.secret)
            return 0
        if chosen.command == "letters":
            return letters.run(chosen, environ)
        chosen.environ = environ
        database = Database(database_url(environ), statement_timeout_s=120)
        if getattr(chosen, "confirm_above_kes", False) is None:
            chosen.confirm_above_kes = confirm_above_kes(environ)
        try:
            run: Callable[[Database, argparse.Namespace], int] = chosen.run
            ended = run(database, chosen)
            with contextlib.suppress(DatabaseError):
                if (warning := alerts.no_sweep(database)) is not None:
                    print(f"ops: {warning}", file=sys.stderr)
            return ended
        finally:
            database.close()
    except review.NotPossible as refused:
        print(f"ops: {refused}", file=sys.stderr)
        return 1
    except (Misconfigured, DatabaseError) as refused:
        print(f"ops: {refused}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops", description="What an operator does with the books.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    verify = commands.add_parser("verify", help="check every invariant; changes nothing")
    verify.set_defaults(run=_verify)

    chains = commands.add_parser("audit", help="the audit log, checked under its key").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    chain = chains.add_parser("verify", help="every payment's history, or one; and the anchors; changes nothing")
    chain.add_argument("transaction_id", metavar="TX", nargs="?", type=_transaction_id)
    chain.add_argument("--anchor", action="append", default=[], metavar="A", help="a line that was kept outside")
    chain.set_defaults(run=_audit_verify)

    again = commands.add_parser("replay", help="every decision again, from the evidence on file; changes nothing")
    _add_confirm_above(again)
    again.set_defaults(run=_replay)

    about = commands.add_parser("case", help="everything known about one payment, told in order")
    about.add_argument(
        "clue",
        metavar="TX",
        help=CLUES,
    )
    about.set_defaults(run=_case)

    actions = commands.add_parser("review", help="payments that wait for a person").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    actions.add_parser("list", help="which, why, and with which receipts").set_defaults(run=_review_list)
    for name, what, receipt_of in (
        ("pay", "the money is on the statement", "the money that came"),
        ("fail", "no money came", None),
        ("refunded", "the whole amount went back", "the reversal, not of the payment"),
    ):
        action = actions.add_parser(name, help=what)
        action.add_argument("transaction_id", metavar="TX", type=_transaction_id)
        if receipt_of is not None:
            action.add_argument(
                "--receipt", required=True, metavar="R", help=f"the M-Pesa receipt number of {receipt_of}"
            )
        _add_who_and_why(action, needs_why=True)
        action.set_defaults(run=_review_act)

    entries = commands.add_parser("inbox", help="callbacks that could not be judged").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    entries.add_parser("list", help="those that wait, are held, or are dead letters").set_defaults(run=_inbox_list)
    retry = entries.add_parser("retry", help="judge again, from the bytes on file")
    which = retry.add_mutually_exclusive_group()
    which.add_argument("entry", metavar="ENTRY", nargs="?", help="one entry; without it every dead letter")
    which.add_argument("--held", action="store_true", help="every one held for its address (CALLBACK_IP_MODE=enforce)")
    _add_who_and_why(retry, needs_why=False)
    _add_confirm_above(retry)
    retry.set_defaults(run=_inbox_retry)

    invoices = commands.add_parser("invoice", help="invoices that customers wait for").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    resend = invoices.add_parser("resend", help="the same invoice once more, to the address on file")
    whose = resend.add_mutually_exclusive_group(required=True)
    whose.add_argument("clue", metavar="TX|INVOICE", nargs="?", help="transaction id, invoice number, or receipt")
    whose.add_argument("--failed", action="store_true", help="every invoice that was given up, as after an outage")
    _add_who_and_why(resend, needs_why=True)
    resend.set_defaults(run=_invoice_resend)

    receipts = commands.add_parser("receipts", help="M-Pesa receipt numbers").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    receipts.add_parser("missing", help="paid, but no callback named the receipt").set_defaults(run=_receipts_missing)

    privacy.add_commands(commands)
    alerts.add_commands(commands)
    letters.add_commands(commands)
    bounds = commands.add_parser("limits", help="each limit, its use, and whether to raise it; changes nothing")
    bounds.set_defaults(run=_limits)

    commands.add_parser(
        "callback-secret", help="the secret that signs callback addresses; print it before rotating keys"
    )
    commands.add_parser("audit-secret", help="the secret that signs the audit log; print it before rotating keys")
    return parser


def _kes(text: str) -> Decimal:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError("must be whole shillings, like 20000")
    return Decimal(text)


def _transaction_id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            "must be a transaction id; `case` finds it by receipt, reference or phone"
        ) from None


def _add_who_and_why(command: argparse.ArgumentParser, *, needs_why: bool) -> None:
    """Kept in the audit log with whatever the command does."""
    command.add_argument(
        "--why",
        type=impersonal_words,
        required=needs_why,
        default="to have it judged again",
        help="what you saw; kept in the audit log, so no personal data",
    )
    command.add_argument("--who", type=impersonal_words, help="your name in the audit log (default: your login)")


def _operator(named: str | None) -> str:
    try:
        return named or getpass.getuser()
    except (KeyError, OSError):
        raise review.NotPossible("nobody is logged in here: say who you are with --who NAME") from None


def _add_confirm_above(command: argparse.ArgumentParser) -> None:
    """Judging depends on it: where the functions run with another threshold than this environment has, it is said."""
    command.add_argument(
        "--confirm-above-kes", type=_kes, metavar="KES", help="as the functions have it (default: CONFIRM_ABOVE_KES)"
    )


def _verify(database: Database, chosen: argparse.Namespace) -> int:
    at_hand = audit_key_is_at_hand(chosen.environ)
    results = check(database, audit_settings(chosen.environ).keys if at_hand else None)
    for result in results:
        print(f"{'ok    ' if result.holds else 'BROKEN'}  {result.name}: {result.promise}")
        for transaction_id in result.broken_by[:10]:
            print(f"          {transaction_id}")
        if len(result.broken_by) > 10:
            print(f"          and {len(result.broken_by) - 10} more")
    broken = sum(not result.holds for result in results)
    if not at_hand:
        print("not checked: the signatures of the audit log; set AUDIT_SECRET to what `ops audit-secret` prints")
    print(f"{counted(len(results), 'invariant')}, {broken} broken")
    return 1 if broken else 0


def _audit_verify(database: Database, chosen: argparse.Namespace) -> int:
    keys = audit_settings(chosen.environ).keys
    if chosen.transaction_id is not None:
        report = audit.verify_one(database, keys, chosen.transaction_id)
    else:
        try:
            report = audit.verify(database, keys, chosen.anchor)
        except ValueError as refused:
            print(f"ops: {refused}", file=sys.stderr)
            return 2
    for finding in report.findings:
        print(f"WRONG  {finding.transaction_id or 'the log'}  {finding.what}")
    for name, count in sorted(report.keys.items()):
        known = "" if name in {key.id for key in keys} else ", which is not at hand"
        print(f"{counted(count, 'row')} signed with the key {name}{known}")
    print(
        f"{counted(report.payments, 'payment')}, {counted(report.rows, 'row')}, "
        f"{counted(report.anchors, 'anchor')} compared, {counted(len(report.findings), 'thing')} wrong"
    )
    return 1 if report.findings else 0


def _replay(database: Database, chosen: argparse.Namespace) -> int:
    from ops.replay import replay

    decisions, differences = replay(Books(database), chosen.confirm_above_kes)
    for difference in differences:
        print(f"DIFFERS  {difference.transaction_id}  {difference.what}")
    print(f"{counted(decisions, 'decision')} taken again, {counted(len(differences), 'difference')}")
    return 1 if differences else 0


def _case(database: Database, chosen: argparse.Namespace) -> int:
    books = Books(database)
    found = books.find(chosen.clue)
    if not found:
        print(f"ops: nothing is known about {visible(chosen.clue)}; {CAN_BE_LOOKED_UP}", file=sys.stderr)
        return 1
    if len(found) > 1:
        print(f"{len(found)} payments; `ops case TX` tells one:")
        return _print(found)
    for line in case.tell(books, str(found[0]["id"])):
        print(line)
    return 0


def _review_list(database: Database, _: argparse.Namespace) -> int:
    waiting = Books(database).in_review()
    print(f"{counted(len(waiting), 'payment waits', 'payments wait')} for a person")
    return _print(waiting)


def _review_act(database: Database, chosen: argparse.Namespace) -> int:
    gateway = _gateway(database, chosen)
    who = _operator(chosen.who)
    if chosen.action == "pay":
        status = review.pay(gateway, chosen.transaction_id, chosen.receipt, who, chosen.why)
    elif chosen.action == "fail":
        status = review.fail(gateway, chosen.transaction_id, who, chosen.why)
    else:
        status = review.refunded(gateway, chosen.transaction_id, chosen.receipt, who, chosen.why)
    print(f"{chosen.transaction_id} is {status}")
    return 0


def _inbox_list(database: Database, _: argparse.Namespace) -> int:
    entries = Books(database).unsettled_callbacks()
    in_all = entries[0]["in_all"] if entries else 0
    newest = f"; these are the newest {len(entries)}" if in_all > len(entries) else ""
    print(f"{counted(in_all, 'callback waits', 'callbacks wait')} or could not be judged{newest}")
    for entry in entries:
        state = entry["outcome"] or f"try {entry['tries'] + 1} of 3 at {_eat(entry['next_try_at'])}"
        names = f"  names receipt {', '.join(entry['receipts'])}" if entry["receipts"] else ""
        print(f"{entry['id']}  {_eat(entry['received_at'])}  payment {entry['transaction_id']}  {state}{names}")
        if entry["source_check"] in ("unlisted", "held"):
            print(f"    from {visible(entry['source_address'])}, which is not one of Safaricom's addresses")
        if entry["last_error"]:
            print(f"    {entry['last_error']}")
    return 0


def _inbox_retry(database: Database, chosen: argparse.Namespace) -> int:
    """Each entry by itself: one that fails is said and left to the sweep, and the others are judged."""
    from shared.settlement import judge

    gateway = _gateway(database, chosen, chosen.confirm_above_kes)
    who = f"operator {_operator(chosen.who)}"
    entries = gateway.inbox.reopen(chosen.entry, "held" if chosen.held else "dead_letter")
    if chosen.entry and not entries:
        raise review.NotPossible(
            f"there is no entry {visible(chosen.entry)} in the inbox: "
            "`ops inbox list` names those that wait, not payments"
        )
    failed = 0
    for entry in entries:
        try:
            print(f"{entry.id}: {judge(gateway, entry, who, chosen.why)}")
        except Exception as failure:  # whatever it was, the entry is on file and the next one may be judged
            failed += 1
            gateway.inbox.put_back(entry, where_it_broke(failure), receipts_seen(entry.body))
            print(f"{entry.id}: failed, the sweep tries again ({where_it_broke(failure)})")
    if not entries:
        raise review.NotPossible(
            "nothing to judge again: no callback is " + ("held" if chosen.held else "a dead letter")
        )
    print(f"{len(entries) - failed} judged again" + f", {failed} failed" * bool(failed))
    return 1 if failed else 0


def _invoice_resend(database: Database, chosen: argparse.Namespace) -> int:
    from ops.invoices import resend, resend_given_up

    gateway, who = _gateway(database, chosen), _operator(chosen.who)
    if chosen.failed:
        done = resend_given_up(gateway, who, chosen.why)
    else:
        done = [resend(gateway, chosen.clue, who, chosen.why)]
    for transaction_id in done:
        print(f"the invoice of {transaction_id} is on its way: the sweep sends it within about a minute")
    print(f"{counted(len(done), 'invoice')} to be sent again")
    return 0


def _receipts_missing(database: Database, _: argparse.Namespace) -> int:
    missing = Books(database).without_receipt()
    print(f"{counted(len(missing), 'paid payment')} without a receipt number")
    return _print(missing)


def _limits(database: Database, chosen: argparse.Namespace) -> int:
    from ops.limits import evidence, tell, used

    allowed = limits(chosen.environ)
    for line in tell(allowed, used(database, allowed), evidence(database)):
        print(line)
    return 0


def _gateway(database: Database, chosen: argparse.Namespace, confirm_above_kes: Decimal = LARGEST_KES) -> Gateway:
    """An operator's own word needs no query; a callback that is judged again does, as it did the first time.

    Raises `Misconfigured` where the environment has no key to sign history with.
    """
    environment = Books(database).environment()
    if environment is None:
        raise review.NotPossible("these books are empty: nobody has used this database yet")
    return Gateway(database, environment, confirm_above_kes, audit_key=audit_settings(chosen.environ).key)


def _print(payments: Iterable[Row]) -> int:
    for row in payments:
        about = [
            f"{row['id']}  {_eat(row['created_at'])}  {row['status']:9}  {in_words(row['amount']):>12}",
            f"{row['account_reference']:12}  {masked(row['phone_number'])}",
        ]
        if row["review_reason"]:
            about.append(row["review_reason"])
        if row.get("receipts_seen") or row["mpesa_receipt_number"]:
            about.append(f"receipt {row.get('receipts_seen') or row['mpesa_receipt_number']}")
        print("  ".join(about))
    return 0


def _eat(at: object) -> str:
    from datetime import datetime

    return at.astimezone(EAT).strftime("%Y-%m-%d %H:%M") if isinstance(at, datetime) else "-"


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `… | head` is no fault
    sys.exit(main(sys.argv[1:], os.environ))
