"""Misconfigurations, planted one at a time: doctor names each by its check, with the remedy, and nothing besides."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias

import pytest

from dev.postgres import EmbeddedPostgres
from shared import settings
from shared.database import Database
from tests.fixtures.certificates import Certificate, certificate
from tests.fixtures.database import TEMPLATE, fresh_database
from tests.fixtures.http_server import serving
from tests.fixtures.patient import Edge, Patient, serving_tls
from tests.fixtures.soak import Figure


@dataclass
class Bench:
    """What is needed to plant a fault."""

    patient: Patient
    server: EmbeddedPostgres
    authority: Certificate
    folder: Path
    patch: pytest.MonkeyPatch


Variables: TypeAlias = Mapping[str, str | None]
Plant: TypeAlias = Variables | Callable[[Bench], AbstractContextManager[Variables]]
"""Variables in place of the shop's own (`--live` among them is an option), or what is done first and undone."""


def sql(do: str, undo: str) -> Plant:
    @contextmanager
    def plant(bench: Bench) -> Iterator[Variables]:
        for statement in do.split("; "):
            bench.patient.shop.overwrite(statement)
        yield {}
        for statement in undo.split("; "):
            bench.patient.shop.overwrite(statement)

    return plant


def fault(where: str, kind: str) -> Plant:
    @contextmanager
    def plant(bench: Bench) -> Iterator[Variables]:
        bench.patient.shop.simulator.client.fault(where, kind)
        yield {}
        bench.patient.shop.simulator.client.make_peace()

    return plant


def patched(target: str, value: object, **variables: str) -> Plant:
    @contextmanager
    def plant(bench: Bench) -> Iterator[Variables]:
        with bench.patch.context() as patch:
            patch.setattr(target, value)
            for name, text in variables.items():
                patch.setenv(name, text)
            yield {}

    return plant


def edge(status: int, body: bytes = b"", takes_s: float = 0) -> Plant:
    """Something answers in place of the callback function."""
    kind = {"content-type": "application/json", "location": "https://www.shop.example/"}
    members = {"status": status, "page": body, "headers_sent": kind, "takes_s": takes_s}

    @contextmanager
    def plant(bench: Bench) -> Iterator[Variables]:
        with serving(type("Wrong", (Edge,), members)) as address:
            yield {"--live": address}

    return plant


def shown(chain: Callable[[Certificate], tuple[Certificate, ...]]) -> Plant:
    """These certificates, by a server whose authority everybody knows."""

    @contextmanager
    def plant(bench: Bench) -> Iterator[Variables]:
        with serving_tls(bench.folder, *chain(bench.authority)) as address:
            yield {"--live": address}

    return plant


def without_its_middle(authority: Certificate) -> tuple[Certificate, ...]:
    between = certificate("Between", issuer=authority, authority=True, identified=True)
    return (certificate("127.0.0.1", issuer=between, identified=True),)


def url(pattern: str, replacement: str) -> Plant:
    """Another DATABASE_URL."""
    return lambda bench: nullcontext({"DATABASE_URL": re.sub(pattern, replacement, bench.patient.functions_url)})


def twice(name: str) -> Plant:
    """The shop's callback secret, under a second name too."""

    def plant(_: Bench) -> AbstractContextManager[Variables]:
        own = settings.receiving().callback.secrets[0]
        return nullcontext({"CALLBACK_SECRET": own, name: own})

    return plant


def a_mail_server_too(bench: Bench) -> AbstractContextManager[Variables]:
    return nullcontext({"SMTP_URL": f"smtp://shop:any@127.0.0.1:{bench.patient.shop.simulator.smtp_port}"})


def owner(bench: Bench) -> AbstractContextManager[Variables]:
    return nullcontext({"DATABASE_URL": bench.patient.shop.database_url})


@contextmanager
def not_migrated(bench: Bench) -> Iterator[Variables]:
    with fresh_database(bench.server) as name:
        yield {"DATABASE_URL": bench.server.url(name)}


@contextmanager
def another_shops(bench: Bench) -> Iterator[Variables]:
    with fresh_database(bench.server, TEMPLATE) as name:
        other = Database(bench.server.url(name))
        other.run("INSERT INTO installation (environment) VALUES ('sandbox')")
        other.close()
        yield {"DATABASE_URL": bench.server.url(name)}


@contextmanager
def another_secret(bench: Bench) -> Iterator[Variables]:
    """The shop has had a token with the right one."""
    assert bench.patient.shop.rows("SELECT FROM access_tokens")
    mine = settings.settings()
    keys = {"AUDIT_SECRET": mine.audit.key.secret, "CALLBACK_SECRET": mine.callback.secrets[0]}
    yield {"MPESA_CONSUMER_SECRET": "another-secret", **keys}


def production(**variables: str | None) -> dict[str, str | None]:
    """Of a shop in production; nothing answers at its addresses."""
    callback = "https://203.0.113.7/api/pay/callback"
    database = "postgresql://nobody@127.0.0.1:1/nothing"
    bare: dict[str, str | None] = {"MPESA_ENV": "production", "MPESA_BASE_URL": None, "SENDGRID_BASE_URL": None}
    own = {"MPESA_SHORTCODE": "600123", "MPESA_PASSKEY": "p" * 64, "CATALOGUE": "none"}
    mail = {"INVOICE_EMAIL_FROM": "pay@duka.co.ke", "INVOICE_EMAIL_REPLY_TO": "pay@duka.co.ke"}
    return bare | own | mail | {"MPESA_CALLBACK_URL": callback, "DATABASE_URL": database} | variables


NOBODY_ANSWERS = {"database", "mail", "callback_tls"}
"""What fails in `production` whatever is planted."""


class Planted(NamedTuple):
    area: str
    check: str
    says: str
    do_now: str
    plant: Plant
    verdict: str = "failed"


def a_path(address: str) -> Plant:
    return production(MPESA_CALLBACK_URL=address)


S = "settings"
PROBLEM = b'{"code": "%s", "errors": [{"field": "MPESA_PASSKEY", "message": "must hold it"}]}'
ADDRESS, STEP_5, CHAIN = "deploying.md, step 7", "deploying.md, step 5", "Install the full chain"
# fmt: off
TABLE = (
    # settings
    Planted(S, S, "MPESA_PASSKEY must hold", STEP_5, {"MPESA_PASSKEY": None}),
    Planted(S, S, "this is an example's value", STEP_5, production(MPESA_PASSKEY="your-passkey-here")),
    Planted(S, S, "without the line break that was copied", STEP_5, {"MPESA_CONSUMER_SECRET": "abcdefgh\\n"}),
    Planted(S, S, "without quotes around it", STEP_5, {"MPESA_CONSUMER_KEY": "'abcdefgh'"}),
    Planted(S, S, "without its name", STEP_5, {"CALLBACK_SECRET": "CALLBACK_SECRET=" + "c" * 40}),
    Planted(S, S, "Is MAX_PAYMENT_KES meant?", STEP_5, {"MAX_PAYMENTS_KES": "100"}),
    Planted(S, S, "an asterisk matches nothing", STEP_5, {"ALLOWED_ORIGINS": "https://*.shop.example"}),
    Planted(S, S, "SWEEP_IDLE_MINUTES must hold", STEP_5, {"SWEEP_IDLE_MINUTES": "often"}),
    Planted(S, S, "DATABASE_URL must hold", STEP_5, {"DATABASE_URL": "postgresql://u:p#w@host/db"}),
    Planted(S, S, "MPESA_ENV must hold sandbox or production", STEP_5, {"MPESA_ENV": "live"}),
    Planted(S, S, "CALLBACK_SECRET must hold at least 32", STEP_5, {"CALLBACK_SECRET": "short"}),
    Planted(S, S, "CALLBACK_SECRET_PREVIOUS is the same secret as CALLBACK_SECRET", "openssl rand -hex 32",
            twice("CALLBACK_SECRET_PREVIOUS")),
    Planted(S, S, "LINK_SECRET is the same secret", "openssl rand -hex 32", twice("LINK_SECRET")),
    Planted(S, S, "derived from passkey and consumer secret", "values of their own", production(), "warning"),
    Planted(S, "variables_size", "a deploy fails", "Shorten the largest, ALLOWED_ORIGINS",
            {"ALLOWED_ORIGINS": ",".join(["https://shop.example"] * 200)}),
    Planted(S, "prices", "CATALOGUE must hold", "docs/prices.md", {"CATALOGUE": "public/no-such-file.json"}),
    Planted(S, "prices", "the customer's browser names the price", "docs/prices.md",
            {"CATALOGUE": "none"}, "warning"),
    Planted(S, "limits", "MAX_PAYMENT_KES is more than MAX_SHOP_KES_PER_DAY", "docs/limits.md",
            {"MAX_SHOP_KES_PER_DAY": "1000"}, "warning"),
    Planted(S, "error_reports", "SENTRY_DSN must hold", STEP_5, {"SENTRY_DSN": "https://sentry.io/2"}),
    Planted(S, "webhook_settings", "ORDER_WEBHOOK_SECRET must hold", STEP_5,
            {"ORDER_WEBHOOK_URL": "https://hooks.duka.co.ke/orders"}),
    # Daraja
    Planted("daraja", S, "MPESA_SHORTCODE must hold", STEP_5, production(MPESA_SHORTCODE="174379")),
    Planted("daraja", S, "MPESA_BASE_URL must hold", STEP_5,
            production(MPESA_BASE_URL="https://sandbox.safaricom.co.ke")),
    Planted("daraja", S, "MPESA_PARTY_B must hold the till number", STEP_5,
            {"MPESA_TRANSACTION_TYPE": "CustomerBuyGoodsOnline"}),
    Planted("daraja", S, "MPESA_TRANSACTION_TYPE is a paybill's", "MPESA_TRANSACTION_TYPE=CustomerBuyGoodsOnline",
            {"MPESA_PARTY_B": "654321"}),
    Planted("daraja", S, "a till's number usually differs", "head-office number",
            {"MPESA_TRANSACTION_TYPE": "CustomerBuyGoodsOnline", "MPESA_PARTY_B": "174379"}, "warning"),
    Planted("daraja", "daraja_token", "wrong is one of the two", "Copy both from one app",
            {"MPESA_CONSUMER_KEY": "another-key"}),
    Planted("daraja", "daraja_token", "wrong is MPESA_CONSUMER_SECRET", "Copy both from one app", another_secret),
    Planted("daraja", "daraja_token", "a page in place of Daraja's JSON", "try from another network",
            fault("oauth", "firewall_403")),
    Planted("daraja", "daraja_token", "a page in place of Daraja's JSON", "A firewall answers",
            fault("oauth", "firewall_503")),
    Planted("daraja", "daraja_token", "the connection failed", "Safaricom's support",
            {"MPESA_BASE_URL": "http://127.0.0.1:1"}),
    # mail
    Planted("mail", "mail_settings", "SENDGRID_API_KEY must hold", STEP_5, {"SENDGRID_API_KEY": None}),
    Planted("mail", "mail_settings", "invoices come from (this is an example's value)", STEP_5,
            production(INVOICE_EMAIL_FROM="pay@shop.example")),
    Planted("mail", "mail_settings", "SENDGRID_SANDBOX must hold", STEP_5, production(SENDGRID_SANDBOX="on")),
    Planted("mail", "mail_settings", "only SMTP_URL is used", "Remove the one", a_mail_server_too, "warning"),
    Planted("mail", "mail", "SENDGRID_API_KEY", "step 3", fault("mail", "unauthorized_401")),
    Planted("mail", "mail", "SendGrid took no mail", "Try again", fault("mail", "error_500")),
    Planted("mail", "mail", "SendGrid gave no answer", "Try again", fault("mail", "drop")),
    Planted("mail", "mail", "the mail server took no mail", "correct SMTP_URL",
            {"SMTP_URL": "smtp://127.0.0.1:1", "SENDGRID_API_KEY": None}),
    # the database
    Planted("database", "database", "the connection was refused", "docs/database.md",
            {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}),
    Planted("database", "database", "refuses the user's password", "Put the present password into DATABASE_URL",
            url("of-the-functions", "not-this-one")),
    Planted("database", "database", "no database of this name", "DATABASE_URL", url("/[^/]+$", "/no_such_database")),
    Planted("database", "database_version", "PostgreSQL 18 is too old", "Use PostgreSQL",
            patched("ops.checks.database.OLDEST", 19)),
    Planted("database", "migrations", "0001_schema", "make migrate", not_migrated),
    Planted("database", "tables", "tables are in schema lipa_too", "db.migrate --check", sql(
        "CREATE SCHEMA lipa_too; ALTER TABLE statement_files SET SCHEMA lipa_too",
        "ALTER TABLE lipa_too.statement_files SET SCHEMA public; DROP SCHEMA lipa_too")),
    Planted("database", "role", "lacks SELECT on invoice_years", "db.migrate --roles", sql(
        "REVOKE SELECT ON invoice_years FROM lipa_functions", "GRANT SELECT ON invoice_years TO lipa_functions")),
    Planted("database", "role", "owns the tables", "db.migrate --roles", owner, "warning"),
    Planted("database", "clock", "the database's clock is 86,4", "Compare both", patched(
        "ops.checks.database.time", SimpleNamespace(time=lambda: time.time() + 86_400))),
    Planted("database", "environment", "belongs to production, and MPESA_ENV says sandbox", "step 2", sql(
        "UPDATE installation SET environment = 'production'", "UPDATE installation SET environment = 'sandbox'")),
    Planted("database", "audit_key", "signed with another key", "AUDIT_SECRET_PREVIOUS", {"AUDIT_SECRET": "n" * 40}),
    # the network
    Planted("network", "callback_address", "a tunnel or a public tester", STEP_5,
            a_path("https://a1b2.ngrok-free.app/api/pay/callback")),
    Planted("network", "callback_address", "“safaricom” in it", "/api/pay/callback",
            a_path("https://safaricom-shop.netlify.app/api/pay/callback")),
    Planted("network", "callback_address", "“mpesa” in it", "/api/pay/callback, the same function",
            a_path("https://203.0.113.7/api/mpesa/callback"), "warning"),
    Planted("network", "callback_address", "a private network", STEP_5, a_path("https://10.0.0.7/api/pay/callback")),
    Planted("network", "callback_address", "is one deploy's", STEP_5,
            a_path("https://main--shop.netlify.app/api/pay/callback")),
    Planted("network", "callback_tls", "it is self-signed", CHAIN,
            shown(lambda _: (certificate("127.0.0.1", authority=True, identified=True),))),
    Planted("network", "callback_tls", "it has expired", CHAIN, shown(
        lambda known: (certificate("127.0.0.1", issuer=known, expired=True, identified=True),))),
    Planted("network", "callback_tls", "it is for another", CHAIN, shown(
        lambda known: (certificate("127.0.0.2", issuer=known, identified=True),))),
    Planted("network", "callback_tls", "its chain has a gap", CHAIN, shown(without_its_middle)),
    Planted("network", "callback_answer", "a firewall or CDN answers 403", ADDRESS, edge(403, b"<html>Denied</html>")),
    Planted("network", "callback_answer", "a firewall or CDN answers 403", ADDRESS, edge(403, b'{"code": "no"}')),
    Planted("network", "callback_answer", "asks for a password", ADDRESS, edge(401)),
    Planted("network", "callback_answer", "the address redirects", ADDRESS, edge(301)),
    Planted("network", "callback_answer", "a page of HTML (200)", ADDRESS, edge(200, b"<html>Checking</html>")),
    Planted("network", "callback_answer", "a page of HTML (404)", ADDRESS, edge(404, b"<html>Not found</html>")),
    Planted("network", "callback_answer", "a page of HTML (503)", ADDRESS, edge(503, b"<html>challenge</html>")),
    Planted("network", "callback_answer", "405 in place of", ADDRESS, edge(405)),
    Planted("network", "callback_answer", "gave no answer", ADDRESS, {"--live": "http://127.0.0.1:1"}),
    # the deploy
    Planted("deploy", S, "the deploy context deploy-preview", STEP_5, production(CONTEXT="deploy-preview")),
    Planted("deploy", S, "(this is an example's value)", STEP_5, a_path("https://shop.example/api/pay/callback")),
    Planted("deploy", "callback_answer", "lack settings: MPESA_PASSKEY", STEP_5, edge(500, PROBLEM % b"misconfigured")),
    Planted("deploy", "callback_answer", "cannot reach their database", "docs/database.md",
            edge(503, PROBLEM % b"unavailable")),
    Planted("deploy", "test_callback", "their CALLBACK_SECRET, set or derived, is another", "the site's own variables",
            {"CALLBACK_SECRET": "another-secret-" * 4}),
    Planted("deploy", "test_callback", "in another database than this DATABASE_URL's", "Compare DATABASE_URL",
            another_shops),
    Planted("deploy", "deployed", "another database than this DATABASE_URL's", "step 2", another_shops),
    Planted("deploy", "deployed", "far apart (us-east-2 and 127.0.0.1)", "Put both in one region", patched(
        "ops.checks.live.REGION", re.compile("127.0.0.1"), AWS_REGION="us-east-2"), "warning"),
    Planted("deploy", "callbacks", "a CDN in front of the site hides them", "ADDRESS_PUSHES_PER_HOUR", sql(
        "DELETE FROM push_callers; INSERT INTO push_callers (address_digest) SELECT 'one' FROM generate_series(1, 40)",
        "DELETE FROM push_callers"), "warning"),
    Planted("deploy", "sweep", "no sweep has got through", "sweep_stopped", sql(
        "UPDATE sweeps SET began_at = began_at - interval '1 hour', asleep_until = asleep_until - interval '1 hour'",
        "UPDATE sweeps SET began_at = now(), asleep_until = now()")),
)
# fmt: on
GO_TOGETHER = ({"test_callback", "deployed"},)
"""One cause, which two checks see from two sides."""


@pytest.mark.timeout(600)
def test_every_planted_misconfiguration_is_named_by_its_check_with_its_remedy(
    patient: Patient,
    postgres_server: EmbeddedPostgres,
    authority: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figure: Figure,
) -> None:
    patient.shop.settled()
    bench = Bench(patient, postgres_server, authority, tmp_path, monkeypatch)
    assert patient.named() == {}
    wrong = [f"{each.area}: {each.says}: {said}" for each in TABLE if (said := missed(bench, each))]
    assert not wrong, "\n".join(wrong)
    assert patient.named() == {}
    figure(f"{len(TABLE)} of {len(TABLE)} named by the right check with the remedy; a right shop: 0 false")


def missed(bench: Bench, planted: Planted) -> str:
    """What doctor says otherwise; empty where it names the fault, and nothing besides."""
    plant = planted.plant(bench) if callable(planted.plant) else nullcontext(planted.plant)
    with plant as variables, bench.patch.context() as patch:
        given: dict[str, Any] = dict(variables)
        for module in ("live", "outside") if "MPESA_ENV" in given else ():
            patch.setattr(f"ops.checks.{module}.ANSWERS_WITHIN_S", 0.2)
        live = given.pop("--live", None)
        found = bench.patient.examined(*(("--live", live) if live else ()), **given)
    named = any(
        (each["name"], each["verdict"]) == (planted.check, planted.verdict)
        and planted.says in each["says"]
        and planted.do_now in each["do_now"]
        for each in found
    )
    failed = {each["name"] for each in found if each["verdict"] == "failed"} - {planted.check}
    if "MPESA_ENV" in given:
        failed -= NOBODY_ANSWERS
    failed = failed if not any(planted.check in group and failed <= group for group in GO_TOGETHER) else set()
    if named and not failed:
        return ""
    return f"not named in {[each for each in found if each['name'] == planted.check]}; besides: {sorted(failed)}"
