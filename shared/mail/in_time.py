"""Work that is over by a deadline, whatever a mail server does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from shared.deadline import Deadline

T = TypeVar("T")


def in_time(deadline: Deadline, work: Callable[[Callable[[socket.socket], None]], T]) -> T:
    """What `work` returns or raises; TimeoutError once the deadline passes.

    `work` runs on a thread: a socket's timeout bounds neither DNS nor a server that sends a byte at a time. It reports
    each connected socket, and sends nothing before it has: at the deadline these are shut down, and later ones refused.
    """
    connected: list[socket.socket] = []
    over = threading.Event()
    result: Future[T] = Future()

    def report(sock: socket.socket) -> None:
        connected.append(sock)
        if over.is_set():
            raise TimeoutError

    def run() -> None:
        try:
            result.set_result(work(report))
        except Exception as failure:
            result.set_exception(failure)

    threading.Thread(target=run, name="mail", daemon=True).start()
    if not wait([result], deadline.remaining_s()).done:
        over.set()
        for sock in connected:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # SSLSocket's own would break the reader's TLS state
        raise TimeoutError
    return result.result()
