"""What one payment needs at once, once it is committed: an answer from Daraja, and what it made due sent.

For the functions that a customer or Safaricom waits for. It never fails: what could not be done is on file, and the
sweep does it. The caller says when all must be over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.delivery import Delivery
from shared.gateway.daraja import QueryDue
from shared.observability.log import failed
from shared.query_schedule import BUDGETS
from shared.settlement import ask, judge_what_waits

if TYPE_CHECKING:
    from shared.collaborators import Collaborators
    from shared.deadline import Deadline

A_QUERY_LASTS_S = 5.0
A_QUERY_NEEDS_S = 1.0
"""With less time than this left Daraja is not asked: its answer would be cut off."""
NO_PAYMENT = "00000000-0000-0000-0000-000000000000"


def follow_up(
    mine: Collaborators, transaction_id: str, ends: Deadline, actor: str, *, asks: bool = False, judges: bool = False
) -> None:
    """Ask Daraja where `asks`, it is due and a slot is free; judge what waits, where `judges`; send what is due."""
    try:
        asked = asks and ask_at_once(mine, transaction_id, ends, actor)
        if asked or judges:
            judge_waiting(mine, transaction_id, actor)
        Delivery(mine, ends, of=transaction_id).send()
    except Exception as failure:  # whatever it was, the payment is settled as far as it was
        failed("following_up", failure, transaction_id=transaction_id)


def ask_at_once(
    mine: Collaborators, transaction_id: str, ends: Deadline, actor: str, *, before_its_time: bool = False
) -> bool:
    """Whether Daraja was asked. Not where it is not due, no slot is free, somebody else asks, or no time is left."""
    daraja = mine.daraja  # its packages are imported before the slot is taken: the slot is for the moment of asking
    if ends.remaining_s() < A_QUERY_NEEDS_S:
        return False
    budget = BUDGETS[mine.settings.database.environment]
    due = mine.gateway.queries.take(budget, only=transaction_id, at_once=before_its_time)
    if not isinstance(due, QueryDue):
        return False
    ask(mine.gateway, daraja, due, ends.at_most(A_QUERY_LASTS_S), actor)
    return True


def judge_waiting(mine: Collaborators, transaction_id: str, actor: str) -> None:
    """Callbacks of this payment that waited for a query, or whose function died before it judged them."""
    for entry in mine.gateway.inbox.take(10, of=transaction_id):
        judge_what_waits(mine.gateway, entry, actor)
