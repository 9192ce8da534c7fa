"""docs/costs.md, from what `python -m dev.costs` measured and from prices, which have a date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.checks.bill import (
    CREDITS_PER_AWAKE_HOUR,
    DAYS_A_MONTH,
    NEON_CU,
    NEON_FREE_CU_HOURS,
    NEON_USD_PER_CU_HOUR,
    NETLIFY_PLANS,
    PRICES_OF,
    neon,
    plan,
)

CREDITS_PER_GB_HOUR, CREDITS_PER_10_000_REQUESTS, FUNCTION_GB = 10, 2, 1
A_PUSH_WAITS_S, A_LETTER_WAITS_S = 1.5, 0.5
"""For Safaricom and for the mail server, which are next door in the simulation."""

DAYS: Mapping[str, tuple[int, bool]] = {
    "0": (0, False),
    "10 in one hour": (10, True),
    "10 spread out": (10, False),
    "100": (100, False),
    "1,000": (1_000, False),
}
"""Payments a day, and whether they all come in one hour of the evening; else between 8 and 22 o'clock."""


def page(measured: Mapping[str, Mapping[str, Any]]) -> str:
    rows = "\n".join(_row(name, day) for name, day in measured.items())
    idle, full = measured["0"], list(measured.values())[-1]
    took = ", ".join(f"`{name}` {taken:g} ms" for name, taken in full["ms"].items())
    return TEXT.format(
        rows=rows,
        connections=idle["connections"],
        took=took,
        date=PRICES_OF,
        neon_free=NEON_FREE_CU_HOURS,
        neon_cu=NEON_CU,
        neon_usd=NEON_USD_PER_CU_HOUR,
        hours=round(NEON_FREE_CU_HOURS / NEON_CU),
        plans=", ".join(f"{credits:,} credits ({plan})" for credits, plan in NETLIFY_PLANS),
    )


def _row(name: str, day: Mapping[str, Any]) -> str:
    hours = day["awake_minutes"] / 60 * DAYS_A_MONTH
    cu_hours = hours * NEON_CU
    functions = _credits_of_functions(day)
    total = functions + hours * CREDITS_PER_AWAKE_HOUR
    return (
        f"| {name} | {day['awake_minutes']:,} | {cu_hours:.0f} CU-hours: {neon(cu_hours)} "
        f"| {total:,.0f} credits: {plan(total)} | {functions:,.0f} credits: {plan(functions)} |"
    )


def _credits_of_functions(day: Mapping[str, Any]) -> float:
    waited_s = day["payments"] * (A_PUSH_WAITS_S + A_LETTER_WAITS_S)
    gb_hours: float = (day["busy_s"] + waited_s) / 3600 * FUNCTION_GB
    a_day: float = gb_hours * CREDITS_PER_GB_HOUR + day["requests"] / 10_000 * CREDITS_PER_10_000_REQUESTS
    return a_day * DAYS_A_MONTH


TEXT = """\
# What a month costs

Written by `python -m dev.costs --write`: simulated days, prices of {date}, without Safaricom's fees.

Two things cost money: Netlify's credits, and the hours in which your database is **awake**. One that can sleep does so
5 minutes after it was last used. While nobody buys, Lipa looks into it once an hour.

| Payments a day, 8 to 22 o'clock | Minutes awake | Neon | Netlify Database, with the functions | Functions alone |
| --- | --- | --- | --- | --- |
{rows}

With Neon, and with an **always-on PostgreSQL** (often $5 to $15), add the last column. `python -m ops doctor` says what
the last days of your own shop come to.

## Which database

- **Begin with Neon's free project.** It is awake for {hours} hours a month ({neon_free} CU-hours at {neon_cu} CU) for
  nothing. Used up, it stops until the next month: look at *Usage*, and take *Launch* (${neon_usd} a CU-hour) in time.
  Its history goes back 6 hours: make your own [backups](runbook.md#duties).
- **Netlify Database** is the least work, and needs a paid plan. At zero credits Netlify pauses **every site of your
  team**. A deploy costs 15.
- **Always on** is right for a shop that sells all day. Set `SWEEP_IDLE_MINUTES=0`: Lipa then looks every minute.

`SWEEP_IDLE_MINUTES=360` looks 4 times a day in place of 24. A payment whose callback was lost and whose page is closed
is then found up to 6 hours later.

## What was measured

A day without payments: {connections} connections. Typical durations, everything on one machine: {took}. A month of
Netlify: {plans}.
"""
