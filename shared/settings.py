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
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal
from urllib.parse import urlsplit

from shared.audit_chain import AuditKey
from shared.daraja.source_addresses import IpMode
from shared.email_address import is_email_address
from shared.limits import Limits
from shared.money import LARGEST_DAY_KES, LARGEST_KES, SMALLEST_KES
from shared.notices import FAILED_SEEN, KINDS, TOLD_BY_DEFAULT, Notice
from shared.settings_reader import (
    Misconfigured,
    Reader,
    as_browsers_write_it,
    is_callback_url,
    is_dsn,
    is_long_secret,
    is_one_line,
    is_origin,
    is_plain,
    is_release,
    is_shortcode,
    is_smtp_url,
    is_tax_pin,
    listed,
    separated,
)

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
    tax_pin: str | None = None
    """KRA's, as the shop's invoices show it."""


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
        reader = Reader(environ)
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
    notices: frozenset[str]
    """Which notices customers get (shared/notices.py)."""

    @property
    def caller_key(self) -> str:
        """Callers' addresses are counted under a digest with this key, which is nowhere in the database."""
        return hmac.new(self.callback.secrets[0].encode(), b"lipa caller address", hashlib.sha256).hexdigest()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        reader = Reader(environ)
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
            _notices(reader),
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
    reader = Reader(os.environ)
    mine = _monitoring(reader)
    reader.check()
    return mine


def database_url(environ: Mapping[str, str]) -> str:
    """Where the books are, for the operator's commands. Raises `Misconfigured`."""
    reader = Reader(environ)
    url = _database_url(reader)
    reader.check()
    return url


def limits(environ: Mapping[str, str]) -> Limits:
    """The limits alone, for the operator's command. Raises `Misconfigured`."""
    reader = Reader(environ)
    found = _limits(reader)
    reader.check()
    return found


def shop_settings(environ: Mapping[str, str]) -> ShopSettings:
    """How the shop calls itself, for the operator's commands. Raises `Misconfigured`."""
    reader = Reader(environ)
    shop = _shop(reader)
    reader.check()
    return shop


def confirm_above_kes(environ: Mapping[str, str]) -> Decimal:
    """Above which amount a callback waits for a query, as the functions have it. Raises `Misconfigured`."""
    reader = Reader(environ)
    amount_kes = _confirm_above_kes(reader)
    reader.check()
    return amount_kes


def callback_secret(environ: Mapping[str, str]) -> str:
    """The secret that signs new callback addresses, set or derived. Raises `Misconfigured`."""
    reader = Reader(environ)
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
    reader = Reader(environ)
    audit = _audit(reader)
    reader.check()
    return audit


def audit_key_is_at_hand(environ: Mapping[str, str]) -> bool:
    """Whether the environment says enough for `audit_settings`, malformed or not."""
    reader = Reader(environ)
    return reader.has("AUDIT_SECRET") or all(map(reader.has, ("MPESA_ENV", "MPESA_PASSKEY", "MPESA_CONSUMER_SECRET")))


# Reading one part each ------------------------------------------------------------------------------------------------


def _environment(reader: Reader) -> Environment:
    text = reader.text("MPESA_ENV", "'sandbox' or 'production'", lambda v: v in DARAJA_HOSTS)
    return "production" if text == "production" else "sandbox"


def _database(reader: Reader) -> DatabaseSettings:
    return DatabaseSettings(_database_url(reader), _environment(reader))


def _database_url(reader: Reader) -> str:
    name = "NETLIFY_DB_URL" if not reader.has("DATABASE_URL") and reader.has("NETLIFY_DB_URL") else "DATABASE_URL"
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
    environment = _environment(reader)
    production = environment == "production"
    not_sandbox = ", not the sandbox one" * production

    def own_number(value: str) -> bool:
        return is_shortcode(value) and not (production and value == SANDBOX_SHORTCODE)

    holds = f"your paybill, or the till's head-office number: 5 to 7 digits{not_sandbox}"
    shortcode = reader.text("MPESA_SHORTCODE", holds, own_number)
    kinds = ("CustomerPayBillOnline", "CustomerBuyGoodsOnline")
    return DarajaSettings(
        environment=environment,
        base_url=reader.other_server("MPESA_BASE_URL", DARAJA_HOSTS[environment], production),
        consumer_key=reader.text("MPESA_CONSUMER_KEY", "the consumer key of your app on the Daraja portal", is_plain),
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


def _callback(reader: Reader) -> CallbackSettings:
    production = _environment(reader) == "production"
    holds = "the https address of the callback function, like https://shop.example/api/pay/callback"
    secrets = [_callback_secret(reader)]
    previous = reader.text(
        "CALLBACK_SECRET_PREVIOUS", "the callback secret used before this one", is_long_secret, default=""
    )
    return CallbackSettings(
        url=reader.text("MPESA_CALLBACK_URL", holds, lambda v: is_callback_url(v, production)),
        secrets=(*secrets, *([previous] if previous else [])),
        confirm_above_kes=_confirm_above_kes(reader),
        ip_mode=_ip_mode(reader),
    )


def _confirm_above_kes(reader: Reader) -> Decimal:
    return reader.kes("CONFIRM_ABOVE_KES", Decimal(20_000), Decimal(0))


def _ip_mode(reader: Reader) -> IpMode:
    """Where another server stands in for Daraja (MPESA_BASE_URL), callbacks come from there, and nobody wonders."""
    modes: dict[str, IpMode] = {"flag": "flag", "enforce": "enforce", "off": "off"}
    default = "off" if reader.has("MPESA_BASE_URL") else "flag"
    text = reader.text("CALLBACK_IP_MODE", "flag, enforce or off", lambda v: v in modes, default=default)
    return modes.get(text, "flag")


def _mail(reader: Reader) -> MailSettings:
    production = _environment(reader) == "production"
    smtp_url = reader.text(
        "SMTP_URL", "smtp://user:password@host:587 or smtps://user:password@host:465", is_smtp_url, default=""
    )
    key = reader.text(
        "SENDGRID_API_KEY",
        "an API key of SendGrid, beginning with 'SG.'",
        lambda v: v.startswith("SG.") and is_plain(v),
        default="" if smtp_url else None,
    )
    return MailSettings(
        from_address=reader.text("INVOICE_EMAIL_FROM", "the e-mail address invoices come from", is_email_address),
        reply_to=reader.text("INVOICE_EMAIL_REPLY_TO", "the e-mail address customers answer to", is_email_address),
        sendgrid_api_key=key or None,
        sendgrid_base_url=reader.other_server("SENDGRID_BASE_URL", "https://api.sendgrid.com", production),
        smtp_url=smtp_url or None,
        sendgrid_sandbox=_sendgrid_sandbox(reader, production, by_smtp=bool(smtp_url)),
    )


def _sendgrid_sandbox(reader: Reader, production: bool, *, by_smtp: bool) -> bool:
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


def _shop(reader: Reader) -> ShopSettings:
    host = urlsplit(reader.get("MPESA_CALLBACK_URL")).hostname or "the shop"
    return ShopSettings(
        name=reader.text("SHOP_NAME", "the shop's name as invoices show it", is_one_line, default=host),
        address=reader.text("SHOP_ADDRESS", "the shop's address on one line", is_one_line, default="") or None,
        tax_pin=reader.text(
            "SHOP_KRA_PIN", "the shop's KRA PIN: a letter, nine digits, a letter, like A123456789Z", is_tax_pin, ""
        ).upper()
        or None,
    )


def _notices(reader: Reader) -> frozenset[str]:
    """Who wants failures told that were seen wants the others told too."""
    text = reader.text(
        "NOTICES",
        f"off, or notices separated by commas: {', '.join(KINDS)}",
        lambda v: v == "off" or (bool(separated(v)) and set(separated(v)) <= set(KINDS)),
        default=",".join(TOLD_BY_DEFAULT),
    )
    named = frozenset(separated(text)) - {"off"}
    return named | ({Notice.FAILED} if FAILED_SEEN in named else set())


def _edge(reader: Reader) -> EdgeSettings:
    site = reader.get("URL").rstrip("/")
    holds = "web origins separated by commas, like https://shop.example,https://www.shop.example"
    text = reader.text("ALLOWED_ORIGINS", holds, lambda v: all(map(is_origin, listed(v))), default=site)
    return EdgeSettings(tuple(map(as_browsers_write_it, listed(text))))


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
    """Asks nothing of the other variables: also what is wrong with those is told there."""
    environment = reader.get("MPESA_ENV")
    commit = reader.get("COMMIT_REF")
    release = "a version or commit: letters, digits and . _ - @ + /, at most 100"
    return MonitoringSettings(
        dsn=reader.text("SENTRY_DSN", "the DSN of a Sentry project, like https://key@o1.ingest.sentry.io/2", is_dsn, "")
        or None,
        environment=environment if environment in DARAJA_HOSTS else "unknown",
        release=reader.text("SENTRY_RELEASE", release, is_release, default=commit if is_release(commit) else "")
        or None,
    )


def _callback_secret(reader: Reader) -> str:
    published = (SAMPLE_SECRET,) if reader.get("MPESA_ENV") == "production" else ()
    holds = "at least 32 characters of your own choosing"
    chosen = reader.text("CALLBACK_SECRET", holds, lambda v: is_long_secret(v) and v not in published, default="")
    return chosen or derived_callback_secret(_passkey(reader), _consumer_secret(reader))


def derived_callback_secret(passkey: str, consumer_secret: str) -> str:
    """The secret that signs callback addresses where CALLBACK_SECRET is not set. Changes with either credential."""
    return hmac.new(passkey.encode(), b"lipa callback address " + consumer_secret.encode(), hashlib.sha256).hexdigest()


def _audit(reader: Reader) -> AuditSettings:
    published = (SAMPLE_SECRET,) if reader.get("MPESA_ENV") == "production" else ()

    def chosen(value: str) -> bool:
        return is_long_secret(value) and "," not in value and value not in published

    holds = "at least 32 characters of your own choosing, none of them a comma"
    secret = reader.text("AUDIT_SECRET", holds, chosen, default="")
    before = reader.text(
        "AUDIT_SECRET_PREVIOUS",
        "the audit secrets used before this one, separated by commas",
        lambda v: all(map(is_long_secret, separated(v))),
        default="",
    )
    first = secret or derived_audit_secret(_passkey(reader), _consumer_secret(reader))
    return AuditSettings(tuple(AuditKey(each) for each in (first, *separated(before))))


def derived_audit_secret(passkey: str, consumer_secret: str) -> str:
    """The secret that signs the audit log where AUDIT_SECRET is not set. Changes with either credential."""
    return hmac.new(passkey.encode(), b"lipa audit log " + consumer_secret.encode(), hashlib.sha256).hexdigest()


def _passkey(reader: Reader) -> str:
    production = _environment(reader) == "production"
    holds = f"the Lipa na M-Pesa Online passkey of your shortcode{', not the sandbox one' * production}"
    return reader.text("MPESA_PASSKEY", holds, lambda v: is_plain(v) and not (production and v == SANDBOX_PASSKEY))


def _consumer_secret(reader: Reader) -> str:
    return reader.text("MPESA_CONSUMER_SECRET", "the consumer secret of your app on the Daraja portal", is_plain)
