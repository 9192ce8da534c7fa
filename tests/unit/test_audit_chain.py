"""What is hashed of the audit log, and how: any difference in meaning is a difference in the hash."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit_chain import NOTHING_YET, Anchor, AuditKey, Step, canonical, head, link, read_anchor

KEY, OTHER_KEY = AuditKey("k" * 40), AuditKey("o" * 40)
STAMPED = datetime(2026, 5, 4, 9, tzinfo=UTC)
STEP = Step(
    id=17,
    transaction_id="0c9e8f1a-0b1c-4d2e-8f3a-5b6c7d8e9f00",
    place=2,
    at=STAMPED + timedelta(hours=1),
    since=STAMPED,
    actor="callback",
    event="Confirmed",
    outcome="paid",
    from_status="PENDING",
    to_status="PAID",
    reason=None,
    inbox_id="7d0f6f6c-7e1d-4c4e-9a57-0d0e4f7c1a2b",
    said="0",
)
PARTS = st.lists(st.none() | st.text() | st.integers())


def test_the_encoding_of_version_1_never_changes() -> None:
    """History is verified for years: another encoding is another version."""
    assert canonical("lipa audit link 1", None, "", 7, "é") == "17:lipa audit link 1-0:1:72:é".encode()
    assert KEY.id == "8d2de59e"
    assert link(KEY, NOTHING_YET, STEP) == "1864d58e561fd94b7279c0bbc41fbe0658391c1292d41d862ffcd14c2cf788bf"
    assert (
        head(KEY, STEP.transaction_id, 2, "ab" * 32)
        == "9075786deb50c66aa32d8193ba10f488524b020a381b99562c32ac2080ef66b4"
    )


@given(PARTS, PARTS)
def test_no_two_lists_of_parts_give_the_same_bytes(one: list[str | int | None], other: list[str | int | None]) -> None:
    same = [part if part is None else str(part) for part in one] == [
        part if part is None else str(part) for part in other
    ]
    assert (canonical(*one) == canonical(*other)) == same


@pytest.mark.parametrize("name", [field.name for field in fields(Step)])
def test_every_column_is_in_the_link(name: str) -> None:
    now: Any = getattr(STEP, name)
    other: Any = (
        now + 1 if isinstance(now, int) else now + timedelta(microseconds=1) if name in ("at", "since") else "other"
    )
    changed = replace(STEP, **{name: other})
    assert link(KEY, NOTHING_YET, changed) != link(KEY, NOTHING_YET, STEP)


def test_books_that_are_moved_in_time_as_a_whole_stay_whole() -> None:
    a_day = timedelta(days=1)
    moved = replace(STEP, at=STEP.at - a_day, since=STEP.since - a_day)
    assert link(KEY, NOTHING_YET, moved) == link(KEY, NOTHING_YET, STEP)


def test_what_came_before_and_the_key_are_in_the_link() -> None:
    links = {link(KEY, NOTHING_YET, STEP), link(KEY, "ab" * 32, STEP), link(OTHER_KEY, NOTHING_YET, STEP)}
    assert len(links) == 3


def test_a_head_belongs_to_one_payment_one_length_and_one_link() -> None:
    heads = {
        head(KEY, "a", 2, "ab" * 32),
        head(KEY, "b", 2, "ab" * 32),
        head(KEY, "a", 3, "ab" * 32),
        head(KEY, "a", 2, "cd" * 32),
        head(OTHER_KEY, "a", 2, "ab" * 32),
    }
    assert len(heads) == 5


def test_a_key_shows_its_name_and_not_itself() -> None:
    assert KEY.id != OTHER_KEY.id
    assert KEY.secret not in repr(KEY)


def row(number: int, **changed: object) -> dict[str, Any]:
    """A row of the audit log, as the database gives it."""
    told = {field.name: getattr(STEP, field.name) for field in fields(STEP) if field.name != "since"}
    return {**told, "id": number, "link": "ab" * 32, **changed}


def over(*rows: dict[str, Any]) -> Anchor:
    anchor = Anchor()
    for each in rows:
        anchor = anchor.after(each)
    return anchor


def test_an_anchor_is_read_back_from_its_line() -> None:
    anchor = over(row(1, from_status=None), row(2))
    assert (anchor.last_audit_id, anchor.rows, anchor.payments) == (2, 2, 1)
    assert read_anchor(f" {anchor.token(STAMPED)}\n") == (anchor, STAMPED)


def test_an_anchor_holds_every_row_and_their_order() -> None:
    one, other = row(1), row(2)
    anchors = [(one, other), (other, one), (one,), (other,), (one, row(2, link="cd" * 32))]
    assert len({over(*rows).digest for rows in anchors}) == 5


@pytest.mark.parametrize("line", ["", "lipa-anchor-1", "lipa-anchor-2/20260504T090000.000000/1/1/1/" + "A" * 43])
def test_another_line_is_no_anchor(line: str) -> None:
    with pytest.raises(ValueError, match="an anchor is one line"):
        read_anchor(line)
