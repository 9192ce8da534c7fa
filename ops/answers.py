"""What a command answers: lines for people, or with `--json` one document. Both are printed here and nowhere else.

In a document amounts are integers in KES, instants are ISO 8601 with their zone, and keys keep their names.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from tempfile import SpooledTemporaryFile

from shared.values import EAT

IN_MEMORY_BYTES = 2**20


@dataclass(frozen=True)
class Answer:
    """The same twice. `code` is the exit code: 0, or 1 where somebody has to act."""

    document: Mapping[str, object]
    """An iterator in it is written as a list, one item at a time."""
    lines: Iterable[str]
    code: int = 0

    def print(self, *, as_json: bool) -> int:
        """Gives the exit code."""
        if as_json:
            print_document(self.document)
        else:
            for line in self.lines:
                print(line)
        return self.code


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
