"""`python -m ops letters`: see them, make them the shop's own, check them; with no database and no network."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from ops.__main__ import main
from ops.letters import look_at, run
from ops.session import NotPossible, WrongUse
from shared.mail.letters import Kind
from shared.values import LANGS

SHOP = {
    "SHOP_NAME": "Soko la Mfano",
    "SHOP_ADDRESS": "Kisumu",
    "SHOP_KRA_PIN": "P051234567X",
    "INVOICE_EMAIL_REPLY_TO": "habari@soko.example",
}


def ops(folder: Path, *arguments: str, environ: Mapping[str, str] = MappingProxyType({})) -> int:
    """The command, on another folder than the real one."""
    import argparse

    from ops.letters import add_commands

    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(dest="command"))
    return run(parser.parse_args(["letters", *arguments]), environ, folder).print(as_json=False)


# Showing them ---------------------------------------------------------------------------------------------------------


def test_show_writes_every_letter_to_a_file_and_prints_the_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "letters"
    assert ops(tmp_path / "own", "show", str(target), environ=SHOP) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    names = {f"{lang}/{kind}.{form}" for lang in LANGS for kind in Kind for form in ("html", "txt")}
    assert {path.relative_to(target).as_posix() for path in paths} == names
    for path in paths:
        assert all(value in path.read_text("utf-8") for value in SHOP.values())
    assert (target / "en/invoice.txt").read_text("utf-8").startswith("Subject: Invoice INV-2026-000042 from Soko")


def test_show_needs_no_folder_and_writes_nothing_into_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ops(tmp_path, "show") == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert all(path.is_absolute() and path.is_file() for path in paths)
    assert list(tmp_path.iterdir()) == []
    shutil.rmtree(paths[0].parent.parent)


@pytest.mark.parametrize("sample", ["sparse", "long", "hostile"])
def test_show_has_other_samples(tmp_path: Path, sample: str) -> None:
    assert ops(tmp_path / "own", "show", str(tmp_path), "--sample", sample) == 0
    html = (tmp_path / "en/invoice.html").read_text("utf-8")
    assert ("Wanjiru Example" in html) is False
    assert "<b>" not in html


def test_show_shows_the_built_in_letter_where_the_shops_own_has_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, target = tmp_path / "own", tmp_path / "letters"
    (own / "sw").mkdir(parents=True)
    (own / "sw" / "failed.txt").write_text("Subject: Pole\n{{ amount }} pole sana", encoding="utf-8")
    assert ops(own, "show", str(target)) == 0
    assert (target / "sw/failed.txt").read_text("utf-8") == "Subject: Pole\n\nKES 1,500 pole sana\n"
    (own / "sw" / "failed.txt").write_text("Subject: Pole\n\n{{ amuont }}", encoding="utf-8")
    assert ops(own, "show", str(target)) == 1
    assert "sw/failed.txt:3: an unknown name" in capsys.readouterr().out
    assert "hayakufaulu" in (target / "sw/failed.txt").read_text("utf-8")


def test_show_says_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WrongUse, match="cannot be written"):
        ops(tmp_path, "show", str(tmp_path / "file"))


# Making them the shop's own -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (["invoice", "sw"], ["sw/invoice.html", "sw/invoice.txt"]),
        (["failed"], ["en/failed.html", "en/failed.txt", "sw/failed.html", "sw/failed.txt"]),
        (["layout"], ["layout.html"]),
        (["layout", "en"], ["en/layout.html", "en/layout.txt"]),
        (["parts"], ["parts.html"]),
    ],
    ids=" ".join,
)
def test_edit_copies_a_letter_once(
    tmp_path: Path, arguments: list[str], made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ops(tmp_path, "edit", *arguments) == 0
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == made
    assert all(name in capsys.readouterr().out for name in made[:1])
    assert ops(tmp_path, "check") == 0
    (tmp_path / made[0]).write_text("mine", encoding="utf-8")
    with pytest.raises(NotPossible, match="already in"):
        ops(tmp_path, "edit", *arguments)
    assert (tmp_path / made[0]).read_text("utf-8") == "mine"


# Checking them --------------------------------------------------------------------------------------------------------


def test_check_finds_nothing_wrong_where_nothing_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("# Ours", encoding="utf-8")
    assert ops(tmp_path, "check") == 0
    assert ops(tmp_path / "no-such-folder", "check") == 0
    assert "0 errors" in capsys.readouterr().out


def test_check_names_file_line_and_problem_of_all_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sw").mkdir()
    (tmp_path / "sw" / "failed.txt").write_text("Subject: Pole\n\n{{ amuont }}", encoding="utf-8")
    (tmp_path / "sw" / "failed.html").write_text("{% if %}", encoding="utf-8")
    (tmp_path / "sw" / "invioce.html").write_text("{{ amount }}", encoding="utf-8")
    assert ops(tmp_path, "check") == 1
    told = capsys.readouterr().out
    assert "sw/failed.txt:3: an unknown name (there is no 'amuont'" in told
    assert "sw/failed.html:1: a syntax error (Expected an expression" in told
    assert "sw/invioce.html: no letter has such a file" in told
    assert "2 templates of your own" in told
    assert "3 errors" in told


def test_check_finds_what_breaks_only_when_a_letter_is_written(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "failed.txt").write_text(
        "Subject: {% if may_still_arrive %}Wait{% endif %}\n{{ amount }}", encoding="utf-8"
    )
    assert [str(found) for found in look_at(tmp_path, {}) if found.is_error] == ["en/failed.txt:1: an empty subject"]


def test_check_notes_what_a_letter_no_longer_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "invoice.txt").write_text("Subject: Asante\n{{ amount }} {{ reference }}", encoding="utf-8")
    assert ops(tmp_path, "check") == 0
    assert "en/invoice.txt: it does not say: date, transaction_id, invoice_number, receipt (a note" in (
        capsys.readouterr().out
    )


def test_no_database_is_needed_and_a_wrong_setting_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["letters", "check"], {}) == 0
    assert main(["letters", "check"], {"SHOP_NAME": "two\nlines", "DATABASE_URL": "nonsense"}) in (0, 2)
    assert main(["letters", "show"], {"SHOP_NAME": "two\nlines"}) == 2
    assert "SHOP_NAME" in capsys.readouterr().err
