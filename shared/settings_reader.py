"""Reads environment variables one by one, each against the form that its value must have.

All problems are collected, so that one error names them all. No message contains a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar
from urllib.parse import urlsplit

from shared.values import LARGEST_KES

LARGEST_COUNT = 100_000
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
Form = str | Callable[[str], bool]
"""What a value must match: a regular expression, or a function."""
T = TypeVar("T")


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
    """Some environment variables. A value that cannot be used counts as the default, or as empty."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._problems: dict[str, Problem] = {}

    def get(self, name: str) -> str:
        """The value without spaces around it; empty where there is none."""
        return self._variables.get(name, "").strip()

    def text(self, name: str, holds: str, form: Form = ".*", default: str | None = None) -> str:
        """`default` where it is not set; without a default it must be."""
        value = self._variables.get(name, "").strip()
        if not value and default is not None:
            return default
        matches = re.fullmatch(form, value) if isinstance(form, str) else form(value)
        if not value or not matches:
            self.problem(name, holds)
            return ""
        return value

    def choice(self, name: str, of: tuple[str, ...], default: str | None = None) -> str:
        return self.text(name, f"{', '.join(of[:-1])} or {of[-1]}", lambda value: value in of, default)

    def kes(self, name: str, default: Decimal, least: Decimal, most: Decimal = LARGEST_KES) -> Decimal:
        return Decimal(self._number(name, "whole shillings", int(default), int(least), int(most)))

    def count(self, name: str, default: int) -> int:
        return self._number(name, "a number", default, 1, LARGEST_COUNT)

    def _number(self, name: str, what: str, default: int, least: int, most: int) -> int:
        text = self.text(name, f"{what} from {least} to {most:,}, digits only", "[0-9]{1,9}", "")
        if text and not least <= int(text) <= most:
            self.problem(name, f"{what} from {least} to {most:,}, digits only")
        return int(text or default)

    def other_server(self, name: str, default: str, production: bool) -> str:
        """The address of a server that stands in for the real one; never in production."""
        if production and self.get(name):
            self.problem(name, "nothing when MPESA_ENV is production: it is for sandboxes and simulators")
            return default
        return self.text(name, "an https address (http only on this machine)", is_server, default).rstrip("/")

    def problem(self, name: str, should_hold: str) -> None:
        self._problems.setdefault(name, Problem(name, should_hold))

    def checked(self, value: T) -> T:
        """`value`, where all that was read can be used. Raises `Misconfigured`."""
        if self._problems:
            raise Misconfigured(list(self._problems.values()))
        return value


# What a value must look like ------------------------------------------------------------------------------------------

PLAIN = r"(?!['\"<])[!-~]{4,512}"
LONG_SECRET = "[!-~]{32,512}"
SHORTCODE = "[0-9]{5,7}"
TAX_PIN = "[A-Za-z][0-9]{9}[A-Za-z]"
"""As on a KRA PIN certificate, in upper or lower case."""
RELEASE = "[A-Za-z0-9._@/+-]{1,100}"


def is_one_line(value: str) -> bool:
    return value.isprintable() and len(value) <= 200


def separated(value: str) -> list[str]:
    """The parts between commas."""
    return [part.strip() for part in value.split(",") if part.strip()]


def _split(value: str) -> tuple[str, str, str, str]:
    """Scheme, host, path, and what must be absent (user, query, fragment); all empty where it is no address."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return "", "", "", ""
    forbidden = f"{parts.username or ''}{parts.password or ''}{parts.query}{parts.fragment}"
    return parts.scheme, parts.hostname or "", parts.path, forbidden


def is_origin(value: str) -> bool:
    scheme, host, path, forbidden = _split(value)
    return scheme in ("http", "https") and bool(host) and path == "" and not forbidden


def as_browsers_write_it(origin: str) -> str:
    """Lower case, without the default port: origins are compared as text."""
    return re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin.lower())


def is_server(value: str) -> bool:
    scheme, host, _, forbidden = _split(value)
    return bool(host) and not forbidden and (scheme == "https" or (scheme == "http" and host in LOOPBACK))


def is_dsn(value: str) -> bool:
    """As Sentry shows it: a key before the host, the project's number at the end."""
    scheme, _, rest = value.partition("://")
    key, at, address = rest.partition("@")
    server = f"{scheme}://{address}"
    return bool(
        at
        and re.fullmatch("[0-9A-Za-z]{8,64}(:[0-9A-Za-z]{8,64})?", key)
        and is_server(server)
        and re.fullmatch(r"(/[\w.-]+)*/[0-9]{1,20}", _split(server)[2], re.ASCII)
    )


def is_callback_url(value: str, production: bool) -> bool:
    scheme, host, path, forbidden = _split(value)
    reachable = scheme == "https" and host not in LOOPBACK if production else scheme in ("http", "https")
    return reachable and bool(host) and not forbidden and bool(re.fullmatch(r"(/[A-Za-z0-9._-]+)*/callback", path))


def is_smtp_url(value: str) -> bool:
    scheme, host, path, _ = _split(value)
    return scheme in ("smtp", "smtps") and bool(host) and path in ("", "/")
