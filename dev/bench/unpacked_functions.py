"""What the platform costs: measurements of the built functions and of the bridge between Node and Python.

Each function here returns numbers and prints nothing. `make build` (dev/build.py) must have left its zips.

    with unpacked_functions() as functions:
        cold_ms = functions.cold_start_ms("callback", event, environment)
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.build import ZIPS, BuiltFunction, built_functions
from dev.deployed_function import DeployedFunction, make_removable

DIRECT_CALLS = """
import importlib, json, sys, time
work = json.loads(sys.argv[1])
sys.path[:0] = [work["site"]]
sys.path.append(work["packages"])
module, _, name = work["handler"].rpartition(".")
handler = getattr(importlib.import_module(module), name)
taken = []
for _ in range(work["warm_up"] + work["calls"]):
    began = time.perf_counter()
    handler(work["event"], None)
    taken.append((time.perf_counter() - began) * 1000)
print("", json.dumps(taken[work["warm_up"]:]), sep="\\n", file=sys.stderr)
"""


@dataclass(frozen=True)
class Spread:
    """Some measurements of one thing, in milliseconds."""

    values: tuple[float, ...]

    @property
    def p50(self) -> float:
        return statistics.median(self.values)

    @property
    def p99(self) -> float:
        return sorted(self.values)[round((len(self.values) - 1) * 0.99)]


@dataclass(frozen=True)
class WarmCalls:
    """The same handler, called in Python directly and through the bridge, as Node sees it."""

    direct: Spread
    bridged: Spread

    @property
    def overhead_p50(self) -> float:
        return self.bridged.p50 - self.direct.p50

    @property
    def overhead_p99(self) -> float:
        return self.bridged.p99 - self.direct.p50


class UnpackedFunctions:
    """The built functions, each unpacked once."""

    def __init__(self, folder: Path, zips: Path = ZIPS) -> None:
        self._folder, self._zips = folder, zips

    @property
    def sizes(self) -> list[BuiltFunction]:
        return built_functions(self._zips)

    def start(self, name: str, environment: Mapping[str, str] | None = None) -> DeployedFunction:
        return DeployedFunction(self._zips / f"{name}.zip", self._folder / name, environment)

    def cold_start_ms(self, name: str, event: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> float:
        """From Node beginning to load the entry to the first answer: starts Python, imports, handles the event."""
        with self.start(name, environment) as function:
            answer = function.invoke(event)
            if answer["statusCode"] >= 500 or answer["statusCode"] == 429:
                raise RuntimeError(f"{name} did not answer as it should: {answer}\n{function.log()}")
            return function.cold_start_ms

    def warm_calls(self, name: str, event: Mapping[str, Any], *, calls: int = 500, warm_up: int = 50) -> WarmCalls:
        """For an event whose handling needs no environment."""
        with self.start(name) as function:
            taken = [function.timed(event)[1] for _ in range(warm_up + calls)]
        bridged = Spread(tuple(taken[warm_up:]))
        work = {"event": event, "calls": calls, "warm_up": warm_up, "handler": f"netlify.functions.{name}.handler"}
        return WarmCalls(self._called_directly(self._folder / name, work), bridged)

    def _called_directly(self, unpacked: Path, work: dict[str, Any]) -> Spread:
        [tree] = (unpacked / ".netlify" / "python-functions").glob("python-*")
        [python] = (tree / "bin").iterdir()
        places = {"site": str(tree.parent / "site"), "packages": str(tree / "packages")}
        run = subprocess.run(
            [python, "-I", "-S", "-c", DIRECT_CALLS, json.dumps(work | places)],
            check=True,
            env={"LD_LIBRARY_PATH": str(tree / "lib")},
            capture_output=True,
            text=True,
        )
        return Spread(tuple(json.loads(run.stderr.strip().splitlines()[-1])))


@contextlib.contextmanager
def unpacked_functions(zips: Path = ZIPS) -> Iterator[UnpackedFunctions]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield UnpackedFunctions(Path(folder), zips)
        finally:
            make_removable(Path(folder))
