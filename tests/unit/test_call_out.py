"""Calls to servers that misbehave: does the error say whether bytes may have left, and is the call over in time?"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from shared import call_out
from shared.call_out import Answer, send
from shared.daraja.answers import Unanswered, Unavailable
from shared.deadline import Deadline
from tests.fixtures.certificates import self_signed

Behaviour = Callable[[socket.socket, threading.Event], None]
RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


@contextmanager
def a_server(behaves: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server on this machine that does `behaves` with each connection, one after the other. Yields its address."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                with suppress(OSError):
                    connection, _ = listening.accept()
                    with connection if tls is None else tls.wrap_socket(connection, server_side=True) as talking:
                        behaves(talking, over)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{listening.getsockname()[1]}/path"
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


def records(received: list[bytes], answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") -> Behaviour:
    """Serve one connection for as long as it sends requests."""

    def behaves(connection: socket.socket, over: threading.Event) -> None:
        received.append(b"")
        while more := read_request(connection):
            received[-1] += more
            connection.sendall(answer)

    return behaves


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


def post(url: str) -> requests.Request:
    return requests.Request("POST", url, json={})


def took_less_than_s(seconds: float, call: Callable[[], object], expected: type[Exception]) -> Exception:
    began = time.monotonic()
    with pytest.raises(expected) as raised:
        call()
    assert time.monotonic() - began < seconds
    return raised.value


class Recorder:
    """A server that answers `{}`, and what came in on each of its connections."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._received: list[bytes] = []
        self.url = stack.enter_context(a_server(records(self._received)))

    def received(self) -> list[bytes]:
        """All of it: the server has ended."""
        self._stack.close()
        return self._received


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with ExitStack() as stack:
        yield Recorder(stack)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """A server's, with a certificate that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted_tls(tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    monkeypatch.setattr(call_out, "tls_context", lambda: ssl.create_default_context(cafile=str(certificate)))
    return tls


# What is sent, and what is read ---------------------------------------------------------------------------------------


def test_an_answer_is_read_whole_with_its_status() -> None:
    with a_server(after_the_request(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")) as url:
        assert send(post(url), Deadline.after(5)) == Answer(404, b"no")


def test_what_is_sent_is_one_plain_request_that_asks_for_no_compression_and_closes(recorder: Recorder) -> None:
    send(post(recorder.url + "?a=b"), Deadline.after(5))
    head, _, body = recorder.received()[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().splitlines()
    assert lines[0] == "post /path?a=b http/1.1"
    assert {"connection: close", "content-length: 2", "accept-encoding: identity"} <= set(lines)
    assert body == b"{}"


def test_each_call_opens_a_connection_of_its_own(recorder: Recorder) -> None:
    for _ in range(3):
        send(post(recorder.url), Deadline.after(5))
    assert [each.count(b"POST /path") for each in recorder.received()] == [1, 1, 1]


def test_proxies_and_netrc_of_the_environment_are_not_used(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password SECRET\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    send(post(recorder.url), Deadline.after(5))
    assert b"authorization" not in recorder.received()[0].lower()


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    received: list[bytes] = []
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"
    with a_server(records(received, redirect)) as url:
        assert send(post(url), Deadline.after(5)).status == 302
    assert len(received) == 1


def test_a_chunked_answer_is_read() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    with a_server(after_the_request(chunks)) as url:
        assert send(post(url), Deadline.after(5)).body == b"{}"


def test_a_header_that_could_smuggle_another_is_refused_before_connecting() -> None:
    request = requests.Request("POST", "http://127.0.0.1:9/", {"Authorization": "Bearer a\r\nX-Other: 1"})
    with pytest.raises(ValueError, match="header"):
        send(request, Deadline.after(1))


# The border: eight faults, over TLS -----------------------------------------------------------------------------------


def resets_at_once(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(100)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_WHEN_CLOSED)


def resets_after_the_request(connection: socket.socket, over: threading.Event) -> None:
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_WHEN_CLOSED)


def speaks_no_tls(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(100)
    connection.sendall(b"220 mail.example ESMTP\r\n")


def is_silent(connection: socket.socket, over: threading.Event) -> None:
    over.wait(10)


def test_fault_1_a_refused_connection_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(Unavailable, match=r"Connection refused"):
        send(post(f"https://127.0.0.1:{port}/"), Deadline.after(5))


@pytest.mark.parametrize(
    "behaves",
    [
        pytest.param(speaks_no_tls, id="2 garbage in the handshake"),
        pytest.param(resets_at_once, id="3 reset in the handshake"),
        pytest.param(lambda connection, over: connection.recv(100), id="closed in the handshake"),
        pytest.param(is_silent, id="no handshake"),
    ],
)
def test_faults_2_and_3_a_handshake_that_fails_is_unavailable(behaves: Behaviour) -> None:
    with a_server(behaves) as url:
        took_less_than_s(4, lambda: send(post(url.replace("http:", "https:")), Deadline.after(0.8)), Unavailable)


def test_fault_4_a_certificate_that_is_not_trusted_is_unavailable(tls: ssl.SSLContext) -> None:
    received: list[bytes] = []
    with a_server(records(received), tls) as url, pytest.raises(Unavailable, match="certificate"):
        send(post(url), Deadline.after(5))
    assert received == []


def test_a_certificate_for_another_host_is_unavailable(trusted_tls: ssl.SSLContext) -> None:
    received: list[bytes] = []
    with a_server(records(received), trusted_tls) as url, pytest.raises(Unavailable, match="certificate"):
        send(post(url.replace("127.0.0.1", "localhost")), Deadline.after(5))
    assert b"".join(received) == b""


def never_answers(connection: socket.socket, over: threading.Event) -> None:
    read_request(connection)
    over.wait(10)


BROKEN = {
    "5 resets after the request": resets_after_the_request,
    "6 speaks no HTTP": after_the_request(b"220 mail.example ESMTP\r\n"),
    "7 drips a body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "accepts and closes": lambda connection, over: connection.shutdown(socket.SHUT_RDWR),
    "closes after the request": after_the_request(b""),
    "never answers": never_answers,
    "answers with half a head": after_the_request(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "drips a head": dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "drips a status line": dripping(b"HTTP/1.1 2", b"0"),
    "says 'continue' for ever": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drips a body without end": dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "drips chunks": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "breaks off its body": after_the_request(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"),
    "breaks off its chunks": after_the_request(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}"),
    "sends a huge body": after_the_request(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (call_out.MAX_ANSWER_BYTES + 1)),
    "announces a huge body": after_the_request(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}"),
    "sends endless headers": after_the_request(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000),
    "lies about its length": after_the_request(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
}


@pytest.mark.parametrize(("method", "how"), [*(("POST", how) for how in BROKEN), ("GET", "closes after the request")])
def test_faults_5_to_7_a_broken_answer_is_unanswered_in_time_and_asked_for_once(
    trusted_tls: ssl.SSLContext, method: str, how: str
) -> None:
    connections: list[socket.socket] = []

    def behaves(connection: socket.socket, over: threading.Event) -> None:
        connections.append(connection)
        BROKEN[how](connection, over)

    with a_server(behaves, trusted_tls) as url:
        request = requests.Request(method, url, json={})
        took_less_than_s(5, lambda: send(request, Deadline.after(0.6)), Unanswered)
        _no_call_is_left()
    assert len(connections) == 1


def test_fault_8_is_none_a_trusted_server_answers(trusted_tls: ssl.SSLContext) -> None:
    received: list[bytes] = []
    with a_server(records(received), trusted_tls) as url:
        assert send(post(url), Deadline.after(5)) == Answer(200, b"{}")
    assert len(received) == 1


# Nothing left us ------------------------------------------------------------------------------------------------------


def test_a_name_that_is_not_found_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        send(post("https://daraja.invalid/"), Deadline.after(10))


def test_a_name_service_that_hangs_is_over_by_the_deadline_and_nothing_is_sent(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one real part we cannot slow down from outside is the resolver: it is held here until we have given up."""
    given_up, asked = threading.Event(), threading.Event()
    resolve = socket.getaddrinfo

    def hanging(*args: object, **kwargs: object) -> object:
        asked.set()
        given_up.wait(10)
        return resolve(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    took_less_than_s(4, lambda: send(post(recorder.url), Deadline.after(0.3)), Unavailable)
    assert asked.is_set()
    given_up.set()
    _no_call_is_left()
    assert b"".join(recorder.received()) == b""


def test_a_caller_that_gave_up_is_never_followed_by_a_request(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen between connecting and sending, woken after the caller has gone: the request must not leave."""
    woken = threading.Event()
    connect = call_out._MarkingHTTPConnection.connect

    def frozen_once_connected(self: call_out._MarkingHTTPConnection) -> None:
        connect(self)
        woken.wait(10)

    monkeypatch.setattr(call_out._MarkingHTTPConnection, "connect", frozen_once_connected)
    took_less_than_s(4, lambda: send(post(recorder.url), Deadline.after(0.3)), Unavailable)
    woken.set()
    _no_call_is_left()
    assert b"".join(recorder.received()) == b""


def test_a_caller_that_left_early_is_not_followed_by_a_request_either() -> None:
    """Interrupted with time left, as by Ctrl-C or the end of the process."""
    call = call_out.Call(post("http://127.0.0.1:9/"), Deadline.after(60), 0)
    call.abandon()
    with socket.socket() as connected, pytest.raises(TimeoutError):
        call.begin_to_send(connected)
    with pytest.raises(Unavailable):
        call.outcome()


def test_without_time_for_the_answer_there_is_not_even_a_connection(recorder: Recorder) -> None:
    for deadline, answer_takes_s in ((Deadline.after(2), 3), (Deadline.after(0), 0)):
        with pytest.raises(Unavailable):
            send(post(recorder.url), deadline, answer_takes_s=answer_takes_s)
    time.sleep(0.2)
    assert recorder.received() == []


def test_when_connecting_has_taken_the_time_for_the_answer_nothing_is_sent(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = call_out._MarkingHTTPConnection.connect

    def slowly(self: call_out._MarkingHTTPConnection) -> None:
        connect(self)
        time.sleep(0.5)

    monkeypatch.setattr(call_out._MarkingHTTPConnection, "connect", slowly)
    with pytest.raises(Unavailable):
        send(post(recorder.url), Deadline.after(5), answer_takes_s=4.8)
    assert b"".join(recorder.received()) == b""


# Bytes may have left --------------------------------------------------------------------------------------------------


def test_what_comes_after_the_caller_gave_up_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless answer that we cut off ourselves looks like one that ended."""
    given_up = threading.Event()
    read = call_out._whole

    def late(response: requests.Response) -> Answer:
        answer = read(response)
        given_up.wait(10)
        return answer

    monkeypatch.setattr(call_out, "_whole", late)
    with a_server(records([])) as url:
        call = call_out.Call(post(url), Deadline.after(5), 0)
        thread = threading.Thread(target=call.run)
        thread.start()
        while not call._sending_on:
            time.sleep(0.01)
        call.abandon()
        given_up.set()
        thread.join(5)
    with pytest.raises(Unanswered):
        call.outcome()


def test_an_error_never_shows_what_was_sent() -> None:
    with a_server(after_the_request(b"")) as url:
        body = b'{"PhoneNumber":"254708374149"} {}'
        request = requests.Request("POST", url, {"Authorization": "Bearer SECRET"}, data=body)
        failed = took_less_than_s(5, lambda: send(request, Deadline.after(2)), Unanswered)
    shown = f"{failed} {failed!r} {failed.__cause__!r} {request!r}"
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


def _no_call_is_left() -> None:
    """Every thread has ended by itself."""
    until = time.monotonic() + 5
    while any(thread.name == "call to Daraja" for thread in threading.enumerate()):
        assert time.monotonic() < until, "a call went on after its caller had given up"
        time.sleep(0.02)
