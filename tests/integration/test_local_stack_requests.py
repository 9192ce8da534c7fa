"""The local stack goes on serving whatever a client sends it: bodies that are huge, slow, or break off."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.fixtures.site import HttpReply, Site

STKPUSH = "/api/pay/stkpush"
HUGE = 8_000_000


def still_answers(site: Site) -> None:
    reply = site.request("GET", "/api/pay/status/x")
    assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")


def too_large(reply: HttpReply) -> None:
    assert (reply.status, reply.headers["content-type"]) == (413, "application/problem+json")
    told = reply.json()
    assert (told["status"], told["code"], told["title"]) == (413, "too_large", "Too large")


def connection(site: Site) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.stack.port), timeout=30)


def head(*lines: str) -> bytes:
    return "\r\n".join(
        (f"POST {STKPUSH} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines, "", "")
    ).encode()


@pytest.mark.parametrize("size", [20_000, 60_000, 256 * 1024, 1024 * 1024, HUGE])
def test_a_body_that_is_too_large_is_refused_whatever_its_size(site: Site, size: int) -> None:
    too_large(site.request("POST", STKPUSH, raw=b"x" * size))
    still_answers(site)


def test_a_static_page_refuses_a_huge_body_too(site: Site) -> None:
    too_large(site.request("POST", "/", raw=b"x" * HUGE))
    still_answers(site)


def test_who_announces_a_huge_body_is_refused_before_sending_it(site: Site) -> None:
    with connection(site) as client:
        client.sendall(head(f"Content-Length: {HUGE}"))
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
    still_answers(site)


def test_a_huge_body_without_a_length_is_refused(site: Site) -> None:
    with connection(site) as client:
        client.sendall(head("Transfer-Encoding: chunked"))
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        client.sendall(chunk * 40 + b"0\r\n\r\n")
        with client.makefile("rb") as answer:
            told = answer.read()
    assert told.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_large"' in told
    still_answers(site)


@pytest.mark.parametrize("sent", [b"", b"x"])
def test_a_client_may_hang_up_before_its_body_is_complete(site: Site, sent: bytes) -> None:
    for length in (100, HUGE):
        with connection(site) as client:
            client.sendall(head(f"Content-Length: {length}") + sent)
            time.sleep(0.3)  # the server is reading the body
    time.sleep(0.5)
    still_answers(site)


def test_a_slow_body_arrives_whole(site: Site) -> None:
    body = json.dumps({"phone_number": "0812345678", "amount": 250, "account_reference": "SLOW"}).encode()

    def in_pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 20):
            yield body[start : start + 20]

    with connection(site) as client:
        client.sendall(head(f"Content-Length: {len(body)}", "Connection: close"))
        for piece in in_pieces():
            time.sleep(0.1)
            client.sendall(piece)
        with client.makefile("rb") as answer:
            told = answer.read()
    assert b"phone_number" in told
    assert told.startswith((b"HTTP/1.1 422 ", b"HTTP/1.1 400 "))
    still_answers(site)
