"""PostgreSQL's protocol, by pg8000's CoreConnection, with what it does otherwise.

Any number of statements travel together, in one round trip with one Sync (the extended protocol's pipelining); pg8000
makes three round trips for one statement. `channel_binding` is honoured. Texts are UTF-8, whatever a session says.

Importing this module imports pg8000, which is slow: `shared.database` does so at the first connection.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import struct
from collections.abc import Sequence
from typing import Any

from pg8000 import converters
from pg8000.core import (
    BIND,
    COMMAND_COMPLETE,
    DESCRIBE,
    EMPTY_QUERY_RESPONSE,
    EXECUTE_MSG,
    FLUSH_MSG,
    NULL_BYTE,
    PARSE,
    PORTAL,
    READY_FOR_QUERY,
    SYNC_MSG,
    Context,
    CoreConnection,
    H_pack,
    _create_message,
    _read,
    ci_unpack,
    i_pack,
    make_params,
    scramp,
)
from pg8000.exceptions import InterfaceError

from shared.database.network import Refused
from shared.database.session import Statement
from shared.database.url import ConnectionSettings

PASSWORD_METHODS = (3, 5)
SASL, SASL_FINAL, LOGGED_IN = 10, 12, 0
NO_VALUE = i_pack(-1)
DESCRIBE_MSG = _create_message(DESCRIBE, PORTAL + NULL_BYTE)


class NotSent(Exception):
    """A value cannot be sent; nothing was."""


NOT_THE_PROTOCOL = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, struct.error)
CONNECTION_LOST = (InterfaceError, OSError, *NOT_THE_PROTOCOL)
"""What pg8000 raises when the connection ends, or when what arrives is not PostgreSQL's protocol."""


class Wire(CoreConnection):  # type: ignore[misc]  # pg8000 has no types
    def __init__(self, settings: ConnectionSettings, sock: socket.socket) -> None:
        self.ended_with: dict[str, str] | None = None
        self.read_timeout_s: float | None = None
        self.answered = 0
        """How many of the statements that travelled together last were executed."""
        self._binding = settings.channel_binding
        self._bound = False
        super().__init__(
            settings.user,
            database=settings.database,
            password=settings.password,
            application_name=settings.application_name,
            startup_params={"options": settings.options} if settings.options else None,
            sock=sock,
            ssl_context=False,
        )
        self.register_in_adapter(converters.TIMESTAMPTZ, _instant)

    @property
    def server_pid(self) -> int | None:
        """The server's process as the login named it."""
        return int.from_bytes(self._backend_key_data[:4], "big") if self._backend_key_data else None

    def execute_simple(self, statement: str) -> Context:
        context = Context(statement)
        self.send_QUERY(statement)
        self._sock.flush()
        self.handle_messages(context)
        return context

    def execute_together(self, statements: Sequence[Statement]) -> list[Context]:
        """Parse, Bind, Describe and Execute for each, then one Sync.

        The first is answered at once: it waits for no lock, so whoever says nothing is dead.
        """
        try:
            first, *others = [self._messages(sql, values) for sql, values in statements]
        except Exception as error:
            raise NotSent(f"A value cannot be sent to the database ({type(error).__name__}).") from None
        self._sock.write(b"".join((first, FLUSH_MSG, *others, SYNC_MSG)))
        self._sock.flush()
        return self._answers([Context(sql) for sql, _ in statements])

    def _messages(self, sql: str, values: Sequence[object]) -> bytes:
        params = [None if param is None else param.encode() for param in make_params(self.py_types, values)]
        bound = b"".join([NO_VALUE if param is None else i_pack(len(param)) + param for param in params])
        return b"".join(
            (
                _create_message(PARSE, NULL_BYTE + sql.encode() + NULL_BYTE + H_pack(0)),
                _create_message(BIND, NULL_BYTE * 2 + H_pack(0) + H_pack(len(values)) + bound + H_pack(0)),
                DESCRIBE_MSG,
                EXECUTE_MSG,
            )
        )

    def _answers(self, contexts: list[Context]) -> list[Context]:
        """Each statement's answer ends with CommandComplete; the whole ends with ReadyForQuery."""
        answered, code = 0, None
        while code != READY_FOR_QUERY:
            code, length = ci_unpack(_read(self._sock, 5))
            self._usock.settimeout(self.read_timeout_s)
            self.message_types[code](_read(self._sock, length - 4), contexts[min(answered, len(contexts) - 1)])
            answered += code in (COMMAND_COMPLETE, EMPTY_QUERY_RESPONSE)
            self.answered = answered
        for context in contexts:
            if context.error is not None:
                raise context.error
        return contexts

    def handle_PARAMETER_STATUS(self, data: bytes, context: Context) -> None:
        """Not followed: a transaction sets client_encoding itself, before the server says so."""
        name, value, *_ = data.split(NULL_BYTE)
        self.parameter_statuses[name.decode(errors="replace")] = value.decode(errors="replace")

    def handle_ERROR_RESPONSE(self, data: bytes, context: Context) -> None:
        super().handle_ERROR_RESPONSE(data, context)
        self.ended_with = context.error.args[0]

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: Context) -> None:
        code = int.from_bytes(data[:4], "big")
        if self._binding == "require" and (code in PASSWORD_METHODS or (code == LOGGED_IN and not self._bound)):
            raise Refused("the server offers no channel binding, and the URL requires it")
        if code in (*PASSWORD_METHODS, SASL) and self.password is None:
            raise Refused("the server asks for a password, and the URL has none")
        if code == SASL:
            self._begin_scram([name.decode("ascii") for name in data[4:-2].split(NULL_BYTE)])
        else:
            super().handle_AUTHENTICATION_REQUEST(data, context)
            self._bound = self._bound or (code == SASL_FINAL and self.auth.mechanism_name.endswith("-PLUS"))

    def _begin_scram(self, offered: list[str]) -> None:
        over_tls = isinstance(self._usock, ssl.SSLSocket)
        if self._binding == "require" and not any(name.endswith("-PLUS") for name in offered):
            raise Refused("the server offers no channel binding, and the URL requires it")
        self.auth = scramp.ScramClient(
            [name for name in offered if name.startswith("SCRAM-")],
            self.user.decode(),
            self.password.decode(),
            channel_binding=("tls-server-end-point", self._usock) if over_tls and self._binding != "disable" else None,
        )
        first = self.auth.get_client_first().encode()
        mechanism = self.auth.mechanism_name.encode("ascii") + NULL_BYTE
        self._send_message(b"p", mechanism + len(first).to_bytes(4, "big") + first)
        self._sock.flush()


def _instant(text: str) -> Any:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return converters.timestamptz_in(text)
