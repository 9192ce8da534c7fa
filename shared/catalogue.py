"""The file with the shop's prices: where it is, and what it says. Read once a process, and again when it changes."""

from __future__ import annotations

import functools
from pathlib import Path

from shared.environment_variables import Misconfigured
from shared.prices import Catalogue, CatalogueWrong, read_catalogue

ROOT = Path(__file__).resolve().parent.parent
USUAL = "public/catalogue.json"
NONE = "none"


def catalogue_of(setting: str | None, root: Path = ROOT) -> Catalogue | None:
    """By the variable CATALOGUE; None where the shop has none. Raises `Misconfigured`: no file, or mistakes in it.

    A build sets the variable to what it found, so a deploy that lost the file takes no payment at another price.
    """
    file = file_of(setting, root)
    if file is None:
        return None
    try:
        about = file.stat()
        return _read(file, about.st_mtime_ns, about.st_size)
    except (OSError, CatalogueWrong) as wrong:
        raise Misconfigured.of(
            "CATALOGUE", f"{NONE}, or the name of a catalogue that can be used: {_why(wrong)}"
        ) from wrong


def file_of(setting: str | None, root: Path = ROOT) -> Path | None:
    """Where it has to be. None: the shop has none."""
    if setting is None:
        return root / USUAL if (root / USUAL).exists() else None
    return None if setting == NONE else root / setting


@functools.lru_cache(maxsize=1)
def _read(file: Path, _changed_at: int, _size: int) -> Catalogue:
    return read_catalogue(file.read_bytes())


def _why(wrong: OSError | CatalogueWrong) -> str:
    """Of the mistakes the first: a build names all."""
    return wrong.mistakes[0] if isinstance(wrong, CatalogueWrong) else "this deploy has no such file"
