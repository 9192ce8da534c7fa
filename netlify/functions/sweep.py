"""Every minute: judge what is on file, ask about what is pending, send what waits. Harmless whoever calls it.

Nothing is started after 18 s and no call out lasts longer than 8 s, so that the platform (30 s) never cuts it off in
the middle. Whatever it leaves is leased to nobody for long: the next sweep goes on.
"""

from __future__ import annotations

import time
from typing import Any

from shared.deadline import Deadline
from shared.edge import Answer, Request, answer
from shared.observability.monitoring import monitor
from shared.sweeping import Sweep

STARTS_NOTHING_AFTER_S = 18


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    began = time.monotonic()
    told = answer(event, function="sweep", methods=(), story=sweep)
    if (sentry := monitor()) is not None:
        sentry.check_in(ok=told["statusCode"] == 200, taken_s=time.monotonic() - began)
    return told


def sweep(_: Request) -> Answer:
    shift = Sweep(Deadline.after(STARTS_NOTHING_AFTER_S))
    shift.begin()
    shift.judge_inbox()
    shift.watch_the_clock()
    shift.anchor_history()
    shift.send_outbox()
    shift.watch_the_shop()
    while shift.ask_daraja():
        shift.judge_inbox()
        shift.send_outbox()
    return Answer(200, shift.done, log=shift.done)
