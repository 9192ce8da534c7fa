"""Whoever owns the database, without the key: history is changed in every way we could think of, and each is seen.

The attacker is a superuser who has switched the triggers off and dropped the constraints, knows this source and has
kept every earlier state of the books. What only an anchor outside can show (a payment that is gone with all its rows,
or is put back to a state that once was) is checked against one; everything else has to show without.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from ops import audit
from shared.audit_chain import AuditKey, Step, head, link, read_step
from shared.database import Database, Row
from shared.gateway.outbox import AnchorDue
from shared.payments import Event, OperatorRefunded, PushAccepted, PushNotSent, PushRefused, QueryConfirmed, TimePassed
from tests.fixtures.database import Console
from tests.fixtures.ledger import KEY, Ledger, ids
from tests.fixtures.soak import Figure, Rounds

ATTACKERS_KEY = AuditKey("what an attacker would have chosen")
PAYMENTS = 12


class Books(Console):
    """A shop's payments, whose history can be changed and put back."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        super().__init__(database)
        self.chance = chance
        self.token = ""
        self.earlier: list[str] = []
        """Every state that a payment was in, as an attacker with backups has them."""

    def copy(self) -> dict[str, list[str]]:
        return self.copy_of("transactions", "audit_log", "installation")

    def any_row(self) -> Row:
        return self.chance.choice(self.rows("SELECT * FROM audit_log ORDER BY id"))

    def two_rows(self, *, of_one: bool) -> tuple[Row, Row]:
        """Of one payment, or of two."""
        rows = self.rows("SELECT * FROM audit_log ORDER BY id")
        one = self.chance.choice([row for row in rows if row["to_status"] != "INITIATED" or not of_one])
        others = [row for row in rows if (row["transaction_id"] == one["transaction_id"]) == of_one and row is not one]
        return one, self.chance.choice(others)

    def history(self, payment: object) -> list[Row]:
        return self.rows("SELECT * FROM audit_log WHERE transaction_id = :id ORDER BY id", id=payment)

    def findings(self, *anchors: str) -> list[audit.Finding]:
        return audit.verify(self.books, [KEY], anchors).findings


@pytest.fixture
def books(ledger: Ledger) -> Books:
    """Payments with one row and with several, in every kind of end."""
    books = Books(ledger.books, random.Random(20260504))
    payments = [ledger.admit() for _ in range(PAYMENTS)]
    stories: list[list[Event]] = [
        [],
        [PushNotSent()],
        [PushRefused()],
        [TimePassed()],
        [PushAccepted(ids(1))],
        [PushAccepted(ids(2)), QueryConfirmed()],
        [PushAccepted(ids(3)), QueryConfirmed(), OperatorRefunded("UE00000006")],
        [PushAccepted(ids(4)), TimePassed(), QueryConfirmed(), OperatorRefunded("UE00000007")],
    ]
    for number, payment in enumerate(payments):
        if number < 4:
            ledger.age(payment, 4000)
        for event in stories[number % len(stories)] if number < len(stories) else [PushAccepted(ids(number))]:
            books.earlier += books.copy_of("transactions")["transactions"]
            ledger.tell(payment, event, response_code="0")
    for table, column in (("audit_log", "at"), ("installation", "stamped_at")):  # an anchor of all of it is due
        books.overwrite(f"UPDATE {table} SET {column} = {column} - interval '2 days'")
    assert not ledger.gateway.anchors.make()
    while not isinstance(due := ledger.gateway.outbox.take(), AnchorDue):
        assert due is not None
    books.token = due.token
    drop_constraints(ledger.books)
    return books


def drop_constraints(database: Database) -> None:
    with database.transaction() as tx:
        for row in tx.rows(
            """
            SELECT conrelid::regclass::text AS of, conname FROM pg_constraint
            WHERE contype IN ('c', 'f', 'u') AND conrelid IN ('audit_log'::regclass, 'transactions'::regclass)
            """
        ):
            tx.run(f"ALTER TABLE {row['of']} DROP CONSTRAINT {row['conname']} CASCADE")
        tx.run("DROP INDEX audit_log_is_one_chain")
        tx.run("ALTER TABLE audit_log ALTER COLUMN id DROP IDENTITY")
        for column in ("transaction_id", "actor", "event", "outcome", "to_status", "place", "link", "link_key"):
            tx.run(f"ALTER TABLE audit_log ALTER COLUMN {column} DROP NOT NULL")


# The attacks ----------------------------------------------------------------------------------------------------------

EVERY_COLUMN = (
    *("id", "at", "transaction_id", "actor", "event", "outcome", "from_status", "to_status", "reason", "inbox_id"),
    *("said", "place", "link", "link_key"),
)
OTHERWISE: dict[str, str] = {
    "id": "id + 1000",
    "at": "at + interval '1 microsecond' * :n",
    "transaction_id": "gen_random_uuid()",
    "inbox_id": "gen_random_uuid()",
    "place": "coalesce(place, 0) + :n",
}


BY_STATEMENTS = {
    # What reads the same when columns are only put one after the other.
    "move_a_value_to_the_next_column":
        "UPDATE audit_log SET actor = actor || left(event, 1), event = substr(event, 2) WHERE id = {row}",
    "delete_a_row": "DELETE FROM audit_log WHERE id = {row}",
    "delete_a_row_and_close_the_gap":
        "DELETE FROM audit_log WHERE id = {row};"
        "UPDATE audit_log SET place = place - 1 WHERE id > {row} AND transaction_id = '{payment}';"
        "UPDATE transactions SET audit_length = audit_length - 1 WHERE id = '{payment}'",
    "change_the_length":
        "UPDATE transactions SET audit_length = audit_length + 1 WHERE id = '{payment}'"
        " | UPDATE transactions SET audit_length = audit_length - 1 WHERE id = '{payment}'"
        " | UPDATE transactions SET audit_length = 0 WHERE id = '{payment}'",
    "change_the_head":
        "UPDATE transactions SET audit_head = NULL WHERE id = '{payment}'"
        " | UPDATE transactions SET audit_head = md5(audit_head) || md5(audit_head) WHERE id = '{payment}'"
        " | UPDATE transactions SET audit_head = reverse(audit_head) WHERE id = '{payment}'",
    "forget_the_chain": "UPDATE transactions SET audit_length = 0, audit_head = NULL WHERE id = '{payment}'",
    "change_the_status":
        "UPDATE transactions SET status = CASE status WHEN 'PAID' THEN 'FAILED' ELSE 'PAID' END WHERE id = '{payment}'",
    "strip_the_signatures":
        "UPDATE audit_log SET place = NULL, link = NULL, link_key = NULL WHERE transaction_id = '{payment}';"
        "UPDATE transactions SET audit_length = 0, audit_head = NULL WHERE id = '{payment}'",
    "move_a_payment_in_time":
        "UPDATE audit_log SET at = at - interval '1 day' WHERE transaction_id = '{payment}';"
        "UPDATE transactions SET created_at = created_at - interval '1 day' WHERE id = '{payment}'",
    "delete_a_payment_alone": "DELETE FROM transactions WHERE id = '{payment}'",
    "delete_a_history_alone": "DELETE FROM audit_log WHERE transaction_id = '{payment}'",
    "delete_a_payment_whole":
        "DELETE FROM audit_log WHERE transaction_id = '{payment}'; DELETE FROM transactions WHERE id = '{payment}'",
    "move_all_of_the_books_in_time":
        "UPDATE audit_log SET at = at - interval '1 day';"
        "UPDATE installation SET stamped_at = stamped_at - interval '1 day'",
}  # fmt: skip
"""Attacks that are plain statements about some row of history and its payment; of several, one is chosen."""


def attack(books: Books, how: str) -> None:
    if how in BY_HAND:
        BY_HAND[how](books)
    else:
        row = books.any_row()
        chosen = books.chance.choice(BY_STATEMENTS[how].split(" | "))
        for statement in chosen.format(row=row["id"], payment=row["transaction_id"]).split(";"):
            books.overwrite(statement)


def edit(books: Books) -> None:
    """One value of one row."""
    column = books.chance.choice(EVERY_COLUMN)
    other = OTHERWISE.get(column, f"left(coalesce({column}, '') || :n, 50)")
    if column in ("reason", "inbox_id", "said", "place", "link", "link_key") and books.chance.random() < 0.3:
        other = "NULL"
    params = {"n": books.chance.choice((-1, 1, 2, 3600_000_000)) if column == "at" else books.chance.randint(1, 9)}
    if ":n" in other:
        other = other.replace(":n", str(params["n"]) if column in ("at", "place") else f"'{params['n']}'")
    books.overwrite(f"UPDATE audit_log SET {column} = {other} WHERE id = :id", id=books.any_row()["id"])


def edit_one_character(books: Books) -> None:
    """As little as can be."""
    column = books.chance.choice(("actor", "event", "outcome", "to_status", "link"))
    row = books.any_row()
    text = row[column]
    at = books.chance.randrange(len(text))
    changed = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
    books.overwrite(f"UPDATE audit_log SET {column} = :changed WHERE id = :id", changed=changed, id=row["id"])


def cut_off_the_end(books: Books) -> None:
    """And tell the payment that this is all there ever was, as far as can be without the key."""
    row = books.any_row()
    payment = row["transaction_id"]
    history = books.history(payment)
    kept = books.chance.randrange(len(history))
    books.overwrite(
        "DELETE FROM audit_log WHERE transaction_id = :payment AND place > :kept", payment=payment, kept=kept
    )
    if books.chance.random() < 0.3:
        return
    heads = [each["audit_head"] for each in books.rows("SELECT audit_head FROM transactions")]
    head_now = books.chance.choice([history[kept - 1]["link"], *heads, None]) if kept else None
    books.overwrite(
        "UPDATE transactions SET audit_length = :kept, audit_head = :head WHERE id = :payment",
        kept=kept,
        head=head_now,
        payment=payment,
    )
    if kept and books.chance.random() < 0.5:
        status = history[kept - 1]["to_status"]
        books.overwrite("UPDATE transactions SET status = :status WHERE id = :payment", status=status, payment=payment)


def reorder(books: Books) -> None:
    """Two rows of a payment exchange their numbers, or all they say."""
    one, other = books.two_rows(of_one=True)
    exchange(
        books, one, other, books.chance.choice((("id",), ("place",), ("id", "place"), EVERY_COLUMN[1:11], ("at",)))
    )


def exchange_between_payments(books: Books) -> None:
    one, other = books.two_rows(of_one=False)
    whole = (
        ("transaction_id",),
        ("transaction_id", "place"),
        EVERY_COLUMN[3:11],
        ("link",),
        ("link", "link_key", "place"),
    )
    exchange(books, one, other, books.chance.choice(whole))


def exchange(books: Books, one: Row, other: Row, columns: tuple[str, ...]) -> None:
    told = ", ".join(f"{name} = o.{name}" for name in columns)
    if "id" in columns:
        books.overwrite("UPDATE audit_log SET id = -id WHERE id = :id", id=one["id"])
        books.overwrite("UPDATE audit_log SET id = :other WHERE id = :id", other=one["id"], id=other["id"])
        books.overwrite("UPDATE audit_log SET id = :other WHERE id = :id", other=other["id"], id=-one["id"])
        columns = columns[1:]
        told = ", ".join(f"{name} = o.{name}" for name in columns)
    if columns:
        books.overwrite(
            f"UPDATE audit_log a SET {told} FROM audit_log o WHERE (a.id, o.id) IN ((:one, :other), (:other, :one))",
            one=one["id"],
            other=other["id"],
        )


def exchange_heads(books: Books) -> None:
    one, other = books.two_rows(of_one=False)
    books.overwrite(
        """
        UPDATE transactions t SET audit_head = o.audit_head, audit_length = o.audit_length FROM transactions o
        WHERE (t.id, o.id) IN ((:one, :other), (:other, :one))
        """,
        one=one["transaction_id"],
        other=other["transaction_id"],
    )


def forge_a_row(books: Books) -> None:
    """One more at the end, signed with a key of the attacker's own, or with what other rows have."""
    payment = books.any_row()["transaction_id"]
    (now,) = books.rows("SELECT * FROM transactions WHERE id = :id", id=payment)
    (stamp,) = books.rows("SELECT stamped_at FROM installation")
    last = books.history(payment)[-1]
    number = books.rows("SELECT max(id) + 1 AS id FROM audit_log")[0]["id"]
    step = Step(
        id=number, transaction_id=str(payment), place=last["place"] + 1, at=last["at"], since=stamp["stamped_at"],
        actor="operator amina", event="OperatorFailed", outcome="declined", from_status=last["to_status"],
        to_status="FAILED", reason="not on the statement", inbox_id=None, said=None,
    )  # fmt: skip
    signed = link(ATTACKERS_KEY, now["audit_head"], step)
    how = books.chance.choice(("own key", "own key under our name", "copied link", "unsigned"))
    unsigned = how == "unsigned"
    books.overwrite(
        """
        INSERT INTO audit_log (id, at, transaction_id, actor, event, outcome, from_status, to_status, reason,
                               place, link, link_key)
        OVERRIDING SYSTEM VALUE
        SELECT :id, at, transaction_id, :actor, :event, :outcome, to_status, :now, :reason,
               CAST(:place AS integer), CAST(:link AS text), CAST(:key AS text)
        FROM audit_log WHERE id = :last
        """,
        id=number, actor=step.actor, event=step.event, outcome=step.outcome, now="FAILED", reason=step.reason,
        place=None if unsigned else step.place,
        link=None if unsigned else last["link"] if how == "copied link" else signed,
        key=None if unsigned else ATTACKERS_KEY.id if how == "own key" else KEY.id, last=last["id"],
    )  # fmt: skip
    books.overwrite(
        """
        UPDATE transactions SET status = 'FAILED', audit_length = audit_length + CAST(:more AS integer),
               audit_head = CASE WHEN :unsigned THEN audit_head ELSE :head END WHERE id = :id
        """,
        more=0 if unsigned else 1,
        unsigned=unsigned,
        head=head(ATTACKERS_KEY, str(payment), step.place, signed),
        id=payment,
    )


def sign_a_payment_anew(books: Books) -> None:
    """All of a payment's rows changed and signed with a key of the attacker's own, under the name of ours."""
    payment = books.any_row()["transaction_id"]
    (stamp,) = books.rows("SELECT stamped_at FROM installation")
    books.overwrite("UPDATE audit_log SET actor = 'operator amina' WHERE transaction_id = :id", id=payment)
    now = ""
    for row in books.history(payment):
        step = read_step(row, stamp["stamped_at"])
        signed = link(ATTACKERS_KEY, now, step)
        now = head(ATTACKERS_KEY, str(payment), row["place"], signed)
        books.overwrite("UPDATE audit_log SET link = :link WHERE id = :id", link=signed, id=row["id"])
    books.overwrite("UPDATE transactions SET audit_head = :head WHERE id = :id", head=now, id=payment)


def say_a_row_again(books: Books) -> None:
    """A row once more, with its own signature: as it was, or as if it came next."""
    row = books.any_row()
    at_the_end = "(SELECT max(place) + 1 FROM audit_log o WHERE o.transaction_id = a.transaction_id)"
    place = books.chance.choice(("place", "place + 1", at_the_end))
    columns = ", ".join(EVERY_COLUMN[1:11])
    books.overwrite(
        f"""
        INSERT INTO audit_log (id, {columns}, place, link, link_key) OVERRIDING SYSTEM VALUE
        SELECT (SELECT max(id) + 1 FROM audit_log), {columns}, {place}, link, link_key FROM audit_log a WHERE id = :id
        """,
        id=row["id"],
    )
    if books.chance.random() < 0.5:
        books.overwrite(
            "UPDATE transactions SET audit_length = audit_length + 1 WHERE id = :id", id=row["transaction_id"]
        )


def insert_a_payment(books: Books) -> None:
    """One that never was, with the history of another."""
    model = books.any_row()["transaction_id"]
    columns = ", ".join(EVERY_COLUMN[1:2] + EVERY_COLUMN[3:])
    books.overwrite(
        """
        INSERT INTO transactions (id, phone_number, amount, account_reference, status, audit_length, audit_head,
                                  paid_at, review_reason, refunded_at, refund_receipt)
        SELECT '00000000-0000-4000-8000-000000000001', phone_number, amount, 'FORGED', status, audit_length, audit_head,
               paid_at, review_reason, refunded_at, NULL
        FROM transactions WHERE id = :model
        """,
        model=model,
    )
    books.overwrite(
        f"""
        INSERT INTO audit_log (id, transaction_id, {columns}) OVERRIDING SYSTEM VALUE
        SELECT (SELECT max(id) FROM audit_log) + row_number() OVER (ORDER BY id),
               '00000000-0000-4000-8000-000000000001', {columns} FROM audit_log WHERE transaction_id = :model
        """,
        model=model,
    )


def put_back_an_earlier_state(books: Books) -> None:
    """The payment as it once was, with its head and length and only the rows of then: signed by us, every bit of it."""
    while True:
        kept = books.chance.choice(books.earlier)
        was = books.row("SELECT (CAST(:kept AS transactions)).*", kept=kept)
        if len(books.history(was["id"])) > was["audit_length"]:
            break
    later = "DELETE FROM audit_log WHERE transaction_id = :id AND place > :length"
    books.overwrite(later, id=was["id"], length=was["audit_length"])
    books.overwrite("DELETE FROM transactions WHERE id = :id", id=was["id"])
    books.put("transactions", [kept])


BY_HAND: dict[str, Callable[[Books], None]] = {
    by_hand.__name__: by_hand
    for by_hand in (
        edit, edit_one_character, cut_off_the_end, reorder, exchange_between_payments, exchange_heads, forge_a_row,
        sign_a_payment_anew, say_a_row_again, insert_a_payment, put_back_an_earlier_state,
    )
}  # fmt: skip
SEEN_FROM_OUTSIDE = ("delete_a_payment_whole", "put_back_an_earlier_state", "move_all_of_the_books_in_time")
TRIED_MORE_OFTEN = ("edit", "edit", "edit", "cut_off_the_end", "reorder", "exchange_between_payments", "forge_a_row")


def test_history_is_not_changed_unseen(books: Books, rounds: Rounds, figure: Figure) -> None:
    whole = books.copy()
    assert books.findings(books.token) == []
    ways: Counter[str] = Counter()
    unseen = []
    times = rounds(100, 1000)
    deck: list[str] = []
    while sum(ways.values()) < times:
        if not deck:  # each in its turn, in an order of chance
            deck = [*BY_STATEMENTS, *BY_HAND, *TRIED_MORE_OFTEN]
            books.chance.shuffle(deck)
        how = deck.pop()
        attack(books, how)
        now = books.copy()
        if now != whole:  # some exchanges put the same in place of the same
            ways[how] += 1
            anchors = (books.token,) if how in SEEN_FROM_OUTSIDE else ()
            unseen += [] if books.findings(*anchors) else [how]
            books.put_back(whole)
    assert books.findings(books.token) == []
    figure(f"{times - len(unseen)} of {times} changes of history were seen, of {len(ways)} kinds")
    assert unseen == []


@pytest.mark.parametrize("how", SEEN_FROM_OUTSIDE)
def test_what_only_an_anchor_outside_shows(books: Books, how: str) -> None:
    """So the anchor is needed, and the attack is as good as it can be: from within nothing is to be seen."""
    attack(books, how)
    books.overwrite("DELETE FROM audit_anchors")
    assert books.findings() == []
    assert books.findings(books.token) != []


def test_each_payment_that_was_tampered_with_is_named(books: Books) -> None:
    row = books.any_row()
    books.overwrite("UPDATE audit_log SET said = 'other' WHERE id = :id", id=row["id"])
    (finding,) = books.findings()
    what = f"row {row['id']} is not what was signed"
    assert (finding.transaction_id, finding.what) == (str(row["transaction_id"]), what)
