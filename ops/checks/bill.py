"""What a month costs, from the last days of this shop: the hours its database is awake, and Netlify's credits."""

from __future__ import annotations

from ops.checks import Finding, Shop, ok, skipped, warning
from ops.words import counted

PRICES_OF = "November 2026"
NEON_CU, NEON_FREE_CU_HOURS, NEON_USD_PER_CU_HOUR = 0.25, 100, 0.106
"""Its smallest compute; what a project has for nothing; Launch, beyond that."""
NETLIFY_PLANS = ((300, "Free"), (1_000, "Personal, $9"), (5_000, "Pro, $20"))
"""Credits a month."""
CREDITS_PER_AWAKE_HOUR = 10
CREDITS_OF_SWEEPS, CREDITS_A_PAYMENT = 8.9, 0.0089
"""Of the functions in a month: as `python -m dev.costs` measured them."""
DAYS_A_MONTH, DAYS_LOOKED_AT = 30, 7
SLEEPS_AFTER_MINUTES = 5


def bill(shop: Shop) -> Finding:
    row = shop.database.row(
        """
        WITH days AS (SELECT least(greatest(extract(epoch FROM now() - stamped_at) / 86400, 1), :most) AS n
                      FROM installation),
        payments AS (SELECT created_at, updated_at FROM transactions, days
                     WHERE created_at > now() - n * interval '1 day'),
        touched AS (SELECT unnest(ARRAY[created_at, updated_at]) AS at FROM payments
                    UNION ALL
                    SELECT generate_series(now(), now() - n * interval '1 day', :every * interval '-1 minute')
                    FROM days),
        gaps AS (SELECT least(lead(at, 1, now()) OVER (ORDER BY at) - at, :asleep * interval '1 minute') AS awake
                 FROM touched)
        SELECT n::float8 AS days, (SELECT count(*) FROM payments) AS payments,
               least((SELECT extract(epoch FROM sum(awake)) / 3600 FROM gaps), n * 24)::float8 AS hours
        FROM days
        """,
        most=DAYS_LOOKED_AT,
        every=max(1, shop.settings.sweep.idle_minutes),
        asleep=SLEEPS_AFTER_MINUTES,
    )
    if row is None:
        return skipped("nobody has used this database yet")
    a_month = DAYS_A_MONTH / row["days"]
    hours, functions = row["hours"] * a_month, credits_of_functions(row["payments"] * a_month)
    is_netlifys = bool(shop.given("NETLIFY_DB_URL")) and not shop.given("DATABASE_URL")
    credits = functions + hours * CREDITS_PER_AWAKE_HOUR * is_netlifys
    costs, is_free = [f"{credits:,.0f} credits at Netlify ({plan(credits)})"], credits <= NETLIFY_PLANS[0][0]
    if not is_netlifys and shop.database.settings.host.endswith(".neon.tech"):
        cu_hours = hours * NEON_CU
        costs.append(f"{cu_hours:,.0f} CU-hours at Neon ({neon(cu_hours)})")
        is_free = is_free and cu_hours <= NEON_FREE_CU_HOURS
    says = (
        f"like the last {counted(round(row['days']), 'day')} with {counted(row['payments'], 'payment')}, a month keeps "
        f"the database awake for {hours:,.0f} hours: {' and '.join(costs)}; prices of {PRICES_OF}"
    )
    return ok(says) if is_free else warning(says, "Take a plan that is large enough before it stops: docs/costs.md")


def credits_of_functions(payments_a_month: float) -> float:
    return CREDITS_OF_SWEEPS + CREDITS_A_PAYMENT * payments_a_month


def plan(credits: float) -> str:
    return next((name for most, name in NETLIFY_PLANS if credits <= most), "more than Pro has")


def neon(cu_hours: float) -> str:
    return "free" if cu_hours <= NEON_FREE_CU_HOURS else f"${cu_hours * NEON_USD_PER_CU_HOUR:.0f}"
