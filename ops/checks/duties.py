"""What runs by itself or is done by a person: the sweep, callbacks, alerts, reviews, reconciliation, backups."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ops.alerts import no_sweep
from ops.checks import Finding, Shop, failed, ok, skipped, warning
from ops.recovery import still_open
from ops.words import counted, eat
from shared.gateway.watch import COMPARED_UNTIL, DAYS_UNTIL_RECONCILED

ONE_CALLER = 20
"""With as many pushes in an hour, a shop has customers on more than one network address."""

DRILL, DRILL_EVERY_DAYS = "python -m ops drill --help", 100


def sweep(shop: Shop) -> Finding:
    if (stopped := no_sweep(shop.database)) is not None:
        return failed(stopped.partition(". ")[0], "docs/runbook.md, sweep_stopped")
    row = shop.database.row("SELECT began_at FROM sweeps")
    if row is None:
        return skipped("no sweep has run yet: it runs every minute on the published deploy")
    return ok(f"the last one got through at {eat(row['began_at'])} EAT")


def callbacks(shop: Shop) -> Iterator[Finding]:
    row = shop.database.row(
        """
        SELECT max(received_at) FILTER (WHERE outcome IS DISTINCT FROM 'test') AS last,
               count(*) FILTER (WHERE source_check IN ('unlisted', 'held')
                                AND received_at > now() - interval '7 days') AS unlisted,
               (SELECT count(*) FROM push_callers) AS asked,
               (SELECT count(DISTINCT address_digest) FROM push_callers) AS callers
        FROM callback_inbox
        """
    )
    assert row is not None
    if row["unlisted"]:
        yield warning(
            f"{counted(row['unlisted'], 'callback')} in 7 days came from addresses that are not Safaricom's",
            "docs/runbook.md, unlisted_address",
        )
    if row["asked"] >= ONE_CALLER and row["callers"] == 1:
        yield warning(
            "all customers of the last hour came from one address: a CDN in front of the site hides them",
            "Take the CDN away, or raise ADDRESS_PUSHES_PER_HOUR: docs/limits.md, How often",
        )
    if row["last"] is None:
        yield warning("no callback of Safaricom's has come yet", "Pay KES 10: docs/deploying.md, step 8")
    elif not row["unlisted"]:
        yield ok(f"the last one came at {eat(row['last'])} EAT")


def alerts(shop: Shop) -> Finding:
    if (recovering := still_open(shop.database)) is not None:
        return failed(recovering, "docs/runbook.md, The worst day")
    rows = shop.database.rows("SELECT topic FROM incidents WHERE seen_at > now() - interval '1 hour' ORDER BY topic")
    if rows:
        return failed(f"open incidents: {', '.join(row['topic'] for row in rows)}", "python -m ops alerts")
    return ok("no incident is open")


def review(shop: Shop) -> Finding:
    row = shop.database.row("SELECT count(*) AS payments FROM transactions WHERE status = 'REVIEW'")
    if row and row["payments"]:
        return warning(
            f"{counted(row['payments'], 'payment waits', 'payments wait')} for a person", "python -m ops review list"
        )
    return ok("no payment waits for a person")


def reconciled(shop: Shop) -> Finding:
    row = shop.database.row(COMPARED_UNTIL)
    until = row["until"] if row else None
    if until is None:
        return warning(
            "the books were never compared with a statement of Safaricom's", "python -m ops reconcile --help"
        )
    if until < datetime.now(UTC) - timedelta(days=DAYS_UNTIL_RECONCILED):
        return warning(f"compared with statements until {eat(until)} EAT", "python -m ops reconcile --status")
    return ok(f"compared with statements until {eat(until)} EAT")


def backup(shop: Shop) -> Finding:
    row = shop.database.row(
        "SELECT place, at, at > now() - interval '36 hours' AS fresh FROM backups ORDER BY at DESC LIMIT 1"
    )
    if row is None:
        return warning("no backup of your own is recorded; the host's snapshots end with the host", "docs/backups.md")
    says = f"the last good backup is of {eat(row['at'])} EAT, in {row['place']}"
    return ok(says) if row["fresh"] else failed(says, "docs/runbook.md, backup_missing")


def drill(shop: Shop) -> Finding:
    row = shop.database.row("SELECT began_at, took_s, is_good FROM drills ORDER BY id DESC LIMIT 1")
    if row is None:
        return warning("no backup was ever restored as a drill", DRILL)
    last = f"the last drill, of {eat(row['began_at'])} EAT, took {counted(max(1, row['took_s'] // 60), 'minute')}"
    if not row["is_good"]:
        return failed(f"{last} and was not good", DRILL)
    if row["began_at"] < datetime.now(UTC) - timedelta(days=DRILL_EVERY_DAYS):
        return warning(last, DRILL)
    return ok(last)
