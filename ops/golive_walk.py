"""What the steps of `ops golive` share: their names, what was remembered of them, and how it is written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.checks import Shop
from ops.session import Session
from shared.database import Row, Transaction

AGAIN = "python -m ops golive"
DONE, SAID, ASKED, FAILED = "done", "said", "asked", "failed"
"""What a row says of its step: fulfilled; so by a person's word; KES 1 is being asked; that ended badly."""
STEPS = {
    "doctor": "`ops doctor`: nothing failed, each warning accepted",
    "limits_low": "the deployed functions have low limits",
    "prompt": "KES 1 asked of your own phone: push, passkey and callback work",
    "payment": "KES 1 paid: receipt, invoice and the mail of the sale came",
    "books": "the payment is logged and signed: `ops verify`",
    "watch": "the first 24 hours after the first payment, without a fault",
    "statement": "M-Pesa's statement has that payment",
    "limits_raised": "limits raised with the evidence for it, or high enough",
    "live": "your word that the shop is live",
}
"""Stable names, in order."""


@dataclass(frozen=True)
class Outcome:
    """What was found about a step. No phone number, e-mail address or secret stands in it."""

    fulfilled: bool
    says: str
    do_now: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass
class Walk:
    """One run of the command, and what earlier ones remembered."""

    session: Session
    chosen: argparse.Namespace
    shop: Shop
    waited: bool = False
    """For a phone: once in a run."""

    def rows(self, step: str, tx: Transaction | None = None) -> list[Row]:
        """Of one step, the newest first."""
        return (tx or self.session.database).rows(
            "SELECT id, at, state, who, says, facts FROM golive_steps WHERE step = :step ORDER BY id DESC", step=step
        )

    def closed(self, step: str, tx: Transaction | None = None) -> Row | None:
        """How it was fulfilled."""
        return next((row for row in self.rows(step, tx) if row["state"] in (DONE, SAID)), None)

    def next_step(self) -> str | None:
        return next((name for name in STEPS if self.closed(name) is None), None)

    def remember(self, step: str, state: str, says: str, facts: Mapping[str, object]) -> None:
        """Of two who do a step at once the first is kept."""
        who = self.session.operator(self.chosen)
        with self.session.database.transaction() as tx:
            lock(tx)
            if state not in (DONE, SAID) or self.closed(step, tx) is None:
                add_row(tx, step, state, who, says, facts)


def lock(tx: Transaction) -> None:
    """One at a time: whoever writes a step has seen all earlier ones."""
    tx.row("SELECT pg_advisory_xact_lock(hashtext('golive_steps'))")


def add_row(tx: Transaction, step: str, state: str, who: str, says: str, facts: Mapping[str, object]) -> None:
    tx.run(
        """
        INSERT INTO golive_steps (step, state, who, says, facts)
        VALUES (:step, :state, :who, :says, CAST(:facts AS jsonb))
        """,
        step=step,
        state=state,
        who=who,
        says=says,
        facts=json.dumps(facts),
    )
