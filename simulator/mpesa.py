"""M-PESA itself: what happens to a pushed payment. `_run` is the whole of it: prompt, decision, money, callbacks."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from simulator import callbacks
from simulator.account import Account, name_of
from simulator.background import Background
from simulator.clock import Clock
from simulator.entries import Entry, Kind, Way
from simulator.ids import Ids
from simulator.live import Live
from simulator.payments import Delivery, Movement, Payment, Push
from simulator.phones import PROMPT_LIMIT, WRONG_PIN, Message, Phone, failed_text, paid_text, prompt_text, reversed_text
from simulator.scripts import RESULTS, Outcome, Result, Script
from simulator.settings import Behaviour

NEVER_ANSWERS = "254708374149"
"""Safaricom's test number: "No response from user." after 14 to 30 s (observed 2026-09, three times)."""

PROMPT_TOO_LONG = Result(code=1025, desc="An error occurred while sending a push request.")
"""INF: the code is official, its text in a callback was never captured."""
NO_SUCH_OPERATOR = Result(code="SFC_IC0003", desc="The operator does not exist.")
"""A PartyB that is not this business's (callback reported to osen-wc-mpesa, issue 48)."""


class NoPrompt(Exception):
    """No prompt is open on this phone."""


class TooLittleMoney(Exception):
    """The phone's balance is smaller than the amount."""


BANK = ("300600", "BENKI YA MFANO")
"""Made up: bank apps pay as an organisation, for a customer whom the statement does not name."""
ON_THE_STATEMENT = ("1", "2001")
"""Failures that stand there as a failed row (INF)."""


@dataclass
class MPesa:
    clock: Clock
    randomness: random.Random
    ids: Ids
    live: Live
    background: Background
    behaviour: Behaviour
    accounts: dict[str, Account]
    """By the number that customers pay to."""
    ledger: list[Movement] = field(default_factory=list)
    phones: dict[str, Phone] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)

    def phone(self, msisdn: str) -> Phone:
        """The phone with this number; a number never seen before gets a new one."""
        if msisdn not in self.phones:
            self.phones[msisdn] = Phone(msisdn, self.behaviour.opening_balance_kes, self.clock.now())
        return self.phones[msisdn]

    def phones_in_order(self) -> list[Phone]:
        """Those with an open prompt first, then the one used last."""
        phones = self.phones.values()
        return sorted(phones, key=lambda phone: (phone.prompt is not None, phone.last_used_at), reverse=True)

    # --- What Daraja asks for ---

    def locked(self, msisdn: str) -> bool:
        """One transaction at a time for each subscriber."""
        phone = self.phones.get(msisdn)
        return phone is not None and phone.payment is not None

    def accept(self, push: Push, script: Script, *, prompt_after_s: float) -> Payment:
        """Lock the subscriber and start the payment. The caller answers the push."""
        payment = Payment(
            push=push,
            script=script,
            merchant_request_id=self.ids.merchant_request_id(),
            checkout_request_id=self.ids.checkout_request_id(push.msisdn),
            pushed_at=self.clock.now(),
            shapes_left=list(script.query),
        )
        self.payments[payment.checkout_request_id] = payment
        self.phone(push.msisdn).payment = payment
        self.background.start(self._run(payment, prompt_after_s))
        self.live.changed("payments")
        return payment

    def ask_for_the_truth(self) -> None:
        """From now on queries about all payments so far answer what happened."""
        for payment in self.payments.values():
            payment.shapes_left.clear()
            payment.script = payment.script.model_copy(update={"query_stuck_s": None, "query_result": None})

    # --- What a person does ---

    def answer(self, msisdn: str, action: Outcome | None, pin: str | None = None) -> Payment:
        """Answer the open prompt: type a PIN (action None), or anything else an `Outcome` names."""
        phone = self.phones.get(msisdn)
        payment = phone.prompt if phone else None
        if phone is None or payment is None or payment.decided.done():
            raise NoPrompt(msisdn)
        payment.decided.set_result(RESULTS[action] if action else self._typed(pin, phone, payment))
        return payment

    def pay(self, msisdn: str, shortcode: str, amount_kes: Decimal, account: str, way: Way) -> Entry:
        """Pay a paybill or till by hand: no shop is called. A bank's app pays as an organisation, also cents."""
        by_bank, phone, to = way is Way.BANK, self.phone(msisdn), self.accounts[shortcode]
        if not by_bank:
            if phone.balance_kes < amount_kes:
                raise TooLittleMoney(msisdn)
            phone.balance_kes -= int(amount_kes)
        payer, name = BANK if by_bank else (msisdn, name_of(msisdn))
        kind = Kind.ORGANISATION if by_bank else Kind.PAYMENT
        entry = to.receive(kind, amount_kes, payer, name, account, way=way)
        phone.last_used_at = entry.at
        text = paid_text(entry.receipt, amount_kes, to.of.name, entry.account, self.clock.now_eat(), phone.balance_kes)
        phone.messages.append(Message(entry.at, text))
        self._money_moved()
        return entry

    def reverse(self, shortcode: str, receipt: str) -> None:
        """The operator's "Reverse" in the portal: the money is back on the phone. NotReversible where it cannot be."""
        paid = self.accounts[shortcode].reverse(receipt)
        if paid.kind is Kind.PAYMENT:
            phone = self.phone(paid.payer)
            phone.balance_kes += int(paid.amount_kes)
            phone.messages.append(Message(self.clock.now(), reversed_text(paid.receipt, paid.amount_kes)))
        self._money_moved()

    def _money_moved(self) -> None:
        for what in ("phones", "account"):
            self.live.changed(what)

    def _typed(self, pin: str | None, phone: Phone, payment: Payment) -> Result:
        if pin == WRONG_PIN:
            return RESULTS[Outcome.WRONG_PIN]
        if phone.balance_kes < self._asks_kes(payment):
            return RESULTS[Outcome.NO_FUNDS]
        return RESULTS[Outcome.PAY]

    # --- One payment ---

    async def _run(self, payment: Payment, prompt_after_s: float) -> None:
        try:
            await self.clock.sleep(prompt_after_s)
            result = self._refusal_after_acceptance(payment.push) or await self._decision(payment)
            self._finish(payment, result)
            if payment.script.told_in_reverse and not result.paid:
                await self._pay_after_all(payment)
            await self._call_back(payment, result)
        finally:
            payment.callbacks_sent.set()
        if not payment.script.told_in_reverse and not result.paid:
            await self._pay_after_all(payment)

    async def _pay_after_all(self, payment: Payment) -> None:
        if payment.script.paid_later_s is not None:
            await self.clock.sleep(payment.script.paid_later_s)
            self._finish(payment, RESULTS[Outcome.PAY])
            await self._call_back(payment, RESULTS[Outcome.PAY])

    async def _decision(self, payment: Payment) -> Result:
        """Show the prompt and wait for a person, the script or the timeout, whichever is first."""
        script, now = payment.script, self.clock.now()
        if script.outcome is None:
            wait_s, otherwise = self._patience_s(payment.push.msisdn), RESULTS[Outcome.IGNORE]
        else:
            wait_s = script.after_s
            otherwise = script.outcome if isinstance(script.outcome, Result) else RESULTS[script.outcome]
        payment.prompted_at = now
        payment.prompt_wait_s = wait_s
        self.phone(payment.push.msisdn).last_used_at = now
        self.live.changed("phones")
        passing: asyncio.Future[Any] = asyncio.ensure_future(self.clock.sleep(wait_s))
        decided: asyncio.Future[Any] = payment.decided
        try:
            await asyncio.wait({decided, passing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            passing.cancel()
        return payment.decided.result() if payment.decided.done() else otherwise

    def _patience_s(self, msisdn: str) -> float:
        usual_s = self.behaviour.no_answer_after_s
        return min(usual_s, self.randomness.uniform(14, 30)) if msisdn == NEVER_ANSWERS else usual_s

    def _finish(self, payment: Payment, result: Result) -> None:
        """Release the lock, move the money if paid, send the customer's message."""
        now, phone = self.clock.now(), self.phone(payment.push.msisdn)
        if phone.payment is payment:
            phone.payment = None
        phone.last_used_at = now
        payment.result, payment.finished_at = result, now
        if result.paid:
            self._move_money(payment, phone)
            amount_kes = Decimal(payment.amount_moved_kes or 0)
            name, account = payment.push.merchant.name, payment.push.account_reference
            text: str | None = paid_text(
                str(payment.receipt), amount_kes, name, account, self.clock.now_eat(), phone.balance_kes
            )
        else:
            if str(result.code) in ON_THE_STATEMENT:
                self._book(payment, status="Failed")
            text = failed_text(payment, str(result.code), phone.balance_kes)
        if text is not None:
            phone.messages.append(Message(now, text))
        self.live.changed("payments")
        self.live.changed("phones")

    def _move_money(self, payment: Payment, phone: Phone) -> None:
        amount_kes = self._asks_kes(payment)
        fuliza = phone.balance_kes < amount_kes
        phone.balance_kes = max(0, phone.balance_kes - amount_kes)  # a scripted payment succeeds whatever the balance
        payment.amount_moved_kes = amount_kes
        payment.balance_after_kes = phone.balance_kes
        payment.receipt = self.ids.receipt(self.clock.now_eat())
        self.ledger.append(
            Movement(
                receipt=payment.receipt,
                amount_kes=amount_kes,
                msisdn=phone.msisdn,
                shortcode=payment.push.party_b,
                account_reference=payment.push.account_reference,
                at=self.clock.now(),
                checkout_request_id=payment.checkout_request_id,
                balance_after_kes=phone.balance_kes,
            )
        )
        self._book(payment, receipt=payment.receipt, fuliza=fuliza)

    def _book(self, payment: Payment, *, receipt: str = "", fuliza: bool = False, status: str = "Completed") -> None:
        push = payment.push
        if push.party_b in self.accounts:
            name, amount_kes = name_of(push.msisdn), Decimal(self._asks_kes(payment))
            self.accounts[push.party_b].receive(
                Kind.PAYMENT, amount_kes, push.msisdn, name, push.account_reference,
                receipt=receipt, fuliza=fuliza, status=status,
            )  # fmt: skip
            self.live.changed("account")

    async def _call_back(self, payment: Payment, result: Result) -> None:
        script = payment.script
        if self.behaviour.callbacks_lost:
            return
        if script.c2b_confirmation and result.paid:
            await self._deliver(payment, callbacks.c2b_body(payment, self.clock.now()), 0)
        content = callbacks.body(payment, result, self.clock.now(), self.randomness)
        await self.clock.sleep(script.callback_delay_s)
        await asyncio.gather(
            *(
                self._deliver(payment, content, copy * script.callback_spacing_s)
                for copy in range(script.callback_count)
            )
        )

    async def _deliver(self, payment: Payment, content: bytes, after_s: float) -> None:
        await self.clock.sleep(after_s)
        sent_at = self.clock.now()
        with self.clock.held():
            http_status, problem = await callbacks.post(
                payment.push.callback_url, payment.push.merchant.shortcode, content, self.behaviour.callback_timeout_s
            )
        payment.deliveries.append(Delivery(sent_at, content.decode(), http_status, problem))
        self.live.changed("payments")

    @staticmethod
    def _asks_kes(payment: Payment) -> int:
        return payment.script.paid_amount or payment.push.amount_kes

    @staticmethod
    def _refusal_after_acceptance(push: Push) -> Result | None:
        """What M-PESA finds wrong after Daraja accepted the push."""
        if push.party_b != push.merchant.receives:
            return NO_SUCH_OPERATOR
        if len(prompt_text(push.merchant.name, push.amount_kes, push.account_reference)) > PROMPT_LIMIT:
            return PROMPT_TOO_LONG
        return None
