"""The operator's command line, on the books of a shop."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.__main__ import GROUPS, main
from shared import settlement
from shared.database import connection_settings
from shared.gateway.cases import Case
from shared.payments import Decision
from simulator import bodies
from tests.fixtures.database_proxy import Fault, Proxy
from tests.fixtures.shop import CUSTOMER, OTHER_CUSTOMER, Shop

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("left_to_the_sweep")


def paid(shop: Shop, reference: str = "INV00042") -> str:
    return shop.settled(account_reference=reference)


def in_review(shop: Shop) -> str:
    """A payment about which a callback said something that nobody understands."""
    return shop.settled({"code": "7777", "desc": "Something new"}, amount=700, account_reference="REVIEWED")


def test_healthy_books_verify_and_broken_ones_are_named(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = paid(shop)
    assert shop.ops("verify") == 0
    assert "0 broken" in capsys.readouterr().out
    kept = shop.copy_of("invoices")
    number = shop.row("SELECT invoice_number FROM invoices")["invoice_number"]
    shop.overwrite("DELETE FROM invoices")
    assert shop.ops("verify") == 1
    told = capsys.readouterr().out
    assert "BROKEN  one_invoice" in told
    assert "BROKEN  invoice_numbers_have_no_gap" in told
    assert number in told
    assert transaction_id in told
    shop.put_back(kept)


def test_a_case_is_told_in_order(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = paid(shop)
    shop.sweep()
    assert shop.ops("case", transaction_id) == 0
    told = capsys.readouterr().out
    parts = (
        "The order was admitted",
        "Safaricom said: it took the request",
        "It means: the customer is being asked. It was INITIATED and became PENDING.",
        "Safaricom said: 0, success: KES 1,500, receipt",
        "It means: paid. It was PENDING and became PAID.",
        "Invoice sent.",
        "It is PAID; the customer reads “paid”.",
        "Do now: Deliver.",
    )
    assert [told.find(part) for part in parts] == sorted(told.index(part) for part in parts)
    assert [line for line in told.splitlines() if CUSTOMER in line] == [f"  Reach them: +{CUSTOMER}, alice@example.com"]


def case(shop: Shop, capsys: pytest.CaptureFixture[str], transaction_id: str) -> str:
    capsys.readouterr()
    assert shop.ops("case", transaction_id) == 0
    return " ".join(capsys.readouterr().out.split())


def test_a_case_says_what_an_answer_means_and_counts_queries_without_one(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.simulator.client.behave(query_limit_per_minute=0)
    shop.simulator.client.script(CUSTOMER, "cancel", after_s=0, callback_count=0, query=["still_processing"] * 3)
    transaction_id = shop.pay().body["transaction_id"]
    for _ in range(4):
        shop.age(61)
        shop.sweep()
    told = case(shop, capsys, transaction_id)
    assert "We asked, 3 times until" in told
    assert "We asked, and Safaricom said: 1032, “Request cancelled by user”." in told
    assert "It means: not paid. It was PENDING and became CANCELLED." in told
    assert told.index("3 times until") < told.index("1032") < told.index("became CANCELLED")
    assert "Do now: Nothing. The customer may order again." in told


def test_a_case_warns_of_delivering_what_a_later_message_contradicts(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = paid(shop)
    shop.calls_back(transaction_id, MpesaReceiptNumber="UE5AA11BBC")
    told = case(shop, capsys, transaction_id)
    assert "receipt UE5AA11BBC. It means: it does not fit what is on file." in told
    assert "Alert, not sent yet, second_receipt: A second receipt number came" in told
    assert "Do now: Before you deliver, compare with the portal" in told


def test_a_case_warns_of_a_second_payment_while_a_success_waits(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.simulator.client.script(CUSTOMER, "ignore", after_s=0, paid_later_s=0)
    told = case(shop, capsys, shop.called_back(amount=30_000, count=2))
    assert "It means: perhaps paid: Safaricom is asked before it is believed." in told
    assert "Do now: Do not deliver, and do not let the customer pay again" in told


def test_a_case_says_what_the_shop_has_to_put_right(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.simulator.client.script(CUSTOMER, push_answer="wrong_credentials")
    assert shop.pay().status == 502
    told = case(shop, capsys, str(shop.row("SELECT id FROM transactions")["id"]))
    assert "Safaricom said: no. (500.001.1001:" in told
    assert "MPESA_PASSKEY" in told[told.index("Do now:") :]


def test_a_case_names_the_command_for_a_callback_that_nobody_could_judge(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = paid(shop)
    shop.calls_back(transaction_id, raw=b'{"MpesaReceiptNumber","Value":"UE4"\x1b[2J')
    assert shop.outcomes(transaction_id)[-1] == "unreadable"
    told = case(shop, capsys, transaction_id)
    assert "something unreadable" in told
    assert "A callback cannot be read." in told
    assert "\x1b" not in told
    entry = shop.row("UPDATE callback_inbox SET outcome = 'dead_letter' WHERE outcome = 'paid' RETURNING id")["id"]
    assert f"ops inbox retry {entry} # judge that callback" in case(shop, capsys, transaction_id)
    assert shop.ops("inbox", "retry", str(entry)) == 0


def test_a_case_is_found_by_its_receipt_and_its_reference(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = paid(shop)
    receipt = shop.row("SELECT mpesa_receipt_number FROM payment_confirmations")["mpesa_receipt_number"]
    invoice = shop.row("SELECT invoice_number FROM invoices")["invoice_number"]
    checkout_id = shop.payment(transaction_id)["checkout_request_id"]
    entry = str(shop.row("SELECT id FROM callback_inbox")["id"])
    written = (receipt, receipt.lower(), "INV00042", CUSTOMER, "0708 374 149", "+254708374149", "Alice@example.com")
    for clue in (*written, invoice, checkout_id, entry, f" {transaction_id.upper()} "):
        assert shop.ops("case", clue) == 0
        assert transaction_id in capsys.readouterr().out
    assert shop.ops("case", "NOSUCHTHING") == 1


def test_what_waits_for_a_person_is_listed_and_explained(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = in_review(shop)
    assert shop.ops("review", "list") == 1, "somebody has to act"
    told = capsys.readouterr().out
    assert "1 payment waits for a person" in told
    assert transaction_id in told
    assert "unknown_code" in told
    assert shop.ops("case", transaction_id) == 0
    told = capsys.readouterr().out
    assert "Nobody has explained this code." in told
    assert f'python -m ops review pay {transaction_id} --receipt R --why "…"' in told


def test_an_operator_pays_what_the_statement_shows_and_the_invoice_goes_out(shop: Shop) -> None:
    transaction_id = in_review(shop)
    word = ("--receipt", "ue4js31rbv", "--why", "on the statement", "--who", "amina")
    assert shop.ops("review", "pay", transaction_id, *word) == 0
    shop.sweep()
    assert shop.status(transaction_id).body["mpesa_receipt_number"] == "UE4JS31RBV"
    assert len(shop.letters()) == 1
    audit = shop.row("SELECT * FROM audit_log WHERE event = 'OperatorPaid'")
    assert (audit["actor"], audit["reason"], audit["to_status"]) == ("operator amina", "on the statement", "PAID")


def test_a_receipt_that_pays_another_payment_pays_nothing_again(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    first = paid(shop, "FIRST")
    receipt = shop.status(first).body["mpesa_receipt_number"]
    second = in_review(shop)
    for action in ("pay", "refunded"):
        assert shop.ops("review", action, second, "--receipt", receipt, "--why", "I think so") == 1
        assert f"{receipt} belongs to another payment: see `ops case {first}`" in capsys.readouterr().err
    assert shop.status(second).body["status"] == "under_review"


def test_money_goes_back_once_and_under_a_receipt_of_its_own(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    first = paid(shop, "FIRST")
    receipt = shop.status(first).body["mpesa_receipt_number"]
    assert shop.ops("review", "refunded", first, "--receipt", receipt.lower(), "--why", "sent back") == 1
    assert "the receipt of the money that came in" in capsys.readouterr().err
    assert shop.status(first).body["status"] == "paid"
    assert shop.ops("review", "refunded", first, "--receipt", "UE5AA11BBC", "--why", "sent back") == 0
    assert shop.ops("review", "refunded", first, "--receipt", "UE5AA11BBD", "--why", "sent back") == 1
    assert "is REFUNDED and no longer in review" in capsys.readouterr().err
    second = in_review(shop)
    for action in ("pay", "refunded"):
        assert shop.ops("review", action, second, "--receipt", "UE5AA11BBC", "--why", "sent back") == 1
        assert f"belongs to another payment: see `ops case {first}`" in capsys.readouterr().err
    assert shop.payment(first)["refund_receipt"] == "UE5AA11BBC"


def test_what_two_operators_say_at_once_is_done_once(shop: Shop) -> None:
    """They look at the same list. The other one is told that it is done."""
    first, second = in_review(shop), paid(shop, "SECOND")
    orders = [("pay", first, "UE4JS31RBV"), ("pay", first, "UE4JS31RBW"), ("fail", first, None)]
    orders += [("refunded", first, "UE5AA11BBC"), ("refunded", second, "UE5AA11BBC")] * 2
    with ThreadPoolExecutor(max_workers=len(orders)) as pool:
        ended = list(pool.map(lambda who: said(shop, f"operator{who}", *orders[who]), range(len(orders))))
    audit = shop.rows("SELECT * FROM audit_log WHERE event LIKE 'Operator%' AND from_status <> to_status")
    assert ended.count(0) == len(audit)
    assert len([row for row in audit if row["said"] == "UE5AA11BBC"]) == 1
    assert shop.payment(first)["status"] != "REVIEW"


def said(shop: Shop, who: str, action: str, transaction_id: str, receipt: str | None) -> int:
    named = ("--receipt", receipt) if receipt else ()
    return shop.ops("review", action, transaction_id, *named, "--why", "on the statement", "--who", who)


@pytest.mark.parametrize("fault", ["cut after it was done", "cut before it arrives"])
def test_an_operators_word_whose_commit_was_not_answered_is_looked_up(
    shop: Shop, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written, or was not: the operator is told that it is done either way, and it is done once."""
    transaction_id = in_review(shop)
    server, record, written = connection_settings(shop.database_url), Case.record, []

    def first_commit_meets_the_fault(self: Case, decision: Decision) -> bool:
        written.append(decision.outcome)
        done = record(self, decision)
        network.fault = fault if len(written) == 1 else "none"
        return done

    monkeypatch.setattr(Case, "record", first_commit_meets_the_fault)
    with Proxy(Path(str(server.socket_path))) as network:
        network.trigger = b"COMMIT\0"
        through_it = {**os.environ, "DATABASE_URL": network.url(server.database)}
        arguments = ["review", "pay", transaction_id, "--receipt", "UE4JS31RBV", "--why", "on the statement"]
        ended = main([*arguments, "--yes"], through_it)
    assert written == ["paid", "noted" if fault == "cut after it was done" else "paid"]
    assert ended == 0
    assert shop.payment(transaction_id)["status"] == "PAID"
    assert len(shop.rows("SELECT id FROM audit_log WHERE event = 'OperatorPaid' AND from_status <> to_status")) == 1


def test_a_refund_without_a_confirmation_gets_no_receipt_later(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_amount_told=7)
    transaction_id = shop.called_back()
    assert shop.ops("review", "refunded", transaction_id, "--receipt", "UE5AA11BBC", "--why", "sent back") == 0
    for _ in range(2):
        shop.calls_back(transaction_id)
    assert shop.outcomes(transaction_id) == ["to_review", "contradicts", "noted"], "money came under another receipt"
    assert shop.alerts(transaction_id) == {"amount_mismatch", "second_receipt"}
    assert shop.rows("SELECT id FROM payment_confirmations") == []


def test_a_success_after_a_refund_that_names_the_money_which_went_back_alerts_nobody(shop: Shop) -> None:
    transaction_id = in_review(shop)
    assert shop.ops("review", "refunded", transaction_id, "--receipt", "UE5AA11BBC", "--why", "sent back") == 0
    alerts = shop.alerts(transaction_id)
    shop.calls_back(transaction_id)
    assert shop.outcomes(transaction_id) == ["to_review", "noted"]
    assert shop.alerts(transaction_id) == alerts


def test_what_a_person_failed_is_not_held_for_a_query_any_more(shop: Shop) -> None:
    shop.simulator.client.script(
        CUSTOMER, "pay", after_s=0, callback_count=1, query_result={"code": 1032, "desc": "Request cancelled by user"}
    )
    transaction_id = shop.called_back(amount=30_000)
    shop.sweep()
    assert shop.status(transaction_id).body["status"] == "under_review"
    assert shop.ops("review", "fail", transaction_id, "--why", "not on the statement") == 0
    shop.age(3 * 3600)
    shop.sweep()
    told = shop.status(transaction_id).body
    assert (told["status"], "went through" in told["message"]) == ("failed", False)


def test_review_changes_nothing_that_is_not_in_review(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = paid(shop)
    assert shop.ops("review", "fail", transaction_id, "--why", "mistaken") == 1
    assert shop.ops("review", "pay", transaction_id, "--receipt", "UE5AA11BBC", "--why", "mistaken") == 1
    assert "PAID" in capsys.readouterr().err
    assert shop.status(transaction_id).body["status"] == "paid"


@pytest.mark.parametrize(("threshold", "becomes"), [("20000", "pending"), ("250000", "paid")])
def test_what_is_large_is_read_from_the_functions_own_setting(shop: Shop, threshold: str, becomes: str) -> None:
    shop.history_is_made_up = True
    transaction_id = shop.settled(amount=20_001)
    entry = str(shop.row("SELECT id FROM callback_inbox")["id"])
    assert main(["inbox", "retry", entry], {**os.environ, "CONFIRM_ABOVE_KES": threshold}) == 0
    assert shop.status(transaction_id).body["status"] == becomes


def test_a_callback_that_is_judged_again_is_audited_with_who_and_why(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = paid(shop)
    entry = str(shop.row("SELECT id FROM callback_inbox")["id"])
    assert shop.ops("inbox", "retry", entry, "--who", "amina", "--why", "the customer asked") == 0
    audit = shop.rows("SELECT actor, reason, outcome, from_status, to_status FROM audit_log ORDER BY id")[-1]
    assert audit == {
        "actor": "operator amina", "reason": "the customer asked", "outcome": "repeated",
        "from_status": "PAID", "to_status": "PAID",
    }  # fmt: skip
    assert "judged again, by operator amina: the customer asked" in case(shop, capsys, transaction_id)


def test_the_whole_inbox_judged_again_changes_nothing(shop: Shop) -> None:
    """From the raw bytes, in any order: no status, no alert, no mail, and every callback stays what it was."""
    paid(shop)
    client = shop.simulator.client
    for phone, outcome, knobs in (
        ("254722000000", "ignore", {"paid_later_s": 0.1}),
        ("254700000001", "cancel", {}),
        ("254700000002", "pay", {"callback_amount_told": 7}),
        ("254700000003", "pay", {"callback_metadata": "absent"}),
        ("254700000004", {"code": "7777", "desc": "new"}, {}),
    ):
        client.script(phone, outcome, after_s=0, **knobs)
        count = 1 + ("paid_later_s" in knobs)
        shop.called_back(phone_number=phone, account_reference=f"N{phone[-4:]}", count=count)
    believed = shop.row("SELECT transaction_id FROM callback_inbox WHERE outcome = 'to_review' ORDER BY id LIMIT 1")
    assert shop.ops("review", "fail", str(believed["transaction_id"]), "--why", "not on the statement") == 0
    client.behave(query_limit_per_minute=0)
    shop.sweep()
    before, mailed = [shop.rows(kept) for kept in BOOKS], client.mail()
    entries = shop.rows("SELECT id, outcome FROM callback_inbox ORDER BY received_at")
    assert {entry["outcome"] for entry in entries} >= {"paid", "paid_late", "declined", "to_review"}
    for entry in [*reversed(entries), *entries]:
        assert shop.ops("inbox", "retry", str(entry["id"])) == 0
    assert [shop.rows(kept) for kept in BOOKS] == before
    shop.sweep()
    assert client.mail() == mailed
    assert sum("INV-" in mail["subject"] for mail in mailed) == len(shop.rows("SELECT id FROM invoices")) == 3


BOOKS = (
    "SELECT to_jsonb(t) - 'audit_head' - 'audit_length' AS payment FROM transactions t ORDER BY id",
    "SELECT * FROM payment_confirmations ORDER BY id",
    "SELECT * FROM invoices ORDER BY id",
    "SELECT * FROM outbox ORDER BY id",
)


def test_an_entry_that_cannot_be_judged_does_not_hold_up_the_others(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for phone in (CUSTOMER, OTHER_CUSTOMER):
        shop.settled(phone_number=phone)
    first, second = shop.rows("UPDATE callback_inbox SET outcome = 'dead_letter' RETURNING id, received_at")
    broken = str(min(first, second, key=lambda row: row["received_at"])["id"])
    judge = settlement.judge
    monkeypatch.setattr(
        settlement, "judge", lambda gateway, entry, *rest: 1 // (entry.id != broken) and judge(gateway, entry, *rest)
    )
    assert shop.ops("inbox", "retry") == 1
    told = capsys.readouterr().out
    assert f"{broken}: failed, the sweep tries again (ZeroDivisionError" in told
    assert "1 judged again, 1 failed" in told
    shop.age(31)
    monkeypatch.undo()
    shop.sweep()
    assert {row["outcome"] for row in shop.rows("SELECT outcome FROM callback_inbox")} == {"repeated"}


@pytest.mark.parametrize("words", [["inbox", "retry", "nonsense"], ["inbox", "retry"], ["inbox", "retry", "--held"]])
def test_there_may_be_nothing_to_judge_again(shop: Shop, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    paid(shop)
    assert shop.ops(*words) == 1
    assert ("there is no entry nonsense" if "nonsense" in words else "nothing to judge") in capsys.readouterr().err


def test_a_long_list_of_callbacks_shows_the_newest_and_counts_all(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    paid(shop)
    shop.rows("INSERT INTO outbox (kind, topic) VALUES ('alert', 'unknown_transaction') RETURNING id")
    shop.rows(
        """
        INSERT INTO callback_inbox (transaction_id, body, outcome, next_try_at, receipts, received_at)
        SELECT gen_random_uuid(), '', 'unknown_transaction', NULL, ARRAY['UE' || n], now() - interval '1 minute' * n
        FROM generate_series(1, 205) n RETURNING id
        """
    )
    assert shop.ops("inbox", "list") == 0
    told = capsys.readouterr().out
    assert "205 callbacks wait or could not be judged; these are the newest 200" in told
    assert "names receipt UE1\n" in told
    assert "names receipt UE201\n" not in told


def test_a_dead_letter_is_listed_and_judged_again(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = paid(shop)
    entry = shop.row("UPDATE callback_inbox SET outcome = 'dead_letter', last_error = 'x' RETURNING id")["id"]
    assert shop.ops("inbox", "list") == 1, "somebody has to act"
    told = capsys.readouterr().out
    assert str(entry) in told
    assert "dead_letter" in told
    assert shop.ops("inbox", "retry") == 0
    assert shop.outcomes(transaction_id) == ["repeated"]
    assert shop.ops("inbox", "retry", str(entry)) == 0
    assert shop.ops("inbox", "retry") == 1


def test_paid_payments_without_a_receipt_are_listed(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_count=0)
    transaction_id = shop.pay().body["transaction_id"]
    shop.age(25)
    shop.sweep()
    assert shop.status(transaction_id).body["status"] == "paid"
    assert shop.ops("receipts", "missing") == 0
    assert transaction_id in capsys.readouterr().out


def test_the_callback_secret_is_printed_before_credentials_are_rotated(capsys: pytest.CaptureFixture[str]) -> None:
    credentials = {"MPESA_ENV": "sandbox", "MPESA_PASSKEY": "p" * 64, "MPESA_CONSUMER_SECRET": "s" * 20}
    assert main(["callback-secret"], credentials) == 0
    derived = capsys.readouterr().out.strip()
    assert len(derived) == 64
    assert main(["callback-secret"], {"CALLBACK_SECRET": "c" * 40}) == 0
    assert capsys.readouterr().out.strip() == "c" * 40


def test_a_session_that_the_database_ends_gives_a_sentence(shop: Shop) -> None:
    """Not death by SIGPIPE: the process writes to a connection that the server has closed."""
    environ = {**os.environ, "DATABASE_URL": shop.database_url}
    command = [sys.executable, "-c", ENDED_WHILE_IT_WORKS]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("ops: Nothing was done: ")
    done = subprocess.run([*command, "--json"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout)["error"]["code"] == "database_unavailable"


ENDED_WHILE_IT_WORKS = """
import os, runpy, sys
from ops.books import Books
from shared.database import Database

def ended(books):
    with books._database.transaction() as tx:
        (row,) = tx.rows("SELECT pg_backend_pid() AS pid")
        other = Database(os.environ["DATABASE_URL"])
        with other.transaction() as elsewhere:
            elsewhere.rows("SELECT pg_terminate_backend(CAST(:pid AS integer), 5000)", pid=row["pid"])
        for _ in range(3):
            tx.rows("SELECT 1")

Books.in_review = ended
sys.argv = ["ops", "review", "list", *sys.argv[1:]]
runpy.run_module("ops", run_name="__main__")
"""


def test_output_that_nobody_reads_to_its_end_is_no_error(shop: Shop) -> None:
    paid(shop)
    piped = f"set -o pipefail; {shlex.quote(sys.executable)} -m ops verify | (exec <&-)"
    done = subprocess.run(
        ["bash", "-c", piped], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_command_the_commands_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """By what people come for: a customer's question first, keys last; each command once."""
    assert main([], {}) == 0
    listed = re.findall(r"^  (\S+) +\S", capsys.readouterr().out, re.MULTILINE)
    assert (listed[0], listed[-1]) == ("case", "backup-secret")
    commands = argparse.ArgumentParser().add_subparsers()
    for group in GROUPS:
        group.add_commands(commands)
    assert sorted(listed) == sorted(commands.choices)


def test_a_command_without_a_database_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"], {}) == 2
    assert "DATABASE_URL" in capsys.readouterr().err


def test_every_decision_is_taken_again_from_the_evidence(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid(shop)
    second = in_review(shop)
    shop.ops("review", "fail", second, "--why", "not on the statement")
    capsys.readouterr()
    assert shop.ops("replay") == 0
    assert "5 decisions taken again, 0 differences" in capsys.readouterr().out


def test_ids_that_a_repeated_failure_taught_are_replayed(shop: Shop) -> None:
    """It repeats what is known, but from then on a callback with other ids is about another payment."""
    shop.simulator.client.script(CUSTOMER, drop_response=True, reaches_phone=False)
    transaction_id = shop.pay().body["transaction_id"]
    shop.age(16 * 60)
    shop.sweep()
    shop.ops("review", "fail", transaction_id, "--why", "not on the statement")
    for number, code in ((1, 1037), (2, 0), (1, 1037)):
        body = bodies.callback(f"0000-0000-0000-{number}", f"ws_CO_{number}", code, "told by a test", None)
        assert shop.calls_back(transaction_id, raw=body).status == 200
    assert shop.outcomes(transaction_id) == ["repeated", "to_review", "noted"]
    assert shop.ops("replay") == 0


def test_changed_bytes_and_changed_books_show_in_the_replay(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.history_is_made_up = True
    transaction_id = paid(shop)
    shop.overwrite("UPDATE callback_inbox SET body = replace(encode(body, 'escape'), '1500', '1400')::bytea")
    assert shop.ops("replay") == 1
    told = capsys.readouterr().out
    assert f"DIFFERS  {transaction_id}" in told
    assert "gave paid, PAID; now it gives to_review, REVIEW" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "--confirm-above-kes", "abc"),
        ("review", "fail", str(uuid.uuid4()), "--why", " "),
        ("review", "fail", str(uuid.uuid4()), "--why", "x", "--who", ""),
        ("inbox", "retry", "--why", "\x1b[2J"),
        ("review", "fail", str(uuid.uuid4()), "--why", "0708 374 149 called"),
        ("review", "fail", str(uuid.uuid4()), "--why", "+254-708-374149 called"),
        ("review", "fail", str(uuid.uuid4()), "--why", "x", "--who", "alice@example.com"),
    ],
)
def test_a_mistyped_argument_is_explained(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments, {"DATABASE_URL": "postgresql://nobody@127.0.0.1/nothing"}) == 2
    assert "must be" in capsys.readouterr().err
