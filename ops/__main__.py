"""`python -m ops COMMAND`: what an operator does with the books. `make verify` runs `python -m ops verify`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from shared.database import Database, DatabaseError
from shared.settings import Misconfigured, database_url


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """0: done, and all is well. 1: something is wrong with the books. 2: the command could not be run."""
    parser = argparse.ArgumentParser(prog="python -m ops", description="What an operator does with the books.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("verify", help="check every invariant on DATABASE_URL; changes nothing")
    chosen = parser.parse_args(arguments)
    try:
        database = Database(database_url(environ), statement_timeout_s=120)
        return {"verify": verify}[chosen.command](database)
    except (Misconfigured, DatabaseError) as refused:
        print(f"{type(refused).__name__}: {refused}", file=sys.stderr)
        return 2


def verify(database: Database) -> int:
    """Print each invariant with what breaks it."""
    from ops.verify import check

    results = check(database)
    for result in results:
        print(f"{'ok    ' if result.holds else 'BROKEN'}  {result.name}: {result.promise}")
        for transaction_id in result.broken_by[:10]:
            print(f"          {transaction_id}")
        if len(result.broken_by) > 10:
            print(f"          and {len(result.broken_by) - 10} more")
    broken = sum(not result.holds for result in results)
    print(f"{len(results)} invariants, {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
