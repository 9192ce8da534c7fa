"""What `make test` installs by itself, with programs that play apt and Playwright."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev import system_packages
from dev.system_packages import Need


class Machine:
    """A Debian on which nothing is there yet and apt does as it is told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.guard = folder / "policy-rc.d"
        (folder / "bin").mkdir()
        self.program("apt-cache", f'grep -qx "$2" {folder}/lists')
        self.program(
            "apt-get", f'echo "$@" >> {self.calls}; ls {self.guard} >> {self.calls}; cd {folder}; . ./apt-does'
        )
        self.know("chromium", "postgresql-15", "pgbouncer")
        self.apt("shift 3; touch $@")
        monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")
        monkeypatch.setattr(system_packages, "START_NOTHING", self.guard)
        monkeypatch.setattr(system_packages, "LOG", folder / "log")
        monkeypatch.setattr(system_packages, "may_use_apt", lambda: True)
        monkeypatch.setattr(system_packages, "chromium", lambda: self.installed("chromium"))
        monkeypatch.setattr(system_packages, "needs", self.needs)

    def program(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def know(self, *packages: str) -> None:
        (self.folder / "lists").write_text("".join(f"{package}\n" for package in packages))

    def apt(self, script: str) -> None:
        (self.folder / "apt-does").write_text(script + "\n")

    def installed(self, package: str) -> Path | None:
        path = self.folder / package
        return path if path.exists() else None

    def needs(self) -> list[Need]:
        names = {"Chromium": "chromium", "PostgreSQL 15": "postgresql-15", "PgBouncer": "pgbouncer"}
        return [Need(name, self.installed(package), package, "none", "apt") for name, package in names.items()]

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_what_is_missing_is_installed_and_no_server_may_start_meanwhile(machine: Machine) -> None:
    assert system_packages.main() == 0

    assert machine.called() == [
        "install -y --no-install-recommends chromium postgresql-15 pgbouncer",
        str(machine.guard),
    ]
    assert not machine.guard.exists()
    assert system_packages.missing() == []


def test_where_all_is_there_nothing_is_called_or_said(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("chromium", "postgresql-15", "pgbouncer"):
        (machine.folder / package).touch()

    assert system_packages.main() == 0

    assert machine.called() == []
    assert capsys.readouterr().out == ""


def test_old_package_lists_are_brought_up_to_date_once(machine: Machine) -> None:
    machine.know()
    machine.apt('case "$1" in update) printf "chromium\\npgbouncer\\n" > lists ;; install) shift 3; touch $@ ;; esac')

    assert system_packages.main() == 0

    assert [call for call in machine.called() if not call.startswith("/")] == [
        "update",
        "install -y --no-install-recommends chromium pgbouncer",
    ]
    assert [need.name for need in system_packages.missing()] == ["PostgreSQL 15"]


def test_the_demo_asks_for_the_browser_alone(machine: Machine) -> None:
    assert system_packages.main(["--browser"]) == 0

    assert machine.called()[0] == "install -y --no-install-recommends chromium"
    assert [need.name for need in system_packages.missing()] == ["PostgreSQL 15", "PgBouncer"]


def test_a_download_that_takes_too_long_is_ended(machine: Machine) -> None:
    assert not system_packages.run("A download", ["sleep", "300"], within_s=0.1)


def test_a_guard_that_was_there_before_stays(machine: Machine) -> None:
    machine.guard.write_text("the owner's\n")

    system_packages.main()

    assert machine.guard.read_text() == "the owner's\n"


def test_without_leave_to_install_it_is_said_how(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system_packages, "may_use_apt", lambda: False)
    monkeypatch.setattr(system_packages, "run", lambda title, command, within_s=None: False)

    assert system_packages.main() == 0

    assert machine.called() == []
    told = capsys.readouterr().out
    assert "PostgreSQL 15 is missing: none. By hand: apt" in told
    assert "Chromium is missing" in told
