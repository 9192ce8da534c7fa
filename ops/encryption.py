"""What can be seen of encryption from a connection to the database, and what cannot.

In transit can be seen: our own end of the connection knows. At rest cannot: no PostgreSQL server can tell whether the
disk below it is encrypted, so for that the provider's own word is quoted, with where to look.
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


@dataclass(frozen=True)
class Provider:
    """Who keeps a database, by its host name; what they publish about data at rest, and where a person sees it."""

    name: str
    host_ends: tuple[str, ...]
    at_rest: str
    look: str
    source: str


PROVIDERS = (
    Provider(
        "Neon (also below Netlify Database)",
        (".neon.tech",),
        "AES-256, always on, says Neon",
        "nothing can be switched; the report is in Neon's trust centre",
        "neon.com/docs/security/security-overview",
    ),
    Provider(
        "Supabase",
        (".supabase.co", ".supabase.com"),
        "AES-256, always on, backups too, says Supabase",
        "nothing can be switched; switch on *Enforce SSL* under Database settings",
        "supabase.com/security",
    ),
    Provider(
        "Amazon RDS or Aurora",
        (".rds.amazonaws.com",),
        "AES-256 where it was chosen when the database was made; it cannot be switched on later",
        "console: Databases, Configuration, Storage, Encryption; or `aws rds describe-db-instances "
        "--query 'DBInstances[].[DBInstanceIdentifier,StorageEncrypted]'`",
        "docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Overview.Encryption.html",
    ),
)
OWN_SERVER = Provider(
    "a server of your own, or one we do not know by its host name",
    (),
    "not known",
    "on the server: `lsblk -o NAME,FSTYPE,MOUNTPOINT` shows crypto_LUKS below PostgreSQL's data folder",
    "docs/privacy.md",
)


def provider_of(host: str) -> Provider:
    """Whose host name this is."""
    known = (each for each in PROVIDERS if host.lower().rstrip(".").endswith(each.host_ends))
    return next(known, OWN_SERVER)


def look(database: Database) -> list[Finding]:
    """Asks the server, reads our own end of the connection, and says what stays for a person to check."""
    with database.transaction() as tx:
        row = tx.row("SELECT current_setting('server_version') AS version")
        tls = database.tls_version
    return [
        Finding(GOOD, f"PostgreSQL {row['version'] if row else '?'}"),
        *_in_transit(database, tls),
        *_at_rest(provider_of(database.settings.host)),
    ]


def _in_transit(database: Database, tls: str | None) -> Iterator[Finding]:
    settings = database.settings
    if tls is not None and settings.tls == "verified":
        yield Finding(GOOD, f"in transit: {tls}, the server's certificate and name verified")
    elif tls is not None:
        yield Finding(GOOD, f"in transit: {tls} to this machine itself (a tunnel?), its certificate not verified")
        yield Finding(ASK, "what lies behind the tunnel cannot be seen from here")
    else:  # anything else was refused at connecting
        yield Finding(GOOD, "in transit: not encrypted, and it does not leave this machine")
    if tls is not None:
        yield Finding(ASK, "behind a pooler: how it goes on from there to PostgreSQL cannot be seen from here")


def _at_rest(provider: Provider) -> Iterator[Finding]:
    yield Finding(ASK, f"at rest: kept by {provider.name}. A connection cannot see whether a disk is encrypted")
    yield Finding(ASK, f"  published: {provider.at_rest} ({provider.source})")
    yield Finding(ASK, f"  where to look: {provider.look}")
    yield Finding(ASK, "  backups and copies (dumps, branches, laptops) are encrypted or not on their own")
