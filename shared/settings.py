"""All settings, as the code reads them. A new one begins in `shared.environment_variables`; only this file reads it.

A missing or malformed variable fails at start. The error names it and says what it should hold, never its value. The
callback function needs only what receiving money takes (`RECEIVING`): Safaricom does not send a callback again, so a
mistyped mail address must not cost one.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from shared.audit_chain import AuditKey
from shared.daraja.callback_address import IpMode
from shared.environment_variables import CONTEXT, DARAJA_HOSTS, RELEASE, Misconfigured, fits, misspelt, read
from shared.limits import Limits
from shared.notices import KINDS

Environment = Literal["sandbox", "production"]


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
class SweepSettings:
    idle_minutes: int
    """For how long an idle sweep leaves the database alone; 0: never."""


@dataclass(frozen=True)
class OrderSettings:
    """What an order may be."""

    link_secrets: tuple[str, ...] = field(repr=False)
    """The secret that signs payment links, then the previous one."""
    catalogue: str | None
    """The file with the shop's prices, from the repository's root; None: the usual one, where it is there."""
    references: Literal["once", "reusable"]
    """Whether a reference is of one order."""


@dataclass(frozen=True)
class WebhookSettings:
    """Where events of payments are posted."""

    url: str | None
    """None: the shop has no webhook."""
    secrets: tuple[bytes, ...] = field(repr=False)
    """Each signs."""
    environment: Environment

    @property
    def only_public(self) -> bool:
        """Whether only public addresses are called."""
        return self.environment == "production"


@dataclass(frozen=True)
class MonitoringSettings:
    dsn: str | None = field(repr=False)
    """The Sentry project that gets reports; None: there is only the log."""
    environment: str
    release: str | None


@dataclass(frozen=True)
class LetterSettings:
    """What letters to customers and to the shop need."""

    mail: MailSettings
    shop: ShopSettings
    notices: frozenset[str]
    orders_to: str
    """Where mail about sales, and alerts, go."""


RECEIVING = ("database", "callback", "audit")
PAYMENTS = (*RECEIVING, "daraja", "edge", "limits")
LETTERS = ("mail", "shop", "notices", "orders_to")


class Settings:
    """Of one environment, part by part: each is read once, by whoever needs it first.

    A payment needs `PAYMENTS`, and its callback only `RECEIVING`. What letters and reports need is read when they need
    it: it never stops a payment.
    """

    database: DatabaseSettings
    callback: CallbackSettings
    audit: AuditSettings
    daraja: DarajaSettings
    edge: EdgeSettings
    limits: Limits

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def need(self, *parts: str) -> Settings:
        """These parts are there from now on. Raises `Misconfigured`, which names all that is wrong in them."""
        missing = [part for part in parts if part not in vars(self)]
        if missing:
            if "limits" in missing and (wrong := misspelt(self._environ, *PAYMENTS)):
                raise Misconfigured(wrong)  # a limit that is not read protects nobody
            vars(self).update(_parts(self._environ, *missing))
        return self

    @functools.cached_property
    def letters(self) -> LetterSettings:
        """Raises `Misconfigured`."""
        return LetterSettings(**_parts(self._environ, *LETTERS))

    @property
    def notices(self) -> frozenset[str]:
        """Which notices customers get (shared/notices.py). All where `letters` cannot be read: until then they wait."""
        try:
            return self.letters.notices
        except Misconfigured:
            return frozenset(KINDS)

    @functools.cached_property
    def webhook(self) -> WebhookSettings:
        """Raises `Misconfigured`."""
        only: WebhookSettings = _parts(self._environ, "webhook")["webhook"]
        return only

    @property
    def has_webhook(self) -> bool:
        return has_webhook(self._environ)

    @functools.cached_property
    def sweep(self) -> SweepSettings:
        """Raises `Misconfigured`."""
        only: SweepSettings = _parts(self._environ, "sweep")["sweep"]
        return only

    @functools.cached_property
    def orders(self) -> OrderSettings:
        """Raises `Misconfigured`."""
        only: OrderSettings = _parts(self._environ, "orders")["orders"]
        return only

    @property
    def references_are_reusable(self) -> bool:
        return references_are_reusable(self._environ)

    @property
    def caller_key(self) -> str:
        """Callers' addresses are counted under a digest with this key, which the database does not contain."""
        return hmac.new(self.callback.secrets[0].encode(), b"lipa caller address", hashlib.sha256).hexdigest()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """What a payment needs. Raises `Misconfigured`."""
        return cls(environ).need(*PAYMENTS)


PARTS: Mapping[str, Callable[..., Any]] = {
    "database": DatabaseSettings,
    "daraja": DarajaSettings,
    "callback": CallbackSettings,
    "audit": AuditSettings,
    "mail": MailSettings,
    "shop": ShopSettings,
    "edge": EdgeSettings,
    "limits": Limits,
    "orders": OrderSettings,
    "sweep": SweepSettings,
    "notices": lambda kinds: kinds,
    "orders_to": lambda address: address,
    "webhook": WebhookSettings,
}


def _parts(environ: Mapping[str, str], *names: str) -> dict[str, Any]:
    """These parts of the settings. Raises `Misconfigured`."""
    return {name: PARTS[name](**fields) for name, fields in read(environ, *names).items()}


def has_webhook(environ: Mapping[str, str]) -> bool:
    """Whether one is named, however: a malformed one must not lose events."""
    return bool(environ.get("ORDER_WEBHOOK_URL", "").strip())


# For the functions: of this process, read once. Each raises `Misconfigured`. ------------------------------------------


@functools.cache
def of_this_process() -> Settings:
    return Settings(os.environ)


def settings() -> Settings:
    return of_this_process().need(*PAYMENTS)


def receiving() -> Settings:
    return of_this_process().need(*RECEIVING)


@functools.cache
def monitoring() -> MonitoringSettings:
    """Needs no other variable: errors in those are reported there. No payment needs it."""
    environment = os.environ.get("MPESA_ENV", "").strip()
    reports = read(os.environ, "monitoring.dsn", "monitoring.release")["monitoring"]
    return MonitoringSettings(environment=environment if environment in DARAJA_HOSTS else "unknown", **reports)


def deploy() -> dict[str, str | None]:
    """Of this process: its commit, deploy context and region, where the platform says so in the form of one."""
    forms = {"commit": ("COMMIT_REF", RELEASE), "context": ("CONTEXT", CONTEXT), "region": ("AWS_REGION", "[a-z0-9-]+")}
    found = {key: (os.environ.get(name, ""), form) for key, (name, form) in forms.items()}
    return {key: text if fits(form, text) else None for key, (text, form) in found.items()}


def current_database_url() -> str:
    """As the environment has it now: a host hands over another address when it rotates the password."""
    return _checked_database_url(os.environ.get("DATABASE_URL", ""), os.environ.get("NETLIFY_DB_URL", ""))


@functools.lru_cache(maxsize=4)
def _checked_database_url(own: str, netlifys: str) -> str:
    return database_url({"DATABASE_URL": own, "NETLIFY_DB_URL": netlifys})


def references_are_reusable(environ: Mapping[str, str]) -> bool:
    """Whether references are of no single order. A word that is not known stops only new orders: False."""
    return environ.get("REFERENCES", "").strip() == "reusable"


# For the operator's commands. Each raises `Misconfigured`. ------------------------------------------------------------


def database_url(environ: Mapping[str, str]) -> str:
    return str(read(environ, "database.url")["database"]["url"])


def shortcodes(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The shop's paybill or till, and its head office, as far as the environment names them."""
    named = (environ.get(name, "").strip() for name in ("MPESA_PARTY_B", "MPESA_SHORTCODE"))
    return tuple(dict.fromkeys(filter(None, named)))


def limits(environ: Mapping[str, str]) -> Limits:
    return Limits(**read(environ, "limits")["limits"])


def shop_settings(environ: Mapping[str, str]) -> ShopSettings:
    return ShopSettings(**read(environ, "shop")["shop"])


def webhook_settings(environ: Mapping[str, str]) -> WebhookSettings:
    return WebhookSettings(**read(environ, "webhook")["webhook"])


def confirm_above_kes(environ: Mapping[str, str]) -> Decimal:
    """The amount above which a callback waits for a query."""
    return Decimal(read(environ, "callback.confirm_above_kes")["callback"]["confirm_above_kes"])


def callback_secret(environ: Mapping[str, str]) -> str:
    """The secret that signs new callback addresses, set or derived."""
    return str(read(environ, "callback.secrets")["callback"]["secrets"][0])


def link_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The secret that signs payment links, set or derived; then the previous one."""
    secrets: tuple[str, ...] = read(environ, "orders.link_secrets")["orders"]["link_secrets"]
    return secrets


def site_address(environ: Mapping[str, str]) -> str:
    """Of the shop, like https://shop.example: where its callbacks go."""
    address = str(read(environ, "callback.url")["callback"]["url"])
    return "/".join(address.split("/")[:3])


def audit_settings(environ: Mapping[str, str]) -> AuditSettings:
    """The keys of the audit log, set or derived."""
    if not audit_key_is_at_hand(environ):
        raise Misconfigured.of(
            "AUDIT_SECRET",
            "the secret that signs the audit log; or MPESA_ENV, MPESA_PASSKEY and MPESA_CONSUMER_SECRET "
            "must hold what the functions have: it is derived from them",
        )
    return AuditSettings(**read(environ, "audit")["audit"])


def audit_key_is_at_hand(environ: Mapping[str, str]) -> bool:
    """Whether the environment has what `audit_settings` needs, malformed or not."""

    def is_set(name: str) -> bool:
        return bool(environ.get(name, "").strip())

    return is_set("AUDIT_SECRET") or all(map(is_set, ("MPESA_ENV", "MPESA_PASSKEY", "MPESA_CONSUMER_SECRET")))
