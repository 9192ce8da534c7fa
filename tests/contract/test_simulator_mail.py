"""The mailbox: SendGrid's API with its literal errors, the real sendgrid package against it, and SMTP."""

from __future__ import annotations

import http.client
import json
import smtplib
import time
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Mail, ReplyTo

from simulator import ControlError, Simulator
from tests.fixtures.simulator import HttpAnswer, http_request

DATA = json.loads((Path(__file__).with_name("simulator_bodies") / "sendgrid_errors.json").read_text())
SEND = "/v3/mail/send"


def send(simulator: Simulator, message: object, key: str = "SG.simulator", timeout_s: float = 20) -> HttpAnswer:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return http_request(simulator.base_url, "POST", SEND, headers, json.dumps(message).encode(), timeout_s)


def send_by_smtp(simulator: Simulator) -> None:
    message = EmailMessage()
    message["From"] = "Duka <invoices@shop.example>"
    message["To"] = "Alice <alice@example.com>"
    message["Reply-To"] = "support@shop.example"
    message["Subject"] = "Ankara ya Novemba — asante"
    message.set_content("Asante sana.\n")
    message.add_alternative("<p>Asante <b>sana</b>.</p>", subtype="html")
    with smtplib.SMTP("127.0.0.1", simulator.smtp_port, timeout=10) as server:
        server.login("anybody", "any password")
        server.send_message(message)


def test_a_mail_is_taken_with_202_an_empty_body_and_a_message_id(simulator: Simulator) -> None:
    answer = send(simulator, DATA["message"])
    assert (answer.status, answer.body) == (202, b"")
    [mail] = simulator.client.mail()
    assert answer.headers["x-message-id"] == mail["id"]
    assert (mail["via"], mail["from"], mail["to"], mail["subject"], mail["text"], mail["html"], mail["reply_to"]) == (
        "sendgrid",
        "invoices@shop.example",
        ["alice@example.com"],
        "Invoice",
        "Asante",
        None,
        None,
    )


@pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in DATA["rows"]])
def test_a_wrong_mail_is_refused_in_sendgrids_words(simulator: Simulator, row: dict[str, Any]) -> None:
    changed = {**DATA["message"], **row["change"]}
    message = {name: value for name, value in changed.items() if value is not None}
    answer = send(simulator, message)
    assert answer.status == row["http_status"]
    assert answer.json() == {"errors": row["errors"]}
    assert simulator.client.mail() == []


@pytest.mark.parametrize("key", ["SG.other", ""])
def test_another_key_is_not_authorized(simulator: Simulator, key: str) -> None:
    answer = send(simulator, DATA["message"], key)
    assert answer.status == 401
    told = {"message": "The provided authorization grant is invalid, expired, or revoked", "field": None, "help": None}
    assert answer.json() == {"errors": [told]}


@pytest.mark.parametrize("body", [b"{", b"[]", b"null"])
def test_what_is_not_json_is_a_bad_request(simulator: Simulator, body: bytes) -> None:
    answer = http_request(simulator.base_url, "POST", SEND, {"Authorization": "Bearer SG.simulator"}, body)
    assert answer.status == 400
    assert answer.json()["errors"][0]["message"] == "Bad Request"


def test_the_sendgrid_package_sends_here_as_to_sendgrid(simulator: Simulator) -> None:
    client = SendGridAPIClient("SG.simulator", host=simulator.base_url)
    mail = Mail(
        ("invoices@shop.example", "Duka la Mfano"), ("alice@example.com", "Alice"), "Ankara", "Asante", "<p>Asante</p>"
    )
    mail.reply_to = ReplyTo("support@shop.example")
    assert client.send(mail).status_code == 202
    [seen] = simulator.client.mail()
    assert (seen["from"], seen["to"], seen["reply_to"]) == (
        "Duka la Mfano <invoices@shop.example>",
        ["Alice <alice@example.com>"],
        "support@shop.example",
    )
    assert (seen["text"], seen["html"]) == ("Asante", "<p>Asante</p>")


def test_smtp_comes_into_the_same_mailbox(simulator: Simulator) -> None:
    send(simulator, DATA["message"])
    send_by_smtp(simulator)
    assert simulator.client.info()["smtp_port"] == simulator.smtp_port
    newest, _ = simulator.client.mail()
    assert (newest["via"], newest["from"], newest["to"], newest["reply_to"]) == (
        "smtp",
        "Duka <invoices@shop.example>",
        ["alice@example.com"],
        "support@shop.example",
    )
    assert newest["subject"] == "Ankara ya Novemba — asante"
    assert newest["text"] == "Asante sana.\n"
    assert newest["html"] == "<p>Asante <b>sana</b>.</p>\n"


@pytest.mark.parametrize(
    ("kind", "status", "smtp_code"),
    [
        ("error_500", 500, 451),
        ("too_many_429", 429, 450),
        ("unauthorized_401", 401, 535),
        ("firewall_403", 403, 530),
        ("firewall_503", 503, 421),
        ("refused_400", 400, 554),
        ("too_large_413", 413, 552),
    ],
    ids=str,
)
def test_a_mail_can_be_refused_by_each_way(simulator: Simulator, kind: str, status: int, smtp_code: int) -> None:
    simulator.client.fault("mail", kind, times=2)
    assert send(simulator, DATA["message"]).status == status
    with pytest.raises(smtplib.SMTPDataError) as refused:
        send_by_smtp(simulator)
    assert refused.value.smtp_code == smtp_code
    assert simulator.client.mail() == []
    assert send(simulator, DATA["message"]).status == 202


@pytest.mark.parametrize(("kind", "taken"), [("drop", 0), ("reset", 0), ("drop_after", 1)])
def test_a_server_can_hang_up_before_or_after_it_took_the_mail(simulator: Simulator, kind: str, taken: int) -> None:
    simulator.client.fault("mail", kind, times=2)
    with pytest.raises(ConnectionError):
        send(simulator, DATA["message"])
    assert len(simulator.client.mail()) == taken
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        send_by_smtp(simulator)
    assert len(simulator.client.mail()) == 2 * taken


def test_sendgrid_can_be_slow(simulator: Simulator) -> None:
    simulator.client.fault("mail", "slow", seconds=0.3)
    began = time.monotonic()
    assert send(simulator, DATA["message"]).status == 202
    assert time.monotonic() - began >= 0.3


def test_the_mail_one_waits_for_is_found_by_its_address(simulator: Simulator) -> None:
    send(simulator, DATA["message"])
    assert simulator.client.wait_for_mail("alice@example.com")["subject"] == "Invoice"
    with pytest.raises(TimeoutError, match=r"mail to bob@example\.com"):
        simulator.client.wait_for_mail("bob@example.com", timeout_s=0.1)


# Faults of one letter, or for a while; and the truth about all of them ------------------------------------------------


def test_a_fault_may_wait_for_the_letters_to_one_address(simulator: Simulator) -> None:
    simulator.client.fault("mail", "error_500", to="Bob@example.com", times=2)
    to_bob = {**DATA["message"], "personalizations": [{"to": [{"email": "bob@example.com"}]}]}
    assert [send(simulator, each).status for each in (DATA["message"], to_bob, to_bob, to_bob)] == [202, 500, 500, 202]
    simulator.client.fault("mail", "refused_400", to="alice@example.com")
    assert send(simulator, to_bob).status == 202
    with pytest.raises(smtplib.SMTPDataError):
        send_by_smtp(simulator)


def test_a_fault_may_last_for_a_while(simulator: Simulator) -> None:
    simulator.client.fault("mail", "firewall_503", for_s=3600)
    assert [send(simulator, DATA["message"]).status for _ in range(3)] == [503] * 3
    simulator.client.advance(3599)
    assert send(simulator, DATA["message"]).status == 503
    simulator.client.advance(1)
    assert send(simulator, DATA["message"]).status == 202


@pytest.mark.parametrize(
    ("where", "more", "named"),
    [
        ("push", {"to": "alice@example.com"}, "to"),
        ("mail", {"for_s": 60, "times": 2}, "for_s"),
        ("oauth", {"kind": "reset"}, "reset"),
    ],
)
def test_an_impossible_fault_is_named(simulator: Simulator, where: str, more: dict[str, Any], named: str) -> None:
    with pytest.raises(ControlError) as refused:
        simulator.client.fault(where, **{"kind": "error_500", **more})
    assert refused.value.http_status == 422
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("via", "answers"), [("sendgrid", ("500", "400", "202")), ("smtp", ("451", "554", "250"))], ids=str
)
def test_every_letter_is_on_the_ledger_with_the_answer_its_sender_got(
    simulator: Simulator, via: str, answers: tuple[str, ...]
) -> None:
    letter = {**DATA["message"], "headers": {"X-Id": "INV-1.7"}}
    for kind in ("error_500", "refused_400", "garbage", "drop", "reset", "drop_after", None):
        if kind is not None:
            simulator.client.fault("mail", kind)
        with suppress(ConnectionError, http.client.HTTPException, smtplib.SMTPException):
            send(simulator, letter) if via == "sendgrid" else send_by_smtp(simulator)
    told = simulator.client.deliveries()[::-1]
    taken = [False, False, False, False, False, True, True]
    assert [one["answer"] for one in told] == [*answers[:2], None, None, None, None, answers[2]]
    assert [one["mail_id"] is not None for one in told] == taken
    assert [one["mail_id"] for one in told if one["mail_id"]] == [one["id"] for one in simulator.client.mail()[::-1]]
    subject = "Invoice" if via == "sendgrid" else "Ankara ya Novemba — asante"
    assert {(one["via"], *one["to"], one["subject"]) for one in told} == {(via, "alice@example.com", subject)}
    if via == "sendgrid":
        assert {tuple(map(tuple, one["headers"])) for one in told} == {(("X-Id", "INV-1.7"),)}


def test_a_letter_may_be_taken_at_once_and_answered_when_nobody_listens_any_more(simulator: Simulator) -> None:
    simulator.client.fault("mail", "slow_after", seconds=3600, times=2)
    with pytest.raises(TimeoutError):
        send(simulator, DATA["message"], timeout_s=0.5)
    server = smtplib.SMTP("127.0.0.1", simulator.smtp_port, timeout=0.5)
    with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
        server.sendmail("invoices@shop.example", ["bob@example.com"], b"Subject: Invoice\r\n\r\nAsante")
    server.close()
    simulator.client.advance(3600)
    assert [(one["mail_id"] is not None, one["answer"]) for one in simulator.client.deliveries()] == [(True, None)] * 2
