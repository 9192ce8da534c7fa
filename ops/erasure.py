"""A person leaves the database, and the money's record stays: amounts, receipts, dates, states, invoice numbers.

Each order is erased in one short transaction under the same locks as every decision, so it may run beside live
callbacks. If it is broken off, run it again. Personal values become NULL, or a placeholder where the schema needs one.
A stored callback becomes the impersonal fields that were read from it, with the SHA-256 of its bytes. The triggers
allow this only in a transaction that records who erases and why (table `erasures`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Literal, TypeAlias

from ops.books import key_of
from ops.erased_callbacks import impersonal
from ops.people import Order, People, Person
from ops.personal_columns import CONTACT, NULLED, REPLACED
from ops.statements import unclaimed
from shared.audit_chain import AuditKey, Erasure
from shared.database import Busy, CommitUnknown, Database, Row, Transaction
from shared.deadline import retry
from shared.gateway.invoices import Operator
from shared.gateway.trail import READ, Trail
from shared.values import ERASED_EMAIL

TRIES = 3
LINES_AT_ONCE = 40
Scope: TypeAlias = Literal["person", "contact", "mention", "late_evidence"]
ERASED_REFERENCE = "ERASED"
_NUMBER_AT_THE_END = re.compile(r"(?<=[0-9]{17})[17][0-9]{8}$")
"""Of a CheckoutRequestID: the moment to the millisecond, then the customer's number (captured pushes, 2025)."""


class _DryRun(Exception):
    """Everything is rolled back."""


class Eraser:
    """Erases orders, one at a time. `done` counts rows, by table."""

    def __init__(
        self,
        database: Database,
        people: People,
        trail: Trail,
        by: Operator,
        *,
        dry_run: bool = False,
        leaves: AuditKey | None = None,
    ) -> None:
        """`leaves`: signs the lines that leave the house, so that an erasure can be repeated after a restore."""
        self._database, self._people, self._trail = database, people, trail
        self._by, self._dry_run, self._leaves = by, dry_run, leaves
        self.done: Counter[str] = Counter()

    def person(self, order: Order) -> bool:
        """Everything personal about an order. False: not now, something about it is not finished."""

        def erase(tx: Transaction, now: Order) -> Counter[str]:
            digits = now.msisdn[3:] if now.is_erased else _unused_digits(tx)
            done = Counter(payments=len(now.payments))
            scope: Scope = "late_evidence" if now.is_erased else "person"
            for payment in now.payments:
                transaction_id = str(payment["id"])
                self._record(tx, transaction_id, scope)
                done["transactions"] += _replace_number(tx, payment, digits)
                done += _erase_callbacks(tx, transaction_id) + _null(tx, NULLED, transaction_id)
                done += unclaimed.forget_its_receipts(tx, transaction_id)
                done += _forget_contact(tx, transaction_id)
            self._let_leave(tx, scope, now.ids)
            return done

        return self._in_one_transaction(order, erase)

    def contact(self, order: Order) -> bool:
        """Names, addresses and words of an order, but not the number. False: not now."""

        def erase(tx: Transaction, now: Order) -> Counter[str]:
            done = Counter(payments=len(now.payments))
            for transaction_id in now.ids:
                self._record(tx, transaction_id, "contact")
                done += _null(tx, CONTACT, transaction_id) + _forget_contact(tx, transaction_id)
            return done

        return self._in_one_transaction(order, erase)

    def mention(self, transaction_id: str, person: Person) -> bool:
        """The person, where records about somebody else's payment, or about none, name them. False: not now."""

        def erase(tx: Transaction) -> Counter[str]:
            self._record(tx, transaction_id, "mention")
            if transaction_id == unclaimed.OF_NO_PAYMENT:
                done, columns = unclaimed.forget_those_naming(tx, person), {"statement_rows.raw"}
            else:
                done, columns = _forget_mention(tx, transaction_id, person)
            self._let_leave(tx, "mention", (transaction_id,), tuple(sorted(columns)))
            return Counter(mentions=1) + done

        return self._of_a_payment(transaction_id, erase)

    def mention_again(self, transaction_id: str, columns: Collection[str]) -> bool:
        """What a mention has erased from a payment's records: these columns, whatever they name. False: not now."""

        def erase(tx: Transaction) -> Counter[str]:
            self._record(tx, transaction_id, "mention")
            return Counter(mentions=1) + _forget_columns(tx, transaction_id, columns)

        return self._of_a_payment(transaction_id, erase)

    def _of_a_payment(self, transaction_id: str, erase: Callable[[Transaction], Counter[str]]) -> bool:
        order = self._people.order(transaction_id)
        if order is not None:
            return self._in_one_transaction(order, lambda tx, _: erase(tx))
        return self._attempt(erase) is not None

    def unclaimed_rows(self, age: timedelta) -> int:
        """Statement rows of no payment past their time lose what can name somebody. A thousand a transaction."""

        def erase(tx: Transaction) -> Counter[str]:
            self._record(tx, unclaimed.OF_NO_PAYMENT, "late_evidence")
            return unclaimed.forget_past(tx, age)

        in_all = 0
        while unclaimed.are_past(self._database, age) and (done := self._attempt(erase)):
            in_all += done["statement_rows"]
            if self._dry_run:
                break
        return in_all

    def _in_one_transaction(self, order: Order, erase: Callable[[Transaction, Order], Counter[str]]) -> bool:
        def locked(tx: Transaction) -> Counter[str] | None:
            now = self._people.read_again(tx, order)
            return None if now is None or now.not_yet else erase(tx, now)

        return self._attempt(locked) is not None

    def _attempt(self, work: Callable[[Transaction], Counter[str] | None]) -> Counter[str] | None:
        """One transaction, tried again when somebody else was quicker, or COMMIT was not answered."""
        done = retry(lambda: self._once(work), (Busy, CommitUnknown), tries=TRIES)
        self.done += done or Counter()
        return done

    def _once(self, work: Callable[[Transaction], Counter[str] | None]) -> Counter[str] | None:
        done = None
        with contextlib.suppress(_DryRun), self._database.transaction() as tx:
            done = work(tx)
            if self._dry_run:
                raise _DryRun
        return done

    def _let_leave(self, tx: Transaction, scope: Scope, ids: Sequence[str], columns: tuple[str, ...] = ()) -> None:
        now = tx.row("SELECT now() AS at")
        if self._leaves is not None and now is not None:
            _leave(tx, [Erasure(now["at"], scope, each, columns).line(self._leaves) for each in ids])

    def _record(self, tx: Transaction, transaction_id: str, scope: Scope) -> None:
        """Who and why: once for the triggers, which allow what follows, and once for the audit log."""
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


def _leave(tx: Transaction, lines: Sequence[str]) -> None:
    """Each leaves twice, as an anchor does: into the log and by mail. Those that still wait leave together."""
    for way in ("log", "mail"):
        for start in range(0, len(lines), LINES_AT_ONCE):
            tx.run(
                """
                WITH added AS (
                    UPDATE outbox SET facts = jsonb_build_object('lines', (facts -> 'lines') || CAST(:lines AS jsonb))
                    WHERE id = (SELECT max(id) FROM outbox WHERE kind = 'erasure' AND topic = :way
                                  AND next_try_at IS NOT NULL AND tries = 0 AND octet_length(facts::text) < 8000)
                      AND next_try_at IS NOT NULL AND tries = 0 RETURNING id)
                INSERT INTO outbox (kind, topic, facts)
                SELECT 'erasure', :way, jsonb_build_object('lines', CAST(:lines AS jsonb))
                WHERE NOT EXISTS (SELECT FROM added)
                """,
                way=way,
                lines=json.dumps(lines[start : start + LINES_AT_ONCE]),
            )


# One payment ----------------------------------------------------------------------------------------------------------


def _null(tx: Transaction, columns_of: dict[str, tuple[str, ...]], transaction_id: str) -> Counter[str]:
    done: Counter[str] = Counter()
    for table, columns in columns_of.items():
        done[table] = tx.run(
            f"UPDATE {table} SET {', '.join(f'{column} = NULL' for column in columns)} "  # noqa: S608  # names above
            f"WHERE {key_of(table)} = CAST(:id AS uuid) AND num_nonnulls({', '.join(columns)}) > 0",
            id=transaction_id,
        )
    return done


def _forget_contact(tx: Transaction, transaction_id: str) -> Counter[str]:
    """The addresses, and what the browser sent. Whoever has an invoice keeps the placeholder of an address."""
    done: Counter[str] = Counter()
    done["transactions"] = tx.run(
        """
        UPDATE transactions t SET customer_email = (
            SELECT CAST(:erased AS text) FROM invoices v WHERE v.transaction_id = t.id)
        WHERE id = CAST(:id AS uuid) AND customer_email <> :erased
        """,
        id=transaction_id,
        erased=ERASED_EMAIL,
    )
    done["invoices"] = tx.run(
        """
        UPDATE invoices SET customer_email = :erased
        WHERE transaction_id = CAST(:id AS uuid) AND customer_email <> :erased
        """,
        id=transaction_id,
        erased=ERASED_EMAIL,
    )
    done["idempotency_keys"] = tx.run(
        "DELETE FROM idempotency_keys WHERE transaction_id = CAST(:id AS uuid)", id=transaction_id
    )
    return done


def _replace_number(tx: Transaction, payment: Row, digits: str) -> int:
    """The number becomes these digits, also in Daraja's ids; an order reference that names the person goes."""
    number = str(payment["phone_number"])[3:]
    name = str(payment["customer_name"] or "").lower().split()
    reference = payment["account_reference"]
    if number in reference or any(len(part) > 2 and part in reference.lower() for part in name):
        reference = ERASED_REFERENCE
    return _replace_on_payment(
        tx,
        payment,
        phone_number=f"254{digits}",
        account_reference=reference,
        **{
            column: _NUMBER_AT_THE_END.sub(digits, payment[column].replace(number, digits))
            for column in ("merchant_request_id", "checkout_request_id")
            if payment[column] is not None
        },
    )


def _replace_on_payment(tx: Transaction, payment: Row, **values: str) -> int:
    changed = {column: value for column, value in values.items() if value != payment[column]}
    if not changed:
        return 0
    sets = ", ".join(f"{column} = :{column}" for column in changed)
    return tx.run(f"UPDATE transactions SET {sets} WHERE id = :id", id=payment["id"], **changed)  # noqa: S608


def _forget_mention(tx: Transaction, transaction_id: str, person: Person) -> tuple[Counter[str], set[str]]:
    """Each value that names the person: NULL, or its placeholder. And the columns in which one did."""
    done = _erase_callbacks(tx, transaction_id, only=person)
    columns_of_all = {"callback_inbox.body"} if done.total() else set()
    for table, columns in NULLED.items():
        whose = f"WHERE {key_of(table)} = CAST(:id AS uuid)"
        for row in tx.rows(f"SELECT * FROM {table} {whose}", id=transaction_id):  # noqa: S608
            if naming := [column for column in columns if person.is_named_in(str(row[column] or ""))]:
                sets = ", ".join(f"{column} = NULL" for column in naming)
                done[table] += tx.run(f"UPDATE {table} SET {sets} WHERE id = :id", id=row["id"])  # noqa: S608
                columns_of_all |= {f"{table}.{column}" for column in naming}
    payment = tx.row("SELECT * FROM transactions WHERE id = CAST(:id AS uuid)", id=transaction_id)
    if payment is None:
        return done, columns_of_all
    named = [name for name in REPLACED["transactions"] if person.is_named_in(str(payment[name] or ""))]
    number, digits = (person.msisdn or "")[3:], _unused_digits(tx)
    ids = {name: payment[name].replace(number, digits) for name in named if name.endswith("_request_id") and number}
    reference = {name: ERASED_REFERENCE for name in named if name == "account_reference"}
    done["transactions"] += _replace_on_payment(tx, payment, **ids, **reference)
    if "customer_email" in named:
        done += _forget_contact(tx, transaction_id)
    return done, columns_of_all | {f"transactions.{name}" for name in named}


def _forget_columns(tx: Transaction, transaction_id: str, columns: Collection[str]) -> Counter[str]:
    """The same where nobody knows any more whom they named."""
    nulled = {
        table: chosen
        for table, names in NULLED.items()
        if (chosen := tuple(name for name in names if f"{table}.{name}" in columns))
    }
    done = _null(tx, nulled, transaction_id)
    if "callback_inbox.body" in columns:
        done += _erase_callbacks(tx, transaction_id)
    payment = tx.row("SELECT * FROM transactions WHERE id = CAST(:id AS uuid)", id=transaction_id)
    if payment is None:
        return done
    named = [name for name in REPLACED["transactions"] if f"transactions.{name}" in columns and payment[name]]
    digits = _unused_digits(tx)
    ids = {each: _NUMBER_AT_THE_END.sub(digits, payment[each]) for each in named if each.endswith("_request_id")}
    reference = {name: ERASED_REFERENCE for name in named if name == "account_reference"}
    done["transactions"] += _replace_on_payment(tx, payment, **ids, **reference)
    return done + _forget_contact(tx, transaction_id) if "customer_email" in named else done


def _unused_digits(tx: Transaction) -> str:
    """Nine digits that begin with 0 and stand for nobody yet."""
    while True:
        digits = f"0{secrets.randbelow(10**8):08}"
        if tx.row("SELECT id FROM transactions WHERE phone_number = :phone", phone=f"254{digits}") is None:
            return digits


# Callbacks ------------------------------------------------------------------------------------------------------------


def _erase_callbacks(tx: Transaction, transaction_id: str, only: Person | None = None) -> Counter[str]:
    """What each said about the money stands in place of its bytes. `only`: those that name this person."""
    rows = tx.rows(
        "SELECT id, body FROM callback_inbox WHERE transaction_id = CAST(:id AS uuid) AND erased_sha256 IS NULL",
        id=transaction_id,
    )
    done: Counter[str] = Counter()
    for row in rows:
        body = bytes(row["body"])
        if only is None or only.is_named_in_body(body):
            done["callback_inbox"] += tx.run(
                "UPDATE callback_inbox SET body = :body, erased_sha256 = :sha256, last_error = NULL WHERE id = :id",
                id=row["id"],
                body=impersonal(body),
                sha256=hashlib.sha256(body).hexdigest(),
            )
    return done
