"""Invoices: who gets one again and how often, and their numbers."""

from __future__ import annotations

from dev.planted_bugs.bug import Bug, Change, bug

INVOICES = "shared/gateway/invoices.py"
SCHEMA = ("db/migrations/0001_schema.sql", "db/schema.sql")
AGAIN = ("tests/integration/test_invoice_function.py",)
RULES = ("tests/integration/test_database_rules.py",)
SHOWN_AND_SENT = ("tests/integration/test_what_is_shown_and_sent.py",)


def in_the_schema(name: str, old: str, new: str, only: str) -> Bug:
    return Bug(name, tuple(Change(path, old, new) for path in SCHEMA), RULES, only)


BUGS: tuple[Bug, ...] = (
    bug(
        "an invoice is sent for a payment in review",
        INVOICES,
        '    if payment["status"] != "PAID":\n',
        '    if payment["status"] not in ("PAID", "REVIEW"):\n',
        SHOWN_AND_SENT,
    ),
    bug(
        "an invoice is sent to whatever address was given",
        INVOICES,
        "SET customer_email = coalesce(customer_email, :email)",
        "SET customer_email = coalesce(:email, customer_email)",
        SHOWN_AND_SENT,
    ),
    bug(
        "invoice: requests are counted without a lock",
        INVOICES,
        "                _lock(tx, transaction_id, asked_by)\n",
        "",
        AGAIN,
        "at_once or one_caller",
    ),
    bug(
        "invoice: requests are counted only before the lock is held",
        INVOICES,
        "                _lock(tx, transaction_id, asked_by)\n"
        "                payment = _look(tx, transaction_id, asked_by)\n",
        "                _lock(tx, transaction_id, asked_by)\n",
        AGAIN,
        "at_once or one_caller",
    ),
    bug(
        "invoice: a caller's requests for two payments do not wait for each other",
        INVOICES,
        'tx.row("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:caller AS text), 3))", '
        "caller=asked_by.counted_as)",
        "pass",
        AGAIN,
        "one_caller",
    ),
    bug(
        "invoice: whoever comes every day has it for ever",
        INVOICES,
        '        if payment["in_all"] >= AGAIN_IN_ALL:\n',
        "        if False:\n",
        AGAIN,
        "ten_times",
    ),
    bug(
        "invoice: what an operator had sent again is in no history",
        INVOICES,
        "            if isinstance(asked_by, Operator):\n",
        "            if False:\n",
        ("tests/integration/test_cases.py",),
        "queued_and_noted",
    ),
    in_the_schema(
        "invoice: a number is not given back",
        "    INSERT INTO invoice_years AS y (year, last_number) VALUES (this_year, 1)\n"
        "    ON CONFLICT (year) DO UPDATE SET last_number = y.last_number + 1\n"
        "    RETURNING last_number INTO number;\n",
        "    number := nextval('query_answers_id_seq');\n",
        "leaves_no_gap",
    ),
    in_the_schema(
        "invoice: the year begins three hours late",
        "extract(year FROM now() AT TIME ZONE 'Africa/Nairobi')",
        "extract(year FROM now() AT TIME ZONE 'UTC')",
        "year_turns",
    ),
    in_the_schema(
        "invoice: the millionth loses a digit",
        "greatest(6, length(number::text))",
        "6",
        "million",
    ),
    in_the_schema(
        "invoice: its date may change",
        "(OLD.transaction_id, OLD.invoice_number, OLD.invoice_date, OLD.amount)",
        "(OLD.transaction_id, OLD.invoice_number, NEW.invoice_date, OLD.amount)",
        "number_date_and_amount",
    ),
)
