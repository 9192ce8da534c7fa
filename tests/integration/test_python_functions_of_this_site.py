"""The five functions of this site, as `netlify build` makes them."""

import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dev.build import LARGEST_UNPACKED_MB, LARGEST_ZIP_MB, built_functions
from dev.demo import a_cart
from dev.deployed_function import DeployedFunction, http_event
from dev.postgres import EmbeddedPostgres
from shared.catalogue import ROOT
from shared.database import Database
from shared.mail.templating import FILES
from simulator import Simulator
from tests.fixtures.database import broken_invariants
from tests.fixtures.shop import RECEIPT, callback_about

FUNCTIONS = ["callback", "invoice", "status", "stkpush", "sweep"]


def test_a_build_makes_five_zips_within_the_limits(built_zips: Path) -> None:
    built = built_functions(built_zips)

    assert [function.name for function in built] == FUNCTIONS
    assert max(function.zip_mb for function in built) <= LARGEST_ZIP_MB == 35
    assert max(function.unpacked_mb for function in built) <= LARGEST_UNPACKED_MB == 110


def test_the_letters_travel_with_the_functions_and_so_do_the_shops_own(built_zips: Path) -> None:
    for name in ("sweep", "invoice"):
        with zipfile.ZipFile(built_zips / f"{name}.zip") as archive:
            travels = {entry.partition("/shared/mail/")[2] for entry in archive.namelist()}
        assert {f"templates/{file}" for file in FILES} | {"shop_templates/README.md"} <= travels


def test_the_shops_prices_travel_with_the_functions(built_zips: Path) -> None:
    with zipfile.ZipFile(built_zips / "stkpush.zip") as archive:
        prices = next(name for name in archive.namelist() if name.endswith("/site/public/catalogue.json"))
        assert archive.read(prices) == (ROOT / "public" / "catalogue.json").read_bytes()


def test_only_sweep_has_a_schedule(built_zips: Path) -> None:
    manifest = json.loads((built_zips / "manifest.json").read_text())

    schedules = {function["name"]: function["schedule"] for function in manifest["functions"] if "schedule" in function}
    assert schedules == {"sweep": "* * * * *"}


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "sweep"])
def test_an_unpacked_function_answers_with_an_empty_environment(
    built_zips: Path, unpacking_folder: Path, name: str
) -> None:
    with DeployedFunction(built_zips / f"{name}.zip", unpacking_folder / name) as function:
        answer = function.invoke(http_event("PUT", "/api/mpesa/nothing/here"))

    assert answer["statusCode"] in (404, 405)
    assert answer["headers"]["content-type"] == "application/problem+json"


def test_an_unpacked_sweep_without_settings_says_which_are_missing(built_zips: Path, unpacking_folder: Path) -> None:
    with DeployedFunction(built_zips / "sweep.zip", unpacking_folder / "sweep") as function:
        answer = function.invoke(
            http_event("POST", "/.netlify/functions/sweep", '{"next_run": "2026-01-01T00:00:00Z"}')
        )
        log = function.log()

    assert answer["statusCode"] == 500
    assert "MPESA_CONSUMER_KEY" in answer["body"] + log


def test_unpacked_functions_take_a_payment_all_the_way_into_postgresql(
    built_zips: Path,
    unpacking_folder: Path,
    postgres_server: EmbeddedPostgres,
    database_url: str,
    simulator: Simulator,
) -> None:
    """No Python on PATH, another user's home, read-only files; only the settings and a database over TCP."""
    database = Database(database_url)
    environment = {
        **simulator.environment(),
        "DATABASE_URL": postgres_server.url(database_url.partition("?")[0].rpartition("/")[2], tcp=True),
        "MPESA_CALLBACK_URL": "http://127.0.0.1:9/api/pay/callback",
        "INVOICE_EMAIL_FROM": "invoices@shop.example",
        "INVOICE_EMAIL_REPLY_TO": "support@shop.example",
    }

    def invoke(name: str, method: str, path: str, body: object = None) -> dict[str, Any]:
        sent = None if body is None else json.dumps(body)
        event = http_event(method, path, sent, {"content-type": "application/json"})
        with DeployedFunction(built_zips / f"{name}.zip", unpacking_folder / name, environment) as function:
            answer = function.invoke(event)
            assert answer["statusCode"] < 300, answer["body"] + function.log()
        told: dict[str, Any] = json.loads(answer["body"])
        return told

    cheap = json.dumps({"phone_number": "254708374149", "items": a_cart(), "amount": 1})
    with DeployedFunction(
        built_zips / "stkpush.zip", unpacking_folder / "priced", environment | {"CATALOGUE": "none"}
    ) as function:  # what the build found counts, whatever the environment says
        answer = function.invoke(http_event("POST", "/api/pay/stkpush", cheap, {"content-type": "application/json"}))
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (422, "price_changed")

    phone, address = "254708374149", "deployed@example.com"
    simulator.client.script(phone, "pay", after_s=0, callback_count=0)
    order = {"phone_number": phone, "items": a_cart(), "account_reference": "DEPLOYED", "customer_email": address}
    asked = invoke("stkpush", "POST", "/api/pay/stkpush", order)
    [pushed] = simulator.client.payments()
    path = urlsplit(pushed["callback_url"]).path
    assert invoke("callback", "POST", path, json.loads(callback_about(pushed)))["ResultCode"] == 0
    paid = invoke("status", "GET", f"/api/pay/status/{asked['transaction_id']}")
    assert (paid["status"], paid["mpesa_receipt_number"]) == ("paid", RECEIPT)
    invoke("sweep", "POST", "/.netlify/functions/sweep", {})
    letter = simulator.client.wait_for_mail(address)
    assert letter["via"] == "sendgrid"
    assert RECEIPT in letter["html"]
    assert RECEIPT in letter["text"]
    with database.transaction() as tx:
        assert len(tx.rows("SELECT id FROM payment_confirmations WHERE mpesa_receipt_number IS NOT NULL")) == 1
    database.close()
    assert broken_invariants(database_url) == []
