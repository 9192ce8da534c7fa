"""What can be seen of encryption from a connection to the database, and what cannot.

In transit can be seen: our own end of the connection knows. At rest cannot: no PostgreSQL server can tell whether the
disk below it is encrypted. docs/privacy.md says what the providers publish about that, and where to look.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.database import Database

GOOD, ASK = "ok", "check"


@dataclass(frozen=True)
class Finding:
    """One thing seen (`ok`), or one that only a person can see (`check`)."""

    mark: str
    what: str


def look(database: Database) -> list[Finding]:
    """Asks the server, reads our own end of the connection, and says what stays for a person to check."""
    with database.transaction() as tx:
        row = tx.row("SELECT current_setting('server_version') AS version")
        tls = database.tls_version
    return [
        Finding(GOOD, f"PostgreSQL {row['version'] if row else '?'}"),
        *_in_transit(database, tls),
        Finding(ASK, "at rest: a connection cannot see whether a disk is encrypted, nor backups and copies"),
        Finding(ASK, f"  {database.settings.host}: docs/privacy.md, Encryption, says where each provider shows it"),
    ]


def _in_transit(database: Database, tls: str | None) -> Iterator[Finding]:
    settings = database.settings
    if tls is not None and settings.tls == "verified":
        yield Finding(GOOD, f"in transit: {tls}, the server's certificate and name verified")
    elif tls is not None and settings.tls == "authority":
        yield Finding(GOOD, f"in transit: {tls}, the server's certificate is of the authority of sslrootcert")
    elif tls is not None:
        yield Finding(GOOD, f"in transit: {tls} to this machine itself (a tunnel?), its certificate not verified")
        yield Finding(ASK, "what lies behind the tunnel cannot be seen from here")
    else:  # anything else was refused at connecting
        yield Finding(GOOD, "in transit: not encrypted, and it does not leave this machine")
    if tls is not None:
        yield Finding(ASK, "behind a pooler: how it goes on from there to PostgreSQL cannot be seen from here")
