"""Admits a push or refuses it: every limit is counted here, and the row is written before M-Pesa hears of it.

What concerns one phone is read under the phone's lock. What spans phones is counted just before the row is inserted,
under one lock for the whole shop. So a flood at one phone is refused without holding up another customer, and no
number of instances exceeds a limit together.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.admission import (
    AboveLimit,
    Admission,
    Admitted,
    AlreadyPaid,
    Asked,
    AskFirst,
    KeyMismatch,
    Recovering,
    TooMany,
    TooSoon,
)
from shared.database.errors import CommitUnknown, DatabaseUnavailable
from shared.gateway.alerts import incident
from shared.gateway.trail import READ
from shared.limits import ASKED_FOR_EACH_PROMPT, REST_S, Limits, MoneyLimit, Scope
from shared.payments import Status
from shared.values import new_id

if TYPE_CHECKING:
    from shared.database import Database, Row, Transaction
    from shared.gateway.trail import Trail
    from shared.orders import IdempotencyKey, Order


class Admissions:
    """Who may be asked for money, and when."""

    def __init__(self, store: Database, trail: Trail, *, references_are_reusable: bool) -> None:
        self._store = store
        self._trail = trail
        self._reusable = references_are_reusable

    def seen(self, key: IdempotencyKey) -> Asked | KeyMismatch | None:
        """The key's own payment; None where there is none, or where its push is being admitted just now."""
        row = self._store.row(
            f"""
            SELECT {OF_KEY} FROM idempotency_keys k JOIN transactions t ON t.id = k.transaction_id WHERE k.key = :key
            """,
            key=key.key,
        )
        return None if row is None else _seen(row, key)

    def alert_of_catalogue(self) -> None:
        """Nobody can pay: this deploy has no catalogue that can be used. Alerted when it begins, and once a day."""
        with self._store.transaction() as tx:
            incident(tx, "shop_misconfigured", {}, part="catalogue")

    def admit(
        self, order: Order, key: IdempotencyKey | None, limits: Limits, caller: str, asked: tuple[str, ...] = ()
    ) -> Admission:
        """One transaction under the phone's lock: the key's payment, a refusal, or a new row that is INITIATED.

        `caller` is the digest that the caller's address is counted under; `asked` are payments that were asked about.
        """
        transaction_id = new_id()
        try:
            return self._admit(transaction_id, order, key, limits, caller, asked)
        except CommitUnknown:
            return self._read_back(transaction_id, order)

    def _admit(
        self,
        transaction_id: str,
        order: Order,
        key: IdempotencyKey | None,
        limits: Limits,
        caller: str,
        asked: tuple[str, ...],
    ) -> Admission:
        with self._store.transaction() as tx:
            _lock_phone(tx, order.msisdn)
            once = not self._reusable
            if once or order.link_digest is not None:
                lock_reference(tx, order.account_reference)
            row = _what_is_known(tx, order, key, limits, asked, once=once)
            if key and row["transaction_id"] is not None:
                return _seen(row, key)
            if row["recovering"]:
                return Recovering()
            if row["already_paid"]:
                return AlreadyPaid()
            refusal = _refused_by_its_phone(row, order, limits)
            if refusal is not None:
                return refusal
            if row["ask_first"] is not None:
                return AskFirst(tuple(row["ask_first"].split()))
            room = _room(tx, order, limits, caller)
            match room["refused_by"]:
                case None:
                    self._insert(tx, row, transaction_id, order, key, caller)
                    return Admitted(transaction_id)
                case "shop_day":
                    _alert_hourly(tx, "shop_day_limit")
                    return AboveLimit(MoneyLimit.SHOP_DAY, None, _whole(room["retry_after_s"]))
                case scope:
                    if scope == Scope.SHOP:
                        _alert_hourly(tx, "shop_push_limit")
                    return TooMany(Scope(scope), _whole(room["retry_after_s"]))

    def _insert(
        self, tx: Transaction, known: Row, transaction_id: str, order: Order, key: IdempotencyKey | None, caller: str
    ) -> None:
        """The row, its key, its caller and its audit row, with COMMIT."""
        signed = self._trail.sign(
            known,
            transaction_id,
            actor="stkpush",
            event="Order",
            outcome="admitted",
            from_status=None,
            to_status=Status.INITIATED.value,
        )
        tx.later(
            """
            INSERT INTO transactions (id, phone_number, amount, account_reference, transaction_desc, customer_email,
                                      customer_name, note, items, link_digest, lang, pushed_at, audit_length,
                                      audit_head)
            VALUES (CAST(:id AS uuid), :phone, :amount, :reference, :description, :email, :name, :note,
                    CAST(:items AS jsonb), CAST(:link AS bytea), :lang, now(), :audit_length, :audit_head)
            """,
            id=transaction_id,
            phone=order.msisdn,
            amount=order.amount_kes,
            reference=order.account_reference,
            description=order.transaction_desc,
            email=order.customer_email,
            name=order.customer_name,
            note=order.note,
            items=None if order.items is None else json.dumps([line.stored() for line in order.items]),
            link=order.link_digest,
            lang=order.lang,
            **signed.payment,
        )
        if key is not None:
            tx.later(
                """
                INSERT INTO idempotency_keys (key, fingerprint, transaction_id)
                VALUES (:key, :fingerprint, CAST(:id AS uuid))
                """,
                key=key.key,
                fingerprint=key.fingerprint,
                id=transaction_id,
            )
        tx.later("INSERT INTO push_callers (address_digest) VALUES (:caller)", caller=caller)
        self._trail.write(tx, signed)

    def _read_back(self, transaction_id: str, order: Order) -> Admitted:
        """The answer to COMMIT was lost, and nothing was sent yet: the row says whether the payment was admitted."""
        with self._store.transaction() as tx:
            _lock_phone(tx, order.msisdn)  # whoever still commits it holds this lock
            if tx.row("SELECT id FROM transactions WHERE id = CAST(:id AS uuid)", id=transaction_id):
                return Admitted(transaction_id)
        raise DatabaseUnavailable("Nothing was done: the connection was lost before the payment was admitted.")


def _room(tx: Transaction, order: Order, limits: Limits, caller: str) -> Row:
    """Whether the caller and the shop have room for one more push: `refused_by` and `retry_after_s`."""
    (room,) = tx.rows(
        """
        SELECT refused_by, retry_after_s
        FROM room_for_push(CAST(:caller AS text), CAST(:most_by_caller AS integer), CAST(:most_in_shop AS integer),
                           CAST(:amount AS numeric), CAST(:most_kes AS numeric))
        """,
        caller=caller,
        most_by_caller=limits.address_pushes_an_hour,
        most_in_shop=limits.shop_pushes_a_minute,
        amount=order.amount_kes,
        most_kes=limits.shop_kes_a_day,
    )
    return room


def _lock_phone(tx: Transaction, msisdn: str) -> None:
    """One decision about a phone at a time, until this transaction ends. Always taken before any row's lock."""
    tx.later("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:phone AS text), 0))", phone=msisdn)


def lock_reference(tx: Transaction, reference: str) -> None:
    """One decision about an order at a time, until this transaction ends. Always taken after the phone's lock."""
    tx.later("SELECT pg_advisory_xact_lock(hashtextextended(lower(CAST(:reference AS text)), 3))", reference=reference)


def _seen(row: Row, key: IdempotencyKey) -> Asked | KeyMismatch:
    if row["fingerprint"] != key.fingerprint:
        return KeyMismatch()
    payment = Status(row["status"]), row["checkout_request_id"], row["amount"], row["account_reference"]
    return Asked(str(row["transaction_id"]), *payment)


OF_KEY = "k.fingerprint, k.transaction_id, t.status, t.checkout_request_id, t.amount, t.account_reference"


def _what_is_known(
    tx: Transaction,
    order: Order,
    key: IdempotencyKey | None,
    limits: Limits,
    asked: tuple[str, ...],
    *,
    once: bool,
) -> Row:
    """The key's payment; whether the order is paid; and of the phone: is it too soon, how long it rests, today's sum.

    Answered: somebody entered a PIN, also a wrong one or without the money (codes 2001 and 1), or a person has to look.
    """
    (row,) = tx.rows(
        f"""
        WITH known AS MATERIALIZED (
            SELECT o.id, o.amount, o.account_reference, o.status, o.created_at, o.last_query_at,
                   CASE WHEN o.pushed_at <= now() + interval '1 minute' THEN o.pushed_at END AS pushed_at,
                   o.amount = :amount OR lower(o.account_reference) = lower(:reference) OR o.phone_number <> :phone
                       AS alike, -- of another phone it is the same link
                   o.phone_number = :phone AS of_phone,
                   o.status IN ('INITIATED', 'PENDING', 'UNCERTAIN') AS open,
                   o.checkout_request_id IS NOT NULL AND NOT o.ids_are_learnt AS can_be_asked,
                   o.status IN ('FAILED', 'CANCELLED', 'EXPIRED') AS failed,
                   o.status IN ('PAID', 'REFUNDED', 'REVIEW')
                   OR o.status = 'FAILED' AND coalesce(o.result_code, '') IN ('1', '2001') AS answered,
                   coalesce(o.result_code, '') AS result_code
            FROM transactions o
            WHERE (o.phone_number = :phone OR o.link_digest = CAST(:link AS bytea))
              AND o.created_at > now() - interval '25 hours'),
        recent AS (SELECT * FROM known WHERE of_phone),
        unanswered AS (
            SELECT count(*) AS in_a_row, max(pushed_at) AS last_at FROM recent
            WHERE pushed_at > now() - interval '24 hours' AND NOT answered
              AND pushed_at > coalesce((SELECT max(pushed_at) FROM recent WHERE answered), '-infinity')),
        today AS (
            SELECT date_trunc('day', now() AT TIME ZONE 'Africa/Nairobi') AT TIME ZONE 'Africa/Nairobi' AS began_at)
        SELECT {READ}, {OF_KEY}, EXISTS (SELECT FROM recoveries WHERE finished_at IS NULL) AS recovering,
               EXISTS (SELECT FROM transactions o WHERE o.link_digest = CAST(:link AS bytea) AND o.status = 'PAID')
               OR :once AND EXISTS (
                   SELECT FROM transactions o
                   WHERE lower(o.account_reference) = lower(:reference) AND o.amount >= :amount AND o.status = 'PAID'
                     AND (o.paid_at > now() - interval '24 hours' -- or a person booked it, since the link was made
                          OR o.pushed_at IS NULL AND o.paid_at > CAST(:link_made_at AS timestamptz))) AS already_paid,
               CASE WHEN EXISTS (
                   SELECT FROM transactions o WHERE o.link_digest = CAST(:link AS bytea)
                     AND (o.status = 'REVIEW' OR o.success_held_at IS NOT NULL AND o.paid_at IS NULL))
                    THEN 900 END AS doubtful_s, -- money for this link may be here
               (SELECT max(greatest(extract(epoch FROM o.pushed_at - now()) + 120, 15))
                FROM known o
                WHERE o.alike
                  AND (o.open AND o.created_at > now() - interval '15 minutes'
                       OR o.pushed_at > now() - interval '120 seconds'
                          AND NOT (o.failed AND o.result_code IN ('1', '1032', '2001')))) AS too_soon_s,
               (SELECT string_agg(o.id::text, ' ') FROM known o
                WHERE o.alike AND o.open AND o.can_be_asked AND o.created_at <= now() - interval '15 minutes'
                  AND NOT o.id::text = ANY (string_to_array(:asked_about, ' '))
                  AND (coalesce(o.last_query_at < o.created_at + interval '15 minutes', true)
                       OR o.last_query_at > now() - interval '10 seconds')) AS ask_first, -- or somebody asks just now
               greatest(
                   (SELECT extract(epoch FROM pushed_at + interval '1 hour' - now()) FROM recent
                    WHERE pushed_at > now() - interval '1 hour'
                    ORDER BY pushed_at DESC OFFSET CAST(:prompts AS integer) - 1 LIMIT 1),
                   (SELECT extract(epoch FROM created_at + interval '1 hour' - now()) FROM recent
                    WHERE created_at BETWEEN now() - interval '1 hour' AND now() + interval '1 minute'
                    ORDER BY created_at DESC OFFSET CAST(:asked AS integer) - 1 LIMIT 1),
                   (SELECT extract(epoch FROM last_at - now())
                           + (string_to_array(:rests, ' '))[least(in_a_row - :unanswered + 1, :longest)]::integer
                    FROM unanswered WHERE in_a_row >= :unanswered), 0) AS rests_s,
               (SELECT coalesce(sum(amount), 0) FROM recent, today
                WHERE NOT failed AND created_at >= began_at) AS today_kes,
               (SELECT extract(epoch FROM began_at + interval '1 day' - now()) FROM today) AS tomorrow_in_s
        FROM (SELECT 1) one
        LEFT JOIN idempotency_keys k ON k.key = :key
        LEFT JOIN transactions t ON t.id = k.transaction_id
        """,
        phone=order.msisdn,
        amount=order.amount_kes,
        reference=order.account_reference,
        link=order.link_digest,
        link_made_at=order.link_made_at,
        once=once,
        key=key.key if key else None,
        asked_about=" ".join(asked),
        prompts=limits.phone_pushes_an_hour,
        asked=limits.phone_pushes_an_hour * ASKED_FOR_EACH_PROMPT,
        unanswered=limits.phone_unanswered_in_a_row,
        rests=" ".join(map(str, REST_S)),
        longest=len(REST_S),
    )
    return row


def _refused_by_its_phone(row: Row, order: Order, limits: Limits) -> TooSoon | TooMany | AboveLimit | None:
    too_soon_s = [row[name] for name in ("too_soon_s", "doubtful_s") if row[name] is not None]
    if too_soon_s:
        return TooSoon(_whole(max(too_soon_s)))
    if order.amount_kes > limits.payment_kes:
        return AboveLimit(MoneyLimit.PAYMENT, limits.payment_kes, None)
    if row["rests_s"] > 0:
        return TooMany(Scope.PHONE, _whole(row["rests_s"]))
    if row["today_kes"] + order.amount_kes > limits.phone_kes_a_day:
        alone = order.amount_kes > limits.phone_kes_a_day
        return AboveLimit(MoneyLimit.PHONE_DAY, limits.phone_kes_a_day, None if alone else _whole(row["tomorrow_in_s"]))
    return None


def _alert_hourly(tx: Transaction, topic: str) -> None:
    """Customers are being turned away. One alert an hour, however many are turned away at the same moment."""
    earlier = """SELECT FROM outbox o WHERE o.kind = 'alert' AND o.transaction_id IS NULL AND o.topic = :topic
                 AND o.created_at BETWEEN now() - interval '1 hour' AND now() + interval '1 minute'"""
    lock = "SELECT pg_advisory_xact_lock(hashtextextended(CAST(:topic AS text), 2))"
    if tx.rows(f"{lock} WHERE NOT EXISTS ({earlier})", topic=topic):
        tx.later(
            f"INSERT INTO outbox (kind, topic) SELECT 'alert', CAST(:topic AS text) WHERE NOT EXISTS ({earlier})",
            topic=topic,
        )


def _whole(seconds: float | Decimal) -> int:
    return int(seconds) + 1
