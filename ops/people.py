"""Which rows speak of a person, and whether they may be erased yet. Nothing here writes.

A payment is looked at together with the other attempts at its order (same phone, amount and reference, near in time),
because the rules see them together: they are erased together, or not yet.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from shared.database import Database, Row, Transaction
from shared.gateway.outbox import MAILBOX
from shared.values import ERASED_EMAIL, HIDDEN_MSISDN, is_email_address, is_erased, read_msisdn

RECENT_H = 48
"""So long after its last change a payment stays as it is: callbacks come late, and twins are seen within 24 h."""
NEAR = timedelta(hours=RECENT_H)

_LAST_CHANGE = """
    greatest(t.updated_at, t.paid_at,
             (SELECT max(a.at) FROM audit_log a WHERE a.transaction_id = t.id AND a.event <> 'PersonErased'),
             (SELECT max(i.received_at) FROM callback_inbox i WHERE i.transaction_id = t.id))
"""
_PAYMENTS = f"""
    SELECT t.*, {_LAST_CHANGE} AS last_change, now() AS now,
           (SELECT v.customer_email FROM invoices v WHERE v.transaction_id = t.id) AS invoiced_to,
           CASE WHEN t.status IN ('INITIATED', 'PENDING', 'UNCERTAIN') THEN 'open'
                WHEN t.status = 'REVIEW' THEN 'in_review'
                WHEN {_LAST_CHANGE} > now() - interval '{RECENT_H} hours' THEN 'recent'
                WHEN EXISTS (SELECT FROM callback_inbox i WHERE i.transaction_id = t.id
                             AND (i.outcome IS NULL OR i.outcome IN ('dead_letter', 'held'))) THEN 'callback_waits'
                WHEN EXISTS (SELECT FROM outbox o WHERE o.transaction_id = t.id AND o.next_try_at IS NOT NULL
                             AND o.kind <> 'notice') THEN 'message_waits'
                WHEN t.next_query_at IS NOT NULL AND t.checkout_request_id IS NOT NULL AND NOT t.ids_are_learnt
                    THEN 'query_waits'
                WHEN t.status = 'PAID' AND NOT CAST(:nothing_owed AS boolean) AND EXISTS (
                    SELECT FROM outbox o WHERE o.transaction_id = t.id AND o.kind = 'alert' AND o.topic IN
                        ('second_receipt', 'amount_mismatch', 'reused_receipt', 'contradiction', 'ids_disagree',
                         'callback_flood')
                    AND NOT EXISTS (SELECT FROM audit_log a WHERE a.transaction_id = t.id
                                    AND a.event LIKE 'Operator%' AND a.event <> 'OperatorReopened'
                                    AND a.at >= o.created_at)) THEN 'money_may_be_owed'
           END AS not_yet
    FROM transactions t
"""  # noqa: S608  # nothing in it comes from outside
NOT_YET = {
    "open": "is open: nobody knows yet whether it will be paid",
    "in_review": "is in review: decide it first (`ops review list`)",
    "recent": f"changed within the last {RECENT_H} hours: callbacks may still come",
    "callback_waits": "has a callback that was not judged yet (`ops inbox list`)",
    "message_waits": "has an alert or an invoice that waits to be sent",
    "query_waits": "will be asked about again: Safaricom may take its failure back",
    "money_may_be_owed": (
        "is paid, and evidence came that does not fit, or was not stored in a flood: money may have to go back. Look "
        "in the portal (`ops case`); if nothing is owed, say so with --nothing-owed"
    ),
}


@dataclass(frozen=True)
class Person:
    """Whoever has this number, or this address."""

    msisdn: str | None = None
    email: str | None = None

    def has(self, payment: Row) -> bool:
        """Whether this very payment was asked of the number, or names the address."""
        addresses = {address.lower() for address in (payment["customer_email"], payment["invoiced_to"]) if address}
        return payment["phone_number"] == self.msisdn or (self.email or "").lower() in addresses

    @property
    def number(self) -> str:
        """The nine digits that are the same in every form of the number; empty where it is not known."""
        return (self.msisdn or "")[3:]

    @property
    def pattern(self) -> str:
        """For PostgreSQL: the number with anything but digits between its digits, or the address."""
        return "[^0-9]*".join(self.number) if self.email is None else whole_address(self.email)

    def is_named_in(self, text: str) -> bool:
        """Whether a short text holds the number, with anything between its digits, or the address."""
        return (bool(self.number) and self.number in re.sub("[^0-9]", "", text)) or self._has_address(text)

    def is_named_in_body(self, body: bytes) -> bool:
        """Whether a message holds the number as it is, or the address."""
        text = body.decode("utf-8", "replace")
        return (bool(self.number) and self.number in text) or self._has_address(text)

    def _has_address(self, text: str) -> bool:
        return self.email is not None and re.search(whole_address(self.email), text, re.IGNORECASE) is not None


def whole_address(email: str) -> str:
    """A pattern, for Python and for PostgreSQL, of this address in a text: jane.doe@… and o'doe@… are not doe@….

    What often stands before an address, like = / | < and quotes, ends what comes before it, though an address may
    begin with it: 'doe@…' and rcpt=doe@… are hers.
    """
    address = re.escape(email)
    part_of_another = rf"(?<![\w.+-])(?<!\w[!$%^~])(?:(?<!\w')|(?={address}'))"
    return rf"{part_of_another}{address}(?![\w-]|\.\w)"


def read_person(text: str) -> Person:
    """A phone number in any Kenyan form, or an e-mail address. ValueError says so."""
    if is_email_address(text.strip()):
        return Person(email=text.strip())
    try:
        return Person(msisdn=read_msisdn(text))
    except ValueError:
        raise ValueError("must be a Kenyan mobile number or an e-mail address") from None


@dataclass(frozen=True)
class Order:
    """Attempts at one order, near each other in time, oldest first."""

    payments: tuple[Row, ...]

    @property
    def msisdn(self) -> str:
        return str(self.payments[0]["phone_number"])

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(str(row["id"]) for row in self.payments)

    @property
    def is_erased(self) -> bool:
        return is_erased(self.msisdn)

    @property
    def not_yet(self) -> dict[str, str]:
        """Why it cannot be erased yet, by payment."""
        return {str(row["id"]): NOT_YET[row["not_yet"]] for row in self.payments if row["not_yet"]}


class People:
    """The books, as they speak of people."""

    def __init__(self, database: Database, *, nothing_owed: bool = False) -> None:
        self._database = database
        self._nothing_owed = nothing_owed

    def orders_of(self, person: Person) -> list[Order]:
        """The person's orders, each with every attempt at it, also those that name no address."""
        return self._orders(
            f"""
            o.phone_number = :phone OR {MAILBOX.format("o")} = {MAILBOX.replace("{}.customer_email", ":email")}
            """,
            lambda order: any(person.has(row) for row in order.payments),
            phone=person.msisdn,
            email=person.email,
        )

    def orders_past(self, paid: timedelta, unpaid: timedelta) -> list[Order]:
        """Orders whose person is not needed any more: so long after their last change, by whether money came."""

        def past(row: Row) -> bool:
            money_came = row["paid_at"] is not None or row["status"] == "REFUNDED"
            return bool(row["last_change"] < row["now"] - (paid if money_came else unpaid))

        return self._orders(
            """
            (o.phone_number NOT LIKE '2540%' OR o.phone_number = :hidden)
              AND o.updated_at < now() - CAST(:at_least AS interval)
            """,
            lambda order: not order.is_erased and all(map(past, order.payments)),
            at_least=min(paid, unpaid),
            hidden=HIDDEN_MSISDN,
        )

    def orders_with_contacts_past(self, age: timedelta) -> list[Order]:
        """Orders so long after their last change that names, addresses and words need not stay with them."""
        return self._orders(
            """
            o.updated_at < now() - CAST(:age AS interval)
              AND (o.customer_email <> :erased OR num_nonnulls(o.transaction_desc, o.customer_name,
                                                               o.response_message, o.result_desc, o.watched_at) > 0
                   OR EXISTS (SELECT FROM query_answers q WHERE q.transaction_id = o.id AND q.said IS NOT NULL))
            """,
            lambda order: all(row["last_change"] < row["now"] - age for row in order.payments),
            age=age,
            erased=ERASED_EMAIL,
        )

    def erased_orders_with_news(self) -> list[Order]:
        """Erased orders about which Safaricom, or a statement, has said something since."""
        return self._orders(
            """
            o.phone_number LIKE '2540%' AND o.phone_number <> :hidden AND (
                EXISTS (SELECT FROM callback_inbox i WHERE i.transaction_id = o.id AND i.erased_sha256 IS NULL)
                OR EXISTS (SELECT FROM statement_rows r
                           WHERE r.transaction_id = o.id AND num_nonnulls(r.account, r.raw) > 0))
            """,
            hidden=HIDDEN_MSISDN,
        )

    def read_again(self, tx: Transaction, order: Order) -> Order | None:
        """The order under lock, as it is now; None where it is somebody else's by now, or nobody's."""
        tx.row("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:phone AS text), 0))", phone=order.msisdn)
        ids = ",".join(order.ids)
        tx.rows(
            "SELECT id FROM transactions WHERE id = ANY (string_to_array(:ids, ',')::uuid[]) ORDER BY id FOR UPDATE",
            ids=ids,
        )
        rows = tx.rows(
            f"{_PAYMENTS} WHERE t.id = ANY (string_to_array(:ids, ',')::uuid[]) ORDER BY t.created_at, t.id",
            ids=ids,
            nothing_owed=self._nothing_owed,
        )
        return Order(tuple(rows)) if {row["phone_number"] for row in rows} == {order.msisdn} else None

    def named_elsewhere(self, person: Person, but: Iterable[str]) -> list[str]:
        """Ids of other payments, or of none, with which the person's number or address is stored."""
        rows = self._database.rows(
            """
            WITH texts AS (
                SELECT i.transaction_id, i.last_error AS words FROM callback_inbox i
                UNION ALL SELECT t.id, concat_ws(' ', t.phone_number, t.merchant_request_id, t.checkout_request_id,
                    t.account_reference, t.transaction_desc, t.customer_name, t.customer_email, t.note,
                    t.response_message, t.result_desc) FROM transactions t
                UNION ALL SELECT c.transaction_id, concat_ws(' ', c.phone_number, c.result_desc)
                    FROM payment_confirmations c
                UNION ALL SELECT v.transaction_id,
                    concat_ws(' ', v.customer_phone, v.customer_name, v.customer_email) FROM invoices v
                UNION ALL SELECT q.transaction_id, q.said FROM query_answers q
                UNION ALL SELECT o.transaction_id, o.last_error FROM outbox o)
            SELECT transaction_id FROM texts
            WHERE CASE WHEN position(lower(:address) in lower(words)) > 0 THEN words ~* :pattern END
            UNION
            SELECT coalesce(r.transaction_id, '00000000-0000-0000-0000-000000000000') FROM statement_rows r,
                   concat_ws(' ', r.account, r.raw) words
            WHERE CASE WHEN :number <> '' THEN position(:number in words) > 0
                       WHEN position(lower(:address) in lower(words)) > 0 THEN words ~* :pattern END
            UNION
            SELECT i.transaction_id FROM callback_inbox i
            WHERE CASE WHEN :number <> '' THEN position(convert_to(:number, 'UTF8') in i.body) > 0
                       WHEN position('@' in i.body) > 0 THEN encode(i.body, 'escape') ~* :pattern END
            """,
            pattern=person.pattern,
            number=person.number,
            address=person.email or "",
        )
        return sorted({str(row["transaction_id"]) for row in rows if row["transaction_id"]} - set(but))

    def in_the_audit_log(self, person: Person) -> int:
        """How many audit rows hold the number or the address: somebody wrote it into a reason."""
        row = self._database.row(
            """
            SELECT count(*) AS found FROM audit_log, concat_ws(' ', actor, reason, said) AS words
            WHERE CASE WHEN position(lower(:address) in lower(words)) > 0 THEN words ~* :pattern END
            """,
            pattern=person.pattern,
            address=person.email or "",
        )
        return int(row["found"]) if row else 0

    def order(self, transaction_id: str) -> Order | None:
        """The order a payment belongs to."""
        found = self._orders(
            "o.id = CAST(:id AS uuid)",
            lambda order: transaction_id in order.ids,
            id=transaction_id,
        )
        return found[0] if found else None

    def _orders(self, which: str, wanted: Callable[[Order], bool] = lambda _: True, **params: object) -> list[Order]:
        rows = self._database.rows(
            f"""
            {_PAYMENTS} WHERE (t.phone_number, t.amount, t.account_reference) IN (
                SELECT o.phone_number, o.amount, o.account_reference FROM transactions o WHERE {which})
            ORDER BY t.created_at, t.id
            """,  # noqa: S608  # conditions from above
            nothing_owed=self._nothing_owed,
            **params,
        )
        found: dict[object, list[list[Row]]] = defaultdict(list)
        for row in rows:
            alone = row["id"] if row["phone_number"] == HIDDEN_MSISDN else None  # nobody knows whose number it is
            near = found[row["phone_number"], row["amount"], row["account_reference"], alone]
            if near and row["created_at"] <= max(each["last_change"] for each in near[-1]) + NEAR:
                near[-1].append(row)
            else:
                near.append([row])
        orders = [Order(tuple(attempts)) for near in found.values() for attempts in near]
        return [order for order in orders if wanted(order)]
