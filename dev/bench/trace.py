"""One paid payment, traced: which of our files it goes through, in how many calls. `python -m dev.bench.trace`.

A push, its callback, which sends the invoice, a status request, and a sweep, in one new process, against a real
PostgreSQL and the simulator. A crossing is a call from one file into another. Modules' own bodies are not counted.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from dev.bench.shop import Work, quiet, shop

ROOT = Path(__file__).resolve().parents[2]
OURS = (f"{ROOT}/shared/", f"{ROOT}/netlify/functions/")


class Trace:
    """Counts calls of our own functions while it is entered."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.crossings = 0

    def __enter__(self) -> Trace:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or frame.f_code.co_name == "<module>" or not _ours(frame):
            return
        self.calls[frame.f_code.co_filename] += 1
        caller = frame.f_back
        while caller is not None and not _ours(caller):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != frame.f_code.co_filename:
            self.crossings += 1


def _ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(OURS)


def main() -> None:
    with shop() as here:
        os.environ.update(here.environment)
        from netlify.functions import callback, status, stkpush, sweep

        def pay() -> None:
            with quiet():
                pushed = json.loads(stkpush.handler(here.event(Work.STKPUSH), None)["body"])
                payment = here.row(pushed["transaction_id"])
                callback.handler(here.callback(payment), None)
                event = {**here.event(Work.STATUS), "path": f"/api/pay/status/{payment['id']}"}
                assert json.loads(status.handler(event, None)["body"])["status"] == "paid"
                sweep.handler({"httpMethod": "POST", "path": "/", "headers": {}, "body": "{}"}, None)

        with Trace() as trace:
            pay()
    for path, calls in trace.calls.most_common():
        print(f"{calls:6}  {Path(path).relative_to(ROOT)}")
    print(f"{len(trace.calls)} files, {sum(trace.calls.values())} calls, {trace.crossings} crossings between files")


if __name__ == "__main__":
    main()
