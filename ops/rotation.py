"""`ops callback-secret`, `audit-secret`, `link-secret`: the derived secrets, to be kept before a credential is rotated.
`ops backup-secret`: what signs backups, for the machine that makes them and has no other secret.

None needs a database.
"""

from __future__ import annotations

import argparse

from ops.answers import Answer
from ops.backups.manifest import signing_key
from ops.session import Commands, Session
from shared.settings import callback_secret, link_secrets


def add_commands(commands: Commands) -> None:
    for name, signs, run in (
        ("callback-secret", "callback addresses (the sweep retires all but it and the previous one)", _callback_secret),
        ("audit-secret", "the audit log", _audit_secret),
        ("link-secret", "payment links", _link_secret),
    ):
        about = f"the secret that signs {signs}; print it before rotating keys"
        commands.add_parser(name, help=about).set_defaults(run=run)
    about = "the secret that signs backups (BACKUP_SECRET), derived from the audit log's"
    commands.add_parser("backup-secret", help=about).set_defaults(run=_backup_secret)


def _callback_secret(session: Session, _: argparse.Namespace) -> Answer:
    return secret_answer(callback_secret(session.environ))


def _audit_secret(session: Session, _: argparse.Namespace) -> Answer:
    return secret_answer(session.audit_keys[0].secret)


def _link_secret(session: Session, _: argparse.Namespace) -> Answer:
    return secret_answer(link_secrets(session.environ)[0])


def _backup_secret(session: Session, _: argparse.Namespace) -> Answer:
    return secret_answer(signing_key(session.audit_keys[0]).secret)


def secret_answer(secret: str) -> Answer:
    return Answer({"secret": secret}, [secret])
