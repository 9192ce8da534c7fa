"""Crash a function at any of its operations, let time and people do what they do, and compare the books with the truth.

`Stage` is a shop whose faulted requests run in processes of their own (crash_process.py). Its recovery is what happens
anyway: the customer's browser repeats its request with the same Idempotency-Key, Safaricom's one callback comes at
once, late or never, and the sweep runs every now and then while hours pass.
"""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import IO, Any
from urllib.parse import urlsplit

from ops.verify import INVARIANTS, read_invariants
from shared.collaborators import collaborators
from shared.database import Row
from shared.gateway.inbox import Entry
from shared.mail.mailer import ID_HEADER
from shared.orders import Order
from shared.settings import settings
from tests.chaos.crash_process import FAILS_AFTER, FAILS_BEFORE, KILLED_AFTER, KILLED_BEFORE, LOST_ON_THE_WAY
from tests.chaos.crew import Job
from tests.chaos.customers import Pushed, nth_order, push
from tests.chaos.virtual_time import MOMENTS
from tests.fixtures.line_process import LineProcess
from tests.fixtures.shop import Reply, Shop, forget_collaborators, replayed_differently, wrongly_signed

FAULTS = (FAILS_BEFORE, FAILS_AFTER, KILLED_BEFORE, KILLED_AFTER)
FAULTS_OF_NO_RETURN = (*FAULTS, LOST_ON_THE_WAY)
"""Of an HTTP request and of COMMIT, after which nobody can tell by the silence whether it happened."""

AT_ONCE, LATE, NEVER = "at once", "late", "never"
"""When Safaricom's callback about what a customer did comes in."""

SWEEPS_AFTER_S = (31, 40, 60, 200, 600, 900, 1800, 3600, 7200)
"""The sweep looks in now and then. Together four hours, and the callback that is late comes after the third."""
LATE_AFTER = 3
A_BROWSER_WAITS_S = 11
"""Before it repeats what was answered with 503; whoever was fetching a token has then lost its lease."""
ENDED = {"PAID", "FAILED", "CANCELLED", "EXPIRED", "REVIEW", "REFUNDED"}


@dataclass(frozen=True)
class Fault:
    """What goes wrong at which operation of a request, counted from 0."""

    at: int
    how: str


@dataclass(frozen=True)
class Played:
    """What a process did for its last request, and what it answered; None where it died first."""

    operations: list[str]
    reply: Reply | None
    killed: bool


class Instances:
    """Function instances, each in a process of its own for as long as its requests take."""

    def __init__(self) -> None:
        self._process = LineProcess("-m", "tests.chaos.crash_process")

    def play(self, requests: Sequence[Job], fault: Fault | None) -> Played:
        order = {"environment": dict(os.environ), "requests": list(requests), "fault": fault and vars(fault)}
        done = self._process.ask(order)
        answer = done["answer"]
        assert (answer is None) == done["killed"], f"no answer, and not killed: {self.new_log()[-2000:]}"
        reply = Reply(answer["statusCode"], answer["headers"], json.loads(answer["body"] or "{}")) if answer else None
        return Played(done["operations"], reply, done["killed"])

    def new_log(self) -> str:
        """What the instances have logged since this was asked last."""
        return self._process.new_log()

    def close(self) -> None:
        self._process.close()


class Stage:
    """A shop as on its first day, played on again and again."""

    def __init__(self, shop: Shop, instances: Instances, log: IO[str]) -> None:
        """`log` is where the functions log that run in this process."""
        self.shop = shop
        self.client = shop.simulator.client
        self._instances = instances
        self._log = log
        self._learn_what_is_done_often()
        self._asked = 0
        self._told: set[str] = set()
        self._acknowledged: set[tuple[str, bytes]] = set()

    # --- Before the crash ---

    def clear(self, *, first_day: bool = False) -> None:
        """Nothing was ever asked for; on the first day not even the environment is known."""
        self._do(f"begin_again({first_day})")
        if first_day:
            forget_collaborators()
        self.client.reset()
        self.client.behave(query_limit_per_minute=0)
        self._asked = 0
        self._told.clear()
        self._acknowledged.clear()
        self._log.seek(0)
        self._log.truncate()

    def next_order(self, **changes: object) -> dict[str, object]:
        self._asked += 1
        return nth_order(self._asked, customer_email="alice@example.com", **changes)

    def script(self, order: dict[str, object], outcome: str = "pay", **knobs: object) -> None:
        """What the customer does about the push of this order. Safaricom calls back when the stage says so."""
        self.client.script(str(order["phone_number"]), outcome, **{"after_s": 0, "callback_count": 0, **knobs})

    def pushed(self, outcome: str = "pay", order: dict[str, object] | None = None, **knobs: object) -> Pushed:
        """A payment that Daraja took and the customer decided about, before anything went wrong."""
        return push(self.shop, order or self.next_order(), outcome, **knobs)

    def tell(self, pushed: Pushed, body: bytes) -> None:
        """Safaricom's callback comes in, and all goes well."""
        assert self._call_back(pushed.transaction_id, pushed.checkout_request_id, pushed.path, body) == 200

    def left_unjudged(self, pushed: Pushed, body: bytes) -> None:
        """A callback that is on file, acknowledged, and was not judged."""
        collaborators().gateway.inbox.remember(Entry(str(uuid.uuid4()), pushed.transaction_id, body), "127.0.0.1")
        self.already_told(pushed.checkout_request_id)
        self._acknowledged.add((pushed.transaction_id, body))

    def what_safaricom_tells(self, transaction_id: str) -> tuple[str, bytes]:
        """Address and body of the callback about a payment whose push may have no answer."""
        (prompt,) = [prompt for prompt in self.client.payments() if _transaction(prompt) == transaction_id]
        self.client.wait_for(lambda: self._decided(prompt), "the customer's decision", 10)
        decided = self.client.payment(prompt["checkout_request_id"])
        return urlsplit(decided["callback_url"]).path, _told_of(decided)

    def died_before_its_push(self) -> None:
        """An order that was committed, and no more."""
        order = self.next_order()
        collaborators().gateway.admissions.admit(
            Order(str(order["phone_number"]), Decimal(str(order["amount"])), str(order["account_reference"])),
            None,
            settings().limits,
            "nobody",
        )

    def never_ask(self, pushed: Pushed) -> None:
        """Daraja had nothing to say for so long that the next question is far away."""
        later = "UPDATE transactions SET next_query_at = now() + interval '2 hours' WHERE id = CAST(:id AS uuid)"
        self.shop.rows(f"{later} RETURNING id", id=pushed.transaction_id)

    def tried_three_times(self) -> None:
        """Nobody could judge what is on file."""
        self.shop.rows("UPDATE callback_inbox SET tries = 3 WHERE outcome IS NULL RETURNING id")

    def already_told(self, checkout_request_id: str) -> None:
        """Safaricom does not send it again."""
        self._told.add(checkout_request_id)

    def age(self, seconds: float) -> None:
        """As `Shop.age`, in one round trip."""
        self._do(f"grow_older(interval '{seconds} seconds')")

    # --- The crash, and after ---

    def play(self, requests: Sequence[Job], fault: Fault | None = None) -> Played:
        """The last of the requests is the one that may go wrong."""
        played = self._instances.play(requests, fault)
        self._log.write(self._instances.new_log())
        for number, request in enumerate(requests):
            self._remember_what_was_said(request, played.reply if number == len(requests) - 1 else None)
        return played

    def repeat_at_once(self, request: Job, reply: Reply | None) -> list[str]:
        """The browser repeats its request, with the same key, until it is taken; what it was told amiss."""
        transactions = {reply.body["transaction_id"]} if reply and reply.status == 202 else set()
        for _ in range(4):
            if reply and reply.status == 503:
                self.age(A_BROWSER_WAITS_S)
            reply = self._in_this_process(request)
            if reply.status == 202:
                transactions.add(reply.body["transaction_id"])
            if reply.status != 503:
                break
        return [] if len(transactions) < 2 else [f"one key, and two payments: {transactions}"]

    def recover(self, callback: str) -> None:
        """Hours pass. Everything that comes in finds a healthy shop."""
        if callback == AT_ONCE:
            self._safaricom_calls_back()
        for number, seconds in enumerate(SWEEPS_AFTER_S):
            if number >= 1 and self._is_settled() and (callback != LATE or number > LATE_AFTER):
                return
            if callback == LATE and number == LATE_AFTER:
                self._safaricom_calls_back()
            self.age(seconds)
            if 1 <= number < LATE_AFTER and self._is_settled():
                continue  # nothing is due before the callback that is late: so many sweeps that find nothing take long
            assert self.shop.sweep().status == 200

    def what_is_wrong(self) -> list[str]:
        """Every difference between our books and what happened; none is what we promise."""
        rows = {str(row["id"]): row for row in self.shop.rows(BOOKS)}
        prompts = {prompt["checkout_request_id"]: prompt for prompt in self.client.payments()}
        moved = {_transaction(prompts[entry["checkout_request_id"]]): entry for entry in self.client.ledger()}
        return [
            *(f"invariant {row['name']} is broken" for row in self.shop.rows("SELECT name FROM broken_invariants()")),
            *_prompts_too_many(list(prompts.values())),
            *(
                f"{entry['amount']} KES moved, and the payment is {row['status'] if row else 'unknown'} ({why})"
                for transaction_id, entry in moved.items()
                for row in [rows.get(transaction_id)]
                if (why := self._not_accounted_for(row, entry))
            ),
            *(
                f"{row['amount']} KES are booked as {row['status']}, and nothing moved"
                for transaction_id, row in rows.items()
                if row["confirmed"] and transaction_id not in moved
            ),
            *(f"still {row['status']} after all this time" for row in rows.values() if row["status"] not in ENDED),
            *(f"a callback was answered 200 and is not on file: {lost}" for lost in self._acknowledged - self._filed()),
            *(f"replayed, {each.what}" for each in replayed_differently(self.shop.books)),
            *(f"history: {each.what}" for each in wrongly_signed(self.shop.books)),
            *(f"a callback is not judged: {row['tries']} tries" for row in self.shop.rows(UNJUDGED)),
            *(f"not sent: {row['kind']} {row['topic']}, {row['last_error']}" for row in self.shop.rows(UNSENT)),
            *self._letters(),
            *self._leaks(),
        ]

    def broken_at_once(self) -> list[str]:
        """Invariants hold at any moment, also right after a crash."""
        return [
            f"invariant {row['name']} is broken at once"
            for row in self.shop.rows("SELECT name FROM broken_invariants()")
        ]

    # --- How ---

    def _remember_what_was_said(self, request: Job, reply: Reply | None) -> None:
        if request["function"] == "callback":
            path = request["event"]["path"]
            self._told |= {
                prompt["checkout_request_id"]
                for prompt in self.client.payments()
                if urlsplit(prompt["callback_url"]).path == path
            }
            if reply is not None and reply.status == 200:
                self._acknowledged.add((path.split("/")[-2], base64.b64decode(request["event"]["body"])))

    def _in_this_process(self, request: Job) -> Reply:
        answer = self.shop._handle(request["function"], request["event"])
        return Reply(answer["statusCode"], answer["headers"], json.loads(answer["body"] or "{}"))

    def _safaricom_calls_back(self) -> None:
        """About every payment that was decided, unless it was sent before: it is never sent twice."""
        for prompt in self.client.payments():
            self.client.wait_for(partial(self._decided, prompt), "the customer's decision", 10)
        for prompt in self.client.payments():
            if prompt["checkout_request_id"] in self._told:
                continue
            path = urlsplit(prompt["callback_url"]).path
            self._call_back(_transaction(prompt), prompt["checkout_request_id"], path, _told_of(prompt))

    def _decided(self, prompt: dict[str, Any]) -> bool | None:
        return self.client.payment(prompt["checkout_request_id"])["state"] != "prompt" or None

    def _call_back(self, transaction_id: str, checkout_request_id: str, path: str, body: bytes) -> int:
        self._told.add(checkout_request_id)
        status = self.shop.call("callback", "POST", path, raw=body).status
        if status == 200:
            self._acknowledged.add((transaction_id, body))
        return status

    def _is_settled(self) -> bool:
        return not self.shop.rows(UNSETTLED)

    def _not_accounted_for(self, row: Row | None, entry: dict[str, Any]) -> str | None:
        """Paid with this receipt, or on Daraja's word without one. In review only where nobody could tell us more."""
        if row is None or (row["phone_number"], int(row["amount"])) != (entry["phone"], entry["amount"]):
            return "no such order"
        we_were_told = any(
            transaction_id == str(row["id"]) and entry["receipt"].encode() in body
            for transaction_id, body in self._acknowledged
        )
        if row["status"] == "REVIEW":
            could_ask = row["checkout_request_id"] is not None and not row["ids_are_learnt"]
            return "we were told, or could have asked" if we_were_told or could_ask else None
        if row["status"] != "PAID":
            return "money is lost"
        if row["receipt"] != entry["receipt"] and (we_were_told or row["receipt"] is not None):
            return f"receipt {row['receipt']}, told {entry['receipt']}"
        return None

    def _filed(self) -> set[tuple[str, bytes]]:
        rows = self.shop.rows("SELECT transaction_id, body FROM callback_inbox")
        return {(str(row["transaction_id"]), bytes(row["body"])) for row in rows}

    def _letters(self) -> list[str]:
        """Every letter that counts as sent is in the mailbox. What is there twice has one id, by which it is known."""
        wanted = {f"{row['invoice_number']}.{row['id']}": row["sent_at"] for row in self.shop.rows(LETTERS)}
        there = {value for mail in self.client.mail() for name, value in mail["headers"] if name == ID_HEADER}
        return [
            *(
                f"letter {letter} counts as sent, and is not there"
                for letter, sent in wanted.items()
                if sent is not None and letter not in there
            ),
            *(f"letter {letter} is none of ours" for letter in there - wanted.keys()),
        ]

    def _leaks(self) -> list[str]:
        self._log.seek(0)
        told = self._log.read()
        return [f"a log line holds {len(private)} private signs" for private in self.shop.private() if private in told]

    def _learn_what_is_done_often(self) -> None:
        """As functions of the database, whose plans are kept: to plan takes longer here than to do."""
        deleted = "".join(f"DELETE FROM {row['table_name']};" for row in self.shop.rows(TABLES))
        restarted = "".join(f"PERFORM setval('{row['sequence']}', 1, false);" for row in self.shop.rows(SEQUENCES))
        older = "".join(f"UPDATE {row['table_name']} SET {row['older']};" for row in self.shop.rows(MOMENTS))
        with self.shop.books.transaction() as tx:
            tx.script(
                f"""
                CREATE FUNCTION begin_again(first_day boolean) RETURNS void LANGUAGE plpgsql
                SET session_replication_role = 'replica' AS $$ BEGIN
                    {deleted} {restarted}
                    INSERT INTO installation (environment) SELECT 'sandbox' WHERE NOT first_day;
                END $$;
                CREATE FUNCTION grow_older(age interval) RETURNS void LANGUAGE plpgsql
                SET session_replication_role = 'replica' AS $$ BEGIN {older} END $$;
                CREATE FUNCTION broken_invariants() RETURNS TABLE (name text) LANGUAGE plpgsql AS $$
                #variable_conflict use_column
                BEGIN RETURN QUERY {BROKEN_INVARIANTS}; END $$;
                """
            )

    def _do(self, what: str) -> None:
        with self.shop.books.transaction() as tx:
            tx.run(f"SELECT {what}")


def _transaction(prompt: dict[str, Any]) -> str:
    return str(urlsplit(prompt["callback_url"]).path.split("/")[-2])


def _told_of(prompt: dict[str, Any]) -> bytes:
    pushed = Pushed(
        transaction_id=_transaction(prompt),
        merchant_request_id=prompt["merchant_request_id"],
        checkout_request_id=prompt["checkout_request_id"],
        phone=prompt["phone"],
        amount=int(prompt["amount"]),
        receipt=prompt["receipt"],
        path="",
    )
    return pushed.success() if prompt["receipt"] else pushed.failure(1032, "Request cancelled by user")


def _prompts_too_many(prompts: list[dict[str, Any]]) -> list[str]:
    orders = Counter((prompt["phone"], prompt["amount"], prompt["account_reference"]) for prompt in prompts)
    return [f"{count} prompts for one order" for count in orders.values() if count > 1]


TABLES = """
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'schema_migrations' ORDER BY 1
"""
SEQUENCES = """
    SELECT pg_get_serial_sequence(table_name, column_name) AS sequence FROM information_schema.columns
    WHERE table_schema = 'public' AND is_identity = 'YES' ORDER BY 1
"""
BOOKS = """
    SELECT t.*, c.id IS NOT NULL AS confirmed, c.mpesa_receipt_number AS receipt
    FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
"""
UNJUDGED = "SELECT tries FROM callback_inbox WHERE outcome IS NULL"
UNSENT = "SELECT kind, topic, last_error FROM outbox WHERE next_try_at <= now() + interval '1 hour'"
"""More than that is tomorrow's mail of alerts."""
UNSETTLED = f"""
    SELECT FROM transactions
    WHERE status IN ('INITIATED', 'PENDING', 'UNCERTAIN') OR success_held_at IS NOT NULL AND next_query_at IS NOT NULL
    UNION ALL SELECT FROM ({UNJUDGED}) unjudged UNION ALL SELECT FROM ({UNSENT}) unsent
"""
BROKEN_INVARIANTS = "\nUNION ALL ".join(
    f"SELECT '{name}' WHERE EXISTS ({sql})" for name, _, sql in read_invariants(INVARIANTS.read_text(encoding="utf-8"))
)
LETTERS = """
    SELECT i.invoice_number, o.id, o.sent_at
    FROM outbox o JOIN invoices i ON i.transaction_id = o.transaction_id WHERE o.kind = 'invoice'
    UNION ALL SELECT 'anchor', id, sent_at FROM outbox WHERE kind = 'anchor' AND topic = 'mail'
    UNION ALL SELECT kind, id, sent_at FROM outbox WHERE kind IN ('notice', 'sale')
    UNION ALL SELECT 'alerts', id, sent_at FROM outbox WHERE kind = 'alert_mail'
"""
