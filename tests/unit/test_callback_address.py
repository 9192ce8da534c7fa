"""The address Safaricom calls back is exactly what we wrote, or nothing at all; and where a callback may come from."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.daraja.callback_address import SAFARICOM_ADDRESSES, Source, callback_url, check_source, genuine, key_name
from shared.settings import RECEIVING, CallbackSettings, Settings
from tests.unit.test_settings import GUIDE, PRODUCTION

ID = "0c9e8f1a-0b1c-4d2e-8f3a-5b6c7d8e9f00"
OTHER_ID = "0c9e8f1a-0b1c-4d2e-8f3a-5b6c7d8e9f01"
TODAY, BEFORE, LONG_AGO = "today" * 8, "before" * 8, "long-ago" * 8


def settings(*secrets: str, url: str = "https://shop.example/api/pay/callback") -> CallbackSettings:
    return CallbackSettings(url, secrets or (TODAY,), Decimal(20_000))


def path(transaction_id: str = ID, secret: str = TODAY, prefix: str = "/api/pay/callback") -> str:
    url = callback_url(settings(secret, url=f"https://shop.example{prefix}"), transaction_id)
    return url.removeprefix("https://shop.example")


def test_the_address_we_write_is_the_one_we_know() -> None:
    assert genuine(settings(), path()) == (ID, key_name(TODAY))


def test_it_is_our_address_then_the_id_then_64_hexadecimal_digits() -> None:
    prefix, callback, transaction_id, token = path().rsplit("/", 3)
    assert (prefix, callback, transaction_id, len(token)) == ("/api/pay", "callback", ID, 64)
    assert set(token) <= set("0123456789abcdef")


def test_both_public_prefixes_and_a_shops_own_are_known_whichever_is_configured() -> None:
    own = settings(url="https://shop.example/pesa/callback")
    for prefix in ("/api/mpesa/callback", "/api/pay/callback", "/pesa/callback"):
        assert genuine(own, path(prefix=prefix)) == (ID, key_name(TODAY))
    assert genuine(settings(), path(prefix="/pesa/callback")) is None


def test_the_previous_secrets_addresses_work_and_older_ones_do_not() -> None:
    ours = settings(TODAY, BEFORE)
    assert genuine(ours, path(secret=BEFORE)) == (ID, key_name(BEFORE))
    assert genuine(ours, path(secret=LONG_AGO)) is None
    assert callback_url(ours, ID).endswith(path(secret=TODAY))


def test_the_token_of_one_payment_is_worthless_for_another() -> None:
    token = path().rpartition("/")[2]
    assert genuine(settings(), f"/api/pay/callback/{OTHER_ID}/{token}") is None


GOOD = path()
TOKEN = GOOD.rpartition("/")[2]


PREFIX = "/api/pay/callback"
NOT_OURS = [
    "", "/", PREFIX, f"{PREFIX}/", f"{PREFIX}/{ID}", f"{PREFIX}/{ID}/", f"{PREFIX}/{TOKEN}", f"{PREFIX}/{TOKEN}/{ID}",
    *(GOOD + more for more in ("0", "/", "//", "\n", " ", "?x=1", "#", "%00", "\x00")),
    *(more + GOOD for more in (" ", "/", "https://shop.example")),
    *(GOOD.replace(f"{PREFIX}/", other) for other in (
        "//api/pay/callback/", "/API/pay/callback/", "/api/pay/../pay/callback/", f"{PREFIX}//", f"{PREFIX}/./",
        f"{PREFIX}/x/../", f"{PREFIX}%2f/", "/.netlify/functions/callback/",
    )),
    GOOD.replace(ID, ID.upper()), GOOD.replace(TOKEN, TOKEN.upper()), GOOD.upper(), GOOD[:-1],
    GOOD.replace("-", "%2d"), GOOD.replace("-", ""), GOOD.replace("/", "\\"),
    GOOD.replace("0", "\uff10"), GOOD.replace("0c9e", "\u06f0c9e"),
    *(f"{PREFIX}/{ID}/{token}" for token in (
        f"{TOKEN}/{TOKEN}", "0" * 64, TOKEN[:-1] + ("0" if TOKEN[-1] != "0" else "1"), "\u0660" * 64,
    )),
    f"{PREFIX}/" + "9" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("tried", NOT_OURS, ids=range(len(NOT_OURS)))
def test_whatever_is_not_exactly_that_address_is_not_looked_at(tried: str) -> None:
    assert genuine(settings(TODAY, BEFORE), tried) is None


@given(st.text(max_size=200), st.integers(0, len(GOOD)), st.integers(0, 3))
def test_no_change_of_the_address_is_accepted(noise: str, at: int, cut: int) -> None:
    tried = GOOD[:at] + noise + GOOD[at + cut :]
    # the id and the token are one in 2^256; the prefixes are known by name
    expected = (ID, key_name(TODAY)) if tried in (GOOD, path(prefix="/api/mpesa/callback")) else None
    assert genuine(settings(), tried) == expected


# The caller's address -------------------------------------------------------------------------------------------------

SAFARICOM = "196.201.212.127"


def test_the_list_is_of_public_addresses_written_as_the_platform_writes_them() -> None:
    assert len(SAFARICOM_ADDRESSES) == 12
    for address in SAFARICOM_ADDRESSES:
        assert str(ip_address(address)) == address
        assert ip_address(address) in ip_network("196.201.208.0/21")


@pytest.mark.parametrize("address", [SAFARICOM, f" {SAFARICOM} ", f"::ffff:{SAFARICOM}"])
def test_one_of_safaricoms_addresses_is_listed_however_it_is_written(address: str) -> None:
    assert check_source("flag", address) is Source.LISTED
    assert check_source("enforce", address) is Source.LISTED


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "203.0.113.9", "196.201.212.128", f"{SAFARICOM}, 203.0.113.9", f"x{SAFARICOM}"]
)
def test_any_other_address_is_flagged_or_held(address: str) -> None:
    assert check_source("flag", address) is Source.UNLISTED
    assert check_source("enforce", address) is Source.HELD
    assert check_source("off", address) is None


def test_where_the_platform_names_no_address_only_enforce_minds() -> None:
    assert check_source("flag", None) is None
    assert check_source("enforce", None) is Source.HELD
    assert check_source("off", None) is None


def mode(environ: dict[str, str], **more: str) -> str:
    return Settings(environ | more).need(*RECEIVING).callback.ip_mode


def test_addresses_are_flagged_unless_another_server_stands_in_for_daraja() -> None:
    assert (mode(GUIDE), mode(PRODUCTION)) == ("flag", "flag")
    simulator = {"MPESA_BASE_URL": "http://127.0.0.1:8890"}
    assert mode(GUIDE, **simulator) == "off"
    assert mode(GUIDE, **simulator, CALLBACK_IP_MODE="enforce") == "enforce"
    assert mode(PRODUCTION, CALLBACK_IP_MODE="off") == "off"
