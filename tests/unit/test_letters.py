"""Letters of every kind in both languages: what each says, what none reveals, what no customer can make of one."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ops.letters import SAMPLES, USUAL
from shared.daraja.result_codes import CALLBACK_FAILURES
from shared.mail.letters import NOT_TAKEN, SWAHILI, Kind, Letter, reason, typed, values, write
from shared.mail.mailer import Email
from shared.values import LANGS, Lang

PHONE = "254700000012"
EVERY = [(kind, lang) for kind in Kind for lang in LANGS]
every_letter = pytest.mark.parametrize(("kind", "lang"), EVERY, ids=str)


def written(letter: Letter) -> Email:
    """By the built-in templates."""
    return write(letter, lambda template, where: pytest.fail(f"{template} {where}"), Path("no-such-folder"))


class Page(HTMLParser):
    """The elements of a page, where its links lead, and what a person reads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str | None] = []
        self.text = ""
        self._unseen = False
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value for name, value in attrs if name in ("href", "src", "action", "background")]
        self._unseen = tag in ("style", "title")

    def handle_endtag(self, tag: str) -> None:
        self._unseen = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._unseen else f" {data}"


# What they say --------------------------------------------------------------------------------------------------------


@every_letter
def test_page_and_text_both_say_what_happened_to_which_payment(kind: Kind, lang: Lang) -> None:
    email = written(replace(USUAL, kind=kind, lang=lang))
    day = {"en": "23 November 2026", "sw": "23 Novemba 2026"}[lang]
    for shown in (
        "KES 1,500", "INV00042", "2547*****012", f"{day}, 01:29 EAT",
        "Duka la Mfano", "Moi Avenue 12, Nairobi", "P000000000A", "support@shop.example", USUAL.transaction_id,
    ):  # fmt: skip
        assert shown in email.text
        assert shown in Page(email.html).text
    paid = kind not in (Kind.FAILED, Kind.UNDER_REVIEW)
    for typed_by_the_customer in ("For the kitchen", "Wanjiru Example"):  # a letter that costs nothing has neither
        assert (typed_by_the_customer in email.text) is paid
        assert (typed_by_the_customer in Page(email.html).text) is paid
    assert (email.to_address, email.to_name) == ("wanjiru@customer.example", "Wanjiru Example" if paid else None)
    assert email.from_name == "Duka la Mfano"
    assert "Duka la Mfano" in email.subject
    assert "KES 1,500" in email.subject


SAYS: dict[tuple[Kind, Lang], list[str]] = {
    (Kind.INVOICE, "en"): ["has received your payment", "UKM4JS31RB", "INV-2026-000042", "not a KRA eTIMS tax invoice"],
    (Kind.INVOICE, "sw"): ["yamepokelewa", "UKM4JS31RB", "INV-2026-000042", "si ankara ya kodi ya KRA eTIMS"],
    (Kind.FAILED, "en"): ["did not go through", "not enough money", "Top up your M-Pesa account", "No money has left"],
    (Kind.FAILED, "sw"): ["hayakufaulu", "Salio lako la M-Pesa halikutosha", "Ongeza pesa", "Hakuna pesa zilizotoka"],
    (Kind.PAID_LATE, "en"): ["went through after all", "Please do not pay again", "UKM4JS31RB", "a second time"],
    (Kind.PAID_LATE, "sw"): ["hatimaye yamepokelewa", "Tafadhali usilipe tena", "UKM4JS31RB", "mara ya pili"],
    (Kind.UNDER_REVIEW, "en"): ["We are checking", "Please do not pay again", "on record", "it is not lost"],
    (Kind.UNDER_REVIEW, "sw"): ["Tunahakiki", "Tafadhali usilipe tena", "kumbukumbu zetu", "hazijapotea"],
    (Kind.REFUNDED, "en"): ["has been refunded", "The whole amount", "UKN5AA11BB", "UKM4JS31RB"],
    (Kind.REFUNDED, "sw"): ["Umerudishiwa malipo", "Kiasi chote", "UKN5AA11BB", "UKM4JS31RB"],
}


@every_letter
def test_each_kind_says_its_own(kind: Kind, lang: Lang) -> None:
    email = written(replace(USUAL, kind=kind, lang=lang))
    for shown in SAYS[kind, lang]:
        assert shown in email.text
        assert shown in Page(email.html).text


@every_letter
def test_page_and_text_say_the_same(kind: Kind, lang: Lang) -> None:
    """Every word of five letters and more that the text has, the page has too."""
    email = written(replace(USUAL, kind=kind, lang=lang))
    words = set(re.findall(r"\w{5,}", email.text.lower()))
    assert words - set(re.findall(r"\w{5,}", Page(email.html).text.lower())) == set()


@every_letter
def test_what_is_not_known_is_left_out(kind: Kind, lang: Lang) -> None:
    email = written(replace(SAMPLES["sparse"], kind=kind, lang=lang))
    for shown in (email.text, Page(email.html).text):
        assert {"en": "Order INV00042", "sw": "Oda INV00042"}[lang] in shown
        assert not re.search(r"None|PIN|UKM|UKN| ,| !|:\s*\n", shown.replace("PIN yako", ""))
    assert "<td></td>" not in email.html


@every_letter
def test_a_letter_of_one_language_has_no_word_of_the_other(kind: Kind, lang: Lang) -> None:
    email = written(replace(USUAL, kind=kind, lang=lang, customer_name=None, description=None))
    others = {"en": r"malipo|tafadhali|risiti|kutoka", "sw": r"\bpaid\b|payment|please|receipt|\bthe\b"}[lang]
    assert re.findall(others, f"{email.subject} {email.text} {Page(email.html).text}", re.IGNORECASE) == []


@every_letter
def test_the_text_is_plain_and_without_gaps(kind: Kind, lang: Lang) -> None:
    text = written(replace(USUAL, kind=kind, lang=lang)).text
    assert "\n\n\n" not in text
    assert not re.search(r"[ \t]\n|[<>]|&amp;|^\s|\{", text)


def test_what_is_not_known_is_an_empty_text_to_a_template() -> None:
    said = values(replace(SAMPLES["sparse"], invoice_number=None, invoice_date=None))
    assert {name for name, value in said.items() if value == ""} == {
        "customer_name", "description", "shop_address", "shop_tax_pin", "receipt", "refund_receipt",
        "refunded_amount", "result_code", "invoice_number",
    }  # fmt: skip
    assert said["invoice_date"] == said["date"]


def test_times_are_nairobi_s_also_across_midnight_and_new_year() -> None:
    said = values(replace(USUAL, lang="sw", at=datetime(2026, 12, 31, 21, 5, tzinfo=UTC)))
    assert (said["date"], said["time"]) == ("1 Januari 2027", "00:05 EAT")


@pytest.mark.parametrize(
    ("lang", "months"),
    [
        ("en", "January February March April May June July August September October November December"),
        ("sw", "Januari Februari Machi Aprili Mei Juni Julai Agosti Septemba Oktoba Novemba Desemba"),
    ],
)
def test_every_month_has_its_name(lang: Lang, months: str) -> None:
    days = [
        values(replace(USUAL, lang=lang, at=datetime(2026, month, 9, tzinfo=UTC)))["date"] for month in range(1, 13)
    ]
    assert days == [f"9 {month} 2026" for month in months.split()]


def test_a_template_can_say_what_the_documentation_lists() -> None:
    page = (Path(__file__).parents[2] / "docs" / "letters.md").read_text(encoding="utf-8")
    assert [name for name in (*values(USUAL), "subject") if f"`{name}`" not in page] == []


# The invoice ----------------------------------------------------------------------------------------------------------

NOT_A_TAX_INVOICE = "This is a payment receipt, not a KRA eTIMS tax invoice."
UNPRINTABLE = "<script>alert(1)</script>\"'&\r\nTotal paid: KES 0\u202e\x00"


@pytest.mark.parametrize(
    ("lang", "subject"),
    [
        ("en", "Invoice INV-2026-000042 from Duka la Mfano: KES 1,500, paid"),
        ("sw", "Ankara INV-2026-000042 kutoka Duka la Mfano: umelipa KES 1,500"),
    ],
)
def test_the_subject_of_an_invoice_says_what_it_is(lang: Lang, subject: str) -> None:
    assert written(replace(USUAL, lang=lang)).subject == subject


@pytest.mark.parametrize(("lang", "pin"), [("en", "KRA PIN P000000000A"), ("sw", "PIN ya KRA P000000000A")])
def test_an_invoice_has_the_shops_pin(lang: Lang, pin: str) -> None:
    email = written(replace(USUAL, lang=lang))
    assert pin in email.text
    assert pin in Page(email.html).text


@pytest.mark.parametrize(("lang", "follows"), [("en", "M-Pesa receipt to follow"), ("sw", "itafuata")])
def test_a_receipt_that_is_not_known_yet_follows(lang: Lang, follows: str) -> None:
    email = written(replace(USUAL, lang=lang, receipt=None))
    assert follows in " ".join(email.text.replace(":", "").split())
    assert follows in Page(email.html).text


def test_large_and_small_amounts_are_written_as_people_write_them() -> None:
    assert "KES 250,000" in written(replace(USUAL, amount_kes=Decimal(250_000))).text
    assert "KES 1\n" in written(replace(USUAL, amount_kes=Decimal(1))).text


def test_the_invoice_has_its_own_date_beside_the_payments() -> None:
    """A payment that settled late is invoiced when it settled."""
    email = written(replace(USUAL, invoice_date=datetime(2026, 11, 30, 9, 0, tzinfo=UTC)))
    assert re.search(r"^Date: +30 November 2026$", email.text, re.MULTILINE)
    assert re.search(r"^Paid: +23 November 2026, 01:29 EAT$", email.text, re.MULTILINE)


def test_the_invoice_and_the_paid_page_say_in_the_same_words_what_they_are_not() -> None:
    page = (Path(__file__).parents[2] / "public" / "lipa" / "lipa.js").read_text(encoding="utf-8")
    assert NOT_A_TAX_INVOICE in page
    assert NOT_A_TAX_INVOICE in written(USUAL).text


def test_no_setting_or_number_of_an_invoice_can_become_markup_or_a_line() -> None:
    email = written(
        replace(
            USUAL, shop_name=UNPRINTABLE, shop_address=UNPRINTABLE, receipt=UNPRINTABLE, invoice_number=UNPRINTABLE,
            reply_to=UNPRINTABLE,
        )
    )  # fmt: skip
    plain, page = Page(written(USUAL).html), Page(email.html)
    assert page.elements == plain.elements
    assert "<script>alert(1)</script>" in page.text
    assert not re.search(r"[\u202e\x00]|\nTotal paid: KES 0", email.html + email.text)
    assert "\n" not in email.subject


# Why a payment failed -------------------------------------------------------------------------------------------------


def test_every_known_failing_code_has_its_words_in_both_languages() -> None:
    assert SWAHILI.keys() == CALLBACK_FAILURES.keys()


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("code", sorted(CALLBACK_FAILURES))
def test_a_failure_says_why_and_what_to_do(code: str, lang: Lang) -> None:
    why = reason(code, lang)
    email = written(replace(USUAL, kind=Kind.FAILED, lang=lang, result_code=code))
    for shown in (why.message, why.next_step):
        assert shown.endswith(".")
        assert shown in email.text
        assert shown in Page(email.html).text
    assert why not in NOT_TAKEN.values()
    assert "page" not in why.next_step


@pytest.mark.parametrize("lang", LANGS)
def test_the_same_reason_in_english_is_one_in_swahili(lang: Lang) -> None:
    """Two codes with one English sentence have one Swahili sentence: no entry slipped by a line."""
    pairs = {(reason(code, "en").message, reason(code, "sw").message) for code in CALLBACK_FAILURES}
    assert len(pairs) == len({reason(code, lang).message for code in CALLBACK_FAILURES})


@pytest.mark.parametrize("lang", LANGS)
def test_no_letter_says_that_no_money_left_where_it_may_have(lang: Lang) -> None:
    promise = {"en": "No money has left", "sw": "Hakuna pesa zilizotoka"}[lang]
    for code, known in CALLBACK_FAILURES.items():
        email = written(replace(USUAL, kind=Kind.FAILED, lang=lang, result_code=code))
        assert (promise in email.text) is (promise in email.html) is not known.may_be_taken_back
    by_a_person = written(replace(USUAL, kind=Kind.FAILED, lang=lang, result_code=None))
    assert promise not in by_a_person.text + by_a_person.html
    assert {"en": "answer this email", "sw": "jibu barua pepe hii"}[lang] in reason(None, lang).next_step


@pytest.mark.parametrize("lang", LANGS)
def test_an_unknown_code_has_a_general_reason(lang: Lang) -> None:
    assert reason("4711", lang) == reason(None, lang) == NOT_TAKEN[lang]


# What none reveals, and what nobody can make of one -------------------------------------------------------------------


@every_letter
def test_the_whole_phone_number_is_nowhere_and_no_address_but_the_shops(kind: Kind, lang: Lang) -> None:
    email = written(replace(USUAL, kind=kind, lang=lang))
    everything = f"{email.subject} {email.text} {email.html}"
    assert PHONE not in everything
    assert PHONE[3:] not in everything
    assert "wanjiru@customer.example" not in everything


@pytest.mark.parametrize("personal", ["customer_name", "customer_email", "customer_phone", "description"])
def test_the_repr_of_a_letter_has_no_personal_data(personal: str) -> None:
    assert getattr(USUAL, personal)[3:] not in repr(USUAL)


@every_letter
def test_a_page_needs_nothing_from_elsewhere_and_links_to_the_shop_alone(kind: Kind, lang: Lang) -> None:
    page = Page(written(replace(USUAL, kind=kind, lang=lang)).html)
    assert page.links == ["mailto:support%40shop.example"]
    assert {tag for tag, _ in page.elements} <= {
        "html", "head", "meta", "title", "style", "body", "div", "span", "table", "tr", "td", "br", "strong", "a",
    }  # fmt: skip


HOSTILE = [
    "<script>alert(1)</script>",
    "</td></tr></table><h1>Refund</h1>",
    '" onmouseover="alert(1)',
    "'; DROP TABLE transactions; --",
    "{{ 7 * 7 }} {% include '/etc/passwd' %} {# #}",
    "{{ shop_tax_pin }}",
    "a\r\nBcc: everyone@evil.example\r\n\r\nTotal paid: KES 0",
    "\u202egnp.exe\u2066\u200f\x00\x1b[31m",
    "👩🏽‍🌾 🧺🇰🇪",
    "مريم بنت علي",
    "שלום Wanjiru 1500",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319A",
    "N" * 300,
    "https://evil.example/pay?x=1",
    "www.evil.example",
    "evil.co.ke",
    "pay@evil.example",
    "evil\uff0eexample",
    "evil\u3002example",
    "evil\uff61example",
    "http://127.0.0.1/a",
    "\ud800 Wanjiru",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@every_letter
def test_whatever_was_typed_is_shown_as_text(kind: Kind, lang: Lang, text: str) -> None:
    usual = written(replace(USUAL, kind=kind, lang=lang))
    email = written(replace(USUAL, kind=kind, lang=lang, customer_name=text, description=text))
    plain, page = Page(usual.html), Page(email.html)
    assert page.elements == plain.elements
    assert page.links == plain.links
    assert len(email.text.splitlines()) == len(usual.text.splitlines())
    assert email.subject == usual.subject
    for shown in (email.text, page.text):
        assert not re.search(r"[\u202a-\u202e\u2066\u2067\u200e\u200f\x00-\x08\x0b-\x1f]", shown)
        assert shown.count("\u2068") == shown.count("\u2069")
        assert not re.search(r"evil[.\u3002\uff0e\uff61]\w|\w@evil|://|N{101}", shown)
    email.text.encode()
    email.html.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, ""),
        ("  Wanjirũ   O'Brien-Kamau ", "Wanjirũ O'Brien-Kamau"),
        ("J.K. Otieno & Sons Ltd.", "J. K. Otieno & Sons Ltd."),
        ("3.5 kg of tea/coffee at 10:30", "3.5 kg of tea/coffee at 10:30"),
        ("https://evil.example", "https: //evil. example"),
        ("pay@evil.example", "pay@ evil. example"),
        ("مريم", "\u2068مريم\u2069"),
        ("a\u0301\u0301\u0301\u0301\u0301b", "a\u0301\u0301\u0301b"),
        ("N" * 100, "N" * 100),
        ("N" * 300, "N" * 99 + "…"),
    ],
)
def test_what_was_typed_changes_only_where_it_could_be_a_link_or_mislead(text: str | None, shown: str) -> None:
    assert typed(text) == shown


def test_the_customers_name_goes_with_the_address_and_makes_no_link() -> None:
    """Whoever sends the message makes a header of it: that is guarded there."""
    for name, shown in (("Amina Example", "Amina Example"), ("evil.example", "evil. example")):
        assert written(replace(USUAL, customer_name=name)).to_name == shown
