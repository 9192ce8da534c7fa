"""The environment: each variable missing, malformed, named, and its value never shown."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.environment_variables import Misconfigured, Problem, derived_audit_secret, derived_callback_secret
from shared.notices import KINDS
from shared.settings import RECEIVING as PARTS_OF_RECEIVING
from shared.settings import Settings, current_database_url
from simulator.settings import SANDBOX_PASSKEY

GUIDE = {
    "MPESA_ENV": "sandbox",
    "MPESA_CONSUMER_KEY": "a-consumer-key",
    "MPESA_CONSUMER_SECRET": "a-consumer-secret",
    "MPESA_SHORTCODE": "174379",
    "MPESA_PASSKEY": SANDBOX_PASSKEY,
    "MPESA_CALLBACK_URL": "https://shop.example/api/mpesa/callback",
    "DATABASE_URL": "postgresql://lipa:s3cret-of-the-database@db.example:5432/lipa",
    "SENDGRID_API_KEY": "SG.a-key-of-sendgrid",
    "INVOICE_EMAIL_FROM": "invoices@shop.example",
    "INVOICE_EMAIL_REPLY_TO": "support@shop.example",
}
"""The ten names of the production guide."""
PRODUCTION = {
    **GUIDE,
    "MPESA_ENV": "production",
    "MPESA_SHORTCODE": "600000",
    "MPESA_PASSKEY": "a-passkey-of-our-own",
    "MPESA_CALLBACK_URL": "https://duka.co.ke/api/pay/callback",
    "INVOICE_EMAIL_FROM": "invoices@duka.co.ke",
    "INVOICE_EMAIL_REPLY_TO": "support@duka.co.ke",
}
RECEIVING = (
    "MPESA_ENV", "MPESA_CONSUMER_SECRET", "MPESA_PASSKEY", "MPESA_CALLBACK_URL", "DATABASE_URL",
)  # fmt: skip


def read(environ: dict[str, str], **changes: str) -> Settings:
    return Settings.from_environment({**environ, **changes})


def receiving(environ: dict[str, str]) -> Settings:
    return Settings(environ).need(*PARTS_OF_RECEIVING)


def named(environ: dict[str, str], **changes: str) -> list[str]:
    """The names of what is wrong."""
    return [problem.name for problem in problems(environ, **changes)]


def problems(environ: dict[str, str], **changes: str) -> list[Problem]:
    """What stops payments; where nothing does, what stops letters, or the webhook."""
    with pytest.raises(Misconfigured) as wrong:
        settings = read(environ, **changes)
        _ = settings.letters, settings.webhook
    return list(wrong.value.problems)


@pytest.mark.parametrize("environ", [GUIDE, PRODUCTION])
def test_the_ten_variables_of_the_guide_are_enough(environ: dict[str, str]) -> None:
    settings = read(environ)
    assert (
        settings.daraja.base_url
        == {
            "sandbox": "https://sandbox.safaricom.co.ke",
            "production": "https://api.safaricom.co.ke",
        }[settings.daraja.environment]
    )
    assert settings.daraja.party_b == settings.daraja.shortcode
    assert settings.daraja.transaction_type == "CustomerPayBillOnline"
    assert settings.callback.confirm_above_kes == 20_000
    limits = settings.limits
    assert limits.payment_kes == 250_000
    assert limits.phone_kes_a_day == 500_000
    assert limits.shop_kes_a_day is None
    assert (limits.phone_pushes_an_hour, limits.phone_unanswered_in_a_row) == (10, 3)
    assert (limits.address_pushes_an_hour, limits.shop_pushes_a_minute) == (120, 60)
    assert settings.letters.mail.sendgrid_base_url == "https://api.sendgrid.com"


def test_the_shops_tax_pin_is_shown_as_kra_writes_it() -> None:
    assert read(GUIDE).letters.shop.tax_pin is None
    assert read(GUIDE, SHOP_KRA_PIN=" a123456789z ").letters.shop.tax_pin == "A123456789Z"


def test_notices_are_all_but_seen_failures_unless_the_shop_lists_others() -> None:
    assert read(GUIDE).notices == {"failed", "paid_late", "under_review", "refunded"}
    assert read(GUIDE, NOTICES="off").notices == set()
    assert read(GUIDE, NOTICES=" refunded, under_review,").notices == {"refunded", "under_review"}
    assert read(GUIDE, NOTICES="failed_seen").notices == {"failed", "failed_seen"}


@pytest.mark.parametrize("name", GUIDE)
@pytest.mark.parametrize("empty", [None, "", "   "])
def test_each_of_the_ten_is_named_when_it_is_missing(name: str, empty: str | None) -> None:
    environ = {key: value for key, value in GUIDE.items() if key != name} | ({} if empty is None else {name: empty})
    assert named(environ) == [name]


LETTERS = ("SENDGRID_API_KEY", "INVOICE_EMAIL_FROM", "INVOICE_EMAIL_REPLY_TO")


def test_all_missing_variables_are_named_at_once() -> None:
    assert set(named({})) == set(GUIDE) - set(LETTERS)
    assert set(named({name: value for name, value in GUIDE.items() if name not in LETTERS})) == set(LETTERS)


@pytest.mark.parametrize(
    "broken",
    [
        *(dict.fromkeys([name], value) for name in LETTERS for value in ("", "malformed <")),
        {"SMTP_URL": "mail.example"},
        {"SENDGRID_BASE_URL": "https://mail.example"},
        {"SENDGRID_SANDBOX": "yes"},
        {"SENDGRID_SANDBOX": "on"},
        {"NOTICES": "all"},
        {"SHOP_NAME": "two\nlines"},
        {"SHOP_ADDRESS": "x" * 201},
        {"SHOP_KRA_PIN": "A1"},
    ],
    ids=str,
)
def test_what_only_letters_need_never_stops_a_payment(broken: dict[str, str]) -> None:
    settings = read(PRODUCTION, **broken)
    assert settings.daraja == read(PRODUCTION).daraja
    assert settings.notices == set(KINDS), "none is dropped meanwhile"
    assert named(PRODUCTION, **broken) == list(broken)
    receiving({**PRODUCTION, **broken})


# Deploy contexts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["deploy-preview", "branch-deploy", "dev", "unknown", "Production", "a\nb"])
def test_production_credentials_work_in_the_production_context_alone(context: str) -> None:
    (problem,) = problems(PRODUCTION, CONTEXT=context)
    assert problem.name == "MPESA_ENV"
    assert "production credentials work in the production context alone" in problem.should_hold
    assert context.isprintable() == (f"deploy context {context}:" in problem.should_hold)
    with pytest.raises(Misconfigured, match="production context alone"):
        receiving({**PRODUCTION, "CONTEXT": context})
    assert read(GUIDE, CONTEXT=context).daraja.environment == "sandbox"


@pytest.mark.parametrize("context", ["", "production"])
def test_production_credentials_work_in_production_and_where_nobody_speaks_of_contexts(context: str) -> None:
    assert read(PRODUCTION, CONTEXT=context).daraja.environment == "production"


def test_the_address_of_the_database_is_the_one_of_this_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for password in ("first", "second"):
        url = f"postgresql://netlify:{password}@db.example/shop"
        monkeypatch.setenv("NETLIFY_DB_URL", url)
        assert current_database_url() == url
    monkeypatch.setenv("DATABASE_URL", "postgresql://own@db.example/shop")
    assert current_database_url() == "postgresql://own@db.example/shop"
    monkeypatch.setenv("DATABASE_URL", "s3cret")
    with pytest.raises(Misconfigured, match="DATABASE_URL must hold"):
        current_database_url()


MALFORMED: dict[str, list[str]] = {
    "MPESA_ENV": ["Production", "live"],
    "MPESA_CONSUMER_KEY": ['"quoted-key"', "<your key>", "two words"],
    "MPESA_CONSUMER_SECRET": ["abc", "s\u00e9cret-value"],
    "MPESA_SHORTCODE": ["1743", "17437912", "174 379", "\u0661\u0667\u0664\u0663\u0667\u0669"],
    "MPESA_PASSKEY": ["with a space", "'quoted'"],
    "MPESA_CALLBACK_URL": [
        "shop.example/api/mpesa/callback", "ftp://shop.example/callback", "https://other.example/",
        "https://shop.example/api/mpesa/callback/", "https://shop.example/api/mpesa/callback?x=1",
        "https://shop.example/api/mpesa/callback#x", "https://user:pw@shop.example/callback",
        "https://:pw@shop.example/callback", "https://shop.example/a b/callback", "https://shop.example:port/callback",
        "https://shop.example:99999/callback", "https://shop..example/callback", "https://<your-site>/callback", "https://[shop.example/callback",
    ],
    "DATABASE_URL": [
        "mysql://lipa:s3cret-word@db.example/lipa", "postgresql://lipa:s3cret-word@db.example:high/lipa",
        "postgresql://lipa:s3cret-word@db.example/lipa?sslmode=s3cret-word",
        "postgresql://lipa:s3cret-word@db.example/lipa?s3cret-word=1", "s3cret-word",
    ],
    "SENDGRID_API_KEY": ["not-a-key-of-sendgrid", "SG.with a space"],
    "INVOICE_EMAIL_FROM": ["Shop <invoices@shop.example>", "invoices@localhost"],
    "INVOICE_EMAIL_REPLY_TO": ["a@shop.example,b@shop.example", "a@shop.example\nBcc: b@shop.example"],
    "NETLIFY_DB_URL": ["mysql://lipa:s3cret-word@db.example/lipa"],
    "MPESA_BASE_URL": ["http://daraja.example", "daraja.example", "https://user:pw@daraja.example"],
    "SENDGRID_BASE_URL": ["http://mail.example"],
    "MPESA_TRANSACTION_TYPE": ["CustomerPaybillOnline"],
    "MPESA_PARTY_B": ["till"],
    "CALLBACK_SECRET": ["too-short", "a secret with spaces that is long enough to be one"],
    "CALLBACK_SECRET_PREVIOUS": ["too-short"],
    "CALLBACK_IP_MODE": ["on", "Flag", "enforced", "true"],
    "AUDIT_SECRET": ["too-short", "a" * 20 + "," + "b" * 20],
    "AUDIT_SECRET_PREVIOUS": [f"{'a' * 40},too-short"],
    "CONFIRM_ABOVE_KES": ["-1", "20,000", "20000.50", "250001", "\u0662\u0660\u0660\u0660\u0660"],
    "MAX_PAYMENT_KES": ["0", "250001"],
    "MAX_PHONE_KES_PER_DAY": ["0", "500001"],
    "MAX_SHOP_KES_PER_DAY": ["0", "1,000,000"],
    "PHONE_PUSHES_PER_HOUR": ["0"],
    "PHONE_UNANSWERED_PUSHES": ["none"],
    "ADDRESS_PUSHES_PER_HOUR": ["-1"],
    "SHOP_PUSHES_PER_MINUTE": ["100001"],
    "ALLOWED_ORIGINS": [
        "*", "https://*.shop.example", "https://*", "other.example", "https://shop.example/path", "https://shop.example?x",
        "https://shop.example,null", "https://caf\u00e9.example", "https://user@shop.example", "https://shop_1.example.",
    ],
    "SMTP_URL": ["http://mail.example", "smtp://user:s3cret-word@/"],
    "ORDERS_EMAIL_TO": ["orders", "a@shop.example,b@shop.example"],
    "ORDER_WEBHOOK_URL": ["http://hooks.example", "hooks.example", "ftp://hooks.example/x", "https://u:pw@hooks.example"],
    "SHOP_NAME": ["two\nlines"],
    "SHOP_ADDRESS": ["x" * 201],
    "NOTICES": ["on", "failed,paid", "off,failed", ","],
    "SHOP_KRA_PIN": ["A12345678Z", "1234567890A", "P051\u0661234567X"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in MALFORMED.items() for value in values])
def test_each_malformed_variable_is_named_and_its_value_never_shown(name: str, value: str) -> None:
    environ = {key: held for key, held in GUIDE.items() if not (name == "NETLIFY_DB_URL" and key == "DATABASE_URL")}
    found = problems(environ, **{name: value})
    assert [problem.name for problem in found] == [name]
    told = str(Misconfigured(found))
    assert f"{name} must hold " in told
    if name not in ("MPESA_ENV", "MPESA_TRANSACTION_TYPE") and len(value) > 6:
        assert value not in told
    for secret in ("s3cret", "pw@", "quoted", "two words", "too-short", "Bcc"):
        assert secret not in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MPESA_SHORTCODE", "174379"),
        ("MPESA_PARTY_B", "174379"),
        ("MPESA_PASSKEY", SANDBOX_PASSKEY),
        ("MPESA_BASE_URL", "https://sandbox.safaricom.co.ke"),
        ("MPESA_BASE_URL", "https://api.safaricom.co.ke"),
        ("SENDGRID_BASE_URL", "https://mail.example"),
        ("SENDGRID_BASE_URL", "http://127.0.0.1:8890"),
        ("SENDGRID_BASE_URL", "https://api.sendgrid.com.example"),
        ("SENDGRID_BASE_URL", "https://api.us.sendgrid.com"),
        ("MPESA_CALLBACK_URL", "http://shop.example/api/mpesa/callback"),
        ("MPESA_CALLBACK_URL", "https://localhost/api/mpesa/callback"),
        ("MPESA_CALLBACK_URL", "https://127.0.0.1/api/mpesa/callback"),
    ],
)
def test_production_refuses_what_belongs_to_the_sandbox(name: str, value: str) -> None:
    assert named(PRODUCTION, **{name: value}) == [name]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("MPESA_CONSUMER_SECRET", "kept-secret\\n", "line break"),
        ("MPESA_PASSKEY", "a-kept-passkey\\r\\n", "line break"),
        ("DATABASE_URL", "postgresql://u:kept@db.example/shop\\n", "line break"),
        ("MPESA_CONSUMER_KEY", 'kept-key"', "quotes"),
        ("SENDGRID_API_KEY", "'SG.kept-key'", "quotes"),
        ("CALLBACK_SECRET", f"{'k' * 40}'", "quotes"),
        ("MPESA_PASSKEY", "MPESA_PASSKEY=a-kept-passkey", "its name"),
        ("MPESA_SHORTCODE", "MPESA_SHORTCODE=600000", "its name"),
        ("CALLBACK_SECRET", f"export CALLBACK_SECRET={'k' * 40}", "its name"),
    ],
)
def test_what_was_copied_along_with_a_value_is_named(name: str, value: str, why: str) -> None:
    (problem,) = problems(GUIDE, **{name: value})
    assert (problem.name, why in problem.should_hold, "kept" in problem.should_hold) == (name, True, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MPESA_CONSUMER_KEY", "your_production_consumer_key"),
        ("MPESA_CONSUMER_SECRET", "YOUR-SECRET"),
        ("MPESA_PASSKEY", "your_live_passkey"),
        ("MPESA_PASSKEY", "changeme"),
        ("MPESA_PASSKEY", "xxxxxxxxxxxx"),
        ("MPESA_CALLBACK_URL", "https://YOUR-DOMAIN/api/pay/callback"),
        ("MPESA_CALLBACK_URL", "https://yoursite.example/api/pay/callback"),
        ("MPESA_CALLBACK_URL", "https://shop.example/api/pay/callback"),
        ("MPESA_CALLBACK_URL", "https://www.example.com/api/pay/callback"),
        ("INVOICE_EMAIL_FROM", "invoices@shop.example"),
        ("INVOICE_EMAIL_REPLY_TO", "support@example.com"),
        ("ORDERS_EMAIL_TO", "orders@shop.example"),
        ("DATABASE_URL", "postgresql://user:your_password@db.example/shop"),
        ("SENDGRID_API_KEY", "SG.your_key_of_sendgrid"),
        ("AUDIT_SECRET", "thirty_two_letters_of_your_own_choosing"),
    ],
)
def test_production_refuses_an_examples_value_by_name(name: str, value: str) -> None:
    (problem,) = problems(PRODUCTION, **{name: value})
    assert (problem.name, "this is an example's value" in problem.should_hold) == (name, True)


@pytest.mark.parametrize("name", ["INVOICE_EMAIL_FROM", "INVOICE_EMAIL_REPLY_TO", "ORDERS_EMAIL_TO"])
def test_an_examples_mail_address_stops_letters_and_no_payment(name: str) -> None:
    settings = read(PRODUCTION, **{name: "pay@shop.example"})
    with pytest.raises(Misconfigured):
        _ = settings.letters


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("MAX_PAYMENTS_KES", "MAX_PAYMENT_KES"),
        ("MAX_SHOP_KES_A_DAY", "MAX_SHOP_KES_PER_DAY"),
        ("CONFIRM_ABOVE", "CONFIRM_ABOVE_KES"),
        ("ALLOWED_ORIGIN", "ALLOWED_ORIGINS"),
        ("CALLBACK_SECRETS", "CALLBACK_SECRET"),
        ("MPESA_TRANSACTIONTYPE", "MPESA_TRANSACTION_TYPE"),
    ],
)
def test_a_misspelt_name_is_named_with_the_one_that_was_meant(misspelt: str, meant: str) -> None:
    (problem,) = problems(GUIDE, **{misspelt: "70000"})
    assert (problem.name, problem.should_hold) == (
        misspelt,
        f"nothing: no setting has this name. Is {meant} meant?",
    )
    Settings({**GUIDE, misspelt: "70000"}).need(*PARTS_OF_RECEIVING)  # it never costs a callback


@pytest.mark.parametrize(
    "other",
    ["DATABASE_URL_UNPOOLED", "MAX_UPLOAD_KB", "MPESA_INITIATOR_NAME", "SHOP_NAMES", "SENTRY_DNS", "URL_PREFIX"],
)
def test_a_name_of_something_else_stops_no_payment(other: str) -> None:
    read(GUIDE, **{other: "x"})


WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLawl"


@pytest.mark.parametrize(
    "url",
    ["https://orders.shop.example/hooks", "https://example.com/x", "http://127.0.0.1:9/hooks", "https://localhost"],
)
def test_production_refuses_a_webhook_of_the_examples_or_on_this_machine(url: str) -> None:
    assert named(PRODUCTION, ORDER_WEBHOOK_URL=url, ORDER_WEBHOOK_SECRET=WEBHOOK_SECRET) == ["ORDER_WEBHOOK_URL"]
    if "http:" in url or "localhost" not in url:
        assert read(GUIDE, ORDER_WEBHOOK_URL=url, ORDER_WEBHOOK_SECRET=WEBHOOK_SECRET).webhook.url == url


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLawl", f"{WEBHOOK_SECRET},whsec_x",
     "whsec_" + "A" * 120,
     ",".join([WEBHOOK_SECRET] * 3), "whsec_" + "\u0661" * 40],
)  # fmt: skip
def test_a_webhook_needs_a_secret_of_the_standards_form(secret: str) -> None:
    urls = {"ORDER_WEBHOOK_URL": "https://hooks.duka.co.ke/lipa"}
    assert named(PRODUCTION, **urls, ORDER_WEBHOOK_SECRET=secret) == ["ORDER_WEBHOOK_SECRET"]
    receiving({**PRODUCTION, **urls, "ORDER_WEBHOOK_SECRET": secret})


def test_a_webhook_calls_only_public_addresses_in_production() -> None:
    webhook = {"ORDER_WEBHOOK_URL": "https://hooks.duka.co.ke/lipa?shop=1", "ORDER_WEBHOOK_SECRET": WEBHOOK_SECRET}
    assert read(PRODUCTION, **webhook).webhook.only_public
    assert not read(GUIDE, **webhook).webhook.only_public
    assert WEBHOOK_SECRET[6:] not in repr(read(GUIDE, **webhook).webhook)
    assert read(GUIDE).webhook.url is None


def test_sales_are_mailed_where_customers_answer_to_unless_the_shop_says_otherwise() -> None:
    assert read(GUIDE).letters.orders_to == "support@shop.example"
    assert read(PRODUCTION, ORDERS_EMAIL_TO="orders@duka.co.ke").letters.orders_to == "orders@duka.co.ke"


def test_the_sandbox_takes_a_simulator_on_this_machine() -> None:
    settings = read(GUIDE, MPESA_BASE_URL="http://127.0.0.1:8890/", SENDGRID_BASE_URL="http://localhost:8890")
    assert (settings.daraja.base_url, settings.letters.mail.sendgrid_base_url) == (
        "http://127.0.0.1:8890",
        "http://localhost:8890",
    )


def test_netlifys_own_database_stands_in_and_a_database_url_comes_first() -> None:
    environ = {name: value for name, value in GUIDE.items() if name != "DATABASE_URL"}
    netlify = "postgresql://netlify@db.example/shop"
    assert read(environ, NETLIFY_DB_URL=netlify).database.url == netlify
    assert read(GUIDE, NETLIFY_DB_URL=netlify).database.url == GUIDE["DATABASE_URL"]


def test_smtp_stands_in_for_sendgrid() -> None:
    environ = {name: value for name, value in GUIDE.items() if name != "SENDGRID_API_KEY"}
    mail = read(environ, SMTP_URL="smtps://user:word@mail.example:465").letters.mail
    assert (mail.sendgrid_api_key, mail.smtp_url) == (None, "smtps://user:word@mail.example:465")


def test_tills_have_a_party_b_of_their_own() -> None:
    daraja = read(GUIDE, MPESA_TRANSACTION_TYPE="CustomerBuyGoodsOnline", MPESA_PARTY_B="600584").daraja
    assert (daraja.transaction_type, daraja.party_b, daraja.shortcode) == ("CustomerBuyGoodsOnline", "600584", "174379")


def test_a_till_without_its_number_is_refused() -> None:
    assert named(GUIDE, MPESA_TRANSACTION_TYPE="CustomerBuyGoodsOnline") == ["MPESA_PARTY_B"]


@pytest.mark.parametrize(
    "host", ["https://api.eu.sendgrid.com", "https://api.sendgrid.com", "https://API.sendgrid.com/"]
)
def test_production_takes_sendgrids_own_hosts(host: str) -> None:
    assert read(PRODUCTION, SENDGRID_BASE_URL=host).letters.mail.sendgrid_base_url == host.rstrip("/")


def test_a_callback_secret_that_is_not_set_is_derived_from_both_credentials() -> None:
    derived = read(GUIDE).callback.secrets
    assert derived == (derived_callback_secret(GUIDE["MPESA_PASSKEY"], GUIDE["MPESA_CONSUMER_SECRET"]),)
    assert read(GUIDE, MPESA_CONSUMER_SECRET="another-secret").callback.secrets != derived
    assert read(GUIDE, MPESA_PASSKEY="another-passkey").callback.secrets != derived
    assert GUIDE["MPESA_PASSKEY"] not in derived[0]


def test_the_previous_callback_secret_comes_second() -> None:
    ours, before = "today" * 8, "before" * 8
    assert read(GUIDE, CALLBACK_SECRET=ours, CALLBACK_SECRET_PREVIOUS=before).callback.secrets == (ours, before)
    assert read(GUIDE, CALLBACK_SECRET_PREVIOUS=before).callback.secrets[1:] == (before,)


def test_the_sites_own_address_is_the_allowed_origin_unless_others_are_named() -> None:
    assert read(GUIDE, URL="https://shop.example/").edge.allowed_origins == ("https://shop.example",)
    named_ones = read(GUIDE, URL="https://x.example", ALLOWED_ORIGINS="https://a.example/, https://b.example:8443")
    assert named_ones.edge.allowed_origins == ("https://a.example", "https://b.example:8443")
    assert read(GUIDE).edge.allowed_origins == ()


def test_an_origin_is_compared_as_browsers_write_it() -> None:
    for written, sent in (
        ("HTTPS://Shop.Example", "https://shop.example"),
        ("https://shop.example:443/", "https://shop.example"),
        ("http://localhost:80", "http://localhost"),
        ("https://shop.example:8443", "https://shop.example:8443"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("https://[::1]:443", "https://[::1]"),
    ):
        assert read(GUIDE, ALLOWED_ORIGINS=written).edge.allowed_origins == (sent,)
        assert read(GUIDE, URL=written).edge.allowed_origins == (sent,)


def test_limits_are_read() -> None:
    settings = read(GUIDE, CONFIRM_ABOVE_KES="0", MAX_PAYMENT_KES="70000")
    assert settings.callback.confirm_above_kes == Decimal(0)
    assert settings.limits.payment_kes == Decimal(70_000)


@pytest.mark.parametrize("name", sorted(set(GUIDE) - set(RECEIVING)))
def test_receiving_money_does_not_depend_on_what_only_asking_or_mailing_takes(name: str) -> None:
    broken = {**GUIDE, name: ""}
    assert receiving(broken).callback == Settings.from_environment(GUIDE).callback


@pytest.mark.parametrize("name", RECEIVING)
def test_receiving_money_names_what_it_misses(name: str) -> None:
    with pytest.raises(Misconfigured) as wrong:
        receiving({**GUIDE, name: ""})
    assert [problem.name for problem in wrong.value.problems] == [name]


def test_no_secret_is_shown_by_settings_that_are_printed() -> None:
    shown = repr(read(GUIDE, SMTP_URL="smtp://user:s3cret-of-smtp@mail.example", CALLBACK_SECRET_PREVIOUS="b" * 32))
    secrets = [
        GUIDE[name] for name in ("MPESA_CONSUMER_KEY", "MPESA_CONSUMER_SECRET", "MPESA_PASSKEY", "SENDGRID_API_KEY")
    ]
    assert [secret for secret in [*secrets, "s3cret", "b" * 32] if secret in shown] == []


def test_the_audit_key_is_derived_where_none_is_set_and_is_not_the_callback_secret() -> None:
    (derived,) = read(GUIDE).audit.keys
    assert derived.secret == derived_audit_secret(GUIDE["MPESA_PASSKEY"], GUIDE["MPESA_CONSUMER_SECRET"])
    assert derived.secret not in read(GUIDE).callback.secrets
    assert read(GUIDE, MPESA_CONSUMER_SECRET="another-secret").audit.key != derived
    assert read(GUIDE, MPESA_PASSKEY="another-passkey").audit.key != derived


def test_audit_keys_of_before_come_after_the_one_that_signs() -> None:
    ours, before, first = "a" * 40, "b" * 40, "c" * 39 + "/"
    keys = read(GUIDE, AUDIT_SECRET=ours, AUDIT_SECRET_PREVIOUS=f"{before}, {first}").audit.keys
    assert [key.secret for key in keys] == [ours, before, first]
    assert receiving({**GUIDE, "AUDIT_SECRET": ours}).audit.key.secret == ours
    assert ours not in repr(read(GUIDE, AUDIT_SECRET=ours))


def test_sendgrids_sandbox_is_for_sandboxes_and_for_sendgrid() -> None:
    assert read(GUIDE).letters.mail.sendgrid_sandbox is False
    assert read(GUIDE, SENDGRID_SANDBOX="off").letters.mail.sendgrid_sandbox is False
    assert read(PRODUCTION, SENDGRID_SANDBOX="off").letters.mail.sendgrid_sandbox is False
    assert read(GUIDE, SENDGRID_SANDBOX="on").letters.mail.sendgrid_sandbox is True
    for environ, more in ((PRODUCTION, {}), (GUIDE, {"SMTP_URL": "smtps://user:word@mail.example:465"})):
        assert named(environ, SENDGRID_SANDBOX="on", **more) == ["SENDGRID_SANDBOX"]
    assert named(GUIDE, SENDGRID_SANDBOX="yes") == ["SENDGRID_SANDBOX"]
