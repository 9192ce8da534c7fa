"""The sweep's work, one piece at a time: each is leased, done and recorded before the next one begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from shared.daraja.callback_address import key_name
from shared.daraja.callback_reader import receipts_seen
from shared.database.errors import DatabaseUnavailable
from shared.deadline import Deadline
from shared.gateway.daraja import Later, QueryDue
from shared.gateway.outbox import AlertDue, AnchorDue, Dropped, InvoiceDue, NoticeDue
from shared.mail.sending import NoMailNow, mail_anchor, send_letter
from shared.observability.alerts import deliver
from shared.observability.log import failed, note, where_it_broke
from shared.settlement import ask, check_age, judge

if TYPE_CHECKING:
    from shared.collaborators import Collaborators
    from shared.gateway.inbox import Entry

A_CALL_OUT_S = 8
A_WAIT_S = 2
MAIL_AT_A_TIME_S = 4
ANCHORS_AT_A_TIME_S = 4
SECONDS_BETWEEN_QUERIES = {"sandbox": 13.0, "production": 2.0}
"""The sandbox allows 5 a minute, one at a time (captured 429 answers, 2025-10): 12 s apart where they arrive, and one
may be a second longer on its way than the next. Production's limit is not published."""


class Sweep:
    """One shift. `done` counts what it did."""

    def __init__(self, mine: Collaborators, shift: Deadline) -> None:
        self._mine = mine
        self._shift = shift
        self._gateway = mine.gateway
        self._look_is_due = False
        self._mail_answers = True
        self.done: dict[str, int] = {}

    def begin(self) -> None:
        """The heartbeat; an alert where no sweep had run for a while; what a wrong clock or an old deploy left."""
        self._look_is_due = self._gateway.watch.sweep_begins()
        self._attempt("putting_right", self._put_right, counted=False)

    def _put_right(self) -> None:
        good = [key_name(secret) for secret in self._mine.settings.callback.secrets]
        self._count("moments_put_right", self._gateway.upkeep.put_right(good))

    def judge_inbox(self) -> None:
        """Callbacks that could not be judged when they came, or whose payment has since been confirmed by a query."""
        while not self._shift.passed() and (entries := self._gateway.inbox.take(10)):
            for entry in entries:
                self._attempt("judged", partial(self._judge, entry))
        self._count("dead_letters", self._gateway.inbox.bury())

    def check_ages(self) -> None:
        """Payments that died before their push, or have been silent for too long."""
        for transaction_id in self._gateway.queries.silent(50):
            if self._shift.passed():
                return
            self._attempt("clock", partial(check_age, self._gateway, transaction_id))

    def watch_the_shop(self) -> None:
        """Every five minutes, what no single payment shows: missing callbacks, failures on the rise, stuck work.

        After the outbox was sent, so that what waited for this sweep does not count as stuck.
        """
        if self._look_is_due and not self._shift.passed():
            self._attempt("looking", self._look, counted=False)
            self._attempt("forgetting", self._gateway.watch.forget, counted=False)

    def anchor_history(self) -> None:
        """Once a day, a digest of all history so far, to be kept outside.

        Last, and a few seconds at most: a log that never had one takes several sweeps, and holds nothing up. One step
        is made in each, however long the rest took.
        """
        self._attempt("anchoring", self._anchor, counted=False)

    def _anchor(self) -> None:
        until = self._shift.at_most(ANCHORS_AT_A_TIME_S)
        made = 0
        while (more := self._gateway.anchors.make()) is not None:
            made += 1
            if not more or until.passed():
                break
        if made:
            self._send_what_is_due()

    def ask_daraja(self) -> bool:
        """One query, or a short wait for the next slot of the shared budget. False: there is nothing more to ask."""
        if self._shift.passed():
            return False
        found = self._gateway.queries.take(SECONDS_BETWEEN_QUERIES[self._mine.settings.database.environment])
        match found:
            case QueryDue():
                self._attempt("queries", partial(self._ask, found))
                return True
            case Later(in_s):
                if in_s is None or in_s >= self._shift.remaining_s():
                    return False
                time.sleep(min(in_s, A_WAIT_S))
                return True

    def _ask(self, due: QueryDue) -> None:
        ask(self._gateway, self._mine.daraja, due, Deadline.after(A_CALL_OUT_S))

    def send_outbox(self) -> None:
        """Alerts that wait, and mail for a few seconds: other work goes on between.

        A mail server that did not answer, or takes nothing, is not tried again in this shift.
        """
        self._send_what_is_due()
        if given_up := self._gateway.outbox.give_up():
            self._count("given_up", given_up)
            self._send_what_is_due()  # the alert that it was given up

    def _send_what_is_due(self) -> None:
        mail_until = self._shift.at_most(MAIL_AT_A_TIME_S)
        while not self._shift.passed() and (
            due := self._gateway.outbox.take(
                mail_too=self._mail_answers and not mail_until.passed(), notices=self._mine.settings.notices
            )
        ):
            match due:
                case Dropped(how_many):
                    self._count("notices_dropped", how_many)
                case AlertDue():
                    deliver(self._gateway, due)
                    self._count("alerts", 1)
                case AnchorDue():
                    self._attempt("anchors", partial(self._send_anchor, due))
                case InvoiceDue():
                    self._attempt("invoices", partial(self._mail, partial(send_letter, self._mine, due)))
                case NoticeDue():
                    self._attempt("notices", partial(self._mail, partial(send_letter, self._mine, due)))

    def _look(self) -> None:
        if self._gateway.watch.look():
            self._send_what_is_due()

    def _judge(self, entry: Entry) -> None:
        try:
            judge(self._gateway, entry, actor="sweep")
        except Exception as failure:  # whatever it was: it is on file, with the reason for a person
            self._gateway.inbox.put_back(entry, where_it_broke(failure), receipts_seen(entry.body))
            raise

    def _send_anchor(self, due: AnchorDue) -> None:
        if due.way == "log":
            note("anchor", anchor=due.token)
            self._gateway.outbox.sent(due)
            return
        self._mail(lambda until: mail_anchor(self._mine, due, until))

    def _mail(self, send: Callable[[Deadline], None]) -> None:
        try:
            send(Deadline.after(A_CALL_OUT_S))
        except NoMailNow:
            self._mail_answers = False
            raise

    def _attempt(self, what: str, work: Callable[[], object], *, counted: bool = True) -> None:
        """A failure is logged and the work left to its lease. The shift goes on, unless the database is unavailable."""
        try:
            work()
            self._count(what, int(counted))
        except DatabaseUnavailable:
            raise
        except Exception as failure:  # one bad piece must not stop the others
            failed(what, failure)
            self._count(f"{what}_failed", 1)

    def _count(self, what: str, how_many: int) -> None:
        if how_many:
            self.done[what] = self.done.get(what, 0) + how_many
