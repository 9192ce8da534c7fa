"""The functions' own database role: enough for everything they do, and not enough to change history.

Every test with a `shop` runs its functions as this role, so each path of each handler shows that it suffices.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from db.migrate import ROLES, MigrationRefused, grant_roles, main, migrate, read_migrations
from dev.postgres import EmbeddedPostgres
from ops.__main__ import main as ops
from shared import collaborators
from shared.database import ConstraintBroken, Database, DatabaseError
from tests.fixtures.database import FUNCTIONS, fresh_database, outside_of_transactions
from tests.fixtures.shop import Shop

NOT_ALLOWED = "42501"
EVIDENCE = (
    *("audit_log", "audit_anchors", "query_answers", "callback_inbox", "payment_confirmations", "invoices"),
    *("invoice_years", "transactions", "installation", "outbox"),
    *("statement_files", "statement_rows", "reconciliation_log", "recoveries", "invoice_gaps"),
)
RIGHTS = """
    SELECT table_name, privilege_type FROM information_schema.table_privileges WHERE grantee = 'lipa_functions'
    UNION ALL
    SELECT table_name || '.' || column_name, privilege_type FROM information_schema.column_privileges
    WHERE grantee = 'lipa_functions'
    UNION ALL
    SELECT object_name, privilege_type FROM information_schema.usage_privileges WHERE grantee = 'lipa_functions'
    ORDER BY 1, 2
"""


STATEMENTS = (
    "DELETE FROM {}",
    "TRUNCATE {} CASCADE",
    "DROP TABLE {} CASCADE",
    "ALTER TABLE {} DISABLE TRIGGER ALL",
    "ALTER TABLE {} DISABLE TRIGGER USER",
    "ALTER TABLE {} ADD COLUMN more text",
    "ALTER TABLE {} OWNER TO lipa_functions",
    "CREATE RULE nothing AS ON INSERT TO {} DO INSTEAD NOTHING",
    "CREATE TRIGGER mine BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "GRANT DELETE ON {} TO PUBLIC; DELETE FROM {}",
)
"""What takes history away, or what keeps it."""
CHANGES = (
    "UPDATE audit_log SET reason = 'x'",
    "UPDATE query_answers SET said = 'x'",
    "UPDATE audit_anchors SET digest = 'x'",
    "UPDATE installation SET environment = 'production'",
    "UPDATE installation SET stamped_at = now()",
    "UPDATE transactions SET amount = 1",
    "UPDATE transactions SET phone_number = '254722000000'",
    "UPDATE transactions SET account_reference = 'OTHER'",
    "UPDATE transactions SET created_at = now()",
    "UPDATE callback_inbox SET body = ''",
    "UPDATE callback_inbox SET transaction_id = gen_random_uuid()",
    "UPDATE callback_inbox SET source_address = NULL",
    "UPDATE payment_confirmations SET amount = 1",
    "UPDATE payment_confirmations SET evidence = 'operator'",
    "UPDATE invoices SET amount = 1",
    "UPDATE invoices SET customer_email = 'mallory@example.com'",
    "UPDATE invoices SET invoice_number = 'INV-2026-000099'",
    "UPDATE invoice_years SET last_number = 0",
    "INSERT INTO invoice_years VALUES (2030, 7)",
    "SELECT leave_invoice_numbers_out(1, 2026, 7, 'x', 'x')",
    "INSERT INTO recoveries (backup_at, backup_sha256, who) VALUES (now(), repeat('0', 64), 'x')",
    "UPDATE recoveries SET finished_at = now(), finished_by = 'x', facts = '{}'",
    "INSERT INTO invoice_gaps (recovery_id, year, first_number, last_number, who, why) VALUES (1, 26, 1, 7, 'x', 'x')",
    "UPDATE outbox SET transaction_id = NULL",
    "INSERT INTO erasures (transaction_id, scope, who, why) VALUES (gen_random_uuid(), 'person', 'x', 'x')",
    "SELECT raw FROM statement_rows",
    "SELECT account FROM statement_rows",
    "INSERT INTO statement_files (sha256, family, row_count, balance_chain, who) VALUES ('x', 'A', 1, 'ok', 'x')",
    "UPDATE statement_rows SET transaction_id = NULL",
    "UPDATE payment_confirmations SET statement_row_id = 1",
    "INSERT INTO reconciliation_log (kind, subject, facts, who, place, link, link_key)"
    " VALUES ('closed', '2026-10', '{}', 'x', 1, 'x', 'x')",
    "UPDATE installation SET reconciliation_length = 1, reconciliation_head = 'x'",
    "SET session_replication_role = 'replica'",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "CREATE TABLE public.mine (id integer)",
    "CREATE FUNCTION public.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION refuse_change_of_history() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "DROP FUNCTION refuse_change_of_history() CASCADE",
    "ALTER FUNCTION refuse_change_of_history() RENAME TO gone",
    "DROP TRIGGER history_is_kept ON audit_log",
    "SELECT setval('audit_log_id_seq', 1)",
    "ALTER SEQUENCE audit_log_id_seq RESTART",
    "CREATE ROLE mine",
    "ALTER ROLE lipa_functions CREATEROLE",
    "DROP SCHEMA public CASCADE",
    "CREATE SCHEMA mine",
    "COPY audit_log TO PROGRAM 'cat'",
)


@pytest.fixture
def with_history(shop: Shop) -> Shop:
    """Somebody has paid."""
    shop.settled()
    shop.sweep()
    return shop


def test_what_the_functions_are_not_allowed(with_history: Shop, functions_url: str) -> None:
    """Each refused for want of a right, and not only by a trigger, which its owner could switch off."""
    as_functions = Database(functions_url)
    taking = [statement.replace("{}", table) for table in EVIDENCE for statement in STATEMENTS]
    otherwise = []
    for statement in (*taking, *CHANGES):
        try:
            with as_functions.transaction() as tx:
                tx.script(statement)
            otherwise.append(f"done: {statement}")
        except DatabaseError as failure:
            if getattr(failure, "sqlstate", "") != NOT_ALLOWED:
                otherwise.append(f"{failure}: {statement}")
    as_functions.close()
    assert otherwise == []
    assert len(taking) + len(CHANGES) == 198  # as docs/proofs/README.md says
    assert with_history.row("SELECT count(*) AS n FROM audit_log") == {"n": 3}


def test_no_function_takes_a_refund_back(with_history: Shop, functions_url: str) -> None:
    """Only a person does, with the owner's role."""
    assert with_history.ops("review", "refunded", "INV00042", "--receipt", "UE5AA11BBC", "--why", "sent back") == 0
    as_functions = Database(functions_url)
    with pytest.raises(ConstraintBroken) as broken, as_functions.transaction() as tx:
        tx.run("UPDATE transactions SET status = 'PAID', updated_at = now(), refunded_at = NULL, refund_receipt = NULL")
    as_functions.close()
    assert broken.value.constraint == "allowed_transition"


def test_the_handlers_run_as_this_role(with_history: Shop) -> None:
    for made in (collaborators.collaborators(), collaborators.receiver()):
        with made.gateway.database.transaction() as tx:
            assert tx.row("SELECT current_user AS me, session_user AS first") == {"me": FUNCTIONS, "first": FUNCTIONS}


def test_an_operators_commands_run_as_this_role_too(
    with_history: Shop, functions_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = str(with_history.row("SELECT id FROM transactions")["id"])
    as_functions = {**os.environ, "DATABASE_URL": functions_url}
    for command in (
        ["verify"],
        ["replay"],
        ["audit", "verify"],
        ["case", transaction_id],
        ["review", "list"],
        ["inbox", "list"],
        ["review", "refunded", transaction_id, "--receipt", "UE5AA11BBC", "--why", "sent back", "--yes"],
    ):
        assert ops(command, as_functions) == 0, capsys.readouterr()


def test_the_role_is_made_again_as_it_was_whatever_was_given_since(each_postgres: EmbeddedPostgres) -> None:
    with fresh_database(each_postgres) as name:
        database = Database(each_postgres.url(name))
        migrate(database, read_migrations())
        grant_roles(database)
        with database.transaction() as tx:
            given = tx.rows(RIGHTS)
            tx.script(
                "GRANT ALL ON audit_log TO lipa_functions; GRANT UPDATE (amount) ON transactions TO lipa_functions"
            )
            assert tx.rows(RIGHTS) != given
        grant_roles(database)
        with database.transaction() as tx:
            assert tx.rows(RIGHTS) == given
        database.close()


def test_every_table_is_thought_of(database: Database) -> None:
    """A new table is in db/roles.sql, or the functions have no business with it."""
    with database.transaction() as tx:
        tables = {row["tablename"] for row in tx.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
        granted = {row["table_name"].split(".")[0] for row in tx.rows(RIGHTS)}
    assert tables - granted == {"erasures"}


def test_psql_reads_the_file_as_it_is(postgres15_server: EmbeddedPostgres) -> None:
    with fresh_database(postgres15_server) as name:
        database = Database(postgres15_server.url(name))
        migrate(database, read_migrations())
        for _ in range(2):
            postgres15_server.run(
                "psql", "-v", "ON_ERROR_STOP=1", "-d", name, "-f", "-", stdin=ROLES.read_text("utf-8")
            )
        with database.transaction() as tx:
            assert {"table_name": "audit_log", "privilege_type": "INSERT"} in tx.rows(RIGHTS)
        database.close()


def test_the_command_migrates_and_grants(empty_database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--roles"], {"DATABASE_URL": empty_database_url, "MPESA_ENV": "sandbox"}) == 0
    assert "lipa_functions has the rights of db/roles.sql" in capsys.readouterr().out
    database = Database(empty_database_url)
    with database.transaction() as tx:
        assert {"table_name": "audit_log", "privilege_type": "INSERT"} in tx.rows(RIGHTS)
    database.close()


def test_who_does_not_own_the_tables_is_told(functions_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    database = Database(functions_url)
    with pytest.raises(MigrationRefused, match="run it as the owner"):
        grant_roles(database)
    database.close()
    assert main(["--roles"], {"DATABASE_URL": functions_url}) == 3
    assert "permission denied" in capsys.readouterr().err


# Temporary tables -----------------------------------------------------------------------------------------------------

OF_A_PAYMENT = """
    INSERT INTO installation (environment) VALUES ('sandbox');
    INSERT INTO transactions (id, phone_number, amount, account_reference, status)
    VALUES ('00000000-0000-4000-8000-000000000001', '254708374149', 1500, 'INV00042', 'INITIATED');
    INSERT INTO callback_inbox (transaction_id, body) VALUES ('00000000-0000-4000-8000-000000000001', 'as sent');
    INSERT INTO query_answers (transaction_id, said, outcome)
    VALUES ('00000000-0000-4000-8000-000000000001', 'as said', 'no_answer_yet');
"""
SHADOWS = """
    CREATE TEMPORARY TABLE transactions
        (id uuid, status text, amount numeric, pushed_at timestamptz, created_at timestamptz);
    CREATE TEMPORARY TABLE payment_confirmations (transaction_id uuid, amount numeric);
    CREATE TEMPORARY TABLE invoices (transaction_id uuid);
    CREATE TEMPORARY TABLE push_callers (address_digest text, asked_at timestamptz);
    CREATE TEMPORARY TABLE erasures (transaction_id uuid, within xid8, at timestamptz);
    INSERT INTO pg_temp.transactions VALUES ('00000000-0000-4000-8000-000000000001', 'PAID', 1500, NULL, now());
    INSERT INTO pg_temp.payment_confirmations VALUES ('00000000-0000-4000-8000-000000000001', 1500);
    INSERT INTO pg_temp.erasures VALUES ('00000000-0000-4000-8000-000000000001', pg_current_xact_id(), now());
"""
"""What makes every rule believe what it should not, where it looks into these tables."""
BY_SHADOWS = {
    "paid without a confirmation": "UPDATE public.transactions SET status = 'PAID', paid_at = now()",
    "a confirmation of what is not paid": """
        INSERT INTO public.payment_confirmations (transaction_id, evidence, mpesa_receipt_number, amount)
        VALUES ('00000000-0000-4000-8000-000000000001', 'operator', 'UE4JS31RBV', 1500)""",
    "an invoice of what is not paid": """
        INSERT INTO public.invoices (transaction_id, customer_email, amount)
        VALUES ('00000000-0000-4000-8000-000000000001', 'mallory@example.com', 1500)""",
    "a callback rewritten": "UPDATE public.callback_inbox SET body = 'another'",
    "an answer rewritten": "UPDATE public.query_answers SET said = 'another'",
}


def test_a_temporary_table_in_the_place_of_a_real_one_changes_nothing(each_postgres: EmbeddedPostgres) -> None:
    """As the owner, whom no privilege stops: only the rules themselves do."""
    with fresh_database(each_postgres) as name:
        database = Database(each_postgres.url(name))
        migrate(database, read_migrations())
        with database.transaction() as tx:
            tx.script(OF_A_PAYMENT)
        done = []
        for what, change in BY_SHADOWS.items():
            try:
                with database.transaction() as tx:
                    tx.script(SHADOWS)
                    tx.script(change)
                done.append(what)
            except ConstraintBroken:
                pass
            database.close()  # and with it its temporary tables
        with database.transaction() as tx:
            tx.script("INSERT INTO push_callers (address_digest) VALUES ('a caller')")
            tx.script(SHADOWS)
            refused = tx.row("SELECT refused_by FROM room_for_push('a caller', 1, 60, 1, NULL)")
        database.close()
    assert done == []
    assert refused == {"refused_by": "address"}


def test_every_function_names_where_it_looks(database: Database) -> None:
    """A new one says it too: `SET search_path = pg_catalog, public, pg_temp`."""
    with database.transaction() as tx:
        functions = tx.rows(
            """
            SELECT p.proname AS name, p.prosecdef AS as_its_owner, array_to_string(p.proconfig, ';') AS pinned
            FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
            """
        )
    assert len(functions) >= 12
    assert {row["pinned"] for row in functions} == {"search_path=pg_catalog, public, pg_temp"}
    assert {row["name"] for row in functions if row["as_its_owner"]} == {"next_invoice_number"}


AN_OWNER, AN_OWNERS_PASSWORD = "an_owner", "of-an-owner"


@contextmanager
def not_a_superuser(server: EmbeddedPostgres, name: str) -> Iterator[Database]:
    """One who may make tables and roles, as hosted databases give their users."""
    login = f"LOGIN CREATEROLE PASSWORD '{AN_OWNERS_PASSWORD}'"
    outside_of_transactions(server, f"CREATE ROLE {AN_OWNER} {login}")
    superuser = Database(server.url(name))
    with superuser.transaction() as tx:
        tx.script(f"GRANT CREATE ON SCHEMA public TO {AN_OWNER}; GRANT CREATE ON DATABASE {name} TO {AN_OWNER}")
    owner = Database(f"postgresql://{AN_OWNER}:{AN_OWNERS_PASSWORD}@127.0.0.1:{server.port}/{name}")
    try:
        yield owner
    finally:
        owner.close()
        with superuser.transaction() as tx:
            tx.script(f"REASSIGN OWNED BY {AN_OWNER} TO CURRENT_USER; DROP OWNED BY {AN_OWNER}; DROP ROLE {AN_OWNER}")
        superuser.close()


def test_the_functions_make_no_temporary_tables(each_postgres: EmbeddedPostgres) -> None:
    """Which is taken from everybody, as the database's owner; whoever owns only the tables is warned, and goes on."""
    with fresh_database(each_postgres) as name, not_a_superuser(each_postgres, name) as owner:
        database = Database(each_postgres.url(name))
        grants = "SELECT has_database_privilege('lipa_functions', current_database(), 'TEMPORARY') AS may"
        migrate(owner, read_migrations())
        grant_roles(owner)
        with database.transaction() as tx:
            assert tx.row(grants) == {"may": True}
            tx.script(f"ALTER DATABASE {name} OWNER TO {AN_OWNER}")
        grant_roles(owner)
        with database.transaction() as tx:
            assert tx.row(grants) == {"may": False}
        database.close()
