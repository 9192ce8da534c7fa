"""What a command prints: tables where there is a terminal with room for them, lines elsewhere, nothing to obey."""

from __future__ import annotations

import io
import sys

import pytest

from ops.answers import Answer, Table

ID = "0190a5b0-7e3c-7cc1-8a4e-0f9f8d6c5b4a"
HOSTILE = "[bold red]Jane[/] \x1b[2J\u202eDOE\u2066 \x07=1+1"
TABLE = Table(("Payment", ">Amount", "~Who"), [((ID, "KES 1,500", HOSTILE), f"{ID}  KES 1,500  {HOSTILE}")])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, columns: int, *, terminal: bool = True) -> str:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Answer({}, ["1 payment", TABLE]).print(as_json=False)
    return stream.getvalue()


def test_in_a_terminal_a_table_has_columns_and_customers_words_stay_words(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = shown(monkeypatch, 120)
    assert "Payment" in printed
    assert ID in printed
    assert "[bold red]Jane[/] [2JDOE =1+1" in printed
    assert not {"\u202e", "\u2066", "\x07"} & set(printed)
    assert "\x1b[2J" not in printed


@pytest.mark.parametrize(("columns", "terminal"), [(60, True), (300, False)])
def test_without_room_or_terminal_it_is_lines_that_are_never_cut(
    monkeypatch: pytest.MonkeyPatch, columns: int, terminal: bool
) -> None:
    printed = shown(monkeypatch, columns, terminal=terminal)
    assert printed == f"1 payment\n{ID}  KES 1,500  [bold red]Jane[/] [2JDOE =1+1\n"


def test_a_table_without_rows_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    Answer({}, ["0 payments", Table(("Payment",), [])]).print(as_json=False)
    assert stream.getvalue() == "0 payments\n"


def test_without_rich_it_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    assert shown(monkeypatch, 200).count("\n") == 2


def test_colours_go_where_nobody_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table.of(("Status",), [("PAID",)])
    for no_color, coloured in (("", True), ("1", False)):
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("NO_COLOR", no_color)
        Answer({}, [table]).print(as_json=False)
        assert ("\x1b[32m" in stream.getvalue()) == coloured


def test_a_table_by_its_cells_alone_stands_in_columns_as_text_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    Answer({}, [Table.of(("Kind", ">KES", "Receipt"), [("missing_here", 1500, "UK1"), ("timing", 20, None)])]).print(
        as_json=False
    )
    assert stream.getvalue().split("\n") == [
        "Kind           KES  Receipt",
        "missing_here  1500  UK1",
        "timing          20",
        "",
    ]


@pytest.mark.parametrize("columns", range(60, 200, 10))
def test_no_width_cuts_an_amount_an_id_or_the_name_of_a_file(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    command = "python -m ops reconcile ORG_174379_Statement.xlsx --write"
    row = ("receipt_missing", "KES 2,000", ID, "Paid, and no receipt came: this row names it. " * 2, command)
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", str(columns))
    table = Table(("Kind", ">Amount", "Payment", "~Means", "~Do now"), [(row, "  ".join(row))])
    Answer({}, [table]).print(as_json=False)
    assert [word for word in ("KES 2,000", ID, "ORG_174379_Statement.xlsx") if word not in stream.getvalue()] == []
