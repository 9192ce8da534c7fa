"""Every promise of `Mailer`, kept alike by SendGrid's API, by SMTP with STARTTLS and by SMTP inside TLS.

Each test runs over all three, against the simulator's mailbox: what a shop changes by setting SMTP_URL is the way, and
nothing that a customer or an operator could notice.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from shared.collaborators import mailer_from
from shared.deadline import Deadline
from shared.mail import smtp
from shared.mail.mailer import ID_HEADER, Email, Mailer, MailRefused, MailStopped, MailUnanswered
from shared.settings import MailSettings
from simulator import Simulator, SimulatorSettings
from simulator.client import Shown
from tests.fixtures.certificates import self_signed

WAYS = ("sendgrid", "starttls", "smtps")
PASSWORD = "p@ss: w%rd/"
ADDRESS = "wanjiru@customer.example"
MESSAGE = Email(
    to_address=ADDRESS,
    to_name="Wanjirũ Example",
    subject="Invoice INV-2026-000001: KES 1,500, paid",
    text="Asante!\n",
    html="<p>Asante!</p>\n",
    from_name="Duka la Mfano",
)
MAIL = MailSettings(
    from_address="invoices@shop.example",
    reply_to="support@shop.example",
    sendgrid_api_key="SG.simulator",
    sendgrid_base_url="",
    smtp_url=None,
)


@dataclass(frozen=True)
class Way:
    name: str
    simulator: Simulator

    def mailer(self, *, port: int | None = None, login: bool = True) -> Mailer:
        """To the simulator, or whoever else is on `port`; with our own credentials, or with wrong ones."""
        if self.name == "sendgrid":
            server = self.simulator.base_url if port is None else f"https://127.0.0.1:{port}"
            return mailer_from(
                replace(MAIL, sendgrid_base_url=server, sendgrid_api_key="SG.simulator" if login else "SG.another")
            )
        scheme, own = (
            ("smtp", self.simulator.smtp_port) if self.name == "starttls" else ("smtps", self.simulator.smtps_port)
        )
        word = quote(PASSWORD if login else "wrong", safe="")
        return mailer_from(replace(MAIL, smtp_url=f"{scheme}://shop:{word}@127.0.0.1:{port or own}"))

    def send(self, email: Email = MESSAGE, message_id: str = "INV-1", within_s: float = 10) -> None:
        self.mailer().send(email, Deadline.after(within_s), message_id)

    def letters(self) -> list[Shown]:
        return self.simulator.client.mail()

    def the_letter(self) -> Shown:
        (letter,) = self.letters()
        assert letter["via"] == ("sendgrid" if self.name == "sendgrid" else "smtp")
        return letter

    def fault(self, kind: str, **more: Any) -> None:
        self.simulator.client.fault("mail", kind, **more)

    def name_in(self, letter: Shown, header: str) -> str:
        """As a mail program shows it."""
        (value,) = headers(letter, header)
        return value.rpartition(" <")[0]


def headers(letter: Shown, name: str) -> list[str]:
    return [value for held, value in letter["headers"] if held.lower() == name.lower()]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def one_simulator(certificate: Path) -> Iterator[Simulator]:
    with Simulator(SimulatorSettings(smtp_certificate=certificate, smtp_password=PASSWORD)) as running:
        yield running


@pytest.fixture(params=WAYS)
def way(
    request: pytest.FixtureRequest, one_simulator: Simulator, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> Way:
    monkeypatch.setattr(smtp, "tls_context", lambda: ssl.create_default_context(cafile=str(certificate)))
    one_simulator.client.reset()
    return Way(request.param, one_simulator)


# What arrives ---------------------------------------------------------------------------------------------------------


def test_a_message_arrives_whole(way: Way) -> None:
    way.send(message_id="INV-2026-000001.7")
    letter = way.the_letter()
    assert [to.rpartition("<")[2].rstrip(">") for to in letter["to"]] == [ADDRESS]
    assert (way.name_in(letter, "To"), way.name_in(letter, "From")) == ("Wanjirũ Example", "Duka la Mfano")
    assert "invoices@shop.example" in letter["from"]
    assert letter["reply_to"] == "support@shop.example"
    assert letter["subject"] == MESSAGE.subject
    assert (letter["text"], letter["html"]) == (MESSAGE.text, MESSAGE.html)
    assert headers(letter, ID_HEADER) == ["INV-2026-000001.7"]
    assert headers(letter, "Auto-Submitted") == ["auto-generated"], "nobody's holiday is told to the shop"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Njoroge wa Mwangĩ", None),
        ('O\'Brien "Bob" \\ (sales), Ltd; <all@customer.example>', None),
        ("all@customer.example", None),
        ("<b>Bold & Co</b><script>alert(1)</script>", None),
        ("🍅 Mama Mboga 🥬", None),
        ("فاطمة علي", None),
        ("שרה", None),
        ("李小龍", None),
        ("x" * 300, "x" * 200),
        ("ǅ" * 300, "ǅ" * 200),
        ("=?utf-8?q?=2C_all=40customer=2Eexample?=", "= ?utf-8?q?=2C_all=40customer=2Eexample?="),
        ("Wanjiru\r\nBcc: all@customer.example\r\n\r\nBody", "Wanjiru Bcc: all@customer.example Body"),
        ("Wanjiru\x00\u202e\u2028\x85\x1b[2J", "Wanjiru [2J"),
    ],
)
def test_any_name_arrives_as_one_name_and_adds_nothing(way: Way, name: str, shown: str | None) -> None:
    shown = shown or name
    way.send(replace(MESSAGE, to_name=name, from_name=name, subject=name))
    letter = way.the_letter()
    assert len(letter["to"]) == 1
    assert letter["to"][0].endswith((ADDRESS, f"<{ADDRESS}>"))
    assert (way.name_in(letter, "To"), way.name_in(letter, "From")) == (shown, shown)
    assert letter["subject"] == shown
    assert not {"bcc", "cc"} & {held.lower() for held, _ in letter["headers"]}
    assert (letter["text"], letter["html"]) == (MESSAGE.text, MESSAGE.html)


@pytest.mark.parametrize("name", ["", None, " \r\n "])
def test_without_a_name_the_address_stands_alone(way: Way, name: str | None) -> None:
    way.send(replace(MESSAGE, to_name=name, from_name=name))
    assert headers(way.the_letter(), "To") == [ADDRESS]


@pytest.mark.parametrize(
    "text",
    [
        "One.\n.\n..\n.QUIT\nFrom here on\n",
        "long " * 2000 + "\n",
        "🍅 " * 500 + "\n李小龍\n",
        "KES 1,500 = 1500\n\n\n  indented\ttabbed\n",
    ],
)
def test_a_body_arrives_as_it_was_written(way: Way, text: str) -> None:
    html = f"<p>{text}</p>\n"
    way.send(replace(MESSAGE, text=text, html=html))
    letter = way.the_letter()
    assert (letter["text"], letter["html"]) == (text, html)


def test_a_repeat_has_the_same_id(way: Way) -> None:
    way.send(message_id="INV-2026-000001.7")
    way.send(message_id="INV-2026-000001.7")
    first, second = way.letters()
    assert headers(first, ID_HEADER) == headers(second, ID_HEADER) == ["INV-2026-000001.7"]
    assert headers(first, "Message-ID") == headers(second, "Message-ID")
    assert way.name == "sendgrid" or headers(first, "Message-ID") == ["<INV-2026-000001.7@shop.example>"]


# Addresses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example",
        "first.last+tag@mail.customer.co.ke",
        "o'brien_{x}@xn--mnchen-3ya.example",
        "x" * 64 + "@b.example",
    ],
)
def test_an_address_is_taken_as_it_is(way: Way, address: str) -> None:
    way.send(replace(MESSAGE, to_address=address))
    assert way.the_letter()["to"][0].endswith((address, f"<{address}>"))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nobody",
        "jürgen@customer.example",
        "a@münchen.example",
        "用户@例子.广告",
        "a@b",
        "a@b.example, c@d.example",
        "a@b.example\r\nBcc: c@d.example",
        "Wanjiru <a@b.example>",
        "<a@b.example>",
        "a..b@c.example",
        ".a@c.example",
        "x" * 65 + "@b.example",
        "a@" + "b" * 300 + ".example",
    ],
)
def test_an_address_that_not_every_server_takes_is_refused_without_a_call(way: Way, address: str) -> None:
    way.fault("error_500")
    with pytest.raises(MailRefused) as refused:
        way.send(replace(MESSAGE, to_address=address))
    assert not address or address not in str(refused.value)
    with pytest.raises(MailUnanswered):
        way.send()  # the fault was still waiting


# What each trouble means ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "means", "letters"),
    [
        ("refused_400", MailRefused, 0),
        ("firewall_403", MailStopped, 0),
        ("error_500", MailUnanswered, 0),
        ("too_many_429", MailUnanswered, 0),
        ("firewall_503", MailUnanswered, 0),
        ("garbage", MailUnanswered, 0),
        ("drop", MailUnanswered, 0),
        ("drop_after", MailUnanswered, 1),
    ],
)
def test_each_trouble_means_the_same(way: Way, kind: str, means: type[Exception], letters: int) -> None:
    way.fault(kind)
    with pytest.raises(means) as trouble:
        way.send()
    assert "@" not in str(trouble.value)
    assert len(way.letters()) == letters
    way.send()
    assert len(way.letters()) == letters + 1, "the next one goes through"


def test_a_slow_answer_is_waited_for_and_no_longer_than_the_deadline(way: Way) -> None:
    way.fault("slow", seconds=0.3)
    way.send()
    assert len(way.letters()) == 1
    way.fault("slow", seconds=30)
    began = time.monotonic()
    with pytest.raises(MailUnanswered):
        way.send(within_s=0.5)
    assert time.monotonic() - began < 5


def test_wrong_credentials_stop_all_mail(way: Way) -> None:
    with pytest.raises(MailStopped) as stopped:
        way.mailer(login=False).send(MESSAGE, Deadline.after(10), "INV-1")
    assert ("SENDGRID_API_KEY" if way.name == "sendgrid" else "SMTP_URL") in str(stopped.value)
    assert "wrong" not in str(stopped.value)
    assert way.letters() == []


@contextmanager
def impostor(certificate: Path) -> Iterator[int]:
    """Whoever connects to this port is shown this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def show() -> None:
        with suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=show, daemon=True).start()
        yield listening.getsockname()[1]


def test_an_untrusted_certificate_stops_all_mail(way: Way, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "tls_context", ssl.create_default_context)
    with impostor(certificate) as port:
        own = way.simulator.smtp_port if way.name == "starttls" else port
        with pytest.raises(MailStopped, match="certificate"):
            way.mailer(port=own).send(MESSAGE, Deadline.after(10), "INV-1")
    assert way.letters() == []


def test_a_refused_connection_is_no_answer(way: Way) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(MailUnanswered):
        way.mailer(port=port).send(MESSAGE, Deadline.after(10), "INV-1")
