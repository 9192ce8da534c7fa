"""`make bench`: what the functions cost, as ratios of things measured side by side in the same run.

Everything is real: the zips of `netlify build` unpacked, PostgreSQL over TCP, the simulator as Daraja. Rounds go
through all measured things in turn, so that whatever else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from pathlib import Path

from dev.bench.against import compare
from dev.bench.measurements import bridge, cold_starts, far_away, full_books, round_trips, sizes
from dev.bench.shop import shop
from dev.bench.unpacked_functions import unpacked_functions
from dev.build import netlify_build

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if netlify_build() != 0:
        return 1
    print()
    if options.against:
        compare(options.against)
        return 0
    with shop() as here, unpacked_functions() as built:
        os.environ.update(here.environment)  # for the handlers that run in this process
        lines = [*cold_starts(here, built), *bridge(built), *round_trips(here), *far_away(here, built)]
        lines += [*full_books(built, options.payments), *sizes(built)]
    table = ["| what | measured | target |", "| --- | --- | --- |"]
    table += [f"| {line.what} | {line.measured} | {line.target} |" for line in lines]
    print("\n".join(table))
    if options.write:
        keep("\n".join(table))
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.bench", description="What the functions cost, as ratios.")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--payments", type=int, default=100_000, help="in the full books (100000)")
    parser.add_argument(
        "--against", metavar="REV", help="compare callback and stkpush with those of an earlier revision"
    )
    return parser.parse_args(arguments)


def keep(table: str) -> None:
    """Replace the table in the page, and say where it was measured."""
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    page = re.sub(
        r"(?s)(<!-- make bench -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}Measured with {where}.\n\n{table}\n{found[2]}",
        PAGE.read_text("utf-8"),
    )
    PAGE.write_text(page, "utf-8")
    print(f"written to {PAGE.name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
