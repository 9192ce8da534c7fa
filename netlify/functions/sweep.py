"""Every minute: judge callbacks on file, query open payments, send what is due. Harmless however often it runs.

Nothing starts after 18 s, no query after 26 s, and each call out is over after 27 s: the bridge ends Python after 28
and the platform after 30. What is left over is leased for a minute at most: the next sweep goes on. An idle shop leaves
its database alone (docs/decisions/sleep.md).
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
ASKS_NOTHING_AFTER_S = 25.8
ENDS_AFTER_S = 27


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    began = time.monotonic()
    response = answer(event, function="sweep", methods=(), story=sweep)
    if (sentry := monitor()) is not None:
        sentry.check_in(ok=response["statusCode"] == 200, taken_s=time.monotonic() - began)
    return response


def sweep(_: Request) -> Answer:
    mine = collaborators()
    if (asleep_s := mine.sweeps.asleep_s()) > 0:
        return Answer(200, {}, log={"asleep_for_s": round(asleep_s)})
    shift = Sweep(mine, *map(Deadline.after, (STARTS_NOTHING_AFTER_S, ASKS_NOTHING_AFTER_S, ENDS_AFTER_S)))
    shift.look()
    shift.put_right()
    shift.send_alerts()
    shift.judge_inbox()
    shift.send_outbox()
    while shift.ask_daraja():
        shift.judge_inbox()
        shift.send_outbox()
    shift.check_ages()
    shift.send_outbox()
    shift.watch_the_shop()
    shift.anchor_history()
    shift.end_webhooks()
    got_through, done = shift.end(), shift.done
    return Answer(200 if got_through else 500, done, log=done)
