"""Every check of `ops doctor`, in order. Where one failed, those that need it are skipped: they would mean nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ops.checks import Check, Finding, Shop, Verdict, bill, database, duties, failed, live, outside, settings, skipped
from shared.database import DatabaseError
from shared.environment_variables import Misconfigured

CHECKS = (
    Check("settings", settings.settings),
    Check("mail_settings", settings.mail_settings),
    Check("webhook_settings", settings.webhook_settings),
    Check("variables_size", settings.variables_size),
    Check("prices", settings.prices),
    Check("limits", settings.limits),
    Check("error_reports", settings.error_reports),
    Check("database", database.database),
    Check("database_version", database.database_version, ("database",)),
    Check("database_address", database.database_address, ("database",)),
    Check("migrations", database.migrations, ("database", "database_version")),
    Check("tables", database.tables, ("migrations",)),
    Check("role", database.role, ("tables",)),
    Check("clock", database.clock, ("database",)),
    Check("environment", database.environment, ("tables",)),
    Check("audit_key", database.audit_key, ("tables",)),
    Check("encryption", database.encryption, ("database",)),
    Check("daraja_token", outside.daraja_token, ("environment",)),
    Check("mail", outside.mail, ("mail_settings",)),
    Check("callback_address", live.callback_address),
    Check("callback_tls", live.callback_tls),
    Check("callback_answer", live.callback_answer, ("callback_tls",)),
    Check("test_callback", live.test_callback, ("callback_answer", "environment")),
    Check("deployed", live.deployed, ("callback_answer", "environment")),
    Check("sweep", duties.sweep, ("tables",)),
    Check("callbacks", duties.callbacks, ("tables",)),
    Check("alerts", duties.alerts, ("tables",)),
    Check("review", duties.review, ("tables",)),
    Check("reconciled", duties.reconciled, ("tables",)),
    Check("backup", duties.backup, ("tables",)),
    Check("drill", duties.drill, ("tables",)),
    Check("bill", bill.bill, ("tables",)),
)


@dataclass(frozen=True)
class Checked:
    """A finding, under the stable name of its check."""

    name: str
    verdict: Verdict
    says: str
    do_now: str


def examine(shop: Shop) -> Iterator[Checked]:
    """Every check in order, each with what it found."""
    because: dict[str, str] = {}
    for check in CHECKS:
        cause = next((because[need] for need in check.needs if need in because), None)
        findings = _look(check, shop) if cause is None else [skipped(f"{cause} failed")]
        if cause is not None or any(each.verdict is Verdict.FAILED for each in findings):
            because[check.name] = cause or check.name
        elif any(each.says == SETTINGS_FAILED.says for each in findings):
            because[check.name] = "settings"
        yield from (Checked(check.name, each.verdict, each.says, each.do_now) for each in findings)


SETTINGS_FAILED = skipped("settings failed")


def _look(check: Check, shop: Shop) -> list[Finding]:
    try:
        found = check.look(shop)
        return [found] if isinstance(found, Finding) else list(found)
    except Misconfigured:
        return [SETTINGS_FAILED]
    except DatabaseError as broken:
        return [failed(str(broken), broken.do_now or "Try again; docs/database.md")]
    except Exception as broken:  # a mistake in one check must not hide the others
        return [failed(f"the check itself broke: {type(broken).__name__}", "Report it, with this line")]
