"""The settings: each readable, nobody's example, no name misspelt, none that cannot be right beside another."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from ops.checks import Finding, Shop, failed, ok, warning
from shared.catalogue import catalogue_of
from shared.environment_variables import (
    PAYBILL,
    TABLE,
    TILL,
    Misconfigured,
    Problem,
    misspelt,
    read,
)
from shared.settings import LETTERS, PAYMENTS
from shared.values import in_words

CORRECT_IT = "Set it on Netlify, and deploy: docs/deploying.md, step 5"
LARGEST_BYTES = 4096
"""Of all variables of a function together, names and values: AWS Lambda's limit. The build measures it too."""
SIGNING = ("CALLBACK_SECRET", "AUDIT_SECRET", "LINK_SECRET")


def settings(shop: Shop) -> Iterator[Finding]:
    """What a payment, its link and the sweep need."""
    wrong = [*_problems(shop, *PAYMENTS, "orders", "sweep"), *misspelt(shop.environ)]
    yield from (_named(each) for each in wrong)
    contradictions = list(_contradictions(shop))
    yield from contradictions
    if not wrong and not contradictions:
        yield ok(f"every setting that a payment needs can be used, for {shop.given('MPESA_ENV')}")


def mail_settings(shop: Shop) -> Iterator[Finding]:
    wrong = _problems(shop, *LETTERS)
    yield from (_named(each) for each in wrong)
    if shop.given("SMTP_URL") and shop.given("SENDGRID_API_KEY"):
        yield warning("SMTP_URL and SENDGRID_API_KEY are set: only SMTP_URL is used", "Remove the one you do not use")
    if not wrong:
        yield ok("every setting that letters need can be used")


def webhook_settings(shop: Shop) -> Iterator[Finding]:
    wrong = _problems(shop, "webhook")
    yield from (_named(each) for each in wrong)
    if not wrong:
        none = "no ORDER_WEBHOOK_URL: no events are posted"
        yield ok("the webhook's settings can be used" if shop.settings.has_webhook else none)


def variables_size(shop: Shop) -> Finding:
    sizes = {name: len(f"{name}{shop.environ[name]}".encode()) for name in TABLE if name in shop.environ}
    in_all, largest = sum(sizes.values()), max(sizes, key=lambda name: sizes[name], default="")
    says = f"Lipa's variables have {in_all:,} bytes of the {LARGEST_BYTES:,} that all of a function may have"
    shorten = f"Shorten the largest, {largest}; take the scope Functions from variables that no function reads"
    if in_all > LARGEST_BYTES:
        return failed(f"{says}: a deploy fails", shorten)
    return ok(says) if in_all * 4 < LARGEST_BYTES * 3 else warning(says, shorten)


def prices(shop: Shop) -> Finding:
    try:
        catalogue = catalogue_of(read(shop.environ, "orders.catalogue")["orders"]["catalogue"])
    except Misconfigured as wrong:
        return failed(str(wrong), "Correct the file it names, and deploy: docs/prices.md")
    if catalogue is None:
        return warning("no catalogue: the customer's browser names the price", "Write one: docs/prices.md")
    if catalogue.open_amounts:
        return warning("the catalogue has open_amounts: the browser may name a sum too", "docs/prices.md")
    return ok("the catalogue decides what is to be paid")


def limits(shop: Shop) -> Iterator[Finding]:
    mine = shop.settings.need("limits").limits
    day = mine.shop_kes_a_day
    raise_it = "Choose them together: docs/limits.md, How much; `python -m ops limits` recommends some"
    if day is None:
        yield warning("MAX_SHOP_KES_PER_DAY is not set: nothing bounds a day of the whole shop", raise_it)
    sums: tuple[tuple[str, Decimal | None], ...] = (
        ("MAX_PHONE_KES_PER_DAY", mine.phone_kes_a_day),
        ("MAX_SHOP_KES_PER_DAY", day),
    )
    for name, most in sums:
        if most is not None and mine.payment_kes > most:
            yield warning(f"MAX_PAYMENT_KES is more than {name}: such a payment is always refused", raise_it)
    if day is not None:
        yield ok(f"a payment may be {in_words(mine.payment_kes)}, a day of the shop {in_words(day)}")


def error_reports(shop: Shop) -> Finding:
    if wrong := _problems(shop, "monitoring"):
        return _named(wrong[0])
    if not shop.given("SENTRY_DSN"):
        return warning("SENTRY_DSN is not set: errors are only in the log", "docs/monitoring.md, Sentry")
    return ok("errors are reported to Sentry")


def _contradictions(shop: Shop) -> Iterator[Finding]:
    """What is right by itself and not beside the others."""
    kind, till = shop.given("MPESA_TRANSACTION_TYPE") or PAYBILL, shop.given("MPESA_PARTY_B")
    if kind == PAYBILL and till and till != shop.given("MPESA_SHORTCODE"):
        yield failed(
            "MPESA_PARTY_B is another number than MPESA_SHORTCODE, and MPESA_TRANSACTION_TYPE is a paybill's",
            f"A till: MPESA_TRANSACTION_TYPE={TILL}. A paybill: remove MPESA_PARTY_B. docs/deploying.md, step 1",
        )
    if kind == TILL and till and till == shop.given("MPESA_SHORTCODE"):
        yield warning(
            "MPESA_PARTY_B is MPESA_SHORTCODE: a till's number usually differs from its head office's",
            "MPESA_SHORTCODE is the head-office number: docs/deploying.md, step 1",
        )
    own, netlifys = shop.given("DATABASE_URL"), shop.given("NETLIFY_DB_URL")
    if own and netlifys and own != netlifys:
        yield warning("DATABASE_URL and NETLIFY_DB_URL differ: DATABASE_URL is used", "Remove DATABASE_URL, or keep it")
    named: dict[str, str] = {}
    for name in (*SIGNING, *[f"{each}_PREVIOUS" for each in SIGNING]):
        if (secret := shop.given(name)) and (first := named.setdefault(secret, name)) != name:
            yield failed(f"{name} is the same secret as {first}", f"openssl rand -hex 32 makes one for {name}")
    if shop.in_production and (derived := [name for name in SIGNING if not shop.given(name)]):
        yield warning(
            f"derived from passkey and consumer secret, and changing with them: {', '.join(derived)}",
            "docs/deploying.md, Give the signing secrets values of their own",
        )


def _problems(shop: Shop, *parts: str) -> list[Problem]:
    try:
        read(shop.environ, *parts)
    except Misconfigured as wrong:
        return [each for each in wrong.problems if each.name != "MPESA_ENV" or "database" in parts]  # once is enough
    return []


def _named(problem: Problem) -> Finding:
    return failed(f"{problem.name} must hold {problem.should_hold}", CORRECT_IT)
