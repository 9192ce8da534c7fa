"""One statement file, read whole or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ops.statements.statement import Statement


def read_statement(path: Path, progress: Callable[[int], None] = lambda rows: None) -> Statement:
    """The statement in a file of Safaricom's. `progress` hears the number of rows read so far.

    Raises `UnusableFile`.
    """
    raise NotImplementedError
