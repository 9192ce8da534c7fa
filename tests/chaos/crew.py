"""Two hundred function instances that start at the same moment.

A process holds many threads, and each thread is an instance as Netlify starts them: it has its own gateway, its own
connection to the database, its own Daraja client. Several such processes run side by side, so that work really happens
at once and not only in turns.

    answers = crew.at_once([callback(path, body)] * 200)
"""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from tests.fixtures.line_process import LineProcess
from tests.fixtures.shop import ORDER, Reply

Job: TypeAlias = dict[str, Any]

PROCESSES = 4
TO_GET_READY_S = 0.1


# What an instance may be asked ----------------------------------------------------------------------------------------


def function(
    name: str, method: str, path: str, body: bytes | str = "", headers: Mapping[str, str] | None = None
) -> Job:
    """One request, as Netlify hands it to the function."""
    encoded = isinstance(body, bytes)
    return {
        "function": name,
        "event": {
            "httpMethod": method,
            "path": path,
            "headers": {
                "content-type": "application/json",
                "x-nf-client-connection-ip": "127.0.0.1",
                **(headers or {}),
            },
            "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body,
            "isBase64Encoded": encoded,
        },
    }


def callback(path: str, body: bytes) -> Job:
    return function("callback", "POST", path, body)


def stkpush(key: str | None = None, **order: object) -> Job:
    """The usual order, with changes."""
    headers = {} if key is None else {"idempotency-key": key}
    return function("stkpush", "POST", "/api/mpesa/stkpush", json.dumps({**ORDER, **order}), headers)


def sweep() -> Job:
    return function("sweep", "POST", "/.netlify/functions/sweep", "{}")


def later(seconds: float, jobs: Sequence[Job]) -> list[Job]:
    """The same, so much later than the others."""
    return [{**job, "after_s": seconds} for job in jobs]


def status(transaction_id: str) -> Job:
    return function("status", "GET", f"/api/mpesa/status/{transaction_id}")


def ask(transaction_id: str) -> Job:
    """An STK query whose answer is judged, as the sweep does it; here without its lease and its budget."""
    return {"story": "ask", "arguments": [transaction_id]}


def judge(entry_id: str, transaction_id: str, body: bytes) -> Job:
    """A callback on file is judged, as the sweep does it; here without its lease."""
    return {"story": "judge", "arguments": [entry_id, transaction_id, base64.b64encode(body).decode()]}


# The crew, seen from a test -------------------------------------------------------------------------------------------


class Crew:
    """Some processes of 50 instances each, started once and used by one test after the other."""

    def __init__(self) -> None:
        self._processes = [LineProcess("-m", "tests.chaos.crew_process") for _ in range(PROCESSES)]

    def work_for(self, environment: Mapping[str, str], *, autocommit: bool = False) -> None:
        """Every instance forgets what it knew and begins anew, in this environment.

        `autocommit`: on a gateway that sends each statement by itself through the plain driver.
        """
        self._all([{"environment": dict(environment), "autocommit": autocommit}] * PROCESSES)

    def at_once(self, jobs: Sequence[Job], *, spread_s: float = 0, seed: object = 0) -> list[Any]:
        """Each job by an instance of its own, all at one moment, or each at a random one within `spread_s`.

        A function's job gives a `Reply`, a story's the name of its outcome, or `failed: …`.
        """
        randomness = random.Random(str(seed))
        start = time.monotonic() + TO_GET_READY_S
        shares: list[list[Job]] = [[] for _ in range(PROCESSES)]
        for number, job in enumerate(jobs):
            at = start + job.get("after_s", 0) + randomness.uniform(0, spread_s)
            shares[number % PROCESSES].append({**job, "at": at})
        done = self._all([{"jobs": share} for share in shares])
        return [_result(done[number % PROCESSES][number // PROCESSES]) for number in range(len(jobs))]

    def new_log(self) -> str:
        """What the instances have logged since this was asked last."""
        return "".join(process.new_log() for process in self._processes)

    def close(self) -> None:
        for process in self._processes:
            process.close()

    def _all(self, messages: Sequence[Job]) -> list[Any]:
        for process, message in zip(self._processes, messages, strict=True):
            process.begin(message)
        return [process.answer() for process in self._processes]


def _result(done: Any) -> Any:
    if isinstance(done, str):
        return done
    return Reply(done["statusCode"], done["headers"], json.loads(done["body"] or "{}"))
