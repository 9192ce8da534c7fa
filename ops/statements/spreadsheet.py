"""A program of its own: a spreadsheet on standard input becomes lines of JSON, one a row after the sheet's name.

`files.py` starts it. A damaged or hostile file may make the reading library panic, take all memory or never end: that
ends this process, whose memory and time are limited, and the operator's command says so in a sentence.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from io import BytesIO

MEMORY_BYTES = 2 * 2**30
PROCESSOR_S = 120


def main() -> None:
    with suppress(ImportError):  # Windows has no such limits
        import resource

        for limit, most in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, PROCESSOR_S)):
            with suppress(ValueError, OSError):  # macOS knows no limit of addresses
                resource.setrlimit(limit, (most, most))
    from python_calamine import CalamineWorkbook, SheetTypeEnum  # after the limits

    print("{}", flush=True)  # it runs: what ends it from here on is in the file
    workbook = CalamineWorkbook.from_object(BytesIO(sys.stdin.buffer.read()))
    for sheet in workbook.sheets_metadata:
        if sheet.typ == SheetTypeEnum.WorkSheet:
            _write({"sheet": sheet.name})
            for cells in workbook.get_sheet_by_name(sheet.name).iter_rows():
                while cells and cells[-1] == "":
                    cells.pop()
                _write(cells)


def _write(line: object) -> None:
    sys.stdout.write(ENCODER.encode(line).replace("\\u0000", "\\ufffd") + "\n")


def _as_json(value: object) -> object:
    match value:
        case datetime():
            return {"at": value.isoformat()}
        case date():
            return {"day": value.isoformat()}
        case time():
            return {"time": value.isoformat()}
        case timedelta():
            return str(value)
    raise TypeError(type(value))


ENCODER = json.JSONEncoder(default=_as_json)

if __name__ == "__main__":
    main()
