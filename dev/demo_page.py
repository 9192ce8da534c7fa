"""What `make demo` prints: titles, what was sent and stored, and the virtual phone's screen."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from shared.values import masked

EAST_AFRICA = timezone(timedelta(hours=3), "EAT")
NO_BREAK = "\u00a0"


@dataclass
class Page:
    """What the terminal shows. The phone number is masked everywhere but on the virtual phone's own screen."""

    colour: bool
    phone: str = ""
    step: int = 0
    started: float = field(default_factory=time.monotonic)

    def title(self, text: str) -> None:
        self.step += 1
        print(f"\n{self.paint('1;32', f'{self.step:>2}')}  {self.paint('1', text)}", flush=True)

    def say(self, text: str) -> None:
        for line in textwrap.wrap(self.safe(text), 104):
            print(f"    {line}", flush=True)

    def data(self, label: str, text: str) -> None:
        """Something that was really sent or stored."""
        print(f"    {self.paint('36', label)}")
        print(textwrap.indent(self.safe(text), "      ", lambda line: True), flush=True)

    def json(self, label: str, value: object) -> None:
        self.data(label, json.dumps(value, indent=2, ensure_ascii=False, default=str))

    def row(self, label: str, row: Mapping[str, object]) -> None:
        width = max(len(name) for name in row)
        self.data(label, "\n".join(f"{name:<{width}}  {stored(value)}" for name, value in row.items()))

    def table(self, label: str, rows: Sequence[Mapping[str, object]]) -> None:
        cells = [list(rows[0]), *([stored(value) for value in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
        self.data(label, "\n".join(lines))

    def phone_screen(self, lines: Sequence[str]) -> None:
        """The virtual phone, the one place that shows the number in full."""
        wrapped = [part for line in lines for part in (textwrap.wrap(line, 34) or [""])]
        print(f"      ╭{'─' * 36}╮")
        for text in [f"☎ +{self.phone}", "", *wrapped]:
            print(f"      │ {text:<34} │")
        print(f"      ╰{'─' * 36}╯", flush=True)

    def check(self, text: str, holds: bool) -> None:
        print(f"    {self.paint('32', '✓') if holds else self.paint('1;31', '✗')} {self.safe(text)}", flush=True)

    def paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def safe(self, text: str) -> str:
        """With the number masked in each of its forms, also at the end of a CheckoutRequestID."""
        if not self.phone:
            return text
        hidden = masked(self.phone)
        for form in (f"+{self.phone}", self.phone, f"0{self.phone[3:]}"):
            text = text.replace(form, hidden)
        return text.replace(self.phone[3:], hidden[3:])


def stored(value: object) -> str:
    """A column's value, as a person reads it."""
    match value:
        case None:
            return "-"
        case datetime():
            return value.astimezone(EAST_AFRICA).strftime("%Y-%m-%d %H:%M:%S EAT")
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(str, value)) or "-"
        case _:
            return str(value)


def folded(text: str) -> str:
    """Long JSON on several lines, broken after commas."""
    broken = textwrap.wrap(text.replace(" ", NO_BREAK).replace(",", ", "), 104, break_long_words=False)
    return "\n".join(line.replace(", ", ",").replace(NO_BREAK, " ") for line in broken)
