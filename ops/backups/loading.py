"""A dump of pg_dump's custom format, put into an empty database within one transaction of ours.

pg_restore only turns it into SQL: it never connects, so no password reaches it, and what an older server does not know
is left out. Who is killed in the middle leaves an empty database.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from ops.backups.tools import Program, in_its_words
from ops.session import NotPossible
from shared.database import Transaction

KNOWN_SINCE = {b"SET transaction_timeout": 17}
"""What pg_restore always says, and the first server that understands it."""
FOR_PSQL = (b"\\restrict ", b"\\unrestrict ")
FOR_THE_SESSION = re.compile(rb"^(SET )([a-z_]+ = .*;)$")
NO_SEARCH_PATH = b"set_config('search_path', '', false)", b"set_config('search_path', '', true)"
"""Set for the session: for our transaction alone it is, because the session may be a pooler's."""
END_OF_ROWS = b"\\.\n"
ROWS_AT_ONCE = 200


def load(
    tx: Transaction,
    dump: BinaryIO,
    pg_restore: Program,
    there: Sequence[str] = (),
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Schema and data as they were, but for the schemas that are `there`. `dump`: a pipe. `advance` is given how many
    rows went in.

    Raises `NotPossible` where pg_restore cannot read it to its end, or DatabaseError.
    """
    (server,) = tx.rows("SELECT current_setting('server_version_num')::int / 10000 AS version")
    schemas = [f"CREATE SCHEMA {name};".encode() for name in ("public", *there)]
    left_out = (*FOR_PSQL, *schemas, *[said for said, since in KNOWN_SINCE.items() if server["version"] < since])
    statements: list[bytes] = []
    with _as_sql(dump, pg_restore, [f"--exclude-schema={name}" for name in there]) as lines:
        for line in lines:
            if line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n"):
                tx.script(b"".join(statements).decode())
                statements.clear()
                tx.copy_in(line.decode(), _rows(lines, advance))
            elif not line.startswith(left_out):
                statements.append(FOR_THE_SESSION.sub(rb"\1LOCAL \2", line).replace(*NO_SEARCH_PATH))
    tx.script(b"".join(statements).decode())
    tx.script("SET LOCAL search_path = public, pg_temp; SET LOCAL row_security = on")
    tx.script("ANALYZE")  # a dump has no statistics: without them one invariant over a million payments takes hours


def _rows(lines: Iterator[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
    """Up to the line that ends them. Raises EOFError where there is none."""
    some: list[bytes] = []
    for line in lines:
        if line == END_OF_ROWS or len(some) == ROWS_AT_ONCE:
            yield b"".join(some)
            advance(len(some))
            some.clear()
        if line == END_OF_ROWS:
            return
        some.append(line)
    raise EOFError


@contextlib.contextmanager
def _as_sql(dump: BinaryIO, pg_restore: Program, arguments: Sequence[str]) -> Iterator[Iterator[bytes]]:
    """Its lines. Where the block ends well, pg_restore has understood all of it."""
    command = [pg_restore.path, "--no-owner", "--no-privileges", *arguments, "--file=-"]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=dump, stdout=subprocess.PIPE, stderr=said, bufsize=2**18) as process,
    ):
        assert process.stdout is not None
        cut = False
        try:
            yield process.stdout
        except EOFError:
            cut = True
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0 or cut:
            said.seek(0)
            words = in_its_words(said.read().decode(errors="replace"), None)
            raise NotPossible(f"pg_restore cannot read the dump in it: {words}")
