"""The callback inbox: bytes first, judgement after. Three tries, then a person.

What one payment's address can store is bounded, because an address may leak: docs/decisions/inbox.md. What is judged
from the database carries the receiver's seal: whoever can only write there cannot have their own callback believed.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from shared.audit_chain import AuditKey, seal
from shared.daraja.callback_address import Source
from shared.gateway.alerts import alert
from shared.values import TEST, is_test_id

if TYPE_CHECKING:
    from shared.database import Database, Row

MOST_TRIES = 3
MOST_FROM_EACH = 32
"""Callbacks stored for one payment from Safaricom's addresses, and as many from all others. Safaricom sends a few: the
result, a repetition, a late copy, another code. They are counted without a lock, so that no callback waits for another;
some more may be stored when they arrive at the same moment."""


ITS_INBOX = """
    i.transaction_id = CAST(:transaction_id AS uuid)
    AND (i.source_check IS NOT DISTINCT FROM 'listed') = CAST(:listed AS boolean)
"""


COUNT_A_COPY = """
    WITH payment AS (SELECT id FROM transactions WHERE id = CAST(:transaction_id AS uuid) FOR KEY SHARE SKIP LOCKED),
    alerted AS (
        INSERT INTO outbox (kind, topic, transaction_id) SELECT 'alert', 'callback_flood', id FROM payment
        ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO NOTHING)
    UPDATE callback_inbox SET copies = least(copies + 1, 1000000000)
    WHERE EXISTS (SELECT FROM payment)
      AND id = (SELECT i.id FROM callback_inbox i WHERE i.id = :id FOR UPDATE OF i SKIP LOCKED)
"""
"""Skipped where the payment or the row is locked: the bytes are on file, and a callback must not wait."""
RETIRED = "SELECT FROM callback_keys k WHERE k.name = CAST(:key AS text) AND k.retired_at IS NOT NULL"
ALERT_ONCE_AN_HOUR = """
    INSERT INTO outbox (kind, topic, transaction_id)
    SELECT 'alert', CAST(:topic AS text), t.id
    FROM (SELECT 1) one LEFT JOIN transactions t ON t.id = CAST(:transaction_id AS uuid)
    WHERE NOT EXISTS (
        SELECT FROM outbox o WHERE o.kind = 'alert' AND o.topic = :topic
        AND (o.transaction_id = t.id
             OR t.id IS NULL AND o.transaction_id IS NULL
                 AND o.created_at BETWEEN now() - interval '1 hour' AND now() + interval '1 minute'))
    ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO NOTHING
"""


class Kept(Enum):
    """What became of the bytes of a callback."""

    STORED = auto()
    """On file, in a row of their own: they are to be judged."""
    AS_A_COPY = auto()
    """The payment's inbox is full, and they are on file already, byte for byte: counted there, and judged there."""
    RETIRED = auto()
    """Nothing: its address was signed with a key that the published deploy has retired. An alert is raised."""
    NOT_AT_ALL = auto()
    """The payment's inbox is full, and they are new. An alert is raised."""


@dataclass(frozen=True)
class Entry:
    """One callback on file."""

    id: str
    transaction_id: str
    body: bytes
    source: Source | None = None
    """What the caller's address says; None: nothing."""
    key: str | None = None
    """The name of the key that signed the address it came to."""
    sealed: bool = True
    """It is as the receiver stored it. False: nobody without the key knows where it came from."""


class Inbox:
    """Every callback with a genuine address."""

    def __init__(self, store: Database, key: AuditKey) -> None:
        self._store = store
        self._key = key

    def remember(self, entry: Entry, source_address: str | None) -> Kept:
        """Commit the bytes. The caller judges them at once; should it die, the sweep takes over after 30 s.

        May be repeated with the same entry, also when the answer to COMMIT was lost: it is kept once.
        """
        listed = entry.source is Source.LISTED
        stored = self._store.run(
            f"""
            INSERT INTO callback_inbox (id, transaction_id, body, source_address, source_check, tries, next_try_at,
                                        seal)
            SELECT CAST(:id AS uuid), CAST(:transaction_id AS uuid), :body, :source, :source_check, 1,
                   now() + interval '30 seconds', :seal
            WHERE NOT EXISTS ({RETIRED}) AND (SELECT count(*) FROM callback_inbox i WHERE {ITS_INBOX}) < :most
            ON CONFLICT (id) DO NOTHING
            """,
            id=entry.id,
            transaction_id=entry.transaction_id,
            body=entry.body,
            source=source_address,
            source_check=entry.source and entry.source.value,
            listed=listed,
            most=MOST_FROM_EACH,
            key=entry.key,
            seal=seal(self._key, entry.id, entry.transaction_id, entry.body),
        )
        return Kept.STORED if stored else self._not_stored(entry, listed=listed)

    def _not_stored(self, entry: Entry, *, listed: bool) -> Kept:
        """It is there already, or the inbox is full, or its key is retired."""
        with self._store.transaction() as tx:
            if tx.row(RETIRED, key=entry.key) is not None:
                tx.later(ALERT_ONCE_AN_HOUR, topic="callback_key_retired", transaction_id=entry.transaction_id)
                return Kept.RETIRED
            same = tx.row(
                f"""
                SELECT i.id, i.id = CAST(:id AS uuid) AS this FROM callback_inbox i
                WHERE i.id = CAST(:id AS uuid) OR {ITS_INBOX} AND i.body = :body ORDER BY this DESC LIMIT 1
                """,
                id=entry.id,
                transaction_id=entry.transaction_id,
                body=entry.body,
                listed=listed,
            )
            if is_test_id(entry.transaction_id) and not (same and same["this"]):
                return Kept.NOT_AT_ALL
            if same is None:
                tx.later(ALERT_ONCE_AN_HOUR, topic="callback_flood", transaction_id=entry.transaction_id)
                return Kept.NOT_AT_ALL
            if same["this"]:
                return Kept.STORED
            tx.later(COUNT_A_COPY, id=same["id"], transaction_id=entry.transaction_id)
            return Kept.AS_A_COPY

    def take(self, most: int, *, of: str | None = None) -> list[Entry]:
        """Entries whose judgement is due, `of` this payment or of all, oldest first: leased for 30 s, each a try."""
        rows = self._store.change(
            """
            UPDATE callback_inbox i SET tries = i.tries + 1, next_try_at = now() + interval '30 seconds'
            FROM (SELECT id FROM callback_inbox WHERE next_try_at <= now() AND tries < :most_tries
                    AND (CAST(:of AS uuid) IS NULL OR transaction_id = CAST(:of AS uuid))
                  ORDER BY received_at LIMIT :most FOR UPDATE SKIP LOCKED) due
            WHERE i.id = due.id
            RETURNING i.id, i.transaction_id, i.body, i.source_check, i.received_at, i.seal
            """,
            most=most,
            most_tries=MOST_TRIES,
            of=of,
        )
        return [replace(entry, sealed=self.is_sealed(entry, row["seal"])) for entry, row in _entries(rows)]

    def is_sealed(self, entry: Entry, stored: str | None) -> bool:
        """It is as the receiver stored it."""
        return hmac.compare_digest(seal(self._key, entry.id, entry.transaction_id, entry.body), stored or "")

    def alert_of_unlisted(self, entry: Entry) -> None:
        """Alert that a callback came from an address that is not Safaricom's: once an hour for each such address.

        After the bytes are committed and not with them: the alert refers to the payment's row, which may be locked.
        """
        self._store.run(
            """
            INSERT INTO outbox (kind, topic, transaction_id)
            SELECT 'alert', 'unlisted_address', t.id
            FROM callback_inbox i LEFT JOIN transactions t ON t.id = i.transaction_id
            WHERE i.id = CAST(:id AS uuid) AND NOT EXISTS (
                SELECT FROM callback_inbox o
                WHERE o.source_check = 'unlisted' AND o.source_address = i.source_address AND o.id <> i.id
                  AND o.received_at BETWEEN i.received_at - interval '1 hour' AND i.received_at)
            ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO NOTHING
            """,
            id=entry.id,
        )

    def close(self, entry: Entry, outcome: str, receipts: tuple[str, ...]) -> None:
        """It changes no payment: it is unreadable, held, or there is no such payment. An alert says so.

        A test gets none.
        """
        with self._store.transaction() as tx:
            tx.later(
                """
                UPDATE callback_inbox SET outcome = :outcome, judged_at = now(), next_try_at = NULL,
                       receipts = string_to_array(:receipts, ' ')
                WHERE id = CAST(:id AS uuid)
                """,
                id=entry.id,
                outcome=outcome,
                receipts=" ".join(receipts),
            )
            if outcome != TEST:
                alert(tx, outcome, entry.transaction_id)

    def reopen(self, entry_id: str | None, outcome: str = "dead_letter") -> list[Entry]:
        """One entry, whatever its outcome, or all of one outcome: leased for 30 s, with new tries.

        An entry that was held is not held again: a person asked for it.
        """
        rows = self._store.change(
            """
            UPDATE callback_inbox SET outcome = NULL, judged_at = NULL, tries = 1,
                   source_check = CASE source_check WHEN 'held' THEN 'unlisted' ELSE source_check END,
                   next_try_at = now() + interval '30 seconds'
            WHERE CASE WHEN CAST(:id AS text) IS NULL THEN outcome = :outcome ELSE id::text = lower(:id) END
            RETURNING id, transaction_id, body, source_check, received_at
            """,
            id=entry_id,
            outcome=outcome,
        )
        return [entry for entry, _ in _entries(rows)]

    def put_back(self, entry: Entry, error: str, receipts: tuple[str, ...]) -> None:
        """Judging failed: keep the reason and the receipts. Tried again when its lease ends, or a dead letter."""
        self._store.run(
            """
            UPDATE callback_inbox SET last_error = :error, receipts = string_to_array(:receipts, ' ')
            WHERE id = CAST(:id AS uuid) AND outcome IS NULL
            """,
            id=entry.id,
            error=error[:500],
            receipts=" ".join(receipts),
        )

    def bury(self) -> int:
        """Entries that were tried three times become dead letters, with an alert. Returns how many."""
        row = self._store.row(
            """
            WITH dead AS (
                UPDATE callback_inbox SET outcome = 'dead_letter', judged_at = now(), next_try_at = NULL
                WHERE next_try_at <= now() AND tries >= :most_tries RETURNING transaction_id),
            alerted AS (
                INSERT INTO outbox (kind, topic, transaction_id)
                SELECT DISTINCT 'alert', 'dead_letter', t.id
                FROM dead LEFT JOIN transactions t ON t.id = dead.transaction_id
                ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO NOTHING)
            SELECT count(*) AS dead FROM dead
            """,
            most_tries=MOST_TRIES,
        )
        return int(row["dead"]) if row else 0


def _entries(rows: list[Row]) -> list[tuple[Entry, Row]]:
    """In the order in which they came."""
    return [
        (
            Entry(
                str(row["id"]),
                str(row["transaction_id"]),
                bytes(row["body"]),
                Source(row["source_check"]) if row["source_check"] else None,
            ),
            row,
        )
        for row in sorted(rows, key=lambda row: row["received_at"])
    ]
