"""From the bytes of a file to rows of cells. What the file is, its content says, never its name."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryFile
from zipfile import ZipFile

from ops.statements.cells import Cell
from ops.statements.columns import EXPORT_AGAIN
from ops.statements.statement import UnusableFile

LARGEST_FILE_BYTES = 200 * 2**20
LARGEST_UNPACKED_BYTES = 400 * 2**20
"""A day of 110,000 rows is 25 MB of text, and 100 MB unpacked from an .xlsx."""
_MOST_ROWS_XLS, _MOST_ROWS_XLSX = 65_536, 1_048_576
_SAVE_AS = "If it is a spreadsheet, save it as .xlsx; or export the statement as CSV."
_NOT_OURS = {
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"\x1f\x8b": "a compressed file",
    b"Rar!": "an archive",
    b"7z\xbc\xaf": "an archive",
    b"{\\rtf": "a text document",
}
_ZIP = (b"PK\3\4", b"PK\5\6")
_OLE2 = bytes.fromhex("d0cf11e0a1b11ae1")
_DAMAGED = "The spreadsheet is damaged or cut off: it cannot be read."


@dataclass(frozen=True, slots=True)
class Line:
    """One row. `sheet` is empty in a text file, which has none."""

    sheet: str
    number: int
    cells: list[Cell]
    raw: str


@dataclass(frozen=True, slots=True)
class File:
    sha256: str
    lines: Iterator[Line]
    may_be_cut_off: bool
    """Text whose last line is not ended."""
    last_cell_is_quoted: bool = False


def open_file(path: Path) -> File:
    """Raises `UnusableFile`, at once or while its lines are read."""
    try:
        if not path.is_file():
            raise UnusableFile("There is no such file.", "Check the name; a folder cannot be read.")
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise UnusableFile("The file is larger than 200 MB: no statement is.", "Export a shorter period.")
        data = path.read_bytes()
    except OSError as why:
        raise UnusableFile(f"The file cannot be opened: {why.strerror}.", "Check who may read it.") from None
    sha256 = hashlib.sha256(data).hexdigest()
    if not data.strip():
        raise UnusableFile("The file is empty.", EXPORT_AGAIN)
    if b"%PDF-" in data[:1024]:
        raise UnusableFile("A PDF cannot be read: its columns get lost, and anybody can change it.", EXPORT_AGAIN)
    for start, what in _NOT_OURS.items():
        if data.startswith(start):
            raise UnusableFile(f"This is {what}, whatever its name says.", EXPORT_AGAIN)
    if data.startswith(_ZIP):
        _check_archive(data)
        return File(sha256, _spreadsheet(data, _MOST_ROWS_XLSX), may_be_cut_off=False)
    if data.startswith(_OLE2):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise UnusableFile("The file is protected by a password.", "Save it without one, or export it as CSV.")
        return File(sha256, _spreadsheet(data, _MOST_ROWS_XLS), may_be_cut_off=False)
    end = data.rstrip(b"\0")[-1:]
    return File(sha256, _text(data), may_be_cut_off=end not in (b"\n", b"\r"), last_cell_is_quoted=end == b'"')


def _check_archive(data: bytes) -> None:
    """An .xlsx is a ZIP archive. What it unpacks to is counted: what it claims is not believed."""
    unpacked = 0
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            if "xl/workbook.xml" not in archive.namelist():
                raise UnusableFile("This is an archive or a document of another program.", f"Unpack it. {_SAVE_AS}")
            for part in archive.infolist():
                part.file_size = 2 * LARGEST_UNPACKED_BYTES
                with archive.open(part) as content:
                    while chunk := content.read(2**20):
                        unpacked += len(chunk)
                        if unpacked > LARGEST_UNPACKED_BYTES:
                            raise UnusableFile(
                                "The spreadsheet unpacks to more than 400 MB: no statement does.", EXPORT_AGAIN
                            )
    except UnusableFile:
        raise
    except Exception as why:  # zipfile and zlib name damage by many classes
        raise UnusableFile(_DAMAGED, EXPORT_AGAIN) from why


def _spreadsheet(data: bytes, most_rows: int) -> Iterator[Line]:
    """Another process reads it: `spreadsheet.py` says why."""
    if importlib.util.find_spec("python_calamine") is None:
        raise UnusableFile("Spreadsheets need the package python-calamine.", "Run: pip install python-calamine")
    program = [sys.executable, str(Path(__file__).with_name("spreadsheet.py"))]
    with TemporaryFile() as copy:
        copy.write(data)
        copy.seek(0)
        process = subprocess.Popen(
            program, stdin=copy, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="ascii"
        )
    decoder = json.JSONDecoder(object_hook=_typed, parse_float=Decimal, parse_int=Decimal, parse_constant=Decimal)
    sheet, number = "", 0
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise UnusableFile(
                "The program that reads spreadsheets did not start here.", "Export the statement as CSV."
            )
        for line in process.stdout:
            if line.startswith("{"):
                sheet, number = json.loads(line)["sheet"], 0
                continue
            number += 1
            if number == most_rows:
                raise UnusableFile(
                    "The sheet is full: the rows that did not fit are lost.", "Export a shorter period, or CSV.", number
                )
            yield Line(sheet, number, decoder.decode(line), line.rstrip("\n"))
        if process.wait() != 0:
            raise UnusableFile(_DAMAGED, EXPORT_AGAIN)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _typed(found: dict[str, str]) -> Cell:
    match found:
        case {"at": at}:
            return datetime.fromisoformat(at)
        case {"day": day}:
            return date.fromisoformat(day)
    return time.fromisoformat(found["time"])


def _text(data: bytes) -> Iterator[Line]:
    encoding = _encoding(data)
    with io.TextIOWrapper(io.BytesIO(data), encoding, newline="") as content:
        start = content.read(2**16)
        content.seek(0)
        if start.lstrip().startswith("<"):
            raise UnusableFile("This is a web page or XML, saved under another name.", _SAVE_AS)
        reader = csv.reader(content, delimiter=_delimiter(start), strict=True)
        encoder, number = json.JSONEncoder(ensure_ascii=False), 1
        try:
            for row in reader:
                cells: list[Cell] = [*row]
                if any(_swallowed_rows(cell) for cell in row if "\n" in cell or "\r" in cell):
                    raise UnusableFile("A quotation mark is opened and not closed.", EXPORT_AGAIN, number)
                yield Line("", number, cells, encoder.encode(row))
                number = reader.line_num + 1
        except csv.Error as why:
            says = "A quotation mark is opened and not closed, or stands in the middle of a cell"
            raise UnusableFile(f"{says} ({why}).", EXPORT_AGAIN, number) from None


def _swallowed_rows(cell: str) -> bool:
    return any(line.count(mark) >= 3 for line in cell.splitlines()[1:] for mark in ",;\t|")


def _encoding(data: bytes) -> str:
    """UTF-8, else cp1252 (Excel's); UTF-16 by its mark, or by its zeros."""
    start = data[:2000]
    candidates = ["utf-8-sig", "cp1252"]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        candidates = ["utf-16"]
    elif start.count(0) > 0.3 * len(start):
        candidates = ["utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"]
    for encoding in candidates:
        try:
            if "\0" not in data.decode(encoding):
                return encoding
        except UnicodeDecodeError:
            continue
    raise UnusableFile("This is no text and no spreadsheet, or it is damaged.", EXPORT_AGAIN)


def _delimiter(start: str) -> str:
    """The one that is most frequent in the header."""
    for line in start.splitlines():
        most = max(",;\t|", key=line.count)
        if "receipt" in line.lower() and line.count(most) >= 4:
            return most
    return ","
