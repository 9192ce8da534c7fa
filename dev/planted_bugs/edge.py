"""Where requests come in, and the database below."""

from __future__ import annotations

from dev.planted_bugs.bug import CASES, CRASHES, INBOX, SWEEP, Bug, bug

CALLBACK_ADDRESSES = ("tests/integration/test_callback_addresses.py",)
EDGE = ("tests/unit/test_edge.py",)

BUGS: tuple[Bug, ...] = (
    # --- The edge
    bug(
        "the caller's address is what the caller says",
        "shared/edge.py",
        'self.headers.get("x-nf-client-connection-ip") or None',
        'self.headers.get("x-forwarded-for") or self.headers.get("x-nf-client-connection-ip") or None',
        (*EDGE, *CALLBACK_ADDRESSES),
    ),
    bug(
        "every origin is allowed",
        "shared/edge.py",
        'allowed = origin != "" and origin in origins()',
        'allowed = origin != ""',
        EDGE,
    ),
    bug(
        "the beginning of an origin is enough",
        "shared/edge.py",
        "origin in origins()",
        "any(origin.startswith(each) for each in origins())",
        EDGE,
    ),
    bug(
        "an answer is taken back when its log line cannot be written",
        "shared/edge.py",
        "    except Exception as broken:  # an answer is not taken back for its log line\n        with",
        "    except Exception as broken:\n        raise\n        with",
        EDGE,
    ),
    bug(
        "an unexpected exception tells what it says",
        "shared/edge.py",
        "    return Problem(Kind.INTERNAL), raised\n",
        "    return Problem(Kind.MISCONFIGURED, FieldError(str(raised), str(raised))), raised\n",
        EDGE,
    ),
    bug(
        "a body is measured in characters",
        "shared/edge.py",
        "if len(raw) > LARGEST_BODY_BYTES:",
        "if len(body) > LARGEST_BODY_BYTES:",
        EDGE,
    ),
    bug(
        "brackets within text count as depth",
        "shared/edge.py",
        r"""r'"(?:[^"\\]|\\[\s\S])*"?|[\[\]{}]'""",
        r"""r'[\[\]{}]'""",
        EDGE,
    ),
    bug(
        "a callback from elsewhere is judged although the list is enforced",
        "shared/daraja/source_addresses.py",
        'return Source.HELD if mode == "enforce" else Source.UNLISTED',
        "return Source.UNLISTED",
        CALLBACK_ADDRESSES,
    ),
    bug(
        "a callback that is held loses its receipt",
        "shared/settlement.py",
        'gateway.inbox.close(entry, "held", receipts_seen(entry.body))',
        'gateway.inbox.close(entry, "held", ())',
        CALLBACK_ADDRESSES,
    ),
    bug(
        "what a person releases is held again",
        INBOX,
        "CASE source_check WHEN 'held' THEN 'unlisted' ELSE source_check END",
        "source_check",
        CALLBACK_ADDRESSES,
    ),
    bug(
        "a strange address is told with every callback",
        INBOX,
        "WHERE o.source_check = 'unlisted' AND o.source_address = i.source_address AND o.id <> i.id",
        "WHERE false AND o.id <> i.id",
        CALLBACK_ADDRESSES,
    ),
    # --- The database
    bug(
        "a callback is answered 200 though its COMMIT is lost",
        "shared/database/transactions.py",
        "            if not connection.idle:\n                self.close()\n            raise\n",
        "            if not connection.idle:\n                self.close()\n",
        CRASHES,
        "callback and success",
    ),
    bug(
        "a connection that died while frozen is an error",
        "shared/database/transactions.py",
        "            except DatabaseError:\n                pass\n        self.close()\n        connection =",
        "            except DatabaseError:\n                raise\n        self.close()\n        connection =",
        ("tests/integration/test_database_transactions.py",),
        "replaced_unnoticed",
    ),
    bug(
        "timeouts stay with the session, and meet whoever has it next",
        "shared/database/transactions.py",
        " SET LOCAL statement_timeout",
        " SET statement_timeout",
        ("tests/integration/test_database_pgbouncer.py", "tests/integration/test_database_transactions.py"),
        "leak or timeouts",
    ),
    bug(
        "a change of status leaves no trace",
        CASES,
        "*([(AUDITED, step)] if remarkable else []),",
        "*([(AUDITED, step)] if remarkable and decision.paid else []),",
        SWEEP,
        "missing_callback",
    ),
)
