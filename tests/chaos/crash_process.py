"""Function calls in processes of their own, in which any one operation can be made to fail, or be the last.

This process imports the functions once and then forks for each order, while it has no threads and no connections. The
fork plays a function instance from its cold start: it answers some requests, and during the last of them it tells each
operation before it begins: every login and every statement to PostgreSQL (BEGIN and COMMIT too), every HTTP request.
At the operation that the order names, the connection breaks, or the process dies by SIGKILL.

Started by tests/chaos/crashes.py. Orders come in as lines of JSON, each is answered by one line.
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import IO, Any, NoReturn
from urllib.parse import urlsplit

from shared.database import connection as database_connection
from shared.database.login import logged_in, unavailable

FAILS_BEFORE = "fails before"
"""The connection is gone before a byte of it was sent."""
FAILS_AFTER = "fails after"
"""It happened on the other side, and its answer is lost."""
KILLED_BEFORE = "killed before"
KILLED_AFTER = "killed after"
KILLED_ONCE_RECORDED = "killed once recorded"
"""Of a letter: when its outcome is in the books."""
LOST_ON_THE_WAY = "lost on the way"
"""Bytes have left, and nothing happened on the other side: to the caller it looks as `FAILS_AFTER`."""

A_CALL_LASTS_AT_MOST_S = 60
MODULES = (
    *(f"netlify.functions.{name}" for name in ("stkpush", "callback", "status", "invoice", "sweep")),
    "aws_lambda_powertools.logging",
    "shared.daraja.client",
    "shared.delivery",
    "shared.database",
    "shared.mail.mailer",
    "shared.mail.sendgrid",
    "shared.mail.smtp",
    "shared.mail.templating",
    "shared.orders",
    "shared.sweeping",
    "sendgrid",
    "sendgrid.helpers.mail",
)


class Points:
    """The operations of one request, counted and told as they are reached."""

    def __init__(self, tell: Callable[[str], None], fault: dict[str, Any] | None) -> None:
        self.counting = False
        self._tell = tell
        self._fault = fault
        self._number = 0

    def reached(self, operation: str) -> str | None:
        """What shall go wrong with this operation."""
        if not self.counting:
            return None
        self._tell(operation)
        number, self._number = self._number, self._number + 1
        if self._fault is None or number != self._fault["at"]:
            return None
        if self._fault["how"] == KILLED_BEFORE:
            die()
        return str(self._fault["how"])


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


# Where the operations are ---------------------------------------------------------------------------------------------


def watch_database(points: Points) -> None:
    connection = database_connection.Connection
    exchange = connection._exchange

    def watched_log_in(settings: Any, timeout_s: float) -> Any:
        how = points.reached("LOGIN")
        if how == FAILS_BEFORE:
            raise unavailable("the connection was refused")
        opened = logged_in(settings, timeout_s)
        if how == KILLED_AFTER:
            die()
        if how == FAILS_AFTER:
            opened._usock.close()
            raise unavailable("the connection was lost")
        return opened

    def watched(
        self: database_connection.Connection,
        messages: bytes,
        asked: Sequence[str],
        committing: bool = False,
        timeout_s: float | None = None,
        beginning: int = 0,
        rows: Any = None,
    ) -> list[Any]:
        how = points.reached(in_short(asked))
        if how in (FAILS_BEFORE, LOST_ON_THE_WAY):
            self._wire._usock.shutdown(socket.SHUT_RDWR)
        answers = exchange(self, messages, asked, committing, timeout_s, beginning, rows)
        if how == KILLED_AFTER:
            die()
        if how == FAILS_AFTER:
            self._wire._usock.shutdown(socket.SHUT_RDWR)
            raise self._failure(None, committing, begun=True)
        return answers

    setattr(database_connection, "logged_in", watched_log_in)  # noqa: B010
    connection._exchange = watched  # type: ignore[method-assign]


def in_short(asked: Sequence[str]) -> str:
    """A trip that ends with COMMIT is one; any other goes by its first statement."""
    trip = [" ".join(sql.split()) for sql in asked]
    return "COMMIT" if trip[-1] == "COMMIT" else "BEGIN" if trip[0].startswith("BEGIN ") else trip[0][:60]


def watch_http(points: Points) -> None:
    """Every HTTP client of ours ends in http.client: `requests`, and the one of the sendgrid package."""
    connection: Any = http.client.HTTPConnection
    begin, end_of_head = connection.putrequest, connection.endheaders
    send, response = connection.send, connection.getresponse

    def watched_begin(self: Any, method: str, url: str, *rest: Any, **options: Any) -> None:
        self.operation = f"HTTP {method} {urlsplit(url).path}"
        begin(self, method, url, *rest, **options)

    def watched_end_of_head(self: Any, *rest: Any, **options: Any) -> None:
        self.how = points.reached(self.operation)
        if self.how == FAILS_BEFORE:
            raise ConnectionRefusedError
        end_of_head(self, *rest, **options)

    def watched_send(self: Any, data: Any) -> None:
        if self.how == LOST_ON_THE_WAY:
            raise ConnectionAbortedError
        send(self, data)

    def watched_response(self: Any) -> Any:
        try:
            answer = response(self)
        finally:
            if self.how == KILLED_AFTER:
                die()
        if self.how == FAILS_AFTER:
            raise http.client.RemoteDisconnected("")
        return answer

    connection.putrequest, connection.endheaders = watched_begin, watched_end_of_head
    connection.send, connection.getresponse = watched_send, watched_response


def watch_letters(fault: dict[str, Any], tell: Callable[[str], None]) -> None:
    """The process ends with the letter of this number in hand, whose id it tells before."""
    from shared.gateway.outbox import Outbox
    from shared.mail.sendgrid import SendGridMailer
    from shared.mail.smtp import SmtpMailer

    letters: list[str] = []
    record = Outbox.sent

    def perhaps_die(how: str) -> None:
        if (fault["at"], fault["how"]) == (len(letters) - 1, how):
            tell(letters[-1])
            die()

    def watched(send: Callable[..., None]) -> Callable[..., None]:
        def watched_send(self: Any, email: Any, deadline: Any, message_id: str) -> None:
            letters.append(message_id)
            perhaps_die(KILLED_BEFORE)
            send(self, email, deadline, message_id)
            perhaps_die(KILLED_AFTER)

        return watched_send

    def watched_record(self: Any, due: Any) -> None:
        record(self, due)
        perhaps_die(KILLED_ONCE_RECORDED)

    for mailer in (SendGridMailer, SmtpMailer):
        mailer.send = watched(mailer.send)  # type: ignore[method-assign]
    Outbox.sent = watched_record  # type: ignore[method-assign]


# One order, one process -----------------------------------------------------------------------------------------------


def play(order: dict[str, Any], told: int) -> None:
    """In the fork: answer the requests, and tell what is done for the last of them."""

    def tell(kind: str, what: object) -> None:
        os.write(told, json.dumps([kind, what]).encode() + b"\n")

    os.environ.clear()
    os.environ.update(order["environment"])
    fault = order["fault"]
    points = Points(lambda operation: tell("operation", operation), fault)
    if fault and fault.get("of") == "letters":
        watch_letters(fault, lambda letter: tell("operation", letter))
    else:
        watch_database(points)
        watch_http(points)
    *before, last = order["requests"]
    for request in before:
        handle(request)
    points.counting = True
    tell("answer", handle(last))


def handle(request: dict[str, Any]) -> Any:
    handler = importlib.import_module(f"netlify.functions.{request['function']}").handler
    return handler(request["event"], SimpleNamespace(aws_request_id="0"))


def in_a_process_of_its_own(order: dict[str, Any]) -> dict[str, Any]:
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            play(order, tells)
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    os.close(tells)
    heard = hear(told, child)
    os.close(told)
    _, status = os.waitpid(child, 0)
    lines = [json.loads(line) for line in heard.splitlines()]
    return {
        "operations": [what for kind, what in lines if kind == "operation"],
        "answer": next((what for kind, what in lines if kind == "answer"), None),
        "killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
    }


def hear(told: int, child: int) -> bytes:
    """All that the child tells until it ends; one that hangs is ended."""
    heard = b""
    until = time.monotonic() + A_CALL_LASTS_AT_MOST_S
    while True:
        if not select.select([told], [], [], max(0.0, until - time.monotonic()))[0]:
            os.kill(child, signal.SIGTERM)
            return heard
        part = os.read(told, 65536)
        if not part:
            return heard
        heard += part


def main(orders: IO[str], answers: IO[str]) -> None:
    for module in MODULES:
        importlib.import_module(module)
    for line in orders:
        print(json.dumps(in_a_process_of_its_own(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    to_the_test, sys.stdout = sys.stdout, sys.stderr
    main(sys.stdin, to_the_test)
