"""What a check is: it looks at one thing of the shop, and says in a sentence what it found, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ops.session import Session
from shared.database import Database
from shared.settings import Settings


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One thing found. No secret, phone number or e-mail address stands in it."""

    verdict: Verdict
    says: str
    do_now: str = ""
    """One command or page."""


def ok(says: str) -> Finding:
    return Finding(Verdict.OK, says)


def warning(says: str, do_now: str) -> Finding:
    return Finding(Verdict.WARNING, says, do_now)


def failed(says: str, do_now: str) -> Finding:
    return Finding(Verdict.FAILED, says, do_now)


def skipped(why: str) -> Finding:
    return Finding(Verdict.SKIPPED, f"skipped because {why}")


@dataclass
class Shop:
    """What the checks look at."""

    session: Session
    live: str | None = None
    """The origin of the deployed shop, where it is not that of MPESA_CALLBACK_URL."""
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        self.settings = Settings(self.environ)

    @property
    def environ(self) -> Mapping[str, str]:
        return self.session.environ

    @property
    def database(self) -> Database:
        """Raises `Misconfigured`."""
        return self.session.database

    @property
    def in_production(self) -> bool:
        return self.given("MPESA_ENV") == "production"

    def given(self, name: str) -> str:
        return self.environ.get(name, "").strip()


class Check(NamedTuple):
    """`look` may raise `Misconfigured`: skipped, because the settings failed; or `DatabaseError`: failed."""

    name: str
    look: Callable[[Shop], Finding | Iterable[Finding]]
    needs: tuple[str, ...] = ()
    """Names of checks without which it would mean nothing."""
