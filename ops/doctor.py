"""`ops doctor`: is everything as it must be before the first shilling, and is it still? Checks in order.

    doctor                                    the shop at MPESA_CALLBACK_URL
    doctor --live https://shop.example        the shop there

Run it with the variables that the site has. It sends no mail and rings no phone. It writes two things: a new access
token, which all functions then use, and one callback with the outcome `test`.

Exits 0 where no check failed, also with warnings.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from ops.answers import Answer, Table
from ops.session import Commands, Session, WrongUse
from ops.words import counted
from shared.environment_variables import HOST

if TYPE_CHECKING:
    from ops.checks.order import Checked


def add_commands(commands: Commands) -> None:
    doctor = commands.add_parser("doctor", help="is the shop set up rightly, here and where it is deployed?")
    add_live(doctor)
    doctor.set_defaults(run=_doctor)


def add_live(command: argparse.ArgumentParser) -> None:
    about = "the deployed shop (default: that of MPESA_CALLBACK_URL)"
    command.add_argument("--live", type=_origin, metavar="https://SHOP", help=about)


def _origin(text: str) -> str:
    if not re.fullmatch(rf"(?i:https?)://{HOST}", origin := text.rstrip("/")):
        raise WrongUse("--live must be the address of the shop, like https://shop.example")
    return origin


def _doctor(session: Session, chosen: argparse.Namespace) -> Answer:
    from ops.checks import Shop, Verdict
    from ops.checks.order import examine  # it loads nearly everything, and no other command needs that

    found = list(examine(Shop(session, chosen.live)))
    how_many = {verdict: sum(each.verdict is verdict for each in found) for verdict in Verdict}
    bad = how_many[Verdict.FAILED]
    lines: list[str | Table] = [
        _drawn(found),
        f"{counted(len(found), 'finding')}: {bad} failed, {counted(how_many[Verdict.WARNING], 'warning')}, "
        f"{how_many[Verdict.SKIPPED]} skipped",
    ]
    return Answer({"checks": found}, lines, code=1 if bad else 0)


def _drawn(found: list[Checked]) -> Table:
    rows = [
        (
            (each.name, each.verdict.value, each.says, each.do_now),
            f"{each.verdict.value:<8} {each.name}: {each.says}"
            + (f"\n           {each.do_now}" if each.do_now else ""),
        )
        for each in found
    ]
    return Table(("Check", "Verdict", "~It found", "~Do now"), rows)
