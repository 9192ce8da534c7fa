"""What `make test` installs by itself, with programs that play apt and Playwright."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev import system_packages
from dev.system_packages import Need, install

PACKAGES = ("chromium", "postgresql-15", "pgbouncer")


class Machine:
    """A Debian on which nothing is there yet. Its apt installs what its package lists name."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.guard = folder / "policy-rc.d"
        self.lists = folder / "lists"
        self.lists.write_text("\n".join(PACKAGES))
        apt = folder / "bin" / "apt-get"
        apt.parent.mkdir()
        apt.write_text(f"""#!/bin/sh
            cd {folder}; echo "$@" >> calls
            case "$1" in
              update) cp upstream lists ;;
              install) ls policy-rc.d && grep -qx "$4" lists && touch "$4" ;;
            esac
        """)
        apt.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")
        monkeypatch.setattr(system_packages, "START_NOTHING", self.guard)
        monkeypatch.setattr(system_packages, "may_use_apt", lambda: True)
        self.needs = [Need(package, (folder / package).exists, "no test", "by hand") for package in PACKAGES]

    def missing(self) -> list[str]:
        return [need.package for need in self.needs if not need.found()]

    def calls(self) -> list[str]:
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_what_is_missing_is_installed_and_no_server_may_start_meanwhile(machine: Machine) -> None:
    install(machine.needs)

    assert machine.missing() == []
    assert machine.calls() == [f"install -qq --no-install-recommends {package}" for package in PACKAGES]
    assert not machine.guard.exists()


def test_where_all_is_there_nothing_is_called_or_printed(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for package in PACKAGES:
        (machine.folder / package).touch()

    install(machine.needs)

    assert machine.calls() == []
    assert capsys.readouterr().out == ""


def test_old_package_lists_are_updated_once(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.lists.write_text("")
    (machine.folder / "upstream").write_text("chromium\npgbouncer\n")

    install(machine.needs)

    assert machine.missing() == ["postgresql-15"]
    assert machine.calls().count("update -qq") == 1
    assert "postgresql-15 is missing: no test. By hand: by hand" in capsys.readouterr().out


def test_a_guard_that_was_there_before_stays(machine: Machine) -> None:
    machine.guard.write_text("the owner's\n")

    install(machine.needs)

    assert machine.guard.read_text() == "the owner's\n"


def test_what_the_user_can_have_alone_is_fetched_without_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system_packages, "may_use_apt", lambda: False)

    install([Need("chromium", lambda: None, "no test", "by hand", as_user=("true",))])
    assert "missing" not in capsys.readouterr().out

    install([Need("chromium", lambda: None, "no test", "by hand", as_user=("false",))])
    assert "chromium is missing: no test. By hand: by hand" in capsys.readouterr().out


def test_a_download_that_takes_too_long_is_ended() -> None:
    assert not system_packages.run("sleep", "300", within_s=0.1)


def test_without_root_it_says_what_to_do_by_hand(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system_packages, "may_use_apt", lambda: False)

    install(machine.needs)

    assert machine.calls() == []
    assert capsys.readouterr().out.count("By hand: by hand") == 3
