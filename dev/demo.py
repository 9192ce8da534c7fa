"""`make demo`: one payment all the way through the real platform on this machine, told step by step.

What is real: the Netlify CLI with the five functions, PostgreSQL, every HTTP request. What is played: Safaricom and its
customer, by the simulator. Each step prints what was sent and what is stored now. Then the sums are done: exit code 0
only if the payment is PAID with one confirmation, one invoice and one e-mail, and the invariants hold. The end is the
invoice, as text and, where there is a browser, as a picture. Every run has a database of its own and a fresh phone
number, and runs beside a `make dev`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from dev.browser import NoPicture, picture
from dev.make_dev import Stopped, stop_on_signals
from dev.ports import PortTaken, free_port, is_taken, port_from_environment
from dev.stack import (
    DIRECT,
    ROOT,
    SIMULATOR_PORT,
    SITE_PORT,
    STATE,
    LocalStack,
    StackFault,
    shown,
)
from dev.system_packages import fetch_browser
from shared.database import Database, Row
from shared.phone import masked
from simulator.client import Shown, SimulatorClient

AMOUNT_KES = 1500
PIN = "1234"
EAST_AFRICA = timezone(timedelta(hours=3), "EAT")
PROMPT_WITHIN_S = PAID_WITHIN_S = MAIL_WITHIN_S = 30.0


class DemoFailed(Exception):
    """The payment did not go as promised; the message says where."""


# What is printed ------------------------------------------------------------------------------------------------------


@dataclass
class Page:
    """The narration on the terminal. No phone number but the virtual phone's own leaves it unmasked."""

    colour: bool
    phone: str = ""
    step: int = 0
    started: float = field(default_factory=time.monotonic)

    def title(self, text: str) -> None:
        self.step += 1
        print(f"\n{self._paint('1;32', f'{self.step:>2}')}  {self._paint('1', text)}", flush=True)

    def say(self, text: str) -> None:
        for line in textwrap.wrap(self.safe(text), 104):
            print(f"    {line}", flush=True)

    def data(self, label: str, text: str) -> None:
        """Something that was really sent or stored."""
        print(f"    {self._paint('36', label)}", flush=True)
        for line in self.safe(text).splitlines():
            print(f"      {line}", flush=True)

    def json(self, label: str, value: object) -> None:
        self.data(label, json.dumps(value, indent=2, ensure_ascii=False, default=str))

    def row(self, label: str, row: Mapping[str, object]) -> None:
        width = max(len(name) for name in row)
        self.data(label, "\n".join(f"{name:<{width}}  {stored(value)}" for name, value in row.items()))

    def table(self, label: str, rows: Sequence[Mapping[str, object]]) -> None:
        cells = [list(rows[0]), *([stored(value) for value in row.values()] for row in rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
        )
        self.data(label, "\n".join(lines))

    def phone_screen(self, number: str, lines: Sequence[str]) -> None:
        """The virtual phone, the one place that shows the number in full."""
        wrapped = [part for line in lines for part in (textwrap.wrap(line, 34) or [""])]
        print(f"      ╭{'─' * 36}╮")
        for text in [f"☎ {number}", "", *wrapped]:
            print(f"      │ {text:<34} │")
        print(f"      ╰{'─' * 36}╯", flush=True)

    def check(self, text: str, holds: bool) -> bool:
        print(f"    {self._paint('32', '✓') if holds else self._paint('1;31', '✗')} {self.safe(text)}", flush=True)
        return holds

    def bold(self, text: str) -> str:
        return self._paint("1", text)

    def safe(self, text: str) -> str:
        """Masked: the number in each of its forms, also at the end of a CheckoutRequestID; and the address's token."""
        if self.phone:
            hidden = masked(self.phone)
            for form in (f"+{self.phone}", self.phone, f"0{self.phone[3:]}"):
                text = text.replace(form, hidden)
            text = text.replace(self.phone[3:], hidden[3:])
        return text

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


def stored(value: object) -> str:
    """A column's value, as a person reads it."""
    match value:
        case None:
            return "-"
        case datetime():
            return value.astimezone(EAST_AFRICA).strftime("%Y-%m-%d %H:%M:%S EAT")
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(str, value)) or "-"
        case _:
            return str(value)


def folded(text: str, width: int = 100) -> str:
    """Long JSON on several lines, broken after commas."""
    lines = [""]
    for piece in text.replace(",", ",\0").split("\0"):
        if len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


# The payment ----------------------------------------------------------------------------------------------------------


class Demo:
    """One payment, its steps in the order in which they happen."""

    def __init__(self, stack: LocalStack, page: Page, picture_at: Path) -> None:
        """`picture_at` is where the invoice's picture goes."""
        self.stack = stack
        self.page = page
        self.picture_at = picture_at
        self.phone = f"2547000{secrets.randbelow(100_000):05d}"
        self.page.phone = self.phone
        self.reference = f"ORDER{secrets.randbelow(9000) + 1000}"
        self.email = f"wanjiru-{secrets.token_hex(3)}@example.com"
        self.simulator = SimulatorClient(stack.simulator_url)
        self.database = Database(stack.database_url)
        self.transaction_id = ""
        self.mail: Shown = {}

    def run(self) -> None:
        try:
            self.ask_for_a_payment()
            self.look_at_what_was_stored()
            self.answer_the_prompt()
            self.look_at_the_callback()
            self.look_at_the_settlement()
            self.see_what_the_customer_sees()
            self.send_the_invoice()
            self.do_the_sums()
            self.show_the_invoice()
        finally:
            self.database.close()

    def ask_for_a_payment(self) -> None:
        self.page.title("The checkout page asks for a payment")
        key = str(uuid.uuid4())
        order = {
            "phone_number": f"0{self.phone[3:]}",
            "amount": AMOUNT_KES,
            "account_reference": self.reference,
            "transaction_desc": "Coffee 1kg",
            "customer_email": self.email,
            "customer_name": "Wanjiru",
        }
        self.page.json(f"POST {self.stack.site_url}/api/mpesa/stkpush   (Idempotency-Key: {key})", order)
        status, answer = self._http("POST", "/api/mpesa/stkpush", order, key)
        self.page.json(f"HTTP {status}", answer)
        if status != 202:
            raise DemoFailed(f"The payment was not accepted: HTTP {status}.")
        self.transaction_id = str(answer["transaction_id"])
        again_status, again = self._http("POST", "/api/mpesa/stkpush", order, key)
        self.page.say(
            f"The same request again, as after a double click: HTTP {again_status}, "
            f"{'the same payment' if again.get('transaction_id') == self.transaction_id else 'ANOTHER PAYMENT'}."
        )
        if again.get("transaction_id") != self.transaction_id:
            raise DemoFailed("The same request made a second payment.")

    def look_at_what_was_stored(self) -> None:
        self.page.title("Stored: the row was there before M-Pesa was asked, so a crash in between loses nothing")
        row = self._row(
            """
            SELECT id, status, phone_number, amount, account_reference, checkout_request_id, response_code,
                   response_message, created_at, pushed_at
            FROM transactions WHERE id = CAST(:id AS uuid)
            """
        )
        self.page.row("table transactions", row)

    def answer_the_prompt(self) -> None:
        self.page.title("M-Pesa takes the push, and the customer's phone rings")
        payment = self.simulator.wait_for_prompt(self.phone, PROMPT_WITHIN_S)
        address, _, token = str(payment["callback_url"]).rpartition("/")
        self.page.json(
            "what Safaricom got",
            {
                "PhoneNumber": payment["phone"],
                "Amount": payment["amount"],
                "AccountReference": payment["account_reference"],
                "TransactionDesc": payment["transaction_desc"],
                "CallBackURL": f"{address}/{token[:8]}…",
            },
        )
        self.page.say("The callback address names this payment and carries its HMAC: nobody else can call it.")
        prompt = self.simulator.phone(self.phone)["prompt"]
        text = prompt["text"] if prompt else ""
        self.page.phone_screen(
            f"+{self.phone}", [text, "", f"Enter PIN: {'•' * len(PIN)}", "", "[ Cancel ]      [ Send ]"]
        )
        self.page.say("The customer types the PIN. (In make dev you do that yourself.)")
        self.simulator.answer(self.phone, "pin", PIN)

    def look_at_the_callback(self) -> None:
        self.page.title("Safaricom calls back, once: the raw bytes are on file before anybody reads them")
        self._wait_for(
            lambda: self._row("SELECT status FROM transactions WHERE id = CAST(:id AS uuid)")["status"] == "PAID",
            "the payment was not PAID",
            PAID_WITHIN_S,
        )
        inbox = self._row(
            """
            SELECT received_at, source_address, outcome, receipts, tries, body
            FROM callback_inbox WHERE transaction_id = CAST(:id AS uuid)
            """
        )
        body = bytes(inbox.pop("body"))
        self.page.row("table callback_inbox", inbox)
        self.page.data("its body, kept byte for byte (only here the number is masked)", folded(body.decode()))

    def look_at_the_settlement(self) -> None:
        self.page.title("Settled: status, evidence, invoice and history, in one database transaction")
        self.page.row(
            "table payment_confirmations",
            self._row(
                """
                SELECT evidence, result_code, result_desc, amount, mpesa_receipt_number, transaction_date
                FROM payment_confirmations WHERE transaction_id = CAST(:id AS uuid)
                """
            ),
        )
        self.page.row(
            "table invoices",
            self._row(
                "SELECT invoice_number, customer_name, customer_email, amount, status FROM invoices "
                "WHERE transaction_id = CAST(:id AS uuid)"
            ),
        )
        history = self._rows(
            "SELECT at, actor, event, from_status, to_status, outcome FROM audit_log "
            "WHERE transaction_id = CAST(:id AS uuid) ORDER BY id"
        )
        self.page.table("table audit_log", history)

    def see_what_the_customer_sees(self) -> None:
        self.page.title("The checkout page, which has been asking, is told")
        status, answer = self._http("GET", f"/api/mpesa/status/{self.transaction_id}")
        self.page.json(f"GET /api/mpesa/status/{self.transaction_id}   HTTP {status}", answer)
        message = next(iter(self.simulator.phone(self.phone)["messages"]), None)
        if message:
            self.page.phone_screen(f"+{self.phone}", [str(message["text"])])

    def send_the_invoice(self) -> None:
        self.page.title("The scheduled function sends what waits: the invoice leaves")
        self.stack.sweep()
        self.mail = self.simulator.wait_for_mail(self.email, MAIL_WITHIN_S)
        self._wait_for(
            lambda: self._count("invoices", "AND status = 'SENT'") == 1, "the invoice is not SENT", MAIL_WITHIN_S
        )
        self.page.row(
            "table outbox",
            self._row(
                "SELECT kind, tries, sent_at FROM outbox WHERE transaction_id = CAST(:id AS uuid) AND kind = 'invoice'"
            ),
        )
        self.page.say(f"It arrived in the mailbox by way of {self.mail['via']}.")

    def show_the_invoice(self) -> None:
        self.page.title("The invoice, as it arrived")
        head = "\n".join(
            f"{name + ':':<10}{stored(self.mail[key])}"
            for name, key in (("From", "from"), ("To", "to"), ("Reply-To", "reply_to"), ("Subject", "subject"))
        )
        self.page.data("as text", f"{head}\n\n{str(self.mail['text']).strip()}")
        fetch_browser()
        try:
            picture(f"{self.stack.simulator_url}/mail/{self.mail['id']}/html", self.picture_at)
        except NoPicture as why:
            self.page.data("no picture", str(why))
        else:
            self.page.data("as a picture, made by a real browser", shown(self.picture_at))

    def do_the_sums(self) -> None:
        self.page.title("The sums")
        state = self._row("SELECT status, amount FROM transactions WHERE id = CAST(:id AS uuid)")
        receipt = self._row(
            "SELECT mpesa_receipt_number AS number FROM payment_confirmations WHERE transaction_id = CAST(:id AS uuid)"
        )["number"]
        pushes = [one for one in self.simulator.payments() if one["phone"] == self.phone]
        moved = [one for one in self.simulator.ledger() if one["phone"] == self.phone]
        mails = [one for one in self.simulator.mail() if any(self.email in to for to in one["to"])]
        accepted = [[callback["http_status"] for callback in one["callbacks"]] for one in pushes]
        check = self.page.check
        all_hold = all(
            [
                check(f"the payment is {state['status']}", state["status"] == "PAID"),
                check("one push reached M-Pesa, though it was asked for twice", len(pushes) == 1),
                check("its callback was answered 200", accepted == [[200]]),
                check(
                    f"KES {AMOUNT_KES:,} moved, once, and its receipt {receipt} is the one on file",
                    [(one["amount"], one["receipt"]) for one in moved] == [(AMOUNT_KES, receipt)]
                    and state["amount"] == Decimal(AMOUNT_KES),
                ),
                check("exactly one confirmation", self._count("payment_confirmations") == 1),
                check("exactly one invoice, sent", self._count("invoices") == 1),
                check("exactly one e-mail", len(mails) == 1),
                check(*self._invariants()),
            ]
        )
        if not all_hold:
            raise DemoFailed("The sums are not right: see the line with ✗.")

    # How it looks things up ------------------------------------------------------------------------------------------

    def _invariants(self) -> tuple[str, bool]:
        command = [sys.executable, "-m", "ops", "verify"]
        done = subprocess.run(
            command, cwd=ROOT, env=self.stack.environment(), capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode == 0:
            return "every invariant of the database holds (make verify)", True
        return f"make verify: exit code {done.returncode}\n{done.stdout}{done.stderr}", False

    def _rows(self, sql: str) -> list[Row]:
        with self.database.transaction() as transaction:
            return transaction.rows(sql, id=self.transaction_id)

    def _row(self, sql: str) -> dict[str, Any]:
        rows = self._rows(sql)
        if len(rows) != 1:
            raise DemoFailed(f"Exactly one row was expected, there are {len(rows)}: {' '.join(sql.split())}")
        return dict(rows[0])

    def _count(self, table: str, more: str = "") -> int:
        sql = f"SELECT count(*) AS n FROM {table} WHERE transaction_id = CAST(:id AS uuid) {more}"  # noqa: S608
        return int(self._row(sql)["n"])

    def _wait_for(self, holds: Callable[[], bool], failed: str, within_s: float) -> None:
        give_up = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > give_up:
                raise DemoFailed(f"After {within_s:.0f} s {failed}.")
            time.sleep(0.05)

    def _http(self, method: str, path: str, body: object = None, key: str | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.stack.site_url + path, data, headers, method=method)  # noqa: S310
        try:
            with DIRECT.open(request, timeout=40) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)


# The stack it runs on -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def own_stack() -> Iterator[tuple[LocalStack, Path]]:
    """A stack with an empty database, not started yet, and where the invoice's picture goes.

    It has the folder `.lipa/demo`, whose logs stay, and the usual ports where they are free, so that the addresses are
    those of `make dev`. While another demo runs: a folder for this run alone, and any ports.
    """
    STATE.mkdir(exist_ok=True)
    with (STATE / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            folder = STATE / f"demo-{os.getpid()}"
            try:
                yield LocalStack(folder), STATE / f"invoice-{os.getpid()}.png"
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        else:
            folder = STATE / "demo"
            shutil.rmtree(folder, ignore_errors=True)
            ports = usual_port("PORT", SITE_PORT), usual_port("SIM_PORT", SIMULATOR_PORT)
            yield LocalStack(folder, port=ports[0], simulator_port=ports[1]), folder / "invoice.png"


def usual_port(variable: str, usual: int) -> int:
    """The usual port, or the one that the environment names; where it is taken, any."""
    wanted = port_from_environment(variable, usual)
    return free_port() if is_taken(wanted) else wanted


def main() -> int:
    stop_on_signals()
    page = Page(colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    print(page.bold("Lipa: one payment, all the way."))
    print("The Netlify CLI, the functions, PostgreSQL: real. Safaricom and the customer: played. No money moves.\n")
    print("Starting the local stack …", flush=True)
    try:
        with own_stack() as (stack, picture_at):
            try:
                stack.start()
                print(f"  up after {time.monotonic() - page.started:.1f} s: {stack.site_url}/", flush=True)
                Demo(stack, page, picture_at).run()
            except (DemoFailed, TimeoutError, OSError) as failed:
                print(f"\nThe demo failed. {page.safe(str(failed))}\nLogs: {shown(stack.logs)}", file=sys.stderr)
                return 1
            finally:
                stack.stop()
    except Stopped:
        print("\nStopped.", flush=True)
        return 130
    except (PortTaken, StackFault) as fault:
        print(f"\nThe demo could not start. {fault}", file=sys.stderr)
        return 1
    site, simulator = (
        f"http://127.0.0.1:{port_from_environment(variable, usual)}"
        for variable, usual in (("PORT", SITE_PORT), ("SIM_PORT", SIMULATOR_PORT))
    )
    print(
        f"\n{page.bold('One payment, all the way')}, in {time.monotonic() - page.started:.0f} s. Now you:\n\n"
        f"    make dev      the shop on {site}/: pay, cancel, mistype the PIN\n"
        f"                  the phone on {simulator}/phone, the mailbox on {simulator}/mail\n"
        "    make test     everything that must never go wrong, tried\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
