"""POST /api/mpesa/callback/{transaction_id}/{token}: Safaricom tells what became of a payment.

Whatever happens after the bytes are committed, the answer is 200: Safaricom does not send a callback again, the sweep
judges again. What an address that leaked can store is bounded: past that an answer is 429, and nothing is stored. This
function calls nobody.
"""

from __future__ import annotations

import uuid
from typing import Any

from shared.collaborators import receiving_gateway
from shared.daraja.callback_address import genuine
from shared.daraja.source_addresses import check_source
from shared.database.errors import DatabaseError
from shared.edge import Answer, Request, answer
from shared.gateway.inbox import Entry, Kept
from shared.observability.log import failed
from shared.problems import Kind, Problem
from shared.settings import receiving
from shared.settlement import judge, remember

ACCEPTED = {"ResultCode": 0, "ResultDesc": "Accepted"}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return answer(event, function="callback", methods=("POST",), story=receive)


def receive(request: Request) -> Answer:
    mine = receiving().callback
    transaction_id = genuine(mine, request.path)  # forged? gone before any row is read
    if transaction_id is None:
        raise Problem(Kind.NOT_FOUND)
    gateway = receiving_gateway()
    source = check_source(mine.ip_mode, request.caller_address)
    entry = Entry(str(uuid.uuid4()), transaction_id, request.body, source)
    try:
        kept = remember(gateway, entry, request.caller_address)  # on file before it is judged
    except DatabaseError as failure:
        raise Problem(Kind.NOT_STORED) from failure
    if kept is not Kept.STORED:
        return of_a_flood(transaction_id, kept)
    try:
        outcome = judge(gateway, entry, actor="callback")  # may fail, may be repeated: it is on file
    except Exception as failure:  # whatever it was, the money is on file and Safaricom does not send it again
        failed("judging", failure, transaction_id=transaction_id, inbox_id=entry.id)
        outcome = "left_to_the_sweep"
    return Answer(200, ACCEPTED, log={"transaction_id": transaction_id, "inbox_id": entry.id, "outcome": outcome})


def of_a_flood(transaction_id: str, kept: Kept) -> Answer:
    """So many callbacks are on file for this payment that this one is a copy of one of them, or is not stored."""
    if kept is Kept.AS_A_COPY:
        return Answer(200, ACCEPTED, log={"transaction_id": transaction_id, "outcome": "copy_of_one_on_file"})
    raise Problem(Kind.INBOX_FULL, log={"transaction_id": transaction_id, "outcome": "not_stored"})
