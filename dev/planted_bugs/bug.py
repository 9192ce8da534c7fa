"""What a planted bug is, and the names that bugs of several subjects share."""

from __future__ import annotations

from dataclasses import dataclass

ADMISSIONS = "shared/gateway/admissions.py"
CASES = "shared/gateway/cases.py"
INBOX = "shared/gateway/inbox.py"
OUTBOX = "shared/gateway/outbox.py"

CALLBACK = ("tests/integration/test_callback.py",)
CRASHES = ("tests/chaos/test_crash_points.py",)
SETTLEMENT = ("tests/integration/test_cases.py", "tests/integration/test_settlement.py")
STKPUSH = ("tests/integration/test_stkpush.py",)
SWEEP = ("tests/integration/test_sweep.py",)


@dataclass(frozen=True)
class Change:
    """`old` stands in the file exactly once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    """A mistake, and the tests that must notice it; `only` chooses among them as pytest's -k does."""

    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]
    only: str = ""


def bug(name: str, path: str, old: str, new: str, tests: tuple[str, ...], only: str = "") -> Bug:
    return Bug(name, (Change(path, old, new),), tests, only)
