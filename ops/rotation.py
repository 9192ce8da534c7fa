"""`ops callback-secret` and `ops audit-secret`: the derived secrets, to be kept before a credential is rotated.

Neither needs a database.
"""

from __future__ import annotations

import argparse

from ops.session import Commands, Session
from shared.settings import callback_secret


def add_commands(commands: Commands) -> None:
    callback = commands.add_parser(
        "callback-secret", help="the secret that signs callback addresses; print it before rotating keys"
    )
    callback.set_defaults(run=_callback_secret)
    audit = commands.add_parser(
        "audit-secret", help="the secret that signs the audit log; print it before rotating keys"
    )
    audit.set_defaults(run=_audit_secret)


def _callback_secret(session: Session, _: argparse.Namespace) -> int:
    print(callback_secret(session.environ))
    return 0


def _audit_secret(session: Session, _: argparse.Namespace) -> int:
    print(session.audit_keys[0].secret)
    return 0
