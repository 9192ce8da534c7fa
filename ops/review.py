"""The operator's exits from REVIEW, and from PAID when money went back. Each is audited, with who and why."""

from __future__ import annotations

import re

from shared.gateway import Gateway
from shared.gateway.cases import Evidence
from shared.payments import Decision, Event, OperatorFailed, OperatorPaid, OperatorRefunded, Outcome
from shared.settlement import settle


class NotPossible(Exception):
    """The payment is not where this can be done, or the receipt is another payment's: see `ops case`."""


def pay(gateway: Gateway, transaction_id: str, receipt: str, who: str, why: str) -> Decision:
    """The money is on the statement under this receipt number. From REVIEW only. Raises `NotPossible`."""
    receipt = _receipt(receipt)
    return _settle(gateway, transaction_id, OperatorPaid(receipt), _word(who, why, "OperatorPaid", receipt))


def fail(gateway: Gateway, transaction_id: str, who: str, why: str) -> Decision:
    """No money came. From REVIEW only. Raises `NotPossible`."""
    return _settle(gateway, transaction_id, OperatorFailed(), _word(who, why, "OperatorFailed", None))


def refunded(gateway: Gateway, transaction_id: str, receipt: str, who: str, why: str) -> Decision:
    """The whole amount went back, under this receipt number. From REVIEW and PAID. Raises `NotPossible`."""
    receipt = _receipt(receipt)
    return _settle(gateway, transaction_id, OperatorRefunded(), _word(who, why, "OperatorRefunded", receipt))


def _word(who: str, why: str, event: str, receipt: str | None) -> Evidence:
    return Evidence(actor=f"operator {who}", event=event, receipt=receipt, why=why)


def _settle(gateway: Gateway, transaction_id: str, event: Event, evidence: Evidence) -> Decision:
    decision = settle(gateway, transaction_id, event, evidence)
    if decision is None:
        raise NotPossible(f"there is no payment {transaction_id}")
    if decision.outcome is Outcome.NOTED:
        raise NotPossible(f"the payment is {decision.status}, or the receipt belongs to another payment: see ops case")
    return decision


def _receipt(text: str) -> str:
    receipt = text.strip().upper()
    if not re.fullmatch(r"[A-Z0-9]{8,20}", receipt):
        raise NotPossible(f"{text!r} is no M-Pesa receipt number: it has about ten letters and digits, like TJ3MX6CLYC")
    return receipt
