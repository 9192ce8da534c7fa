"""Several stages side by side, each in a process of its own with its own database and its own Safaricom."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue

from netlify.functions import callback
from simulator import Behaviour, Simulator, SimulatorSettings
from tests.chaos.crash_stories import STORIES, Story
from tests.chaos.crashes import Fault, Instances, Played, Stage
from tests.fixtures.shop import Shop, forget_collaborators

NOBODY_LISTENS = "http://127.0.0.1:9/api/mpesa/callback"
"""The stage itself calls back: the simulator is told never to."""


@dataclass(frozen=True)
class Case:
    """One crash: where, how, and when Safaricom's callback comes afterwards."""

    operation: str
    fault: Fault
    callback: str

    def __str__(self) -> str:
        return f"{self.operation} (no. {self.fault.at}) {self.fault.how}, callback {self.callback}"


class Pool:
    """As many processes as databases."""

    def __init__(self, database_urls: Sequence[str]) -> None:
        spawn = multiprocessing.get_context("spawn")
        urls: SimpleQueue[str] = spawn.SimpleQueue()
        for url in database_urls:
            urls.put(url)
        self._processes = ProcessPoolExecutor(len(database_urls), spawn, _open_stage, (urls,))

    def record(self, story: Story) -> list[str]:
        """The operations of the story's last request, where nothing goes wrong."""
        return self._processes.submit(_record, story.name).result()

    def crash(self, story: Story, cases: Sequence[Case], operations: list[str]) -> list[str]:
        """What is wrong after any of the cases."""
        wrong = self._processes.map(functools.partial(_crash, story.name, operations), cases)
        return [f"{case}: {told}" for case, all_told in zip(cases, wrong, strict=True) for told in all_told]

    def close(self) -> None:
        self._processes.shutdown()


# In the processes -----------------------------------------------------------------------------------------------------

_stages: list[Stage] = []
"""This process's own."""


def _open_stage(urls: SimpleQueue[str]) -> None:
    url = urls.get()
    simulator = Simulator(SimulatorSettings(behaviour=Behaviour(push_latency_s=0))).__enter__()
    os.environ.update(
        {
            **simulator.environment(),
            "DATABASE_URL": url,
            "MPESA_CALLBACK_URL": NOBODY_LISTENS,
            "CATALOGUE": "none",
            "INVOICE_EMAIL_FROM": "invoices@shop.example",
            "INVOICE_EMAIL_REPLY_TO": "support@shop.example",
            "SHOP_NAME": "Duka la Mfano",
            "SWEEP_IDLE_MINUTES": "0",
        }
    )
    callback.FOLLOWS_UP_FOR_S = 0  # what comes in before and after the crash is left to the sweep, and its stories stay
    sys.stdout = tempfile.TemporaryFile("w+")  # noqa: SIM115  the log, open as long as the process
    forget_collaborators()
    _stages.append(Stage(Shop(url, simulator), Instances(), sys.stdout))


def _record(name: str) -> list[str]:
    """It ends well, too."""
    stage, story = _stages[0], _story(name)
    stage.clear(first_day=story.first_day)
    played = stage.play(story.prepare(stage))
    stage.recover(story.callbacks[0])
    assert stage.what_is_wrong() == []
    return played.operations


def _crash(name: str, operations: list[str], case: Case) -> list[str]:
    stage, story = _stages[0], _story(name)
    stage.clear(first_day=story.first_day)
    requests = story.prepare(stage)
    played = stage.play(requests, case.fault)
    wrong = [*_not_as_planned(played, case, operations), *stage.broken_at_once()]
    if requests[-1]["function"] == "stkpush":
        wrong += stage.repeat_at_once(requests[-1], played.reply)
    stage.recover(case.callback)
    return wrong + stage.what_is_wrong()


def _story(name: str) -> Story:
    (story,) = [story for story in STORIES if story.name == name]
    return story


def _not_as_planned(played: Played, case: Case, operations: list[str]) -> list[str]:
    """The same story up to the crash, and no further where the process was killed."""
    until = case.fault.at + 1
    wrong = []
    if played.operations[:until] != operations[:until]:
        wrong.append(f"another story: {played.operations[:until]}")
    if played.killed != case.fault.how.startswith("killed"):
        wrong.append(f"killed: {played.killed}")
    if played.killed and len(played.operations) != until:
        wrong.append(f"went on after its death: {played.operations[until:]}")
    return wrong
