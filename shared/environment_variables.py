"""Every environment variable, in one table: which settings it fills, what it should hold, its form, its default.

`read` checks the variables of the wanted settings, and no others. It collects all problems, so that one error names
them all. No message contains a value. The table is at the end, below the forms that it uses.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from shared.audit_chain import AuditKey
from shared.notices import FAILED_SEEN, KINDS, SENT_BY_DEFAULT, Notice
from shared.values import LARGEST_DAY_KES, LARGEST_KES, is_email_address

DARAJA_HOSTS = {"sandbox": "https://sandbox.safaricom.co.ke", "production": "https://api.safaricom.co.ke"}
SANDBOX_SHORTCODE = "174379"
PUBLISHED = {
    "6b933448d12f658cae3204515c314d7745b132307854ba107b16922825446b73",  # the sandbox's passkey (Daraja portal)
    "34a7c4493cb56775daeb58c8dc0be638f591c62ff0ab895a5185db44af868e30",  # the secret of .env.example
    "f6929c06ada7d9d28d69833b2923eb71733931a785445fe2dbd4973edfe7f004",  # its webhook secret
}
"""SHA-256 of what production refuses. In clear, Netlify's secrets scan would find a shop's own variables here."""
PAYBILL, TILL = "CustomerPayBillOnline", "CustomerBuyGoodsOnline"
REQUIRED = object()
Form = str | Callable[[str], bool]
"""A regular expression, or a function. A function may raise ValueError: it says what is wrong, without the value."""


class Problem(NamedTuple):
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


class Variable(NamedTuple):
    """One environment variable."""

    name: str
    fills: str
    """Settings, as `part.field`, with a space between two. Tuples from two variables are put one after the other."""
    holds: str
    """What it should hold, as the end of a sentence."""
    form: Form
    default: object = REQUIRED
    """The setting where the variable is empty, or a function that gets it from `Values`. REQUIRED: it must be set."""
    parse: Callable[[str], object] = str
    """The setting from a text of the right form."""
    refused: Callable[[Values, str], bool] | None = None
    """Whether a text of the right form cannot be used together with the other variables."""


class Values:
    """The settings by variable. Each variable is checked when it is looked up; one that cannot be used gives ''."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.in_production = self.given("MPESA_ENV") == "production"
        self.problems: dict[str, Problem] = {}

    def given(self, name: str) -> str:
        """The text that is set, without spaces around it, not checked."""
        return self._variables.get(name, "").strip()

    def __getitem__(self, name: str) -> Any:
        variable, text, why = TABLE[name], self.given(name), ""
        if not text:
            default = variable.default(self) if callable(variable.default) else variable.default
            if default is not REQUIRED:
                return default
        else:
            try:
                if COPIED.search(text) and variable.form is not is_one_line:
                    self._refuse_what_was_copied(variable, text)
                if fits(variable.form, text) and not (variable.refused and variable.refused(self, text)):
                    return variable.parse(text)
            except ValueError as wrong:
                why = f" ({str(wrong).replace('DATABASE_URL', name)})"
        self.problems[name] = Problem(name, variable.holds + why)
        return ""

    def _refuse_what_was_copied(self, variable: Variable, text: str) -> None:
        for pattern, what in COPIED_TOO:
            if re.search(pattern.format(name=variable.name), text):
                raise ValueError(f"without {what}")
        if self.in_production and re.search(EXAMPLE, text):
            raise ValueError(AN_EXAMPLE)


def misspelt(variables: Mapping[str, str], *parts: str) -> list[Problem]:
    """Names that are nearly those of settings of these parts (all, where none is named) which are not set."""
    ours = {
        variable.name
        for variable in VARIABLES
        if not parts or {setting.partition(".")[0] for setting in variable.fills.split()} & set(parts)
    }
    beginnings = {name[:3] for name in ours}
    others = [name for name in variables if name[:3] in beginnings and name not in TABLE]
    if not others:
        return []
    from difflib import get_close_matches

    missing = [name for name in ours if not variables.get(name, "").strip()]
    near = {name: get_close_matches(name, missing, 1, 0.85) for name in sorted(others)}
    return [
        Problem(name, f"nothing: no setting has this name. Is {meant[0]} meant?")
        for name, meant in near.items()
        if meant
    ]


def read(variables: Mapping[str, str], *wanted: str) -> dict[str, dict[str, Any]]:
    """Settings by part and field. `daraja` wants all of that part, `database.url` one field. Raises `Misconfigured`."""
    values = Values(variables)
    settings: dict[str, dict[str, Any]] = {}
    for variable in VARIABLES:
        for setting in variable.fills.split():
            part, _, field = setting.partition(".")
            if part in wanted or setting in wanted:
                value, fields = values[variable.name], settings.setdefault(part, {})
                fields[field] = (*fields[field], *value) if field in fields else value
    if values.problems:
        raise Misconfigured(list(values.problems.values()))
    return settings


def derived_callback_secret(passkey: str, consumer_secret: str) -> str:
    """The secret that signs callback addresses where CALLBACK_SECRET is not set. Changes with either credential."""
    return hmac.new(passkey.encode(), b"lipa callback address " + consumer_secret.encode(), hashlib.sha256).hexdigest()


def derived_audit_secret(passkey: str, consumer_secret: str) -> str:
    """The secret that signs the audit log where AUDIT_SECRET is not set. Changes with either credential."""
    return hmac.new(passkey.encode(), b"lipa audit log " + consumer_secret.encode(), hashlib.sha256).hexdigest()


def derived_link_secret(passkey: str, consumer_secret: str) -> str:
    """The secret that signs payment links where LINK_SECRET is not set. Changes with either credential."""
    return hmac.new(passkey.encode(), b"lipa payment link " + consumer_secret.encode(), hashlib.sha256).hexdigest()


# Forms ----------------------------------------------------------------------------------------------------------------

COPIED_TOO = (
    (r"\\[rn]", "the line break that was copied with it"),
    (r"^['\"]|['\"]$", "quotes around it"),
    ("^(export )?{name}=", "its name"),
)
"""What comes along when a value is copied out of a file or a terminal."""
EXAMPLE = (
    r"(?i)^(SG\.)?your[-_]|[:/@]your[-_]?(domain|site|host|user|password)|<[^>]*>"
    "|_of_your_own_choosing|(?<![a-z])change[-_]?me(?![a-z])|x{8}"
)
"""What guides and .env.example write in place of a value, and what people copy from them."""
AN_EXAMPLE = "this is an example's value"
COPIED = re.compile("|".join([EXAMPLE, *(pattern.format(name="[A-Z_]+") for pattern, _ in COPIED_TOO)]))
"""Whether a closer look is worth it."""
PLAIN = r"(?!['\"<])[!-~]{4,512}"
LONG_SECRET = "[!-~]{32,512}"
SHORTCODE = "[0-9]{5,7}"
TAX_PIN = "[A-Za-z][0-9]{9}[A-Za-z]"
CATALOGUE = r"none|(?![/\\])(?!.*\.\.)[\w ./-]{1,200}"
CONTEXT = "[a-z:A-Z0-9/._-]{1,100}"
RELEASE = "[A-Za-z0-9._@/+-]{1,100}"
PORT = "(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
HOST = rf"(?:[\w-]+(?:\.[\w-]+)*|\[[0-9A-Fa-f:.]+\]){PORT}"
THIS_MACHINE = rf"(?i:localhost|127\.0\.0\.1|\[::1\]){PORT}"
ORIGIN = rf"https?://(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\]){PORT}"
CALLBACK_URL = rf"(?i:https?)://{HOST}(?:/[A-Za-z0-9._-]+)*/callback"
NOT_PUBLIC = rf"(?i:http)://.*|(?i:https)://{THIS_MACHINE}/.*"
EXAMPLE_HOST = rf"(?i:https?)://(?:[\w.-]+\.)?(?i:example|example\.com|invalid|test){PORT}(?:[/?].*)?"
EXAMPLE_EMAIL = r".*[@.](?i:example|example\.com|invalid|test)"
SMTP_URL = rf"(?i:smtps?)://(?:[^/?#\s]+@)?{HOST}/?"


def server(before: str, path: str) -> str:
    """An address that is https, or http on this machine."""
    return rf"(?i:https)://{before}{HOST}{path}|(?i:http)://{before}{THIS_MACHINE}{path}"


SERVER = server("", r"(?:/[^?#\s]*)?")
SENTRY_DSN = server("[0-9A-Za-z]{8,64}(?::[0-9A-Za-z]{8,64})?@", "(?:/[A-Za-z0-9_.-]+)*/[0-9]{1,20}")
"""As Sentry shows it: a key before the host, the project's number at the end."""


def fits(form: Form, text: str) -> bool:
    return re.fullmatch(form, text) is not None if isinstance(form, str) else form(text)


def is_published(text: str) -> bool:
    return hashlib.sha256(text.encode()).hexdigest() in PUBLISHED


def in_production(form: Form) -> Callable[[Values, str], bool]:
    """Production refuses what has this form."""
    return lambda values, text: values.in_production and fits(form, text)


def in_production_an_example(form: Form) -> Callable[[Values, str], bool]:
    """Production refuses what has this form, and says why."""

    def refused(values: Values, text: str) -> bool:
        if values.in_production and fits(form, text):
            raise ValueError(AN_EXAMPLE)
        return False

    return refused


def in_another_context(values: Values, text: str) -> bool:
    """Production rings real phones: a preview, a branch or a laptop must not. Another host sets no CONTEXT."""
    context = values.given("CONTEXT")
    if text == "production" and context not in ("", "production"):
        raise ValueError(
            f"only sandbox in the deploy context {context if fits(CONTEXT, context) else 'of this build'}:"
            " production credentials work in the production context alone"
        )
    return False


def is_database_url(text: str) -> bool:
    from shared.database.url import connection_settings

    return bool(connection_settings(text))


def is_one_line(text: str) -> bool:
    return text.isprintable() and len(text) <= 200


def separated(text: str) -> list[str]:
    """The parts between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def audit_keys(text: str) -> tuple[AuditKey, ...]:
    return tuple(map(AuditKey, separated(text)))


def origins(text: str) -> tuple[str, ...]:
    """As browsers write them, lower case and without the default port: they are compared as text."""
    written = (origin.rstrip("/").lower() for origin in separated(text))
    return tuple(re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin) for origin in written)


def are_origins(text: str) -> bool:
    if "*" in text:
        raise ValueError("an asterisk matches nothing: name each origin")
    return all(fits(ORIGIN, origin) for origin in origins(text))


def webhook_secrets(text: str) -> tuple[bytes, ...]:
    return tuple(base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in separated(text))


def are_webhook_secrets(text: str) -> bool:
    try:
        secrets = webhook_secrets(text)
    except ValueError:
        return False
    lengths = all(24 <= len(secret) <= 64 for secret in secrets)
    return 1 <= len(secrets) <= 2 and lengths and all(secret.startswith("whsec_") for secret in separated(text))


def are_notices(text: str) -> bool:
    return text == "off" or (bool(separated(text)) and set(separated(text)) <= set(KINDS))


def notices(text: str) -> frozenset[str]:
    """A shop that wants seen failures sent wants the other failures sent too."""
    named = frozenset(separated(text)) - {"off"}
    return named | ({Notice.FAILED} if FAILED_SEEN in named else set())


def shop_host(values: Values) -> str:
    host = re.match(r"https?://([\w.-]+)", values.given("MPESA_CALLBACK_URL").lower())
    return host[1] if host else "the shop"


def number(
    name: str, fills: str, default: object, least: int, most: Decimal | int, parse: Callable[[str], object] = Decimal
) -> Variable:
    what = "whole shillings" if parse is Decimal else "a number"

    def form(text: str) -> bool:
        return fits("[0-9]{1,9}", text) and least <= int(text) <= most

    return Variable(name, fills, f"{what} from {least} to {most:,}, digits only", form, default, parse)


# The table ------------------------------------------------------------------------------------------------------------

A_DATABASE = "the connection string of a PostgreSQL database, like postgresql://user:password@host:5432/name"
OWN_SECRET = "at least 32 characters of your own choosing"

# fmt: off
VARIABLES = (
    Variable("MPESA_ENV", "database.environment daraja.environment webhook.environment monitoring.environment",
             "sandbox or production", "sandbox|production", refused=in_another_context),
    Variable("DATABASE_URL", "database.url", A_DATABASE, is_database_url,
             lambda values: values["NETLIFY_DB_URL"] if values.given("NETLIFY_DB_URL") else REQUIRED),
    Variable("NETLIFY_DB_URL", "", A_DATABASE, is_database_url),

    Variable("MPESA_CONSUMER_KEY", "daraja.consumer_key", "the consumer key of your app on the Daraja portal", PLAIN),
    Variable("MPESA_CONSUMER_SECRET", "daraja.consumer_secret",
             "the consumer secret of your app on the Daraja portal", PLAIN),
    Variable("MPESA_SHORTCODE", "daraja.shortcode",
             "your paybill, or the till's head-office number: 5 to 7 digits, in production not the sandbox one",
             SHORTCODE, refused=in_production(SANDBOX_SHORTCODE)),
    Variable("MPESA_PASSKEY", "daraja.passkey",
             "the Lipa na M-Pesa Online passkey of your shortcode, in production not the sandbox one",
             PLAIN, refused=in_production(is_published)),
    Variable("MPESA_TRANSACTION_TYPE", "daraja.transaction_type", f"{PAYBILL} or {TILL}", f"{PAYBILL}|{TILL}", PAYBILL),
    Variable("MPESA_PARTY_B", "daraja.party_b", "the till number: 5 to 7 digits, in production not the sandbox one",
             SHORTCODE,
             lambda values: REQUIRED if values["MPESA_TRANSACTION_TYPE"] == TILL else values["MPESA_SHORTCODE"],
             refused=in_production(SANDBOX_SHORTCODE)),
    Variable("MPESA_BASE_URL", "daraja.base_url",
             "an https address (http only on this machine); nothing in production: it is for sandboxes and simulators",
             SERVER, lambda values: DARAJA_HOSTS.get(values["MPESA_ENV"]), lambda url: url.rstrip("/"),
             in_production(".*")),

    Variable("MPESA_CALLBACK_URL", "callback.url",
             "the https address of the callback function, like https://shop.example/api/pay/callback",
             CALLBACK_URL, refused=lambda values, text: in_production(NOT_PUBLIC)(values, text)
             or in_production_an_example(EXAMPLE_HOST)(values, text)),
    Variable("CALLBACK_SECRET", "callback.secrets", OWN_SECRET, LONG_SECRET,
             lambda values: (derived_callback_secret(values["MPESA_PASSKEY"], values["MPESA_CONSUMER_SECRET"]),),
             lambda text: (text,), in_production(is_published)),
    Variable("CALLBACK_SECRET_PREVIOUS", "callback.secrets", "the callback secret used before this one", LONG_SECRET,
             (), lambda text: (text,)),
    Variable("LINK_SECRET", "orders.link_secrets", OWN_SECRET, LONG_SECRET,
             lambda values: (derived_link_secret(values["MPESA_PASSKEY"], values["MPESA_CONSUMER_SECRET"]),),
             lambda text: (text,), in_production(is_published)),
    Variable("LINK_SECRET_PREVIOUS", "orders.link_secrets", "the link secret used before this one", LONG_SECRET,
             (), lambda text: (text,)),
    Variable("CATALOGUE", "orders.catalogue",
             "none, or where the catalogue is in the repository, like public/catalogue.json", CATALOGUE, None),
    Variable("REFERENCES", "orders.references", "once or reusable", "once|reusable", "once"),

    number("CONFIRM_ABOVE_KES", "callback.confirm_above_kes", Decimal(20_000), 0, LARGEST_KES),
    Variable("CALLBACK_IP_MODE", "callback.ip_mode", "flag, enforce or off", "flag|enforce|off",
             # another server in place of Daraja has another address
             lambda values: "off" if values.given("MPESA_BASE_URL") else "flag"),

    Variable("AUDIT_SECRET", "audit.keys", f"{OWN_SECRET}, none of them a comma", f"(?!.*,){LONG_SECRET}",
             lambda values: audit_keys(derived_audit_secret(values["MPESA_PASSKEY"], values["MPESA_CONSUMER_SECRET"])),
             audit_keys, in_production(is_published)),
    Variable("AUDIT_SECRET_PREVIOUS", "audit.keys", "the audit secrets used before this one, separated by commas",
             lambda text: all(fits(LONG_SECRET, secret) for secret in separated(text)), (), audit_keys),

    Variable("SMTP_URL", "mail.smtp_url", "smtp://user:password@host:587 or smtps://user:password@host:465",
             SMTP_URL, None),
    Variable("SENDGRID_API_KEY", "mail.sendgrid_api_key", "an API key of SendGrid, beginning with 'SG.'",
             rf"SG\.{PLAIN}", lambda values: None if values["SMTP_URL"] else REQUIRED),
    Variable("SENDGRID_SANDBOX", "mail.sendgrid_sandbox",
             "on or off; only off in production, where invoices must be sent, and with SMTP_URL, which sends all",
             "on|off", False, lambda text: text == "on",
             lambda values, text: text == "on" and (values.in_production or bool(values.given("SMTP_URL")))),
    Variable("SENDGRID_BASE_URL", "mail.sendgrid_base_url",
             "https://api.sendgrid.com, https://api.eu.sendgrid.com, or outside production another https address"
             " (http only on this machine)",
             SERVER, "https://api.sendgrid.com", lambda url: url.rstrip("/"),
             in_production(r"(?!(?i:https://api\.(eu\.)?sendgrid\.com)/?$).*")),
    Variable("INVOICE_EMAIL_FROM", "mail.from_address", "the e-mail address invoices come from", is_email_address,
             refused=in_production_an_example(EXAMPLE_EMAIL)),
    Variable("INVOICE_EMAIL_REPLY_TO", "mail.reply_to", "the e-mail address customers answer to", is_email_address,
             refused=in_production_an_example(EXAMPLE_EMAIL)),
    Variable("ORDERS_EMAIL_TO", "orders_to.address", "the e-mail address that sales and alerts are mailed to",
             is_email_address, lambda values: values["INVOICE_EMAIL_REPLY_TO"],
             refused=in_production_an_example(EXAMPLE_EMAIL)),
    Variable("NOTICES", "notices.kinds", f"off, or notices separated by commas: {', '.join(KINDS)}", are_notices,
             SENT_BY_DEFAULT, notices),

    Variable("ORDER_WEBHOOK_URL", "webhook.url",
             "an https address of your own that takes events of payments; outside production also http on this machine",
             server("", r"(?:/[^#\s]*)?"), None, refused=in_production(rf"{NOT_PUBLIC}|(?i:https)://{THIS_MACHINE}|{EXAMPLE_HOST}")),
    Variable("ORDER_WEBHOOK_SECRET", "webhook.secrets",
             "'whsec_' and 24 to 64 bytes in base64, like `python -m ops webhook secret` prints;"
             " two of them, separated by a comma, while one takes the place of the other",
             are_webhook_secrets, lambda values: REQUIRED if values["ORDER_WEBHOOK_URL"] else (), webhook_secrets,
             in_production(is_published)),

    Variable("SHOP_NAME", "shop.name", "the shop's name as invoices show it", is_one_line, shop_host),
    Variable("SHOP_ADDRESS", "shop.address", "the shop's address on one line", is_one_line, None),
    Variable("SHOP_KRA_PIN", "shop.tax_pin", "the shop's KRA PIN: a letter, nine digits, a letter, like A123456789Z",
             TAX_PIN, None, str.upper),
    Variable("ALLOWED_ORIGINS", "edge.allowed_origins",
             "web origins separated by commas, like https://shop.example,https://www.shop.example",
             are_origins,
             lambda values: origins(values.given("URL")), origins),

    # sums are Safaricom's own unless set; it publishes none for a whole shop (Daraja portal, M-Pesa Express FAQ 5)
    number("MAX_PAYMENT_KES", "limits.payment_kes", LARGEST_KES, 1, LARGEST_KES),
    number("MAX_PHONE_KES_PER_DAY", "limits.phone_kes_a_day", LARGEST_DAY_KES, 1, LARGEST_DAY_KES),
    number("MAX_SHOP_KES_PER_DAY", "limits.shop_kes_a_day", None, 1, 999_999_999),
    number("PHONE_PUSHES_PER_HOUR", "limits.phone_pushes_an_hour", 10, 1, 100_000, int),
    number("PHONE_UNANSWERED_PUSHES", "limits.phone_unanswered_in_a_row", 3, 1, 100_000, int),
    number("ADDRESS_PUSHES_PER_HOUR", "limits.address_pushes_an_hour", 120, 1, 100_000, int),
    number("SHOP_PUSHES_PER_MINUTE", "limits.shop_pushes_a_minute", 60, 1, 100_000, int),

    number("SWEEP_IDLE_MINUTES", "sweep.idle_minutes", 60, 0, 720, int),

    Variable("SENTRY_DSN", "monitoring.dsn", "the DSN of a Sentry project, like https://key@o1.ingest.sentry.io/2",
             SENTRY_DSN, None),
    Variable("SENTRY_RELEASE", "monitoring.release",
             "a version or commit: letters, digits and . _ - @ + /, at most 100", RELEASE,
             lambda values: values.given("COMMIT_REF") if fits(RELEASE, values.given("COMMIT_REF")) else None),
)
# fmt: on
TABLE = {variable.name: variable for variable in VARIABLES}
