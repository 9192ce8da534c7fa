"""What a command answers: lines and tables for people, or with `--json` one document. Printed here and nowhere else.

In a document amounts are integers in KES, instants are ISO 8601 with their zone, and keys keep their names. Lines hold
nothing that a terminal would obey, whoever wrote it. A table is drawn in a terminal; elsewhere it is lines, one a row.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from tempfile import SpooledTemporaryFile
from typing import Literal, TextIO
from unicodedata import category

from shared.values import EAT, JOINERS

IN_MEMORY_BYTES = 2**20
AS_WIDE_AS_IT_LIKES = 10_000
NARROWEST = 24
"""A column of sentences."""
STYLES = {
    **dict.fromkeys(("PAID", "SENT", "ok"), "green"),
    **dict.fromkeys(("REVIEW", "UNCERTAIN", "PENDING", "INITIATED"), "yellow"),
    **dict.fromkeys(("FAILED", "CANCELLED", "EXPIRED", "BROKEN"), "red"),
    "warning": "yellow",
    "failed": "red",
    "skipped": "dim",
    "REFUNDED": "magenta",
}
"""Of a cell that is one of these words."""
NEVER_PRINTED = frozenset(("Cc", "Cf", "Co", "Cs", "Zl", "Zp"))


@dataclass(frozen=True)
class Table:
    """Columns by name: `>Amount` stands on the right, `~Means` may wrap, what is in the others is never cut."""

    columns: Sequence[str]
    rows: Sequence[tuple[Sequence[str], str]]
    """The cells, and the same as text, for a pipe and for a terminal that is too narrow."""

    @classmethod
    def of(cls, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
        """With the columns one below the other also as text, under their names."""
        cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
        named = [[column.lstrip(">~") for column in columns], *cells]
        widths = [max(map(len, column)) for column in zip(*named, strict=True)]
        right = [column.startswith(">") for column in columns]
        lines = [
            "  ".join(
                cell.rjust(width) if on_the_right else cell.ljust(width)
                for cell, width, on_the_right in zip(row, widths, right, strict=True)
            ).rstrip()
            for row in named
        ]
        return cls(columns, [([], lines[0]), *zip(cells, lines[1:], strict=True)])


@dataclass(frozen=True)
class Answer:
    """The same twice. `code` is the exit code: 0, or 1 where somebody has to act."""

    document: Mapping[str, object]
    """An iterator in it is written as a list, one item at a time."""
    lines: Iterable[str | Table]
    code: int = 0

    def print(self, *, as_json: bool) -> int:
        """Gives the exit code."""
        if as_json:
            print_document(self.document)
        else:
            for line in self.lines:
                show(line)
        return self.code


def show(line: str | Table, *, to_asker: bool = False) -> None:
    """One line, or a table: on standard output, or where a person is asked."""
    stream = sys.stderr if to_asker else sys.stdout
    if isinstance(line, str):
        print(harmless_line(line), file=stream)
    elif not (stream.isatty() and _drawn(line, stream)):
        for _, text in line.rows:
            print(harmless_line(text), file=stream)


def harmless_line(line: str) -> str:
    """Without what a terminal would obey: escape sequences, marks that turn the direction of the text."""
    if line.isprintable():
        return line
    return "".join([letter for letter in line if letter in f"\n{JOINERS}" or category(letter) not in NEVER_PRINTED])


def _drawn(table: Table, stream: TextIO) -> bool:
    """Whether there was room for it, and `rich` to draw it. It heeds NO_COLOR."""
    try:
        from rich import box, cells, console, text  # only where there is a terminal
        from rich.table import Table as Drawn
    except ImportError:
        return False
    screen = console.Console(file=stream, highlight=False)
    headed = any(column.strip(">~") for column in table.columns)
    drawn = Drawn(box=box.SIMPLE_HEAD if headed else None, pad_edge=False, show_header=headed)
    rows = [[text.Text(harmless_line(cell), STYLES.get(cell, "")) for cell in row] for row, _ in table.rows if row]
    if not rows:
        return True
    for place, column in enumerate(table.columns):
        name, wraps = column.lstrip(">~"), column.startswith("~")
        written = [row[place].plain for row in rows]
        widest = max([len(name), *[cells.cell_len(part) for said in written for part in said.split("\n")]])
        longest_word = max([0, *[cells.cell_len(word) for said in written for word in said.split()]])
        least = max(min(widest, NARROWEST), longest_word) if wraps else widest  # an id or a file's name is never cut
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        drawn.add_column(name, justify=justify, no_wrap=not wraps, min_width=least, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    if screen.measure(drawn, options=screen.options.update(width=AS_WIDE_AS_IT_LIKES)).minimum > screen.width:
        return False
    screen.print(drawn)
    return True


def print_document(document: Mapping[str, object]) -> None:
    """Printed when it is whole: a database that goes away in the middle leaves no half of one."""
    with SpooledTemporaryFile(IN_MEMORY_BYTES, "w+", encoding="ascii") as whole:
        for place, (key, value) in enumerate(document.items()):
            whole.write(f"{',' if place else '{'}\n{json.dumps(key)}: ")
            if isinstance(value, Iterator):
                whole.write("[")
                for number, each in enumerate(value):
                    whole.write((",\n" if number else "\n") + _as_json(each))
                whole.write("]")
            else:
                whole.write(_as_json(value))
        whole.write("\n}\n")
        whole.seek(0)
        shutil.copyfileobj(whole, sys.stdout)


def _as_json(value: object) -> str:
    return json.dumps(value, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):  # every sum here is whole shillings
        return int(value)
    if isinstance(value, datetime):
        return value.astimezone(EAT).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
