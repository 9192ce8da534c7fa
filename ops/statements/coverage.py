"""Which moments and days statements speak of, and whether their clock is ours. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from statistics import median

from ops.statements.statement import Statement
from shared.values import EAT

EDGE = timedelta(minutes=30)
"""So near the edge of a period a row may stand in the next file."""
NO_GAP = timedelta(minutes=1)
"""A period ends at 23:59:59, or at 23:59; the next one begins at 00:00."""
CLOCKS_AGREE = timedelta(seconds=120)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """From one moment to another. Both are part of it."""

    starts: datetime
    ends: datetime

    @property
    def days(self) -> list[date]:
        """Nairobi's days that it touches."""
        return days_between(self.starts.astimezone(EAT).date(), self.ends.astimezone(EAT).date())


def period_of(statement: Statement, now: datetime) -> Period | None:
    """What a file speaks of: the period that it states, else from its first row to its last. No later than it was made.

    A period that only its name states is believed for the days from its first row to its last. A file of today that
    does not say when it was made knows nothing after its last row.
    """
    times = [row.at for row in statement.rows]
    starts, ends = statement.starts, statement.ends
    if starts is None or ends is None or (statement.period_in_name and not times):
        return Period(min(times), min(max(times), now)) if times and min(times) <= now else None
    if statement.period_in_name:
        starts = max(starts, midnight(min(times).astimezone(EAT).date()))
        ends = min(ends, midnight(max(times).astimezone(EAT).date() + timedelta(days=1)) - timedelta(seconds=1))
    ends = min(ends, statement.made_at or ends)
    today = midnight(now.astimezone(EAT).date())
    if statement.made_at is None and ends > today:
        ends = max([today, *times])
    ends = min(ends, now)
    return Period(starts, ends) if starts <= ends else None


def joined(periods: Iterable[Period]) -> list[Period]:
    """Overlapping and adjoining ones as one, in order."""
    together: list[Period] = []
    for each in sorted(periods):
        if together and each.starts <= together[-1].ends + NO_GAP:
            together[-1] = Period(together[-1].starts, max(together[-1].ends, each.ends))
        else:
            together.append(each)
    return together


def covered_by(statements: Iterable[Statement], now: datetime) -> list[Period]:
    """Their periods. Where balances do not follow from each other rows may be missing: such a file covers nothing."""
    return joined(filter(None, (period_of(each, now) for each in statements if each.balance_chain != "broken")))


def within(money: Period, periods: Iterable[Period], edge: timedelta = timedelta()) -> bool:
    """All of it, with an edge before and after it."""
    return any(each.starts + edge <= money.starts and money.ends <= each.ends - edge for each in periods)


def surely_within(money: Period, periods: Iterable[Period]) -> bool:
    return within(money, periods, EDGE)


def touches(money: Period, periods: Iterable[Period]) -> bool:
    return any(each.starts <= money.ends and money.starts <= each.ends for each in periods)


def whole_days(periods: Sequence[Period]) -> list[date]:
    """Nairobi's days that are covered from midnight to midnight. `periods` are joined."""
    return [
        day
        for each in periods
        for day in each.days
        if each.starts <= midnight(day) and each.ends >= midnight(day + timedelta(days=1)) - NO_GAP
    ]


def days_between(first: date, last: date) -> list[date]:
    """Both are part of it."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def midnight(day: date) -> datetime:
    """When Nairobi's day begins."""
    return datetime.combine(day, time(), EAT)


@dataclass(frozen=True, slots=True)
class Clock:
    """A file's times compared with ours, over the receipts that both sides hold."""

    shared: int
    off: timedelta | None
    """The median of its times less ours; None: no receipt can be compared."""

    @property
    def says(self) -> str:
        """What is wrong; empty where nothing is."""
        if self.off is None or abs(self.off) <= CLOCKS_AGREE:
            return ""
        hours = round(self.off / timedelta(hours=1))
        if abs(hours) > 14:
            return f"times are {abs(self.off) / timedelta(days=1):.0f} days off: were day and month swapped?"
        if abs(self.off - timedelta(hours=hours)) > CLOCKS_AGREE:
            return f"times are {abs(self.off)} off"
        return f"times are {abs(hours)} h off{': the file is in UTC' if hours == -3 else ''}"


def clock_of(pairs: Sequence[tuple[datetime, datetime | None]]) -> Clock:
    """From the time of each shared receipt: theirs, and ours where we know it."""
    apart_s = [(theirs - ours).total_seconds() for theirs, ours in pairs if ours is not None]
    return Clock(len(pairs), timedelta(seconds=median(apart_s)) if apart_s else None)
