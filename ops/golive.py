"""`ops golive`: from nothing to a live shop, step by step: checks, KES 1 on the owner's own phone, a day watched.

    golive                          shows where you are, and does or explains the next step
    golive --status                 only shows
    golive --done STEP --why "…"    a person's word in place of what cannot be seen from here

Run it with the variables that the site has. Each step is kept in the database (golive_steps), so you can stop, and go
on another day, on another machine. Exits 0 when the shop is live, 1 while a step is left.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from ops.answers import Answer, Table
from ops.checks import Shop
from ops.doctor import add_live
from ops.golive_walk import AGAIN, DONE, SAID, STEPS, Outcome, Walk
from ops.session import Commands, NotPossible, Session, WrongUse, add_who, add_why, add_yes
from ops.words import eat
from shared.database import Row


def add_commands(commands: Commands) -> None:
    golive = commands.add_parser("golive", help="go live step by step; stop and go on whenever you like")
    golive.add_argument("--status", action="store_true", help="only show where you are; changes nothing")
    golive.add_argument("--done", choices=STEPS, metavar="STEP", help=f"by your word, with --why: {', '.join(STEPS)}")
    add_live(golive)
    add_why(golive, required=False)
    add_who(golive)
    add_yes(golive)
    golive.set_defaults(run=_golive)


def _golive(session: Session, chosen: argparse.Namespace) -> Answer:
    if bool(chosen.done) != bool(chosen.why) or (chosen.done and chosen.status):
        raise WrongUse("--done STEP goes with --why, and without --status")
    from ops.golive_steps import LOOKS  # they load nearly everything, and no other command needs that

    walk = Walk(session, chosen, Shop(session, chosen.live))
    if walk.session.books.environment() is None:
        raise NotPossible("this database is empty: the first function that runs, or `python -m db.migrate`, stamps it")
    if chosen.done:
        _by_word(walk, chosen)
    says: Outcome | None = None
    if not chosen.status and not chosen.done:
        while (name := walk.next_step()) is not None:
            try:
                says = LOOKS[name](walk)
            except NotPossible as refused:
                says = Outcome(False, str(refused), AGAIN)
            if not says.fulfilled:
                break
            walk.remember(name, DONE, says.says, says.facts)
            says = None
            if walk.waited:
                break
    steps = list(_steps(walk, says))
    return Answer({"steps": steps}, _lines(walk, steps), code=0 if walk.next_step() is None else 1)


def _by_word(walk: Walk, chosen: argparse.Namespace) -> None:
    name = chosen.done
    if walk.closed(name) is not None:
        raise NotPossible(f"{name} is done already: `ops golive --status`")
    if name == "live" and walk.next_step() != name:
        raise NotPossible(f"{walk.next_step()} comes before live: `ops golive --status`")
    note = " The shop's first day was not watched by Lipa." if name == "watch" else ""
    walk.remember(name, SAID, f"by a person's word: {chosen.why}.{note}", {"why": chosen.why})


def _steps(walk: Walk, now: Outcome | None) -> Iterator[dict[str, Any]]:
    """Each as it is; `now` is what was just found about the first that is left."""
    next_step = walk.next_step()
    for name, about in STEPS.items():
        row, do_now = walk.closed(name), ""
        said: Row = row or {"state": "later", "at": None, "who": None, "says": about}
        if name == next_step:
            last = next(iter(walk.rows(name)), None)
            said = {"state": "now", "at": last and last["at"], "who": last and last["who"]}
            said["says"] = now.says if now else last["says"] if last else about
            do_now = now.do_now if now else AGAIN
        yield {"name": name, **{key: said[key] for key in ("state", "at", "who", "says")}, "do_now": do_now}


def _lines(walk: Walk, steps: list[dict[str, Any]]) -> Iterator[str | Table]:
    if not walk.shop.in_production:
        yield "Sandbox: this is a rehearsal, and no real money moves. Production has a database of its own."
    rows = [((it["name"], it["state"], eat(it["at"]), it["who"] or "", it["says"])) for it in steps]
    yield Table(
        ("Step", "State", "When (EAT)", "Who", "~It says"),
        [(row, f"{row[1]:<6} {row[0]}: {row[4]}{f'  ({row[3]}, {row[2]} EAT)' if row[3] else ''}") for row in rows],
    )
    left = next((it for it in steps if it["state"] == "now"), None)
    if left is None:
        over = "The shop is live" if walk.shop.in_production else "Rehearsed to the end; production goes the same way"
        yield f"{over}. From now on: docs/runbook.md, Duties."
        return
    yield f"Do now, for {left['name']}: {left['do_now']}"
