"""`ops inbox`: callbacks that wait or could not be judged, and judging them again from the bytes on file."""

from __future__ import annotations

import argparse

from ops.session import Commands, NotPossible, Session, add_confirm_above, add_group, add_who, add_why
from ops.words import counted, eat, visible
from shared import settlement
from shared.daraja.callback_reader import receipts_seen
from shared.observability.log import where_it_broke


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


def _list(session: Session, _: argparse.Namespace) -> int:
    entries = session.books.unsettled_callbacks()
    in_all = entries[0]["in_all"] if entries else 0
    newest = f"; these are the newest {len(entries)}" if in_all > len(entries) else ""
    print(f"{counted(in_all, 'callback waits', 'callbacks wait')} or could not be judged{newest}")
    for entry in entries:
        state = entry["outcome"] or f"try {entry['tries'] + 1} of 3 at {eat(entry['next_try_at'])}"
        names = f"  names receipt {', '.join(entry['receipts'])}" if entry["receipts"] else ""
        print(f"{entry['id']}  {eat(entry['received_at'])}  payment {entry['transaction_id']}  {state}{names}")
        if entry["source_check"] in ("unlisted", "held"):
            print(f"    from {visible(entry['source_address'])}, which is not one of Safaricom's addresses")
        if entry["last_error"]:
            print(f"    {entry['last_error']}")
    return 0


def _retry(session: Session, chosen: argparse.Namespace) -> int:
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
    failed = 0
    for entry in entries:
        try:
            print(f"{entry.id}: {settlement.judge(gateway, entry, who, chosen.why).outcome}")
        except Exception as failure:  # whatever it was, the entry is on file and the next one may be judged
            failed += 1
            gateway.inbox.put_back(entry, where_it_broke(failure), receipts_seen(entry.body))
            print(f"{entry.id}: failed, the sweep tries again ({where_it_broke(failure)})")
    print(f"{len(entries) - failed} judged again" + f", {failed} failed" * bool(failed))
    return 1 if failed else 0
