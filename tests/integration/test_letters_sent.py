"""A shop's own letters as its customers get them, and what becomes of one with an error: by a real sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.mail import letters, templating
from shared.mail.templating import BUILT_IN, Templates
from tests.fixtures.shop import CUSTOMER, OTHER_CUSTOMER, Shop


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the shop's own templates."""
    monkeypatch.setattr(templating, "shops_own", lambda _: Templates(tmp_path, BUILT_IN))
    (tmp_path / "sw").mkdir()
    return tmp_path


def test_customers_get_the_shops_own_letter(shop: Shop, own: Path) -> None:
    (own / "sw" / "invoice.txt").write_text("Subject: Asante sana\nUmelipa {{ amount }}, {{ reference }}", "utf-8")
    shop.settled(lang="sw", account_reference="YETU")
    shop.sweep()
    (letter,) = shop.letters()
    assert letter["subject"] == "Asante sana"
    assert "YETU" in letter["text"]
    assert "Jumla uliyolipa" in letter["html"]


def test_a_template_with_an_error_stops_no_letter_and_alerts_once_a_day(shop: Shop, own: Path) -> None:
    (own / "sw" / "invoice.txt").write_text("Subject: Asante\n\n{{ amuont }}", "utf-8")
    for phone in (CUSTOMER, OTHER_CUSTOMER):
        shop.settled(lang="sw", phone_number=phone)
        shop.sweep()
        shop.age(3 * 3600)
    assert ["Ankara" in letter["subject"] for letter in shop.letters()] == [True, True]
    told = [line for line in shop.logged if "'alert': 'letter_template'" in line]
    assert len(told) == 1
    assert "'template': 'sw/invoice.txt'" in told[0]
    assert "'broken_at': 'line 3: an unknown name'" in told[0]
    assert "withheld" not in told[0]
    shop.age(24 * 3600)
    shop.settled(lang="sw", account_reference="TENA")
    shop.sweep()
    assert len([line for line in shop.logged if "'alert': 'letter_template'" in line]) == 2


def test_the_folder_of_the_shops_own_is_beside_the_built_in_ones() -> None:
    assert letters.SHOPS_OWN.parent == BUILT_IN.parent
    assert (letters.SHOPS_OWN / "README.md").is_file()
