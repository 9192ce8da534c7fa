"""What the platform costs: measurements of the built functions and of the bridge between Node and Python.

Each function here returns numbers and prints nothing. `make build` (dev/build.py) must have left its zips.

    with unpacked_functions() as functions:
        cold_ms = functions.cold_start_ms("callback", event, environment)

Run as `python -m dev.bench.unpacked_functions`, it prints them for events that need no database.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Any

from dev.build import ZIPS, BuiltFunction, built_functions
from dev.deployed_function import DeployedFunction, http_event, make_removable

ROOT = Path(__file__).resolve().parents[2]
START = ROOT / "netlify" / "plugins" / "python-functions" / "runtime" / "start.py"

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


def python_alone_ms(handler: str, *, runs: int = 9, python: str = sys.executable) -> Spread:
    """From starting Python to its asking for the first event: interpreter, awslambdaric, the handler's imports."""
    arrived: list[float] = []

    class RuntimeApi(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            arrived.append(perf_counter())  # and gets no answer: its process is ended now

        def log_message(self, format: str, *args: object) -> None:
            pass

    taken = []
    with ThreadingHTTPServer(("127.0.0.1", 0), RuntimeApi) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        environment = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}", "PATH": ""}
        for _ in range(runs + 1):
            arrived.clear()
            began = perf_counter()
            process = subprocess.Popen(
                # start.py speaks to its parent on descriptor 3
                ["/bin/sh", "-c", 'exec "$@" 3>/dev/null', "sh", python, str(START), handler, str(ROOT)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(),
            )
            while not arrived and process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.001)
            process.kill()
            process.communicate()
            taken.append((arrived[0] - began) * 1000)
        server.shutdown()
    return Spread(tuple(taken[1:]))


def main() -> None:
    refused = http_event("PUT", "/api/mpesa/nothing")
    with unpacked_functions() as functions:
        for built in functions.sizes:
            starts = [functions.cold_start_ms(built.name, refused) for _ in range(6)]
            cold = Spread(tuple(starts[1:]))  # the first one reads the files from the disk
            warm = functions.warm_calls(built.name, refused)
            alone = python_alone_ms(f"netlify.functions.{built.name}.handler", runs=5)
            print(
                f"{built.name:10} {built.zip_mb:5.1f} MB  cold {cold.p50:6.1f} ms, of it Python {alone.p50:6.1f} ms"
                f"  bridge p50 {warm.overhead_p50:5.2f} ms, p99 {warm.overhead_p99:5.2f} ms"
            )


if __name__ == "__main__":
    main()
