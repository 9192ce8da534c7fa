"""The bugs. Each is one mistake a sensible programmer makes: some old text becomes new, in one file or in several.

A test checks that every one still fits the code; `make planted-bugs` plants them, one at a time, and runs the tests
that must notice.
"""

from __future__ import annotations

from dev.planted_bugs import books, edge, invoices, limits, mail, notices, races, safaricom
from dev.planted_bugs.bug import Bug

BUGS: tuple[Bug, ...] = (
    *races.BUGS,
    *books.BUGS,
    *safaricom.BUGS,
    *limits.BUGS,
    *mail.BUGS,
    *invoices.BUGS,
    *notices.BUGS,
    *edge.BUGS,
)
