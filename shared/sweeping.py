"""The sweep's work, one piece at a time: each is leased, done and recorded before the next one begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from shared.collaborators import daraja, gateway
from shared.daraja.callback_reader import receipts_seen
from shared.database.errors import DatabaseUnavailable
from shared.deadline import Deadline
from shared.gateway.outbox import AlertDue, AnchorDue, Dropped, InvoiceDue, NoticeDue
from shared.gateway.queries import Later, QueryDue
from shared.mail.sending import NoMailNow, mail_anchor, send_invoice, send_notice
from shared.observability.alerts import deliver
from shared.observability.log import failed, note, where_it_broke
from shared.settings import settings
from shared.settlement import ask, judge, look_at_the_clock

if TYPE_CHECKING:
    from shared.gateway.inbox import Entry

A_CALL_OUT_S = 8
A_WAIT_S = 2
MAIL_AT_A_TIME_S = 4
SECONDS_BETWEEN_QUERIES = {"sandbox": 13.0, "production": 2.0}
"""The sandbox allows 5 a minute, one at a time (captured 429 answers, 2025-10): 12 s apart where they arrive, and one
may be a second longer on its way than the next. Production's limit is not published."""


class Sweep:
    """One shift. `done` counts what it did."""

    def __init__(self, shift: Deadline) -> None:
        self._shift = shift
        self._gateway = gateway()
        self._mail_answers = True
        self.done: dict[str, int] = {}

    def begin(self) -> None:
        """Leave word that a sweep runs; say so where none had for a while."""
        self._gateway.watch.sweep_begins()

    def judge_inbox(self) -> None:
        """Callbacks that could not be judged when they came, or whose payment has since been confirmed by a query."""
        while not self._shift.passed() and (entries := self._gateway.inbox.take(10)):
            for entry in entries:
                self._attempt("judged", partial(self._judge, entry))
        self._count("dead_letters", self._gateway.inbox.bury())

    def watch_the_clock(self) -> None:
        """Payments that died before their push, or have been silent for too long; and callers to forget."""
        self._gateway.admissions.forget_callers()
        for transaction_id in self._gateway.queries.silent(50):
            if self._shift.passed():
                return
            self._attempt("clock", partial(look_at_the_clock, self._gateway, transaction_id))

    def watch_the_shop(self) -> None:
        """What no single payment shows: callbacks that do not come, failures on the rise, work that waits.

        After the outbox was sent: what waited for the sweep alone is not stuck. What is found leaves at once.
        """
        if not self._shift.passed():
            self._attempt("looking", self._look, counted=False)

    def anchor_history(self) -> None:
        """Once a day: what history is by now, in one line that leaves the house."""
        while not self._shift.passed() and self._gateway.anchors.make():
            pass

    def ask_daraja(self) -> bool:
        """One query, or a short wait for the next slot of the shared budget. False: there is nothing more to ask."""
        if self._shift.passed():
            return False
        found = self._gateway.queries.take(SECONDS_BETWEEN_QUERIES[settings().database.environment])
        match found:
            case QueryDue():
                self._attempt("queries", lambda: ask(self._gateway, daraja(), found, Deadline.after(A_CALL_OUT_S)))
                return True
            case Later(in_s):
                if in_s is None or in_s >= self._shift.remaining_s():
                    return False
                time.sleep(min(in_s, A_WAIT_S))
                return True

    def send_outbox(self) -> None:
        """Alerts that wait, and mail for a few seconds: other work goes on between.

        A mail server that answered nothing, or takes nothing, is left alone for the rest of the shift.
        """
        self._send_what_is_due()
        if given_up := self._gateway.outbox.give_up():
            self._count("given_up", given_up)
            self._send_what_is_due()  # that it was given up

    def _send_what_is_due(self) -> None:
        mail_until = self._shift.at_most(MAIL_AT_A_TIME_S)
        while not self._shift.passed() and (
            due := self._gateway.outbox.take(
                mail_too=self._mail_answers and not mail_until.passed(), notices=settings().notices
            )
        ):
            match due:
                case Dropped():
                    self._count("notices_dropped", 1)
                case AlertDue():
                    deliver(self._gateway, due)
                    self._count("alerts", 1)
                case AnchorDue():
                    self._attempt("anchors", partial(self._send_anchor, due))
                case InvoiceDue():
                    self._attempt("invoices", partial(self._mail, partial(send_invoice, self._gateway, due)))
                case NoticeDue():
                    self._attempt("notices", partial(self._mail, partial(send_notice, self._gateway, due)))

    def _look(self) -> None:
        if self._gateway.watch.look():
            self._send_what_is_due()

    def _judge(self, entry: Entry) -> None:
        try:
            judge(self._gateway, entry, actor="sweep")
        except Exception as failure:  # whatever it was: it is on file, and a person will see the reason
            self._gateway.inbox.put_back(entry, where_it_broke(failure), receipts_seen(entry.body))
            raise

    def _send_anchor(self, due: AnchorDue) -> None:
        if due.way == "log":
            note("anchor", anchor=due.token)
            self._gateway.outbox.sent(due)
            return
        self._mail(lambda until: mail_anchor(self._gateway, due, until))

    def _mail(self, send: Callable[[Deadline], None]) -> None:
        try:
            send(Deadline.after(A_CALL_OUT_S))
        except NoMailNow:
            self._mail_answers = False
            raise

    def _attempt(self, what: str, work: Callable[[], object], *, counted: bool = True) -> None:
        """What fails is logged and left to its lease; the shift goes on, unless the database cannot be reached."""
        try:
            work()
            self._count(what, int(counted))
        except DatabaseUnavailable:
            raise
        except Exception as failure:  # one bad piece must not hold up the others
            failed(what, failure)
            self._count(f"{what}_failed", 1)

    def _count(self, what: str, how_many: int) -> None:
        if how_many:
            self.done[what] = self.done.get(what, 0) + how_many
