"""What can be seen of encryption from a connection to the database, and what cannot.

In transit can be seen: our own end of the connection knows. At rest cannot: no PostgreSQL server can tell whether the
disk below it is encrypted. docs/privacy.md says what the providers publish about that, and where to look.
"""

from __future__ import annotations

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
    row = database.row("SELECT current_setting('server_version') AS version")
    tls, settings = database.tls_version, database.settings
    host = settings.host or "this machine"
    if tls is None:  # anything but this machine was refused at connecting
        in_transit = [Finding(GOOD, "in transit: not encrypted, and it does not leave this machine")]
    elif settings.tls == "verified":
        in_transit = [Finding(GOOD, f"in transit: {tls}, the server's certificate and name verified")]
    elif settings.tls == "authority":
        in_transit = [Finding(GOOD, f"in transit: {tls}, the server's certificate is of the authority of sslrootcert")]
    else:
        in_transit = [
            Finding(GOOD, f"in transit: {tls} to this machine itself (a tunnel?), its certificate not verified"),
            Finding(ASK, "what lies behind the tunnel cannot be seen from here"),
        ]
    if tls is not None:
        pooler = "behind a pooler: how it goes on from there to PostgreSQL cannot be seen from here"
        in_transit.append(Finding(ASK, pooler))
    return [
        Finding(GOOD, f"PostgreSQL {row['version'] if row else '?'}"),
        *in_transit,
        Finding(ASK, "at rest: a connection cannot see whether a disk is encrypted, nor backups and copies"),
        Finding(ASK, f"  {host}: docs/privacy.md, Encryption, says where each provider shows it"),
    ]
