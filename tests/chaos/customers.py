"""Orders that customers really pay at the simulator, what Safaricom would call back about them, and the truth.

Nothing here reaches the shop by itself: each test decides who tells what, and when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.database import Row
from simulator import bodies
from tests.fixtures.shop import ORDER, Shop, callback_about

PUSH = "/mpesa/stkpush/v1/processrequest"
QUERY = "/mpesa/stkpushquery/v1/query"
SAMPLE_NUMBERS = 90


def nth_order(number: int, **changes: object) -> dict[str, object]:
    """Of a sample number, with an amount and a reference that no other order of the test has."""
    phone = f"2547000000{10 + number % SAMPLE_NUMBERS}"
    return {"phone_number": phone, "amount": 100 + number, "account_reference": f"R{number:06}", **changes}


@dataclass(frozen=True)
class Pushed:
    """A payment that Daraja has accepted, with what the customer did."""

    transaction_id: str
    merchant_request_id: str
    checkout_request_id: str
    phone: str
    amount: int
    receipt: str | None
    """Of the money that moved; None where none did."""
    path: str
    """Its callback address."""

    def success(self, *, receipt: str | None = None) -> bytes:
        """The body that Safaricom sends when it was paid."""
        return callback_about(vars(self), MpesaReceiptNumber=receipt or self.receipt, PhoneNumber=int(self.phone))

    def failure(self, code: int | str, said: str) -> bytes:
        return bodies.callback(self.merchant_request_id, self.checkout_request_id, code, said, None)


def push(shop: Shop, order: dict[str, object], outcome: str = "pay", **knobs: object) -> Pushed:
    """Asked for, accepted, and decided by the customer; Safaricom calls nobody back."""
    phone = str(order["phone_number"])
    shop.simulator.client.script(phone, outcome, **{"after_s": 0, "callback_count": 0, **knobs})
    reply = shop.call("stkpush", "POST", "/api/mpesa/stkpush", {**ORDER, **order})
    assert reply.status == 202, reply.body
    return decided(shop, reply.body["transaction_id"])


def decided(shop: Shop, transaction_id: str) -> Pushed:
    """What became of an accepted push, once the customer has decided, and changed their mind where they do so."""
    found = shop.payment(transaction_id)

    def look() -> dict[str, Any] | None:
        shown = shop.simulator.client.payment(found["checkout_request_id"])
        return shown if shown["state"] != "prompt" else None

    shown = shop.simulator.client.wait_for(look, "the customer's decision", 10)
    return Pushed(
        transaction_id=str(found["id"]),
        merchant_request_id=found["merchant_request_id"],
        checkout_request_id=found["checkout_request_id"],
        phone=found["phone_number"],
        amount=int(found["amount"]),
        receipt=shown["receipt"],
        path=shop.callback_path(str(found["id"])),
    )


class Truth:
    """The simulator's ledger beside our books, one round after the other."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._known: set[str] = set()
        self.begin_round()

    def begin_round(self) -> None:
        """The simulator forgets, and Daraja is not asked any more about what our books hold by now."""
        rows = self._shop.rows("UPDATE transactions SET next_query_at = NULL RETURNING id")
        self._known = {str(row["id"]) for row in rows}
        self._shop.simulator.client.reset()
        self._shop.simulator.client.behave(query_limit_per_minute=0)

    def pushes(self) -> int:
        """Requests for a push that reached Daraja in this round."""
        return len(self._shop.simulator.client.requests(PUSH))

    def queries(self) -> int:
        return len(self._shop.simulator.client.requests(QUERY))

    def unexplained(self) -> list[str]:
        """Money that moved and is in no book, and payments in our books for which no money moved."""
        ours = {
            row["checkout_request_id"]: row
            for row in self._shop.rows(
                """
                SELECT t.*, c.mpesa_receipt_number, c.amount AS confirmed_amount,
                       ARRAY(SELECT unnest(i.receipts) FROM callback_inbox i WHERE i.transaction_id = t.id) AS told
                FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
                """
            )
            if str(row["id"]) not in self._known
        }
        ledger = self._shop.simulator.client.ledger()
        lost = [
            f"{entry['amount']} KES moved, and the payment is {_status(ours.get(entry['checkout_request_id']))}"
            for entry in ledger
            if not _accounts_for(ours.get(entry["checkout_request_id"]), entry)
        ]
        moved = {entry["checkout_request_id"] for entry in ledger}
        invented = [
            f"{row['confirmed_amount']} KES are booked as paid, and nothing moved"
            for checkout_request_id, row in ours.items()
            if row["confirmed_amount"] is not None and checkout_request_id not in moved
        ]
        return lost + invented


def _status(row: Row | None) -> str:
    return "unknown" if row is None else str(row["status"])


def _accounts_for(row: Row | None, entry: dict[str, Any]) -> bool:
    """Paid with this receipt, or on Daraja's word without one; or in review, with the receipt on file."""
    if row is None or (row["phone_number"], int(row["amount"])) != (entry["phone"], entry["amount"]):
        return False
    if row["status"] == "PAID":
        return row["mpesa_receipt_number"] in (None, entry["receipt"])
    return row["status"] == "REVIEW" and entry["receipt"] in row["told"]
