"""Alerts about the shop as a whole: when they come, that they come once, and that each says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from ops.__main__ import main
from shared.database import Database
from shared.gateway import check_environment
from shared.gateway.watch import CONDITIONS, Watch
from shared.observability.alerts import TOPICS
from shared.observability.log import is_safe
from shared.payments import Alert
from tests.chaos.customers import nth_order, push
from tests.fixtures.database import Console
from tests.fixtures.shop import Shop, at_once

ROOT = Path(__file__).parents[2]


class Books(Console):
    """Made-up books, and a sweep that looks at them."""

    def __init__(self, url: str) -> None:
        super().__init__(Database(url))
        self.url = url
        self.books.check_once(partial(check_environment, environment="sandbox"))
        self.watch = Watch(self.books)
        self.sweep()

    def sweep(self) -> None:
        """One that gets through, as far as its own heartbeat goes."""
        if self.watch.agenda().had_stopped:
            self.watch.sweep_had_stopped()
        self.watch.sweep_got_through(0)

    def look_is_due(self) -> bool:
        return "look" in self.watch.agenda().due

    def payments(self, count: int, status: str, *, minutes_ago: float = 10, accepted: bool = True) -> None:
        """So many, each of another phone."""
        self.overwrite(
            """
            INSERT INTO transactions (phone_number, amount, account_reference, status, created_at, updated_at,
                                      merchant_request_id, checkout_request_id, paid_at, review_reason)
            SELECT '2547000' || lpad(n::text, 5, '0'), 100, 'R' || n, CAST(:status AS text), at, at,
                   CASE WHEN :accepted THEN gen_random_uuid()::text END,
                   CASE WHEN :accepted THEN gen_random_uuid()::text END,
                   CASE WHEN :status = 'PAID' THEN at END, CASE WHEN :status = 'REVIEW' THEN 'silence' END
            FROM generate_series(1, CAST(:count AS int)) n, (SELECT now() - interval '1 minute' * :minutes AS at) moment
            """.replace(":minutes", str(minutes_ago)),
            status=status,
            count=count,
            accepted=accepted,
        )

    def told_by_query(self, count: int) -> None:
        self.payments(count, "PAID", minutes_ago=30)
        self.overwrite(
            """
            INSERT INTO query_answers (transaction_id, answered_at, result_code, outcome)
            SELECT id, now() - interval '10 minutes', '0', 'paid' FROM transactions WHERE callback_received_at IS NULL
            """
        )

    def a_callback(self, minutes_ago: int, outcome: str = "paid") -> None:
        self.overwrite(
            f"""
            INSERT INTO callback_inbox (transaction_id, received_at, body, outcome, next_try_at, judged_at)
            VALUES (gen_random_uuid(), now() - interval '{minutes_ago} minutes', '', '{outcome}', NULL, now())
            """
        )

    def unsent_invoices(self, count: int) -> None:
        self.overwrite(
            """
            INSERT INTO outbox (kind, topic, last_error, next_try_at, tries)
            SELECT 'invoice', 'again', 'refused', NULL, 3 FROM generate_series(1, CAST(:count AS int))
            """,
            count=count,
        )

    def age(self, **interval: float) -> None:
        ((unit, amount),) = interval.items()
        for table, columns in {
            "incidents": ("since", "seen_at", "alerted_at"),
            "sweeps": ("began_at", "looked_at", "asleep_until"),
            "installation": ("stamped_at",),
        }.items():
            earlier = ", ".join(f"{column} = {column} - interval '{amount} {unit}'" for column in columns)
            self.overwrite(f"UPDATE {table} SET {earlier}")

    def look(self) -> list[str]:
        """The next look: the last one was five minutes ago."""
        self.age(minutes=5)
        return self.watch.look()

    def outbox(self, topic: str) -> list[dict[str, object]]:
        rows = self.rows("SELECT facts FROM outbox WHERE topic = :topic ORDER BY id", topic=topic)
        return [row["facts"] for row in rows]


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    made = Books(database_url)
    yield made
    made.books.close()


# When each comes ------------------------------------------------------------------------------------------------------


def test_a_quiet_shop_has_no_alert(books: Books) -> None:
    assert books.look() == []


def test_callbacks_that_never_come_while_customers_pay(books: Books) -> None:
    books.told_by_query(1)
    assert books.look() == []
    books.told_by_query(1)
    assert books.look() == ["callbacks_missing"]


def test_a_test_callback_is_none_that_came(books: Books) -> None:
    books.told_by_query(2)
    books.a_callback(1, "test")
    assert books.look() == ["callbacks_missing"]


def test_a_shop_that_has_callbacks_may_lose_some(books: Books) -> None:
    books.a_callback(60)
    books.told_by_query(4)
    assert books.look() == []
    books.told_by_query(1)
    assert books.look() == ["callbacks_missing"]


def test_one_callback_that_comes_again_ends_it(books: Books) -> None:
    books.told_by_query(9)
    books.a_callback(1)
    assert books.look() == []


@pytest.mark.parametrize(
    ("failed", "paid", "failed_before", "paid_before", "alerts"),
    [
        (3, 0, 10, 200, False),  # three failures at night
        (7, 0, 10, 200, False),
        (8, 2, 10, 200, True),
        (10, 90, 100, 900, False),  # as always
        (18, 82, 100, 900, False),  # more than always, as happens
        (25, 75, 100, 900, True),
        (25, 75, 300, 700, False),  # a shop with many failures has them always
        (5, 3, 0, 0, False),  # no past
        (9, 1, 0, 0, True),
        (30, 1970, 0, 5000, False),
        (200, 1800, 0, 5000, True),
    ],
)
def test_failures_beyond_what_the_shop_is_used_to(
    books: Books, failed: int, paid: int, failed_before: int, paid_before: int, alerts: bool
) -> None:
    books.payments(failed, "FAILED")
    books.payments(paid, "PAID")
    books.payments(failed_before, "CANCELLED", minutes_ago=3 * 24 * 60)
    books.payments(paid_before, "PAID", minutes_ago=2 * 24 * 60)
    assert books.look() == (["failure_rate"] if alerts else [])


def test_pushes_that_are_never_accepted(books: Books) -> None:
    books.payments(1, "PAID", minutes_ago=90)
    books.payments(2, "FAILED", accepted=False)
    assert books.look() == []
    books.payments(1, "FAILED", accepted=False)
    assert books.look() == ["no_push_accepted"]
    books.payments(1, "PENDING", minutes_ago=1)
    books.age(hours=2)
    assert books.look() == []


def test_pushes_that_one_phone_is_refused_are_not_the_shops_trouble(books: Books) -> None:
    for _ in range(4):
        books.payments(1, "FAILED", accepted=False)
    assert books.look() == []


def test_mail_that_fails(books: Books) -> None:
    books.unsent_invoices(2)
    assert books.look() == []
    books.unsent_invoices(1)
    assert books.look() == ["mail_failing"]
    books.overwrite("INSERT INTO outbox (kind, topic, sent_at, next_try_at) VALUES ('invoice', 'again', now(), NULL)")
    books.age(hours=2)
    assert books.look() == []


def test_work_that_stays_where_it_is(books: Books) -> None:
    books.payments(1, "PENDING", minutes_ago=74)
    assert books.look() == []
    books.payments(1, "UNCERTAIN", minutes_ago=76)
    assert books.look() == ["work_stuck"]
    assert books.outbox("work_stuck") == [{"payments": 1, "callbacks": 0, "messages": 0, "reminder": False}]


def test_work_for_a_person_alerts_again_every_day(books: Books) -> None:
    books.payments(2, "REVIEW", minutes_ago=23 * 60)
    assert books.look() == []
    books.payments(2, "REVIEW", minutes_ago=25 * 60)
    assert books.look() == ["review_waiting"]
    for _ in range(26):  # a look every 55 minutes
        books.age(minutes=50)
        assert books.look() == []
    books.age(minutes=50)
    assert books.look() == ["review_waiting"]
    assert [facts["reminder"] for facts in books.outbox("review_waiting")] == [False, True]


def test_dead_letters_that_wait_for_a_day(books: Books) -> None:
    books.overwrite(
        """
        INSERT INTO callback_inbox (transaction_id, body, outcome, next_try_at, judged_at)
        VALUES (gen_random_uuid(), '', 'dead_letter', NULL, now() - interval '25 hours')
        """
    )
    assert books.look() == ["callbacks_waiting"]


def test_books_that_nobody_compares_with_statements_any_more(books: Books) -> None:
    assert books.look() == []
    books.overwrite(
        """
        INSERT INTO statement_files (sha256, family, starts, ends, row_count, balance_chain, who)
        VALUES (repeat('0', 64), 'A', now() - interval '64 days', now() - interval '34 days', 1, 'ok', 'amina')
        """
    )
    assert books.look() == []
    books.overwrite("UPDATE statement_files SET ends = ends - interval '25 hours'")
    books.overwrite(
        "INSERT INTO statement_files VALUES (repeat('1', 64), 'A', NULL, now(), now(), 1, 'broken', 'amina')"
    )
    assert books.look() == ["not_reconciled"]
    assert books.outbox("not_reconciled") == [{"days": 35, "reminder": False}]


# Once ----------------------------------------------------------------------------------------------------------------


def test_an_incident_alerts_once_and_again_when_it_comes_back(books: Books) -> None:
    books.unsent_invoices(3)
    assert [books.look() for _ in range(3)] == [["mail_failing"], [], []]
    books.age(minutes=61)  # nobody saw it for an hour: that was the end of it
    assert books.look() == ["mail_failing"]
    assert [facts["reminder"] for facts in books.outbox("mail_failing")] == [False, False]


def test_the_whole_shop_is_looked_at_every_five_minutes(books: Books) -> None:
    for _ in range(2):
        books.age(minutes=5)
        assert [books.look_is_due() for _ in range(2)] == [True, True], "a sweep that dies leaves it to the next"
        books.watch.look()
        assert not books.look_is_due()


def test_sweeps_that_overlap_alert_once(books: Books) -> None:
    books.unsent_invoices(3)
    sweeps = [Books(books.url) for _ in range(8)]
    for _ in range(3):
        books.age(minutes=61)
        with ThreadPoolExecutor(len(sweeps)) as pool:
            told = list(pool.map(lambda sweep: sweep.watch.look(), sweeps))
        assert sorted(told) == [[]] * 7 + [["mail_failing"]]
    for sweep in sweeps:
        sweep.books.close()
    assert len(books.outbox("mail_failing")) == 3


# The sweep itself -----------------------------------------------------------------------------------------------------


def test_the_first_sweep_after_a_gap_says_so(books: Books) -> None:
    books.sweep()
    books.age(minutes=9)
    books.sweep()
    assert books.outbox("sweep_stopped") == []
    books.age(minutes=47)
    for _ in range(2):
        books.sweep()
    assert books.outbox("sweep_stopped") == [{"minutes": 47, "runs_again": True, "reminder": False}]


def test_status_notices_that_no_sweep_runs_and_alerts_once(shop: Shop) -> None:
    transaction_id = shop.pay().body["transaction_id"]
    shop.sweep()
    shop.age(9 * 60)
    shop.status(transaction_id)
    assert "sweep_stopped" not in "\n".join(shop.logged)
    shop.age(120)
    replies = at_once(shop.other_instances(3), lambda instance: instance.status(transaction_id).status)
    assert replies == [200, 200, 200]
    shop.status(transaction_id)
    shop.sweep()
    row = shop.row(
        "SELECT count(*) AS alerts, count(sent_at) AS sent FROM outbox WHERE topic = 'sweep_stopped' AND kind = 'alert'"
    )
    assert row == {"alerts": 1, "sent": 1}
    shop.close()
    told = re.findall(r'.*"alert":"sweep_stopped".*', "\n".join(shop.logged))
    assert len(told) == 1
    assert '"runs_again":false' in told[0]


def test_a_shop_whose_sweep_never_ran_gets_the_alert(shop: Shop) -> None:
    transaction_id = shop.pay().body["transaction_id"]
    shop.age(11 * 60)
    assert shop.status(transaction_id).status == 200
    assert "'alert': 'sweep_stopped'" in "\n".join(shop.logged)


def test_an_alert_that_no_sweep_runs_costs_no_customer_their_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction_id = shop.pay().body["transaction_id"]
    shop.age(11 * 60)

    def broken(_: Watch) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Watch, "sweep_is_late", broken)
    assert shop.status(transaction_id).body["status"] == "pending"


# Each says what to do -------------------------------------------------------------------------------------------------


def every_topic() -> set[str]:
    """Every topic that the code writes into the outbox."""
    sources = [*ROOT.glob("shared/**/*.py"), *ROOT.glob("ops/*.py")]
    text = "\n".join(source.read_text("utf-8") for source in sources)
    literal = re.findall(r"'alert', '([a-z_]+)'", text)
    named = re.findall(r'_alert_hourly\(\w+, "([a-z_]+)"\)', text)
    closed = re.findall(r'_closed\(gateway, entry, "([a-z_]+)"', text)
    once_an_hour = re.findall(r'ALERT_ONCE_AN_HOUR, topic="([a-z_]+)"', text)
    elsewhere = ("sweep_stopped", "mail_stopped", "letter_template", "silent_in_review")
    literal = [topic for topic in literal if topic not in ("webhook", "alert_mail")]  # lists of kinds
    return {*literal, *named, *closed, *once_an_hour, *CONDITIONS, *elsewhere, *(each.value for each in Alert)}


def test_every_alert_has_its_words() -> None:
    assert every_topic() == set(TOPICS)


def test_the_runbook_has_a_section_for_every_alert_and_for_no_other() -> None:
    page = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    chapter = page[page.index("## An alert came") : page.index("## Payments in review")]
    sections = dict(re.findall(r"^#### `(\w+)`\n\n(.+?)(?=^#|\Z)", chapter, re.MULTILINE | re.DOTALL))
    assert sections.keys() == TOPICS.keys()
    assert [topic for topic, text in sections.items() if len(text) < 60] == []


def test_the_words_of_an_alert_may_be_written() -> None:
    for topic in TOPICS.values():
        assert is_safe("says", topic.says)
        assert is_safe("do_now", topic.do_now)


def test_an_alert_has_one_shape(shop: Shop) -> None:
    shop.sweep()
    shop.calls_back(push(shop, nth_order(1)).transaction_id, Amount=102)
    shop.age(30 * 60)
    shop.sweep()
    alerts = [line for line in shop.logged if "'msg': 'alert'" in line]
    assert len(alerts) == 2
    for line in alerts:
        for field in ("alert", "since", "says", "do_now", "runbook"):
            assert f"'{field}': '" in line


# The operator's own look ----------------------------------------------------------------------------------------------


def test_ops_alerts_shows_open_incidents_and_alerts(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    books.unsent_invoices(3)
    books.look()
    assert main(["alerts"], {"DATABASE_URL": books.url}) == 1, "while an incident is open"
    told = capsys.readouterr()
    assert "mail_failing since" in told.out
    assert TOPICS["mail_failing"].do_now in told.out
    assert "invoices 3  (not sent yet: the sweep sends it)" in told.out
    assert told.err == ""


def test_every_command_on_the_books_says_that_no_sweep_comes(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    books.age(minutes=35)
    assert main(["review", "list"], {"DATABASE_URL": books.url}) == 0
    assert "no sweep has got through for 35 minutes" in capsys.readouterr().err
    assert main(["alerts"], {"DATABASE_URL": books.url}) == 1
