"""What every command shares: the environment, the database, the operator's name, and the options that several have.

A command raises `NotPossible` where it refuses (exit code 1) and `WrongUse` where it cannot run (exit code 2).
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import sys
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from ops.answers import Table, show
from ops.words import impersonal_words, visible
from shared.database import Database, Row
from shared.settings import (
    audit_key_is_at_hand,
    audit_settings,
    confirm_above_kes,
    database_url,
    references_are_reusable,
)
from shared.values import LARGEST_KES

if TYPE_CHECKING:
    from ops.books import Books
    from ops.receipt_search import Findings
    from shared.audit_chain import AuditKey
    from shared.gateway import Gateway
    from shared.payments import Status

CLUES = (
    "transaction id, receipt, order reference, phone, e-mail address, invoice number, CheckoutRequestID, or an entry "
    "of the inbox"
)
A_QUERY_S, BETWEEN_QUERIES_S = 600, 60
"""One invariant over a million payments, on a busy machine, takes minutes, and to read what breaks it many seconds."""
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class NotPossible(Exception):
    """Refused, and nothing was changed. The text says why, and where to look; `facts` are for programs."""

    def __init__(self, says: str, **facts: object) -> None:
        super().__init__(says)
        self.facts = facts


class InNoPayment(NotPossible):
    """A receipt that is on file, and that no payment has."""

    def __init__(self, found: Findings) -> None:
        super().__init__(f"{found.receipt} is on file, and no payment has it: `ops receipts find {found.receipt}`")
        self.found = found


class WrongUse(Exception):
    """The command cannot run with these arguments."""


class Session:
    """One run of a command. The database is opened at first use: some commands need none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    @cached_property
    def database(self) -> Database:
        """Raises `Misconfigured` where the environment names no database."""
        url = database_url(self.environ)
        return Database(url, statement_timeout_s=A_QUERY_S, idle_timeout_s=BETWEEN_QUERIES_S)

    @property
    def has_database(self) -> bool:
        """Whether the command has used the database."""
        return "database" in self.__dict__

    @property
    def books(self) -> Books:
        """What an operator reads."""
        from ops.books import Books

        return Books(self.database)

    def payments(self, clue: str) -> list[Row]:
        """Those that a clue names. Raises `NotPossible` where it names none."""
        from ops.receipt_search import search, typed_as_account

        if "\x00" in clue:
            raise NotPossible(f"nothing is known about {visible(clue)}")
        if found := self.books.find(clue):
            return found
        if (elsewhere := search(self.database, clue)).is_known:
            raise InNoPayment(elsewhere)
        if receipts := typed_as_account(self.database, clue):
            where = f"on a statement: `ops receipts find {receipts[0]}`"
            raise NotPossible(f"no payment is known by {visible(clue)}; {', '.join(receipts)} came for it, {where}")
        forged = "; of a receipt that nothing names, `ops receipts find` says what to answer"
        raise NotPossible(f"nothing is known about {visible(clue)}{forged}. What can be looked up: {CLUES}")

    def payment(self, clue: str, *of_several: Status) -> Row:
        """The payment that a clue names: of several, the one with such a status. Raises `NotPossible`."""
        found = self.payments(clue)
        fits = [row for row in found if row["status"] in of_several] if len(found) > 1 else found
        if len(fits) != 1:
            known = f"{len(found)} payments are known by it; `ops case` finds a payment's id, which names one"
            raise NotPossible(f"{visible(clue)}: {known}")
        return fits[0]

    @property
    def has_audit_key(self) -> bool:
        return audit_key_is_at_hand(self.environ)

    @property
    def audit_keys(self) -> tuple[AuditKey, ...]:
        """The key that signs the audit log, then the previous ones. Raises `Misconfigured` where there is none."""
        return audit_settings(self.environ).keys

    def gateway(self, chosen: argparse.Namespace) -> Gateway:
        """What an operator writes through. A callback that is judged again waits for a query above the amount of
        `--confirm-above-kes`; an operator's own word never does.
        """
        from shared.gateway import Gateway

        environment = self.books.environment()
        if environment is None:
            raise NotPossible("this database is empty: nobody has used it yet")
        judges = hasattr(chosen, "confirm_above_kes")
        threshold_kes = self.confirm_above_kes(chosen) if judges else LARGEST_KES
        return Gateway(
            self.database,
            environment,
            threshold_kes,
            audit_key=self.audit_keys[0],
            references_are_reusable=references_are_reusable(self.environ),
        )

    def confirm_above_kes(self, chosen: argparse.Namespace) -> Decimal:
        """The option, else CONFIRM_ABOVE_KES of the environment."""
        given: Decimal | None = chosen.confirm_above_kes
        return confirm_above_kes(self.environ) if given is None else given

    def operator(self, chosen: argparse.Namespace) -> str:
        """`--who`, else the login."""
        try:
            return str(chosen.who or getpass.getuser())
        except (KeyError, OSError, ImportError):
            raise NotPossible("nobody is logged in here: say who you are with --who NAME") from None

    def ask(self, chosen: argparse.Namespace, shown: Callable[[], Iterable[str | Table]]) -> None:
        """Before what is final: shows it and asks, unless `--yes` answers. Raises `NotPossible`: the answer is no."""
        if chosen.yes:
            return
        self.require_terminal("this is final, and there is no terminal to ask at: add --yes. Nothing was changed")
        for line in shown():
            show(line, to_asker=True)
        if self.typed("This is final. To do it, type yes: ").lower() != "yes":
            raise NotPossible("the answer was not yes. Nothing was changed")

    def require_terminal(self, otherwise: str) -> None:
        """Raises `NotPossible` with these words where nobody can be asked."""
        if sys.stdin is None or not sys.stdin.isatty():
            raise NotPossible(otherwise)

    def typed(self, question: str) -> str:
        """What a person answers; nothing, where they press Ctrl-C."""
        print(question, end="", file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            return sys.stdin.readline().strip()
        return ""

    def close(self) -> None:
        if self.has_database:
            self.database.close()


# Parsers --------------------------------------------------------------------------------------------------------------


def add_group(commands: Commands, name: str, about: str) -> Commands:
    """A command that has commands of its own."""
    return commands.add_parser(name, help=about).add_subparsers(dest="action", required=True, metavar="ACTION")


def add_who(command: argparse.ArgumentParser) -> None:
    command.add_argument("--who", type=impersonal_words, help="your name in the audit log (default: your login)")


def add_why(command: argparse.ArgumentParser, *, default: str | None = None, required: bool = True) -> None:
    """`--why`; required where there is no default, unless it says otherwise."""
    about = "the reason; kept in the audit log, so no personal data"
    command.add_argument(
        "--why", type=impersonal_words, required=required and default is None, default=default, help=about
    )


def add_clue(command: argparse._ActionsContainer, **options: Any) -> None:
    command.add_argument("clue", metavar="TX", help=CLUES, **options)


def add_yes(command: argparse.ArgumentParser) -> None:
    command.add_argument("--yes", action="store_true", help="do not ask first: this is final")


def add_confirm_above(command: argparse.ArgumentParser) -> None:
    """Judging depends on this threshold, and this environment may have another than the functions."""
    command.add_argument(
        "--confirm-above-kes", type=_kes, metavar="KES", help="as the functions have it (default: CONFIRM_ABOVE_KES)"
    )


def _kes(text: str) -> Decimal:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError("must be whole shillings, like 20000")
    return Decimal(text)
