"""Reading a callback never fails, whatever the bytes: recorded bodies that were bent, and a fuzzer that learns.

The bodies come from strangers before anything about them is known. So each is read as the functions read it, and what
came of it must keep what the reader promises (tests/chaos/fuzz_callback.py).
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

from tests.chaos.fuzz_callback import hold, mutations, seeds
from tests.fixtures.soak import Figure, Rounds

ROOT = Path(__file__).parents[2]
COVERAGE_GUIDED = sys.platform == "linux" and platform.machine() == "x86_64"


def test_every_recorded_body_keeps_the_promises() -> None:
    assert {hold(body) for body in seeds()} >= {"Confirmed", "Declined", "UnknownCode"}


def test_recorded_bodies_that_were_bent_keep_the_promises(rounds: Rounds, figure: Figure) -> None:
    read_as = Counter(hold(body) for body in mutations(Random(254), rounds(3_000, 2_000_000)))
    figure(", ".join(f"{times} {kind}" for kind, times in read_as.most_common()))
    assert set(read_as) == {"Confirmed", "Declined", "UnknownCode", "unreadable"}


def test_a_fuzzer_that_watches_the_branches_finds_no_bytes_that_break_them(
    rounds: Rounds, figure: Figure, tmp_path: Path
) -> None:
    runs = rounds(2_000, 5_000_000)
    if not COVERAGE_GUIDED:
        figure("not run: atheris exists for Linux on x86-64 only")
        return
    fuzzing = subprocess.run(
        [sys.executable, "-m", "tests.chaos.fuzz_callback", tmp_path / "corpus", f"-runs={runs}", "-max_len=2048"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    told = fuzzing.stderr
    assert fuzzing.returncode == 0, told[-3_000:]
    done = re.search(r"Done ([0-9]+) runs in ([0-9]+) second", told)
    covered = re.findall(r"cov: ([0-9]+)", told)
    assert done is not None, told[-3_000:]
    assert int(done[1]) >= runs
    figure(f"{int(done[1]):,} executions in {done[2]} s, {covered[-1]} branches reached, 0 crashes")
