"""`make demo`: one payment all the way through the real platform on this machine, printed step by step.

What is real: the Netlify CLI with the five functions, PostgreSQL, every HTTP request. What is played: Safaricom and its
customer, by the simulator. Each step prints what was sent and what is stored now. At the end everything is checked: the
exit code is 0 only if the payment is PAID with one confirmation, one invoice and one e-mail, the shop heard of the
sale, and the invariants hold.
Every run has a database of its own and a fresh phone number, and runs beside a `make dev`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from dev.demo_page import Page, folded, stored
from dev.make_dev import Stopped, stop_on_signals
from dev.ports import PortTaken, free_port, is_taken, usual_ports
from dev.stack import LOCAL, ROOT, STATE, LocalStack, StackFault, locked, shown
from shared.catalogue import catalogue_of
from shared.database import Database, Row
from simulator.client import Shown, SimulatorClient

PIN = "1234"
NOTE = "Moi Avenue 7, the blue gate"
WITHIN_S = 60.0
"""For the prompt, the payment and the mail, each."""


class DemoFailed(Exception):
    """The payment did not go as promised; the message says where."""


def a_cart(setting: str | None = None) -> list[dict[str, object]]:
    """Something that this shop sells, with what has to be bought beside it. `setting`: the variable CATALOGUE."""
    catalogue = catalogue_of(setting)
    if catalogue is None:
        raise DemoFailed("There is no catalogue to buy from.")
    item = next(item for item in catalogue.items.values() if item.available)
    return [{"id": item_id, "quantity": 1} for item_id in (item.id, *item.requires[:1])]


# The payment ----------------------------------------------------------------------------------------------------------


class Demo:
    """One payment, its steps in the order in which they happen."""

    def __init__(self, stack: LocalStack, page: Page) -> None:
        self.stack = stack
        self.page = page
        self.phone = f"2547000{secrets.randbelow(100_000):05d}"
        self.page.phone = self.phone
        self.reference = f"ORDER{secrets.randbelow(9000) + 1000}"
        self.email = f"wanjiru-{secrets.token_hex(3)}@example.com"
        self.simulator = SimulatorClient(stack.simulator_url)
        self.database = Database(stack.database_url)
        self.transaction_id = ""
        self.amount_kes = 0
        self.mail: Shown = {}

    def run(self) -> None:
        try:
            self.ask_for_a_payment()
            self.answer_the_prompt()
            self.look_at_the_callback()
            self.look_at_the_settlement()
            self.see_what_the_customer_sees()
            self.wait_for_the_invoice()
            self.check_everything()
            self.show_the_invoice()
            self.show_the_mail_of_the_sale()
        finally:
            self.database.close()

    def ask_for_a_payment(self) -> None:
        self.page.title("The checkout page asks for a payment")
        key = str(uuid.uuid4())
        order = {
            "phone_number": f"0{self.phone[3:]}",
            "items": a_cart(self.stack.environment()["CATALOGUE"] or None),
            "account_reference": self.reference,
            "customer_email": self.email,
            "customer_name": "Wanjiru",
            "note": NOTE,
        }
        self.page.json(f"POST {self.stack.site_url}/api/mpesa/stkpush   (Idempotency-Key: {key})", order)
        status, answer = self._http("POST", "/api/mpesa/stkpush", order, key)
        self.page.json(f"HTTP {status}", answer)
        if status != 202:
            raise DemoFailed(f"The payment was not accepted: HTTP {status}.")
        self.transaction_id, self.amount_kes = str(answer["transaction_id"]), answer["amount"]
        self.page.say("The browser says what it wants; the shop's own catalogue says what that costs.")
        again_status, again = self._http("POST", "/api/mpesa/stkpush", order, key)
        if again.get("transaction_id") != self.transaction_id:
            raise DemoFailed("The same request made a second payment.")
        self.page.say(f"The same request again, as after a double click: HTTP {again_status}, the same payment.")

        self.page.title("Stored: the row was there before M-Pesa was asked, so a crash in between loses nothing")
        self._show(
            "transactions",
            "id, status, phone_number, amount, items, account_reference, note, checkout_request_id, response_code, "
            "response_message, created_at, pushed_at",
            key="id",
        )

    def answer_the_prompt(self) -> None:
        self.page.title("M-Pesa takes the push, and the customer's phone rings")
        payment = self.simulator.wait_for_prompt(self.phone, WITHIN_S)
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
        self.page.phone_screen([text, "", f"Enter PIN: {'•' * len(PIN)}", "", "[ Cancel ]      [ Send ]"])
        self.page.say("The customer types the PIN. (In make dev you do that yourself.)")
        self.simulator.answer(self.phone, "pin", PIN)

    def look_at_the_callback(self) -> None:
        self.page.title("Safaricom calls back, once: the raw bytes are stored before anybody reads them")
        self._wait_until(lambda: self._row("transactions", "status", key="id")["status"] == "PAID", "PAID")
        inbox = self._row("callback_inbox", "received_at, source_address, outcome, receipts, tries, body")
        body = bytes(inbox.pop("body"))
        self.page.row("table callback_inbox", inbox)
        self.page.data("its body, kept byte for byte (only here the number is masked)", folded(body.decode()))

    def look_at_the_settlement(self) -> None:
        self.page.title("Settled: status, evidence, invoice and history, in one database transaction")
        self._show(
            "payment_confirmations",
            "evidence, result_code, result_desc, amount, mpesa_receipt_number, transaction_date",
        )
        self._show("invoices", "invoice_number, customer_name, customer_email, amount, status")
        history = self._rows("audit_log", "at, actor, event, from_status, to_status, outcome", more="ORDER BY id")
        self.page.table("table audit_log", history)

    def see_what_the_customer_sees(self) -> None:
        self.page.title("The checkout page, which has been asking, gets the answer")
        status, answer = self._http("GET", f"/api/mpesa/status/{self.transaction_id}")
        self.page.json(f"GET /api/mpesa/status/{self.transaction_id}   HTTP {status}", answer)
        for message in self.simulator.phone(self.phone)["messages"][:1]:
            self.page.phone_screen([str(message["text"])])

    def wait_for_the_invoice(self) -> None:
        self.page.title("The callback sent the invoice, after it had committed the payment")
        self.mail = self.simulator.wait_for_mail(self.email, WITHIN_S)
        self._wait_until(lambda: self._row("invoices", "status")["status"] == "SENT", "invoiced")
        self._show("outbox", "kind, tries, sent_at", more="AND kind = 'invoice'")
        self.page.say(f"It arrived in the mailbox by way of {self.mail['via']}.")

    def check_everything(self) -> None:
        self.page.title("The checks")
        state = self._row("transactions", "status, amount", key="id")
        receipt = self._row("payment_confirmations", "mpesa_receipt_number")["mpesa_receipt_number"]
        pushed = [one for one in self.simulator.payments() if one["phone"] == self.phone]
        # the callback is answered after what it sends: the letter may be here before
        pushes = [self.simulator.wait_for_callback(one["checkout_request_id"]) for one in pushed]
        moved = [(one["amount"], one["receipt"]) for one in self.simulator.ledger() if one["phone"] == self.phone]
        mails = [one for one in self.simulator.mail() if any(self.email in to for to in one["to"])]
        answers = [[callback["http_status"] for callback in one["callbacks"]] for one in pushes]
        money_agrees = moved == [(self.amount_kes, receipt)] and state["amount"] == Decimal(self.amount_kes)
        checks = [
            (f"the payment is {state['status']}", state["status"] == "PAID"),
            ("one push reached M-Pesa, though it was asked for twice", len(pushes) == 1),
            ("its callback was answered 200", answers == [[200]]),
            (f"KES {self.amount_kes:,} moved, once, and its receipt {receipt} is the one that is stored", money_agrees),
            ("exactly one confirmation", len(self._rows("payment_confirmations", "id")) == 1),
            ("exactly one invoice, sent", len(self._rows("invoices", "id")) == 1),
            ("exactly one e-mail to the customer", len(mails) == 1),
            self._invariants(),
        ]
        for text, holds in checks:
            self.page.check(text, holds)
        if not all(holds for _, holds in checks):
            raise DemoFailed("Something is not right: see the line with ✗.")

    def show_the_invoice(self) -> None:
        self.page.title("The invoice, as it arrived")
        head = "".join(
            f"{name + ':':<10}{stored(self.mail[key])}\n"
            for name, key in (("From", "from"), ("To", "to"), ("Reply-To", "reply_to"), ("Subject", "subject"))
        )
        self.page.data("its text; make dev shows it as HTML", f"{head}\n{str(self.mail['text']).strip()}")

    def show_the_mail_of_the_sale(self) -> None:
        self.page.title("The shop hears of the sale: what to send to whom, and how to reach them")
        sale = self._mail_of_the_sale()
        self.page.data("its text", f"To: {stored(sale['to'])}\nSubject: {sale['subject']}\n\n{sale['text'].strip()}")
        if NOTE not in sale["text"]:
            raise DemoFailed("The mail of the sale does not say what the customer wrote to the shop.")

    def _mail_of_the_sale(self) -> Shown:
        """It leaves beside the invoice, so it may come after it."""
        found: list[Shown] = []

        def arrived() -> bool:
            found[:] = [one for one in self.simulator.mail() if f"order {self.reference}" in one["subject"]]
            return bool(found)

        self._wait_until(arrived, "mailed to the shop")
        return found[0]

    def _show(self, table: str, columns: str, *, key: str = "transaction_id", more: str = "") -> None:
        self.page.row(f"table {table}", self._row(table, columns, key=key, more=more))

    def _row(self, table: str, columns: str, *, key: str = "transaction_id", more: str = "") -> dict[str, Any]:
        rows = self._rows(table, columns, key=key, more=more)
        if len(rows) != 1:
            raise DemoFailed(f"Exactly one row was expected in {table}, there are {len(rows)}.")
        return dict(rows[0])

    def _rows(self, table: str, columns: str, *, key: str = "transaction_id", more: str = "") -> list[Row]:
        sql = f"SELECT {columns} FROM {table} WHERE {key} = CAST(:id AS uuid) {more}"  # noqa: S608  # our own words
        with self.database.transaction() as transaction:
            return transaction.rows(sql, id=self.transaction_id)

    def _wait_until(self, holds: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + WITHIN_S
        while not holds():
            if time.monotonic() > give_up:
                raise DemoFailed(f"The payment was not {what} within {WITHIN_S:.0f} s.")
            time.sleep(0.05)

    def _invariants(self) -> tuple[str, bool]:
        command = [sys.executable, "-m", "ops", "verify"]
        env = self.stack.environment()
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode == 0:
            return "every invariant of the database holds (make verify)", True
        return f"make verify: exit code {done.returncode}\n{done.stdout}{done.stderr}", False

    def _http(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"Idempotency-Key": key} if key else {}
        answer = LOCAL.request(method, self.stack.site_url + path, json=body, headers=headers, timeout=60)
        return answer.status_code, answer.json()


# The stack it runs on -------------------------------------------------------------------------------------------------


def own_stack() -> LocalStack:
    """A stack with an empty database, not started yet: in a folder of its own, whose logs stay.

    It has the usual ports where they are free, so that the addresses are those of `make dev`. Raises FolderBusy while
    another demo runs.
    """
    folder = STATE / "demo"
    with contextlib.suppress(FileNotFoundError):
        locked(folder, {}).close()
    shutil.rmtree(folder, ignore_errors=True)
    port, simulator_port = (free_port() if is_taken(port) else port for port in usual_ports())
    return LocalStack(folder, port=port, simulator_port=simulator_port)


def main() -> int:
    argparse.ArgumentParser(prog="python -m dev.demo", description="One payment, all the way: make demo.").parse_args()
    stop_on_signals()
    page = Page(colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    print(page.paint("1", "Lipa: one payment, all the way."))
    print("The Netlify CLI, the functions, PostgreSQL: real. Safaricom and the customer: played. No money moves.\n")
    print("Starting the local stack …", flush=True)
    try:
        site, phone = (f"http://127.0.0.1:{port}" for port in usual_ports())
        stack = own_stack()
        try:
            stack.start()
            print(f"  up after {time.monotonic() - page.started:.1f} s: {stack.site_url}/", flush=True)
            Demo(stack, page).run()
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
    print(
        f"\n{page.paint('1', 'One payment, all the way')}, in {time.monotonic() - page.started:.0f} s. Now you:\n\n"
        f"    make dev      the shop on {site}/: pay, cancel, mistype the PIN\n"
        f"                  the phone on {phone}/phone, the mailbox on {phone}/mail\n"
        "    make test     everything that must never go wrong, tried\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
