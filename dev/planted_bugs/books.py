"""What the books must never say: rules of the schema, and what pays."""

from __future__ import annotations

from dev.planted_bugs.bug import CASES, SETTLEMENT, SWEEP, Bug, Change, bug

PAYMENTS = "shared/payments.py"
SCHEMA = ("db/schema.sql", "db/migrations/0001_schema.sql")
CORE = ("tests/unit/test_payments.py", "tests/unit/test_payments_decisions.py")
RULES = ("tests/integration/test_database_rules.py",)

BUGS: tuple[Bug, ...] = (
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
)
