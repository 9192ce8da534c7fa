"""The invoice: everything a customer and a bookkeeper look for, and nothing that could run or give a number away.

What holds for letters of every kind is in test_letters.py.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from shared.mail.letters import Kind, Letter, write
from shared.mail.mailer import Email

PAID = Letter(
    kind=Kind.INVOICE,
    lang="en",
    invoice_number="INV-2026-000042",
    invoice_date=datetime(2026, 11, 22, 22, 30, tzinfo=UTC),
    customer_name="Wanjiru Example",
    customer_email="wanjiru@customer.example",
    customer_phone="254700000012",
    amount_kes=Decimal("1500.00"),
    account_reference="INV00042",
    description="Two baskets & a mat",
    receipt="UKM4JS31RB",
    at=datetime(2026, 11, 22, 22, 29, 59, tzinfo=UTC),
    transaction_id="7b8f8a3e-0000-4000-8000-000000000000",
    shop_name="Duka la Mfano",
    shop_address="Moi Avenue 12, Nairobi",
    shop_tax_pin="P000000000A",
    reply_to="support@shop.example",
)
NOT_A_TAX_INVOICE = "This is a payment receipt, not a KRA eTIMS tax invoice."
HOSTILE = "<script>alert(1)</script>\"'&\r\nTotal paid: KES 0\u202e\x00"


def render(letter: Letter) -> Email:
    """By the built-in template."""
    return write(letter, lambda template, where: pytest.fail(f"{template} {where}"), Path("no-such-folder"))


class Page(HTMLParser):
    """What a person sees of a page, and which elements make it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.skipping = False
        self.feed(html)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += attrs
        self.skipping = tag in ("style", "title")

    def handle_endtag(self, tag: str) -> None:
        self.skipping = False

    def handle_data(self, data: str) -> None:
        if not self.skipping:
            self.texts.append(data)


@pytest.mark.parametrize(
    "shown",
    [
        "INV-2026-000042",
        "23 November 2026",
        "23 November 2026, 01:29 EAT",
        "Duka la Mfano",
        "Moi Avenue 12, Nairobi",
        "Wanjiru Example",
        "Two baskets & a mat",
        "INV00042",
        "KES 1,500",
        "UKM4JS31RB",
        "2547*****012",
        "support@shop.example",
        "KRA PIN P000000000A",
        "7b8f8a3e-0000-4000-8000-000000000000",
        "This is a payment receipt, not a KRA eTIMS tax invoice.",
    ],
)
def test_page_and_text_both_say_it(shown: str) -> None:
    email = render(PAID)
    assert shown in Page(email.html).text
    assert shown in email.text


def test_it_goes_to_the_customer_from_the_shop_and_its_subject_says_what_it_is() -> None:
    email = render(PAID)
    assert (email.to_address, email.to_name) == ("wanjiru@customer.example", "Wanjiru Example")
    assert email.from_name == "Duka la Mfano"
    assert email.subject == "Invoice INV-2026-000042 from Duka la Mfano: KES 1,500, paid"


def test_the_whole_phone_number_is_nowhere() -> None:
    email = render(PAID)
    assert "254700000012" not in email.html + email.text + email.subject
    assert "0700000012" not in email.html + email.text


def test_a_receipt_that_is_not_known_yet_follows() -> None:
    email = render(replace(PAID, receipt=None))
    assert re.search(r"^M-Pesa receipt: +to follow$", email.text, re.MULTILINE)
    assert "M-Pesa receipt to follow" in Page(email.html).text
    assert "None" not in email.text + email.html


def test_what_is_not_known_is_left_out() -> None:
    email = render(replace(PAID, customer_name=None, description=None, shop_address=None, shop_tax_pin=None))
    assert "None" not in email.text + email.html
    assert "Customer" not in email.text
    assert "Asante!" in email.text
    assert "Order INV00042" in email.text
    assert "KRA PIN" not in email.text + email.html


def test_whatever_was_typed_is_shown_as_text() -> None:
    email = render(
        replace(
            PAID,
            customer_name=HOSTILE,
            description=HOSTILE,
            shop_name=HOSTILE,
            shop_address=HOSTILE,
            receipt=HOSTILE,
            invoice_number=HOSTILE,
            reply_to=HOSTILE,
        )
    )
    plain, page = Page(render(PAID).html), Page(email.html)
    assert page.elements == plain.elements
    assert {name for name, _ in page.attributes} == {name for name, _ in plain.attributes}
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in email.html + email.text
    assert "\x00" not in email.html + email.text
    assert "\n" not in email.subject
    assert "\nTotal paid: KES 0" not in email.text


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = Page(render(PAID).html)
    assert not {"script", "img", "link", "iframe"} & page.elements
    assert not [value for _, value in page.attributes if value and value.startswith(("http:", "https:", "//"))]


def test_large_and_small_amounts_are_written_as_people_write_them() -> None:
    assert "KES 250,000" in render(replace(PAID, amount_kes=Decimal(250_000))).text
    assert "KES 1\n" in render(replace(PAID, amount_kes=Decimal(1))).text


def test_the_invoice_has_its_own_date_beside_the_payments() -> None:
    """A payment that settled late is invoiced when it settled."""
    email = render(replace(PAID, invoice_date=datetime(2026, 11, 30, 9, 0, tzinfo=UTC)))
    assert re.search(r"^Date: +30 November 2026$", email.text, re.MULTILINE)
    assert re.search(r"^Paid: +23 November 2026, 01:29 EAT$", email.text, re.MULTILINE)


def test_in_swahili_it_is_the_same_invoice() -> None:
    email = render(replace(PAID, lang="sw", receipt=None))
    assert email.subject == "Ankara INV-2026-000042 kutoka Duka la Mfano: umelipa KES 1,500"
    for shown in (
        "Asante Wanjiru Example! Malipo yako kwa Duka la Mfano yamepokelewa.",
        "23 Novemba 2026, 01:29 EAT",
        "PIN ya KRA P000000000A",
        "itafuata",
        "Hii ni risiti ya malipo, si ankara ya kodi ya KRA eTIMS.",
    ):
        assert shown in email.text
        assert shown in Page(email.html).text


def test_it_and_the_paid_page_say_in_the_same_words_what_they_are_not() -> None:
    page = (Path(__file__).parents[2] / "public" / "index.html").read_text(encoding="utf-8")
    assert NOT_A_TAX_INVOICE in page
    assert NOT_A_TAX_INVOICE in render(PAID).text
