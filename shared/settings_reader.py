"""Reads variables one by one, each against the form that its value must have.

Every problem is remembered, so that one failure names all of them; none says what the value was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from shared.money import LARGEST_KES

LARGEST_COUNT = 100_000
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Problem:
    """One variable that cannot be used, and what it should hold."""

    name: str
    should_hold: str


class Misconfigured(Exception):
    """Set the named environment variables (Netlify: Site configuration, Environment variables) and deploy again."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.name} must hold {p.should_hold}" for p in problems))

    @classmethod
    def of(cls, name: str, should_hold: str) -> Misconfigured:
        return cls([Problem(name, should_hold)])


class Reader:
    """Reads variables one by one and remembers every problem, so that all are told at once."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._problems: dict[str, Problem] = {}

    def get(self, name: str) -> str:
        return self._variables.get(name, "").strip()

    def has(self, name: str) -> bool:
        return bool(self.get(name))

    def text(
        self, name: str, holds: str, accepts: Callable[[str], bool] = lambda _: True, default: str | None = None
    ) -> str:
        value = self.get(name)
        if not value:
            if default is None:
                self.problem(name, holds)
            return default or ""
        if not accepts(value):
            self.problem(name, holds)
            return ""
        return value

    def kes(self, name: str, default: Decimal, least: Decimal, most: Decimal = LARGEST_KES) -> Decimal:
        text = self._digits(name, f"whole shillings from {least} to {most:,}, digits only", int(least), int(most))
        return Decimal(text) if text else default

    def count(self, name: str, default: int) -> int:
        text = self._digits(name, f"a number from 1 to {LARGEST_COUNT:,}, digits only", 1, LARGEST_COUNT)
        return int(text) if text else default

    def _digits(self, name: str, holds: str, least: int, most: int) -> str:
        return self.text(
            name, holds, lambda v: bool(re.fullmatch("[0-9]{1,9}", v)) and least <= int(v) <= most, default=""
        )

    def other_server(self, name: str, default: str, production: bool) -> str:
        if production and self.has(name):
            self.problem(name, "nothing when MPESA_ENV is production: it is for sandboxes and simulators")
            return default
        return self.text(name, "an https address (http only on this machine)", is_server, default=default).rstrip("/")

    def problem(self, name: str, should_hold: str) -> None:
        self._problems.setdefault(name, Problem(name, should_hold))

    def check(self) -> None:
        if self._problems:
            raise Misconfigured(list(self._problems.values()))


# What a value must look like ------------------------------------------------------------------------------------------


def is_plain(value: str) -> bool:
    return bool(re.fullmatch(r"[!-~]{4,512}", value)) and value[0] not in "'\"<"


def is_long_secret(value: str) -> bool:
    return bool(re.fullmatch(r"[!-~]{32,512}", value))


def is_shortcode(value: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{5,7}", value))


def is_one_line(value: str) -> bool:
    return value.isprintable() and len(value) <= 200


def is_tax_pin(value: str) -> bool:
    """As on a KRA PIN certificate, in whichever case it was typed."""
    return bool(re.fullmatch(r"[A-Za-z][0-9]{9}[A-Za-z]", value))


def listed(value: str) -> list[str]:
    return [part.rstrip("/") for part in separated(value)]


def separated(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _split(value: str) -> tuple[str, str, str, str]:
    """scheme, host, path, and what must be absent (user, query, fragment); all empty where it is no address."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return "", "", "", ""
    return (
        parts.scheme,
        parts.hostname or "",
        parts.path,
        f"{parts.username or ''}{parts.password or ''}{parts.query}{parts.fragment}",
    )


def is_origin(value: str) -> bool:
    scheme, host, path, extra = _split(value)
    return scheme in ("http", "https") and bool(host) and path == "" and not extra


def as_browsers_write_it(origin: str) -> str:
    """Lower case, without the port that goes without saying: origins are compared as text."""
    return re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin.lower())


def is_server(value: str) -> bool:
    scheme, host, _, extra = _split(value)
    return bool(host) and not extra and (scheme == "https" or (scheme == "http" and host in LOOPBACK))


def is_dsn(value: str) -> bool:
    """As Sentry shows it: a key before the host, the project's number at the end."""
    key, at, address = value.partition("://")[2].partition("@")
    scheme, host, path, extra = _split(f"{value.partition('://')[0]}://{address}")
    reachable = scheme == "https" or (scheme == "http" and host in LOOPBACK)
    named = at and re.fullmatch(r"[0-9A-Za-z]{8,64}(:[0-9A-Za-z]{8,64})?", key, re.ASCII)
    return bool(named and host and reachable and not extra and re.fullmatch(r"(/[\w.-]+)*/[0-9]{1,20}", path, re.ASCII))


def is_release(value: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9._@/+-]{1,100}", value))


def is_callback_url(value: str, production: bool) -> bool:
    scheme, host, path, extra = _split(value)
    reachable = scheme == "https" and host not in LOOPBACK if production else scheme in ("http", "https")
    return reachable and bool(host) and not extra and bool(re.fullmatch(r"(/[A-Za-z0-9._-]+)*/callback", path))


def is_smtp_url(value: str) -> bool:
    scheme, host, path, _ = _split(value)
    return scheme in ("smtp", "smtps") and bool(host) and path in ("", "/")
