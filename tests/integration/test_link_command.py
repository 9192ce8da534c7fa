"""`ops link`: an address and its QR code; and `ops case` says what a link or a cart was for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ops.__main__ import main
from shared.links import read
from tests.fixtures.shop import Shop

ENVIRON = {
    "MPESA_PASSKEY": "the-passkey-of-a-shop",
    "MPESA_CONSUMER_SECRET": "the-secret-of-an-app",
    "MPESA_CALLBACK_URL": "https://shop.example/api/pay/callback",
    "LINK_SECRET": "a-secret-of-the-shops-own-for-its-links",
}
ORDER = ("link", "--amount", "1500", "--reference", "INV2041")


def made(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, str]:
    assert main([*ORDER, "--json", *options], ENVIRON) == 0
    document: dict[str, str] = json.loads(capsys.readouterr().out)
    return document


def test_a_link_is_one_json_document_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    link = made(capsys, "--description", "Two  chairs", "--valid-days", "3")
    assert set(link) == {"order", "url", "valid_until"}
    assert link["url"] == f"https://shop.example/pay.html#order={link['order']}"
    asked = read(link["order"], (ENVIRON["LINK_SECRET"],), datetime.now(UTC))
    assert asked.amount_kes == 1500
    assert (asked.account_reference, asked.description) == ("INV2041", "Two chairs")
    assert asked.shop == "shop.example"
    assert datetime.fromisoformat(link["valid_until"]) == asked.valid_until
    assert timedelta(days=2.99) < asked.valid_until - datetime.now(UTC) <= timedelta(days=3)
    assert made(capsys)["order"] != made(capsys)["order"]


def test_a_person_gets_the_address_and_its_qr_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = ("--page", "https://other.example/shop/pay", "--qr", str(tmp_path / "link.svg"))
    assert main([*ORDER, *page, "--description", "Two chairs"], ENVIRON) == 0
    address, *code, about = capsys.readouterr().out.strip().splitlines()
    assert address.startswith("https://other.example/shop/pay#order=")
    assert len(code) > 20
    assert about.startswith("KES 1,500 for INV2041 (Two chairs), once, until ")
    assert (tmp_path / "link.svg").read_text().startswith("<?xml")


def test_a_secret_that_is_not_set_is_derived_and_can_be_kept(capsys: pytest.CaptureFixture[str]) -> None:
    derived = {name: value for name, value in ENVIRON.items() if name != "LINK_SECRET"}
    assert main(["link-secret"], derived) == 0
    secret = capsys.readouterr().out.strip()
    assert main([*ORDER, "--json"], derived) == 0
    assert read(json.loads(capsys.readouterr().out)["order"], (secret,), datetime.now(UTC)).amount_kes == 1500


@pytest.mark.parametrize(
    ("options", "says", "code"),
    [
        (("--amount", "0"), "--amount must be between 1 and 250,000 shillings", 2),
        (("--amount", "15.50"), "--amount must be", 2),
        (("--page", "pay.html"), "--page must be a web address without #", 2),
        (("--page", "https://shop.example/#pay"), "--page must be a web address without #", 2),
        (("--qr", "/no/such/folder/x.svg"), "the QR code cannot be written", 2),
        (("--qr", "link.exe"), "the QR code cannot be written", 2),
        (("--amount", "2000"), "the shop takes at most KES 1,999 in one payment", 1),
    ],
)
def test_what_cannot_be_a_link_is_refused(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], says: str, code: int
) -> None:
    assert main([*ORDER, *options], {**ENVIRON, "MAX_PAYMENT_KES": "1999"}) == code
    told = capsys.readouterr()
    assert says in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    "option",
    [
        ("--reference", "INV-2041"), ("--reference", "THIRTEENCHARS"), ("--description", " "),
        ("--description", "x" * 101), ("--valid-days", "0"), ("--valid-days", "366"), ("--valid-days", "9" * 5000),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_read_is_named(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ORDER, *option], ENVIRON) == 2
    assert option[0] in capsys.readouterr().err


def test_without_the_secrets_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ORDER], {"MPESA_CALLBACK_URL": ENVIRON["MPESA_CALLBACK_URL"]}) == 2
    assert "MPESA_PASSKEY must hold" in capsys.readouterr().err


# What was bought, for whoever sends it --------------------------------------------------------------------------------

BY_THE_BROWSER = "The browser named this amount, not the shop"


def test_the_case_of_a_cart_says_what_to_send_to_whom(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    cart = [{"id": "coffee", "quantity": 2}, {"id": "tea", "quantity": 1}]
    transaction_id = shop.settled(items=cart, amount=1550, note="Plot 7,\nNgong Road", transaction_desc="A gift")
    assert shop.ops("case", transaction_id) == 0
    told = capsys.readouterr().out
    for line in (
        "  2 \u00d7 Coffee, 250 g: KES 1,500", "  1 \u00d7 Tea <b>&</b> milk: KES 50", "  For: A gift",
        "  Note: Plot 7, Ngong Road", "  Name: Alice", "  Reach them: +254708374149, alice@example.com",
    ):  # fmt: skip
        assert line in told.splitlines()
    assert BY_THE_BROWSER not in told
    invoice = next(mail for mail in shop.letters() if "Invoice" in str(mail["subject"]))
    assert "2 \u00d7 Coffee, 250 g: KES 1,500" in invoice["text"]
    assert "2 \u00d7 Coffee, 250 g" in invoice["html"]
    assert "Tea &lt;b&gt;&amp;&lt;/b&gt; milk" in invoice["html"]


def test_the_case_of_an_amount_says_who_named_it(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.ops("case", shop.settled("cancel")) == 0
    told = capsys.readouterr().out
    assert BY_THE_BROWSER in told
    assert "Reach them" not in told
