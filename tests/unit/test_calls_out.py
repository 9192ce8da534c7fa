"""Calls out against servers that misbehave: is it said rightly whether bytes may have left, and is it over in time?"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from shared import calls_out
from shared.calls_out import Answer, Request, Unanswered, Unavailable, exchange
from shared.deadline import Deadline
from tests.fixtures.certificates import self_signed

Behaviour = Callable[[socket.socket, threading.Event], None]


@contextmanager
def a_server(behaves: Behaviour) -> Iterator[str]:
    """A server on this machine that does `behaves` with each connection, one after the other. Yields its address."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                with suppress(OSError):
                    connection, _ = listening.accept()
                    with connection:
                        behaves(connection, over)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/path"
        finally:
            over.set()
            serving.join(5)


def read_request(connection: socket.socket) -> bytes:
    connection.settimeout(5)
    received = b""
    while b"\r\n\r\n" not in received or not received.endswith(b"{}"):
        more = connection.recv(4096)
        if not more:
            break
        received += more
    return received


def after_the_request(answer: bytes) -> Behaviour:
    def behaves(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(answer)

    return behaves


def dripping(start: bytes, drop: bytes) -> Behaviour:
    def behaves(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(start)
        while not over.wait(0.05):
            connection.sendall(drop)

    return behaves


def post(url: str) -> Request:
    return Request("POST", url, {"Content-Type": "application/json"}, b"{}")


def took_less_than_s(seconds: float, call: Callable[[], object], expected: type[Exception]) -> Exception:
    began = time.monotonic()
    with pytest.raises(expected) as raised:
        call()
    assert time.monotonic() - began < seconds
    return raised.value


def test_an_answer_is_read_whole_with_its_status_and_headers() -> None:
    with a_server(after_the_request(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX-One: 1\r\n\r\nno")) as url:
        answer = exchange(post(url), Deadline.after(5))
    assert (answer.status, answer.headers["x-one"], answer.body) == (404, "1", b"no")


def test_what_is_sent_is_one_plain_request_that_asks_for_no_compression_and_closes() -> None:
    received: list[bytes] = []

    def behaves(connection: socket.socket, over: threading.Event) -> None:
        received.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with a_server(behaves) as url:
        exchange(post(url + "?a=b"), Deadline.after(5))
    head, _, body = received[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().splitlines()
    assert lines[0] == "post /path?a=b http/1.1"
    assert "connection: close" in lines
    assert "content-length: 2" in lines
    assert not any(line.startswith("accept-encoding") for line in lines)
    assert body == b"{}"


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with a_server(after_the_request(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")) as url:
        assert exchange(post(url), Deadline.after(5)).status == 302


def test_a_chunked_answer_is_read() -> None:
    with a_server(
        after_the_request(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    ) as url:
        assert exchange(post(url), Deadline.after(5)).body == b"{}"


# Nothing left us ------------------------------------------------------------------------------------------------------


def test_a_refused_connection_means_that_nothing_left_us() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(Unavailable):
        exchange(post(f"http://127.0.0.1:{port}/"), Deadline.after(5))


def test_a_name_that_is_not_found_means_that_nothing_left_us() -> None:
    with pytest.raises(Unavailable):
        exchange(post("https://daraja.invalid/"), Deadline.after(10))


def test_a_name_service_that_hangs_is_over_by_the_deadline_and_nothing_is_sent_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one real part we cannot slow down from outside is the resolver: it is held here until we have given up."""
    given_up = threading.Event()
    connections: list[bytes] = []
    asked = threading.Event()
    resolve = socket.getaddrinfo

    def hanging(*args: object, **kwargs: object) -> object:
        asked.set()
        given_up.wait(10)
        return resolve(*args, **kwargs)  # type: ignore[arg-type]

    def behaves(connection: socket.socket, over: threading.Event) -> None:
        connections.append(read_request(connection))

    with a_server(behaves) as url:
        monkeypatch.setattr(socket, "getaddrinfo", hanging)
        took_less_than_s(4, lambda: exchange(post(url), Deadline.after(0.3)), Unavailable)
        assert asked.is_set()
        given_up.set()
        _no_call_is_left()
    assert connections == []


def test_a_caller_that_gave_up_is_never_followed_by_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen between connecting and sending, woken after the caller has gone: the request must not leave."""
    woken, received = threading.Event(), []
    connect = calls_out._Connection.connect

    def frozen_once_connected(self: calls_out._Connection) -> None:
        connect(self)
        woken.wait(10)

    def behaves(connection: socket.socket, over: threading.Event) -> None:
        received.append(read_request(connection))

    monkeypatch.setattr(calls_out._Connection, "connect", frozen_once_connected)
    with a_server(behaves) as url:
        took_less_than_s(4, lambda: exchange(post(url), Deadline.after(0.3)), Unavailable)
        woken.set()
        _no_call_is_left()
    assert b"".join(received) == b""


def test_a_tls_handshake_that_is_never_answered_means_that_nothing_left_us() -> None:
    def silent(connection: socket.socket, over: threading.Event) -> None:
        over.wait(10)

    with a_server(silent) as url:
        took_less_than_s(4, lambda: exchange(post(url.replace("http:", "https:")), Deadline.after(0.4)), Unavailable)


def test_a_server_that_closes_during_the_tls_handshake_means_that_nothing_left_us() -> None:
    def closes(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(100)

    with a_server(closes) as url, pytest.raises(Unavailable):
        exchange(post(url.replace("http:", "https:")), Deadline.after(5))


def test_a_certificate_nobody_vouches_for_means_that_nothing_left_us(certificate: Path) -> None:
    received: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def behaves(connection: socket.socket, over: threading.Event) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as talking:
            received.append(talking.recv(100))

    with a_server(behaves) as url, pytest.raises(Unavailable, match="certificate"):
        exchange(post(url.replace("http:", "https:")), Deadline.after(5))
    assert b"".join(received) == b""


def test_a_certificate_we_trust_carries_the_exchange(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setattr(calls_out, "tls_context", lambda: ssl.create_default_context(cafile=str(certificate)))

    def behaves(connection: socket.socket, over: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as talking:
            after_the_request(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")(talking, over)

    with a_server(behaves) as url:
        assert exchange(post(url.replace("http:", "https:")), Deadline.after(5)).body == b"{}"


def test_without_time_for_the_answer_there_is_not_even_a_connection() -> None:
    connections: list[socket.socket] = []

    def behaves(connection: socket.socket, over: threading.Event) -> None:
        connections.append(connection)

    with a_server(behaves) as url:
        with pytest.raises(Unavailable):
            exchange(post(url), Deadline.after(2), answer_takes_s=3)
        with pytest.raises(Unavailable):
            exchange(post(url), Deadline.after(0))
        time.sleep(0.2)
    assert connections == []


def test_when_connecting_has_taken_the_time_for_the_answer_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []
    connect = calls_out._Connection.connect

    def slowly(self: calls_out._Connection) -> None:
        connect(self)
        time.sleep(0.5)

    def behaves(connection: socket.socket, over: threading.Event) -> None:
        received.append(read_request(connection))

    monkeypatch.setattr(calls_out._Connection, "connect", slowly)
    with a_server(behaves) as url, pytest.raises(Unavailable):
        exchange(post(url), Deadline.after(5), answer_takes_s=4.8)
    assert b"".join(received) == b""


def test_a_caller_that_left_early_is_not_followed_by_a_request_either() -> None:
    """Interrupted with time left, as by Ctrl-C or the end of the process."""
    attempt = calls_out._Attempt(post("http://127.0.0.1:9/"), Deadline.after(60), 0)
    attempt.abandon()
    assert not attempt._begin_to_send()
    with pytest.raises(Unavailable):
        attempt.outcome()


@pytest.mark.parametrize("url", ["http://shop.example/", "ftp://127.0.0.1/", "https:///path", "daraja"])
def test_no_call_leaves_this_machine_in_plain_text(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        exchange(post(url), Deadline.after(1))


def test_a_header_that_could_smuggle_another_is_refused_before_connecting() -> None:
    with a_server(after_the_request(b"")) as url, pytest.raises(ValueError, match="header"):
        exchange(Request("POST", url, {"Authorization": "Bearer a\r\nX-Other: 1"}, b"{}"), Deadline.after(1))


# Bytes may have left --------------------------------------------------------------------------------------------------


def closes_at_once(connection: socket.socket, over: threading.Event) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def closes_after_the_request(connection: socket.socket, over: threading.Event) -> None:
    read_request(connection)


def resets_after_the_request(connection: socket.socket, over: threading.Event) -> None:
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def never_answers(connection: socket.socket, over: threading.Event) -> None:
    read_request(connection)
    over.wait(10)


NASTY = {
    "accepts and closes": closes_at_once,
    "closes after the request": closes_after_the_request,
    "resets after the request": resets_after_the_request,
    "never answers": never_answers,
    "answers with half a head": after_the_request(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "drips a head": dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "drips a status line": dripping(b"HTTP/1.1 2", b"0"),
    "says 'continue' for ever": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drips a body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "drips a body without end": dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "drips chunks": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "breaks off its body": after_the_request(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"),
    "breaks off its chunks": after_the_request(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}"),
    "sends a huge body": after_the_request(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (calls_out.MAX_ANSWER_BYTES + 1)),
    "announces a huge body": after_the_request(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}"),
    "speaks no HTTP": after_the_request(b"220 mail.example ESMTP\r\n"),
    "sends endless headers": after_the_request(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000),
    "lies about its length": after_the_request(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
}


@pytest.mark.parametrize("how", NASTY)
def test_once_bytes_may_have_left_a_broken_answer_is_unanswered_and_over_by_the_deadline(how: str) -> None:
    with a_server(NASTY[how]) as url:
        took_less_than_s(5, lambda: exchange(post(url), Deadline.after(0.6)), Unanswered)
        _no_call_is_left()


def test_what_comes_after_the_caller_gave_up_is_no_answer() -> None:
    """An endless answer that we cut off ourselves looks like one that ended."""
    attempt = calls_out._Attempt(post("http://127.0.0.1:9/"), Deadline.after(1), 0)
    assert attempt._begin_to_send()
    attempt.abandon()
    attempt._take(Answer(200, {}, b"half of it"))
    with pytest.raises(Unanswered):
        attempt.outcome()


def test_an_error_never_shows_what_was_sent() -> None:
    with a_server(closes_after_the_request) as url:
        request = Request("POST", url, {"Authorization": "Bearer SECRET"}, b'{"PhoneNumber":"254708374149"} {}')
        failed = took_less_than_s(5, lambda: exchange(request, Deadline.after(2)), Unanswered)
    shown = f"{failed} {failed!r} {request!r}"
    assert "SECRET" not in shown
    assert "254708374149" not in shown


# Deadlines ------------------------------------------------------------------------------------------------------------


def test_a_deadline_only_ever_comes_nearer() -> None:
    deadline = Deadline.after(100)
    assert 99 < deadline.remaining_s() <= 100
    assert deadline.at_most(5).remaining_s() <= 5
    assert deadline.at_most(1000) == deadline
    assert Deadline.after(-1).passed()
    assert Deadline.after(-1).remaining_s() == 0


# Helpers --------------------------------------------------------------------------------------------------------------


def _no_call_is_left() -> None:
    """Every worker has ended by itself."""
    until = time.monotonic() + 5
    while any(thread.name == "call-out" for thread in threading.enumerate()):
        assert time.monotonic() < until, "a call went on after its caller had given up"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))
