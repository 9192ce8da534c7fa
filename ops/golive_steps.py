"""What each step of `ops golive` looks at. One that is fulfilled gives the numbers that prove it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from ops import golive_prompt
from ops.alerts import no_sweep
from ops.checks import Finding, Verdict
from ops.checks.live import seen_by_functions
from ops.checks.order import examine
from ops.golive_walk import AGAIN, SAID, STEPS, Outcome, Walk
from ops.limits import LOW, advise, evidence, reasons_against
from ops.verify import check
from ops.words import counted, eat
from shared.settings import limits as limits_of
from shared.values import in_words

YOUR_WORD = 'python -m ops golive --done {} --why "…"'


def doctor(walk: Walk) -> Outcome:
    found = list(examine(walk.shop))
    bad = list(dict.fromkeys(each.name for each in found if each.verdict is Verdict.FAILED))
    warnings = [each for each in found if each.verdict is Verdict.WARNING]
    if bad:
        return Outcome(False, f"doctor: {counted(len(bad), 'check')} failed: {', '.join(bad)}", "python -m ops doctor")
    if warnings:
        asks = "Each of these warnings must be known to you. Do you go on with them?"
        walk.session.ask(
            walk.chosen, lambda: [*(f"{each.name}: {each.says}. {each.do_now}" for each in warnings), asks]
        )
    names = sorted({each.name for each in warnings})
    accepted = f"; accepted: {', '.join(names)}" if names else ""
    return Outcome(True, f"no check failed{accepted}", facts={"findings": len(found), "warnings": names})


def limits_low(walk: Walk) -> Outcome:
    deployed = deployed_limits(walk)
    if isinstance(deployed, Outcome):
        return deployed
    high = [f"{name}={most}" for name, most in LOW.items() if (deployed[name] or 10**9) > most]
    if high:
        set_them = f"Set {', '.join(high)} or lower, and deploy. Or: {YOUR_WORD.format('limits_low')}"
        return Outcome(False, f"the deployed functions allow more: {_said(deployed)}", set_them)
    return Outcome(True, _said(deployed), facts=deployed)


def deployed_limits(walk: Walk) -> dict[str, int | None] | Outcome:
    """As the deployed functions have them, by the names of their variables."""
    seen = seen_by_functions(walk.shop)
    if isinstance(seen, Finding):
        return Outcome(False, seen.says, seen.do_now)
    limits = seen.get("limits")
    if not isinstance(limits, dict) or set(limits) != set(LOW):
        return Outcome(False, "the deployed functions do not say their limits: an older commit", "Deploy this checkout")
    return limits


def _said(limits: dict[str, int | None]) -> str:
    return ", ".join(f"{name} {f'{kes:,}' if kes else 'not set'}" for name, kes in limits.items())


def books(walk: Walk) -> Outcome:
    session = walk.session
    results = check(session.database, session.audit_keys)
    broken = [each.name for each in results if not each.holds]
    if broken:
        return Outcome(False, f"the books are wrong: {', '.join(broken)}", "python -m ops verify")
    row = session.database.row("SELECT count(*) AS payments FROM transactions")
    payments = row["payments"] if row else 0
    says = f"{counted(payments, 'payment')}, {counted(len(results), 'invariant')} and every signature hold"
    return Outcome(True, says, facts={"payments": payments, "invariants": len(results)})


def watch(walk: Walk) -> Outcome:
    """Of the last 24 hours, once as many are over since the first payment: what was mended may be forgotten."""
    database = walk.session.database
    row = database.row(
        """
        WITH lately AS (SELECT * FROM transactions WHERE pushed_at > now() - interval '24 hours')
        SELECT min(paid_at) + interval '24 hours' AS until, now() >= min(paid_at) + interval '24 hours' AS over,
               (SELECT count(*) FROM lately) AS asked,
               (SELECT count(*) FROM lately WHERE paid_at IS NOT NULL) AS paid,
               (SELECT count(*) FROM lately t WHERE checkout_request_id IS NOT NULL
                   AND status IN ('PAID', 'FAILED', 'CANCELLED', 'EXPIRED', 'REFUNDED')
                   AND NOT EXISTS (SELECT FROM callback_inbox i WHERE i.transaction_id = t.id)) AS without_callback,
               (SELECT count(*) FROM transactions WHERE status = 'REVIEW') AS reviews_open,
               (SELECT count(*) FROM incidents WHERE seen_at > now() - interval '1 hour') AS incidents_open
        FROM transactions WHERE paid_at IS NOT NULL AND pushed_at IS NOT NULL
        """
    )
    assert row is not None
    until, over = row.pop("until"), row.pop("over")
    wrong = [
        *(
            [counted(row["without_callback"], "payment ended", "payments ended") + " without a callback"]
            * (row["without_callback"] > 0)
        ),
        *(
            [counted(row["reviews_open"], "payment waits", "payments wait") + " for a person"]
            * (row["reviews_open"] > 0)
        ),
        *([counted(row["incidents_open"], "incident is", "incidents are") + " open"] * (row["incidents_open"] > 0)),
        *(["no sweep runs"] if no_sweep(database) else []),
    ]
    numbers = f"{row['asked']} asked and {row['paid']} paid in 24 hours"
    if wrong:
        return Outcome(False, f"{'; '.join(wrong)} ({numbers})", "python -m ops alerts; then docs/runbook.md")
    if until is None:
        return Outcome(False, "no payment was paid yet: the 24 hours begin with the first", "Sell something")
    if not over:
        come_back = f"Read the logs and `ops alerts` now and then; come back after {eat(until)} EAT"
        return Outcome(False, f"no fault so far ({numbers})", come_back)
    return Outcome(True, f"24 hours without a fault: {numbers}, each with its callback; the sweep runs", facts=row)


def statement(walk: Walk) -> Outcome:
    test = golive_prompt.paid(walk)
    row = walk.session.database.row(
        """
        SELECT count(*) AS payments, max(r.at) AS last FROM statement_rows r
        JOIN payment_confirmations c ON c.mpesa_receipt_number = r.receipt AND c.amount = r.paid_in
        WHERE r.completed AND (c.transaction_id = CAST(:id AS uuid) OR CAST(:id AS uuid) IS NULL)
        """,
        id=test and test["id"],
    )
    if not row or not row["payments"]:
        day = f"the day of {eat(test['paid_at'])}" if test else "the first day"
        do_now = f"Export M-Pesa's statement of {day}, then: python -m ops reconcile FILE --write"
        return Outcome(False, "no statement on file has the payment yet", do_now)
    says = f"M-Pesa's statement has {counted(row['payments'], 'payment')} of ours, to the shilling"
    return Outcome(True, says, facts={"payments": row["payments"]})


def limits_raised(walk: Walk) -> Outcome:
    deployed = deployed_limits(walk)
    if isinstance(deployed, Outcome):
        return deployed
    began = walk.closed("limits_low")
    low: dict[str, Any] = began["facts"] if began and began["state"] != SAID else {}
    payment, phone, shop = (Decimal(deployed[name] or 0) for name in LOW)
    ours = limits_of(walk.session.environ)
    allowed = replace(ours, payment_kes=payment, phone_kes_a_day=phone, shop_kes_a_day=shop or None)
    seen = evidence(walk.session.database)
    advice = advise(allowed, seen)
    of_ended = f"{seen.paid} of {seen.ended} paid in the last days"
    numbers = (
        f"{of_ended}, the largest {in_words(seen.largest_kes)}, the largest day {in_words(seen.largest_day_kes)}, "
        f"customers refused for a limit in {counted(seen.turned_away, 'hour')}"
    )
    facts = {
        "limits": deployed,
        "evidence": {
            key: int(value) if isinstance(value, Decimal) else value
            for key, value in asdict(seen).items()
            if not isinstance(value, date)
        },
    }
    raised = any((deployed[name] or 10**9) > (low[name] or 10**9) for name in LOW if name in low)
    against = tuple(reasons_against(seen))
    if against:
        word = (
            f"raised before that, it needs your word: {YOUR_WORD.format('limits_raised')}"
            if raised
            else "come back then"
        )
        return Outcome(False, f"{numbers}. Not yet: {'; '.join(against)}", f"python -m ops limits; {word}")
    if raised or not advice.steps:
        return Outcome(True, f"{_said(deployed)} ({numbers})", facts=facts)
    steps = ", ".join(f"{name}={kes:.0f}" for name, kes in advice.steps)
    return Outcome(False, f"the evidence is good: {numbers}", f"Set {steps} and deploy; then {AGAIN}")


def live(walk: Walk) -> Outcome:
    bad = sorted({each.name for each in examine(walk.shop) if each.verdict is Verdict.FAILED})
    if bad:
        return Outcome(False, f"doctor failed again: {', '.join(bad)}", "python -m ops doctor")
    said = [name for name in STEPS if (row := walk.closed(name)) and row["state"] == SAID]
    words = f"Not proven, but said by a person: {', '.join(said)}." if said else "Every step was proven."
    walk.session.ask(walk.chosen, lambda: [words, "You say that the shop is live."])
    return Outcome(True, f"live. {words}", facts={"said": said})


LOOKS: MappingProxyType[str, Callable[[Walk], Outcome]] = MappingProxyType(
    {
        "doctor": doctor,
        "limits_low": limits_low,
        "prompt": golive_prompt.prompt,
        "payment": golive_prompt.payment,
        "books": books,
        "watch": watch,
        "statement": statement,
        "limits_raised": limits_raised,
        "live": live,
    }
)
