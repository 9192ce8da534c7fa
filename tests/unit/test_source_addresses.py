"""The list of addresses that Safaricom calls back from, and when it applies."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from shared.daraja.source_addresses import SAFARICOM_ADDRESSES, Source, check_source
from shared.settings import Receiving
from shared.settings_reader import Misconfigured
from tests.unit.test_settings import GUIDE, PRODUCTION

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
    return Receiving.from_environment(environ | more).callback.ip_mode


def test_addresses_are_flagged_unless_another_server_stands_in_for_daraja() -> None:
    assert (mode(GUIDE), mode(PRODUCTION)) == ("flag", "flag")
    simulator = {"MPESA_BASE_URL": "http://127.0.0.1:8890"}
    assert mode(GUIDE, **simulator) == "off"
    assert mode(GUIDE, **simulator, CALLBACK_IP_MODE="enforce") == "enforce"
    assert mode(PRODUCTION, CALLBACK_IP_MODE="off") == "off"


@pytest.mark.parametrize("value", ["on", "Flag", "enforced", "true"])
def test_any_other_mode_is_refused_by_name(value: str) -> None:
    with pytest.raises(Misconfigured) as wrong:
        mode(GUIDE, CALLBACK_IP_MODE=value)
    assert [problem.name for problem in wrong.value.problems] == ["CALLBACK_IP_MODE"]
