"""Any history at all: customers, Safaricom, forgers, a person and time in every order, and the books right throughout.

The five handlers, the gateway and PostgreSQL are the real ones; Safaricom does what the history says and knows what
really happened. A failure prints the shortest history that Hypothesis finds, as code. `SEED=7` draws other histories,
`EXAMPLES=300` so many of them, `NOSHRINK=1` shows the first history that fails as it was.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from ops import review
from ops.session import NotPossible
from ops.statements import records
from shared.collaborators import collaborators
from shared.database import Row
from shared.gateway import Gateway
from shared.gateway.inbox import Entry
from shared.payments import NOT_PAID, OPEN, PUBLIC, Status
from shared.settings import audit_settings
from shared.settlement import judge
from simulator import bodies
from tests.chaos.books import (
    MAIL_MAY_BE_DOWN,
    make_the_question_cheap,
    nothing_private_was_logged,
    only_the_shop_listens,
    wipe,
    wrong_notices,
)
from tests.chaos.scripted_safaricom import (
    PUSH_ANSWERS,
    QUERY_ANSWERS,
    SAYS,
    STRANGERS,
    SUCCESS,
    Prompt,
    Safaricom,
    amount_as,
    scripted_safaricom,
)
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.shop import Reply, Shop, forget_collaborators, replayed_differently, wrongly_signed
from tests.fixtures.soak import Figure, Rounds
from tests.fixtures.statement_rows import statement, statement_reversal, statement_row

One = TypeVar("One")
PHONES = ("254700000041", "254700000042")
AMOUNTS = (50, 1500, 25_000)
REFERENCES = ("INV00001", "INV00002")
CONFIRM_ABOVE_KES = 20_000
A_PHONE_PAYS_AT_MOST_KES = 500_000
KNOWN_FAILURES = set(SAYS) - {SUCCESS, "4242"}
LIFTS_THE_GUARD = ("1", "1032", "2001")
REFUSED_AS = {(409, "prompt_open"), (502, "refused"), (502, "dead_token")}
"""The last where another program has taken the token too, and the new one is refused as well."""
MAY_BE_TAKEN_BACK = ("1037", "1019", "9999")
GUARD_S = 120
CLICKS_AT_MOST_S = 15 * 60
A_DAY_S = 24 * 3600
AN_INSTANT = (1, 15, 30, 61, 121, 240)
ANY = st.integers(0, 11)
"""Which one of those there are, counted from the newest and around."""

PURCHASES = st.fixed_dictionaries(
    {
        "phone": st.sampled_from(PHONES),
        "amount": st.sampled_from(AMOUNTS),
        "reference": st.sampled_from(REFERENCES),
        "with_email": st.booleans(),
        "with_key": st.booleans(),
        "answer": st.sampled_from(("accepted",) * 8 + tuple(PUSH_ANSWERS)),
    }
)

FORGED_FAILURE = STRANGERS.callback("1037")

BOOKS = """
    SELECT t.id::text, t.status, t.review_reason, t.result_code, t.amount::int AS amount, t.phone_number AS phone,
           t.account_reference AS reference, t.checkout_request_id AS checkout, t.ids_are_learnt AS learnt,
           t.success_held_at IS NOT NULL AS held, extract(epoch FROM now() - t.created_at)::float8 AS age_s,
           extract(epoch FROM now() - t.paid_at)::float8 AS paid_since_s,
           c.mpesa_receipt_number AS receipt, c.amount::int AS confirmed, c.evidence,
           (SELECT count(*)::int FROM outbox o WHERE o.transaction_id = t.id AND o.kind = 'invoice') AS mails,
           word.event AS word, word.from_status AS word_from,
           ARRAY(SELECT unnest(i.receipts) FROM callback_inbox i WHERE i.transaction_id = t.id) AS receipts,
           EXISTS (SELECT FROM callback_inbox i WHERE i.transaction_id = t.id AND i.outcome IS NULL) AS unjudged
    FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
    LEFT JOIN LATERAL (SELECT a.event, a.from_status FROM audit_log a
                       WHERE a.transaction_id = t.id AND a.from_status <> a.to_status
                       ORDER BY a.place DESC LIMIT 1) word ON true
    ORDER BY t.created_at DESC, t.id
"""


def one_of(these: Sequence[One], which: int) -> One:
    return these[which % len(these)]


@dataclass
class Asked:
    order: dict[str, object]
    transaction_id: str


class World:
    """What all histories of a run share; each begins with empty books."""

    def __init__(self, shop: Shop, safaricom: Safaricom, time: VirtualTime) -> None:
        self.shop, self.safaricom, self.time = shop, safaricom, time
        self.payments = 0
        key = audit_settings(os.environ).key
        self.operator = Gateway(time.database, "sandbox", Decimal(CONFIRM_ABOVE_KES), audit_key=key)
        make_the_question_cheap(time.database)
        safaricom.now_s = lambda: time.now_s
        safaricom.tell = lambda path, body: shop.call("callback", "POST", path, raw=body).status

    def begin(self) -> None:
        forget_collaborators()
        wipe(self.time.database)
        self.safaricom.forget_everything()

    def books(self) -> list[Row]:
        with self.time.database.transaction() as tx:
            return tx.rows(BOOKS)

    def look(self) -> tuple[list[Row], list[Row]]:
        """The books, and what is broken in them."""
        with self.time.database.transaction() as tx:
            return tx.rows(BOOKS), tx.rows("SELECT invariant, broken_by FROM whatever_is_broken()")


class AnyHistory(RuleBasedStateMachine):
    world: World

    @initialize(orders=st.lists(PURCHASES, min_size=1, max_size=3))
    def the_shop_opens(self, orders: list[dict[str, Any]]) -> None:
        self.world.begin()
        self.shop, self.safaricom, self.time = self.world.shop, self.world.safaricom, self.world.time
        self.keys: dict[str, Asked] = {}
        self.told: dict[str, set[str]] = {}
        self.slandered: set[str] = set()
        """Payments that a forger who held their address and found no ids there has called failed."""
        self.given_up: set[str] = set()
        """Payments that a person has called failed."""
        self.unclear: set[str] = set()
        """Payments whose push was answered unclearly, and whose phone never rang."""
        self.wanted_again: Counter[str] = Counter()
        """Invoices that were asked for once more."""
        self.unswept_s = 0.0
        for order in orders:
            self._buy(**order)

    # Customers --------------------------------------------------------------------------------------------------------

    @rule(purchase=PURCHASES)
    def a_customer_buys(self, purchase: dict[str, Any]) -> None:
        self._buy(**purchase)

    @rule(purchase=PURCHASES, becomes=st.sampled_from((SUCCESS, SUCCESS, "1032", "1037")))
    def a_customer_buys_and_decides(self, purchase: dict[str, Any], becomes: str) -> None:
        for prompt in self._buy(**purchase):
            if not prompt.results:
                self.safaricom.becomes(prompt, becomes)

    @precondition(lambda self: self.safaricom.prompts)
    @rule(which=ANY, later=st.booleans(), pays=st.booleans())
    def an_order_is_tried_again(self, which: int, later: bool, pays: bool) -> None:
        """The same phone, amount and reference: at once, or when the guard no longer holds it back."""
        tried = self.safaricom.prompts[-1 - which % len(self.safaricom.prompts)]
        if later:
            self.a_long_time_passes(16)
        for prompt in self._buy(tried.phone, tried.amount, tried.reference, True, False, "accepted"):
            if pays:
                self.safaricom.becomes(prompt, SUCCESS)
                self._tell_plainly(prompt)

    @precondition(lambda self: self.keys)
    @rule(which=ANY, same=st.booleans(), answer=st.sampled_from(("accepted", "refused", "no_answer")))
    def a_key_comes_again(self, which: int, same: bool, answer: str) -> None:
        key = one_of(list(self.keys), which)
        asked = self.keys[key]
        reply, prompts = self._press(asked.order if same else {**asked.order, "amount": 77}, key, answer)
        assert prompts == []
        if same:
            assert (reply.status, reply.body["transaction_id"]) == (202, asked.transaction_id)
        else:
            assert (reply.status, reply.body["code"]) == (422, "idempotency_mismatch")

    @precondition(lambda self: self.undecided())
    @rule(which=ANY, becomes=st.sampled_from((SUCCESS,) * 8 + tuple(SAYS)))
    def the_customer_decides(self, which: int, becomes: str) -> None:
        self.safaricom.becomes(one_of(self.undecided(), which), becomes)

    @precondition(lambda self: self.undecided())
    @rule(which=ANY, told=st.booleans())
    def the_customer_pays(self, which: int, told: bool) -> None:
        prompt = one_of(self.undecided(), which)
        self.safaricom.becomes(prompt, SUCCESS)
        if told:
            self._tell_plainly(prompt)

    @precondition(lambda self: self.may_be_taken_back())
    @rule(which=ANY)
    def the_money_moves_after_all(self, which: int) -> None:
        self.safaricom.becomes(one_of(self.may_be_taken_back(), which), SUCCESS)

    @precondition(lambda self: self.safaricom.asked)
    @rule(which=ANY)
    def somebody_looks(self, which: int) -> None:
        row = one_of(self.books(), which)
        reply = self.shop.status(row["id"])
        assert (reply.status, reply.body["status"]) == (200, PUBLIC[Status(row["status"])])

    @precondition(lambda self: self.safaricom.asked)
    @rule(which=ANY)
    def somebody_wants_the_invoice_again(self, which: int) -> None:
        row = one_of(self.books(), which)
        address = {"transaction_id": row["id"], "customer_email": "bob@example.com"}
        reply = self.shop.call("invoice", "POST", "/api/mpesa/invoice", address)
        self.wanted_again[row["id"]] += reply.status == 202
        expected = (202, 429) if row["status"] in ("PAID", "REFUNDED") else (409,)
        assert reply.status in expected or (row["status"] == "REFUNDED" and reply.status == 409), reply.body

    # Safaricom --------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.decided())
    @rule(
        which=ANY,
        first=st.booleans(),
        copies=st.integers(1, 2),
        amount=st.sampled_from(("1", "1.0", "1.00")),
        phone=st.sampled_from(("number", "masked", None)),
    )
    def a_callback_comes(self, which: int, first: bool, copies: int, amount: str, phone: str | None) -> None:
        """What happened first, or last: so a failure may still come after the success that took it back."""
        prompt = one_of(self.decided(), which)
        code = prompt.results[0 if first else -1]
        numbers = {"number": int(prompt.phone), "masked": f"{prompt.phone[:6]}***{prompt.phone[-3:]}"}
        told = {"Amount": amount_as(amount, prompt.amount), "PhoneNumber": numbers.get(phone or "")}
        body = prompt.callback(code, **told) if code == SUCCESS else prompt.callback(code)
        for _ in range(copies):
            self._tell(prompt, body)
        if code == SUCCESS:
            prompt.told_plainly = True

    @precondition(lambda self: self.paid())
    @rule(which=ANY, how=st.sampled_from(("no_receipt", "no_amount", "no_metadata", "other_amount", "c2b", "reused")))
    def a_success_is_told_badly(self, which: int, how: str) -> None:
        prompt = one_of(self.paid(), which)
        used = [row["receipt"] for row in self.books() if row["receipt"] and row["id"] != prompt.transaction_id]
        match how:
            case "no_receipt":
                body = prompt.callback(SUCCESS, MpesaReceiptNumber=None)
            case "no_amount":
                body = prompt.callback(SUCCESS, Amount=None)
            case "no_metadata":
                body = bodies.callback(prompt.merchant_request_id, prompt.checkout_request_id, 0, SAYS[SUCCESS], None)
            case "other_amount":
                body = prompt.callback(SUCCESS, Amount=prompt.amount + 1)
            case "reused" if used:
                body = prompt.callback(SUCCESS, MpesaReceiptNumber=used[0])
            case _:
                body = bodies.c2b_confirmation(
                    str(prompt.receipt), "20261122153000", f"{prompt.amount}.00", "174379", "INV00001", "", prompt.phone
                )
        self._tell(prompt, body)

    @precondition(lambda self: self.decided())
    @rule(which=ANY)
    def the_function_dies_with_a_callback_on_file(self, which: int) -> None:
        """Its bytes are committed, and nobody has judged them: the sweep will."""
        prompt = one_of(self.decided(), which)
        code = prompt.results[-1]
        entry = Entry(str(uuid.uuid4()), prompt.transaction_id, prompt.callback(code))
        collaborators().gateway.inbox.remember(entry, "127.0.0.1")
        if code == SUCCESS:
            prompt.told_plainly = True
            self.told.setdefault(prompt.transaction_id, set()).add(str(prompt.receipt))

    @rule(answer=st.sampled_from(("truth",) * 6 + QUERY_ANSWERS))
    def queries_will_say(self, answer: str) -> None:
        self.safaricom.query_answer = answer

    @rule(oauth=st.booleans(), mail=st.booleans())
    def services_go_down_or_up(self, oauth: bool, mail: bool) -> None:
        self.safaricom.oauth_is_down, self.safaricom.mail_is_down = oauth, mail

    @rule()
    def another_program_takes_the_token(self) -> None:
        self.safaricom.kill_token()

    # Forgers ----------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.safaricom.prompts)
    @rule(
        which=ANY,
        how=st.sampled_from(
            ("no_token", "other_token", "upper_case", "other_ids", "other_amount", "code_false", "code_00", "not_json")
        ),
        success=st.booleans(),
    )
    def a_forger_calls(self, which: int, how: str, success: bool) -> None:
        """With a wrong address nothing is stored; with a leaked one nothing is paid that does not fit the payment."""
        rows = {row["id"]: row for row in self.books()}
        prompt = self.safaricom.prompts[which % len(self.safaricom.prompts)]
        other = self.safaricom.prompts[(which + 1) % len(self.safaricom.prompts)]
        head, token = prompt.callback_path.rsplit("/", 1)
        path = {
            "no_token": head,
            "other_token": f"{head}/{other.callback_path.rsplit('/', 1)[1]}",
            "upper_case": f"{head}/{token.upper()}",
        }.get(how, prompt.callback_path)
        leaked = path == prompt.callback_path
        victims = rows[prompt.transaction_id]
        unbound = leaked and (victims["checkout"] is None or victims["learnt"])
        if leaked and (other is prompt or (unbound and how != "other_ids")):
            return  # without ids of its own, the address is all that binds a callback
        victim = other if how == "other_ids" else prompt
        receipt = f"ZZ{len(self.told):02d}{uuid.uuid4().hex[:6].upper()}"
        forged = Prompt(**{**vars(victim), "receipt": receipt, "amount": prompt.amount})
        body = forged.callback(SUCCESS if success else "1032")
        if unbound:  # what somebody else paid shall be found by a query
            body = forged.callback(SUCCESS, MpesaReceiptNumber=None) if success else forged.callback("1037")
            self.slandered.add(prompt.transaction_id)
        match how:
            case "other_amount":
                body = forged.callback(SUCCESS, Amount=prompt.amount - 1)
            case "code_false":
                body = forged.callback(SUCCESS).replace(b'"ResultCode":0', b'"ResultCode":false')
            case "code_00":
                body = forged.callback(SUCCESS).replace(b'"ResultCode":0', b'"ResultCode":"00"')
            case "not_json":
                body = b"\x00" + forged.callback(SUCCESS)
        reply = self.shop.call("callback", "POST", path, raw=body)
        assert reply.status == (200 if leaked else 404)
        after = {row["id"]: row for row in self.books()}[prompt.transaction_id]
        was = rows[prompt.transaction_id]["status"]
        if was != after["status"]:
            assert leaked
            assert after["status"] == "REVIEW" or (unbound and after["status"] in NOT_PAID), f"{was} {after['status']}"

    @precondition(lambda self: self.unanswered())
    @rule(which=ANY, success=st.booleans())
    def a_forger_offers_the_ids_of_a_payment_elsewhere(self, which: int, success: bool) -> None:
        """At a leaked address whose payment has no ids yet: a query for these ids would find money, but not ours."""
        prompt = one_of(self.unanswered(), which)
        body = STRANGERS.callback(SUCCESS, MpesaReceiptNumber=None, Amount=prompt.amount)
        reply = self.shop.call("callback", "POST", prompt.callback_path, raw=body if success else FORGED_FAILURE)
        assert reply.status == 200
        self.slandered.add(prompt.transaction_id)

    # Ourselves --------------------------------------------------------------------------------------------------------

    @rule()
    def the_sweep_runs(self) -> None:
        reply = self.shop.sweep()
        assert reply.status == 200, reply.body
        failed = {name for name in reply.body if name.endswith("_failed")} - MAIL_MAY_BE_DOWN
        assert not failed, reply.body
        self.unswept_s = 0

    @rule(seconds=st.sampled_from(AN_INSTANT))
    def time_passes(self, seconds: float) -> None:
        if self.unswept_s + seconds > AN_INSTANT[-1]:
            self.the_sweep_runs()
        self.unswept_s += seconds
        self.time.go_on(seconds)

    @rule(minutes=st.sampled_from((16, 61)))
    def a_long_time_passes(self, minutes: int) -> None:
        for _ in range(4):
            self.time.go_on(minutes * 60 / 4)
            self.the_sweep_runs()

    @rule()
    def a_function_starts_anew(self) -> None:
        forget_collaborators()

    @precondition(lambda self: self.safaricom.asked)
    @rule(which=ANY, doubts=st.booleans())
    def a_person_settles_a_payment(self, which: int, doubts: bool) -> None:
        """By the statement, where the payment is in review; elsewhere a person's word changes nothing."""
        row = one_of(self.books(), which)
        prompt = self.safaricom.prompt_of(row["id"])
        if row["status"] != "REVIEW":
            with pytest.raises(NotPossible):
                review.pay(collaborators().gateway, row["id"], "UKMXXXXXXX", "asha", "by mistake")
        elif prompt in self.undecided():
            return  # a person waits until the phone no longer rings
        elif prompt is None or not prompt.paid:
            review.fail(collaborators().gateway, row["id"], "asha", "not on the statement")
            self.given_up.add(row["id"])
        elif doubts or row["review_reason"] == "duplicate_payment":
            review.refunded(collaborators().gateway, row["id"], f"R{prompt.receipt}", "asha", "sent back")
        else:
            why = "on the statement"
            gateway, receipt = collaborators().gateway, str(prompt.receipt)
            review.pay(gateway, row["id"], receipt, "asha", why, against_evidence=True)  # whatever a callback said

    @precondition(lambda self: self.safaricom.asked)
    @rule(which=ANY)
    def a_person_takes_a_word_back(self, which: int) -> None:
        """What a person ended stands where it did; elsewhere there is nothing to take back."""
        row = one_of(self.books(), which)
        if row["word"] in ("OperatorFailed", "OperatorRefunded", "StatementRefunded"):
            now = review.reopen(self.world.operator, row["id"], "asha", "by mistake")
            assert now == row["word_from"]
        else:
            with pytest.raises(NotPossible):
                review.reopen(self.world.operator, row["id"], "asha", "by mistake")

    @precondition(lambda self: self.paid())
    @rule(which=ANY, reversed=st.booleans(), twice=st.booleans())
    def a_statement_comes(self, which: int, reversed: bool, twice: bool) -> None:
        """It has the money that really moved; sometimes a reversal too."""
        prompt = one_of(self.paid(), which)
        rows = [statement_row(1, str(prompt.receipt), prompt.amount)]
        if reversed:
            rows.append(statement_reversal(2, f"V{prompt.receipt}", prompt.amount))
        file = statement(*rows, sha256=hashlib.sha256(str(rows).encode()).hexdigest())
        ids = records.keep(self.world.operator.database, file, "asha")
        for _ in range(1 + twice):
            for row_id in ids.values():
                records.settle_by_row(self.world.operator, row_id, prompt.transaction_id, "asha")

    @precondition(lambda self: self.safaricom.asked)
    @rule(which=ANY)
    def a_person_has_a_callback_judged_again(self, which: int) -> None:
        entries = self.shop.rows("SELECT id::text FROM callback_inbox ORDER BY received_at DESC, id")
        if entries:
            for entry in collaborators().gateway.inbox.reopen(one_of(entries, which)["id"]):
                judge(collaborators().gateway, entry, actor="operator")

    # What holds after every step --------------------------------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        self.undecided()  # the network gives up, so that a history that was printed runs as it stands there
        books, broken = self.world.look()
        assert [(row["invariant"], row["broken_by"]) for row in broken] == []
        assert [name for name, times in self.safaricom.asked.items() if times > 1] == [], "a push was sent twice"
        for row in books:
            self._agrees_with_the_truth(row, self.safaricom.prompt_of(row["id"]))

    def teardown(self) -> None:
        """Peace: the faults stop, and all comes to an end that a person could explain."""
        if not hasattr(self, "keys"):
            return
        safaricom = self.safaricom
        safaricom.query_answer, safaricom.oauth_is_down, safaricom.mail_is_down = "truth", False, False
        for prompt in safaricom.prompts:
            said_to_fail = prompt.transaction_id in safaricom.denied | self.slandered or len(prompt.results) > 1
            if prompt.paid and said_to_fail and not prompt.told_plainly:
                self._tell_plainly(prompt)
        for minutes in (1, 2, 5, 10, 13, 15, 15, 15):
            self.time.go_on(minutes * 60)
            self.the_sweep_runs()
        self.the_books_are_right()
        for row in self.books():
            truth = safaricom.prompt_of(row["id"])
            assert row["status"] not in OPEN, f"{row['id']} never came to an end"
            if truth is not None and truth.paid:
                assert row["status"] in ("PAID", "REVIEW", "REFUNDED"), f"{row['amount']} KES are unexplained"
            self.world.payments += 1
        assert wrong_notices(self.time.database) == []
        mailed = Counter(mail["custom_args"]["message_id"] for mail in safaricom.mails)
        assert [each for each, times in mailed.items() if times > 1] == [], "a letter was taken, and sent again"
        assert replayed_differently(self.shop.books) == []
        assert wrongly_signed(self.shop.books) == []
        nothing_private_was_logged(self.shop)

    # How it works -----------------------------------------------------------------------------------------------------

    def books(self) -> list[Row]:
        return self.world.books()

    def undecided(self) -> list[Prompt]:
        return self.safaricom.undecided()

    def unanswered(self) -> list[Prompt]:
        return [prompt for prompt in self.safaricom.prompts if not prompt.answered]

    def decided(self) -> list[Prompt]:
        return [prompt for prompt in self.safaricom.prompts if prompt.results]

    def paid(self) -> list[Prompt]:
        return [prompt for prompt in self.safaricom.prompts if prompt.paid]

    def may_be_taken_back(self) -> list[Prompt]:
        return [one for one in self.decided() if not one.paid and one.results[-1] in MAY_BE_TAKEN_BACK]

    def _buy(
        self, phone: str, amount: int, reference: str, with_email: bool, with_key: bool, answer: str
    ) -> list[Prompt]:
        order: dict[str, object] = {"phone_number": phone, "amount": amount, "account_reference": reference}
        order["customer_email"] = "alice@example.com" if with_email else None
        key = str(uuid.uuid4()) if with_key else None
        before = self.books()
        reply, prompts = self._press(order, key, answer)
        if reply.status == 429:
            assert prompts == []
            assert any(self._alike(row, order) for row in before), "nobody asked for a payment like this one"
        elif reply.status == 422:
            assert prompts == []
            taken_kes = sum(row["amount"] for row in before if row["phone"] == phone and row["status"] not in NOT_PAID)
            assert taken_kes + amount > A_PHONE_PAYS_AT_MOST_KES, reply.body
        elif reply.body.get("code") == "already_paid":
            assert prompts == []
            paid = [row for row in self.books() if row["status"] == "PAID"]
            assert any(self._is_paid(row, order) or self._alike(row, order) for row in paid)
        elif reply.status != 202:
            assert prompts == []
            assert (reply.status, answer) in REFUSED_AS | {(503, answer)}, reply.body
        else:
            assert reply.body["transaction_id"] not in {row["id"] for row in before}
            self._nobody_was_asked_too_soon(order, before)
            assert not any(self._is_paid(row, order) for row in before), "the order was paid already"
            if not prompts:
                self.unclear.add(reply.body["transaction_id"])
            if key is not None:
                self.keys[key] = Asked(order, reply.body["transaction_id"])
        return prompts

    def _press(self, order: dict[str, object], key: str | None, answer: str) -> tuple[Reply, list[Prompt]]:
        """The button; with the prompts that reached a phone."""
        so_far = len(self.safaricom.prompts)
        self.safaricom.push_answer = answer
        reply = self.shop.pay(key, **order)
        return reply, self.safaricom.prompts[so_far:]

    def _tell(self, prompt: Prompt, body: bytes) -> None:
        assert self.safaricom.tell(prompt.callback_path, body) == 200
        if prompt.receipt is not None and prompt.receipt.encode() in body:
            self.told.setdefault(prompt.transaction_id, set()).add(prompt.receipt)

    def _tell_plainly(self, prompt: Prompt) -> None:
        self._tell(prompt, prompt.callback(SUCCESS))
        prompt.told_plainly = True

    def _alike(self, row: Row, order: dict[str, object]) -> bool:
        same = row["amount"] == order["amount"] or row["reference"] == order["account_reference"]
        return bool(row["phone"] == order["phone_number"] and same and row["age_s"] < CLICKS_AT_MOST_S)

    def _is_paid(self, row: Row, order: dict[str, object]) -> bool:
        """Paid is paid: the same order, for at least this amount, within a day."""
        same = row["reference"] == order["account_reference"] and row["amount"] >= order["amount"]
        return bool(same and row["status"] == "PAID" and row["paid_since_s"] < A_DAY_S)

    def _nobody_was_asked_too_soon(self, order: dict[str, object], before: list[Row]) -> None:
        """Rule 2, from the outside: what another payment like this one was, at the moment this one was let in."""
        for row in before:
            prompt = self.safaricom.prompt_of(row["id"])
            if not self._alike(row, order) or prompt is None:
                continue
            assert row["status"] not in OPEN, f"{row['id']} was {row['status']}"
            if row["age_s"] < GUARD_S:
                lifted = row["status"] in NOT_PAID and row["result_code"] in LIFTS_THE_GUARD
                assert lifted, f"{row['id']} was {row['status']} {row['result_code']}, {row['age_s']:.0f} s old"

    def _agrees_with_the_truth(self, row: Row, prompt: Prompt | None) -> None:
        self._what_is_paid_was_paid(row, prompt)
        self._what_failed_had_failed(row, prompt)
        assert row["mails"] <= 1 + self.wanted_again[row["id"]], "an invoice was sent twice"
        if prompt is not None and prompt.paid and not row["unjudged"]:
            assert self.told.get(row["id"], set()) <= set(row["receipts"]), "a receipt was told and not kept"
            if prompt.told_plainly and row["evidence"] == "query" and row["id"] not in self.slandered:
                assert row["receipt"] == prompt.receipt, "the receipt came, and the confirmation lacks it"
            if prompt.told_plainly and row["status"] in OPEN | NOT_PAID:
                assert row["held"], f"{row['amount']} KES were told, and the payment is {row['status']}"

    def _what_is_paid_was_paid(self, row: Row, prompt: Prompt | None) -> None:
        if row["confirmed"] is None:
            return
        assert prompt is not None, "paid without a prompt"
        assert prompt.paid, f"{row['id']} is {row['status']}, and no money moved"
        assert (row["confirmed"], row["receipt"] or prompt.receipt) == (prompt.amount, prompt.receipt)
        if row["amount"] > CONFIRM_ABOVE_KES and row["evidence"] != "operator":
            assert row["id"] in self.safaricom.affirmed, "a large payment was paid on a callback's word alone"

    def _what_failed_had_failed(self, row: Row, prompt: Prompt | None) -> None:
        """Nobody is told that a payment failed while it may still be paid."""
        if row["status"] not in NOT_PAID or row["id"] in self.given_up | self.slandered | self.safaricom.denied:
            return
        if prompt is None:
            assert row["id"] not in self.unclear, "an unclear push is no failure"
        else:
            assert set(prompt.results) & KNOWN_FAILURES, f"{prompt.results} is no failure"


@pytest.fixture
def simulator() -> Iterator[Safaricom]:
    with scripted_safaricom() as safaricom:
        yield safaricom


@pytest.fixture
def world(shop: Shop, simulator: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    time = VirtualTime(shop.database_url, monkeypatch)
    yield World(shop, simulator, time)
    time.close()


@pytest.mark.timeout(400)  # a failure is shortened for a minute, and told again
def test_no_history_breaks_the_books(
    world: World, rounds: Rounds, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_the_shop_listens(monkeypatch)
    monkeypatch.setattr(engine, "MAX_SHRINKING_SECONDS", 60)
    examples, steps = rounds(20, 5000), rounds(30, 60)
    examples = int(os.environ.get("EXAMPLES", examples))

    class History(AnyHistory):
        pass

    History.world = world
    run(
        seed(int(os.environ.get("SEED", "1")))(History),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if not os.environ.get("NOSHRINK") else [Phase.generate],
        ),
    )
    figure(f"{examples} histories of up to {steps} steps, {world.payments} payments: 0 violations")
