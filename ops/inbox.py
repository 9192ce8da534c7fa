"""`ops inbox`: callbacks that wait or could not be judged, and judging them again from the bytes on file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ops.answers import Answer
from ops.session import Commands, NotPossible, Session, add_confirm_above, add_group, add_who, add_why
from ops.words import counted, eat, visible
from shared import settlement
from shared.daraja.callback_reader import receipts_seen
from shared.database import Row
from shared.observability.log import where_it_broke

NOT_SAFARICOMS = ("unlisted", "held")


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "inbox", "callbacks that could not be judged")
    actions.add_parser("list", help="those that wait, are held, or are dead letters").set_defaults(run=_list)
    retry = actions.add_parser("retry", help="judge again, from the bytes on file")
    which = retry.add_mutually_exclusive_group()
    which.add_argument("entry", metavar="ENTRY", nargs="?", help="one entry; without it every dead letter")
    which.add_argument("--held", action="store_true", help="every one held for its address (CALLBACK_IP_MODE=enforce)")
    add_why(retry, default="to have it judged again")
    add_who(retry)
    add_confirm_above(retry)
    retry.set_defaults(run=_retry)


def _list(session: Session, _: argparse.Namespace) -> Answer:
    """1: a person has to say whether one is judged again."""
    entries = session.books.unsettled_callbacks()
    in_all = entries[0]["in_all"] if entries else 0
    for_a_person = any(entry["outcome"] in ("dead_letter", "held") for entry in entries)
    document = {"in_all": in_all, "callbacks": map(_record, entries)}
    return Answer(document, _lines(entries, in_all), code=1 if for_a_person else 0)


def _record(entry: Row) -> Row:
    """The network address only where it is not Safaricom's."""
    address = entry["source_address"] if entry["source_check"] in NOT_SAFARICOMS else None
    return {key: value for key, value in entry.items() if key != "in_all"} | {"source_address": address}


def _lines(entries: list[Row], in_all: int) -> Iterator[str]:
    newest = f"; these are the newest {len(entries)}" if in_all > len(entries) else ""
    yield f"{counted(in_all, 'callback waits', 'callbacks wait')} or could not be judged{newest}"
    for entry in entries:
        state = entry["outcome"] or f"try {entry['tries'] + 1} of 3 at {eat(entry['next_try_at'])}"
        names = f"  names receipt {', '.join(entry['receipts'])}" if entry["receipts"] else ""
        yield f"{entry['id']}  {eat(entry['received_at'])}  payment {entry['transaction_id']}  {state}{names}"
        if entry["source_check"] in NOT_SAFARICOMS:
            yield f"    from {visible(entry['source_address'])}, which is not one of Safaricom's addresses"
        if entry["outcome"] == "unknown_transaction" and entry["receipts"]:
            yield f'    to book it: python -m ops book {entry["receipts"][0]} --reference ORDER --why "…"'
        if entry["last_error"]:
            yield f"    {entry['last_error']}"


def _retry(session: Session, chosen: argparse.Namespace) -> Answer:
    """Each entry by itself: one that fails is left to the sweep, and the others are judged."""
    gateway = session.gateway(chosen)
    who = f"operator {session.operator(chosen)}"
    entries = gateway.inbox.reopen(chosen.entry, "held" if chosen.held else "dead_letter")
    if chosen.entry and not entries:
        raise NotPossible(
            f"there is no entry {visible(chosen.entry)} in the inbox: "
            "`ops inbox list` names those that wait, not payments"
        )
    if not entries:
        raise NotPossible("nothing to judge again: no callback is " + ("held" if chosen.held else "a dead letter"))
    outcomes, failures = {}, {}
    for entry in entries:
        try:
            outcomes[str(entry.id)] = settlement.judge(gateway, entry, who, chosen.why).outcome
        except Exception as failure:  # whatever it was, the entry is on file and the next one may be judged
            failures[str(entry.id)] = where_it_broke(failure)
            gateway.inbox.put_back(entry, where_it_broke(failure), receipts_seen(entry.body))
    lines = [f"{entry}: {outcome}" for entry, outcome in outcomes.items()]
    lines += [f"{entry}: failed, the sweep tries again ({why})" for entry, why in failures.items()]
    lines.append(f"{len(outcomes)} judged again" + f", {len(failures)} failed" * bool(failures))
    return Answer({"judged": outcomes, "failed": failures}, lines, code=1 if failures else 0)
