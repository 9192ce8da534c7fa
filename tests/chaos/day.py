"""One day of a shop: customers who click twice, retry and change their minds, a hostile Safaricom, and the truth.

Everything that happens is drawn from the day's seed, in virtual time: customers pay for 80 minutes while a third of the
callbacks are missing, doubled, late or wrong; then the faults stop, and half an hour later every payment must have come
to an end. In the end a person settles what is in review by the statement.
"""

from __future__ import annotations

import heapq
import itertools
import json
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from ops import review
from shared.collaborators import collaborators
from shared.database import Row
from shared.payments import NOT_PAID, OPEN
from simulator.hostility import UNKNOWN_CODES
from tests.chaos.books import (
    MAIL_MAY_BE_DOWN,
    broken_invariants,
    double_prompts,
    nothing_private_was_logged,
    wipe,
    wrong_notices,
)
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.shop import Reply, Shop, callback_about, forget_collaborators, replayed_differently, wrongly_signed

AFTER_FAULTS_S = 30 * 60
A_MINUTE_S = 60
HOSTILITY = 0.5
PHONES = tuple(f"2547000000{number:02d}" for number in range(20, 34))
AMOUNTS = (10, 50, 50, 100, 250, 1500, 1500, 20_000, 20_001, 60_000)
CONFIRM_ABOVE_KES = 20_000
UNKNOWN = {str(result["code"]) for result in UNKNOWN_CODES}
LIFTS_THE_GUARD = ("1", "1032", "2001")
GUARD_S = 120
SERVICE_FAULTS = ("error_500", "too_many_429", "firewall_403", "firewall_503", "drop", "drop_after")


@dataclass
class Purchase:
    """What a customer wants to buy, and how they go about it."""

    phone: str
    amount: int
    reference: str
    email: str | None
    tries_left: int = 3

    def order(self) -> dict[str, object]:
        what = {"amount": self.amount, "account_reference": self.reference}
        return {"phone_number": self.phone, "customer_email": self.email, **what}


class Day:
    open_s = 80 * 60
    purchases = 60
    least_payments = 60
    """Customers try again."""

    def __init__(self, seed: int, shop: Shop, time: VirtualTime) -> None:
        self.seed = seed
        self.shop = shop
        self.time = time
        self.safaricom = shop.simulator.client
        self.chance = Random(seed)
        self.came: Counter[str] = Counter()
        """What the day came to."""
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._wanted_again: Counter[str] = Counter()
        self._begins_s = 0.0

    def run(self) -> Counter[str]:
        self._open()
        self._live_until(self.open_s)
        self.safaricom.make_peace()
        self._agenda = []
        self._sweep_every(A_MINUTE_S, until_s=self.open_s + AFTER_FAULTS_S)
        self._live_until(self.open_s + AFTER_FAULTS_S)
        self._all_came_to_an_end()
        self._let_the_rest_arrive()
        self._agrees_with_the_truth()
        self._nobody_was_asked_twice()
        self._close_the_books()
        nothing_private_was_logged(self.shop)
        return self.came

    # The day ----------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self.safaricom.reset(seed=self.seed)
        self.safaricom.behave(hostility=HOSTILITY)
        wipe(self.time.database)
        forget_collaborators()
        self._begins_s = self.time.now_s
        self._sweep_every(A_MINUTE_S, until_s=self.open_s)
        for number in range(self.purchases):
            purchase = self._purchase(number)
            self._at(self.chance.uniform(0, self.open_s - 120), partial(self._buy, purchase))
        for at_s in range(0, self.open_s, 10 * A_MINUTE_S):
            self._at(at_s, self._invariants_hold)
        for what, times in (
            (self._break_a_service, 14),
            (self.safaricom.kill_token, 5),
            (self._forge, 8),
            (forget_collaborators, 4),
        ):
            for _ in range(times):
                self._at(self.chance.uniform(0, self.open_s), what)

    def _purchase(self, number: int) -> Purchase:
        """Some customers buy the same again."""
        phone = self.chance.choice(PHONES)
        email = f"customer{number}@example.com" if self.chance.random() < 0.7 else None
        reference = f"INV{self.chance.randrange(number + 1) if self.chance.random() < 0.1 else number:05d}"
        return Purchase(phone, self.chance.choice(AMOUNTS), reference, email)

    def _buy(self, purchase: Purchase, key: str | None = None) -> None:
        """One press of the button; what the answer was decides what the customer does next."""
        purchase.tries_left -= 1
        key = key or (self._key() if self.chance.random() < 0.8 else None)
        if self.chance.random() < 0.04:
            self._script_a_reused_receipt(purchase.phone)
        reply = self.shop.pay(key, **purchase.order())
        match reply.status:
            case 202:
                self._accepted(purchase, key, reply)
            case 429:
                self._perhaps_again(purchase, key, reply.body["retry_after_s"] + 1, 0.5)
            case 409:
                self._perhaps_again(purchase, None, 60, 0.8)
            case 502 | 503:
                self._perhaps_again(purchase, key, self.chance.choice((2, 30)), 0.7)
            case 422 if reply.body["code"] == "above_limit":
                pass  # Safaricom's own for a phone and a day
            case _:
                raise AssertionError(f"a purchase was answered with {reply.status}: {reply.body}")

    def _accepted(self, purchase: Purchase, key: str | None, reply: Reply) -> None:
        transaction_id = reply.body["transaction_id"]
        if key is not None and self.chance.random() < 0.2:
            again = self.shop.pay(key, **purchase.order())
            assert (again.status, again.body["transaction_id"]) == (202, transaction_id), "a double click paid again"
        if self.chance.random() < 0.15:
            self._in(self.chance.uniform(0, 100), lambda: self._impatient(purchase))
        for after_s in (4, 30):
            self._in(after_s, lambda: self.shop.status(transaction_id))
        self._in(self.chance.uniform(40, 400), lambda: self._look(purchase, transaction_id))

    def _look(self, purchase: Purchase, transaction_id: str) -> None:
        """A customer comes back to the page: who failed tries again, who paid may want the invoice once more."""
        told = self.shop.status(transaction_id).body["status"]
        if told == "failed":
            self._perhaps_again(purchase, None, 1, 0.6)
        elif told == "paid" and self.chance.random() < 0.1:
            again = self.shop.call("invoice", "POST", "/api/mpesa/invoice", {"transaction_id": transaction_id})
            assert again.status in (202, 422), again.body
            self._wanted_again[transaction_id] += again.status == 202
        elif told == "pending":
            self._perhaps_again(purchase, None, self.chance.choice((60, 1000)), 0.3)

    def _impatient(self, purchase: Purchase) -> None:
        """Presses the button of a page that was loaded anew: another key."""
        if purchase.tries_left > 0:
            self._buy(purchase)

    def _perhaps_again(self, purchase: Purchase, key: str | None, after_s: float, likely: float) -> None:
        if purchase.tries_left > 0 and self.chance.random() < likely:
            self._in(after_s, lambda: self._buy(purchase, key))

    def _script_a_reused_receipt(self, phone: str) -> None:
        """Safaricom tells a receipt that has paid another order."""
        used = self.shop.rows(
            "SELECT mpesa_receipt_number AS receipt FROM payment_confirmations WHERE mpesa_receipt_number IS NOT NULL"
            " ORDER BY received_at LIMIT 1"
        )
        if used:
            self.safaricom.script(phone, "pay", after_s=9, callback_receipt_told=used[0]["receipt"])

    def _break_a_service(self) -> None:
        where = self.chance.choice(("oauth", "push", "query", "query", "mail", "mail"))
        self.safaricom.fault(where, self.chance.choice(SERVICE_FAULTS), times=self.chance.choice((1, 2, 4)))

    def _forge(self) -> None:
        """A callback about somebody's payment by somebody who is not Safaricom."""
        known = self.shop.rows(
            "SELECT id::text, checkout_request_id, merchant_request_id, amount::int"
            " FROM transactions WHERE checkout_request_id IS NOT NULL AND NOT ids_are_learnt ORDER BY created_at DESC"
            " LIMIT 2"
        )
        if len(known) < 2:
            return
        victim, other = known
        path, wrong = self.shop.callback_path(victim["id"]), self.chance.choice(("token", "ids"))
        if wrong == "token":
            path = path[:-4] + "0000"
        ids = victim if wrong == "token" else other
        forged = callback_about(
            {**ids, "amount": victim["amount"]}, MpesaReceiptNumber=f"ZZ{self.chance.randrange(10**8):08d}"
        )
        reply = self.shop.call("callback", "POST", path, raw=forged)
        assert reply.status == (404 if wrong == "token" else 200)

    def _sweep(self) -> None:
        """Once a minute; now and then the platform leaves one out, or starts two."""
        how_often = self.chance.choices((1, 0, 2), (90, 5, 5))[0]
        for _ in range(how_often):
            reply = self.shop.sweep()
            assert reply.status == 200, reply.body
            failed = {name for name in reply.body if name.endswith("_failed")} - MAIL_MAY_BE_DOWN
            assert not failed, reply.body

    # Afterwards -------------------------------------------------------------------------------------------------------

    def _let_the_rest_arrive(self) -> None:
        """Callbacks that are hours late, and failures that are asked about once more after an hour."""
        until_s = self.time.now_s + 5 * 3600
        while self.time.now_s < until_s:
            due, wakes_at_s = self._unfinished(), self.time.next_wake_s()
            if not due and wakes_at_s is None:
                return
            waits = [row["due_in_s"] for row in due] + [wakes_at_s - self.time.now_s if wakes_at_s else until_s]
            step_s = max(min(waits), A_MINUTE_S)
            self.time.go_on(step_s)
            self._sweep()
        raise AssertionError(f"something never came to an end: {self._unfinished()}")

    def _unfinished(self) -> list[Row]:
        return self.shop.rows(
            """
            SELECT id::text, status AS what, extract(epoch FROM next_query_at - now())::float8 AS due_in_s
            FROM transactions WHERE next_query_at IS NOT NULL AND status <> 'REVIEW'
              AND checkout_request_id IS NOT NULL AND NOT ids_are_learnt UNION ALL
            SELECT transaction_id::text, kind, extract(epoch FROM next_try_at - now())
            FROM outbox WHERE next_try_at <= now() + interval '1 hour' UNION ALL -- a mail of alerts may wait a day
            SELECT transaction_id::text, 'inbox', extract(epoch FROM next_try_at - now())
            FROM callback_inbox WHERE next_try_at IS NOT NULL
            """
        )

    def _all_came_to_an_end(self) -> None:
        still = [row for row in self._payments() if row["status"] in OPEN]
        assert still == [], f"{len(still)} payments are still open half an hour after the last fault"
        self._invariants_hold()

    def _agrees_with_the_truth(self) -> None:
        """0 KES unexplained, in both directions."""
        self._invariants_hold()
        ours = {row["id"]: row for row in self._payments()}
        pushed = {one["checkout_request_id"]: one for one in self.safaricom.payments()}
        moved: dict[str, list[dict[str, Any]]] = {}
        for entry in self.safaricom.ledger():
            moved.setdefault(_transaction_of(pushed[entry["checkout_request_id"]]), []).append(entry)
        unexplained = []
        for transaction_id, entries in moved.items():
            row = ours.get(transaction_id)
            assert len(entries) == 1, f"{transaction_id} was paid {len(entries)} times"
            entry = entries[0]
            callbacks = pushed[entry["checkout_request_id"]]["callbacks"]
            told = [_read(one["body"]) for one in callbacks if one["http_status"] == 200]
            if row is None or not self._explains(row, entry, told):
                unexplained.append((entry, row, told))
        assert unexplained == [], f"{sum(entry['amount'] for entry, _, _ in unexplained)} KES are unexplained"
        invented = [row for row in ours.values() if row["status"] == "PAID" and row["id"] not in moved]
        assert invented == [], f"{len(invented)} payments are paid, and no money moved"
        for row in ours.values():
            self._was_not_judged_rashly(row)
        self.came["payments"] = len(ours)
        self.came["KES"] = sum(entry["amount"] for entries in moved.values() for entry in entries)
        assert len(ours) >= self.least_payments

    def _explains(self, row: Row, entry: dict[str, Any], told: list[dict[str, Any]]) -> bool:
        """Paid in full under its receipt, or in review with every receipt that was told about it."""
        receipts = {one["receipt"] for one in told if one["receipt"]}
        if not receipts <= set(row["receipts"]):
            return False
        if row["status"] == "PAID":
            said_plainly = {"code": "0", "receipt": entry["receipt"], "amount": entry["amount"]} in told
            right = row["confirmed_receipt"] == entry["receipt"] or (
                row["confirmed_receipt"] is None and row["evidence"] == "query" and not said_plainly
            )
            return right and int(row["amount"]) == entry["amount"]
        return bool(row["status"] == "REVIEW")

    def _was_not_judged_rashly(self, row: Row) -> None:
        """Large ones wait for a query, what nobody can explain for a person, and an invoice leaves once."""
        if row["status"] == "PAID" and row["amount"] > CONFIRM_ABOVE_KES:
            assert "0" in row["answers"], f"{row['id']} was paid on a callback's word alone"
        assert row["status"] not in NOT_PAID or row["result_code"] not in UNKNOWN, f"{row['result_code']} is no failure"
        assert row["first_invoices"] <= 1
        assert row["invoices"] - row["first_invoices"] <= self._wanted_again[row["id"]], "an invoice was sent twice"

    def _nobody_was_asked_twice(self) -> None:
        """0 double prompts: by what Safaricom was asked, and by what our books said at that moment."""
        pushed = sorted(self.safaricom.payments(), key=lambda one: one["pushed_at"])
        asked = Counter(_transaction_of(one) for one in pushed)
        assert [name for name, times in asked.items() if times > 1] == [], "a push was sent twice"
        ours = {row["id"]: row for row in self._payments()}
        for earlier, later in itertools.combinations(pushed, 2):
            alike = earlier["amount"] == later["amount"] or earlier["account_reference"] == later["account_reference"]
            first, second = ours[_transaction_of(earlier)], ours[_transaction_of(later)]
            apart_s = (second["created_at"] - first["created_at"]).total_seconds()
            if earlier["phone"] == later["phone"] and alike and abs(apart_s) < GUARD_S:
                lifted = first["failed_at"] is not None and first["failed_at"] <= second["created_at"]
                codes = {_read(one["body"])["code"] for one in earlier["callbacks"]} | set(first["answers"])
                assert lifted, f"{first['id']} and {second['id']} were asked for within two minutes"
                assert codes & set(LIFTS_THE_GUARD), f"{first['id']} failed with {codes}, which lifts no guard"
        assert double_prompts(self.time.database) == []

    def _close_the_books(self) -> None:
        """A person settles what is in review by the statement; then everything is paid, refunded or failed."""
        statement = {_transaction_of(one): one for one in self.safaricom.payments() if one["receipt"]}
        amounts = {entry["receipt"]: entry["amount"] for entry in self.safaricom.ledger()}
        gateway = collaborators().gateway
        for row in self._payments():
            if row["status"] != "REVIEW":
                continue
            found = statement.get(row["id"])
            if found is None:
                review.fail(gateway, row["id"], "asha", "not on the statement")
            elif row["review_reason"] == "duplicate_payment" or amounts[found["receipt"]] != row["amount"]:
                review.refunded(gateway, row["id"], f"REF{found['receipt']}", "asha", "on the statement")
            else:
                why = "on the statement"
                review.pay(gateway, row["id"], found["receipt"], "asha", why, against_evidence=True)  # callbacks lied
        self._invariants_hold()
        settled = {row["id"] for row in self._payments() if row["status"] in ("PAID", "REFUNDED")}
        assert settled == set(statement), "the closed books and the statement differ"
        assert wrong_notices(self.time.database) == []
        assert replayed_differently(self.shop.books) == []
        assert wrongly_signed(self.shop.books) == []

    def _invariants_hold(self) -> None:
        assert broken_invariants(self.time.database) == []

    # How it works -----------------------------------------------------------------------------------------------------

    def _at(self, at_s: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._agenda, (self._begins_s + at_s, next(self._order), what))

    def _in(self, after_s: float, what: Callable[[], object]) -> None:
        self._at(self.time.now_s - self._begins_s + after_s, what)

    def _sweep_every(self, seconds: float, *, until_s: float) -> None:
        now_s = self.time.now_s - self._begins_s
        while (now_s := now_s + seconds) <= until_s:
            self._at(now_s, self._sweep)

    def _live_until(self, until_s: float) -> None:
        while self._agenda and self._agenda[0][0] <= self._begins_s + until_s:
            at_s, _, what = heapq.heappop(self._agenda)
            self.time.go_on_until(at_s)
            what()
        self.time.go_on_until(self._begins_s + until_s)

    def _key(self) -> str:
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def _payments(self) -> list[Row]:
        return self.shop.rows(
            """
            SELECT t.id::text, t.status, t.review_reason, t.amount, t.created_at, t.failed_at, t.result_code,
                   c.evidence, c.mpesa_receipt_number AS confirmed_receipt,
                   (SELECT count(*) FROM outbox o WHERE o.transaction_id = t.id AND o.kind = 'invoice') AS invoices,
                   (SELECT count(*) FROM outbox o WHERE o.transaction_id = t.id AND o.kind = 'invoice'
                       AND o.topic = 'settled') AS first_invoices,
                   ARRAY(SELECT q.result_code FROM query_answers q WHERE q.transaction_id = t.id) AS answers,
                   ARRAY(SELECT unnest(i.receipts) FROM callback_inbox i WHERE i.transaction_id = t.id) AS receipts
            FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id ORDER BY t.created_at
            """
        )


def _transaction_of(pushed: dict[str, Any]) -> str:
    """Our payment, by the callback address that Safaricom was given."""
    return str(pushed["callback_url"].rsplit("/", 2)[1])


def _read(body: str) -> dict[str, Any]:
    """What a callback told, plainly."""
    content = json.loads(body)
    if "Body" not in content:
        return {"code": "c2b", "receipt": content["TransID"], "amount": float(content["TransAmount"])}
    told = content["Body"]["stkCallback"]
    items = {item["Name"]: item.get("Value") for item in told.get("CallbackMetadata", {}).get("Item", ())}
    return {"code": str(told["ResultCode"]), "receipt": items.get("MpesaReceiptNumber"), "amount": items.get("Amount")}
