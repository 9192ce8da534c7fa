"""The bugs. Each is one mistake a sensible programmer makes: some old text becomes new, in one file or in several.

A test checks that every one still fits the code; `make planted-bugs` plants them, one at a time, and runs the tests
that must notice.
"""

from __future__ import annotations

from dataclasses import dataclass

ADMISSIONS = "shared/gateway/admissions.py"
CASES = "shared/gateway/cases.py"
INBOX = "shared/gateway/inbox.py"
LIMITS_SQL = "db/migrations/0003_limits.sql"
OUTBOX = "shared/gateway/outbox.py"
PAYMENTS = "shared/payments.py"
SCHEMA = ("db/schema.sql", "db/migrations/0001_payments.sql")

CORE = ("tests/unit/test_payments.py", "tests/unit/test_payments_decisions.py")
BOMBING = ("tests/chaos/test_push_bombing.py",)
CALLBACK = ("tests/integration/test_callback.py",)
CALLBACK_ADDRESSES = ("tests/integration/test_callback_addresses.py",)
CRASHES = ("tests/chaos/test_crash_points.py",)
EDGE = ("tests/unit/test_edge.py",)
LIMITS = ("tests/integration/test_limits.py",)
RACES = ("tests/chaos/test_races.py",)
RULES = ("tests/integration/test_database_rules.py",)
SETTLEMENT = ("tests/integration/test_cases.py", "tests/integration/test_settlement.py")
SHOWN_AND_SENT = ("tests/integration/test_what_is_shown_and_sent.py",)
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


BUGS: tuple[Bug, ...] = (
    # --- Locks and leases
    bug(
        "a phone has no lock: two pushes are admitted at once",
        ADMISSIONS,
        "SELECT pg_advisory_xact_lock(hashtextextended(CAST(:phone AS text), 0))",
        "SELECT CAST(:phone AS text)",
        STKPUSH + RACES,
        "two_instances or hundred_keys or waits_for",
    ),
    Bug(
        "a payment is read without any lock",
        (
            Change(CASES, "                FOR UPDATE OF t\n", ""),
            Change(
                CASES,
                "SELECT pg_advisory_xact_lock(hashtextextended(CAST(phone_number AS text), 0))",
                "SELECT hashtextextended(CAST(phone_number AS text), 0)",
            ),
        ),
        SETTLEMENT + CALLBACK + RACES,
        "keeps_everybody_else or four_copies or two_hundred or agree_on_one",
    ),
    bug(
        "twins are decided about side by side: no phone lock around a settlement",
        CASES,
        "SELECT pg_advisory_xact_lock(hashtextextended(CAST(phone_number AS text), 0))",
        "SELECT hashtextextended(CAST(phone_number AS text), 0)",
        SETTLEMENT + CALLBACK + RACES,
        "keeps_everybody_else or twin or both_attempts or phone",
    ),
    bug(
        "a status is written without looking at what it was, under no lock",
        CASES,
        "WHERE id = CAST(:id AS uuid) AND status = :was\n                RETURNING id),",
        "WHERE id = CAST(:id AS uuid)\n                RETURNING id),",
        ("tests/integration/test_cases.py",),
    ),
    bug(
        "the sweep takes callbacks without a lease",
        INBOX,
        "SET tries = i.tries + 1, next_try_at = now() + interval '30 seconds'\n                FROM (SELECT id FROM"
        " callback_inbox WHERE next_try_at <= now() AND tries < :most_tries\n"
        "                      ORDER BY received_at LIMIT :most FOR UPDATE SKIP LOCKED) due",
        "SET tries = i.tries + 1\n                FROM (SELECT id FROM"
        " callback_inbox WHERE next_try_at <= now() AND tries < :most_tries\n"
        "                      ORDER BY received_at LIMIT :most) due",
        SWEEP + RACES,
        "two_sweeps or sweeps_that_run_at_once",
    ),
    bug(
        "two sweeps send the same letter",
        OUTBOX,
        "next_try_at, id LIMIT 1 FOR UPDATE SKIP LOCKED) due",
        "next_try_at, id LIMIT 1) due",
        SWEEP + RACES,
        "two_sweeps or sweeps_that_run_at_once",
    ),
    bug(
        "every instance fetches a token of its own",
        "shared/gateway/tokens.py",
        "        return row is not None\n",
        "        return True\n",
        STKPUSH,
        "fetch_one_token",
    ),
    # --- What the schema says again
    Bug(
        "one receipt may confirm two payments",
        tuple(
            Change(path, "    CONSTRAINT one_transaction_a_receipt UNIQUE (mpesa_receipt_number),\n", "")
            for path in SCHEMA
        ),
        RULES,
    ),
    Bug(
        "a payment may have two confirmations",
        tuple(
            Change(path, "    CONSTRAINT one_confirmation_a_transaction UNIQUE (transaction_id),\n", "")
            for path in SCHEMA
        ),
        RULES,
    ),
    Bug(
        "one id of Daraja's may belong to two payments",
        tuple(
            Change(path, "    checkout_request_id  varchar(255) UNIQUE,\n", "    checkout_request_id  varchar(255),\n")
            for path in SCHEMA
        ),
        RULES,
    ),
    Bug(
        "a payment may have two invoices",
        tuple(
            Change(path, "    CONSTRAINT one_invoice_a_transaction UNIQUE (transaction_id),\n", "") for path in SCHEMA
        ),
        RULES,
    ),
    Bug(
        "one idempotency key may stand for two payments",
        tuple(
            Change(
                path, "    key            varchar(255) PRIMARY KEY,\n", "    key            varchar(255) NOT NULL,\n"
            )
            for path in SCHEMA
        ),
        RULES,
    ),
    Bug(
        "a paid payment may fail again, in the schema",
        tuple(Change(path, "'PAID REFUNDED')\n", "'PAID REFUNDED', 'PAID FAILED')\n") for path in SCHEMA),
        RULES,
    ),
    # --- What pays
    bug(
        "the amount of a callback is not compared",
        PAYMENTS,
        "    if event.amount_kes not in (None, payment.amount_kes):\n        return _to_review(payment,"
        " ReviewReason.AMOUNT_MISMATCH)\n",
        "",
        CORE,
    ),
    bug(
        "any amount that is not less is enough",
        PAYMENTS,
        "    if event.amount_kes not in (None, payment.amount_kes):\n        return _to_review(payment,"
        " ReviewReason.AMOUNT_MISMATCH)\n",
        "    if event.amount_kes is not None and event.amount_kes < payment.amount_kes:\n"
        "        return _to_review(payment, ReviewReason.AMOUNT_MISMATCH)\n",
        CORE,
    ),
    bug(
        "a receipt is believed twice",
        PAYMENTS,
        "    if around.receipt_taken:\n        return _to_review(payment, ReviewReason.REUSED_RECEIPT)\n",
        "",
        CORE,
    ),
    bug(
        "a query about an id that a callback told pays",
        PAYMENTS,
        "return self.ids is not None and not self.ids_are_learnt",
        "return self.ids is not None",
        CORE,
    ),
    bug(
        "the sweep asks about ids that a callback told",
        "shared/gateway/queries.py",
        " AND checkout_request_id IS NOT NULL AND NOT ids_are_learnt\n",
        " AND checkout_request_id IS NOT NULL\n",
        SWEEP,
        "only_a_callback_told_us",
    ),
    bug(
        "a large payment is paid on a callback alone",
        PAYMENTS,
        "    if payment.amount_kes > around.confirm_above_kes:\n        return _ask_first(payment,"
        " ReviewReason.UNCONFIRMED_LARGE)\n",
        "",
        CORE,
    ),
    bug(
        "a retried order is paid twice",
        PAYMENTS,
        "    if around.twin_paid:\n        return _to_review(payment, ReviewReason.DUPLICATE_PAYMENT)\n"
        "    if payment.review_reason in CALLBACK_CANNOT_RESOLVE:",
        "    if payment.review_reason in CALLBACK_CANNOT_RESOLVE:",
        CORE,
    ),
    bug(
        "a failure swallows the late success",
        PAYMENTS,
        "        return Decision(Status.PAID, Outcome.PAID_LATE, alerts=(Alert.LATE_PAYMENT,), paid=paid)\n",
        "        return _stays(payment, Outcome.REPEATED)\n",
        CORE,
    ),
    bug(
        "the ids are lost when the callback comes first",
        PAYMENTS,
        "        return replace(decision, ids=told, ids_are_learnt=True)\n",
        "        return decision\n",
        CORE,
    ),
    bug(
        "a callback with other ids is believed",
        PAYMENTS,
        "return around.ids_taken or (payment.ids is not None and told != payment.ids)",
        "return around.ids_taken",
        CORE,
    ),
    bug(
        "the push's answer writes over what the callback said",
        PAYMENTS,
        "    if payment.status in (Status.INITIATED, Status.UNCERTAIN):\n        return Decision(Status.PENDING,"
        " Outcome.ACCEPTED, ids=ids)\n    return replace(_stays(payment, Outcome.ACCEPTED), ids=ids)\n",
        "    return Decision(Status.PENDING, Outcome.ACCEPTED, ids=ids)\n",
        CORE,
    ),
    bug(
        "silence is failure",
        PAYMENTS,
        "        return _to_review(payment, ReviewReason.SILENCE)\n",
        "        return Decision(Status.EXPIRED, Outcome.DECLINED)\n",
        CORE,
    ),
    bug(
        "a code that nobody explained is failure",
        PAYMENTS,
        "        return _to_review(payment, ReviewReason.UNKNOWN_CODE)\n",
        "        return Decision(Status.FAILED, Outcome.DECLINED)\n",
        CORE,
    ),
    bug(
        "a callback that is held for its address is judged all the same",
        "shared/settlement.py",
        "    if entry.source is Source.HELD:\n",
        "    if entry.source is Source.HELD and False:\n",
        SETTLEMENT,
    ),
    bug(
        "a lost race is told as an error at once",
        "shared/settlement.py",
        "            if not tries_left:\n                raise\n",
        "            raise\n",
        SETTLEMENT,
    ),
    bug(
        "the receipt of a refund may confirm another payment",
        CASES,
        "WHERE o.refund_receipt = CAST(:receipt AS text) AND o.id <> t.id) AS receipt_taken,",
        "WHERE o.refund_receipt = CAST(:receipt AS text) AND o.id = t.id) AS receipt_taken,",
        SETTLEMENT,
    ),
    # --- How Daraja is read
    bug(
        "4999 is failure",
        "shared/daraja/answers.py",
        "    if body.ResultCode in QUERY_FAILURES:\n",
        '    if body.ResultCode == "4999":\n        return QueryDeclined("1037", body.ResultDesc)\n'
        "    if body.ResultCode in QUERY_FAILURES:\n",
        ("tests/contract/test_daraja_query.py",),
    ),
    bug(
        'int("E3008") is nothing, and nothing is success',
        "shared/daraja/models.py",
        "        case str():\n            text = value\n",
        '        case str():\n            text = value if value.isdigit() else "0"\n',
        ("tests/unit/test_read_callback.py",),
    ),
    bug(
        "money is float",
        "shared/daraja/models.py",
        "parse_float=_decimal",
        "parse_float=float",
        ("tests/unit/test_read_callback.py",),
    ),
    bug(
        "an amount may be text",
        "shared/daraja/models.py",
        "    if isinstance(value, bool) or not isinstance(value, int | Decimal):\n        return None\n    if not 0 <=",
        "    if isinstance(value, str) and value.isdigit():\n        value = int(value)\n"
        "    if isinstance(value, bool) or not isinstance(value, int | Decimal):\n        return None\n    if not 0 <=",
        ("tests/unit/test_read_callback.py",),
    ),
    bug(
        "an unclear 5xx is a refusal",
        "shared/daraja/answers.py",
        '        raise Unanswered(f"Daraja answered HTTP {answer.status}{_what_it_said(answer)}")\n',
        '        raise Rejected(str(answer.status), "", "")\n',
        ("tests/contract/test_daraja_push.py",),
    ),
    # --- The push
    bug(
        "a timed-out push is sent again",
        "shared/pushing.py",
        "    except Unanswered as silence:\n",
        "    except Unanswered:\n        accepted = daraja.push(request, Deadline(deadline.at_s - TO_RECORD_S))\n"
        "    except KeyError as silence:\n",
        STKPUSH,
        "unclear",
    ),
    bug(
        "the guard forgets an unclear push",
        ADMISSIONS,
        "AND (o.status IN ('INITIATED', 'PENDING', 'UNCERTAIN')\n",
        "AND (o.status IN ('INITIATED', 'PENDING')\n",
        STKPUSH,
        "guard",
    ),
    bug(
        "an unclear push releases its key",
        CASES,
        "never_left=decision.outcome in (Outcome.REFUSED, Outcome.NOT_SENT),",
        "never_left=decision.outcome in (Outcome.REFUSED, Outcome.NOT_SENT, Outcome.UNCLEAR),",
        STKPUSH,
        "unclear",
    ),
    bug(
        "a key is not compared with its order",
        ADMISSIONS,
        '                if row["fingerprint"] != key.fingerprint:\n                    return KeyMismatch()\n',
        "",
        STKPUSH,
        "mistake or mismatch",
    ),
    bug(
        "the push leaves before the row is committed",
        "netlify/functions/stkpush.py",
        "    match gateway().admissions.admit(order, key, mine.limits, caller):\n",
        "    from shared.calls_out import Unanswered\n    from shared.daraja.client import PushRequest\n\n"
        '    daraja().push(PushRequest(order.msisdn, order.amount_kes, order.account_reference, "Payment",'
        ' f"{mine.callback.url}/early"), deadline)\n'
        "    match gateway().admissions.admit(order, key, mine.limits, caller):\n",
        STKPUSH,
        "committed_before",
    ),
    bug(
        "a push whose row may not be there: a lost answer to COMMIT is taken for done",
        ADMISSIONS,
        "            return self._read_back(transaction_id, order)\n",
        "            return Admitted(transaction_id)\n",
        CRASHES,
        "accepted and warm",
    ),
    # --- Limits
    bug(
        "limit: the shop has no lock",
        LIMITS_SQL,
        "PERFORM pg_advisory_xact_lock(hashtextextended('the shop', 1));",
        "PERFORM 1;",
        BOMBING,
        "hundred",
    ),
    bug(
        "limit: the shop is counted only before its lock is held",
        LIMITS_SQL,
        "FOR time IN 1..2 LOOP\n        IF time = 2 THEN",
        "FOR time IN 1..1 LOOP\n        IF time = 2 THEN",
        BOMBING,
        "hundred",
    ),
    bug(
        "limit: a phone's pushes are counted without its lock",
        ADMISSIONS,
        "SELECT pg_advisory_xact_lock(hashtextextended(CAST(:phone AS text), 0))",
        "SELECT CAST(:phone AS text)",
        BOMBING,
        "hundred",
    ),
    bug(
        "limit: the address is read from a header that the caller sets",
        "shared/edge.py",
        'self.headers.get("x-nf-client-connection-ip")',
        'self.headers.get("x-forwarded-for", self.headers.get("x-nf-client-connection-ip"))',
        LIMITS,
        "headers",
    ),
    bug(
        "limit: whatever stands in the header is a caller of its own",
        "shared/limits.py",
        "        return NOBODY\n",
        "        return str(address)\n",
        LIMITS,
        "address",
    ),
    bug(
        "limit: every IPv6 address is a caller of its own",
        "shared/limits.py",
        "            return str(ipaddress.ip_network((parsed, 64), strict=False))\n",
        "            return str(parsed)\n",
        LIMITS,
        "household",
    ),
    bug(
        "limit: a phone does not rest",
        ADMISSIONS,
        "FROM unanswered WHERE in_a_row >= :unanswered)",
        "FROM unanswered WHERE false AND in_a_row >= :unanswered)",
        LIMITS,
        "rests or rings",
    ),
    bug(
        "limit: a cancelled prompt counts as an answer",
        ADMISSIONS,
        "OR o.status = 'FAILED' AND coalesce(o.result_code, '') IN ('1', '2001') AS answered",
        "OR o.status IN ('FAILED', 'CANCELLED') AS answered",
        LIMITS,
        "rests or rings",
    ),
    bug(
        "limit: refused calls of Daraja are never counted",
        ADMISSIONS,
        "asked=limits.phone_pushes_an_hour * ASKED_FOR_EACH_PROMPT",
        "asked=limits.phone_pushes_an_hour * 1000",
        LIMITS,
        "third",
    ),
    bug(
        "limit: what failed counts towards the day",
        ADMISSIONS,
        "WHERE NOT failed AND created_at >= began_at) AS today_kes",
        "WHERE created_at >= began_at) AS today_kes",
        LIMITS,
        "day",
    ),
    bug(
        "limit: only what is paid counts towards the shop's day",
        LIMITS_SQL,
        "t.status NOT IN ('FAILED', 'CANCELLED', 'EXPIRED')",
        "t.status = 'PAID'",
        BOMBING,
        "sum",
    ),
    bug(
        "limit: a day is the last 24 hours",
        LIMITS_SQL,
        "date_trunc('day', now() AT TIME ZONE 'Africa/Nairobi') AT TIME ZONE 'Africa/Nairobi';",
        "now() - interval '24 hours';",
        LIMITS,
        "midnight",
    ),
    bug(
        "limit: one caller may take the whole of the shop's minute",
        LIMITS_SQL,
        "greatest(most_in_shop / 3, 1) - 1",
        "most_in_shop - 1",
        LIMITS + BOMBING,
        "third or one_address",
    ),
    bug(
        "limit: addresses are stored as they are",
        "netlify/functions/stkpush.py",
        "caller = caller_digest(request.caller_address, mine.caller_key)",
        'caller = caller_digest(None, mine.caller_key) and (request.caller_address or "")',
        LIMITS,
        "never_stored",
    ),
    # --- The callback
    bug(
        "200 is answered before the bytes are committed",
        "netlify/functions/callback.py",
        '        raise unavailable("The callback could not be stored.") from failure\n',
        '        return Answer(200, ACCEPTED, log={"failure": type(failure).__name__})\n',
        CALLBACK + CRASHES,
        "database or unavailable or stored",
    ),
    bug(
        "a callback's address fits every payment",
        "shared/daraja/callback_address.py",
        "    return hmac.new(secret.encode(), transaction_id.encode(), hashlib.sha256).hexdigest()\n",
        '    return hmac.new(secret.encode(), b"callback", hashlib.sha256).hexdigest()\n',
        ("tests/unit/test_callback_address.py",),
    ),
    Bug(
        "the beginning of a token is enough",
        (
            Change("shared/daraja/callback_address.py", 'r"[0-9a-f]{64}"', 'r"[0-9a-f]{1,64}"'),
            Change(
                "shared/daraja/callback_address.py",
                "hmac.compare_digest(_token(secret, transaction_id), token) for",
                "_token(secret, transaction_id).startswith(token) for",
            ),
        ),
        ("tests/unit/test_callback_address.py",),
    ),
    Bug(
        "a token is looked for in the secrets' tokens by `in`",
        (
            Change("shared/daraja/callback_address.py", 'r"[0-9a-f]{64}"', 'r"[0-9a-f]*"'),
            Change(
                "shared/daraja/callback_address.py",
                "hmac.compare_digest(_token(secret, transaction_id), token) for",
                "token in _token(secret, transaction_id) for",
            ),
        ),
        ("tests/unit/test_callback_address.py",),
    ),
    bug(
        "a callback that cannot be judged is judged for ever",
        INBOX,
        "WHERE next_try_at <= now() AND tries >= :most_tries RETURNING transaction_id",
        "WHERE next_try_at <= now() AND tries > :most_tries RETURNING transaction_id",
        CALLBACK + CRASHES,
        "dead or three or buries",
    ),
    # --- Status, invoice, outbox
    Bug(
        "the beginning of an id is enough to read a payment",
        (
            Change(
                "shared/transaction_id.py",
                "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
                "[0-9a-f]{8}[0-9a-f-]*",
            ),
            Change(
                "shared/gateway/statuses.py",
                "                WHERE t.id = CAST(:id AS uuid)\n",
                "                WHERE t.id::text LIKE :id || '%'\n",
            ),
            Change(
                "shared/gateway/statuses.py",
                "                    WHERE id = CAST(:id AS uuid) AND status IN",
                "                    WHERE id::text LIKE :id || '%' AND status IN",
            ),
        ),
        SHOWN_AND_SENT,
    ),
    bug(
        "an invoice is sent for a payment in review",
        OUTBOX,
        '            if row["status"] != "PAID":\n',
        '            if row["status"] not in ("PAID", "REVIEW"):\n',
        SHOWN_AND_SENT,
    ),
    bug(
        "an invoice is sent to whatever address was given",
        OUTBOX,
        "SET customer_email = coalesce(customer_email, :email)",
        "SET customer_email = coalesce(:email, customer_email)",
        SHOWN_AND_SENT,
    ),
    bug(
        "letters are tried for ever",
        OUTBOX,
        "UPDATE outbox SET next_try_at = NULL WHERE next_try_at <= now() AND tries >= :most_tries",
        "UPDATE outbox SET tries = 0 WHERE next_try_at <= now() AND tries >= :most_tries",
        SWEEP,
        "three_times",
    ),
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
        "    return internal(), raised\n",
        '    return Problem(500, "internal", "Internal error", str(raised)), raised\n',
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
        "{WRITE} moved WHERE :remarkable),",
        "{WRITE} moved WHERE :remarkable AND :paid),",
        SWEEP,
        "missing_callback",
    ),
)
