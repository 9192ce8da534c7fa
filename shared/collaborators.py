"""What the functions work with, made once a process: settings, gateway, Daraja, mailer, clock.

One object is handed to whoever needs some of it; no other module makes its own. Each part is imported and made when it
is first used, so that a function pays at its start only for what its own story needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from shared import settings as environment
from shared.gateway import Gateway

if TYPE_CHECKING:
    from shared.daraja.client import Daraja
    from shared.database import Database
    from shared.mail.mailer import Mailer
    from shared.settings import MailSettings, Settings
    from shared.sweeping import Sweeps


A_DATABASE_WAKES_WITHIN_S = 10
"""Usually within one. The callback function waits as long as it may."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Collaborators:
    """For every function that needs the whole configuration."""

    def __init__(
        self, settings: Settings, clock: Callable[[], datetime] = utc_now, database: Database | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._database = database

    @cached_property
    def gateway(self) -> Gateway:
        from shared.database import Database

        mine = self.settings
        return Gateway(
            self._database or Database(environment.current_database_url, connect_timeout_s=A_DATABASE_WAKES_WITHIN_S),
            mine.database.environment,
            mine.callback.confirm_above_kes,
            audit_key=mine.audit.key,
            consumer_key=mine.daraja.consumer_key,
            references_are_reusable=mine.references_are_reusable,
            webhooks=mine.has_webhook,
        )

    @cached_property
    def daraja(self) -> Daraja:
        from shared.daraja.client import Daraja

        return Daraja(self.settings.daraja, self.gateway.tokens, clock=self.clock)

    @cached_property
    def mailer(self) -> Mailer:
        """Raises `Misconfigured`."""
        return mailer_from(self.settings.letters.mail)

    @cached_property
    def sweeps(self) -> Sweeps:
        from shared.sweeping import Sweeps

        return Sweeps()


def mailer_from(mail: MailSettings) -> Mailer:
    """SMTP where SMTP_URL is set, else SendGrid; each is imported only where it is used."""
    if mail.smtp_url:
        from shared.mail.smtp import SmtpMailer

        return SmtpMailer(mail)
    from shared.mail.sendgrid import SendGridMailer

    return SendGridMailer(mail)


@dataclass
class Receiver:
    """For the callback function: less of the configuration can stop it, and it waits less for the database."""

    settings: Settings
    gateway: Gateway

    @cached_property
    def whole(self) -> Collaborators:
        """For what comes after the settlement: the other settings too, over the same connection.

        Raises `Misconfigured`.
        """
        return Collaborators(self.settings.need(*environment.PAYMENTS), database=self.gateway.database)


@functools.cache
def collaborators() -> Collaborators:
    """This process's own. Raises `Misconfigured`."""
    return Collaborators(environment.settings())


@functools.cache
def receiver() -> Receiver:
    """This process's own. Raises `Misconfigured`."""
    from shared.database import Database

    mine = environment.receiving()
    database = Database(environment.current_database_url, connect_timeout_s=2, statement_timeout_s=3, lock_timeout_s=1)
    gateway = Gateway(
        database,
        mine.database.environment,
        mine.callback.confirm_above_kes,
        audit_key=mine.audit.key,
        references_are_reusable=mine.references_are_reusable,
        webhooks=mine.has_webhook,
    )
    return Receiver(mine, gateway)
