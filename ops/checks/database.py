"""The database: does it answer, is it this shop's, is all where the functions look, may they do their work?"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from db.migrate import MIGRATIONS, ROLES, MigrationRefused, read_migrations, state
from ops import encryption as seen
from ops.checks import Finding, Shop, failed, ok, skipped, warning
from shared.database import NotAllowed

SCHEMA = MIGRATIONS.parent / "schema.sql"
MIGRATE = "make migrate, with the owner's DATABASE_URL"
GRANT = "python -m db.migrate --roles, with the owner's DATABASE_URL: docs/database.md, The functions' own role"
POOLED_HOST = re.compile(r"-pooler\.|\.pooler\.|pgbouncer", re.IGNORECASE)
HAS_A_POOLER = re.compile(r"\.(neon\.tech|supabase\.(co|com))$", re.IGNORECASE)
OLDEST, NEWEST = 15, 18
FAR_OFF_S, NO_CLOCK_S = 2, 60


def database(shop: Shop) -> Finding:
    shop.database.row("SELECT 1 AS one")
    return ok("it can be reached, and takes the login")


def database_version(shop: Shop) -> Finding:
    row = shop.database.row("SELECT current_setting('server_version_num')::int / 10000 AS version")
    version = int(row["version"]) if row else 0
    if version < OLDEST:
        return failed(f"PostgreSQL {version} is too old", f"Use PostgreSQL {OLDEST} to {NEWEST}: docs/database.md")
    if version > NEWEST:
        return warning(f"Lipa is not tested with PostgreSQL {version}", f"Use PostgreSQL {OLDEST} to {NEWEST}")
    return ok(f"PostgreSQL {version}")


def database_address(shop: Shop) -> Finding:
    """By the host's name, and by whether the login's process is the one that works."""
    shop.database.row("SELECT 1 AS one")
    host = shop.database.settings.host
    if POOLED_HOST.search(host) or not shop.database.has_own_session:
        return ok("a pooled address: right for the functions; pg_dump needs the direct one")
    if HAS_A_POOLER.search(host):
        return warning(
            "a direct address: right for `make migrate` and pg_dump; under load the functions use up its connections",
            "Give the functions your host's pooled address: docs/database.md, Transactions and timeouts",
        )
    return ok("a direct address: right for every command, and for the functions while connections last")


def migrations(shop: Shop) -> Finding:
    try:
        missing = state(shop.database, read_migrations()).missing
    except MigrationRefused as refused:
        return failed(str(refused), "python -m db.migrate --check")
    except NotAllowed:
        return skipped("this user may not read which migrations were applied; `tables` looks for what they made")
    if missing:
        return failed(f"missing: {', '.join(each.name for each in missing)}", MIGRATE)
    return ok("every migration is applied")


def tables(shop: Shop) -> Finding:
    wanted = re.findall(r"^CREATE TABLE (\w+)", SCHEMA.read_text(encoding="utf-8"), re.MULTILINE)
    found = shop.database.rows(
        """
        SELECT wanted.name, (SELECT min(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                             WHERE c.relname = wanted.name AND c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%') AS there
        FROM unnest(string_to_array(:wanted, ' ')) wanted (name)
        WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                          WHERE n.nspname = 'public' AND c.relname = wanted.name AND c.relkind = 'r')
        """,
        wanted=" ".join(wanted),
    )
    if elsewhere := sorted({row["there"] for row in found if row["there"]}):
        where = ", ".join(elsewhere)
        return failed(f"tables are in schema {where}; the functions look in public", "python -m db.migrate --check")
    if found:
        return failed(f"no table {', '.join(row['name'] for row in found)} in schema public", MIGRATE)
    return ok("every table is in schema public")


def role(shop: Shop) -> Iterator[Finding]:
    """May this user do all that db/roles.sql gives the functions, and no more?"""
    lacking = [
        f"{row['privilege']}{row['columns'] and ' (' + row['columns'] + ')'} on {row['name']}"
        for row in shop.database.rows(
            """
            SELECT privilege, name, coalesce(string_agg(nullif(each, ''), ', '), '') AS columns FROM (
                SELECT split_part(said, ':', 1) AS privilege, split_part(said, ':', 2) AS name,
                       split_part(said, ':', 3) AS each
                FROM unnest(string_to_array(:wanted, ' ')) said) wanted
            WHERE NOT CASE each WHEN '' THEN has_table_privilege('public.' || name, privilege)
                                ELSE has_column_privilege('public.' || name, each, privilege) END
            GROUP BY privilege, name ORDER BY name, privilege
            """,
            wanted=" ".join(_rights(ROLES)),
        )
    ]
    if lacking:
        yield failed(f"the user of DATABASE_URL lacks {'; '.join(lacking)}", GRANT)
    row = shop.database.row(
        "SELECT pg_has_role(relowner, 'USAGE') AS owns FROM pg_class WHERE oid = 'public.audit_log'::regclass"
    )
    if row and row["owns"]:
        yield warning("the user of this DATABASE_URL owns the tables, and could change history", GRANT)
    elif not lacking:
        yield ok("the user of DATABASE_URL may do what the functions do, and cannot change history")


def clock(shop: Shop) -> Finding:
    before = time.time()
    row = shop.database.row("SELECT extract(epoch FROM clock_timestamp())::float8 AS at")
    after = time.time()
    off_s = (row["at"] if row else 0) - (before + after) / 2
    off_s -= max(min(off_s, (after - before) / 2), -(after - before) / 2)  # what the way may explain
    if abs(off_s) < FAR_OFF_S:
        return ok("the database's clock agrees with this machine's")
    says = f"the database's clock is {abs(off_s):,.0f} s {'ahead of' if off_s > 0 else 'behind'} this machine's"
    find_out = "Compare both with https://time.is, and set the one that is wrong"
    return (failed if abs(off_s) >= NO_CLOCK_S else warning)(says, find_out)


def environment(shop: Shop) -> Finding:
    wanted = shop.settings.need("database").database.environment
    row = shop.database.row("SELECT environment FROM installation")
    if row is None:
        return warning("nobody has used this database yet", f"MPESA_ENV={wanted} make migrate stamps it")
    if row["environment"] != wanted:
        return failed(
            f"this database belongs to {row['environment']}, and MPESA_ENV says {wanted}",
            "Correct MPESA_ENV or DATABASE_URL: docs/deploying.md, step 2",
        )
    return ok(f"the database belongs to {wanted}")


def audit_key(shop: Shop) -> Finding:
    if not shop.session.has_audit_key:
        return skipped("no key of the audit log is set")
    ids = [key.id for key in shop.session.audit_keys]
    row = shop.database.row("SELECT link_key FROM audit_log ORDER BY id DESC LIMIT 1")
    if row is None:
        return ok("the audit log is empty: this key will sign its first row")
    if row["link_key"] not in ids:
        return failed(
            "the newest rows of the audit log are signed with another key than AUDIT_SECRET, set or derived",
            "Set AUDIT_SECRET to the functions' own, or add the old one to AUDIT_SECRET_PREVIOUS: docs/deploying.md",
        )
    if row["link_key"] != ids[0]:
        return warning(
            "the newest rows are signed with AUDIT_SECRET_PREVIOUS", "Deploy; the next payment has the new key"
        )
    return ok("the newest rows of the audit log are signed with this key")


def encryption(shop: Shop) -> Finding:
    """At rest nobody can see it from a connection."""
    in_transit = next(found.what for found in seen.look(shop.database) if found.what.startswith("in transit"))
    return ok(f"{in_transit}; at rest only you can see it: `python -m ops privacy check`")


def _rights(roles: Path) -> Iterator[str]:
    """`UPDATE:invoices:sent_at` and the like, one for each column that is named."""
    text = re.sub(r"--.*", "", roles.read_text(encoding="utf-8"))
    for rights, names in re.findall(r"GRANT ([^;]+?)\s+ON\s+([a-z_, ]+?)\s+TO lipa_functions;", text):
        for privilege, columns in re.findall(r"(SELECT|INSERT|UPDATE|DELETE)(?:\s*\(([^)]*)\))?", rights):
            for name in names.split(","):
                for column in columns.split(",") if columns else [""]:
                    yield f"{privilege}:{name.strip()}:{column.strip()}"
