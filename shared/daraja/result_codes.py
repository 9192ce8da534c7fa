"""Every result code Daraja has been seen to give a payment, and what each means for the customer and the operator.

Two closed tables. A callback is Daraja's last word on a payment, so a known failing code in it fails the payment. The
same number in the answer to a query may speak about the query itself, so there only codes count that Safaricom
documents for STK push (OFF) or that were captured for it (OBS). Any other code of a callback sends the payment to
review; any other answer to a query changes nothing. Codes are text: there is an `SFC_IC0003`. A new code also needs
Swahili words: shared/mail/letters.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from shared.payments import Status


@dataclass(frozen=True, slots=True)
class KnownCode:
    """One failing code. `message` and `next_action` are shown to the customer, `operator_note` to the shop."""

    code: str
    becomes: Status
    message: str
    next_action: str
    operator_note: str
    may_be_taken_back: bool
    """Money has been reported to move after it, or it is a passing state: asked again 5 minutes and 1 hour later."""
    evidence: str
    """OFF: Daraja portal. OBS: captured. COM: the community says so. Then where and when."""
    shops_fault: bool = False
    """The shop is set up wrongly, or its account is full: no payment works until it has put that right."""


_TRY_AGAIN = "You can try again now."
_ASK_THE_SHOP = "Please contact the shop. Trying again will not help until they have put it right."
_WAIT_THEN_TRY = "Wait two minutes, then try again."
_PHONE_ON_THEN_TRY = (
    "Check that your phone is on, unlocked and has network, then try again. "
    "If an M-Pesa SMS says that you paid, do not pay again: the shop will see it too."
)
_PORTAL = "Daraja portal, M-Pesa Express, result codes (2025-12-28)"

_ON_CALLBACK_AND_QUERY = (
    KnownCode(
        "1", Status.FAILED,
        "There was not enough money in your M-Pesa account.",
        "Top up your M-Pesa account, then try again.",
        "The payer's balance was insufficient. Nothing to do.",
        False, f"OFF {_PORTAL}; OBS captured callback, 2021",
    ),
    KnownCode(
        "2", Status.FAILED,
        "The amount is below the smallest that M-Pesa allows for this payment.",
        "Pay a larger amount, or ask the shop for another way to pay.",
        "Below the minimum of the limit rule on your shortcode. Check your tariff and limits with Safaricom.",
        False, f"OFF {_PORTAL}",
    ),
    KnownCode(
        "3", Status.FAILED,
        "The amount is above the largest that M-Pesa allows in one payment.",
        "Ask the shop whether you can pay in smaller parts.",
        "Above the maximum of the limit rule: 250,000 KES in one transaction, or your shortcode's own limit.",
        False, f"OFF {_PORTAL}",
    ),
    KnownCode(
        "4", Status.FAILED,
        "This payment would go over your M-Pesa limit for today.",
        "Try again tomorrow, or pay from another M-Pesa number.",
        "The payer's daily limit (500,000 KES) would be exceeded. Nothing to do.",
        False, f"OFF {_PORTAL}",
    ),
    KnownCode(
        "8", Status.FAILED,
        "The shop's M-Pesa account cannot take this payment now.",
        _ASK_THE_SHOP,
        "Your account would go over its maximum balance. Move money to your bank, or ask Safaricom for a higher limit.",
        False, f"OFF {_PORTAL}", shops_fault=True,
    ),
    KnownCode(
        "17", Status.FAILED,
        "M-Pesa does not take the same amount twice within two minutes.",
        _WAIT_THEN_TRY,
        "Rule limited: the same amount from the same customer within 2 minutes. Check that they have not paid already.",
        False, f"OFF {_PORTAL}; OBS captured callback, 2021",
    ),
    KnownCode(
        "1019", Status.EXPIRED,
        "The payment request expired before it was finished.",
        _PHONE_ON_THEN_TRY,
        "M-Pesa let the transaction expire. It has been seen to come through later all the same: we ask again.",
        True, f"OFF {_PORTAL}; OBS captured callback, 2022",
    ),
    KnownCode(
        "1025", Status.FAILED,
        "M-Pesa could not send the payment request to your phone.",
        "Try again. If it happens again, contact the shop.",
        "Error sending the prompt. Safaricom names one cause: its text is longer than 182 characters, often because of "
        "a long account reference or shop name.",
        False, f"OFF {_PORTAL}",
    ),
    KnownCode(
        "1031", Status.CANCELLED,
        "You cancelled the payment on your phone.",
        _TRY_AGAIN,
        "The older code for a cancelled prompt. Nothing to do.",
        False, "OBS captured callback, 2021",
    ),
    KnownCode(
        "1032", Status.CANCELLED,
        "The payment was cancelled on your phone.",
        _TRY_AGAIN,
        "The customer cancelled, or let the prompt time out on the phone. Nothing to do.",
        False, f"OFF {_PORTAL}; OBS captured callbacks, 2019 to 2026, and query answers, 2025",
    ),
    KnownCode(
        "1036", Status.FAILED,
        "Your phone could not be reached.",
        _PHONE_ON_THEN_TRY,
        "SMSC ACK timeout, the older form of 1037: the prompt was not confirmed by the network. We ask again.",
        True, "OBS captured callback, 2019",
    ),
    KnownCode(
        "1037", Status.FAILED,
        "Your phone did not answer the payment request.",
        _PHONE_ON_THEN_TRY,
        "No answer from the phone: off, out of coverage, an old SIM, or the prompt was ignored. Money has been "
        "reported to move after it: we ask again. If one customer meets it each time, a SIM toolkit update may help.",
        True, f"OFF {_PORTAL}; OBS captured callbacks, 2021 to 2026, in production too, and query answers, 2025",
    ),
    KnownCode(
        "2001", Status.FAILED,
        "The M-Pesa PIN was wrong, or this number is not registered for M-Pesa.",
        "Try again and enter your M-Pesa PIN carefully.",
        "Wrong PIN, or the payer is not an M-Pesa customer. Nothing to do.",
        False, f"OFF {_PORTAL}; OBS captured callbacks, 2019 and 2022",
    ),
    KnownCode(
        "2028", Status.FAILED,
        "The shop is not set up to take this kind of payment.",
        _ASK_THE_SHOP,
        "Not permitted by product assignment: MPESA_TRANSACTION_TYPE does not fit your shortcode, or MPESA_PARTY_B is "
        "not the till that belongs to it. No payment will work until this is corrected.",
        False, f"OFF {_PORTAL}", shops_fault=True,
    ),
    KnownCode(
        "8006", Status.FAILED,
        "Your M-Pesa PIN is locked.",
        "Call Safaricom customer care to unlock it, then try again.",
        "The customer's security credential is locked. Nothing to do.",
        False, f"OFF {_PORTAL}",
    ),
    KnownCode(
        "SFC_IC0003", Status.FAILED,
        "M-Pesa does not know the shop's till or paybill number.",
        _ASK_THE_SHOP,
        "The operator does not exist: MPESA_SHORTCODE and MPESA_PARTY_B do not belong together (for a till, the "
        "shortcode is the head-office or store number, party B the till). No payment will work until this "
        "is corrected.",
        False, f"OFF {_PORTAL}; OBS captured callback (osenco/osen-wc-mpesa, thread 48)", shops_fault=True,
    ),
    KnownCode(
        "E3008", Status.FAILED,
        "M-Pesa could not take this payment from your line.",
        "Ask Safaricom customer care about your line, or pay from another M-Pesa number.",
        "Bad debt contract, on the customer's side. In the sandbox ordinary lines get it too.",
        False, "OBS captured sandbox callback, 2026-08-17",
    ),
)  # fmt: skip

_ON_CALLBACK_ONLY = (
    KnownCode(
        "26", Status.FAILED,
        "M-Pesa is very busy at the moment.",
        _WAIT_THEN_TRY,
        "Traffic blocking condition. Passing: we ask again.",
        True, "OFF for Account Balance only (Daraja portal, 2025-12-28); COM for STK push",
    ),
    KnownCode(
        "1001", Status.FAILED,
        "Another M-Pesa transaction is open on your phone.",
        "Finish or cancel what is open on your phone, wait two minutes, then try again.",
        "Unable to lock the subscriber: another session was open. Nothing to do.",
        False, "COM; no capture found (at the push it is error 500.001.1001)",
    ),
    KnownCode(
        "1101", Status.FAILED,
        "M-Pesa could not send the payment request to your phone.",
        "Try again. If it happens again, contact the shop.",
        "The prompt is too long (an older code): see 1025.",
        False, "COM; no capture found",
    ),
    KnownCode(
        "1102", Status.FAILED,
        "M-Pesa could not send the payment request to your phone.",
        "Try again. If it happens again, contact the shop.",
        "The prompt is too long (an older code): see 1025.",
        False, "COM; no capture found",
    ),
    KnownCode(
        "2006", Status.FAILED,
        "This M-Pesa account cannot be used for the payment.",
        "Ask Safaricom customer care about your account, or pay from another M-Pesa number.",
        "The account's status does not allow it: the payer's, or yours. If every payment fails so, ask Safaricom about "
        "yours.",
        False, "OFF for other APIs (Daraja portal, Reversal, 2025-12-28); no capture for STK push",
    ),
    KnownCode(
        "2008", Status.FAILED,
        "M-Pesa could not confirm that it was you.",
        "Try again and enter your M-Pesa PIN carefully.",
        "Authentication failed on the customer's side. Nothing to do.",
        False, "COM; no capture found",
    ),
    KnownCode(
        "2026", Status.FAILED,
        "The M-Pesa session on your phone ran out of time.",
        _TRY_AGAIN,
        "The channel session expired. Nothing to do.",
        False, "COM; no capture found",
    ),
    KnownCode(
        "9999", Status.FAILED,
        "M-Pesa could not send the payment request to your phone.",
        _PHONE_ON_THEN_TRY,
        "An error inside M-Pesa while sending the prompt; some describe it as an unknown result, so we ask again.",
        True, "COM; no capture found",
    ),
)  # fmt: skip


def _closed(*groups: tuple[KnownCode, ...]) -> Mapping[str, KnownCode]:
    return MappingProxyType({known.code: known for group in groups for known in group})


CALLBACK_FAILURES: Mapping[str, KnownCode] = _closed(_ON_CALLBACK_AND_QUERY, _ON_CALLBACK_ONLY)
"""Codes that fail a payment when a callback carries them."""

QUERY_FAILURES: Mapping[str, KnownCode] = _closed(_ON_CALLBACK_AND_QUERY)
"""Codes that fail a payment when the answer to a query carries them. 4999 is not among them: it means not yet."""


def describe(code: str) -> KnownCode | None:
    """What is known about a failing code, wherever it came from; None for success, 4999 and whatever is new."""
    return CALLBACK_FAILURES.get(code)
