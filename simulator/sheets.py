"""Rows of cells as a file: CSV in any encoding, .xlsx, and the old .xls."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

import xlsxwriter
import xlwt

from simulator.clock import EAT

Cell = str | Decimal | datetime
Cells = Sequence[Cell]
Typed = Literal["text", "dates", "serials"]
"""What a spreadsheet makes of amounts and times: text; numbers and dates; or numbers and bare serial numbers."""
A_TIME = "dd-mm-yyyy hh:mm:ss"


def csv_file(rows: Sequence[Cells], encoding: str, delimiter: str, *, quoted: bool) -> bytes:
    """What the encoding lacks becomes a question mark. Not `quoted`: a comma inside a cell makes one cell more."""
    text = io.StringIO(newline="")
    if quoted:
        csv.writer(text, delimiter=delimiter).writerows([_text(cell) for cell in row] for row in rows)
    else:
        text.writelines(delimiter.join(_text(cell) for cell in row) + "\r\n" for row in rows)
    return text.getvalue().encode(encoding, errors="replace")


def xlsx_file(rows: Sequence[Cells], cells: Typed) -> bytes:
    content = io.BytesIO()
    book = xlsxwriter.Workbook(content, {"in_memory": True})
    sheet = book.add_worksheet("transaction")
    time = book.add_format({"num_format": A_TIME})
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            match _typed(cell, cells):
                case datetime() as at:
                    sheet.write_datetime(y, x, at, time)
                case float() as number:
                    sheet.write_number(y, x, number)
                case text:
                    sheet.write_string(y, x, text)
    book.close()
    return content.getvalue()


def xls_file(rows: Sequence[Cells], cells: Typed) -> bytes:
    book = xlwt.Workbook(encoding="utf-8")
    sheet = book.add_sheet("transaction")
    time = xlwt.easyxf(num_format_str=A_TIME)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            value = _typed(cell, cells)
            sheet.write(y, x, value, *([time] if isinstance(value, datetime) else []))
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _text(cell: Cell) -> str:
    if isinstance(cell, datetime):
        return f"{cell.astimezone(EAT):%d-%m-%Y %H:%M:%S}"
    return f"{cell:.2f}" if isinstance(cell, Decimal) else cell


def _typed(cell: Cell, cells: Typed) -> str | float | datetime:
    """Times are EAT, without a zone."""
    if cells == "text" or isinstance(cell, str):
        return _text(cell)
    if isinstance(cell, Decimal):
        return float(cell)
    at = cell.astimezone(EAT).replace(tzinfo=None, microsecond=0)
    return at if cells == "dates" else (at - datetime(1899, 12, 30)) / timedelta(days=1)  # noqa: DTZ001
