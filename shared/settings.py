"""All settings, in one file because no other may read the environment.

A missing or malformed variable fails at start. The error names it and says what it should hold, never its value. The
callback function reads only what receiving money needs (`Receiving`): Safaricom does not send a callback again, so a
mistyped mail address must not cost one.
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
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from shared.audit_chain import AuditKey
from shared.daraja.callback_address import IpMode
from shared.limits import Limits
from shared.notices import FAILED_SEEN, KINDS, SENT_BY_DEFAULT, Notice
from shared.settings_reader import (
    LONG_SECRET,
    PLAIN,
    RELEASE,
    SHORTCODE,
    TAX_PIN,
    Misconfigured,
    Reader,
    as_browsers_write_it,
    is_callback_url,
    is_dsn,
    is_one_line,
    is_origin,
    is_smtp_url,
    separated,
)
from shared.values import LARGEST_DAY_KES, LARGEST_KES, SMALLEST_KES, is_email_address

T = TypeVar("T")
Environment = Literal["sandbox", "production"]

DARAJA_HOSTS: Mapping[Environment, str] = {
    "sandbox": "https://sandbox.safaricom.co.ke",
    "production": "https://api.safaricom.co.ke",
}
SANDBOX_SHORTCODE = "174379"
SANDBOX_PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"
"""Published: the sample request contains it (Daraja portal, M-Pesa Express). Production refuses it."""
SAMPLE_SECRET = "at_least_32_characters_of_your_own_choosing"
"""Published, in .env.example. Production refuses it."""
MOST_OF_A_SHOP_KES = Decimal(999_999_999)


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
    """What happens to a callback from an address that is not Safaricom's."""


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
    tax_pin: str | None = None
    """KRA's, as the shop's invoices show it."""


@dataclass(frozen=True)
class EdgeSettings:
    allowed_origins: tuple[str, ...]


@dataclass(frozen=True)
class MonitoringSettings:
    dsn: str | None = field(repr=False)
    """The Sentry project that gets reports; None: there is only the log."""
    environment: str
    release: str | None


@dataclass(frozen=True)
class Receiving:
    """What the callback function needs."""

    database: DatabaseSettings
    callback: CallbackSettings
    audit: AuditSettings

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Receiving:
        """Raises `Misconfigured`."""
        return _read(environ, lambda reader: cls(_database(reader), _callback(reader), _audit(reader)))


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
    notices: frozenset[str]
    """Which notices customers get (shared/notices.py)."""

    @property
    def caller_key(self) -> str:
        """Callers' addresses are counted under a digest with this key, which the database does not contain."""
        return hmac.new(self.callback.secrets[0].encode(), b"lipa caller address", hashlib.sha256).hexdigest()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Raises `Misconfigured`."""
        return _read(
            environ,
            lambda reader: cls(
                _database(reader),
                _daraja(reader),
                _callback(reader),
                _audit(reader),
                _mail(reader),
                _shop(reader),
                _edge(reader),
                _limits(reader),
                _monitoring(reader),
                _notices(reader),
            ),
        )


def _read(environ: Mapping[str, str], part: Callable[[Reader], T]) -> T:
    reader = Reader(environ)
    return reader.checked(part(reader))


# For the functions: of this process, read once. Each raises `Misconfigured`. ------------------------------------------


@functools.cache
def settings() -> Settings:
    return Settings.from_environment(os.environ)


@functools.cache
def receiving() -> Receiving:
    return Receiving.from_environment(os.environ)


@functools.cache
def monitoring() -> MonitoringSettings:
    """Needs no other variable: errors in those are reported there."""
    return _read(os.environ, _monitoring)


# For the operator's commands. Each raises `Misconfigured`. ------------------------------------------------------------


def database_url(environ: Mapping[str, str]) -> str:
    return _read(environ, _database_url)


def limits(environ: Mapping[str, str]) -> Limits:
    return _read(environ, _limits)


def shop_settings(environ: Mapping[str, str]) -> ShopSettings:
    return _read(environ, _shop)


def confirm_above_kes(environ: Mapping[str, str]) -> Decimal:
    """The amount above which a callback waits for a query."""
    return _read(environ, _confirm_above_kes)


def callback_secret(environ: Mapping[str, str]) -> str:
    """The secret that signs new callback addresses, set or derived."""
    return _read(environ, _callback_secret)


def audit_settings(environ: Mapping[str, str]) -> AuditSettings:
    """The keys of the audit log, set or derived."""
    if not audit_key_is_at_hand(environ):
        raise Misconfigured.of(
            "AUDIT_SECRET",
            "the secret that signs the audit log; or MPESA_ENV, MPESA_PASSKEY and MPESA_CONSUMER_SECRET "
            "must hold what the functions have: it is derived from them",
        )
    return _read(environ, _audit)


def audit_key_is_at_hand(environ: Mapping[str, str]) -> bool:
    """Whether the environment has what `audit_settings` needs, malformed or not."""
    get = Reader(environ).get
    return bool(get("AUDIT_SECRET") or all(map(get, ("MPESA_ENV", "MPESA_PASSKEY", "MPESA_CONSUMER_SECRET"))))


# Reading one part each ------------------------------------------------------------------------------------------------


def _in_production(reader: Reader) -> bool:
    return reader.choice("MPESA_ENV", ("sandbox", "production")) == "production"


def _database(reader: Reader) -> DatabaseSettings:
    return DatabaseSettings(_database_url(reader), "production" if _in_production(reader) else "sandbox")


def _database_url(reader: Reader) -> str:
    name = "NETLIFY_DB_URL" if not reader.get("DATABASE_URL") and reader.get("NETLIFY_DB_URL") else "DATABASE_URL"
    holds = "the connection string of a PostgreSQL database, like postgresql://user:password@host:5432/name"
    url = reader.text(name, holds)
    if url:
        from shared.database.url import connection_settings

        try:
            connection_settings(url)
        except ValueError as refused:
            reader.problem(name, f"{holds} ({str(refused).replace('DATABASE_URL', name)})")
    return url


def _daraja(reader: Reader) -> DarajaSettings:
    production = _in_production(reader)
    environment: Environment = "production" if production else "sandbox"
    number = f"(?!{SANDBOX_SHORTCODE}$){SHORTCODE}" if production else SHORTCODE
    digits = "5 to 7 digits" + ", not the sandbox one" * production
    shortcode = reader.text("MPESA_SHORTCODE", f"your paybill, or the till's head-office number: {digits}", number)
    kinds = ("CustomerPayBillOnline", "CustomerBuyGoodsOnline")
    return DarajaSettings(
        environment=environment,
        base_url=reader.other_server("MPESA_BASE_URL", DARAJA_HOSTS[environment], production),
        consumer_key=reader.text("MPESA_CONSUMER_KEY", "the consumer key of your app on the Daraja portal", PLAIN),
        consumer_secret=_consumer_secret(reader),
        shortcode=shortcode,
        passkey=_passkey(reader),
        transaction_type=reader.choice("MPESA_TRANSACTION_TYPE", kinds, kinds[0]),
        party_b=reader.text("MPESA_PARTY_B", f"the till number: {digits}", number, shortcode),
    )


def _passkey(reader: Reader) -> str:
    production = _in_production(reader)
    holds = "the Lipa na M-Pesa Online passkey of your shortcode" + ", not the sandbox one" * production
    return reader.text("MPESA_PASSKEY", holds, f"(?!{SANDBOX_PASSKEY}$){PLAIN}" if production else PLAIN)


def _consumer_secret(reader: Reader) -> str:
    return reader.text("MPESA_CONSUMER_SECRET", "the consumer secret of your app on the Daraja portal", PLAIN)


def _callback(reader: Reader) -> CallbackSettings:
    production = _in_production(reader)
    holds = "the https address of the callback function, like https://shop.example/api/pay/callback"
    secret = _callback_secret(reader)
    before = reader.text("CALLBACK_SECRET_PREVIOUS", "the callback secret used before this one", LONG_SECRET, "")
    return CallbackSettings(
        url=reader.text("MPESA_CALLBACK_URL", holds, lambda value: is_callback_url(value, production)),
        secrets=(secret, before) if before else (secret,),
        confirm_above_kes=_confirm_above_kes(reader),
        ip_mode=_ip_mode(reader),
    )


def _confirm_above_kes(reader: Reader) -> Decimal:
    return reader.kes("CONFIRM_ABOVE_KES", Decimal(20_000), Decimal(0))


def _ip_mode(reader: Reader) -> IpMode:
    """Off by default where another server stands in for Daraja: callbacks come from that one."""
    modes: dict[str, IpMode] = {"flag": "flag", "enforce": "enforce", "off": "off"}
    chosen = reader.choice("CALLBACK_IP_MODE", tuple(modes), "off" if reader.get("MPESA_BASE_URL") else "flag")
    return modes.get(chosen, "flag")


def _callback_secret(reader: Reader) -> str:
    chosen = reader.text(
        "CALLBACK_SECRET", "at least 32 characters of your own choosing", _secret_of_your_own(reader), ""
    )
    return chosen or derived_callback_secret(_passkey(reader), _consumer_secret(reader))


def derived_callback_secret(passkey: str, consumer_secret: str) -> str:
    """The secret that signs callback addresses where CALLBACK_SECRET is not set. Changes with either credential."""
    return hmac.new(passkey.encode(), b"lipa callback address " + consumer_secret.encode(), hashlib.sha256).hexdigest()


def _audit(reader: Reader) -> AuditSettings:
    holds = "at least 32 characters of your own choosing, none of them a comma"
    secret = reader.text("AUDIT_SECRET", holds, f"(?!.*,){_secret_of_your_own(reader)}", "")
    before = reader.text(
        "AUDIT_SECRET_PREVIOUS",
        "the audit secrets used before this one, separated by commas",
        lambda value: all(re.fullmatch(LONG_SECRET, each) for each in separated(value)),
        "",
    )
    first = secret or derived_audit_secret(_passkey(reader), _consumer_secret(reader))
    return AuditSettings(tuple(AuditKey(each) for each in (first, *separated(before))))


def derived_audit_secret(passkey: str, consumer_secret: str) -> str:
    """The secret that signs the audit log where AUDIT_SECRET is not set. Changes with either credential."""
    return hmac.new(passkey.encode(), b"lipa audit log " + consumer_secret.encode(), hashlib.sha256).hexdigest()


def _secret_of_your_own(reader: Reader) -> str:
    """Never the published one in production. Where MPESA_ENV is missing, that alone is the problem."""
    return f"(?!{SAMPLE_SECRET}$){LONG_SECRET}" if reader.get("MPESA_ENV") == "production" else LONG_SECRET


def _mail(reader: Reader) -> MailSettings:
    production = _in_production(reader)
    smtp_url = reader.text(
        "SMTP_URL", "smtp://user:password@host:587 or smtps://user:password@host:465", is_smtp_url, ""
    )
    sandbox = reader.choice("SENDGRID_SANDBOX", ("on", "off"), "off") == "on"
    if sandbox and production:
        reader.problem("SENDGRID_SANDBOX", "off, or nothing, when MPESA_ENV is production: no invoice would be sent")
    if sandbox and smtp_url:
        reader.problem("SENDGRID_SANDBOX", "off, or nothing, where SMTP_URL is set: SMTP would send all the same")
    key = reader.text(
        "SENDGRID_API_KEY", "an API key of SendGrid, beginning with 'SG.'", rf"SG\.{PLAIN}", "" if smtp_url else None
    )
    return MailSettings(
        from_address=reader.text("INVOICE_EMAIL_FROM", "the e-mail address invoices come from", is_email_address),
        reply_to=reader.text("INVOICE_EMAIL_REPLY_TO", "the e-mail address customers answer to", is_email_address),
        sendgrid_api_key=key or None,
        sendgrid_base_url=reader.other_server("SENDGRID_BASE_URL", "https://api.sendgrid.com", production),
        smtp_url=smtp_url or None,
        sendgrid_sandbox=sandbox,
    )


def _shop(reader: Reader) -> ShopSettings:
    host = urlsplit(reader.get("MPESA_CALLBACK_URL")).hostname or "the shop"
    pin = "the shop's KRA PIN: a letter, nine digits, a letter, like A123456789Z"
    return ShopSettings(
        name=reader.text("SHOP_NAME", "the shop's name as invoices show it", is_one_line, host),
        address=reader.text("SHOP_ADDRESS", "the shop's address on one line", is_one_line, "") or None,
        tax_pin=reader.text("SHOP_KRA_PIN", pin, TAX_PIN, "").upper() or None,
    )


def _notices(reader: Reader) -> frozenset[str]:
    """A shop that wants seen failures sent wants the other failures sent too."""
    text = reader.text(
        "NOTICES",
        f"off, or notices separated by commas: {', '.join(KINDS)}",
        lambda value: value == "off" or (bool(separated(value)) and set(separated(value)) <= set(KINDS)),
        ",".join(SENT_BY_DEFAULT),
    )
    named = frozenset(separated(text)) - {"off"}
    return named | ({Notice.FAILED} if FAILED_SEEN in named else set())


def _edge(reader: Reader) -> EdgeSettings:
    def origins(value: str) -> list[str]:
        return [part.rstrip("/") for part in separated(value)]

    holds = "web origins separated by commas, like https://shop.example,https://www.shop.example"
    text = reader.text("ALLOWED_ORIGINS", holds, lambda value: all(map(is_origin, origins(value))), reader.get("URL"))
    return EdgeSettings(tuple(map(as_browsers_write_it, origins(text))))


def _limits(reader: Reader) -> Limits:
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


def _monitoring(reader: Reader) -> MonitoringSettings:
    """Needs no other variable, and finds no fault with any."""
    environment, commit = reader.get("MPESA_ENV"), reader.get("COMMIT_REF")
    dsn = reader.text("SENTRY_DSN", "the DSN of a Sentry project, like https://key@o1.ingest.sentry.io/2", is_dsn, "")
    holds = "a version or commit: letters, digits and . _ - @ + /, at most 100"
    built = commit if re.fullmatch(RELEASE, commit) else ""
    return MonitoringSettings(
        dsn=dsn or None,
        environment=environment if environment in DARAJA_HOSTS else "unknown",
        release=reader.text("SENTRY_RELEASE", holds, RELEASE, built) or None,
    )
