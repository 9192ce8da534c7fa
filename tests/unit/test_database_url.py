"""DATABASE_URL is understood as libpq understands it, or refused by name, and never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.database import connection_settings, numbered

NEON = "postgresql://shop_owner:npg_s3cret@ep-cool-dew-a1b2c3-pooler.eu-central-1.aws.neon.tech/shop"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"{NEON}?sslmode=require&channel_binding=require", {"tls": "verified", "channel_binding": "require"}),
        (f"{NEON}?sslmode=require", {"port": 5432, "database": "shop", "user": "shop_owner", "password": "npg_s3cret"}),
        (NEON, {"tls": "verified", "host": "ep-cool-dew-a1b2c3-pooler.eu-central-1.aws.neon.tech"}),
        ("postgres://u:p@db.example:6543/shop", {"host": "db.example", "port": 6543, "tls": "verified"}),
        ("POSTGRES://u@db.example", {"database": "u", "password": None}),
        ("  postgres://u@db.example\n", {"host": "db.example"}),
        ("postgres://u%40shop:p%2Fa%3Fss%25@db.example/my%20shop", {"user": "u@shop", "password": "p/a?ss%"}),
        ("postgres://u:p:q@db.example/d", {"password": "p:q"}),
        ("postgres://u:p@q@db.example/d", {"password": "p@q", "host": "db.example"}),
        ("postgres://u:%C3%A4@db.example/d", {"password": "ä"}),
        ("postgres://u@[2001:db8::1]:5433/d", {"host": "2001:db8::1", "port": 5433, "tls": "verified"}),
        ("postgres://u@[::1]/d", {"host": "::1", "tls": "off"}),
        ("postgres://u@localhost/d", {"tls": "off", "socket_path": None}),
        ("postgres://u@127.0.0.1/d?sslmode=disable", {"tls": "off"}),
        ("postgres://u@127.0.0.1/d?sslmode=require", {"tls": "unverified"}),
        ("postgres://u@127.0.0.1/d?sslmode=require&sslrootcert=/ca.pem", {"tls": "verified"}),
        ("postgres://u@127.0.0.1/d?sslmode=verify-full", {"tls": "verified", "root_certificates": None}),
        ("postgres://u@db.example/d?sslmode=prefer", {"tls": "verified"}),
        ("postgres://u@db.example/d?sslmode=allow", {"tls": "verified"}),
        (
            "postgres://u@db.example/d?sslmode=verify-ca&sslrootcert=/ca.pem",
            {"root_certificates": "/ca.pem", "tls": "authority"},
        ),
        ("postgres://u@db.example/d?sslmode=verify-ca", {"root_certificates": None, "tls": "verified"}),
        ("postgres://u@db.example/d?sslmode=verify-ca&sslrootcert=system", {"tls": "verified"}),
        ("postgres://u@db.example/d?sslrootcert=system", {"root_certificates": None, "tls": "verified"}),
        ("postgres://localhost.evil.example/d?user=u", {"tls": "verified"}),
        ("postgres://u@127.0.0.1.evil.example/d", {"tls": "verified"}),
        ("postgresql:///shop?host=/var/run/postgresql&user=u", {"socket_path": "/var/run/postgresql/.s.PGSQL.5432"}),
        ("postgresql://u@%2Frun%2Fpg:5433/shop", {"socket_path": "/run/pg/.s.PGSQL.5433", "tls": "off"}),
        ("postgresql://u@/shop?host=/run/pg&port=5433&sslmode=require", {"socket_path": "/run/pg/.s.PGSQL.5433"}),
        ("postgresql://u@db.example/?dbname=shop&password=p", {"database": "shop", "password": "p"}),
        ("postgresql://db.example/d?user=u&host=other.example", {"host": "other.example"}),
        ("postgresql://u@db.example/d?options=endpoint%3Dep-1", {"options": "endpoint=ep-1"}),
        ("postgresql://u@db.example/d?connect_timeout=10", {"connect_timeout_s": 10.0}),
        ("postgresql://u@db.example/d?connect_timeout=0", {"connect_timeout_s": None}),
        ("postgresql://u@db.example/d", {"application_name": "lipa"}),
        ("postgresql://u@db.example/d?application_name=shop", {"application_name": "shop"}),
        ("postgresql://u@db.example/d?target_session_attrs=read-write", {"host": "db.example"}),
    ],
)
def test_a_connection_string_says_where_and_how(url: str, expected: dict[str, object]) -> None:
    settings = connection_settings(url)
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must begin with"),
        ("mysql://u@h/d", "must begin with"),
        ("psql 'postgres://u@h/d'", "must begin with"),
        ("postgres://u@h/d e", "space"),
        ("postgres://u@/d", "names no host"),
        ("postgres://h/d", "names no user"),
        ("postgres://u@a.example,b.example/d", "more than one host"),
        ("postgres://u@h:99999/d", "port that is no number"),
        ("postgres://u@h:5432x/d", "port that is no number"),
        ("postgres://u:pa/ss@h/d", "percent-encoded"),
        ("postgres://u:pa?ss=1@h/d", "percent-encoded"),
        ("postgres://u:pa#ss@h/d", "percent-encoded"),
        ("postgres://u:p@a?ss=1@h/d", "percent-encoded"),
        ("postgres://u:100%@h/d", "%25"),
        ("postgres://u:%ff@h/d", "UTF-8"),
        ("postgres://u:%00@h/d", "UTF-8"),
        ("postgres://u@h.example/d?sslmode=disable", "sslmode=disable"),
        ("postgres://u@h.example/d?sslmode=yes", "sslmode"),
        ("postgres://u@h.example/d?sslcert=/c", "parameter sslcert"),
        ("postgres://u@h.example/d?pgbouncer=true", "parameter pgbouncer"),
        ("postgres://u@h.example/d?sslnegotiation=direct", "sslnegotiation"),
        ("postgres://u@h.example/d?channel_binding=maybe", "channel_binding"),
        ("postgres://u@localhost/d?channel_binding=require", "needs TLS"),
        ("postgres://u@/d?host=/run&channel_binding=require", "needs TLS"),
        ("postgres://u@h.example/d?target_session_attrs=standby", "target_session_attrs"),
        ("postgres://u@h.example/d?client_encoding=latin1", "client_encoding"),
        ("postgres://u@h.example/d?connect_timeout=soon", "connect_timeout"),
        ("postgres://u@h.example/d?sslmode", "without a value"),
        (f"postgres://u@/d?host=/{'x' * 100}", "107 bytes"),
        ("postgres://u@h_&!/d", "no host name"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"^DATABASE_URL ") as refused:
        connection_settings(url)
    assert says in str(refused.value)


NOISE = st.text("abcXYZ019%/?#[]@:&=,. _-ä\n", max_size=30)


@given(
    NOISE, NOISE, st.sampled_from(["postgres://u:{}@h/d", "postgres://{}@h/d", "postgresql://u:{}@h.example:1/d?a=b"])
)
def test_no_error_ever_shows_a_piece_of_the_password(before: str, after: str, form: str) -> None:
    secret = "correcthorse"
    try:
        told = repr(connection_settings(form.format(before + secret + after)))
    except ValueError as refused:
        told = str(refused)
    assert secret not in told


@pytest.mark.parametrize(
    ("sql", "statement", "names"),
    [
        ("SELECT :a, :b, :a", "SELECT $1, $2, $1", ("a", "b")),
        ("SELECT CAST(:a AS text)::uuid", "SELECT CAST($1 AS text)::uuid", ("a",)),
        ("SELECT ':a', \":b\", 'it''s :c'", "SELECT ':a', \":b\", 'it''s :c'", ()),
        ("SELECT E'\\':a' || :b", "SELECT E'\\':a' || $1", ("b",)),
        ("SELECT 1 -- :a\n, :b", "SELECT 1 -- :a\n, $1", ("b",)),
        ("SELECT /* :a ' */ :b", "SELECT /* :a ' */ $1", ("b",)),
        ("DO $$ BEGIN x := :a; END $$", "DO $$ BEGIN x := :a; END $$", ()),
        ("DO $f$ $$ :a $f$ :b", "DO $f$ $$ :a $f$ $1", ("b",)),
        ("SELECT list[1:2], x[:a:3]", "SELECT list[1:2], x[$1:3]", ("a",)),
        ("SELECT '-- ' || :a", "SELECT '-- ' || $1", ("a",)),
    ],
)
def test_names_become_numbers_only_where_they_are_parameters(sql: str, statement: str, names: tuple[str, ...]) -> None:
    assert numbered(sql) == (statement, names)
