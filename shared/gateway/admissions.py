"""Row before push: a payment is admitted, under its phone's lock, before M-Pesa hears of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.database_errors import CommitUnknown, ConstraintBroken, DatabaseUnavailable
from shared.payments import Status

if TYPE_CHECKING:
    from shared.database import Transaction
    from shared.gateway.store import Store


@dataclass(frozen=True)
class Order:
    """What a customer asked for, checked and normalised."""

    msisdn: str
    amount_kes: Decimal
    account_reference: str
    transaction_desc: str | None = None
    customer_email: str | None = None
    customer_name: str | None = None


@dataclass(frozen=True)
class IdempotencyKey:
    key: str
    fingerprint: str
    """Of the normalised order: the same key with another fingerprint is a mistake of the caller."""


@dataclass(frozen=True)
class Admitted:
    """A new row, committed: push now, once."""

    transaction_id: str


@dataclass(frozen=True)
class SeenBefore:
    """The key's own payment, wherever it is by now."""

    transaction_id: str
    status: Status
    checkout_request_id: str | None


@dataclass(frozen=True)
class KeyMismatch:
    """The key was used for another order."""


@dataclass(frozen=True)
class TooSoon:
    """A push for the same phone with the same amount or reference may still be paid."""

    retry_after_s: int


Admission = Admitted | SeenBefore | KeyMismatch | TooSoon


class Admissions:
    """Who may be asked for money, and when."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def admit(self, order: Order, key: IdempotencyKey | None) -> Admission:
        """One transaction under the phone's lock: the key's payment, a refusal, or a new row that is INITIATED."""
        transaction_id = str(uuid.uuid4())
        try:
            return self._admit(transaction_id, order, key)
        except ConstraintBroken as broken:
            if broken.constraint != "idempotency_keys_pkey":
                raise
            return self._admit(transaction_id, order, key)  # the key came in for another phone just now: read it
        except CommitUnknown:
            return self._read_back(transaction_id, order)

    def _admit(self, transaction_id: str, order: Order, key: IdempotencyKey | None) -> Admission:
        with self._store.transaction() as tx:
            _lock_phone(tx, order.msisdn)
            (row,) = tx.rows(
                """
                SELECT k.fingerprint, k.transaction_id, t.status, t.checkout_request_id, g.retry_after_s
                FROM (SELECT max(greatest(extract(epoch FROM o.pushed_at - now()) + 120, 15)) AS retry_after_s
                      FROM transactions o
                      WHERE o.phone_number = :phone AND (o.amount = :amount OR o.account_reference = :reference)
                        AND (o.status IN ('INITIATED', 'PENDING', 'UNCERTAIN')
                             AND o.created_at > now() - interval '15 minutes'
                             OR o.pushed_at > now() - interval '120 seconds'
                                AND NOT (o.status IN ('FAILED', 'CANCELLED', 'EXPIRED')
                                         AND coalesce(o.result_code, '') IN ('1', '1032', '2001')))) g
                LEFT JOIN idempotency_keys k ON k.key = :key
                LEFT JOIN transactions t ON t.id = k.transaction_id
                """,
                phone=order.msisdn,
                amount=order.amount_kes,
                reference=order.account_reference,
                key=key.key if key else None,
            )
            if key and row["transaction_id"] is not None:
                if row["fingerprint"] != key.fingerprint:
                    return KeyMismatch()
                return SeenBefore(str(row["transaction_id"]), Status(row["status"]), row["checkout_request_id"])
            if row["retry_after_s"] is not None:
                return TooSoon(int(row["retry_after_s"]) + 1)
            self._insert(tx, transaction_id, order, key)
            return Admitted(transaction_id)

    def _insert(self, tx: Transaction, transaction_id: str, order: Order, key: IdempotencyKey | None) -> None:
        tx.run(
            """
            WITH admitted AS (
                INSERT INTO transactions (id, phone_number, amount, account_reference, transaction_desc, customer_email,
                                          customer_name, pushed_at)
                VALUES (CAST(:id AS uuid), :phone, :amount, :reference, :description, :email, :name, now())
                RETURNING id),
            remembered AS (
                INSERT INTO idempotency_keys (key, fingerprint, transaction_id)
                SELECT CAST(:key AS text), CAST(:fingerprint AS text), id FROM admitted
                WHERE CAST(:key AS text) IS NOT NULL)
            INSERT INTO audit_log (transaction_id, actor, event, outcome, to_status)
            SELECT id, 'stkpush', 'Order', 'admitted', 'INITIATED' FROM admitted
            """,
            id=transaction_id,
            phone=order.msisdn,
            amount=order.amount_kes,
            reference=order.account_reference,
            description=order.transaction_desc,
            email=order.customer_email,
            name=order.customer_name,
            key=key.key if key else None,
            fingerprint=key.fingerprint if key else None,
        )

    def _read_back(self, transaction_id: str, order: Order) -> Admitted:
        """The answer to COMMIT was lost, and nothing was sent yet: the row says whether the payment was admitted."""
        with self._store.transaction() as tx:
            _lock_phone(tx, order.msisdn)  # whoever still commits it holds this lock
            if tx.row("SELECT id FROM transactions WHERE id = CAST(:id AS uuid)", id=transaction_id):
                return Admitted(transaction_id)
        raise DatabaseUnavailable("Nothing was done: the connection was lost before the payment was admitted.")


def _lock_phone(tx: Transaction, msisdn: str) -> None:
    """One decision about a phone at a time, until this transaction ends. Always taken before any row's lock."""
    tx.row("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:phone AS text), 0))", phone=msisdn)
