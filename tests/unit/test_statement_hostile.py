"""Files that were opened, cut, re-saved or made to do harm: each is read right, or refused with what to do.

Nothing is half read: a refusal names the row, and no part of the file is used.
"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

import pytest

from ops.statements.reading import read_statement
from ops.statements.statement import RowClass, Statement, UnusableFile
from tests.fixtures.statement_files import (
    CLASSIC,
    DAILY_NAME,
    DAILY_PAYBILL,
    HEADER,
    NEW,
    NEW_NAME,
    Table,
    as_csv,
    as_xls,
    as_xlsx,
    changed,
    typed,
)

ROOT = Path(__file__).parents[2]
PAYMENT = 9
"""In CLASSIC: the row of KES 1,200."""


def payment(statement: Statement) -> tuple[str, Decimal, Decimal, str | None, RowClass]:
    row = next(row for row in statement.rows if row.number == PAYMENT)
    return f"{row.at:%Y-%m-%d %H:%M:%S}", row.paid_in_kes, row.withdrawn_kes, row.account, row.row_class


USUAL = ("2025-10-13 17:16:40", Decimal(1200), Decimal(0), "INV00042", RowClass.PAYMENT)


@dataclass(frozen=True)
class Read:
    """It is read: what is asked of it is true."""

    holds: Callable[[Statement], bool] = lambda statement: payment(statement) == USUAL


@dataclass(frozen=True)
class Refused:
    says: str
    row: int | None = None
    do_now: str = "xport"


def cell(column: int | str, value: object, row: int = PAYMENT) -> Table:
    return changed(CLASSIC, row, column, value)  # type: ignore[arg-type]


def without(*columns: str) -> Table:
    places = [HEADER.split(",").index(column) for column in columns]
    return CLASSIC[:6] + [[each for x, each in enumerate(row) if x not in places] for row in CLASSIC[6:]]


def columns_in(*order: str) -> Table:
    places = [HEADER.split(",").index(column) for column in order]
    return CLASSIC[:6] + [[row[x] for x in places] for row in CLASSIC[6:]]


def archive(**parts: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as into:
        for name, content in parts.items():
            into.writestr(name.replace("__", "/").replace("_", "."), content)
    return file.getvalue()


def bomb() -> bytes:
    """Half a megabyte that unpacks to 500, and says that it unpacks to 10 bytes."""
    data = bytearray(archive(xl__workbook_xml=bytes(500 * 2**20)))
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = (10).to_bytes(4, "little")
    return bytes(data)


def sheet_with(content: str) -> bytes:
    """An .xlsx whose sheet is this XML."""
    file, good = io.BytesIO(), zipfile.ZipFile(io.BytesIO(XLSX))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as into:
        for part in good.namelist():
            into.writestr(part, content if part == "xl/worksheets/sheet1.xml" else good.read(part))
    return file.getvalue()


def far_cell() -> bytes:
    name = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    cells = "".join(f'<row r="{r}"><c r="{c}{r}"><v>1</v></c></row>' for c, r in (("A", 1), ("XFD", 1048576)))
    return sheet_with(f'<worksheet xmlns="{name}"><sheetData>{cells}</sheetData></worksheet>')


def spread(*, seconds: bool = True, american: bool = False) -> Table:
    """CLASSIC after a spreadsheet program in another country has been at its dates: text that it took for dates."""
    form = ("%m/%d/%Y " if american else "%d-%m-%Y ") + ("%H:%M:%S" if seconds else "%H:%M")
    return [
        [cell.strftime(form) if isinstance(cell, datetime) else each for cell, each in zip(row, was, strict=True)]
        for row, was in zip(typed(CLASSIC), CLASSIC, strict=True)
    ]


TOTALS = ["", "", "", "Totals", "", "9,000.00", "-23.94"]
CUT = as_csv(CLASSIC)
DAILY_PAID = "".join(DAILY_PAYBILL.splitlines(keepends=True)[:2]).replace(",0,700", ",0,1500").encode()
XLSX, XLS = as_xlsx(typed(CLASSIC)), as_xls(typed(CLASSIC))
SHEET = zipfile.ZipFile(io.BytesIO(XLSX)).read("xl/worksheets/sheet1.xml").decode()
OLD = [["Account Statement"], [], ["Receipt", "Date", "Details", "Status", "Withdrawn", "Paid In", "Balance"]]
FILES: dict[str, tuple[bytes, Read | Refused]] = {
    # what it is
    "nothing": (b"", Refused("empty")),
    "blanks": (b"\r\n \r\n", Refused("empty")),
    "a PDF": (b"%PDF-1.7\n...", Refused("PDF", do_now="CSV from the portal (Transaction, Account Statement, Export)")),
    "a picture": (b"\x89PNG\r\n\x1a\n....", Refused("picture")),
    "a photo": (b"\xff\xd8\xff\xe0....", Refused("picture")),
    "a web page": (
        b"\xef\xbb\xbf <html><table><tr><td>Receipt No.</table>",
        Refused("web page", do_now="save it as .xlsx"),
    ),
    "a ZIP of files": (archive(a_csv=CUT), Refused("archive", do_now="Unpack")),
    "an OpenDocument": (archive(content_xml=b"<x/>"), Refused("another program", do_now="save it as .xlsx")),
    "a text document": (archive(word__document_xml=b"<x/>"), Refused("another program")),
    "a gzip": (b"\x1f\x8b\x08...", Refused("compressed")),
    "a protected xlsx": (
        bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600) + "EncryptedPackage".encode("utf-16-le"),
        Refused("password", do_now="without one"),
    ),
    "zeros": (bytes(5000), Refused("damaged")),
    "a NUL in the text": (CUT.replace(b"BOB", b"B\0B"), Refused("damaged")),
    "the layout of 2010": (as_xls(OLD), Refused("2010", 3)),
    "another table": (as_csv([["Date", "Amount"], ["13-10-2025", "5"]]), Refused("No row names the columns")),
    # spreadsheets that would do harm
    "a bomb that lies about its size": (bomb(), Refused("unpacks to more than")),
    "a cell at the far end": (far_cell(), Refused("damaged")),
    "XML that is not closed": (sheet_with("<worksheet><sheetData><row><c>"), Refused("")),
    "entities in entities": (
        sheet_with('<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><worksheet><sheetData/></worksheet>'),
        Refused("No row names the columns"),
    ),
    "half an xlsx": (XLSX[: len(XLSX) // 2], Refused("damaged")),
    "an xlsx with a wrong byte": (XLSX[:1200] + b"\xee" + XLSX[1201:], Refused("damaged")),
    "half an xls": (XLS[: len(XLS) // 2], Refused("damaged")),
    "an xls of noise": (XLS[:600] + bytes(range(256)) * 40, Refused("damaged")),
    "two sheets with statements": (as_xlsx(CLASSIC, other=CLASSIC), Refused("Two sheets", do_now="Save each")),
    "a sheet of notes before it": (as_xlsx([["my notes"]], "notes", transaction=CLASSIC), Read()),
    # text that was cut or re-saved
    "cut off in a row": (CUT[:-60], Refused("cut off", 11)),
    "cut off in the last cell": (CUT[:-3], Refused("not Kenya's currency", 11)),
    "cut off after a row": (as_csv(CLASSIC[:-1]), Read(lambda read: read.balance_chain == "broken")),
    "cut off in the last amount": (DAILY_PAID[:-3], Refused("cut off", 2)),
    "perhaps cut off in the last account": (
        CUT.replace(b",KES", b"").replace(b",Currency", b"")[:-4],
        Read(lambda read: read.rows[-1].account_is_number and not read.rows[0].account_is_number),
    ),
    "no line end after an amount with cents": (
        DAILY_PAID.replace(b"1500", b"1500.00")[:-1],
        Read(lambda read: read.rows[0].paid_in_kes == 1500),
    ),
    "no line end after a quoted amount": (
        DAILY_PAID.replace(b"1500", b'"1500"')[:-1],
        Read(lambda read: read.rows[0].paid_in_kes == 1500),
    ),
    "no line end at the end": (CUT[:-2], Read()),
    "a quote that is never closed": (CUT.replace(b"Pay Bill from", b'"Pay Bill from', 1), Refused("quotation mark", 9)),
    "a quote that is never closed in the last row": (
        b'"Pay Bill from'.join(CUT.rsplit(b"Pay Bill from", 1)),
        Refused("quotation mark", 11),
    ),
    "a quote that takes rows in": (
        as_csv([[str(each).replace(",", "") for each in row] for row in NEW])
        .replace(b"Agency Withdrawal", b'"Agency Withdrawal')
        .replace(b"Acc. INV00042", b'Acc. INV00042"'),
        Refused("quotation mark", 2),
    ),
    "a cell of 10 MB": (CUT.replace(b"BOB", b"B" * 10 * 2**20, 1), Refused("field larger", 9)),
    "cp1252": (
        as_csv(cell("Other Party Info", "JOSÉ “Ñ”"), encoding="cp1252"),
        Read(lambda r: r.rows[1].party == "JOSÉ “Ñ”"),
    ),
    "a line break in a cell": (as_csv(cell("Details", "Pay Bill\nfrom 2547 - BOB Acc. INV00042")), Read()),
    "sep= before it": (b"sep=;\r\n" + as_csv(CLASSIC[1:], delimiter=";"), Read()),
    # headers
    "Withdrawn before Paid In": (
        as_csv(
            columns_in(
                "Details", "Withdrawn", "Paid In", "A/C No.", "Completion Time", "Receipt No.", "Transaction Status"
            )
        ),
        Read(),
    ),
    "no Currency, no Initiation Time": (as_csv(without("Currency", "Initiation Time")), Read()),
    "no name over Currency": (as_csv(changed(CLASSIC, 7, "Currency", "")), Read()),
    "Account No.": (as_csv(changed(CLASSIC, 7, "A/C No.", "Account No.")), Read()),
    "a column that is not there": (as_csv(without("Withdrawn")), Refused("Withdrawn", 7)),
    "a column twice": (as_csv(changed(CLASSIC, 7, "Balance", "Paid In")), Refused("twice", 7)),
    "an account that customers do not pay into": (
        as_csv(changed(CLASSIC, 3, 1, "Organization Settlement Account")),
        Refused("Organization Settlement Account", do_now="Utility Account"),
    ),
    "a till's account": (as_csv(changed(CLASSIC, 3, 1, "Merchant Account")), Read()),
    "other words above it": (
        as_csv(
            [
                ["Organisation Name", "X"],
                ["Paybill", "123456"],
                ["Statement Period", "10-10-2025 to 13-10-2025"],
                [],
                [],
                *CLASSIC[6:],
            ]
        ),
        Read(
            lambda read: (
                payment_of(read, 8) and read.shortcode == "123456" and f"{read.ends:%d %H:%M:%S}" == "13 23:59:59"
            )
        ),
    ),
    "the header again": (as_csv([*CLASSIC[:9], CLASSIC[6], *CLASSIC[9:]]), Read(lambda read: len(read.rows) == 4)),
    "another header in the middle": (as_csv([*CLASSIC[:9], *NEW]), Refused("two statements", 10)),
    "two exports in one file": (as_csv(CLASSIC + CLASSIC), Refused("second statement", 12)),
    "a row of totals": (as_csv([*CLASSIC, TOTALS]), Read(lambda read: len(read.rows) == 4)),
    "a footer": (as_csv([*CLASSIC, [], ["Page 1 of 1"]]), Read(lambda read: len(read.rows) == 4)),
    "a footer of one word, as long as a receipt": (
        as_csv([*CLASSIC, ["Disclaimer"]]),
        Read(lambda read: len(read.rows) == 4),
    ),
    "when it was printed": (
        as_csv([*CLASSIC, ["Printed:", "14-10-2025 08:00:00"]]),
        Read(lambda read: len(read.rows) == 4),
    ),
    "a row of a receipt only": (as_csv([*CLASSIC, ["TJD0000X09"], []]), Refused("no completion time", 12)),
    "empty rows and cells": (
        as_csv([[], *CLASSIC[:7], [], [""], *CLASSIC[7:]]),
        Read(lambda read: len(read.rows) == 4),
    ),
    "no rows at all": (as_csv(CLASSIC[:7]), Read(lambda read: read.rows == () and read.balance_chain == "broken")),
    # receipts
    "receipts in lower case": (
        as_csv(cell("Receipt No.", " tjd0000b02 ")),
        Read(lambda r: r.rows[1].receipt == "TJD0000B02"),
    ),
    "a row without a receipt": (as_csv(cell("Receipt No.", "")), Refused("no receipt number", PAYMENT)),
    "a phone number for a receipt": (as_csv(cell("Receipt No.", "0712000001")), Refused("no receipt number", PAYMENT)),
    "a number for a receipt": (as_xlsx(cell("Receipt No.", 12345.0)), Refused("no receipt number", PAYMENT)),
    "the same receipt twice": (as_csv([*CLASSIC, CLASSIC[-1]]), Read(lambda read: len(read.rows) == 5)),
    # amounts
    "charges without a minus": (
        as_csv(cell("Withdrawn", "3.24", 8)),
        Read(lambda r: r.rows[0].withdrawn_kes == Decimal("3.24")),
    ),
    "brackets for a minus": (
        as_csv(cell("Withdrawn", "(3.24)", 8)),
        Read(lambda r: r.rows[0].withdrawn_kes == Decimal("3.24")),
    ),
    "thousands": (as_csv(cell("Paid In", "1,200.00")), Read()),
    "thousands by spaces, and the currency": (as_csv(cell("Paid In", "KES 1\u00a0200.00")), Read()),
    "a decimal comma": (as_csv(cell("Paid In", "1.200,00"), delimiter=";"), Read()),
    "three decimals": (as_csv(cell("Paid In", "1.200")), Refused("no amount", PAYMENT)),
    "words for an amount": (as_csv(cell("Paid In", "=1+1")), Refused("no amount", PAYMENT)),
    "no amount": (as_csv(cell("Paid In", "")), Refused("no amount", PAYMENT)),
    "an amount beyond all accounts": (as_csv(cell("Paid In", "1" * 30)), Refused("no amount", PAYMENT)),
    "a number of many decimals": (
        as_xlsx(changed(typed(CLASSIC), PAYMENT, "Paid In", 0.123)),
        Refused("no amount", PAYMENT),
    ),
    "a number that is none": (sheet_with(SHEET.replace("<v>1200</v>", "<v>NaN</v>")), Refused("no amount", PAYMENT)),
    "a number beyond all numbers": (
        sheet_with(SHEET.replace("<v>1200</v>", "<v>1E+300</v>")),
        Refused("no amount", PAYMENT),
    ),
    "a date beyond all dates": (
        sheet_with(SHEET.replace("45943.71990740741", "2958465.9999999", 1)),
        Refused("out of range", 8),
    ),
    "in and out in one row": (as_csv(cell("Withdrawn", "5")), Refused("money in and money out", PAYMENT)),
    "a minus under Paid In": (
        as_csv(cell("Paid In", "-1200.00")),
        Read(
            lambda r: r.rows[1].withdrawn_kes == 1200 and r.rows[1].row_class == RowClass.OTHER and len(r.unknown) == 1
        ),
    ),
    "cents": (as_csv(cell("Paid In", "1200.50")), Read(lambda r: r.rows[1].paid_in_kes == Decimal("1200.50"))),
    "dollars": (as_csv(cell("Currency", "USD")), Refused("currency", PAYMENT)),
    "unquoted thousands": (DAILY_PAYBILL.replace(",0,700", ",0,1,700.00").encode(), Refused("more cells", 2)),
    # balances
    "a broken chain": (as_csv(cell("Balance", "8979.31")), Read(lambda read: read.balance_chain == "broken")),
    "a closing balance that is not reached": (
        as_csv(changed(CLASSIC, 6, 3, "9000.00")),
        Read(lambda read: read.balance_chain == "broken"),
    ),
    "a row without a balance beside rows that have one": (
        as_csv([*NEW, ["UJ10000P00", "2026-10-01 08:00:00", NEW[5][2], "Completed", "5.00", "", ""]]),
        Read(lambda read: read.balance_chain == "broken"),
    ),
    "rows of one second in another order": (
        as_csv([*CLASSIC[:7], CLASSIC[8], CLASSIC[7], *CLASSIC[9:]]),
        Read(lambda read: read.balance_chain == "ok"),
    ),
    "no balances": (
        as_csv([*CLASSIC[:5], *[row[:7] + row[8:] for row in CLASSIC[6:]]]),
        Read(lambda read: read.balance_chain == "absent"),
    ),
    # times
    "no seconds": (as_csv(spread(seconds=False)), Read(lambda r: f"{r.rows[1].at:%d %H:%M:%S}" == "13 17:16:00")),
    "only the time of day": (
        as_csv(cell("Completion Time", "17:16")),
        Read(lambda r: f"{r.rows[1].at:%d %H:%M}" == "13 17:16"),
    ),
    "a time of day past midnight": (
        as_xlsx(changed(cell("Completion Time", time(0, 1)), PAYMENT, 2, "12-10-2025 23:59:58")),
        Read(lambda r: f"{r.rows[1].at:%d %H:%M}" == "13 00:01"),
    ),
    "slashes": (as_csv(cell("Completion Time", "13/10/2025 17:16:40")), Read()),
    "ISO": (as_csv(cell("Completion Time", "2025-10-13 17:16:40")), Read()),
    "ISO with an offset": (as_csv(cell("Completion Time", "2025-10-13T14:16:40Z")), Read()),
    "a serial number": (as_xlsx(cell("Completion Time", 45943.719907407)), Read()),
    "a serial number as text": (as_csv(cell("Completion Time", "45943.71991")), Read()),
    "a date cell whose number was rounded": (
        sheet_with(SHEET.replace("45943.71990740741", "45943.719902")),
        Read(lambda r: r.rows[1].at.isoformat() == "2025-10-13T17:16:40+03:00"),
    ),
    "month before day": (as_csv(spread(american=True)), Refused("month before the day", 8)),
    "day and month swapped": (
        as_csv(cell("Completion Time", "10-11-2025 17:16:40")),
        Refused("changed places", PAYMENT),
    ),
    "swapped where it could": (
        as_xlsx([CLASSIC[6], *changed(CLASSIC, PAYMENT, 1, datetime(2025, 10, 3, 17, 16, 40))[7:]]),  # noqa: DTZ001
        Refused("took days for months"),
    ),
    "no date": (as_csv(cell("Completion Time", "")), Refused("no completion time", PAYMENT)),
    "a day without a time": (as_csv(cell("Completion Time", "13-10-2025")), Refused("without a time", PAYMENT)),
    "midnight": (
        as_xlsx(cell("Completion Time", date(2025, 10, 13))),
        Read(lambda r: f"{r.rows[1].at:%d %H:%M:%S}" == "13 00:00:00"),
    ),
    "a full sheet of an xls": (as_xls([*CLASSIC, *[[""]] * (65_535 - len(CLASSIC)), [" "]]), Refused("full", 65_536)),
    "the 31st of November": (as_csv(cell("Completion Time", "31-11-2025 10:00:00")), Refused("calendar", PAYMENT)),
    "hashes for a date": (as_csv(cell("Completion Time", "########")), Refused("no date", PAYMENT)),
    "true for a date": (as_xlsx(cell("Completion Time", True)), Refused("no date", PAYMENT)),
    # accounts
    "an account as a number": (
        as_xlsx(cell("A/C No.", 850060.0)),
        Read(lambda r: (r.rows[1].account, r.rows[1].account_is_number) == ("INV00042", False)),
    ),
    "an account as a number, and nothing in Details": (
        as_xlsx(changed(cell("A/C No.", 850060.0), PAYMENT, "Details", "Pay Bill")),
        Read(lambda r: (r.rows[1].account, r.rows[1].account_is_number) == ("850060", True)),
    ),
    "an account as a number's text": (
        as_csv(changed(cell("A/C No.", "850060.0"), PAYMENT, "Details", "Pay Bill")),
        Read(lambda r: (r.rows[1].account, r.rows[1].account_is_number) == ("850060", True)),
    ),
    "leading zeros": (
        as_xls(cell("A/C No.", "0085")),
        Read(lambda r: (r.rows[1].account, r.rows[1].account_is_number) == ("0085", False)),
    ),
    "an account that is empty": (as_csv(cell("A/C No.", "")), Read()),
    # words
    "a formula for a name": (
        as_csv(cell("Other Party Info", '=HYPERLINK("http://x","y")')),
        Read(lambda r: r.rows[1].party == '=HYPERLINK("http://x","y")'),
    ),
    "marks that a terminal obeys": (
        as_csv(cell("Other Party Info", "B\x1b[2J\u202eOB")),
        Read(lambda r: r.rows[1].party == "B [2JOB"),
    ),
    "a status nobody knows": (
        as_csv(cell("Transaction Status", "Parked")),
        Read(lambda r: not r.rows[1].completed and ("status Parked", 1) in r.unknown),
    ),
    "a payment that went out": (
        as_csv(changed(cell("Paid In", ""), PAYMENT, "Withdrawn", "1200")),
        Read(lambda r: r.rows[1].row_class == RowClass.OTHER and r.unknown == (("pay bill (out)", 1),)),
    ),
}


def payment_of(statement: Statement, number: int) -> bool:
    return any(row.number == number and row.paid_in_kes == 1200 for row in statement.rows)


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_read_right_or_refused_with_a_remedy(name: str, tmp_path: Path) -> None:
    data, expected = FILES[name]
    file = tmp_path / "statement.xlsx"  # whatever it is
    file.write_bytes(data)
    match expected:
        case Read(holds):
            assert holds(read_statement(file))
        case Refused(says, row, do_now):
            with pytest.raises(UnusableFile) as refused:
                read_statement(file)
            assert says in refused.value.says
            assert refused.value.row == row
            assert do_now in refused.value.do_now


def test_there_are_at_least_forty() -> None:
    assert len(FILES) >= 40


def test_the_process_that_opens_spreadsheets_has_limits() -> None:
    """What fills more memory than there is would take the operator's machine along."""
    program = "from ops.statements import spreadsheet as s; s.main(); import resource as r; " + (
        "print([r.getrlimit(each)[0] for each in (r.RLIMIT_CPU, r.RLIMIT_AS)] == [s.PROCESSOR_S, s.MEMORY_BYTES])"
    )
    ran = subprocess.run([sys.executable, "-c", program], input=XLSX, capture_output=True, check=True, cwd=ROOT)
    assert ran.stdout.endswith(b"True\n") or sys.platform == "darwin"


def test_where_the_system_has_no_such_limits_spreadsheets_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no module `resource`."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/resource.py").write_text("raise ModuleNotFoundError")
    (tmp_path / "statement.xlsx").write_bytes(XLSX)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"))
    assert len(read_statement(tmp_path / "statement.xlsx").rows) == 4


def test_where_the_process_that_opens_spreadsheets_does_not_start_the_file_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise ImportError")
    (tmp_path / "statement.xlsx").write_bytes(XLSX)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UnusableFile, match="did not start"):
        read_statement(tmp_path / "statement.xlsx")


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(UnusableFile, match="no such file"):
            read_statement(path)


def test_a_daily_file_with_a_wrong_day_in_its_name_is_read_all_the_same(tmp_path: Path) -> None:
    for name in (DAILY_NAME.replace("20261001", "20261341"), NEW_NAME.replace("10-01", "13-41")):
        (tmp_path / name).write_bytes(DAILY_PAYBILL.encode())
        assert read_statement(tmp_path / name).starts is None
