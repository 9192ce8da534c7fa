"""The functions that `make build` left, unpacked and run as on Netlify, with the time that each answer took.

with unpacked_functions() as functions:
    cold_ms = functions.cold_start_ms("callback", event, environment)
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dev.build import ZIPS, BuiltFunction, built_functions
from dev.deployed_function import DeployedFunction, make_removable

DIRECT_CALLS = """
import importlib, json, sys, time
work = json.loads(sys.argv[1])
sys.path[:0] = [work["site"]]
sys.path.append(work["packages"])
handler = importlib.import_module(work["module"]).handler
taken = []
for _ in range(work["calls"]):
    began = time.perf_counter()
    handler(work["event"], None)
    taken.append((time.perf_counter() - began) * 1000)
print("", json.dumps(taken), sep="\\n", file=sys.stderr)
"""


class UnpackedFunctions:
    """The built functions, each unpacked once."""

    def __init__(self, folder: Path, zips: Path) -> None:
        self._folder, self._zips = folder, zips

    @property
    def sizes(self) -> list[BuiltFunction]:
        return built_functions(self._zips)

    def start(self, name: str, environment: Mapping[str, str] | None = None) -> DeployedFunction:
        return DeployedFunction(self._zips / f"{name}.zip", self._folder / name, environment)

    def cold_start_ms(self, name: str, event: Mapping[str, Any], environment: Mapping[str, str]) -> float:
        """From Node beginning to load the entry to the first answer: starts Python, imports, handles the event."""
        with self.start(name, environment) as function:
            answered_ms(function, event)
            return function.cold_start_ms

    def called_directly_ms(self, name: str, event: Mapping[str, Any], calls: int) -> list[float]:
        """The handler, called by the Python and with the packages of its zip. The event must need no environment."""
        [tree] = (self._folder / name / ".netlify" / "python-functions").glob("python-*")
        [python] = (tree / "bin").iterdir()
        work = {"event": event, "calls": calls, "module": f"netlify.functions.{name}"}
        work |= {"site": str(tree.parent / "site"), "packages": str(tree / "packages")}
        run = subprocess.run(
            [python, "-I", "-S", "-c", DIRECT_CALLS, json.dumps(work)],
            check=True,
            env={"LD_LIBRARY_PATH": str(tree / "lib")},
            capture_output=True,
            text=True,
        )
        taken_ms: list[float] = json.loads(run.stderr.strip().splitlines()[-1])
        return taken_ms


def answered_ms(function: DeployedFunction, event: Mapping[str, Any]) -> float:
    """The milliseconds that an answer took, as Node sees it. RuntimeError where it is not the one that is measured."""
    answer = function.invoke(event)
    if answer["statusCode"] not in (200, 202):
        raise RuntimeError(f"{function.name} did not answer as it should: {answer}\n{function.log()}")
    return function.took_ms


@contextlib.contextmanager
def unpacked_functions(zips: Path = ZIPS) -> Iterator[UnpackedFunctions]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield UnpackedFunctions(Path(folder), zips)
        finally:
            make_removable(Path(folder))
