"""Ports and folders: what is taken is reported before anything starts, and two stacks do not harm each other."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import make_dev, stack
from dev.make_dev import limits_from_environment, own_folder, readable
from dev.ports import PortTaken, free_port, is_taken, port_from_environment, require_free, usual_ports
from dev.stack import FolderBusy, LocalStack, StackFault, locked
from shared.settings import Settings
from tests.fixtures.site import Site


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        yield somebody.getsockname()[1]


def test_a_taken_port_is_reported_with_its_holder_and_another_port(taken_port: int) -> None:
    with pytest.raises(PortTaken) as refused:
        require_free(taken_port, "PORT", "the shop")

    sentence = str(refused.value)
    assert (
        f"Port {taken_port}, meant for the shop, is taken by {os.path.basename(os.path.realpath(sys.executable))}"
        in sentence
    )
    assert f"(process {os.getpid()})" in sentence
    other = re.search(r"PORT=(\d+) make dev", sentence)
    assert other
    assert not is_taken(int(other[1]))


def test_nothing_is_started_where_a_port_is_taken(tmp_path: Path, taken_port: int) -> None:
    with pytest.raises(PortTaken), LocalStack(tmp_path / "state", simulator_port=taken_port):
        pass

    assert not (tmp_path / "state" / "postgres").exists()
    locked(tmp_path / "state", {})  # free


@pytest.mark.parametrize("text", ["abc", "80", "70000", "-1", "88 88"])
def test_what_is_no_port_is_refused_by_name(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_PORT", text)

    with pytest.raises(PortTaken, match="SIM_PORT must be a port number"):
        port_from_environment("SIM_PORT", 8890)


def test_one_port_for_both_servers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIM_PORT", raising=False)
    monkeypatch.setenv("PORT", "8890")

    with pytest.raises(PortTaken, match="PORT and SIM_PORT are both 8890"):
        usual_ports()


def test_a_second_stack_of_a_folder_is_refused_with_the_address_of_the_first(site: Site) -> None:
    with pytest.raises(FolderBusy, match=rf"running already: {site.url}/ \(process {os.getpid()}\)"):
        LocalStack(site.stack.state).start()

    assert site.request("GET", "/").status == 200


def test_a_second_stack_on_another_port_gets_a_folder_of_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    state = site.stack.state
    monkeypatch.setattr(make_dev, "STATE", state)

    assert own_folder(site.stack.port) == state
    assert own_folder(9000) == state / "dev-9000"


def test_a_second_stack_neither_disturbs_the_first_nor_shares_its_database(site: Site, tmp_path: Path) -> None:
    with LocalStack(tmp_path / "second", sweep_every_s=None, durable=False) as second:
        assert second.database_url != site.database_url
        assert site.request("GET", "/").status == 200
        assert site.sweep() == 200
        assert second.sweep() == 200

    assert site.sweep() == 200


def test_a_stack_listens_on_this_machine_only(site: Site) -> None:
    import psutil

    listening = {
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }

    assert listening == {"127.0.0.1"}


def test_settings_of_the_developers_own_shell_do_not_reach_the_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (stack.ROOT / "shared" / "environment_variables.py").read_text()
    names = set(
        re.findall(
            r'"((?:MPESA|SENDGRID|INVOICE|CALLBACK|NETLIFY|SHOP|SMTP|SENTRY|CONFIRM|MAX|PHONE|ADDRESS)_[A-Z_]+)"',
            source,
        )
    )
    names |= {"DATABASE_URL", "ALLOWED_ORIGINS"}
    for name in names:
        monkeypatch.setenv(name, "the developer's own")

    environment = LocalStack(tmp_path).environment()

    assert len(names) > 15
    assert [name for name in names if environment[name] == "the developer's own"] == []
    settings = Settings.from_environment(environment)
    assert settings.daraja.environment == "sandbox"
    assert settings.daraja.base_url.startswith("http://127.0.0.1:")
    assert settings.letters.mail.sendgrid_base_url == settings.daraja.base_url
    assert settings.letters.mail.smtp_url is None


def test_a_database_that_cannot_be_migrated_is_reported_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(StackFault, match="could not be brought up to date"):
        LocalStack(tmp_path, settings={"MPESA_ENV": "nowhere"}).start()

    locked(tmp_path, {})  # free


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "no folder").touch()

    with pytest.raises(StackFault, match=r"Nothing can be written into .*no folder/state \(Not a directory\)"):
        LocalStack(tmp_path / "no folder" / "state").start()


def test_limits_are_out_of_the_developers_way_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pushes_an_hour(switch: str) -> int:
        monkeypatch.setenv("LIMITS", switch)
        environment = LocalStack(tmp_path, settings=limits_from_environment()).environment()
        return Settings.from_environment(environment).limits.phone_pushes_an_hour

    assert pushes_an_hour("") == pushes_an_hour("off") == 1000
    assert pushes_an_hour("on") == 10
    with pytest.raises(StackFault, match="LIMITS must be on or off, not 'yes'"):
        pushes_an_hour("yes")


def test_help_is_printed_and_nothing_started() -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "dev.make_dev", "--help"], cwd=stack.ROOT, capture_output=True, text=True, check=False
    )

    assert asked.returncode == 0
    assert "SIM_PORT" in asked.stdout
    assert "Starting" not in asked.stdout


# What `make dev` shows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Request from 127.0.0.1: GET /.netlify/functions/status", None),
        ("Response with status 404 in 237 ms.", None),
        ("", None),
        ('◈ sweep  {"level":"INFO","message":"answered","status":200}', None),
        ('◈ sweep  {"level":"ERROR","message":"alert","alert":"double"}', "sweep  ERROR alert alert=double"),
        ('◈ status  {"level":"INFO","message":"answered","service":"lipa","code":"x"}', "status  answered code=x"),
        ("◈ callback  Traceback (most recent call last):", "callback  Traceback (most recent call last):"),
        ("◈ callback  [1, 2]", "callback  [1, 2]"),
        ("something new", "something new"),
    ],
)  # fmt: skip
def test_the_terminal_shows_what_is_not_routine(line: str, expected: str | None) -> None:
    assert readable("netlify", line) == expected


def test_free_ports_are_free() -> None:
    assert not is_taken(free_port())
