"""A refund, from the wish to the statement's row: asked for, reversed in the portal, recorded, confirmed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.shop import CUSTOMER, Shop, at_once
from tests.fixtures.statement_rows import on_statement

WHY = ("--why", "the bag was torn", "--who", "amina")
BACK = "UE5AA11BBC"


@pytest.fixture
def said(shop: Shop, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command: its exit code and its document."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = shop.ops(*words, "--json")
        return code, json.loads(capsys.readouterr().out)

    return run


def test_a_refund_is_asked_for_recorded_and_confirmed_by_the_statement(shop: Shop, said: Any) -> None:
    paid = shop.settled()
    receipt = shop.row("SELECT mpesa_receipt_number AS number FROM payment_confirmations")["number"]
    code, asked = said("refund", receipt, *WHY)
    assert (code, asked["state"], asked["written"], asked["mpesa_receipt_number"]) == (0, "asked", True, receipt)
    assert any(receipt in step for step in asked["steps"])
    assert shop.payment(paid)["status"] == "PAID", "no money moved, so the books say so"

    code, waiting = said("refund", "list")
    assert code == 1
    assert [(it["transaction_id"], it["state"], it["asked_by"], it["why"]) for it in waiting["refunds"]] == [
        (paid, "asked", "amina", "the bag was torn")
    ]
    assert shop.ops("review", "refunded", paid, "--receipt", BACK, *WHY) == 0
    shop.sweep()
    assert [mail["subject"] for mail in shop.letters() if "efund" in str(mail["subject"])], "the customer hears of it"
    assert [mail for mail in shop.letters(to_the_shop=True) if "efund" in str(mail["subject"])], "and the shop"

    code, waiting = said("refund", "list")
    assert (code, [it["state"] for it in waiting["refunds"]]) == (0, ["recorded"])
    on_statement(shop, BACK, "0", withdrawn="1500", **{"class": "reversal"})
    assert said("refund", "list") == (0, {"refunds": []})


def test_a_refund_that_the_statements_do_not_have_is_marked(shop: Shop, said: Any) -> None:
    paid = shop.settled()
    on_statement(
        shop,
        shop.row("SELECT mpesa_receipt_number AS r FROM payment_confirmations")["r"],
        withdrawn="23",
        **{"class": "charge"},
    )
    assert shop.ops("review", "refunded", paid, "--receipt", BACK, *WHY) == 0
    shop.overwrite(
        "UPDATE statement_files SET starts = now() - interval '1 day', ends = now() + interval '1 hour',"
        " balance_chain = 'broken'"
    )
    assert [it["state"] for it in said("refund", "list")[1]["refunds"]] == ["recorded"], "such a file covers nothing"
    shop.overwrite("UPDATE statement_files SET balance_chain = 'ok'")
    code, waiting = said("refund", "list")
    assert (code, [it["state"] for it in waiting["refunds"]]) == (1, ["refund_unseen"])


def test_the_packer_does_not_send_what_goes_back(shop: Shop, said: Any) -> None:
    paid = shop.settled()
    assert [row["transaction_id"] for row in said("sales", "--unsent")[1]["rows"]] == [paid]
    assert said("refund", paid, *WHY)[0] == 0
    assert said("sales", "--unsent")[1]["rows"] == []
    code, refused = said("sent", paid, "--who", "juma")
    assert (code, refused["error"]["refund_asked_by"]) == (1, "amina")
    assert shop.payment(paid)["order_sent_at"] is None
    case = said("case", paid)[1]["case"]
    assert "do not send it" in " ".join(case["do_now"])
    assert any("amina asked for a refund. Why: the bag was torn" in it["what"] for it in case["history"])
    assert [command["command"].split()[3:5] for command in case["commands"]] == [
        ["refund", paid],
        ["review", "refunded"],
    ]

    assert said("refund", paid, "--drop", "--why", "they keep it", "--who", "asha")[1]["state"] == "dropped"
    assert said("refund", "list") == (0, {"refunds": []})
    assert [row["transaction_id"] for row in said("sales", "--unsent")[1]["rows"]] == [paid]
    assert said("sent", paid, "--who", "juma")[0] == 0
    assert "marked as sent" in " ".join(said("case", paid)[1]["case"]["do_now"])


def test_two_who_ask_at_once_write_one_wish(shop: Shop) -> None:
    paid = shop.settled()
    assert at_once(range(4), lambda _: shop.ops("refund", paid, *WHY)) == [0] * 4
    assert len(shop.rows("SELECT kind FROM reconciliation_log")) == 1


@pytest.mark.parametrize(
    ("outcome", "says"),
    [({"code": "1032", "desc": "cancelled"}, "no money came"), ("silent", "not known yet")],
)
def test_only_money_that_came_goes_back(shop: Shop, said: Any, outcome: Any, says: str) -> None:
    if outcome == "silent":
        shop.simulator.client.script(CUSTOMER, "ignore")
        payment = str(shop.pay().body["transaction_id"])
    else:
        payment = shop.settled(outcome)
    code, refused = said("refund", payment, *WHY)
    assert (code, says in refused["error"]["says"]) == (1, True)
    assert shop.rows("SELECT 1 FROM reconciliation_log") == []


def test_what_went_back_is_not_asked_for_again(shop: Shop, said: Any) -> None:
    paid = shop.settled()
    assert shop.ops("review", "refunded", paid, "--receipt", BACK, *WHY) == 0
    code, refused = said("refund", paid, *WHY)
    assert (code, BACK in refused["error"]["says"]) == (1, True)
    assert said("refund", paid, "--drop", *WHY)[0] == 1, "nobody asked"
    assert said("refund", paid)[0] == 2, "a reason is needed"


def test_a_wish_is_signed_like_all_that_people_say(shop: Shop) -> None:
    assert shop.ops("refund", shop.settled(), *WHY) == 0
    assert shop.ops("audit", "verify") == 0
    shop.overwrite("ALTER TABLE reconciliation_log DISABLE TRIGGER history_is_kept")
    shop.overwrite("UPDATE reconciliation_log SET why = 'another reason'")
    assert shop.ops("audit", "verify") == 1
    shop.overwrite("UPDATE reconciliation_log SET why = 'the bag was torn'")


def test_the_policy_promises_what_the_list_calls_late(shop: Shop, said: Any) -> None:
    page = (Path(__file__).parents[2] / "public" / "refunds.html").read_text(encoding="utf-8")
    assert "within 3 working days" in page
    assert shop.ops("refund", shop.settled(), *WHY) == 0
    assert "LATE" not in said("refund", "list")[1]["refunds"][0]["do_now"]
    shop.age(4 * 86400)
    assert "LATE" in said("refund", "list")[1]["refunds"][0]["do_now"]
