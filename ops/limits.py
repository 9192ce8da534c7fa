"""`ops limits`: each limit, how much of it is used, and whether the books justify the next step. Only reads."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from ops.answers import Answer
from ops.session import Commands, Session
from ops.words import counted
from shared.database import Database, Row
from shared.limits import Limits
from shared.settings import limits as limits_of
from shared.values import LARGEST_DAY_KES, LARGEST_KES, in_words

LOW = {"MAX_PAYMENT_KES": 5_000, "MAX_PHONE_KES_PER_DAY": 10_000, "MAX_SHOP_KES_PER_DAY": 50_000}
"""To begin with: docs/deploying.md, Going live."""
DAYS = 7
"""How far back the evidence goes, beside today."""
PAYMENTS_ENOUGH = 20
REVIEWS_AT_MOST = Decimal("0.02")
SUCCESS_AT_LEAST = Decimal("0.5")
WELL_USED = Decimal("0.5")
DOES_NOT_FIT = (
    "amount_mismatch", "ids_disagree", "reused_receipt", "second_receipt", "contradiction", "duplicate_payment",
)  # fmt: skip
"""Alerts about money that is not what was asked for."""


def add_commands(commands: Commands) -> None:
    bounds = commands.add_parser("limits", help="each limit, its use, and whether to raise it; changes nothing")
    bounds.set_defaults(run=_limits)


def _limits(session: Session, _: argparse.Namespace) -> Answer:
    allowed = limits_of(session.environ)
    now, seen = used(session.database, allowed), evidence(session.database)
    advice = advise(allowed, seen)
    document = {
        "limits": allowed,
        "used": now,
        "evidence": seen,
        "recommended": dict(advice.steps),
        "reasons": advice.reasons,
    }
    return Answer(document, lines(allowed, now, seen))


@dataclass(frozen=True)
class Used:
    """Of each limit: today since midnight in Nairobi, or in the last hour or minute."""

    payment_kes: Decimal
    phone_kes: Decimal
    shop_kes: Decimal
    phone_pushes: int
    phones_resting: int
    address_pushes: int
    shop_pushes: int


@dataclass(frozen=True)
class Evidence:
    """What the last days say."""

    days_since_first: int
    paid: int
    paid_kes: Decimal
    ended: int
    """Pushes whose end is known, well or not."""
    reviews: int
    reviews_open: int
    unjudged: int
    does_not_fit: int
    turned_away: int
    largest_kes: Decimal
    largest_of_a_phone_kes: Decimal
    largest_day_kes: Decimal
    largest_day: date | None


@dataclass(frozen=True)
class Advice:
    """`steps` are the variables to raise, with their new values; none of them: leave the limits as they are."""

    steps: tuple[tuple[str, Decimal], ...]
    reasons: tuple[str, ...]


def advise(limits: Limits, seen: Evidence) -> Advice:
    """A step is justified by a week of enough payments, none of them odd, and by limits that are really used."""
    against = tuple(reasons_against(seen))
    if against:
        return Advice((), against)
    steps = tuple(_steps(limits, seen))
    payments = counted(seen.paid, "payment")
    calm = f"{payments} in {DAYS} days, {_percent(seen.paid, seen.ended)} of what was asked, and all of them fit"
    if steps:
        return Advice(steps, (calm, "the largest payment or day comes near its limit; the step doubles it"))
    return Advice((), (calm, f"no limit is used to more than {WELL_USED:.0%}: there is nothing to gain"))


def reasons_against(seen: Evidence) -> Iterator[str]:
    """Raising a limit now."""
    if seen.days_since_first < DAYS:
        yield f"payments have been taken for {counted(seen.days_since_first, 'day')}; wait for {DAYS}"
    if seen.paid < PAYMENTS_ENOUGH:
        said = counted(seen.paid, "payment says", "payments say")
        yield f"{said} too little in {DAYS} days; wait for {PAYMENTS_ENOUGH}"
    if seen.reviews_open:
        yield f"{counted(seen.reviews_open, 'payment waits', 'payments wait')} for a person: `ops review list` first"
    if seen.unjudged:
        yield f"{counted(seen.unjudged, 'callback')} could not be judged: `ops inbox list` first"
    if seen.does_not_fit:
        payments = counted(seen.does_not_fit, "payment")
        yield f"{payments} whose money was not what was asked for: `ops case` says why, first"
    if seen.ended and seen.reviews > REVIEWS_AT_MOST * seen.ended:
        yield f"{_percent(seen.reviews, seen.ended)} went to review, more than {REVIEWS_AT_MOST:.0%}"
    if seen.ended and seen.paid < SUCCESS_AT_LEAST * seen.ended:
        yield f"only {_percent(seen.paid, seen.ended)} of what was asked was paid, less than {SUCCESS_AT_LEAST:.0%}"


def _steps(limits: Limits, seen: Evidence) -> Iterator[tuple[str, Decimal]]:
    for name, limit_kes, used_kes, most_kes in (
        ("MAX_PAYMENT_KES", limits.payment_kes, seen.largest_kes, LARGEST_KES),
        ("MAX_PHONE_KES_PER_DAY", limits.phone_kes_a_day, seen.largest_of_a_phone_kes, LARGEST_DAY_KES),
        ("MAX_SHOP_KES_PER_DAY", limits.shop_kes_a_day, seen.largest_day_kes, None),
    ):
        if limit_kes is None or limit_kes == most_kes or used_kes < WELL_USED * limit_kes:
            continue
        yield name, min(2 * limit_kes, most_kes) if most_kes is not None else 2 * limit_kes


def used(database: Database, limits: Limits) -> Used:
    (row,) = database.rows(
        f"""
        WITH today AS (SELECT amount, phone_number FROM transactions WHERE created_at >= {MIDNIGHT} AND {COUNTS}),
        last_answer AS (
            SELECT phone_number, max(pushed_at) FILTER (WHERE status IN ('PAID', 'REFUNDED', 'REVIEW')
                   OR status = 'FAILED' AND result_code IN ('1', '2001')) AS at
            FROM transactions WHERE pushed_at > now() - interval '24 hours' GROUP BY phone_number)
        SELECT (SELECT coalesce(max(amount), 0) FROM today) AS payment_kes,
               (SELECT coalesce(max(sum), 0) FROM (
                    SELECT sum(amount) FROM today GROUP BY phone_number) p) AS phone_kes,
               (SELECT coalesce(sum(amount), 0) FROM today) AS shop_kes,
               (SELECT coalesce(max(count), 0) FROM (
                    SELECT count(*) FROM transactions WHERE pushed_at > now() - interval '1 hour'
                    GROUP BY phone_number) p) AS phone_pushes,
               (SELECT count(*) FROM (
                    SELECT t.phone_number FROM transactions t JOIN last_answer l USING (phone_number)
                    WHERE t.pushed_at > now() - interval '24 hours' AND t.pushed_at > coalesce(l.at, '-infinity')
                    GROUP BY t.phone_number HAVING count(*) >= CAST(:unanswered AS integer)) p) AS phones_resting,
               (SELECT coalesce(max(count), 0) FROM (
                    SELECT count(*) FROM push_callers
                    WHERE asked_at > now() - interval '1 hour' AND address_digest NOT LIKE 'invoice %'
                    GROUP BY address_digest) a) AS address_pushes,
               (SELECT coalesce(max(count), 0) FROM (
                    SELECT count(*) FROM transactions WHERE created_at >= {MIDNIGHT} AND pushed_at IS NOT NULL
                    GROUP BY date_trunc('minute', created_at)) m) AS shop_pushes
        """,
        unanswered=limits.phone_unanswered_in_a_row,
    )
    return Used(**_numbers(row))


def evidence(database: Database) -> Evidence:
    (row,) = database.rows(
        f"""
        WITH lately AS (
            SELECT *, (created_at AT TIME ZONE 'Africa/Nairobi')::date AS day FROM transactions
            WHERE created_at >= {MIDNIGHT} - CAST(:days AS integer) * interval '1 day' AND pushed_at IS NOT NULL),
        counting AS (SELECT amount, phone_number, day FROM lately WHERE {COUNTS}),
        days AS (SELECT day, sum(amount) AS kes FROM counting GROUP BY day),
        alerts AS (
            SELECT topic, transaction_id FROM outbox
            WHERE kind = 'alert' AND created_at >= {MIDNIGHT} - CAST(:days AS integer) * interval '1 day')
        SELECT (SELECT coalesce(floor(extract(epoch FROM now() - min(created_at)) / 86400), 0)
                FROM transactions WHERE pushed_at IS NOT NULL) AS days_since_first,
               (SELECT count(*) FROM lately WHERE status IN ('PAID', 'REFUNDED')) AS paid,
               (SELECT coalesce(sum(amount), 0) FROM lately WHERE status IN ('PAID', 'REFUNDED')) AS paid_kes,
               (SELECT count(*) FROM lately WHERE status NOT IN ('INITIATED', 'PENDING', 'UNCERTAIN')) AS ended,
               (SELECT count(DISTINCT a.transaction_id) FROM audit_log a JOIN lately t ON t.id = a.transaction_id
                WHERE a.to_status = 'REVIEW') AS reviews,
               (SELECT count(*) FROM transactions WHERE status = 'REVIEW') AS reviews_open,
               (SELECT count(*) FROM callback_inbox
                WHERE outcome IN ('dead_letter', 'unreadable', 'unknown_transaction')) AS unjudged,
               (SELECT count(DISTINCT transaction_id) FROM alerts
                WHERE topic = ANY (string_to_array(:does_not_fit, ' '))) AS does_not_fit,
               (SELECT count(*) FROM alerts WHERE topic IN ('shop_push_limit', 'shop_day_limit')) AS turned_away,
               (SELECT coalesce(max(amount), 0) FROM counting) AS largest_kes,
               (SELECT coalesce(max(sum), 0) FROM (
                    SELECT sum(amount) FROM counting GROUP BY phone_number, day) p) AS largest_of_a_phone_kes,
               (SELECT coalesce(max(kes), 0) FROM days) AS largest_day_kes,
               (SELECT day::text FROM days ORDER BY kes DESC, day DESC LIMIT 1) AS largest_day
        """,
        days=DAYS,
        does_not_fit=" ".join(DOES_NOT_FIT),
    )
    day = row.pop("largest_day")
    return Evidence(**_numbers(row), largest_day=date.fromisoformat(day) if day else None)


def _numbers(row: Row) -> dict[str, Any]:
    """Sums stay Decimal, counts are int."""
    return {name: value if name.endswith("_kes") else int(value) for name, value in row.items()}


MIDNIGHT = "(date_trunc('day', now() AT TIME ZONE 'Africa/Nairobi') AT TIME ZONE 'Africa/Nairobi')"
COUNTS = "status NOT IN ('FAILED', 'CANCELLED', 'EXPIRED')"


def lines(limits: Limits, now: Used, seen: Evidence) -> Iterator[str]:
    """Line by line, as an operator reads it."""
    yield "Money, and how much of each limit is used today (since midnight in Nairobi)"
    yield _sum("MAX_PAYMENT_KES", limits.payment_kes, now.payment_kes, "the largest payment")
    yield _sum("MAX_PHONE_KES_PER_DAY", limits.phone_kes_a_day, now.phone_kes, "the phone that paid most")
    yield _sum("MAX_SHOP_KES_PER_DAY", limits.shop_kes_a_day, now.shop_kes, "all payments")
    yield ""
    yield "Pushes, and how much of each limit is used"
    yield _count("PHONE_PUSHES_PER_HOUR", limits.phone_pushes_an_hour, now.phone_pushes, "the phone asked most often")
    yield _line(
        "PHONE_UNANSWERED_PUSHES",
        str(limits.phone_unanswered_in_a_row),
        f"{counted(now.phones_resting, 'phone has', 'phones have')} left so many prompts unanswered",
    )
    yield _count("ADDRESS_PUSHES_PER_HOUR", limits.address_pushes_an_hour, now.address_pushes, "the busiest address")
    yield _count("SHOP_PUSHES_PER_MINUTE", limits.shop_pushes_a_minute, now.shop_pushes, "today's busiest minute")
    yield ""
    since = counted(seen.days_since_first, "day")
    yield f"Evidence of the last {DAYS} days and today; payments have been taken for {since}"
    yield f"  paid             {counted(seen.paid, 'payment')}, {in_words(seen.paid_kes)}"
    ended = counted(seen.ended, "push that has", "pushes that have")
    yield f"  success rate     {_percent(seen.paid, seen.ended)} of {ended} ended"
    yield f"  reviews          {seen.reviews}; waiting for a person now: {seen.reviews_open}"
    yield f"  does not fit     {counted(seen.does_not_fit, 'payment')} with an alert about their amount, ids or receipt"
    yield f"  not judged       {counted(seen.unjudged, 'callback')}"
    yield f"  turned away      in {counted(seen.turned_away, 'hour')} customers were refused for the shop's own limits"
    yield f"  largest payment  {in_words(seen.largest_kes)}"
    yield f"  of one phone     {in_words(seen.largest_of_a_phone_kes)} in a day"
    yield f"  largest day      {in_words(seen.largest_day_kes)}" + (
        f" on {seen.largest_day}" if seen.largest_day else ""
    )
    yield ""
    advice = advise(limits, seen)
    yield "Recommendation: " + ("the next step is justified" if advice.steps else "leave the limits as they are")
    for name, kes in advice.steps:
        yield f"  set {name}={kes:.0f} and deploy"
    for reason in advice.reasons:
        yield f"  - {reason}"
    if limits.shop_kes_a_day is None:
        yield "  - MAX_SHOP_KES_PER_DAY is not set: after go-live, set what you can afford to get wrong in a day"


def _sum(name: str, limit_kes: Decimal | None, used_kes: Decimal, of: str) -> str:
    if limit_kes is None:
        return _line(name, "none", f"{in_words(used_kes)}, {of}")
    return _line(name, in_words(limit_kes), f"{in_words(used_kes)} ({_percent(used_kes, limit_kes)}), {of}")


def _count(name: str, limit: int, found: int, of: str) -> str:
    return _line(name, str(limit), f"{found} ({_percent(found, limit)}), {of}")


def _line(name: str, limit: str, used: str) -> str:
    return f"  {name:24} {limit:>12}   {used}"


def _percent(part: Decimal | int, whole: Decimal | int) -> str:
    return f"{Decimal(part) / Decimal(whole):.0%}" if whole else "0%"
