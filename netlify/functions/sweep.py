"""Every minute: judge callbacks on file, query open payments, send what is due. Harmless however often it runs.

Nothing is started after 18 s and no call out lasts longer than 8 s, so the platform's limit (30 s) never cuts it off.
What is left over is leased for a minute at most: the next sweep goes on.
"""

from __future__ import annotations

import time
from typing import Any

from shared.collaborators import collaborators
from shared.deadline import Deadline
from shared.edge import Answer, Request, answer
from shared.observability.log import monitor
from shared.sweeping import Sweep

STARTS_NOTHING_AFTER_S = 18


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    began = time.monotonic()
    response = answer(event, function="sweep", methods=(), story=sweep)
    if (sentry := monitor()) is not None:
        sentry.check_in(ok=response["statusCode"] == 200, taken_s=time.monotonic() - began)
    return response


def sweep(_: Request) -> Answer:
    shift = Sweep(collaborators(), Deadline.after(STARTS_NOTHING_AFTER_S))
    shift.begin()
    shift.judge_inbox()
    shift.check_ages()
    shift.send_outbox()
    shift.watch_the_shop()
    while shift.ask_daraja():
        shift.judge_inbox()
        shift.send_outbox()
    shift.anchor_history()
    return Answer(200, shift.done, log=shift.done)
