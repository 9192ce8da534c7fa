"""The callback inbox: bytes first, judgement after. Three tries, then a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.gateway.store import Store

MOST_TRIES = 3


@dataclass(frozen=True)
class Entry:
    """One callback on file."""

    id: str
    transaction_id: str
    body: bytes


class Inbox:
    """Every callback with a genuine address."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def remember(self, entry: Entry, source_address: str | None) -> None:
        """Commit the bytes. The caller judges them at once; should it die, the sweep takes over after 30 s.

        May be repeated with the same entry, also when the answer to COMMIT was lost: it is kept once.
        """
        with self._store.transaction() as tx:
            tx.run(
                """
                INSERT INTO callback_inbox (id, transaction_id, body, source_address, tries, next_try_at)
                VALUES (CAST(:id AS uuid), CAST(:transaction_id AS uuid), :body, :source, 1,
                        now() + interval '30 seconds')
                ON CONFLICT (id) DO NOTHING
                """,
                id=entry.id,
                transaction_id=entry.transaction_id,
                body=entry.body,
                source=source_address,
            )

    def take(self, most: int) -> list[Entry]:
        """Entries whose judgement is due, oldest first, each leased for 30 s and counted as a try."""
        with self._store.transaction() as tx:
            rows = tx.rows(
                """
                UPDATE callback_inbox i SET tries = i.tries + 1, next_try_at = now() + interval '30 seconds'
                FROM (SELECT id FROM callback_inbox WHERE next_try_at <= now() AND tries < :most_tries
                      ORDER BY received_at LIMIT :most FOR UPDATE SKIP LOCKED) due
                WHERE i.id = due.id
                RETURNING i.id, i.transaction_id, i.body, i.received_at
                """,
                most=most,
                most_tries=MOST_TRIES,
            )
            rows.sort(key=lambda row: row["received_at"])
            return [Entry(str(row["id"]), str(row["transaction_id"]), bytes(row["body"])) for row in rows]

    def close(self, entry: Entry, outcome: str, receipts: tuple[str, ...]) -> None:
        """Judged without a payment to change: unreadable, or no such payment. Somebody is told."""
        with self._store.transaction() as tx:
            tx.run(
                """
                WITH closed AS (
                    UPDATE callback_inbox SET outcome = :outcome, judged_at = now(), next_try_at = NULL,
                           receipts = string_to_array(:receipts, ' ')
                    WHERE id = CAST(:id AS uuid) RETURNING transaction_id)
                INSERT INTO outbox (kind, topic, transaction_id)
                SELECT 'alert', CAST(:outcome AS text), t.id
                FROM closed LEFT JOIN transactions t ON t.id = closed.transaction_id
                ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO NOTHING
                """,
                id=entry.id,
                outcome=outcome,
                receipts=" ".join(receipts),
            )

    def reopen(self, entry_id: str | None) -> list[Entry]:
        """One entry, whatever its outcome, or every dead letter: leased for 30 s, its tries forgotten."""
        with self._store.transaction() as tx:
            rows = tx.rows(
                """
                UPDATE callback_inbox SET outcome = NULL, judged_at = NULL, tries = 1,
                       next_try_at = now() + interval '30 seconds'
                WHERE CASE WHEN CAST(:id AS text) IS NULL THEN outcome = 'dead_letter' ELSE id::text = lower(:id) END
                RETURNING id, transaction_id, body, received_at
                """,
                id=entry_id,
            )
        rows.sort(key=lambda row: row["received_at"])
        return [Entry(str(row["id"]), str(row["transaction_id"]), bytes(row["body"])) for row in rows]

    def put_back(self, entry: Entry, error: str, receipts: tuple[str, ...]) -> None:
        """Judging failed: say why, and what money it spoke of. Tried again when its lease is over, or a dead letter."""
        with self._store.transaction() as tx:
            tx.run(
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
        with self._store.transaction() as tx:
            row = tx.row(
                """
                WITH dead AS (
                    UPDATE callback_inbox SET outcome = 'dead_letter', judged_at = now(), next_try_at = NULL
                    WHERE next_try_at <= now() AND tries >= :most_tries RETURNING transaction_id),
                told AS (
                    INSERT INTO outbox (kind, topic, transaction_id)
                    SELECT DISTINCT 'alert', 'dead_letter', t.id
                    FROM dead LEFT JOIN transactions t ON t.id = dead.transaction_id
                    ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO NOTHING)
                SELECT count(*) AS dead FROM dead
                """,
                most_tries=MOST_TRIES,
            )
            return int(row["dead"]) if row else 0
