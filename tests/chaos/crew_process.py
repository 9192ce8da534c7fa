"""One process of the crew: many threads, each an instance of the functions. Started by tests/chaos/crew.py.

Orders come in as lines of JSON, each is answered by one line.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import IO, Any, Generic, TypeAlias, TypeVar
from urllib.parse import urlsplit

Job: TypeAlias = dict[str, Any]
Made = TypeVar("Made")

THREADS = 50


class OneForEachThread(Generic[Made]):
    """In place of what a process makes once: a thread makes its own."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._mine = threading.local()

    def __call__(self) -> Made:
        if not hasattr(self._mine, "made"):
            self._mine.made = self._make()
        made: Made = self._mine.made
        return made

    def made(self) -> Made | None:
        return getattr(self._mine, "made", None)


class Instance(threading.Thread):
    """Takes jobs until it is given None."""

    def __init__(self, collaborators: Sequence[OneForEachThread[Any]]) -> None:
        super().__init__(daemon=True)
        self.jobs: queue.SimpleQueue[tuple[Job, list[Any], int, threading.Semaphore] | None] = queue.SimpleQueue()
        self._collaborators = collaborators

    def run(self) -> None:
        while (work := self.jobs.get()) is not None:
            job, results, place, done = work
            try:
                time.sleep(max(0.0, job["at"] - time.monotonic()))
                results[place] = perform(job)
            except Exception as failure:
                results[place] = f"failed: {type(failure).__name__}"
            finally:
                done.release()
        for collaborator in self._collaborators:
            if (made := collaborator.made()) is not None:
                made.gateway.database.close()


def perform(job: Job) -> Any:
    if "story" in job:
        return STORIES[job["story"]](*job["arguments"])
    handler = importlib.import_module(f"netlify.functions.{job['function']}").handler
    return handler(job["event"], SimpleNamespace(aws_request_id="0"))


def ask_story(transaction_id: str) -> str:
    from shared import collaborators, settlement
    from shared.deadline import Deadline
    from shared.gateway.daraja import QueryDue
    from shared.payments import Ids, Payment, Status

    gateway = collaborators.collaborators().gateway
    with gateway.database.transaction() as tx:
        (row,) = tx.rows("SELECT *, now() AS now FROM transactions WHERE id = CAST(:id AS uuid)", id=transaction_id)
    payment = Payment(
        id=transaction_id,
        status=Status(row["status"]),
        amount_kes=row["amount"],
        created_at=row["created_at"],
        ids=Ids(row["merchant_request_id"], row["checkout_request_id"]),
        success_held=row["success_held_at"] is not None,
    )
    due = QueryDue(payment, row["checkout_request_id"], row["failed_at"], row["now"])
    return settlement.ask(gateway, collaborators.collaborators().daraja, due, Deadline.after(8))


def judge_story(entry_id: str, transaction_id: str, body: str) -> str:
    from shared import collaborators, settlement
    from shared.gateway.inbox import Entry

    entry = Entry(entry_id, transaction_id, base64.b64decode(body))
    return settlement.judge(collaborators.collaborators().gateway, entry, actor="sweep").outcome


STORIES: dict[str, Callable[..., str]] = {"ask": ask_story, "judge": judge_story}


class Autocommitting:
    """In place of `shared.database.Database`: the same statements, each by itself, as the plain driver sends them."""

    round_trips = 0

    def __init__(self, url: str | Callable[[], str], **_: float) -> None:
        self._url = url if isinstance(url, str) else url()
        self._connection: Any = None
        self._check: Callable[[Any], None] = lambda _: None

    def check_once(self, check: Callable[[Any], None]) -> None:
        self._check = check

    @contextmanager
    def patient(self, _: object) -> Iterator[None]:
        yield

    @contextmanager
    def transaction(self) -> Iterator[Autocommitting]:
        self._check(self)
        yield self

    def rows(self, sql: str, /, **params: object) -> list[dict[str, Any]]:
        rows = self._connected().run(sql, **params) or []
        names = [column["name"] for column in self._connection.columns or ()]
        return [dict(zip(names, row, strict=True)) for row in rows]

    change = rows

    def row(self, sql: str, /, **params: object) -> dict[str, Any] | None:
        found = self.rows(sql, **params)
        return found[0] if found else None

    def run(self, sql: str, /, **params: object) -> int:
        self._connected().run(sql, **params)
        return int(self._connection.row_count)

    def later(self, sql: str, /, **params: object) -> None:
        self.run(sql, **params)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> Any:
        if self._connection is None:
            from pg8000.native import Connection

            to = urlsplit(self._url)
            self._connection = Connection(
                to.username, host=to.hostname, port=to.port, password=to.password, database=to.path[1:], timeout=3
            )
        return self._connection


def main(orders: IO[str], answers: IO[str]) -> None:
    from shared import collaborators, database, settings

    real_database = database.Database
    own = [OneForEachThread(getattr(collaborators, name).__wrapped__) for name in ("collaborators", "receiver")]
    # before the functions are imported, which take them by name
    collaborators.collaborators, collaborators.receiver = own  # type: ignore[assignment]
    sys.setswitchinterval(0.0005)
    instances: list[Instance] = []
    for line in orders:
        order = json.loads(line)
        if "environment" in order:
            for instance in instances:
                instance.jobs.put(None)
            for instance in instances:
                instance.join()
            os.environ.clear()
            os.environ.update(order["environment"])
            settings.of_this_process.cache_clear()
            database.Database = Autocommitting if order["autocommit"] else real_database  # type: ignore[misc,assignment]
            instances = [Instance(own) for _ in range(THREADS)]
            for instance in instances:
                instance.start()
            answer: list[Any] = []
        else:
            jobs = order["jobs"]
            answer, done = [None] * len(jobs), threading.Semaphore(0)
            for place, job in enumerate(jobs):
                instances[place % THREADS].jobs.put((job, answer, place, done))
            for _ in jobs:
                done.acquire()
        print(json.dumps(answer), file=answers, flush=True)
    for instance in instances:
        instance.jobs.put(None)
    for instance in instances:
        instance.join()


if __name__ == "__main__":
    to_the_test, sys.stdout = sys.stdout, sys.stderr
    main(sys.stdin, to_the_test)
