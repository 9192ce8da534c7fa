"""What the functions work with, made once a process: settings, the gateway, Daraja, the mailer.

Each is imported where it is made, so that a function pays at its start only for what its own story needs.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from shared.gateway import Gateway
from shared.settings import receiving, settings

if TYPE_CHECKING:
    from shared.daraja.client import Daraja
    from shared.mail.mailer import Mailer


@functools.cache
def gateway() -> Gateway:
    """For every function that needs the whole configuration. Raises `Misconfigured`."""
    from shared.database import Database

    mine = settings()
    return Gateway(
        Database(mine.database.url),
        mine.database.environment,
        mine.callback.confirm_above_kes,
        audit_key=mine.audit.key,
        consumer_key=mine.daraja.consumer_key,
    )


@functools.cache
def receiving_gateway() -> Gateway:
    """For the callback function: it asks less of the configuration and is less patient with the database."""
    from shared.database import Database

    mine = receiving()
    database = Database(mine.database.url, connect_timeout_s=2, statement_timeout_s=3, lock_timeout_s=1)
    return Gateway(database, mine.database.environment, mine.callback.confirm_above_kes, audit_key=mine.audit.key)


@functools.cache
def daraja() -> Daraja:
    from shared.daraja.client import Daraja

    return Daraja(settings().daraja, gateway().tokens)


@functools.cache
def mailer() -> Mailer:
    from shared.mail.mailers import mailer_from

    return mailer_from(settings().mail)
