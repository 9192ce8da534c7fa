"""One list of entries, written as a file of any family and encoding, gives the same rows.

The files are the simulator's, which knows nothing of the reader. A file of any damage is read or refused, and never
ends the command in another way.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.statements.reading import read_statement
from ops.statements.statement import RowClass, Statement, UnusableFile
from shared.values import EAT
from simulator.entries import MONEY_IN, Entry, Kind, Organisation, Way
from simulator.statements import FORMS, Form, file_name, write
from tests.fixtures.soak import Figure, Rounds
from tests.fixtures.statement_files import CLASSIC, DAILY_PAYBILL, NEW, as_csv, as_xls, as_xlsx, typed

ROOT = Path(__file__).parents[2]
STARTS = datetime(2026, 10, 3, tzinfo=EAT)
ENDS = STARTS + timedelta(days=1, seconds=-1)
PAYBILL, TILL = Organisation("654321", "Fictional Traders Ltd"), Organisation("654322", "Fictional Traders", till=True)
CSV_FORMS = [
    replace(FORMS[name], encoding=encoding, delimiter=delimiter)
    for name in ("a.csv", "b.csv")
    for encoding in ("utf-8", "utf-8-sig", "cp1252", "utf-16")
    for delimiter in (",", ";")
]
SPREADSHEETS = [
    *(Form("A", "xlsx", cells=cells, sweep_pairs=False) for cells in ("text", "dates", "serials")),
    *(Form("A", "xls", cells=cells, sweep_pairs=False) for cells in ("text", "dates", "serials")),
    FORMS["b.xlsx"],
]
FOR_PAYBILLS = [*CSV_FORMS, *SPREADSHEETS, FORMS["c-2019.csv"]]
FOR_TILLS = [*CSV_FORMS, *SPREADSHEETS, FORMS["c.csv"]]

CENTS = st.sampled_from([Decimal(0)] * 9 + [Decimal("0.50"), Decimal("0.05")])
AMOUNTS = st.builds(lambda whole, cents: whole + cents, st.integers(1, 250_000).map(Decimal), CENTS)
NAMES = st.text("ABÉ ,;='&-.", max_size=12).map(lambda name: " ".join(f"=A{name}".split()))
ACCOUNTS = st.sampled_from(["INV00041", "0085", "850060", "bob shop", "UT 00091", "a,b", "=1+1", "7.0"])
ENTRY = st.builds(
    lambda kind, second, *, amount, name, account, way, fuliza, failed: Entry(
        kind,
        "",
        STARTS + timedelta(seconds=second),
        amount,
        payer="254700000111" if kind is not Kind.ORGANISATION else "400200",
        name=name,
        account=account,
        way=way,
        fuliza=fuliza,
        status="Failed" if failed and kind is Kind.PAYMENT else "Completed",
    ),
    st.sampled_from([kind for kind in Kind if kind is not Kind.CHARGE]),
    st.integers(0, 86_399),
    amount=AMOUNTS,
    name=NAMES,
    account=ACCOUNTS,
    way=st.sampled_from(Way),
    fuliza=st.booleans(),
    failed=st.integers(0, 9).map(lambda one: one == 0),
)


def numbered(entries: Sequence[Entry]) -> list[Entry]:
    """Each has a receipt of its own, and each payment its charge."""
    found = [replace(entry, receipt=f"UJ3{number:07d}") for number, entry in enumerate(entries)]
    charges = [
        replace(entry, kind=Kind.CHARGE, amount_kes=Decimal("7.50"))
        for entry in found
        if entry.kind is Kind.PAYMENT and entry.status == "Completed"
    ]
    return found + charges


def expected(entries: Sequence[Entry], form: Form, of: Organisation) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for entry in entries:
        if entry.kind is Kind.SETTLEMENT and not form.sweep_pairs:
            continue  # it left another account
        if entry.status != "Completed" and form.family == "C":
            continue
        into = entry.amount_kes if entry.kind in MONEY_IN else Decimal(0)
        out = Decimal(0) if into else entry.amount_kes
        account = entry.account if entry.kind in MONEY_IN and not of.till else None
        row = (entry.receipt, entry.at, RowClass(entry.kind.value), entry.status == "Completed", into, out, account)
        rows.append(row)
        if entry.kind is Kind.SWEEP and form.sweep_pairs:
            rows.append((*row[:4], out, into, None))
    return sorted(rows, key=str)


def found(statement: Statement) -> list[tuple[object, ...]]:
    return sorted(
        (
            (row.receipt, row.at, row.row_class, row.completed, row.paid_in_kes, row.withdrawn_kes, row.account)
            for row in statement.rows
        ),
        key=str,
    )


@pytest.mark.parametrize(("of", "forms"), [(PAYBILL, FOR_PAYBILLS), (TILL, FOR_TILLS)], ids=["paybill", "till"])
def test_one_list_of_entries_gives_the_same_rows_in_every_family_and_encoding(
    of: Organisation, forms: list[Form], tmp_path: Path, rounds: Rounds
) -> None:
    @settings(max_examples=rounds(4, 300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(ENTRY, min_size=1, max_size=25).map(numbered))
    def the_same(entries: list[Entry]) -> None:
        for form in forms:
            path = tmp_path / file_name(form, of, STARTS, ENDS)
            path.write_bytes(write(form, of, entries, STARTS, ENDS))
            statement = read_statement(path)
            assert found(statement) == expected(entries, form, of), form
            assert statement.family == form.family[0]
            assert statement.unknown == ()
            moved = form.family == "A" or any(row.completed for row in statement.rows)
            assert statement.balance_chain == ("ok" if moved and form.family != "C-2019" else "absent"), form
            assert (statement.starts, statement.ends) == (STARTS, ENDS)
            assert of.shortcode in (statement.shortcode, statement.shortcode_in_name)

    the_same()


READ_AND_MEASURE = """
import resource, sys
from pathlib import Path
from ops.statements.reading import read_statement
seen = []
statement = read_statement(Path(sys.argv[1]), seen.append)
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
processor_s = sum(each.ru_utime + each.ru_stime for each in used)
print(len(statement.rows), statement.balance_chain, len(seen), processor_s, sum(each.ru_maxrss for each in used) / 1024)
"""


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_a_day_of_110_000_rows_takes_less_than_a_minute_and_500_mb(
    name: str, tmp_path: Path, rounds: Rounds, figure: Figure
) -> None:
    payments = rounds(1_500, 55_000)
    day = numbered(
        [
            Entry(
                Kind.PAYMENT,
                "",
                STARTS + timedelta(seconds=n * 86_399 // payments),
                Decimal(100),
                "254700000111",
                "A B",
            )
            for n in range(payments)
        ]
    )
    path = tmp_path / name
    path.write_bytes(write(FORMS[name], PAYBILL, day, STARTS, ENDS))
    # by a shell: a process begins with the peak of the one that started it, and pytest has made the file
    program = ["sh", "-c", '"$0" -c "$1" "$2"; exit $?', sys.executable, READ_AND_MEASURE, str(path)]
    measured = subprocess.run(program, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert measured[:2] == [str(2 * payments), "ok"]
    seconds, megabytes = map(float, measured[3:])
    assert int(measured[2]) >= 2 * payments // 1000, "no progress was shown"
    assert seconds < 60
    assert megabytes < 500
    figure(f"{2 * payments:,} rows of {name} took {seconds:.0f} s of a processor and {megabytes:.0f} MB")


WHOLE: dict[str, bytes] = {
    "classic": as_csv(CLASSIC),
    "classic, UTF-16": as_csv(CLASSIC, encoding="utf-16"),
    "new": as_csv(NEW),
    "daily": DAILY_PAYBILL.encode(),
    "xlsx": as_xlsx(typed(CLASSIC)),
    "xls": as_xls(typed(CLASSIC)),
}


def cut(data: bytes, at: int, length: int, instead: bytes) -> bytes:
    at %= len(data)
    return data[:at] + instead + data[at + length :]


@pytest.mark.parametrize("kind", WHOLE)
def test_any_damage_is_read_or_refused_and_never_a_crash(kind: str, tmp_path: Path, rounds: Rounds) -> None:
    many = rounds(8, 2000) if kind.startswith("xls") else rounds(60, 20_000)

    @settings(max_examples=many, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.builds(
            cut,
            st.just(WHOLE[kind]),
            st.integers(0, 10**6),
            st.integers(0, 60),
            st.binary(max_size=8) | st.sampled_from([b'"', b"\r\n", b",,,,", b"9" * 30, b"-", b"\0", b"0001", b"99"]),
        )
    )
    def stands(data: bytes) -> None:
        path = tmp_path / "statement"
        path.write_bytes(data)
        with suppress(UnusableFile):
            rows = read_statement(path).rows
            assert all(row.paid_in_kes >= 0 and row.withdrawn_kes >= 0 for row in rows)

    stands()
