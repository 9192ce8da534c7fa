"""Mutants that change nothing that could ever be seen, each with its reason. By `Mutant.name`."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {}
