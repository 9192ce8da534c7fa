"""KES 1 on the owner's own phone, asked as a customer asks: by a signed payment link and the deployed shop's own API.

A phone never rings twice for one consent. The wish is on file before it leaves, with the link and the Idempotency-Key;
whoever goes on, at once or tomorrow, uses the same, and looks first whether the payment is there. The phone number
goes to the shop and nowhere else: it is not kept, printed or read from a file.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import requests

from ops.answers import show
from ops.checks.live import callback_of
from ops.golive_walk import AGAIN, ASKED, FAILED, Outcome, Walk, add_row, lock
from ops.session import NotPossible
from ops.words import visible
from shared.call_out import send
from shared.daraja.answers import Unanswered, Unavailable, find_refusal
from shared.daraja.result_codes import describe
from shared.database import Row, Transaction
from shared.deadline import Deadline
from shared.links import PaymentLink, sign
from shared.payments import OPEN, Status
from shared.settings import link_secrets, shop_settings
from shared.values import masked, read_msisdn

ONE_KES = Decimal(1)
LINK_LASTS = timedelta(minutes=30)
THE_PUSH_TAKES_S, FOLLOWS_S, ASKS_EVERY_S, MAIL_LEAVES_WITHIN_S = 40, 180, 3, 20
A_CALLBACK_COMES_WITHIN = timedelta(seconds=45)
"""After the payment ended by a query."""
ANSWERED = ("1", "1031", "1032", "2001")
"""Somebody held the phone: cancelled, a wrong PIN, too little money. So push, passkey and callback work."""


def prompt(walk: Walk) -> Outcome:
    """The push, the passkey and the callback: cancelled proves them as paid does."""
    return _asked(walk, "prompt", must_be_paid=False)


def payment(walk: Walk) -> Outcome:
    """Paid, by the same prompt or another: then what a sale makes."""
    test = paid(walk)
    if test is None:
        found = _asked(walk, "payment", must_be_paid=True)
        if not found.fulfilled:
            return found
        test = paid(walk)
    assert test is not None
    missing, facts = _made_of(walk, test)
    until = time.monotonic() + MAIL_LEAVES_WITHIN_S * walk.waited
    while missing and time.monotonic() < until:
        time.sleep(1)
        missing, facts = _made_of(walk, test)
    if missing:
        says = f"{test['id']} is paid, but {', and '.join(missing)}"
        return Outcome(False, says, f"python -m ops case {test['id']}; mail: docs/deploying.md, step 3")
    says = f"KES 1 paid under {facts['receipt']}; the invoice was sent, the shop has its mail"
    return Outcome(True, f"{says}, {facts['audit_rows']} rows in the audit log", facts=facts)


def _made_of(walk: Walk, test: Row) -> tuple[list[str], Row]:
    """What is missing that a sale makes; and what there is."""
    row = walk.session.database.row(
        """
        SELECT (SELECT mpesa_receipt_number FROM payment_confirmations WHERE transaction_id = t.id) AS receipt,
               (SELECT status FROM invoices WHERE transaction_id = t.id) AS invoice,
               (SELECT count(*) FROM outbox o WHERE o.transaction_id = t.id AND kind = 'sale' AND sent_at IS NULL)
                   AS untold,
               (SELECT count(*) FROM audit_log WHERE transaction_id = t.id) AS logged
        FROM transactions t WHERE id = :id
        """,
        id=test["id"],
    )
    assert row is not None
    missing = [
        *([] if row["receipt"] else ["it has no receipt number yet"]),
        *([] if row["invoice"] == "SENT" else [f"its invoice is {row['invoice'] or 'missing'}"]),
        *(["the mail of the sale to the shop has not left"] if row["untold"] else []),
    ]
    return missing, {"transaction_id": str(test["id"]), "receipt": row["receipt"], "audit_rows": row["logged"]}


def paid(walk: Walk) -> Row | None:
    """The payment of a prompt that was paid and called back."""
    found = (_payment(walk, row) for step in ("payment", "prompt") for row in _wishes(walk, step))
    return next((each for each in found if each and each["paid_at"] and each["callbacks"]), None)


def _asked(walk: Walk, step: str, *, must_be_paid: bool) -> Outcome:
    rows = _wishes(walk, step)
    for row in rows:  # also one that was given up: its callback may have come since
        ended = _payment(walk, row)
        if ended and (found := _judged(ended, must_be_paid)).fulfilled:
            return found
    wish = rows[0] if rows and _may_ring(walk, rows[0], step) else None
    asked_for = wish and _payment(walk, wish)
    if asked_for is None:
        phone = _consent(walk)
        wish = _wish(walk, step)
        refused = _ring(walk, wish, phone)
        if (asked_for := _payment(walk, wish)) is None:
            return refused or Outcome(
                False, "the shop gave no clear answer: the phone may ring", f"Wait a minute; {AGAIN}"
            )
    assert wish is not None
    walk.waited = True
    found = _judged(_followed(walk, wish), must_be_paid)
    if not found.fulfilled and found.facts.get("over"):
        walk.remember(step, FAILED, found.says, {"reference": wish["facts"]["reference"]})
    return found


# The wish -------------------------------------------------------------------------------------------------------------


def _wishes(walk: Walk, step: str, tx: Transaction | None = None) -> list[Row]:
    return [row for row in walk.rows(step, tx) if row["state"] == ASKED]


def _may_ring(walk: Walk, wish: Row, step: str, tx: Transaction | None = None) -> bool:
    """Whether this one is still being asked: it did not end, and its link did not run out unused."""
    given_up = any(row["state"] == FAILED and row["id"] > wish["id"] for row in walk.rows(step, tx))
    lasts = datetime.fromisoformat(wish["facts"]["until"]) > datetime.now(UTC)
    return not given_up and (lasts or _payment(walk, wish, tx) is not None)


def _wish(walk: Walk, step: str) -> Row:
    """On file before anything leaves; of two at once both get the first one's."""
    environ, who = walk.session.environ, walk.session.operator(walk.chosen)
    until = datetime.now(UTC) + LINK_LASTS
    reference = f"LIVE{secrets.token_hex(4).upper()}"
    link = PaymentLink.new(ONE_KES, reference, "Test of the shop", until, shop_settings(environ).name)
    facts = {
        "reference": reference,
        "order": sign(link, link_secrets(environ)[0]),
        "key": secrets.token_hex(16),
        "until": link.valid_until.isoformat(),
    }
    with walk.session.database.transaction() as tx:
        lock(tx)
        before = _wishes(walk, step, tx)
        if not before or not _may_ring(walk, before[0], step, tx):
            add_row(tx, step, ASKED, who, f"KES 1 is asked for, as order {reference}", facts)
    return _wishes(walk, step)[0]


def _consent(walk: Walk) -> str:
    """The owner's number, typed twice. Raises `NotPossible`."""
    walk.session.require_terminal("a phone will ring, so its owner types the number: run this in a terminal")
    typed = walk.session.typed
    no_number = "that is no Kenyan phone number. Nothing was sent"
    try:
        phone = read_msisdn(typed("Your own M-Pesa number, which will be asked for KES 1: "))
        show(
            f"{masked(phone)} will be asked for KES 1. Cancel it on the phone, or pay: paid proves more.", to_asker=True
        )
        again = read_msisdn(typed("If you agree, type the number again: "))
    except ValueError:
        raise NotPossible(no_number) from None
    if again != phone:
        raise NotPossible("the two numbers differ. Nothing was sent")
    return phone


# As a customer --------------------------------------------------------------------------------------------------------


def _ring(walk: Walk, wish: Row, phone: str) -> Outcome | None:
    """One request. What refused it, where no payment came of it."""
    body: dict[str, str] = {"phone_number": phone, "order": wish["facts"]["order"]}
    if email := walk.shop.given("INVOICE_EMAIL_REPLY_TO"):
        body["customer_email"] = email
    request = requests.Request(
        "POST", f"{_api(walk)}/stkpush", json=body, headers={"Idempotency-Key": wish["facts"]["key"]}
    )
    try:
        answer = send(request, Deadline.after(THE_PUSH_TAKES_S))
    except Unavailable as silent:
        return Outcome(False, f"the shop cannot be reached: {silent}", f"python -m ops doctor; then {AGAIN}")
    except Unanswered:
        return None
    said = _object(answer.body)
    detail = visible(said.get("detail") or f"HTTP {answer.status}")
    wait_s = said.get("retry_after_s")
    do_now = f"Wait {wait_s} seconds" if isinstance(wait_s, int) else "Put that right"
    return Outcome(False, f"the shop refused: {detail}", f"{do_now}; then {AGAIN}")


def _followed(walk: Walk, wish: Row) -> Row:
    """The payment, when it ended and its callback came; or as it is after some minutes."""
    found, until = _payment(walk, wish), time.monotonic() + FOLLOWS_S
    assert found is not None
    with contextlib.suppress(KeyboardInterrupt):
        show("Waiting for the phone. Ctrl-C stops the waiting, not the payment.", to_asker=True)
        while not _is_over(found) and time.monotonic() < until:
            with contextlib.suppress(Unavailable, Unanswered):  # as an open page does: it has Daraja asked
                send(requests.Request("GET", f"{_api(walk)}/status/{found['id']}"), Deadline.after(THE_PUSH_TAKES_S))
            time.sleep(ASKS_EVERY_S)
            found = _payment(walk, wish) or found
    return found


def _is_over(payment: Row) -> bool:
    """It ended, and its callback came or is late."""
    silent = payment["checkout_request_id"] and not payment["callbacks"]
    return Status(payment["status"]) not in OPEN and not (silent and payment["ended_for"] < A_CALLBACK_COMES_WITHIN)


def _api(walk: Walk) -> str:
    return callback_of(walk.shop).url.removesuffix("/callback")


def _object(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(body)
        return said if isinstance(said, dict) else {}
    return {}


# What it proves -------------------------------------------------------------------------------------------------------


def _payment(walk: Walk, wish: Row, tx: Transaction | None = None) -> Row | None:
    return (tx or walk.session.database).row(
        """
        SELECT id, status, checkout_request_id, response_code, response_message, result_code, paid_at,
               now() - updated_at AS ended_for,
               (SELECT count(*) FROM callback_inbox i WHERE i.transaction_id = t.id) AS callbacks
        FROM transactions t WHERE lower(account_reference) = lower(:reference) ORDER BY created_at DESC LIMIT 1
        """,
        reference=wish["facts"]["reference"],
    )


def _judged(payment: Row, must_be_paid: bool) -> Outcome:
    """`over` in the facts: it ended, and proves nothing."""
    status, see = Status(payment["status"]), f"python -m ops case {payment['id']}"
    if status in OPEN:
        return Outcome(
            False, f"{payment['id']} is {status}: M-Pesa has not said how it ended", f"Answer the prompt; then {AGAIN}"
        )
    if status is Status.REVIEW:
        return Outcome(False, f"{payment['id']} is in review: a person has to look", see)
    over, retry = {"over": True}, f"then {AGAIN}: it asks you again"
    if payment["checkout_request_id"] is None and not payment["callbacks"]:
        refusal = find_refusal(payment["response_code"] or "", payment["response_message"] or "")
        why = refusal.explanation if refusal else "Daraja refused, in words that nobody has explained."
        return Outcome(
            False, f"no prompt went out ({payment['response_code'] or 'not sent'}). {why}", f"{see}; {retry}", over
        )
    if not payment["callbacks"]:
        says = (
            "it ended, but only because the shop asked: no callback came. Safaricom does not reach MPESA_CALLBACK_URL"
        )
        return Outcome(False, says, f"python -m ops doctor; docs/deploying.md, step 7; {retry}", over)
    code = payment["result_code"] or ""
    known = describe(code)
    how = "paid" if payment["paid_at"] else f"{status}, code {visible(code)}"
    if payment["paid_at"] or (not must_be_paid and code in ANSWERED):
        says = f"push, passkey and callback work: {how}"
        return Outcome(True, says, facts={"transaction_id": str(payment["id"]), "result_code": code or "0"})
    note = known.operator_note if known else "Nobody has explained this code."
    wants = "This time it has to be paid. " if must_be_paid and code in ANSWERED else ""
    return Outcome(False, f"{how}. {wants}{note}", f"{see}; {retry}", over)
