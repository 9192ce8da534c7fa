"""One connection to PostgreSQL: the login, round trips, and what their failures mean.

Importing this module imports pg8000, which is slow: `shared.database` does so at the first connection.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pg8000.core import IDLE, IN_TRANSACTION, Context, scramp
from pg8000.exceptions import DatabaseError as ServerError
from pg8000.exceptions import InterfaceError

from shared.database import session
from shared.database.errors import (
    CommitUnknown,
    DatabaseError,
    DatabaseUnavailable,
    SessionUnusable,
    StatementFailed,
    login_refused,
    translated,
)
from shared.database.network import Refused, left, opened, why_not_trusted
from shared.database.session import Statement
from shared.database.url import ConnectionSettings
from shared.database.wire import CONNECTION_LOST, NOT_THE_PROTOCOL, NotSent, Wire

S = TypeVar("S")
T = TypeVar("T")

TRUSTED_FOR_S = 10
"""A connection that was unused for longer may be dead: the function was frozen, or something on the way forgot it."""


class Connection:
    """Not for two threads at once. `round_trips` counts exchanges after the login."""

    def __init__(self, settings: ConnectionSettings, *, connect_timeout_s: float, read_timeout_s: float) -> None:
        """Raises DatabaseUnavailable."""
        self.round_trips = 0
        self.settings = settings
        self._unanswered = False
        self._used_at = (time.monotonic(), time.time())
        self._wire = _log_in(settings, connect_timeout_s)
        self.read_timeout_s = read_timeout_s
        self._session_is_ours = False

    def begin(
        self,
        begin: str,
        timeouts_ms: Mapping[str, int],
        statements: Sequence[Statement] = (),
        *,
        committing: bool = False,
        timeout_s: float | None = None,
    ) -> list[Context]:
        """BEGIN, what each transaction sets, and the first statements, in one round trip: a result for each of those.

        Raises SessionUnusable where this session cannot begin it; and what `together` raises.
        """
        beginning = session.beginning(begin, timeouts_ms, self._wire.server_pid)
        everything = [*beginning, *statements]
        answers = self._exchange(self._wire.execute_together, everything, committing, timeout_s, len(beginning))
        self._session_is_ours = answers[len(beginning) - 1].rows[0][0] is True
        return answers[len(beginning) :]

    @property
    def trusted(self) -> bool:
        """Surely alive: idle, used a moment ago, and nothing arrived since; a server that ends it says so or hangs up.

        By two clocks, since one may stand still while a function is frozen.
        """
        unused_s = max(time.monotonic() - self._used_at[0], time.time() - self._used_at[1])
        if not self.idle or unused_s >= TRUSTED_FOR_S:
            return False
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._wire._usock, selectors.EVENT_READ)
            return not waiting.select(0)

    def together(
        self, statements: Sequence[Statement], *, committing: bool = False, timeout_s: float | None = None
    ) -> list[Context]:
        """Statements with $1, $2, … in one round trip: a result for each. After one that fails, none is executed.

        `committing`: COMMIT is among them, so a lost answer is `CommitUnknown`. `timeout_s`: until the first answer.
        """
        if not statements:
            return []
        return self._exchange(self._wire.execute_together, statements, committing, timeout_s)

    def script(self, sql: str, *, timeout_s: float | None = None) -> None:
        """Statements without parameters, as one simple query."""
        self._exchange(self._wire.execute_simple, sql, False, timeout_s)

    def roll_back(self) -> None:
        """Ends the transaction. ROLLBACK also takes back what it had set for a session of ours."""
        self.script(session.ROLL_BACK_OURS if self._session_is_ours else "ROLLBACK")

    @property
    def lost(self) -> bool:
        """An answer never came, or the connection was closed."""
        return self._unanswered

    @property
    def in_transaction(self) -> bool:
        """In a transaction that has not failed."""
        return not self._unanswered and self._wire._transaction_status == IN_TRANSACTION

    @property
    def idle(self) -> bool:
        """In no transaction, with no answer owed: ready for the next BEGIN."""
        return not self._unanswered and self._wire._transaction_status == IDLE

    @property
    def tls_version(self) -> str | None:
        """Like TLSv1.3; None: the connection is not encrypted."""
        return self._wire._usock.version() if isinstance(self._wire._usock, ssl.SSLSocket) else None

    def close(self) -> None:
        """Never fails."""
        self._unanswered = True
        try:
            if self._wire._usock is not None:
                self._wire._usock.settimeout(1)
                self._wire.close()
        except (*CONNECTION_LOST, ServerError):
            pass

    def _exchange(
        self, send: Callable[[S], T], what: S, committing: bool, timeout_s: float | None, beginning: int = 0
    ) -> T:
        """`beginning`: how many of the statements only begin the transaction; the rest has not begun if these fail."""
        if self._unanswered:
            raise DatabaseUnavailable("Nothing was done: the connection was lost.")
        self._wire.read_timeout_s = self.read_timeout_s
        self._wire._usock.settimeout(timeout_s or self.read_timeout_s)
        self._wire.ended_with = None
        self._wire.answered = 0
        self._unanswered = True
        self.round_trips += 1
        try:
            answer = send(what)
        except ServerError as error:
            self._unanswered = False
            failure: DatabaseError = translated(error.args[0], committing=committing)
            if self._wire.answered < beginning and not isinstance(failure, CommitUnknown):
                failure = SessionUnusable.of(error.args[0])
        except NotSent as error:
            self._unanswered = False
            self.round_trips -= 1
            failure = StatementFailed(str(error), sqlstate="")
        except CONNECTION_LOST:
            failure = self._lost(committing)
        else:
            self._unanswered = False
            self._used_at = (time.monotonic(), time.time())
            return answer
        if self._unanswered:
            self.close()
        raise failure

    def _lost(self, committing: bool) -> DatabaseError:
        if self._wire.ended_with is not None:
            return translated(self._wire.ended_with, committing=committing)
        if committing:
            return CommitUnknown("COMMIT was sent and the connection was lost before its answer.")
        return DatabaseUnavailable("Nothing was done: the connection was lost or the server did not answer in time.")


def _log_in(settings: ConnectionSettings, timeout_s: float) -> Wire:
    began = time.monotonic()
    sock: socket.socket | None = None
    try:
        sock = opened(settings, began + timeout_s)
        sock.settimeout(left(began + timeout_s))
        return Wire(settings, sock)
    except ServerError as error:
        failure: DatabaseError = login_refused(error.args[0], settings.password)
    except Refused as refused:
        failure = _unavailable(str(refused))
    except ssl.SSLCertVerificationError as refused:
        failure = _unavailable(why_not_trusted(refused))
    except ssl.SSLError as refused:
        failure = _unavailable(f"TLS with the server failed ({refused.reason or type(refused).__name__})")
    except TimeoutError:
        waited_s = min(timeout_s, round(time.monotonic() - began, 1))
        failure = _unavailable(f"the server did not answer within {waited_s:g} s")
    except socket.gaierror:
        failure = _unavailable("the host's name cannot be resolved")
    except (OSError, InterfaceError) as lost:
        failure = _unavailable(f"the connection was refused or lost ({_root_of(lost)})")
    except scramp.ScramException:
        failure = _unavailable("logging in by SCRAM failed: the server's answers do not fit")
    except NOT_THE_PROTOCOL:
        failure = _unavailable("the server does not speak PostgreSQL's protocol")
    if sock is not None:
        sock.close()
    raise failure


def _unavailable(why: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"Nothing was done: {why}.")


def _root_of(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
