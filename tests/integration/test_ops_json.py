"""Every command of `ops` with `--json`: one document, and an exit code to act on. What is final is asked first."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ops import letters
from ops.__main__ import GROUPS, main
from ops.books import Books
from tests.fixtures.shop import Shop
from tests.fixtures.statement_rows import on_statement

pytestmark = pytest.mark.usefixtures("left_to_the_sweep")
ALICE, BOB, CAROL, DAVE = "254708374149", "254722000000", "254700000007", "254700000008"
WORD = ("--why", "on the statement", "--who", "amina")
INSTANT = re.compile(r"(^|_)(at|since|until)$")
RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
A_BACKUP = "at place size_bytes sha256 recipients server_version client_version migration rows seconds"
NEEDS_NO_DATABASE = (
    "letters", "link", "callback-secret", "audit-secret", "link-secret", "webhook secret", "webhook test",
    "doctor", "backup-key", "backup-secret", "privacy repeat",
)  # fmt: skip
REPEATED = "erased erased_before not_in_the_backup not_yet of_no_payment not_genuine by_hand"
COMMANDS: tuple[tuple[str, int, str], ...] = (
    ("verify", 0, "invariants broken signatures_checked"),
    ("audit verify", 0, "payments rows keys anchors findings"),
    ("audit verify PAID", 0, "payments rows keys anchors findings"),
    ("replay", 0, "decisions differences"),
    ("case PAID", 0, "payments case"),
    ("case TWICE", 0, "payments case"),
    ("case {alice}", 0, "payments case"),
    ("case alice@example.com", 0, "payments case"),
    ("review list", 1, "payments"),
    ("inbox list", 1, "in_all callbacks"),
    ("receipts missing", 0, "payments"),
    ("receipts find UKBYHAND01", 1, "receipt payments callbacks statement_rows not_a_sale do_now commands"),
    ("receipts not-a-sale UKNOSALE01 WORD", 0, "receipt not_a_sale written"),
    ("book UKBYHAND01 WORD --yes", 0, "transaction_id status written"),
    ("alerts", 0, "incidents alerts no_sweep recovering"),
    ("limits", 0, "limits used evidence recommended reasons"),
    ("doctor", 0, "checks"),
    ("link --amount 1500 --reference INV2041 --page https://shop.example/pay.html", 0, "order url valid_until"),
    ("callback-secret", 0, "secret"),
    ("audit-secret", 0, "secret"),
    ("link-secret", 0, "secret"),
    ("backup-secret", 0, "secret"),
    ("backup-key {folder}/key.txt", 0, "recipient fingerprint file"),
    (f"backup --to {{folder}}/backups --recipient {RECIPIENT}", 0, A_BACKUP),
    ("drill {folder}/none.age --identity {folder}/key.txt --who amina", 2, "error"),
    ("privacy check", 0, "findings"),
    ("privacy export {alice} --out {folder}/alice.json", 0, "file payments"),
    ("privacy erase {alice} --why asked --dry-run", 1, "dry_run erased not_yet advice"),
    ("privacy purge --dry-run", 0, "dry_run rules advice"),
    ("reconcile --status", 1, "last_day_covered days_not_covered closed_months open_by_age_days differences"),
    ("close 2020-01 WORD --yes --to {folder}/2020-01.html", 0, "month closed file facts"),
    ("refund PAID WORD", 0, "transaction_id amount_kes mpesa_receipt_number state written order_sent_at steps"),
    ("golive --status", 1, "steps"),
    ("golive --done doctor WORD", 1, "steps"),
    ("refund list", 1, "refunds"),
    ("refund PAID --drop WORD", 0, "transaction_id amount_kes mpesa_receipt_number state written order_sent_at steps"),
    ("sales", 0, "from to rows by_day by_item"),
    ("sales --unsent", 0, "from to rows by_day by_item"),
    ("webhook secret", 0, "secret"),
    ("webhook test", 1, "delivered why_not"),
    ("letters check", 0, "own found"),
    ("letters show {folder}/letters", 0, "files errors"),
    ("letters edit invoice", 0, "files"),
    ("inbox retry", 0, "judged failed"),
    ("invoice resend PAID WORD", 0, "transaction_ids"),
    ("review fail REVIEWED WORD --yes", 0, "transaction_id status"),
    ("review reopen REVIEWED WORD --yes", 0, "transaction_id status"),
    ("review pay LATER --receipt UE4JS31RBW WORD --yes", 0, "transaction_id status"),
    ("review refunded LATER --receipt UE5AA11BBC WORD --yes", 0, "transaction_id status"),
    ("review reopen LATER WORD --yes", 0, "transaction_id status"),
    ("review refunded LATER --receipt UE5AA11BBC WORD --yes", 0, "transaction_id status"),
    ("webhook resend --failed", 0, "transaction_id events"),
    ("sent PAID WORD", 0, "transaction_id sent_by sent_at"),
    ("privacy erase {dave} WORD --yes", 1, "dry_run erased not_yet advice"),
    ("privacy purge --yes", 0, "dry_run rules advice"),
    ("privacy repeat README.md --yes", 0, REPEATED),
    ("restore finish", 1, "error"),
)
"""The command, its exit code, the keys of its document."""


@pytest.fixture
def history(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Paid, cancelled and paid, two in review, a dead letter."""
    monkeypatch.setattr(letters.run, "__defaults__", (tmp_path / "own",))
    paid = shop.settled(account_reference="PAID", note="The blue gate")
    shop.settled({"code": "1032", "desc": "Request cancelled by user"}, phone_number=BOB, account_reference="TWICE")
    shop.settled(phone_number=BOB, account_reference="TWICE", amount=20)
    shop.settled({"code": "7777", "desc": "Something new"}, phone_number=CAROL, account_reference="REVIEWED")
    shop.settled({"code": "7777", "desc": "Something new"}, phone_number=DAVE, account_reference="LATER")
    shop.sweep()
    shop.rows(
        f"""
        WITH dead AS (
            UPDATE callback_inbox SET outcome = 'dead_letter' WHERE transaction_id = '{paid}' RETURNING transaction_id)
        INSERT INTO outbox (kind, topic, transaction_id) SELECT 'alert', 'dead_letter', transaction_id FROM dead
        RETURNING id
        """
    )
    on_statement(shop, "UKBYHAND01", account="by hand")
    on_statement(shop, "UKNOSALE01")
    shop.history_is_made_up = True
    return shop


def run(shop: Shop, command: str, folder: Path, *more: str) -> int:
    return main([*words_of(command, folder), *more], {**os.environ, "DATABASE_URL": shop.database_url})


def words_of(command: str, folder: Path) -> list[str]:
    words = command.format(alice=ALICE, dave=DAVE, folder=folder).split()
    return [part for word in words for part in (WORD if word == "WORD" else (word,))]


def test_every_command_prints_one_document(
    history: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDER_WEBHOOK_URL", "http://127.0.0.1:1/orders")
    monkeypatch.setenv("ORDER_WEBHOOK_SECRET", "whsec_" + "c" * 32)
    private = history.private() - {"Alice"}
    wrong = []
    for command, code, keys in COMMANDS:
        ended = run(history, command, tmp_path, "--json")
        printed = capsys.readouterr()
        document = json.loads(printed.out)
        assert (ended, sorted(document)) == (code, sorted(keys.split())), (command, printed)
        wrong += [f"{command}: {problem}" for problem in problems(document)]
        in_text = ""
        if not re.search(r"WORD|--yes|--out|--to|-key|edit|link|retry|resend|secret", command):
            assert run(history, command, tmp_path) == code
            in_text = capsys.readouterr().out
        not_shown = private if "secret" not in keys else set()
        wrong += [f"{command}: {value}" for value in not_shown if value in printed.out and value not in in_text]
    assert wrong == []


def problems(value: Any, key: str = "") -> Iterator[str]:
    """What a program could not read in one way."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from problems(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from problems(each, key)
    elif value is not None and not is_plain(key, value):
        yield f"{key} is {value!r}"


def is_plain(key: str, value: Any) -> bool:
    if INSTANT.search(key):
        return datetime.fromisoformat(value).tzinfo is not None
    return type(value) is int if key.endswith("_kes") else not isinstance(value, float)


def test_the_table_has_every_command() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    for group in GROUPS:
        group.add_commands(commands)
    tried = [command for command, _, _ in COMMANDS]
    missing = [name for name in leaves(parser) if not any(f"{each} ".startswith(f"{name} ") for each in tried)]
    assert missing == []


def leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for word, command in group.choices.items():
            yield from leaves(command, f"{name} {word}".strip())
    if not groups:
        yield name


BOOKS = "SELECT id, status, updated_at, customer_name FROM transactions ORDER BY id"


# When it cannot be done -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("nonsense", 2, "wrong_use"),
        ("review", 2, "wrong_use"),
        ("review fail REVIEWED", 2, "wrong_use"),
        ("limits --nonsense", 2, "wrong_use"),
        ("sent REVIEWED", 1, "refused"),
        ("audit verify --anchor nonsense", 2, "wrong_use"),
        ("privacy export {alice} --out {folder}/no/such/folder", 2, "wrong_use"),
        ("case NOSUCHTHING", 1, "refused"),
        ("review fail NOSUCHTHING WORD --yes", 1, "refused"),
        ("review fail TWICE WORD --yes", 1, "refused"),
        ("review fail PAID WORD --yes", 1, "refused"),
        ("review fail REVIEWED --why x", 1, "refused"),
        ("privacy erase {dave} --why x", 1, "refused"),
        ("privacy purge", 1, "refused"),
    ],
)
def test_an_error_is_a_document_too_and_nothing_is_written(
    history: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, code: int, error: str
) -> None:
    before = history.rows(BOOKS)
    assert run(history, command, tmp_path, "--json") == code
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["error"]["code"], printed.err) == (error, "")
    assert run(history, command, tmp_path) == code
    assert capsys.readouterr() == ("", f"ops: {document['error']['says']}\n")
    assert history.rows(BOOKS) == before


@pytest.mark.parametrize("command", [each for each, _, _ in COMMANDS if not each.startswith(NEEDS_NO_DATABASE)])
def test_without_a_database_that_answers_a_command_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    environ = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "AUDIT_SECRET": "s" * 40}
    assert main([*words_of(command, tmp_path), "--json"], environ) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "database_unavailable"


@pytest.mark.parametrize("command", ["verify", "alerts", "case X", "review list", "limits", "replay"])
def test_a_database_without_tables_is_named_with_what_to_do(
    empty_database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([*command.split(), "--json"], {**os.environ, "DATABASE_URL": empty_database_url}) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "not_migrated"
    assert "make migrate" in error["do_now"]


def test_a_mistake_of_our_own_is_neither_a_refusal_nor_work_for_anybody(
    history: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Books, "in_review", lambda _: 1 // 0)
    assert run(history, "review list --json", tmp_path) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"]["code"] == "internal"
    assert "Traceback" in printed.err


# Asking ---------------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code", "status"), [("yes\n", 0, "FAILED"), ("y\n", 1, "REVIEW"), ("", 1, "REVIEW")])
def test_what_is_final_is_shown_and_asked(
    history: Shop,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    code: int,
    status: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert run(history, "review fail REVIEWED --why unpaid --json", tmp_path) == code
    printed = capsys.readouterr()
    assert re.search(r"REVIEW +KES 1,500 +REVIEWED .*\n.*becomes FAILED.*\nThis is final", printed.err)
    assert ("error" in json.loads(printed.out)) == bool(code)
    assert history.row("SELECT status FROM transactions WHERE account_reference = 'REVIEWED'") == {"status": status}


def test_an_erasure_is_shown_by_its_dry_run(
    history: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    history.age(3 * 86_400)
    assert run(history, f"privacy erase {BOB} WORD", tmp_path) == 1
    assert "2 payments would be without the person" in capsys.readouterr().err
    assert history.rows("SELECT id FROM erasures") == []
