"""Mail through SendGrid's API and through real SMTP servers: what arrives, and what each refusal means."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes
from email.policy import default as default_policy
from email.utils import formatdate
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP

from shared.collaborators import mailer_from
from shared.deadline import Deadline
from shared.mail import smtp
from shared.mail.mailer import ID_HEADER, Email, Mailer, MailRefused, MailStopped, MailUnanswered
from shared.mail.sendgrid import SendGridMailer
from shared.mail.smtp import SmtpMailer
from shared.settings import MailSettings
from simulator import Simulator
from tests.contract.scripted_daraja import ScriptedDaraja, scripted_daraja

SEND = "/v3/mail/send"
MESSAGE = Email(
    to_address="wanjiru@customer.example",
    to_name="Wanjirũ Example",
    subject="Invoice INV-2026-000001: KES 1,500, paid",
    text="Asante!\n",
    html="<p>Asante!</p>",
    from_name="Duka la Mfano",
)
MAIL = MailSettings(
    from_address="invoices@shop.example",
    reply_to="support@shop.example",
    sendgrid_api_key="SG.simulator",
    sendgrid_base_url="http://127.0.0.1:9",
    smtp_url=None,
)


def by_sendgrid(base_url: str) -> Mailer:
    return mailer_from(replace(MAIL, sendgrid_base_url=base_url))


def by_smtp(url: str) -> Mailer:
    return mailer_from(replace(MAIL, smtp_url=url))


def soon() -> Deadline:
    return Deadline.after(10)


def test_smtp_is_used_where_it_is_set_and_sendgrid_otherwise() -> None:
    assert isinstance(by_sendgrid("http://127.0.0.1:9"), SendGridMailer)
    assert isinstance(by_smtp("smtp://127.0.0.1:9"), SmtpMailer)


# What arrives ---------------------------------------------------------------------------------------------------------


def test_sendgrid_gets_the_request_its_api_documents(server: ScriptedDaraja) -> None:
    server.answer(SEND, {"http_status": 202, "body": ""})
    by_sendgrid(server.base_url).send(MESSAGE, soon(), "INV-2026-000001")
    (asked,) = server.asked_for(SEND)
    assert asked.method == "POST"
    assert asked.headers["authorization"] == "Bearer SG.simulator"
    assert asked.headers["content-type"] == "application/json"
    said = asked.json()
    assert said["from"] == {"email": "invoices@shop.example", "name": "Duka la Mfano"}
    assert said["reply_to"] == {"email": "support@shop.example"}
    assert said["personalizations"] == [{"to": [{"email": "wanjiru@customer.example", "name": "Wanjirũ Example"}]}]
    assert [content["type"] for content in said["content"]] == ["text/plain", "text/html"]
    assert said["headers"] == {ID_HEADER: "INV-2026-000001", "Auto-Submitted": "auto-generated"}
    assert said["custom_args"] == {"message_id": "INV-2026-000001"}
    assert said["tracking_settings"]["open_tracking"]["enable"] is False


# Nothing can be smuggled ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_address", ["wanjiru@customer.example", f"{'w' * 60}@customer.example"])
def test_a_name_that_mail_programs_would_decode_adds_no_recipient(to_address: str) -> None:
    decodes_to_another = "=?utf-8?q?W=0D=0ABcc=3A_?= all@customer.example =?utf-8?q?=2C?="
    with smtp_server() as (port, letters):
        nasty = replace(MESSAGE, to_address=to_address, to_name=decodes_to_another, subject=decodes_to_another)
        by_smtp(f"smtp://127.0.0.1:{port}").send(nasty, soon(), "INV-1")
    letter = message_from_bytes(letters[0], policy=default_policy)
    assert [each.addr_spec for each in letter["To"].addresses] == [to_address]
    assert "all@customer.example" in letter["To"].addresses[0].display_name
    assert "= ?utf-8?q?" in letter["Subject"]


@pytest.mark.parametrize("message_id", ["", "a b", "a\r\nBcc: x", "a@b", "x" * 101])
def test_an_id_that_could_break_a_header_is_a_fault_of_ours(message_id: str) -> None:
    with pytest.raises(ValueError, match="message_id"):
        by_smtp("smtp://127.0.0.1:9").send(MESSAGE, soon(), message_id)


# SendGrid's refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "means", "says"),
    [
        (400, '{"errors":[{"message":"Bad Request","field":null,"help":null}]}', MailRefused, "Bad Request"),
        (400, '{"errors":[{"message":"wanjiru@customer.example is no address"}]}', MailRefused, "… is no address"),
        (413, "", MailRefused, "413"),
        (400, "[" * 100_000, MailRefused, "400"),
        (404, "<html>", MailRefused, "404"),
        (401, '{"errors":[{"message":"The authorization grant is invalid"}]}', MailStopped, "SENDGRID_API_KEY"),
        (401, '{"errors":[{"message":"Maximum credits exceeded"}]}', MailStopped, "Maximum credits exceeded"),
        (403, '{"errors":[{"message":"The from address does not match"}]}', MailStopped, "INVOICE_EMAIL_FROM"),
        (403, "<html>blocked</html>", MailStopped, "INVOICE_EMAIL_FROM"),
        *[(status, "{}", MailUnanswered, "") for status in (200, 302, 408, 429, 500, 502, 503)],
    ],
)
def test_a_sendgrid_answer_is_for_good_or_of_the_shop_or_may_change(
    server: ScriptedDaraja, status: int, body: str, means: type[Exception], says: str
) -> None:
    server.answer(SEND, {"http_status": status, "body": body})
    with pytest.raises(means) as failed:
        by_sendgrid(server.base_url).send(MESSAGE, soon(), "INV-1")
    assert says in str(failed.value)
    assert "customer.example" not in str(failed.value)
    assert len(server.asked) == 1, "a redirect would carry the key to somebody else"


@pytest.mark.parametrize(
    ("headers", "from_s", "to_s"),
    [
        (lambda now: {}, 60, 60),
        (lambda now: {"X-RateLimit-Reset": f"{now + 30:.0f}"}, 28, 31),
        (lambda now: {"X-RateLimit-Reset": f"{now + 864_000:.0f}"}, 3600, 3600),
        (lambda now: {"X-RateLimit-Reset": f"{now - 20:.0f}"}, 1, 1),
        (lambda now: {"X-RateLimit-Reset": "soon"}, 60, 60),
        (lambda now: {"X-RateLimit-Reset": "soon", "Retry-After": "7"}, 7, 7),
        (lambda now: {"Retry-After": "0"}, 1, 1),
        (lambda now: {"Retry-After": formatdate(now + 90, usegmt=True)}, 87, 91),
    ],
)
def test_a_429_says_how_long_nothing_is_sent(
    server: ScriptedDaraja, headers: Callable[[float], dict[str, str]], from_s: float, to_s: float
) -> None:
    server.answer(SEND, {"http_status": 429, "headers": headers(time.time()), "body": "{}"})
    with pytest.raises(MailUnanswered) as asked_to_wait:
        by_sendgrid(server.base_url).send(MESSAGE, soon(), "INV-1")
    assert from_s <= (asked_to_wait.value.retry_after_s or 0) <= to_s


def test_in_its_sandbox_mode_sendgrid_checks_and_sends_nothing(simulator: Simulator, server: ScriptedDaraja) -> None:
    sandbox = replace(MAIL, sendgrid_sandbox=True)
    server.answer(SEND, {"http_status": 200, "body": ""})
    SendGridMailer(replace(sandbox, sendgrid_base_url=server.base_url)).send(MESSAGE, soon(), "INV-1")
    assert server.asked_for(SEND)[0].json()["mail_settings"] == {"sandbox_mode": {"enable": True}}
    SendGridMailer(replace(sandbox, sendgrid_base_url=simulator.base_url)).send(MESSAGE, soon(), "INV-1")
    assert simulator.client.mail() == []
    with pytest.raises(MailStopped):
        SendGridMailer(replace(sandbox, sendgrid_base_url=simulator.base_url, sendgrid_api_key="SG.another")).send(
            MESSAGE, soon(), "INV-1"
        )


def test_sendgrid_is_asked_without_proxies_or_redirects(
    server: ScriptedDaraja, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    elsewhere = {"Location": f"{simulator.base_url}{SEND}"}
    for status in (301, 302, 303, 307, 308):
        server.answer(SEND, {"http_status": status, "headers": elsewhere, "body": ""})
        with pytest.raises(MailUnanswered, match=str(status)):
            by_sendgrid(server.base_url).send(MESSAGE, soon(), "INV-1")
    assert simulator.client.mail() == []


def test_a_message_that_looks_like_an_api_key_is_refused_and_not_a_crash() -> None:
    """sendgrid's package looks for keys in what it sends."""
    with pytest.raises(MailRefused):
        by_sendgrid("http://127.0.0.1:9").send(replace(MESSAGE, text="SG.abc.def"), soon(), "INV-1")


# SMTP's refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "reply", "expected"),
    [
        ("RCPT", "550 5.1.1 <wanjiru@customer.example> user unknown", MailRefused),
        ("RCPT", "450 4.2.1 try later", MailUnanswered),
        ("MAIL", "553 5.7.1 sender not allowed", MailStopped),
        ("MAIL", "552 5.3.4 message too big", MailRefused),
        ("MAIL", "530 5.7.0 authentication required", MailStopped),
        ("RCPT", "530 5.7.0 authentication required", MailStopped),
        ("MAIL", "451 4.3.0 local error", MailUnanswered),
        ("DATA", "554 5.7.1 message refused", MailRefused),
        ("DATA", "452 4.3.1 no space", MailUnanswered),
    ],
)
def test_five_hundreds_of_smtp_are_for_good_and_four_hundreds_are_not(
    step: str, reply: str, expected: type[Exception]
) -> None:
    with smtp_server(replies={step: reply}) as (port, _), pytest.raises(expected) as failed:
        by_smtp(f"smtp://127.0.0.1:{port}").send(MESSAGE, soon(), "INV-1")
    assert "customer.example" not in str(failed.value)


def test_a_server_elsewhere_without_starttls_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine stands in for another: no name is exempt here."""
    monkeypatch.setattr(smtp, "LOOPBACK", frozenset())
    with smtp_server() as (port, letters), pytest.raises(MailStopped, match="STARTTLS"):
        by_smtp(f"smtp://127.0.0.1:{port}").send(MESSAGE, soon(), "INV-1")
    assert letters == []


def silent(connection: socket.socket, over: threading.Event) -> None:
    over.wait(10)


def dripping(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.05):
        connection.sendall(b"2")


def closing(connection: socket.socket, over: threading.Event) -> None:
    return


@pytest.mark.parametrize("behaves", [silent, dripping, closing])
@pytest.mark.parametrize("way", ["sendgrid", "smtp"])
def test_a_server_that_gives_no_answer_is_waited_for_until_the_deadline(
    way: str, behaves: Callable[[socket.socket, threading.Event], None]
) -> None:
    over, hung_up = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                try:
                    behaves(connection, over)
                except OSError:
                    hung_up.set()

        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(MailUnanswered):
            mailer = by_sendgrid(f"http://{address}") if way == "sendgrid" else by_smtp(f"smtp://{address}")
            mailer.send(MESSAGE, Deadline.after(0.5), "INV-1")
        assert time.monotonic() - began < 5
        if way == "sendgrid" and behaves is dripping:
            assert hung_up.wait(10), "the connection is cut at the deadline"
        over.set()


# Servers --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[ScriptedDaraja]:
    with scripted_daraja() as scripted:
        yield scripted


@contextmanager
def smtp_server(*, replies: dict[str, str] | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A real SMTP server: its port, and the letters it took."""
    letters: list[bytes] = []
    refusals = replies or {}

    class Handler:
        async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
            envelope.mail_from = address
            return refusals.get("MAIL", "250 OK")

        async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
            envelope.rcpt_tos.append(address)
            return refusals.get("RCPT", "250 OK")

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            if "DATA" not in refusals:
                letters.append(envelope.content)
            return refusals.get("DATA", "250 OK")

    loop = asyncio.new_event_loop()
    served = loop.run_until_complete(
        loop.create_server(lambda: SMTP(Handler(), hostname="mail.example", loop=loop), "127.0.0.1", 0)
    )
    serving = threading.Thread(target=loop.run_forever, daemon=True)
    serving.start()
    try:
        yield served.sockets[0].getsockname()[1], letters
    finally:
        loop.call_soon_threadsafe(loop.stop)
        serving.join(5)
        served.close()
        loop.close()
