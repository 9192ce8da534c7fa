"""Everything the environment says, read and checked in one place; nobody else reads it.

A missing or malformed variable fails at start, named, with what it should hold and never with its value. Most functions
need all of it. The callback function asks only for what receiving money takes (`Receiving`): Safaricom does not send a
callback again, so a mistyped mail address must not cost one.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal
from urllib.parse import urlsplit

from shared.audit_chain import AuditKey
from shared.limits import Limits
from shared.money import LARGEST_DAY_KES, LARGEST_KES, SMALLEST_KES
from shared.safaricom_addresses import IpMode

Environment = Literal["sandbox", "production"]

DARAJA_HOSTS: Mapping[Environment, str] = {
    "sandbox": "https://sandbox.safaricom.co.ke",
    "production": "https://api.safaricom.co.ke",
}
SANDBOX_SHORTCODE = "174379"
SANDBOX_PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"
"""Published: it decodes from the sample request (Daraja portal, M-Pesa Express). Production refuses it."""
SAMPLE_SECRET = "at_least_32_characters_of_your_own_choosing"
"""Of .env.example: whoever reads that can sign with it."""
MOST_OF_A_SHOP_KES = Decimal(999_999_999)
LARGEST_COUNT = 100_000
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Problem:
    """One variable that cannot be used, and what it should hold."""

    name: str
    should_hold: str


class Misconfigured(Exception):
    """Set the named environment variables (Netlify: Site configuration, Environment variables) and deploy again."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.name} must hold {p.should_hold}" for p in problems))

    @classmethod
    def of(cls, name: str, should_hold: str) -> Misconfigured:
        return cls([Problem(name, should_hold)])


@dataclass(frozen=True)
class DatabaseSettings:
    url: str = field(repr=False)
    environment: Environment


@dataclass(frozen=True)
class DarajaSettings:
    environment: Environment
    base_url: str
    consumer_key: str = field(repr=False)
    consumer_secret: str = field(repr=False)
    shortcode: str
    passkey: str = field(repr=False)
    transaction_type: str
    party_b: str


@dataclass(frozen=True)
class CallbackSettings:
    url: str
    """Where Safaricom calls back; a payment's own address is this plus `/{transaction id}/{token}`."""
    secrets: tuple[str, ...] = field(repr=False)
    """The secret that signs new addresses, then the previous one, which keeps older addresses alive."""
    confirm_above_kes: Decimal
    ip_mode: IpMode = "flag"
    """What becomes of a callback from an address that is not Safaricom's."""


@dataclass(frozen=True)
class AuditSettings:
    keys: tuple[AuditKey, ...]
    """The key that signs history, then those that signed it before."""

    @property
    def key(self) -> AuditKey:
        return self.keys[0]


@dataclass(frozen=True)
class MailSettings:
    from_address: str
    reply_to: str
    sendgrid_api_key: str | None = field(repr=False)
    sendgrid_base_url: str
    smtp_url: str | None = field(repr=False)
    sendgrid_sandbox: bool = False
    """SendGrid checks each message and sends none."""


@dataclass(frozen=True)
class ShopSettings:
    name: str
    address: str | None


@dataclass(frozen=True)
class EdgeSettings:
    allowed_origins: tuple[str, ...]


@dataclass(frozen=True)
class MonitoringSettings:
    dsn: str | None = field(repr=False)
    """Where Sentry takes reports; None: the log alone tells."""
    environment: str
    release: str | None


@dataclass(frozen=True)
class Receiving:
    """What it takes to receive a callback."""

    database: DatabaseSettings
    callback: CallbackSettings
    audit: AuditSettings

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Receiving:
        reader = _Reader(environ)
        receiving = cls(_database(reader), _callback(reader), _audit(reader))
        reader.check()
        return receiving


@dataclass(frozen=True)
class Settings:
    """All of it."""

    database: DatabaseSettings
    daraja: DarajaSettings
    callback: CallbackSettings
    audit: AuditSettings
    mail: MailSettings
    shop: ShopSettings
    edge: EdgeSettings
    limits: Limits
    monitoring: MonitoringSettings

    @property
    def caller_key(self) -> str:
        """Callers' addresses are counted under a digest with this key, which is nowhere in the database."""
        return hmac.new(self.callback.secrets[0].encode(), b"lipa caller address", hashlib.sha256).hexdigest()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        reader = _Reader(environ)
        settings = cls(
            _database(reader),
            _daraja(reader),
            _callback(reader),
            _audit(reader),
            _mail(reader),
            _shop(reader),
            _edge(reader),
            _limits(reader),
            _monitoring(reader),
        )
        reader.check()
        return settings


@functools.cache
def settings() -> Settings:
    """The process's own settings. Raises `Misconfigured`."""
    return Settings.from_environment(os.environ)


@functools.cache
def receiving() -> Receiving:
    """The part of the process's own settings that the callback function needs. Raises `Misconfigured`."""
    return Receiving.from_environment(os.environ)


@functools.cache
def monitoring() -> MonitoringSettings:
    """Where the process's errors are told, whatever else is wrong with its settings. Raises `Misconfigured`."""
    reader = _Reader(os.environ)
    mine = _monitoring(reader)
    reader.check()
    return mine


def database_url(environ: Mapping[str, str]) -> str:
    """Where the books are, for the operator's commands. Raises `Misconfigured`."""
    reader = _Reader(environ)
    url = _database_url(reader)
    reader.check()
    return url


def limits(environ: Mapping[str, str]) -> Limits:
    """The limits alone, for the operator's command. Raises `Misconfigured`."""
    reader = _Reader(environ)
    found = _limits(reader)
    reader.check()
    return found


def confirm_above_kes(environ: Mapping[str, str]) -> Decimal:
    """Above which amount a callback waits for a query, as the functions have it. Raises `Misconfigured`."""
    reader = _Reader(environ)
    amount_kes = _confirm_above_kes(reader)
    reader.check()
    return amount_kes


def callback_secret(environ: Mapping[str, str]) -> str:
    """The secret that signs new callback addresses, set or derived. Raises `Misconfigured`."""
    reader = _Reader(environ)
    secret = _callback_secret(reader)
    reader.check()
    return secret


def audit_settings(environ: Mapping[str, str]) -> AuditSettings:
    """The keys of the audit log, set or derived, for the operator's commands. Raises `Misconfigured`."""
    if not audit_key_is_at_hand(environ):
        raise Misconfigured.of(
            "AUDIT_SECRET",
            "the secret that signs the audit log; or MPESA_ENV, MPESA_PASSKEY and MPESA_CONSUMER_SECRET "
            "must hold what the functions have, from which it follows",
        )
    reader = _Reader(environ)
    audit = _audit(reader)
    reader.check()
    return audit


def audit_key_is_at_hand(environ: Mapping[str, str]) -> bool:
    """Whether the environment says enough for `audit_settings`, malformed or not."""
    reader = _Reader(environ)
    return reader.has("AUDIT_SECRET") or all(map(reader.has, ("MPESA_ENV", "MPESA_PASSKEY", "MPESA_CONSUMER_SECRET")))


# Reading one part each ------------------------------------------------------------------------------------------------


def _environment(reader: _Reader) -> Environment:
    text = reader.text("MPESA_ENV", "'sandbox' or 'production'", lambda v: v in DARAJA_HOSTS)
    return "production" if text == "production" else "sandbox"


def _database(reader: _Reader) -> DatabaseSettings:
    return DatabaseSettings(_database_url(reader), _environment(reader))


def _database_url(reader: _Reader) -> str:
    name = "NETLIFY_DB_URL" if not reader.has("DATABASE_URL") and reader.has("NETLIFY_DB_URL") else "DATABASE_URL"
    holds = "the connection string of a PostgreSQL database, like postgresql://user:password@host:5432/name"
    url = reader.text(name, holds)
    if url:
        from shared.database_url import connection_settings

        try:
            connection_settings(url)
        except ValueError as refused:
            reader.problem(name, f"{holds} ({str(refused).replace('DATABASE_URL', name)})")
    return url


def _daraja(reader: _Reader) -> DarajaSettings:
    environment = _environment(reader)
    production = environment == "production"
    not_sandbox = ", not the sandbox one" * production

    def own_number(value: str) -> bool:
        return _digits(value) and not (production and value == SANDBOX_SHORTCODE)

    holds = f"your paybill, or the till's head-office number: 5 to 7 digits{not_sandbox}"
    shortcode = reader.text("MPESA_SHORTCODE", holds, own_number)
    kinds = ("CustomerPayBillOnline", "CustomerBuyGoodsOnline")
    return DarajaSettings(
        environment=environment,
        base_url=reader.other_server("MPESA_BASE_URL", DARAJA_HOSTS[environment], production),
        consumer_key=reader.text("MPESA_CONSUMER_KEY", "the consumer key of your app on the Daraja portal", _plain),
        consumer_secret=_consumer_secret(reader),
        shortcode=shortcode,
        passkey=_passkey(reader),
        transaction_type=reader.text(
            "MPESA_TRANSACTION_TYPE", " or ".join(kinds), lambda v: v in kinds, default=kinds[0]
        ),
        party_b=reader.text(
            "MPESA_PARTY_B", f"the till number: 5 to 7 digits{not_sandbox}", own_number, default=shortcode
        ),
    )


def _callback(reader: _Reader) -> CallbackSettings:
    production = _environment(reader) == "production"
    holds = "the https address of the callback function, like https://shop.example/api/pay/callback"
    secrets = [_callback_secret(reader)]
    previous = reader.text(
        "CALLBACK_SECRET_PREVIOUS", "the callback secret used before this one", _long_secret, default=""
    )
    return CallbackSettings(
        url=reader.text("MPESA_CALLBACK_URL", holds, lambda v: _callback_url(v, production)),
        secrets=(*secrets, *([previous] if previous else [])),
        confirm_above_kes=_confirm_above_kes(reader),
        ip_mode=_ip_mode(reader),
    )


def _confirm_above_kes(reader: _Reader) -> Decimal:
    return reader.kes("CONFIRM_ABOVE_KES", Decimal(20_000), Decimal(0))


def _ip_mode(reader: _Reader) -> IpMode:
    """Where another server stands in for Daraja (MPESA_BASE_URL), callbacks come from there, and nobody wonders."""
    modes: dict[str, IpMode] = {"flag": "flag", "enforce": "enforce", "off": "off"}
    default = "off" if reader.has("MPESA_BASE_URL") else "flag"
    text = reader.text("CALLBACK_IP_MODE", "flag, enforce or off", lambda v: v in modes, default=default)
    return modes.get(text, "flag")


def _mail(reader: _Reader) -> MailSettings:
    production = _environment(reader) == "production"
    smtp_url = reader.text(
        "SMTP_URL", "smtp://user:password@host:587 or smtps://user:password@host:465", _smtp_url, default=""
    )
    key = reader.text(
        "SENDGRID_API_KEY",
        "an API key of SendGrid, beginning with 'SG.'",
        lambda v: v.startswith("SG.") and _plain(v),
        default="" if smtp_url else None,
    )
    return MailSettings(
        from_address=reader.text("INVOICE_EMAIL_FROM", "the e-mail address invoices come from", _address),
        reply_to=reader.text("INVOICE_EMAIL_REPLY_TO", "the e-mail address customers answer to", _address),
        sendgrid_api_key=key or None,
        sendgrid_base_url=reader.other_server("SENDGRID_BASE_URL", "https://api.sendgrid.com", production),
        smtp_url=smtp_url or None,
        sendgrid_sandbox=_sendgrid_sandbox(reader, production, by_smtp=bool(smtp_url)),
    )


def _sendgrid_sandbox(reader: _Reader, production: bool, *, by_smtp: bool) -> bool:
    name = "SENDGRID_SANDBOX"
    if reader.text(name, "on or off", lambda v: v in ("on", "off"), default="off") != "on":
        return False
    if production:
        reader.problem(name, "off, or nothing, when MPESA_ENV is production: no customer would get an invoice")
    if by_smtp:
        reader.problem(
            name, "off, or nothing, where SMTP_URL is set: it is SendGrid's, and SMTP would send all the same"
        )
    return True


def _shop(reader: _Reader) -> ShopSettings:
    host = urlsplit(reader.get("MPESA_CALLBACK_URL")).hostname or "the shop"
    return ShopSettings(
        name=reader.text("SHOP_NAME", "the shop's name as invoices show it", _one_line, default=host),
        address=reader.text("SHOP_ADDRESS", "the shop's address on one line", _one_line, default="") or None,
    )


def _edge(reader: _Reader) -> EdgeSettings:
    site = reader.get("URL").rstrip("/")
    holds = "web origins separated by commas, like https://shop.example,https://www.shop.example"
    text = reader.text("ALLOWED_ORIGINS", holds, lambda v: all(map(_origin, _listed(v))), default=site)
    return EdgeSettings(tuple(map(_as_browsers_write_it, _listed(text))))


def _limits(reader: _Reader) -> Limits:
    """Sums are Safaricom's own unless set; it publishes none for a whole shop (Daraja portal, M-Pesa Express FAQ 5)."""
    unlimited = Decimal(0)
    shop_kes_a_day = reader.kes("MAX_SHOP_KES_PER_DAY", unlimited, SMALLEST_KES, MOST_OF_A_SHOP_KES)
    return Limits(
        payment_kes=reader.kes("MAX_PAYMENT_KES", LARGEST_KES, SMALLEST_KES),
        phone_kes_a_day=reader.kes("MAX_PHONE_KES_PER_DAY", LARGEST_DAY_KES, SMALLEST_KES, LARGEST_DAY_KES),
        shop_kes_a_day=shop_kes_a_day or None,
        phone_pushes_an_hour=reader.count("PHONE_PUSHES_PER_HOUR", 10),
        phone_unanswered_in_a_row=reader.count("PHONE_UNANSWERED_PUSHES", 3),
        address_pushes_an_hour=reader.count("ADDRESS_PUSHES_PER_HOUR", 120),
        shop_pushes_a_minute=reader.count("SHOP_PUSHES_PER_MINUTE", 60),
    )


def _monitoring(reader: _Reader) -> MonitoringSettings:
    """Asks nothing of the other variables: also what is wrong with those is told there."""
    environment = reader.get("MPESA_ENV")
    commit = reader.get("COMMIT_REF")
    release = "a version or commit: letters, digits and . _ - @ + /, at most 100"
    return MonitoringSettings(
        dsn=reader.text("SENTRY_DSN", "the DSN of a Sentry project, like https://key@o1.ingest.sentry.io/2", _dsn, "")
        or None,
        environment=environment if environment in DARAJA_HOSTS else "unknown",
        release=reader.text("SENTRY_RELEASE", release, _release, default=commit if _release(commit) else "") or None,
    )


def _callback_secret(reader: _Reader) -> str:
    published = (SAMPLE_SECRET,) if reader.get("MPESA_ENV") == "production" else ()
    holds = "at least 32 characters of your own choosing"
    chosen = reader.text("CALLBACK_SECRET", holds, lambda v: _long_secret(v) and v not in published, default="")
    return chosen or derived_callback_secret(_passkey(reader), _consumer_secret(reader))


def derived_callback_secret(passkey: str, consumer_secret: str) -> str:
    """The secret that signs callback addresses where CALLBACK_SECRET is not set. Changes with either credential."""
    return hmac.new(passkey.encode(), b"lipa callback address " + consumer_secret.encode(), hashlib.sha256).hexdigest()


def _audit(reader: _Reader) -> AuditSettings:
    published = (SAMPLE_SECRET,) if reader.get("MPESA_ENV") == "production" else ()

    def chosen(value: str) -> bool:
        return _long_secret(value) and "," not in value and value not in published

    holds = "at least 32 characters of your own choosing, none of them a comma"
    secret = reader.text("AUDIT_SECRET", holds, chosen, default="")
    before = reader.text(
        "AUDIT_SECRET_PREVIOUS",
        "the audit secrets used before this one, separated by commas",
        lambda v: all(map(_long_secret, _separated(v))),
        default="",
    )
    first = secret or derived_audit_secret(_passkey(reader), _consumer_secret(reader))
    return AuditSettings(tuple(AuditKey(each) for each in (first, *_separated(before))))


def derived_audit_secret(passkey: str, consumer_secret: str) -> str:
    """The secret that signs the audit log where AUDIT_SECRET is not set. Changes with either credential."""
    return hmac.new(passkey.encode(), b"lipa audit log " + consumer_secret.encode(), hashlib.sha256).hexdigest()


def _passkey(reader: _Reader) -> str:
    production = _environment(reader) == "production"
    holds = f"the Lipa na M-Pesa Online passkey of your shortcode{', not the sandbox one' * production}"
    return reader.text("MPESA_PASSKEY", holds, lambda v: _plain(v) and not (production and v == SANDBOX_PASSKEY))


def _consumer_secret(reader: _Reader) -> str:
    return reader.text("MPESA_CONSUMER_SECRET", "the consumer secret of your app on the Daraja portal", _plain)


class _Reader:
    """Reads variables one by one and remembers every problem, so that all are told at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: dict[str, Problem] = {}

    def get(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def has(self, name: str) -> bool:
        return bool(self.get(name))

    def text(
        self, name: str, holds: str, accepts: Callable[[str], bool] = lambda _: True, default: str | None = None
    ) -> str:
        value = self.get(name)
        if not value:
            if default is None:
                self.problem(name, holds)
            return default or ""
        if not accepts(value):
            self.problem(name, holds)
            return ""
        return value

    def kes(self, name: str, default: Decimal, least: Decimal, most: Decimal = LARGEST_KES) -> Decimal:
        text = self._digits(name, f"whole shillings from {least} to {most:,}, digits only", int(least), int(most))
        return Decimal(text) if text else default

    def count(self, name: str, default: int) -> int:
        text = self._digits(name, f"a number from 1 to {LARGEST_COUNT:,}, digits only", 1, LARGEST_COUNT)
        return int(text) if text else default

    def _digits(self, name: str, holds: str, least: int, most: int) -> str:
        return self.text(
            name, holds, lambda v: bool(re.fullmatch("[0-9]{1,9}", v)) and least <= int(v) <= most, default=""
        )

    def other_server(self, name: str, default: str, production: bool) -> str:
        if production and self.has(name):
            self.problem(name, "nothing when MPESA_ENV is production: it is for sandboxes and simulators")
            return default
        return self.text(name, "an https address (http only on this machine)", _server, default=default).rstrip("/")

    def problem(self, name: str, should_hold: str) -> None:
        self._problems.setdefault(name, Problem(name, should_hold))

    def check(self) -> None:
        if self._problems:
            raise Misconfigured(list(self._problems.values()))


# What a value must look like ------------------------------------------------------------------------------------------


def _plain(value: str) -> bool:
    return bool(re.fullmatch(r"[!-~]{4,512}", value)) and value[0] not in "'\"<"


def _long_secret(value: str) -> bool:
    return bool(re.fullmatch(r"[!-~]{32,512}", value))


def _digits(value: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{5,7}", value))


def _one_line(value: str) -> bool:
    return value.isprintable() and len(value) <= 200


def _address(value: str) -> bool:
    return is_email_address(value)


EMAIL_ADDRESS = (
    r"(?!\.|.*(?:\.\.|\.@|=\?))[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
"""No dot at an end of the name or beside another, and no `=?`, which mail programs decode."""
LONGEST_EMAIL_ADDRESS = 254


def is_email_address(value: str) -> bool:
    """One plain address: no display name, no list, nothing that could break out of a mail header."""
    return len(value) <= LONGEST_EMAIL_ADDRESS and re.fullmatch(EMAIL_ADDRESS, value) is not None


def _listed(value: str) -> list[str]:
    return [part.rstrip("/") for part in _separated(value)]


def _separated(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _split(value: str) -> tuple[str, str, str, str]:
    """scheme, host, path, and what must be absent (user, query, fragment); all empty where it is no address."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return "", "", "", ""
    return (
        parts.scheme,
        parts.hostname or "",
        parts.path,
        f"{parts.username or ''}{parts.password or ''}{parts.query}{parts.fragment}",
    )


def _origin(value: str) -> bool:
    scheme, host, path, extra = _split(value)
    return scheme in ("http", "https") and bool(host) and path == "" and not extra


def _as_browsers_write_it(origin: str) -> str:
    """Lower case, without the port that goes without saying: origins are compared as text."""
    return re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin.lower())


def _server(value: str) -> bool:
    scheme, host, _, extra = _split(value)
    return bool(host) and not extra and (scheme == "https" or (scheme == "http" and host in LOOPBACK))


def _dsn(value: str) -> bool:
    """As Sentry shows it: a key before the host, the project's number at the end."""
    key, at, address = value.partition("://")[2].partition("@")
    scheme, host, path, extra = _split(f"{value.partition('://')[0]}://{address}")
    reachable = scheme == "https" or (scheme == "http" and host in LOOPBACK)
    named = at and re.fullmatch(r"[0-9A-Za-z]{8,64}(:[0-9A-Za-z]{8,64})?", key, re.ASCII)
    return bool(named and host and reachable and not extra and re.fullmatch(r"(/[\w.-]+)*/[0-9]{1,20}", path, re.ASCII))


def _release(value: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9._@/+-]{1,100}", value))


def _callback_url(value: str, production: bool) -> bool:
    scheme, host, path, extra = _split(value)
    reachable = scheme == "https" and host not in LOOPBACK if production else scheme in ("http", "https")
    return reachable and bool(host) and not extra and bool(re.fullmatch(r"(/[A-Za-z0-9._-]+)*/callback", path))


def _smtp_url(value: str) -> bool:
    scheme, host, path, _ = _split(value)
    return scheme in ("smtp", "smtps") and bool(host) and path in ("", "/")
