"""DATABASE_URL, read as libpq reads it, into where to connect and how. Pure: opens nothing, imports next to nothing.

Every parameter is understood or refused by name; nothing is silently ignored, because an ignored `sslmode` is how
traffic ends up in the clear. Errors never show any part of the URL's value.

To another machine TLS is always used and always verified (certificate chain and name), whatever weaker `sslmode` the
URL says: `require`, which hosted databases put into their URLs, verifies nothing in libpq. A private certificate
authority comes in through `sslrootcert`; `verify-ca` then checks it alone, and no name, as in libpq. Without
`sslrootcert` the name is checked: everybody gets a certificate of a public authority. Only loopback addresses and Unix
sockets may be plain.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

Tls = Literal["off", "unverified", "authority", "verified"]
ChannelBinding = Literal["disable", "prefer", "require"]

SOCKET_PATH_LIMIT = 107
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
LOOPBACK = re.compile(r"localhost|127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|::1", re.IGNORECASE)


class ConnectionSettings(NamedTuple):
    """Where the database is and how to reach it. `socket_path` is set for a Unix socket, `host` otherwise."""

    user: str
    database: str
    host: str
    port: int
    socket_path: str | None
    password: str | None
    tls: Tls
    root_certificates: str | None
    """A file of trusted certificate authorities; None: the system's."""
    channel_binding: ChannelBinding
    application_name: str
    options: str | None
    connect_timeout_s: float | None

    def __repr__(self) -> str:
        return f"ConnectionSettings(tls={self.tls!r})"


@lru_cache(maxsize=4)
def connection_settings(url: str) -> ConnectionSettings:
    """Raises ValueError("DATABASE_URL …") saying what is wrong, never the value."""
    return _settings(_parameters(url))


def _settings(given: dict[str, str]) -> ConnectionSettings:
    for name in given:
        if name not in KNOWN_PARAMETERS:
            raise _wrong(_unknown(name))
    host, socket_path, port = _address(given)
    local = socket_path is not None or LOOPBACK.fullmatch(host) is not None
    mode = _one_of(given, "sslmode", SSL_MODES, "prefer")
    root = given.get("sslrootcert") or None
    if root == "system":
        root, mode = None, "verify-full"
    if not local and mode == "disable":
        raise _wrong("asks for sslmode=disable, which is for loopback addresses and Unix sockets only: use verify-full")
    tls = _tls(mode, local=local, unix=socket_path is not None, root=root)
    binding = _one_of(given, "channel_binding", ("disable", "prefer", "require"), "prefer")
    if binding == "require" and tls == "off":
        raise _wrong("asks for channel_binding=require, which needs TLS: add sslmode=verify-full")
    if not given.get("user"):
        raise _wrong("names no user")
    _one_of(given, "sslnegotiation", ("postgres",), "postgres")
    _one_of(given, "gssencmode", ("disable", "prefer"), "disable")
    encoding = given.get("client_encoding", "utf8").lower()
    if encoding not in ("utf8", "utf-8", "auto"):
        raise _wrong("asks for a client_encoding other than UTF8")
    _one_of(given, "keepalives", ("1",), "1")
    _one_of(given, "target_session_attrs", ("any", "read-write", "primary"), "any")  # what writes says READ WRITE
    seconds = _number(given, "connect_timeout", 0, 3600)
    return ConnectionSettings(
        user=given["user"],
        database=given.get("dbname") or given["user"],
        host=host,
        port=port,
        socket_path=socket_path,
        password=given.get("password") or None,
        tls=tls,
        root_certificates=root,
        channel_binding="require" if binding == "require" else "disable" if binding == "disable" else "prefer",
        application_name=given.get("application_name") or given.get("fallback_application_name") or "lipa",
        options=given.get("options") or None,
        connect_timeout_s=float(seconds) if seconds else None,
    )


def _tls(mode: str, *, local: bool, unix: bool, root: str | None) -> Tls:
    if unix:
        return "off"
    if mode == "verify-ca" and root:
        return "authority"
    if not local or mode in ("verify-ca", "verify-full"):
        return "verified"
    if mode == "require":
        return "verified" if root else "unverified"
    return "off"


def _address(given: dict[str, str]) -> tuple[str, str | None, int]:
    host = given.get("host", "")
    if not host:
        raise _wrong("names no host: postgresql://user:password@host:5432/name, or ?host=/folder for a Unix socket")
    if "," in host or "," in given.get("port", ""):
        raise _wrong("names more than one host: name the one that takes writes")
    port = _number(given, "port", 1, 65535) or 5432
    if not host.startswith("/"):
        if not re.fullmatch(r"[0-9A-Za-z_.:%-]{1,253}", host):
            raise _wrong("names a host that is no host name or address")
        return host, None, port
    path = f"{host.rstrip('/')}/.s.PGSQL.{port}"
    if len(path.encode()) > SOCKET_PATH_LIMIT:
        raise _wrong(f"names a Unix socket whose path is longer than {SOCKET_PATH_LIMIT} bytes")
    return "", path, port


# Taking the URL apart -------------------------------------------------------------------------------------------------

KNOWN_PARAMETERS = {
    *("host", "port", "dbname", "user", "password", "connect_timeout", "target_session_attrs", "options", "keepalives"),
    *("sslmode", "sslrootcert", "sslnegotiation", "channel_binding", "gssencmode", "client_encoding"),
    *("application_name", "fallback_application_name"),
}
URL = re.compile(
    r"(?i:postgres|postgresql)://(?:(?P<userinfo>[^/?#]*)@)?(?P<host>\[[^\]/?#@]*\]|[^:/?#@\[\]]*)(?::(?P<port>[^/?#@]*))?"
    r"(?:/(?P<dbname>[^?#]*))?(?:\?(?P<query>[^#]*))?"
)


def _parameters(url: str) -> dict[str, str]:
    text = url.strip()
    if not re.match(r"(?i:postgres|postgresql)://", text):
        raise _wrong("must begin with postgresql:// or postgres://")
    if not text.isprintable() or " " in text:
        raise _wrong("holds a space or a control character: write it percent-encoded")
    parts = URL.fullmatch(text)
    if parts is None or "@" in f"{parts['dbname']}{parts['query']}":
        raise _wrong(
            "cannot be taken apart: characters like / ? # [ ] of a user name or password must be percent-encoded"
        )
    user, has_password, password = (parts["userinfo"] or "").partition(":")
    named = {"user": user, "host": parts["host"].strip("[]"), "port": parts["port"], "dbname": parts["dbname"]}
    found = {name: _decoded(value) for name, value in named.items() if value}
    if has_password:
        found["password"] = _decoded(password)
    for pair in filter(None, (parts["query"] or "").split("&")):
        name, equals, value = pair.partition("=")
        if not equals:
            raise _wrong("has a parameter without a value")
        found[_decoded(name)] = _decoded(value)
    return found


def _decoded(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise _wrong("has a % that is no percent-encoding: write %25 for a percent sign")
    data = re.sub(rb"%([0-9A-Fa-f]{2})", lambda code: bytes([int(code[1], 16)]), text.encode())
    try:
        value = data.decode()
    except UnicodeDecodeError:
        value = "\0"
    if "\0" in value:
        raise _wrong("has a percent-encoding that is no UTF-8 text")
    return value


def _unknown(name: str) -> str:
    shown = name if re.fullmatch(r"[a-z_]{1,40}", name) else "of another form"
    return f"has the parameter {shown}, which is not supported: remove it"


def _one_of(given: dict[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = given.get(name) or default
    if value not in allowed:
        raise _wrong(f"has a parameter {name} that is none of {', '.join(allowed)}")
    return value


def _number(given: dict[str, str], name: str, least: int, most: int) -> int | None:
    value = given.get(name)
    if not value:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", value) or not least <= int(value) <= most:
        raise _wrong(f"has a {name} that is no number from {least} to {most}")
    return int(value)


def _wrong(what: str) -> ValueError:
    return ValueError(f"DATABASE_URL {what}")
