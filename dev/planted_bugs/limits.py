"""Who may ask for how many pushes."""

from __future__ import annotations

from dev.planted_bugs.bug import ADMISSIONS, Bug, bug

LIMITS_SQL = "db/migrations/0001_schema.sql"
BOMBING = ("tests/chaos/test_push_bombing.py",)
LIMITS = ("tests/integration/test_limits.py",)

BUGS: tuple[Bug, ...] = (
    bug(
        "limit: the shop has no lock",
        LIMITS_SQL,
        "PERFORM pg_advisory_xact_lock(hashtextextended('the shop', 1));",
        "PERFORM 1;",
        BOMBING,
        "hundred",
    ),
    bug(
        "limit: the shop is counted only before its lock is held",
        LIMITS_SQL,
        "FOR time IN 1..2 LOOP\n        IF time = 2 THEN",
        "FOR time IN 1..1 LOOP\n        IF time = 2 THEN",
        BOMBING,
        "hundred",
    ),
    bug(
        "limit: a phone's pushes are counted without its lock",
        ADMISSIONS,
        "SELECT pg_advisory_xact_lock(hashtextextended(CAST(:phone AS text), 0))",
        "SELECT CAST(:phone AS text)",
        BOMBING,
        "hundred",
    ),
    bug(
        "limit: the address is read from a header that the caller sets",
        "shared/edge.py",
        'self.headers.get("x-nf-client-connection-ip")',
        'self.headers.get("x-forwarded-for", self.headers.get("x-nf-client-connection-ip"))',
        LIMITS,
        "headers",
    ),
    bug(
        "limit: whatever stands in the header is a caller of its own",
        "shared/limits.py",
        "        return NOBODY\n",
        "        return str(address)\n",
        LIMITS,
        "address",
    ),
    bug(
        "limit: every IPv6 address is a caller of its own",
        "shared/limits.py",
        "            return str(ipaddress.ip_network((parsed, 64), strict=False))\n",
        "            return str(parsed)\n",
        LIMITS,
        "household",
    ),
    bug(
        "limit: a phone does not rest",
        ADMISSIONS,
        "FROM unanswered WHERE in_a_row >= :unanswered)",
        "FROM unanswered WHERE false AND in_a_row >= :unanswered)",
        LIMITS,
        "rests or rings",
    ),
    bug(
        "limit: a cancelled prompt counts as an answer",
        ADMISSIONS,
        "OR o.status = 'FAILED' AND coalesce(o.result_code, '') IN ('1', '2001') AS answered",
        "OR o.status IN ('FAILED', 'CANCELLED') AS answered",
        LIMITS,
        "rests or rings",
    ),
    bug(
        "limit: refused calls of Daraja are never counted",
        ADMISSIONS,
        "asked=limits.phone_pushes_an_hour * ASKED_FOR_EACH_PROMPT",
        "asked=limits.phone_pushes_an_hour * 1000",
        LIMITS,
        "third",
    ),
    bug(
        "limit: what failed counts towards the day",
        ADMISSIONS,
        "WHERE NOT failed AND created_at >= began_at) AS today_kes",
        "WHERE created_at >= began_at) AS today_kes",
        LIMITS,
        "day",
    ),
    bug(
        "limit: only what is paid counts towards the shop's day",
        LIMITS_SQL,
        "t.status NOT IN ('FAILED', 'CANCELLED', 'EXPIRED')",
        "t.status = 'PAID'",
        BOMBING,
        "sum",
    ),
    bug(
        "limit: a day is the last 24 hours",
        LIMITS_SQL,
        "date_trunc('day', now() AT TIME ZONE 'Africa/Nairobi') AT TIME ZONE 'Africa/Nairobi';",
        "now() - interval '24 hours';",
        LIMITS,
        "midnight",
    ),
    bug(
        "limit: one caller may take the whole of the shop's minute",
        LIMITS_SQL,
        "greatest(most_in_shop / 3, 1) - 1",
        "most_in_shop - 1",
        LIMITS + BOMBING,
        "third or one_address",
    ),
    bug(
        "limit: addresses are stored as they are",
        "netlify/functions/stkpush.py",
        "caller = caller_digest(request.caller_address, mine.caller_key)",
        'caller = caller_digest(None, mine.caller_key) and (request.caller_address or "")',
        LIMITS,
        "never_stored",
    ),
)
