"""Nothing private leaves: canaries through every function, error and alert, and none seen in anything that comes out.

Looked at are the standard output and error of real processes that run the functions, every answer, and every envelope
that reaches Sentry. The second half plants a leak in each of them, and sees that it is found.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from shared.daraja.callback_address import callback_url
from shared.database import Database
from shared.settings import CallbackSettings
from tests.chaos.books import LIMITS
from tests.chaos.canaries import Canaries, Process, Talkative, sightings, talkative
from tests.fixtures.database import Ageing, broken_invariants
from tests.fixtures.sentry import SentrySink
from tests.fixtures.shop import callback_about
from tests.fixtures.site import Site
from tests.fixtures.soak import Figure, Rounds

PRIVATE = Canaries()


class Shop(Ageing):
    """A shop full of canaries, in a process of its own."""

    def __init__(self, database_url: str, provider: Talkative, sentry: SentrySink) -> None:
        super().__init__(Database(database_url))
        self.provider, self.sentry, self.database_url = provider, sentry, database_url
        login = f"postgresql://postgres:{PRIVATE.database_password}@"
        self.environment = {
            "MPESA_ENV": "sandbox",
            "MPESA_BASE_URL": provider.url,
            "MPESA_CONSUMER_KEY": PRIVATE.consumer_key,
            "MPESA_CONSUMER_SECRET": PRIVATE.consumer_secret,
            "MPESA_SHORTCODE": "600997",
            "MPESA_PASSKEY": PRIVATE.passkey,
            "MPESA_CALLBACK_URL": "https://shop.example/api/pay/callback",
            "CALLBACK_SECRET": PRIVATE.callback_secret,
            "CALLBACK_IP_MODE": "flag",
            "DATABASE_URL": re.sub("^postgresql://[^@]*@", login, database_url),
            "SENDGRID_BASE_URL": provider.url,
            "SENDGRID_API_KEY": PRIVATE.sendgrid_key,
            "CATALOGUE": "none",
            "INVOICE_EMAIL_FROM": "invoices@shop.example",
            "INVOICE_EMAIL_REPLY_TO": "support@shop.example",
            "SENTRY_DSN": sentry.dsn,
            "SMTP_URL": "",
            "SWEEP_IDLE_MINUTES": "0",  # a test moves the database's time, not that of the process which sleeps
            **dict.fromkeys(LIMITS, "1000"),
        }
        self.process = Process(self.environment)
        self.process.run("from shared.query_schedule import BUDGETS, Budget; BUDGETS['sandbox'] = Budget(0.0)")
        self.orders = 0
        self.thorough = False
        """In the long form: every wrong value for every variable."""
        self.tokens: dict[str, str] = {}

    # As customers and Safaricom do

    def order(self, **changes: object) -> dict[str, object]:
        self.orders += 1
        return {
            "phone_number": PRIVATE.phone,
            "amount": 100 + self.orders,
            "account_reference": f"R{self.orders}",
            "transaction_desc": PRIVATE.description,
            "customer_email": PRIVATE.email,
            "customer_name": PRIVATE.name,
            "note": f"for {PRIVATE.name}",
            **changes,
        }

    def headers(self, **more: str) -> dict[str, str]:
        return {
            "x-nf-client-connection-ip": PRIVATE.address,
            "user-agent": PRIVATE.user_agent,
            "cookie": PRIVATE.email,
            "authorization": f"Bearer {PRIVATE.access_token}",
            **more,
        }

    def push(self, **changes: object) -> str | None:
        """The transaction's id, where there is one."""
        answer = self.process.call("stkpush", "POST", "/api/pay/stkpush", self.order(**changes), self.headers())
        transaction_id = json.loads(answer["body"]).get("transaction_id")
        if transaction_id:
            self.tokens[transaction_id] = self.callback_path(transaction_id).rpartition("/")[2]
        return str(transaction_id) if transaction_id else None

    def callback_path(self, transaction_id: str) -> str:
        settings = CallbackSettings("https://shop.example/api/pay/callback", (PRIVATE.callback_secret,), Decimal(0))
        return "/" + callback_url(settings, transaction_id).split("/", 3)[3]

    def call_back(self, transaction_id: str | None, code: int | str = 0, **items: object) -> None:
        assert transaction_id is not None, self.process.answers[-1]
        row = self.row(f"SELECT * FROM transactions WHERE id = '{transaction_id}'")
        told = {"MpesaReceiptNumber": f"UE{row['amount']:07.0f}", "PhoneNumber": int(PRIVATE.phone), **items}
        body = json.loads(callback_about(row, code, **told))
        body["Body"]["stkCallback"]["ResultDesc"] = f"for {PRIVATE.phone} {PRIVATE.email}"
        self.process.call("callback", "POST", self.callback_path(transaction_id), body, self.headers())

    def sweep(self) -> dict[str, int]:
        answer = self.process.call("sweep", "POST", "/", {"next_run": PRIVATE.email})
        done: dict[str, int] = json.loads(answer["body"])
        return done

    # As faults do

    def schema(self, sql: str) -> None:
        with self.books.transaction() as tx:
            tx.script(sql)

    def set(self, **environment: str) -> None:
        """As a deploy with other variables."""
        self.process.run(
            "import os; from shared import collaborators as c, settings as s\n"
            f"os.environ.update({environment!r})\n"
            "for made in (c.collaborators, c.receiver, s.of_this_process, s.monitoring): made.cache_clear()"
        )

    def channels(self) -> dict[str, bytes]:
        """All that came out."""
        out = self.process.close()
        envelopes = b"\n".join(envelope.raw for envelope in self.sentry.envelopes)
        heads = json.dumps([envelope.headers for envelope in self.sentry.envelopes]).encode()
        return {**out, "envelopes": envelopes, "envelopes' headers": heads}

    def private(self) -> dict[str, str]:
        return PRIVATE.values() | {f"callback token {n}": token for n, token in enumerate(self.tokens.values())}

    def close(self) -> None:
        self.process.close()
        self.books.close()


@pytest.fixture
def shop(database_url: str, sentry: SentrySink) -> Iterator[Shop]:
    with talkative(PRIVATE) as provider:
        running = Shop(database_url, provider, sentry)
        yield running
        running.close()


# What happens to a shop -----------------------------------------------------------------------------------------------


def a_good_payment(shop: Shop) -> None:
    paid = shop.push()
    shop.call_back(paid)
    shop.process.call("status", "GET", f"/api/pay/status/{paid}")
    assert shop.row("SELECT status FROM invoices")["status"] == "SENT"  # by the callback
    shop.process.call("invoice", "POST", "/api/pay/invoice", {"transaction_id": paid, "customer_email": PRIVATE.email})
    shop.sweep()


def bodies_that_cannot_be_used(shop: Shop) -> None:
    def ask(body: object, **headers: str) -> None:
        for function in ("stkpush", "invoice"):
            shop.process.call(function, "POST", f"/api/pay/{function}", body, shop.headers(**headers))

    for name in shop.order():
        lists = ([PRIVATE.email], {PRIVATE.name: 1})
        for value in (f"{PRIVATE.phone}7", f"{PRIVATE.name}\n{PRIVATE.email} x", 25470000009700, *lists):
            ask(shop.order(**{name: value}))
    ask(shop.order(), **{"idempotency-key": f"{PRIVATE.idempotency_key} \u00e9"})
    ask(f"phone={PRIVATE.phone}&email={PRIVATE.email}")
    ask(json.dumps(shop.order())[:-3])
    ask(shop.order(), **{"content-type": f"text/plain; {PRIVATE.email}"})
    ask(f'{{"phone_number": "{PRIVATE.phone}", "phone_number": "{PRIVATE.email}"}}')
    ask("[" * 5000 + PRIVATE.phone)
    ask({**shop.order(), PRIVATE.phone: 1, PRIVATE.email: 2, "transaction_id": 1})
    ask(json.dumps(PRIVATE.phone))
    ask({"transaction_id": PRIVATE.phone, "customer_email": f"{PRIVATE.email}@"})
    ask(shop.order(transaction_desc=PRIVATE.name * 2000))
    ask(shop.order(), origin=f"https://{PRIVATE.email}")
    for method in ("GET", "PUT", "OPTIONS"):
        shop.process.call("stkpush", method, f"/api/pay/stkpush/{PRIVATE.phone}", shop.order(), shop.headers())
    shop.process.call("status", "GET", f"/api/pay/status/{PRIVATE.phone}", "", shop.headers())


def the_same_key_for_another_order(shop: Shop) -> None:
    for amount in (5000, 5000, 5001):
        order = shop.order(amount=amount, account_reference="KEYED")
        key = {"idempotency-key": PRIVATE.idempotency_key}
        shop.process.call("stkpush", "POST", "/api/pay/stkpush", order, shop.headers(**key))


def forged_callbacks(shop: Shop) -> None:
    first, second = shop.push(), shop.push()
    assert first is not None
    assert second is not None
    body = {"Body": {"stkCallback": {"ResultCode": 0, "PhoneNumber": PRIVATE.phone, "Name": PRIVATE.name}}}
    for path in (
        shop.callback_path(first).replace(first, second),
        shop.callback_path(first).upper(),
        shop.callback_path(first) + f"/{PRIVATE.phone}",
        f"/api/pay/callback/{PRIVATE.phone}/{shop.tokens[first]}",
    ):
        assert shop.process.call("callback", "POST", path, body, shop.headers())["statusCode"] == 404
    shop.process.call("callback", "GET", shop.callback_path(first), body, shop.headers())
    shop.process.call("status", "GET", shop.callback_path(first), body, shop.headers())
    shop.process.call("callback", "POST", shop.callback_path(first), "x" * 20_000 + PRIVATE.phone, shop.headers())


def callbacks_that_make_alerts(shop: Shop) -> None:
    shop.process.call("callback", "POST", shop.callback_path(str(shop.push())), f"<{PRIVATE.email}>", shop.headers())
    shop.call_back(shop.push(), code=f"7{PRIVATE.phone[-4:]}")
    shop.call_back(shop.push(), code=PRIVATE.phone)
    shop.call_back(shop.push(), Amount=77)
    shop.call_back(shop.push(), MpesaReceiptNumber=None)
    paid = shop.push()
    shop.call_back(paid)
    shop.call_back(paid, MpesaReceiptNumber="UESECOND01")
    shop.call_back(shop.push(amount=30_000))
    unknown = "00000000-0000-4000-8000-000000000097"
    shop.process.call("callback", "POST", shop.callback_path(unknown), {"phone": PRIVATE.phone}, shop.headers())
    assert shop.row("SELECT count(*) AS n FROM outbox WHERE kind = 'alert' AND sent_at IS NOT NULL")["n"] >= 5


def a_daraja_that_quotes_what_it_was_sent(shop: Shop) -> None:
    for mood in ("refuse", "html", "new", "cut"):
        shop.provider.mood = mood
        shop.push()
    shop.provider.mood = "well"
    pending = shop.push()
    for mood in ("refuse", "html", "new", "cut", "well"):
        shop.provider.mood = mood
        shop.age(16 * 60)
        shop.sweep()
    shop.provider.mood = "well"
    assert shop.row(f"SELECT status FROM transactions WHERE id = '{pending}'")["status"] == "PAID"


def mail_that_is_refused(shop: Shop) -> None:
    for mood in ("refuse", "html", "cut"):
        shop.provider.mood = "well"
        paid = shop.push()
        shop.provider.mood = mood
        shop.call_back(paid)
        for _ in range(4):
            shop.sweep()
            shop.age(6 * 60)
    shop.provider.mood = "well"
    shop.sweep()


def a_database_that_quotes_rows(shop: Shop) -> None:
    held = shop.push()
    shop.schema(
        f"""
        ALTER TABLE transactions ADD CONSTRAINT nobody CHECK (customer_email <> '{PRIVATE.email}') NOT VALID;
        CREATE FUNCTION quote() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'row % is refused', NEW USING DETAIL = 'for {PRIVATE.phone}', HINT = '{PRIVATE.email}';
        END $$;
        CREATE TRIGGER quote BEFORE INSERT ON payment_confirmations FOR EACH ROW EXECUTE FUNCTION quote();
        """
    )
    assert shop.push() is None
    shop.schema("ALTER TABLE transactions DROP CONSTRAINT nobody")
    shop.call_back(held)
    for _ in range(3):
        shop.age(1 * 60)
        shop.sweep()
    assert shop.row("SELECT count(*) AS n FROM callback_inbox WHERE outcome = 'dead_letter'")["n"] == 1
    shop.schema("DROP TRIGGER quote ON payment_confirmations; DROP FUNCTION quote")
    shop.schema("ALTER TABLE transactions RENAME customer_name TO renamed")
    assert shop.push() is None
    shop.schema("ALTER TABLE transactions RENAME renamed TO customer_name")
    shop.schema("ALTER TABLE transactions ALTER customer_name TYPE varchar(3) USING left(customer_name, 3)")
    assert shop.push() is None
    shop.schema("ALTER TABLE transactions ALTER customer_name TYPE varchar(255)")
    shop.overwrite("UPDATE transactions SET customer_name = :name WHERE customer_name IS NOT NULL", name=PRIVATE.name)


def a_database_that_is_gone(shop: Shop) -> None:
    held = shop.push()
    elsewhere = f"postgresql://{PRIVATE.name.split()[1]}:{PRIVATE.database_password}@127.0.0.1:9/shop?sslmode=disable"
    shop.set(DATABASE_URL=elsewhere)
    shop.push()
    shop.process.call("status", "GET", f"/api/pay/status/{held}", "", shop.headers())
    body = {"Body": {"stkCallback": {"PhoneNumber": PRIVATE.phone}}}
    shop.process.call("callback", "POST", shop.callback_path(str(held)), body, shop.headers())
    assert shop.process.call("sweep", "POST", "/")["statusCode"] == 503
    shop.set(DATABASE_URL=shop.environment["DATABASE_URL"])


def variables_that_hold_secrets_in_the_wrong_form(shop: Shop) -> None:
    held = shop.push()
    sample = (Path(__file__).parents[2] / ".env.example").read_text("utf-8")
    wrong_values = (
        f"'{PRIVATE.consumer_secret} {PRIVATE.phone}'",
        f"https://{PRIVATE.email}:{PRIVATE.smtp_password}@[host?{PRIVATE.passkey}",
        f"postgresql://u:{PRIVATE.database_password}@h:{PRIVATE.phone}/d?sslmode={PRIVATE.passkey}",
    )
    for number, name in enumerate(re.findall(r"^#?([A-Z][A-Z_]+)=", sample, re.MULTILINE)):
        for wrong in wrong_values if shop.thorough else [wrong_values[number % 3]]:
            shop.set(**{name: wrong})
            for function, path in (("stkpush", "/api/pay/stkpush"), ("callback", shop.callback_path(str(held)))):
                shop.process.call(function, "POST", path, {"phone_number": PRIVATE.phone}, shop.headers())
            shop.process.call("sweep", "POST", "/")
            shop.set(**{name: shop.environment.get(name, "")})


def code_that_breaks(shop: Shop) -> None:
    held = shop.push()
    raises = f"""
def broken(*_, **__):
    try:
        raise KeyError({PRIVATE.phone!r})
    except KeyError as cause:
        failure = ValueError({PRIVATE.email!r}, {{"token": {PRIVATE.access_token!r}}})
        failure.add_note({PRIVATE.name!r})
        raise failure from cause
"""
    for place in ("shared.settlement.settle", "netlify.functions.callback.judge", "netlify.functions.stkpush.push"):
        module, _, name = place.rpartition(".")
        shop.process.run(f"{raises}\nimport {module}\n{module}.kept = {module}.{name}\n{module}.{name} = broken")
        shop.push()
        shop.call_back(held)
        shop.age(1 * 60)
        shop.sweep()
        shop.process.run(f"import {module}\n{module}.{name} = {module}.kept")
    for event in ("[1]", f'{{"body": {{"{PRIVATE.phone}": 1}}}}', f'{{"path": 7, "headers": ["{PRIVATE.email}"]}}'):
        shop.process.run(
            f"import json\nfrom netlify.functions import stkpush\nstkpush.handler(json.loads({event!r}), None)"
        )


def libraries_that_say_too_much(shop: Shop) -> None:
    shop.process.run(
        f"""
import gc, logging, threading, warnings
for name in ("urllib3.connectionpool", "pg8000", "sendgrid", "python_http_client", "sentry_sdk.errors", "asyncio"):
    logging.getLogger(name).warning("for %s at %s", {PRIVATE.phone!r}, {{"mail": {PRIVATE.email!r}}})
    logging.getLogger(name).debug({PRIVATE.access_token!r})
    try:
        raise ValueError({PRIVATE.name!r})
    except ValueError:
        logging.getLogger(name).exception("broken for %s", {PRIVATE.phone!r}, stack_info=True)
logging.getLogger("urllib3").error("too few arguments for %s %s", {PRIVATE.phone!r})
warnings.warn("do not use {PRIVATE.phone}", DeprecationWarning, stacklevel=1)
warnings.simplefilter("always")
warnings.warn("nor {PRIVATE.email}", stacklevel=1)
def fails():
    raise RuntimeError({PRIVATE.phone!r})
thread = threading.Thread(target=fails)
thread.start()
thread.join()
class Fails:
    def __del__(self):
        raise RuntimeError({PRIVATE.email!r})
Fails()
gc.collect()
"""
    )
    shop.sweep()


def work_that_is_late(shop: Shop) -> None:
    """Every alert about the whole shop that these books can give."""
    open_one = shop.push()
    shop.age(25 * 3600)
    shop.process.call("status", "GET", f"/api/pay/status/{open_one}")
    shop.sweep()
    shop.age(6 * 60)
    shop.sweep()


STORIES: tuple[Callable[[Shop], None], ...] = (
    a_good_payment,
    bodies_that_cannot_be_used,
    the_same_key_for_another_order,
    forged_callbacks,
    libraries_that_say_too_much,
    callbacks_that_make_alerts,
    a_daraja_that_quotes_what_it_was_sent,
    mail_that_is_refused,
    a_database_that_quotes_rows,
    a_database_that_is_gone,
    variables_that_hold_secrets_in_the_wrong_form,
    code_that_breaks,
    work_that_is_late,
)


def test_nothing_private_leaves_whatever_happens(shop: Shop, figure: Figure, rounds: Rounds) -> None:
    shop.thorough = rounds(0, 1) == 1
    for story in STORIES:
        story(shop)
    answers = shop.process.answers
    channels = shop.channels()
    assert broken_invariants(shop.database_url) == []
    lines = [line for line in channels["stdout"].splitlines() if line]
    alerts = {json.loads(line)["alert"] for line in lines if b'"message":"alert"' in line}
    assert b"withheld" not in channels["stdout"]
    assert len(alerts) >= 10, alerts
    assert len(shop.sentry.errors()) >= 5
    assert len(shop.sentry.alerts()) >= 10
    assert {answer["statusCode"] for answer in answers} >= {200, 202, 400, 404, 405, 413, 415, 422, 500, 502, 503}
    assert b"pg8000 said something" in channels["stderr"], "libraries were heard"
    seen = sightings(shop.private(), channels)
    assert seen == []
    places = f"{len(answers)} answers, {len(lines)} log lines, {len(shop.sentry.envelopes)} envelopes"
    figure(f"{len(shop.private())} values in {places}: 0 appearances")


# Would it notice? -----------------------------------------------------------------------------------------------------

LOG, EDGE = "import shared.observability.log as log\n", "import shared.edge as edge\n"
LEAKS = {
    "stdout": (f"{LOG}log.where_it_broke = repr\nlog.safe_fields = dict", code_that_breaks),
    "stderr": (f"{EDGE}edge.keep_others_quiet = lambda: None", libraries_that_say_too_much),
    "envelopes": (f"{LOG}log.safe_report = lambda event: event", code_that_breaks),
    "answers": (
        f"{EDGE}"
        "told = edge._translate\n"
        "def _translate(raised):\n"
        "    problem, failure = told(raised)\n"
        "    problem.detail = str(raised)\n"
        "    return problem, failure\n"
        "edge._translate = _translate",
        code_that_breaks,
    ),
}
"""By channel: what breaks our guard, and the story that shows it."""


@pytest.mark.parametrize("channel", LEAKS)
def test_a_leak_is_seen_where_it_is(shop: Shop, channel: str) -> None:
    breaks, story = LEAKS[channel]
    shop.process.run(breaks)
    story(shop)
    assert f"email in {channel}" in sightings(shop.private(), shop.channels())


def test_a_database_error_that_kept_the_servers_words_is_seen(shop: Shop) -> None:
    shop.process.run(
        """
import shared.database.connection as connection, shared.edge as edge, shared.observability.log as log
told = connection.translated
def translated(fields, **more):
    failure = told(fields, **more)
    failure.args = (str(fields.get("M")) + str(fields.get("D")),)
    return failure
connection.translated = translated
log.where_it_broke = str
log.safe_fields = dict
"""
    )
    a_database_that_quotes_rows(shop)
    seen = sightings(shop.private(), shop.channels())
    assert {"phone in stdout", "email in stdout", "name in stdout"} <= set(seen)


@pytest.mark.parametrize("name", ["phone", "email", "name", "access_token", "sendgrid_key"])
@pytest.mark.parametrize(
    "disguise",
    [
        lambda value: value,
        lambda value: base64.b64encode(f"id:{value}!".encode()).decode(),
        lambda value: base64.b64encode(f"ab{value}".encode()).decode(),
        lambda value: base64.urlsafe_b64encode(f"x{value}".encode()).decode(),
        lambda value: value.encode().hex(),
        lambda value: value.replace("@", "%40").replace(" ", "+"),
        lambda value: value.upper(),
        lambda value: json.dumps(f"\u00e9{value}"),
    ],
)
def test_a_disguised_value_is_recognised(name: str, disguise: Callable[[str], str]) -> None:
    value = PRIVATE.values()[name]
    assert sightings({name: value}, {"there": f"line {disguise(value)} end".encode()}) == [f"{name} in there"]


@pytest.mark.parametrize("form", ["0700000097", "+254700000097", "254 700 000 097", "700000097", "0700 000 097"])
def test_a_phone_number_is_recognised_in_every_form(form: str) -> None:
    assert sightings({"phone": PRIVATE.phone}, {"there": form.encode()}) == ["phone in there"]


# The real platform ----------------------------------------------------------------------------------------------------


def test_netlify_dev_prints_nothing_private(site: Site) -> None:
    """The CLI, the bridge and AWS's runtime client between the functions and their log."""
    site.simulator.script(PRIVATE.phone, "pay", after_s=0)
    customer = {"phone_number": PRIVATE.phone, "customer_email": PRIVATE.email, "customer_name": PRIVATE.name}
    order = {"amount": 97, "account_reference": "KX7", **customer}
    headers = {"User-Agent": PRIVATE.user_agent, "Idempotency-Key": PRIVATE.idempotency_key}
    accepted = site.request("POST", "/api/pay/stkpush", order, headers=headers)
    assert accepted.status == 202
    transaction_id = accepted.json()["transaction_id"]
    site.simulator.wait_for_callback(accepted.json()["checkout_request_id"])
    site.sweep()
    refused = [
        site.request("GET", f"/api/pay/status/{PRIVATE.phone}"),
        site.request("POST", "/api/pay/stkpush", raw=f'{{"phone_number": "{PRIVATE.phone}'.encode()),
        site.request("POST", "/api/pay/stkpush", {**order, "customer_email": f"{PRIVATE.email}@"}),
        site.request("POST", f"/api/pay/callback/{transaction_id}/{'0' * 64}", {"phone": PRIVATE.phone}),
        site.request("POST", "/api/pay/invoice", {"transaction_id": PRIVATE.phone, "customer_email": PRIVATE.email}),
    ]
    assert [answer.status for answer in refused] == [404, 400, 422, 404, 422]
    private = {name: PRIVATE.values()[name] for name in ("phone", "email", "name", "idempotency_key", "user_agent")}
    printed = b"\n".join(log.read_bytes() for log in site.stack.logs.glob("*netlify*"))
    assert transaction_id.encode() in printed
    assert sightings(private, {"netlify dev": printed, "answers": b"\n".join(answer.body for answer in refused)}) == []
