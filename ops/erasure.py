"""A person's values leave the books; the money stays: amounts, receipts, dates, states, and what Safaricom said.

Each order is one short database transaction under the same locks as every decision, so it may run beside live
callbacks. What was done stays done when it is broken off: run it again. Evidence is rewritten in the one
way the schema allows, in the transaction that records who erases and why (table `erasures`), and replay makes the same
states of it.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ops.people import Order, People, Person
from ops.redaction import Redaction, nine_digits, numbers_told
from shared.daraja.callback_reader import CallbackUnreadable, read_callback
from shared.database import Busy, CommitUnknown, Database, Row, Transaction
from shared.erased import ERASED_EMAIL, number_told
from shared.gateway.trail import READ, Trail
from shared.payments import Ids

TRIES = 3
Scope: TypeAlias = Literal["person", "contact", "mention", "late_evidence"]
TEXTS: dict[str, tuple[str, ...]] = {
    "transactions": (
        "phone_number",
        "merchant_request_id",
        "checkout_request_id",
        "account_reference",
        "transaction_desc",
        "customer_email",
        "customer_name",
        "response_message",
        "result_desc",
    ),
    "callback_inbox": ("body", "last_error"),
    "query_answers": ("said",),
    "payment_confirmations": ("phone_number", "result_desc"),
    "invoices": ("customer_email", "customer_name", "customer_phone"),
    "outbox": ("last_error",),
}
"""Where a number, a name or an address may stand. The audit log is free of them, and never changes."""
_AT_THE_END = re.compile(r"[0-9]{17}([17][0-9]{8})$")
"""A CheckoutRequestID: the moment to the millisecond, then the customer's number (captured pushes, 2025)."""


@dataclass(frozen=True)
class By:
    """For the audit log: who erases, and why. Never whom."""

    who: str
    why: str


class _OnlyTried(Exception):
    """A dry run: everything is rolled back."""


class Eraser:
    """Erases orders, one at a time. `done` counts rows, by table."""

    def __init__(self, database: Database, people: People, trail: Trail, by: By, *, dry_run: bool = False) -> None:
        self._database, self._people, self._trail = database, people, trail
        self._by, self._dry_run = by, dry_run
        self.done: Counter[str] = Counter()

    def person(self, order: Order) -> bool:
        """Everything personal about an order. False: not now, something about it is not finished."""
        scope: Scope = "late_evidence" if order.is_erased else "person"

        def erase(tx: Transaction, now: Order) -> Counter[str]:
            redaction = _of_everybody(tx, now)
            done = Counter(payments=len(now.payments))
            for transaction_id in now.ids:
                self._record(tx, transaction_id, scope)
                rewritten = _rewrite(tx, transaction_id, redaction)
                done += rewritten | _empty(tx, transaction_id) | _name_nobody(tx, transaction_id)
            return done

        return self._in_one_transaction(order, erase)

    def contact(self, order: Order) -> bool:
        """Names, addresses and words of an order, but not the number. False: not now."""

        def erase(tx: Transaction, now: Order) -> Counter[str]:
            done = Counter(payments=len(now.payments))
            for transaction_id in now.ids:
                self._record(tx, transaction_id, "contact")
                done += _empty(tx, transaction_id)
            return done

        return self._in_one_transaction(order, erase)

    def mention(self, transaction_id: str, person: Person) -> bool:
        """The person, where the evidence about somebody else's payment, or about none, names them. False: not now."""
        number = (person.msisdn or "")[3:]

        def erase(tx: Transaction) -> Counter[str]:
            self._record(tx, transaction_id, "mention")
            numbers = {number: _digits_of_its_push(tx, transaction_id, number) or _fresh(tx)} if number else {}
            words = (person.email,) if person.email else ()
            return Counter(mentions=1) + _rewrite(tx, transaction_id, Redaction(numbers, words))

        order = self._people.order(transaction_id)
        if order is not None:
            return self._in_one_transaction(order, lambda tx, _: erase(tx))
        return self._attempt(erase) is not None

    def _in_one_transaction(self, order: Order, erase: Callable[[Transaction, Order], Counter[str]]) -> bool:
        def locked(tx: Transaction) -> Counter[str] | None:
            now = self._people.read_again(tx, order)
            return None if now is None or now.not_yet else erase(tx, now)

        return self._attempt(locked) is not None

    def _attempt(self, work: Callable[[Transaction], Counter[str] | None]) -> Counter[str] | None:
        """One transaction, tried again when somebody else was quicker, or COMMIT was not answered."""
        tries_left = TRIES
        while True:
            tries_left -= 1
            done: Counter[str] | None = None
            try:
                with self._database.transaction() as tx:
                    done = work(tx)
                    if self._dry_run:
                        raise _OnlyTried
            except _OnlyTried:
                pass
            except (Busy, CommitUnknown):
                if tries_left:
                    continue
                raise
            self.done += done or Counter()
            return done

    def _record(self, tx: Transaction, transaction_id: str, scope: Scope) -> None:
        """Who and why, once for the triggers and once for the audit log: what follows may be rewritten from here on."""
        tx.run(
            "INSERT INTO erasures (transaction_id, scope, who, why) VALUES (CAST(:id AS uuid), :scope, :who, :why)",
            id=transaction_id,
            scope=scope,
            who=self._by.who,
            why=self._by.why,
        )
        payment = tx.row(
            f"SELECT t.status, t.audit_length, t.audit_head, {READ} FROM transactions t WHERE id = CAST(:id AS uuid)",  # noqa: S608
            id=transaction_id,
        )
        if payment is not None:
            self._trail.note(
                tx,
                payment,
                transaction_id,
                actor=f"operator {self._by.who}",
                event="PersonErased",
                outcome=scope,
                reason=self._by.why,
            )


# One payment ----------------------------------------------------------------------------------------------------------


def _rewrite(tx: Transaction, transaction_id: str, redaction: Redaction) -> Counter[str]:
    """Every text and every callback about a payment, without the person."""
    done: Counter[str] = Counter()
    for table, columns in TEXTS.items():
        key = "id" if table == "transactions" else "transaction_id"
        rows = tx.rows(
            f"SELECT id, {', '.join(columns)} FROM {table} WHERE {key} = CAST(:id AS uuid)",  # noqa: S608  # names above
            id=transaction_id,
        )
        for row in rows:
            changed = {
                column: new for column in columns if (new := _without(redaction, column, row[column])) != row[column]
            }
            if changed:
                sets = ", ".join(f"{column} = :{column}" for column in changed)
                tx.run(f"UPDATE {table} SET {sets} WHERE id = :id", id=row["id"], **changed)  # noqa: S608
                done[table] += 1
    return done


def _without(redaction: Redaction, column: str, value: object) -> object:
    if isinstance(value, str):
        return redaction.address(value) if column == "customer_email" else redaction.text(value)
    return redaction.body(bytes(value)) if isinstance(value, bytes | bytearray | memoryview) else value


def _empty(tx: Transaction, transaction_id: str) -> Counter[str]:
    """What only served to reach the customer, or to talk about the payment."""
    row = tx.row(
        """
        WITH emptied AS (
            UPDATE transactions SET transaction_desc = NULL, customer_name = NULL, watched_at = NULL,
                   customer_email = CASE WHEN EXISTS (SELECT FROM invoices v WHERE v.transaction_id = transactions.id)
                                         THEN :erased END
            WHERE id = CAST(:id AS uuid) AND (transaction_desc, customer_name, watched_at, customer_email)
                                             IS DISTINCT FROM (NULL, NULL, NULL, NULL)
            RETURNING id),
        addressed AS (
            UPDATE invoices SET customer_email = :erased, customer_name = NULL
            WHERE transaction_id = CAST(:id AS uuid) RETURNING id),
        answered AS (
            UPDATE query_answers SET said = 'erased' WHERE transaction_id = CAST(:id AS uuid) AND said <> 'erased'
            RETURNING id),
        keyed AS (
            DELETE FROM idempotency_keys WHERE transaction_id = CAST(:id AS uuid) RETURNING key)
        SELECT (SELECT count(*) FROM emptied) AS transactions, (SELECT count(*) FROM addressed) AS invoices,
               (SELECT count(*) FROM answered) AS query_answers, (SELECT count(*) FROM keyed) AS idempotency_keys
        """,
        id=transaction_id,
        erased=ERASED_EMAIL,
    )
    return Counter(row)


def _name_nobody(tx: Transaction, transaction_id: str) -> Counter[str]:
    """Whatever number the confirmation and the invoice still show, also a masked one."""
    changed = tx.run(
        """
        WITH nobody AS (SELECT id, phone_number FROM transactions WHERE id = CAST(:id AS uuid)),
        invoiced AS (
            UPDATE invoices v SET customer_phone = nobody.phone_number FROM nobody
            WHERE v.transaction_id = nobody.id AND v.customer_phone IS NOT NULL)
        UPDATE payment_confirmations c SET phone_number = nobody.phone_number FROM nobody
        WHERE c.transaction_id = nobody.id AND c.phone_number IS NOT NULL
        """,
        id=transaction_id,
    )
    return Counter(payment_confirmations=changed)


# What stands for whom -------------------------------------------------------------------------------------------------


def _of_everybody(tx: Transaction, order: Order) -> Redaction:
    """All the numbers and words that the order and its evidence name. Different numbers stay different."""
    digits = order.msisdn[3:] if order.is_erased else _fresh(tx)
    numbers = {} if order.is_erased else {order.msisdn[3:]: digits}
    others: list[str] = []
    for row in order.payments:
        bodies = [bytes(each["body"]) for each in _rows(tx, "body", "callback_inbox", row)]
        payers = [each["phone_number"] for each in _rows(tx, "phone_number", "payment_confirmations", row)]
        stored = _ids(row["merchant_request_id"], row["checkout_request_id"])
        for told in filter(None, [stored, *map(_told_ids, bodies)]):
            number = number_told(stored, told, order.msisdn)
            if number is not None and number != digits:
                numbers[number] = digits
            others += _AT_THE_END.findall(told.checkout_request_id)
        others += [number for payer in payers if (number := nine_digits(payer or ""))]
        others += sorted({number for body in bodies for number in numbers_told(body)})
    for number in others:
        if number not in numbers:
            numbers[number] = _fresh(tx) if digits in numbers.values() else digits
    words = {row[column] for row in order.payments for column in ("customer_name", "customer_email", "invoiced_to")}
    return Redaction(numbers, tuple(sorted(words - {None, ERASED_EMAIL})), whole_person=True)


def _rows(tx: Transaction, column: str, table: str, payment: Row) -> list[Row]:
    return tx.rows(f"SELECT {column} FROM {table} WHERE transaction_id = :id", id=payment["id"])  # noqa: S608


def _told_ids(body: bytes) -> Ids | None:
    told = read_callback(body)
    if isinstance(told, CallbackUnreadable):
        return None
    return _ids(told.ids.merchant_request_id, told.ids.checkout_request_id)


def _ids(merchant_id: str | None, checkout_id: str | None) -> Ids | None:
    return Ids(merchant_id, checkout_id) if merchant_id is not None and checkout_id is not None else None


def _digits_of_its_push(tx: Transaction, transaction_id: str, number: str) -> str | None:
    """A callback that names another, erased payment's push names it by the same digits afterwards."""
    for row in tx.rows("SELECT body FROM callback_inbox WHERE transaction_id = CAST(:id AS uuid)", id=transaction_id):
        told = _told_ids(bytes(row["body"]))
        found = told and tx.row(
            """
            SELECT phone_number FROM transactions WHERE phone_number LIKE '2540%'
            AND checkout_request_id = replace(CAST(:told AS text), CAST(:number AS text), substr(phone_number, 4))
            """,
            told=told.checkout_request_id,
            number=number,
        )
        if found:
            return str(found["phone_number"])[3:]
    return None


def _fresh(tx: Transaction) -> str:
    """Nine digits that begin with 0 and stand for nobody yet."""
    while True:
        digits = f"0{secrets.randbelow(10**8):08}"
        if tx.row("SELECT id FROM transactions WHERE phone_number = :phone", phone=f"254{digits}") is None:
            return digits
