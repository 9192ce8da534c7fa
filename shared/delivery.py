"""Sends what is due: alerts first, then letters to customers and to the shop.

Every function that made something due sends it at once, through the outbox's leases: two that send at the same moment
send one letter, and what was not sent is left to the next try. An attempt counts as a try also where it was cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from shared.deadline import Deadline
from shared.gateway.outbox import AlertDue, AnchorDue, Dropped, InvoiceDue
from shared.mail.sending import NoMailNow, mail_anchor, send_letter
from shared.observability.alerts import deliver
from shared.observability.log import failed, note

if TYPE_CHECKING:
    from shared.collaborators import Collaborators
    from shared.gateway.outbox import Due

A_LETTER_LASTS_S = 8.0
A_LETTER_NEEDS_S = 1.0
"""With less time than this left no letter is begun: it would only be cut off."""


class Delivery:
    """`of`: only what this payment made due, and alerts about the whole shop; None: everything. At `ends` all is over.

    `done` counts what was sent, dropped and failed.
    """

    def __init__(self, mine: Collaborators, ends: Deadline, *, of: str | None = None) -> None:
        self._mine = mine
        self._ends = ends
        self._outbox = mine.gateway.outbox
        self._of = of
        self._mail_answers = True
        self.done: dict[str, int] = {}

    def send(self, until: Deadline | None = None, *, letters_until: Deadline | None = None) -> None:
        """All that is due; nothing is begun after `until`, and no letter after `letters_until`.

        A mail server that did not answer, or takes nothing, is not tried again. Raises what the database raises.
        """
        until = until or self._ends
        letters_until = letters_until or until
        while not until.passed() and (due := self._next(letters_until)) is not None:
            if isinstance(due, Dropped):
                self._count("notices_dropped", due.how_many)
            elif isinstance(due, AlertDue):
                self._attempt("alerts", partial(deliver, self._mine.gateway, due))
            elif isinstance(due, AnchorDue):
                self._attempt("anchors", partial(self._send_anchor, due))
            else:
                name = "invoices" if isinstance(due, InvoiceDue) else "notices"
                self._attempt(name, partial(self._mail, partial(send_letter, self._mine, due)))

    def _next(self, letters_until: Deadline) -> Due | Dropped | None:
        mail_too = self._mail_answers and letters_until.remaining_s() >= A_LETTER_NEEDS_S
        return self._outbox.take(mail_too=mail_too, notices=self._mine.settings.notices, of=self._of)

    def _send_anchor(self, due: AnchorDue) -> None:
        if due.way == "log":
            note("anchor", anchor=due.token)
            self._outbox.sent(due)
        else:
            self._mail(partial(mail_anchor, self._mine, due))

    def _mail(self, send: Callable[[Deadline], None]) -> None:
        try:
            send(self._ends.at_most(A_LETTER_LASTS_S))
        except NoMailNow:
            self._mail_answers = False
            raise

    def _attempt(self, what: str, work: Callable[[], object]) -> None:
        """A failure is logged and recorded with the message: the others are sent."""
        try:
            work()
            self._count(what)
        except Exception as failure:
            failed(what, failure)
            self._count(f"{what}_failed")

    def _count(self, what: str, how_many: int = 1) -> None:
        self.done[what] = self.done.get(what, 0) + how_many
