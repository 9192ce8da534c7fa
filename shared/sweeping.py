"""The sweep's work, one piece at a time: each is leased, done and recorded before the next one begins.

A step or a piece that breaks is logged and alerted, and never stops the others. Where there is nothing to do and
nothing comes due soon, the sweep says until when it sleeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from shared.daraja.callback_address import key_name
from shared.database.errors import Busy, CommitUnknown, DatabaseUnavailable
from shared.deadline import Deadline
from shared.delivery import Delivery
from shared.gateway import WrongEnvironment
from shared.gateway.daraja import Later, QueryDue
from shared.gateway.watch import EVERYTHING, Agenda
from shared.observability.alerts import step_breaks
from shared.observability.log import failed
from shared.query_schedule import BUDGETS
from shared.settlement import ask, check_age, judge_what_waits

if TYPE_CHECKING:
    from shared.collaborators import Collaborators

A_CALL_OUT_S = 8
A_WAIT_S = 2
MAIL_AT_A_TIME_S = 4
ANCHORS_AT_A_TIME_S = 3
JUDGED = "judged"
"""A callback that cannot be judged is alerted as a dead letter, after its third try."""
BROKEN_IN_A_ROW = 15
BROKEN_SLEEPS_S = 15 * 60.0
"""After so many sweeps in a row in which something broke and was alerted, it looks only so often: trying every minute
would keep the database awake for as long as nobody repairs it."""
COMES_BACK = (DatabaseUnavailable, Busy, CommitUnknown)


class Sweep:
    """One shift. Nothing is started after `starts_until`, but queries until `asks_until`; at `ends` all is over.

    `done` counts what it did.
    """

    def __init__(self, mine: Collaborators, starts_until: Deadline, asks_until: Deadline, ends: Deadline) -> None:
        self._mine = mine
        self._shift = starts_until
        self._asks_until = asks_until
        self._ends = ends
        self._gateway = mine.gateway
        self._agenda: Agenda = EVERYTHING
        self._delivery = Delivery(mine, ends)
        self._got_through = True
        self._to_alert: set[str] = set()
        self._stumbled: dict[str, Exception] = {}
        self._counted: dict[str, int] = {}

    @property
    def done(self) -> dict[str, int]:
        return self._counted | self._delivery.done

    def look(self) -> None:
        """What there is to do. Where that cannot be read, every step looks for itself.

        Raises `DatabaseUnavailable` and `WrongEnvironment`: then there is nothing to be done.
        """
        try:
            self._agenda = self._gateway.watch.agenda()
        except (DatabaseUnavailable, WrongEnvironment):
            raise
        except Exception as failure:
            self._broke("agenda", failure)
        if self._agenda.had_stopped:
            self._step("stopped", self._gateway.watch.sweep_had_stopped)
            self._agenda = Agenda(self._agenda.due | {"alerts"}, had_stopped=True)

    def put_right(self) -> None:
        """What a wrong clock or an old deploy left. Then more may be due than the agenda said."""
        self._step("putting_right", self._put_right)

    def _put_right(self) -> None:
        good = [key_name(secret) for secret in self._mine.settings.callback.secrets]
        if put_right := self._gateway.watch.put_right(good):
            self._count("moments_put_right", put_right)
            self._agenda = EVERYTHING

    def send_alerts(self) -> None:
        """First of all: they need no mail server."""
        if "alerts" in self._agenda.due:
            self._step("alerts", lambda: self._delivery.send(self._shift, letters_until=Deadline.after(0)))

    def judge_inbox(self) -> None:
        """Callbacks that could not be judged when they came, or whose payment has since been confirmed by a query."""
        if "callbacks" in self._agenda.due:
            self._step("callbacks", self._judge_inbox)
            self._step("dead_letters", lambda: self._count("dead_letters", self._gateway.inbox.bury()))

    def _judge_inbox(self) -> None:
        while not self._shift.passed() and (entries := self._gateway.inbox.take(10)):
            for entry in entries:
                self._piece(JUDGED, partial(judge_what_waits, self._gateway, entry, "sweep"))

    def check_ages(self) -> None:
        """Payments that died before their push, or have been silent for too long. After Daraja was asked about them."""
        if "open" in self._agenda.due:
            self._step("ages", self._check_ages, until=self._ends)

    def _check_ages(self) -> None:
        for transaction_id in self._gateway.queries.silent(50):
            if self._ends.passed():
                return
            self._piece("clock", partial(check_age, self._gateway, transaction_id))

    def anchor_history(self) -> None:
        """Once a day, a digest of all history so far, to be kept outside.

        Last of all, and a few seconds at most: a log that never had one takes several sweeps, and holds nothing up. One
        step is made in each, however long the rest took.
        """
        if "anchors" in self._agenda.due:
            self._step("anchoring", self._make_anchors, until=self._ends)

    def _make_anchors(self) -> None:
        until, made = self._shift.at_most(ANCHORS_AT_A_TIME_S), False
        while (more := self._gateway.anchors.make()) is not None:
            made = True
            if not more or until.passed():
                break
        if made:
            self._send()

    def send_outbox(self) -> None:
        """Alerts that wait, and mail for a few seconds: other work goes on between."""
        if {"alerts", "mail", "anchors", "webhooks"} & self._agenda.due or self._counted:
            self._step("messages", self._send, until=self._ends)
            self._step("given_up", self._give_up, until=self._ends)

    def _send(self) -> None:
        self._delivery.send(self._ends, letters_until=self._shift.at_most(MAIL_AT_A_TIME_S))

    def _give_up(self) -> None:
        if given_up := self._gateway.outbox.give_up():
            self._count("given_up", given_up)
            self._send()  # the alert that it was given up

    def end_webhooks(self) -> None:
        """What the shop's own server has not answered yet. It went on beside everything else."""
        self._step("webhooks", self._delivery.finish, until=self._ends)
        self._step("given_up", self._give_up, until=self._ends)

    def watch_the_shop(self) -> None:
        """Every five minutes, what no single payment shows: missing callbacks, failures on the rise, stuck work.

        After the rest, so that what waited for this sweep does not count as stuck.
        """
        if "look" in self._agenda.due:
            self._step("looking", self._look_at_the_shop, until=self._ends)
            self._step("forgetting", self._gateway.watch.forget, until=self._ends)

    def _look_at_the_shop(self) -> None:
        if self._gateway.watch.look():
            self._send()

    def ask_daraja(self) -> bool:
        """One query, or a short wait for the next slot of the shared budget. False: there is nothing more to ask."""
        if "queries" not in self._agenda.due or self._asks_until.passed():
            return False
        found: QueryDue | Later = Later(None)
        budget = BUDGETS[self._mine.settings.database.environment]

        def take() -> None:
            nonlocal found
            found = self._gateway.queries.take(budget)

        self._step("queries", take, until=self._asks_until)
        match found:
            case QueryDue():
                deadline = self._ends.at_most(A_CALL_OUT_S)
                self._piece("queries", partial(ask, self._gateway, self._mine.daraja, found, deadline))
                self._agenda = Agenda(self._agenda.due | {"callbacks"}, had_stopped=False)  # what waited for the answer
                return True
            case Later(in_s):
                if in_s is None or in_s >= self._asks_until.remaining_s():
                    return False
                time.sleep(min(in_s, A_WAIT_S))
                return True

    def end(self) -> bool:
        """What broke is alerted; where no step did, the heartbeat is written, and until when the sweep sleeps.

        False: a step broke. Raises what a step raised for which the database was unavailable.
        """
        history = self._mine.sweeps
        again = self._stumbled.keys() & history.stumbled
        history.stumbled = set(self._stumbled)
        for what in sorted(self._to_alert | again):
            step_breaks(self._gateway, what)
        for failure in self._stumbled.values():
            raise failure
        if self._got_through:
            idle_s = 60.0 * self._mine.settings.sweep.idle_minutes
            history.got_through(self._gateway.watch.sweep_got_through(idle_s))
        else:
            history.broken()
        return self._got_through

    def _step(self, what: str, work: Callable[[], object], *, until: Deadline | None = None) -> None:
        """What all pieces of a kind have in common. A fault of the database alone is alerted the second time."""
        if (until or self._shift).passed():
            return
        try:
            work()
        except COMES_BACK as failure:
            self._note(what, failure)
            self._stumbled[what] = failure
        except Exception as failure:  # one that breaks must not stop the others
            self._broke(what, failure)

    def _piece(self, what: str, work: Callable[[], object]) -> None:
        """One payment, callback or query: left to its lease where it fails."""
        try:
            work()
            self._count(what, 1)
        except Exception as failure:
            self._note(what, failure)
            if what != JUDGED and not isinstance(failure, COMES_BACK):
                self._to_alert.add(what)

    def _broke(self, what: str, failure: Exception) -> None:
        self._note(what, failure)
        self._to_alert.add(what)
        self._got_through = False

    def _note(self, what: str, failure: Exception) -> None:
        failed(what, failure)
        self._count(f"{what}_failed", 1)

    def _count(self, what: str, how_many: int) -> None:
        if how_many:
            self._counted[what] = self._counted.get(what, 0) + how_many


class Sweeps:
    """What the process remembers from one sweep to the next: above all until when it leaves the database alone.

    By two clocks, as one may stand still while the function is frozen, and one may be set: the first wakes it. A
    process that starts anew remembers nothing, and looks.
    """

    def __init__(self) -> None:
        self.stumbled: set[str] = set()
        """The steps for which the database was unavailable last time."""
        self._broken_in_a_row = 0
        self._until: tuple[float, float] | None = None

    def asleep_s(self) -> float:
        """For how long the database is still left alone; 0: it is time to look."""
        if self._until is None:
            return 0.0
        return max(0.0, min(self._until[0] - time.monotonic(), self._until[1] - time.time()))

    def got_through(self, sleeps_s: float) -> None:
        self._broken_in_a_row = 0
        self._sleep(sleeps_s)

    def broken(self) -> None:
        self._broken_in_a_row += 1
        self._sleep(BROKEN_SLEEPS_S if self._broken_in_a_row >= BROKEN_IN_A_ROW else 0.0)

    def _sleep(self, for_s: float) -> None:
        self._until = (time.monotonic() + for_s, time.time() + for_s) if for_s > 0 else None
