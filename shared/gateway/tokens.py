"""One access token for all instances: kept in the database, fetched by whoever holds the lease.

A new token invalidates the old one (Daraja portal, Authorization FAQ), so two instances that each fetch their own would
keep killing each other's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.gateway.store import Store


class Tokens:
    """The `TokenStore` of the Daraja client, on PostgreSQL. Tokens are never logged."""

    def __init__(self, store: Store, app: str) -> None:
        self._store = store
        self._app = app

    def read_token(self) -> str | None:
        """A token with more than 60 s left."""
        row = self._store.row(
            "SELECT token FROM access_tokens WHERE app = :app AND expires_at > now() + interval '60 seconds'",
            app=self._app,
        )
        return str(row["token"]) if row else None

    def lease_token(self, dead: str | None) -> bool:
        """True: the caller fetches a new one now, within 10 s. False: another does, or the stored one is not `dead`."""
        leased = self._store.run(
            """
            INSERT INTO access_tokens (app, leased_until) VALUES (:app, now() + interval '10 seconds')
            ON CONFLICT (app) DO UPDATE SET leased_until = excluded.leased_until
            WHERE coalesce(access_tokens.leased_until <= now(), true)
              AND (coalesce(access_tokens.expires_at <= now() + interval '60 seconds', true)
                   OR access_tokens.token = CAST(:dead AS text))
            """,
            app=self._app,
            dead=dead,
        )
        return leased > 0

    def save_token(self, token: str, lifetime_s: int) -> None:
        """Keep it for everybody, and end the lease."""
        self._store.run(
            """
            UPDATE access_tokens SET token = :token, leased_until = NULL,
                   expires_at = now() + interval '1 second' * CAST(:lifetime_s AS float8)
            WHERE app = :app
            """,
            app=self._app,
            token=token,
            lifetime_s=lifetime_s,
        )

    def end_token_lease(self) -> None:
        """The fetch failed: let the next caller try."""
        self._store.run("UPDATE access_tokens SET leased_until = NULL WHERE app = :app", app=self._app)
