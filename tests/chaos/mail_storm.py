"""A shop's letters while its mail server fails in every way it can; the mailbox's own ledger is the truth about them.

Everything that happens is drawn from the storm's seed, in virtual time: customers pay for three hours, while the shop
moves from SendGrid to SMTP. Each letter has a fate of its own; beside that the server is down for an hour, then knows
the shop no more, and now and then answers too late. Processes are killed with a letter in hand, sweeps come in twos,
and customers ask for their invoice again. Then the faults stop, and the books are compared with the ledger.
"""

from __future__ import annotations

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from netlify.functions import invoice
from ops.invoices import resend_given_up
from shared import delivery as letters_out
from shared.collaborators import collaborators
from shared.database import Row
from shared.mail.mailer import ID_HEADER
from simulator.client import Shown
from tests.chaos.books import MAIL_MAY_BE_DOWN, broken_invariants, nothing_private_was_logged, wipe
from tests.chaos.crash_process import KILLED_AFTER, KILLED_BEFORE, KILLED_ONCE_RECORDED
from tests.chaos.crashes import Fault, Instances
from tests.chaos.crew import function, sweep
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.shop import Shop, forget_collaborators, replayed_differently, wrongly_signed

PAYMENTS = 300
OTHERS: tuple[dict[str, Any], ...] = (
    {"outcome": "cancel"},
    {"outcome": "wrong_pin"},
    {"outcome": "pay", "paid_amount": 1},
    {"outcome": "cancel", "paid_later_s": 1500},
)
"""What else customers do, of which a notice tells: they fail, pay another amount, or pay after all."""
OTHER_PAYMENTS = 24
TICK_S = 70
"""Between two sweeps. No lease, hold or reset ends near a multiple of it: a slow machine sees the same storm."""
BUNCHES, LAST_BUNCH_AT, TICKS = 60, 150, 220
AN_HOUR_OF_TICKS = 3600 // TICK_S + 1
AFTERWARDS_TICKS = 120

KILLS = (KILLED_BEFORE, KILLED_AFTER, KILLED_ONCE_RECORDED)
TRANSIENT = ("error_500", "too_many_429", "firewall_503", "garbage", "drop", "reset", "drop_after", "drop_after")
PERMANENT = ("refused_400", "too_large_413")
SLOW_S = 600
SHORT_PATIENCE_S = 0.3
LONG_PATIENCE_S = 20.0
"""Of whoever waits for an answer, for letters that are to have one: a slow machine is no fault of the mail server's."""
RESETS_S = (90, 200, 400)
STOPS = {"401", "403", "530", "535"}
"""Answers about the shop and not about the letter: none of them is a try."""
REFUSALS = {"400", "413", "554", "552"}

NAMES = (
    "x" * 300,
    "Wanjiru\r\nBcc: all@customer.example",
    "Wanjiru \u202egpj.exe",
    "Wanjiru Kamau-Otieno",
    'O\'Brien "Bobby" \\ (sales), Ltd; <all@customer.example>',
    "<b>Bold & Co</b><script>alert(1)</script>",
    "🍅 Mama Mboga wa Kariokor 🥬",
    "فاطمة علي الأنصارية",
    "שרה בת־אברהם הלוי",
    "=?utf-8?q?=2C_all=40customer=2Eexample?=",
    "Njoroge wa Mwangĩ " + "ĩ" * 82,
    "x" * 300,
    "Wanjiru\r\nBcc: all@customer.example",
    "Wanjiru \u202egpj.exe",
)
REFUSED_AT_THE_DOOR = (
    {"customer_email": "jürgen@customer.example"},
    {"customer_email": "用户@例子.广告"},
    {"customer_email": "nobody"},
    {"customer_email": "a@b.example\r\nBcc: all@customer.example"},
    {"customer_email": "a@b.example, c@d.example"},
    {"customer_email": "=?utf-8?q?all=40customer.example=2C?=@b.example"},
)
OLDER_THAN_OUR_RULES = ("jürgen{}@customer.example", "a{}@b.example\r\nBcc: all@customer.example", "a..b{}@c.example")
"""Addresses as a row may hold them that was written before the door looked so closely."""
ADDRESSES = ("customer{}@example.com", "o'brien{}+{{x}}@xn--mnchen-3ya.example", "x" * 60 + "{}@mail.customer.co.ke")

PAID = """
    SELECT id::text, status, customer_email FROM transactions WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY created_at
"""
WAITS = "SELECT id FROM outbox WHERE next_try_at IS NOT NULL AND (kind <> 'alert_mail' OR tries > 0)"
"""Another mail of alerts may come tomorrow."""
LETTERS = """
    SELECT o.id, o.transaction_id::text, o.kind, o.topic, o.tries, o.sent_at, o.next_try_at, o.last_error, o.dropped,
           i.invoice_number, i.status AS invoice_status,
           CASE o.kind WHEN 'invoice' THEN i.invoice_number WHEN 'alert_mail' THEN 'alerts' ELSE o.kind END
               || '.' || o.id AS message_id,
           coalesce(o.last_error LIKE 'the customer''s e-mail address is not one%', false) AS has_no_address,
           EXISTS (SELECT FROM outbox a WHERE a.transaction_id = o.transaction_id AND a.kind = 'alert'
                      AND a.topic = CASE o.kind WHEN 'sale' THEN 'notice' ELSE o.kind END || '_not_sent'
                      AND a.sent_at IS NOT NULL) OR o.kind = 'alert_mail' AS alerted
    FROM outbox o LEFT JOIN invoices i ON i.transaction_id = o.transaction_id
    WHERE o.kind IN ('invoice', 'notice', 'sale') OR o.kind = 'alert_mail' AND o.tries > 0 ORDER BY o.id
"""
"""All that was ever queued for a customer or the shop, with the id that the letter carries."""


@dataclass(frozen=True)
class LetterFault(Fault):
    """The process is killed with the letter `at` in hand, counted from 0: before, after, or once it is recorded."""

    of: str = "letters"


class MailStorm:
    def __init__(
        self,
        seed: int,
        shop: Shop,
        time: VirtualTime,
        instances: Instances,
        ways: dict[str, str | None],
        patch: pytest.MonkeyPatch,
    ) -> None:
        """`ways`: the value of SMTP_URL for each way a letter can take."""
        self.shop = shop
        self.time = time
        self.mailbox = shop.simulator.client
        self.chance = Random(seed)
        self.came: Counter[str] = Counter()
        """What the storm came to."""
        self._seed = seed
        self._instances = instances
        self._ways = ways
        self._patch = patch
        self._addresses: dict[str, str] = {}
        self._paying: set[str] = set()
        self._killed: dict[str, Counter[str]] = defaultdict(Counter)
        self._resets_s: dict[str, int] = {}
        self._answer_is_slow = False

    def run(self) -> Counter[str]:
        self._open()
        for tick in range(TICKS):
            self._tick(tick)
        self.mailbox.make_peace()
        self._let_the_rest_arrive()
        self._agrees_with_the_ledger()
        self._an_operator_sends_what_was_given_up()
        nothing_private_was_logged(self.shop)
        return self.came

    # The storm --------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self.mailbox.reset(seed=self._seed)
        wipe(self.time.database)
        bunches = self.chance.sample(range(LAST_BUNCH_AT), BUNCHES)
        paying = [self.chance.choice(bunches) for _ in range(PAYMENTS + OTHER_PAYMENTS)]
        self._payments = {tick: [n for n, at in enumerate(paying) if at == tick] for tick in range(TICKS)}
        self._agenda = {tick: self.chance.choices(("sweep", "two", "none"), (88, 8, 4))[0] for tick in range(TICKS)}
        self._slow = {self.chance.randrange(TICKS): kind for kind in ("slow", "slow_after") for _ in range(2)}
        self._again = Counter(self.chance.randrange(5, TICKS) for _ in range(20))
        self._down_at = self.chance.randrange(35, 55)
        deaths = [f"{how}: {what}" for how in KILLS for what in ("invoice", *["sweep"] * 5)]
        with_letters = [tick for tick in bunches if not self._down_at <= tick < self._down_at + AN_HOUR_OF_TICKS]
        self._agenda |= dict(zip(self.chance.sample(with_letters, len(deaths)), deaths, strict=True))
        self._locked_out_at = {self.chance.randrange(*when) for when in ((2, 15), (120, 140), (175, 190))}
        ways = [*self._ways, "sendgrid"]
        self.chance.shuffle(ways)
        self._moves = {TICKS * number // len(ways): way for number, way in enumerate(ways)}

    def _tick(self, tick: int) -> None:
        if tick in self._moves:
            self._move_to(self._moves[tick])
        if tick == self._down_at:
            self.mailbox.fault("mail", "firewall_503", for_s=3600)
        if tick in self._locked_out_at:
            kind = self.chance.choice(("unauthorized_401", "firewall_403"))
            self.mailbox.fault("mail", kind, for_s=self.chance.randrange(600, 1200))
        if tick in self._slow and not self._all_letters_fail():
            self.mailbox.fault("mail", self._slow[tick], seconds=SLOW_S)
            self._be_patient(SHORT_PATIENCE_S)
        if self._payments[tick]:
            self._pay(self._payments[tick])
        for _ in range(self._again[tick]):
            self._ask_for_an_invoice(killed=None)
        if self._answer_is_slow:
            self._sweep()
            if not self._all_letters_fail():
                self._be_patient(LONG_PATIENCE_S)
        else:
            self._do(self._agenda[tick])
        self.time.go_on(TICK_S)

    def _do(self, what: str) -> None:
        match what.split(": "):
            case ["sweep"]:
                self._sweep()
            case ["two"]:
                other = threading.Thread(target=self._instances.play, args=([sweep()], None))
                other.start()
                self._sweep()
                other.join()
            case [how, "sweep"]:
                self._play(sweep(), LetterFault(self.chance.choice((0, 0, 1)), how))
            case [how, "invoice"]:
                self._ask_for_an_invoice(killed=how)

    def _pay(self, numbers: Sequence[int]) -> None:
        """Whatever becomes of the mail, the payment is settled at once."""
        asked: dict[str, int] = {}
        for number in numbers:
            order = self._order(number)
            if self.chance.random() < 0.1:
                wrong = self.chance.choice(REFUSED_AT_THE_DOOR)
                refused = self.shop.pay(None, **{**order, **wrong})
                assert refused.status == 422, f"{wrong} was taken"
            does = {"outcome": "pay"} if number < PAYMENTS else OTHERS[number % len(OTHERS)]
            self.mailbox.script(str(order["phone_number"]), after_s=0, **does)
            reply = self.shop.pay(None, **order)
            assert reply.status == 202, reply.body
            asked[reply.body["transaction_id"]] = number
        self.time.go_on(0)
        for row in self.shop.rows(PAID, ids=list(asked)):
            number = asked[row["id"]]
            if number < PAYMENTS:
                assert row["status"] == "PAID"
                self._paying.add(row["id"])
            elif self.chance.random() < 0.2:
                self.shop.status(row["id"])
            self._addresses[row["id"]] = self._fate(row["id"], row["customer_email"], number)

    def _order(self, number: int) -> dict[str, object]:
        name = self.chance.choice(NAMES)
        address = self.chance.choice(ADDRESSES).format(number)
        return {
            "phone_number": f"2547000000{10 + number % 90}",
            "amount": 100 + number,
            "account_reference": f"R{number:06}",
            "customer_name": name,
            "customer_email": address,
            "lang": self.chance.choice(("en", "sw")),
        }

    def _fate(self, transaction_id: str, address: str, number: int) -> str:
        """What the mail server has in store for the letters about this payment; their address."""
        fate = self.chance.choices(("well", "badly", "never", "no address"), (69, 22, 6, 3))[0]
        if fate == "no address":
            broken = self.chance.choice(OLDER_THAN_OUR_RULES).format(number)
            quoted = broken.replace("'", "''").replace("\r", "' || chr(13) || '").replace("\n", "' || chr(10) || '")
            for table, column in (("transactions", "id"), ("invoices", "transaction_id")):
                self.shop.overwrite(
                    f"UPDATE {table} SET customer_email = '{quoted}' WHERE {column} = '{transaction_id}'"
                )
            return broken
        troubles = self.chance.choices((1, 2, 3, 4), (35, 20, 30, 15))[0] if fate == "badly" else 0
        self._resets_s[address] = self.chance.choice(RESETS_S)
        for kind in self.chance.choices(TRANSIENT, k=troubles):
            self.mailbox.fault("mail", kind, to=address, seconds=self._resets_s[address])
        if fate == "never":
            if self.chance.random() < 0.3:
                self.mailbox.fault("mail", "drop_after", to=address)
            self.mailbox.fault("mail", self.chance.choice(PERMANENT), to=address, times=10)
        return address

    def _ask_for_an_invoice(self, killed: str | None) -> None:
        if not self._paying:
            return
        transaction_id = self.chance.choice(sorted(self._paying, key=lambda one: self._addresses[one]))
        body = f'{{"transaction_id": "{transaction_id}"}}'
        if killed:
            self._play(function("invoice", "POST", "/api/mpesa/invoice", body), LetterFault(0, killed))
        else:
            reply = self.shop.call("invoice", "POST", "/api/mpesa/invoice", {"transaction_id": transaction_id})
            assert reply.status in (202, 429), reply.body

    def _sweep(self) -> None:
        reply = self.shop.sweep()
        assert reply.status == 200, reply.body
        assert not {name for name in reply.body if name.endswith("_failed")} - MAIL_MAY_BE_DOWN, reply.body

    def _play(self, request: dict[str, Any], fault: LetterFault) -> None:
        """In a process of its own, which ends with that letter in hand, where it comes so far."""
        played = self._instances.play([request], fault)
        self.shop.logged.append(self._instances.new_log())
        if played.killed:
            self.came["killed"] += 1
            self._killed[played.operations[-1]][fault.how] += 1

    def _all_letters_fail(self) -> bool:
        return any(fault["to"] is None for fault in self.mailbox.faults())

    def _move_to(self, way: str) -> None:
        url = self._ways[way]
        if url is None:
            self._patch.delenv("SMTP_URL", raising=False)
        else:
            self._patch.setenv("SMTP_URL", url)
        forget_collaborators()

    def _be_patient(self, seconds: float) -> None:
        self._answer_is_slow = seconds == SHORT_PATIENCE_S
        self._patch.setattr(letters_out, "A_LETTER_LASTS_S", seconds)
        self._patch.setattr(letters_out, "A_LETTER_NEEDS_S", min(1.0, seconds / 3))
        self._patch.setattr(invoice, "A_MAIL_S", seconds)

    # Afterwards -------------------------------------------------------------------------------------------------------

    def _let_the_rest_arrive(self) -> None:
        """Nothing waits for ever: each letter is sent or given up, and what the server held in hand is taken."""
        self._be_patient(LONG_PATIENCE_S)
        for _ in range(AFTERWARDS_TICKS):
            self._sweep()
            if not self.shop.rows(WAITS):
                self.time.go_on(SLOW_S)
                return
            self.time.go_on(TICK_S)
        raise AssertionError("letters still wait, two hours after the storm")

    def _agrees_with_the_ledger(self) -> None:
        paid = {row["id"] for row in self.shop.rows("SELECT id::text FROM transactions WHERE status = 'PAID'")}
        assert paid >= self._paying
        brought: dict[str, list[Shown]] = defaultdict(list)
        for delivery in reversed(self.mailbox.deliveries()):
            if not _message_id(delivery).startswith("anchor."):  # shortly after Nairobi's midnight the log has one
                brought[_message_id(delivery)].append(delivery)
        letters = self.shop.rows(LETTERS)
        assert set(brought) - {row["message_id"] for row in letters} == set(), "nobody wrote these"
        for row in letters:
            self._is_as_promised(row, brought[row["message_id"]])
        assert {row["transaction_id"] for row in letters if row["kind"] == "invoice"} == paid
        self._every_invoice_is_what_became_of_it(letters, brought)
        self._nobody_read_anothers_letter()
        self._numbers_are_gapless()
        self._resets_were_waited_for()
        assert broken_invariants(self.time.database) == []
        assert replayed_differently(self.time.database) == []
        assert wrongly_signed(self.time.database) == []
        self._came_to(letters, brought)

    def _is_as_promised(self, row: Row, brought: list[Shown]) -> None:
        """One letter: tried three times at most, repeated only where an answer was lost, given up only in the end."""
        killed = self._killed[row["message_id"]]
        tries = [one for one in brought if one["answer"] not in STOPS]
        refused = [one for one in tries if one["answer"] in REFUSALS]
        taken = [one for one in brought if one["mail_id"]]
        lost = [one for one in taken if one["answer"] is None]
        told = f"{row['message_id']}: {row}, brought {[one['answer'] for one in brought]}, killed {dict(killed)}"
        assert row["next_try_at"] is None, told
        assert len(tries) + killed[KILLED_BEFORE] <= 3, told
        assert len(taken) <= 1 + len(lost) + killed[KILLED_AFTER], f"sent again although nothing was lost: {told}"
        assert len(refused) <= 1, f"tried again after it was refused for good: {told}"
        if row["dropped"]:
            assert row["kind"] == "notice", told
        elif row["sent_at"]:
            assert taken, f"counts as sent, and was never taken: {told}"
            assert row["tries"] == len(tries) + killed[KILLED_BEFORE], told
        else:
            assert row["alerted"], f"given up, and nobody was told: {told}"
            if not refused and not row["has_no_address"]:
                assert len(tries) + killed[KILLED_BEFORE] == row["tries"] == 3, f"given up too early: {told}"
        assert not (row["has_no_address"] and brought), told

    def _every_invoice_is_what_became_of_it(self, letters: list[Row], brought: dict[str, list[Shown]]) -> None:
        """SENT is what arrived at least once, FAILED the others."""
        of_payment = defaultdict(list)
        for row in letters:
            if row["kind"] == "invoice":
                of_payment[row["transaction_id"]].append(row)
        for rows in of_payment.values():
            sent = any(row["sent_at"] for row in rows)
            assert {row["invoice_status"] for row in rows} == {"SENT" if sent else "FAILED"}
            assert not sent or any(one["mail_id"] for row in rows for one in brought[row["message_id"]])

    def _nobody_read_anothers_letter(self) -> None:
        known = {
            self._addresses[row["transaction_id"]]: row for row in self.shop.rows(LETTERS) if row["transaction_id"]
        }
        for mail in self.mailbox.mail():
            (to,) = [one.rpartition("<")[2].rstrip(">") for one in mail["to"]]
            if to == "support@shop.example":
                continue
            said = f"{mail['subject']} {mail['text']} {mail['html']}"
            assert set(re.findall(r"INV-\d{4}-\d+", said)) <= {known[to]["invoice_number"]}
            assert set(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", said)) == {known[to]["transaction_id"]}
            assert not {"bcc", "cc"} & {name.lower() for name, _ in mail["headers"]}
            assert "<script" not in mail["html"]

    def _numbers_are_gapless(self) -> None:
        years = defaultdict(list)
        for row in self.shop.rows("SELECT invoice_number AS number FROM invoices"):
            _, year, number = row["number"].split("-")
            years[year].append(int(number))
        for year, numbers in years.items():
            assert sorted(numbers) == list(range(1, len(numbers) + 1)), f"the numbers of {year} have a gap"

    def _resets_were_waited_for(self) -> None:
        """After a 429 nobody sends anything before its reset, but for who was sending at that moment."""
        deliveries = [(datetime.fromisoformat(one["at"]), one) for one in reversed(self.mailbox.deliveries())]
        for at, refused in deliveries:
            if refused["answer"] == "429":
                until = at + timedelta(seconds=self._resets_s[refused["to"][0]] - 2)
                early = [one for sent_at, one in deliveries if at < sent_at < until]
                assert early == [], f"sent within the {self._resets_s[refused['to'][0]]} s after {refused}"

    def _an_operator_sends_what_was_given_up(self) -> None:
        """Of what was given up all can still be sent, but for what no server will ever take."""
        before = {row["id"] for row in self.shop.rows(LETTERS)}
        assert resend_given_up(collaborators().gateway, "asha", "the mail server is well again")
        self._let_the_rest_arrive()
        again = [row for row in self.shop.rows(LETTERS) if row["id"] not in before]
        assert {row["has_no_address"] for row in again if not row["sent_at"]} <= {True}

    def _came_to(self, letters: list[Row], brought: dict[str, list[Shown]]) -> None:
        came = self.came
        came["letters"] = len(letters)
        for row in letters:
            taken = [one for one in brought[row["message_id"]] if one["mail_id"]]
            came["answers lost"] += sum(one["answer"] is None for one in taken)
            came["came twice"] += max(0, len(taken) - 1)
            if row["sent_at"] is None and row["dropped"] is None:
                refused = any(one["answer"] in REFUSALS for one in brought[row["message_id"]])
                came["refused" if refused or row["has_no_address"] else "given up"] += 1
        assert min(came[name] for name in ("came twice", "killed", "refused", "given up")) > 0, "that was no storm"


def _message_id(delivery: Shown) -> str:
    (told,) = [value for name, value in delivery["headers"] if name == ID_HEADER]
    return str(told)
