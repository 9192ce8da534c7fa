"""Between us and Safaricom: the push, the callback, and how Daraja is read."""

from __future__ import annotations

from dev.planted_bugs.bug import ADMISSIONS, CALLBACK, CASES, CRASHES, INBOX, STKPUSH, Bug, Change, bug

BUGS: tuple[Bug, ...] = (
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
        "shared/daraja/fields.py",
        "        case str():\n            text = value\n",
        '        case str():\n            text = value if value.isdigit() else "0"\n',
        ("tests/unit/test_read_callback.py",),
    ),
    bug(
        "money is float",
        "shared/daraja/fields.py",
        "parse_float=_decimal",
        "parse_float=float",
        ("tests/unit/test_read_callback.py",),
    ),
    bug(
        "an amount may be text",
        "shared/daraja/callback_reader.py",
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
        "NEVER_LEFT = frozenset({Outcome.REFUSED, Outcome.NOT_SENT})",
        "NEVER_LEFT = frozenset({Outcome.REFUSED, Outcome.NOT_SENT, Outcome.UNCLEAR})",
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
    # --- The callback
    bug(
        "200 is answered before the bytes are committed",
        "netlify/functions/callback.py",
        "        raise Problem(Kind.NOT_STORED) from failure\n",
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
)
