"""The database refuses what would break the books, whoever asks: each rule of the schema, broken once by plain SQL."""

from __future__ import annotations

import re

import pytest

from shared.database import ConstraintBroken, Database, Transaction

PHONE, OTHER_PHONE = "254722000000", "254722111111"


class Books:
    """Writes rows as an operator with a console would. `{PAID}` in a statement is the id of such a payment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: dict[str, str] = {}

    def run(self, statements: str) -> None:
        """All of them in one transaction; they are separated by a semicolon."""
        for word in re.findall(r"\{(\w+)\}", statements):
            if word not in self._ids:
                self._ids[word] = self.payment(word.removeprefix("OTHER_"))
        with self._database.transaction() as tx:
            for statement in statements.format_map(self._ids).split(";"):
                tx.run(statement)

    def payment(self, status: str = "PENDING", **columns: object) -> str:
        """A payment as healthy books hold it in this status; its id."""
        with self._database.transaction() as tx:
            number = int(tx.rows("SELECT count(*) AS n FROM transactions")[0]["n"]) + 1
            row: dict[str, object] = {
                "phone_number": PHONE,
                "amount": 1500,
                "account_reference": "INV00042",
                "merchant_request_id": f"{number}-1-1",
                "checkout_request_id": f"ws_CO_{number}",
                **columns,
            }
            values = ", ".join(f":{name}" for name in row)
            (stored,) = tx.rows(f"INSERT INTO transactions ({', '.join(row)}) VALUES ({values}) RETURNING id", **row)
            payment_id = str(stored["id"])
            for change in self._changes(status, number):
                tx.run(f"UPDATE transactions SET {change} WHERE id = '{payment_id}'")
                if "PAID" in change:
                    self._confirm(tx, payment_id, f"UE{number:08}")
        return payment_id

    def _changes(self, status: str, number: int) -> list[str]:
        paid = "status = 'PAID', paid_at = now()"
        match status:
            case "INITIATED":
                return []
            case "PAID":
                return [paid]
            case "REFUNDED":
                return [paid, f"status = 'REFUNDED', refunded_at = now(), refund_receipt = 'R{number}'"]
            case "REVIEW":
                return ["status = 'REVIEW', review_reason = 'silence'"]
        return [f"status = '{status}'"]

    def _confirm(self, tx: Transaction, payment_id: str, receipt: str) -> None:
        tx.run(
            "INSERT INTO payment_confirmations (transaction_id, evidence, amount, mpesa_receipt_number)"
            f" SELECT id, 'callback', amount, '{receipt}' FROM transactions WHERE id = '{payment_id}'"
        )


@pytest.fixture
def books(database: Database) -> Books:
    return Books(database)


ORDER = "INSERT INTO transactions (phone_number, amount, account_reference) VALUES"
ORDER_NAMED = (
    "INSERT INTO transactions (phone_number, amount, account_reference, merchant_request_id, checkout_request_id)"
    " VALUES"
)
ORDER_MAILED = (
    "INSERT INTO transactions (phone_number, amount, account_reference, customer_email, merchant_request_id,"
    " checkout_request_id, status) VALUES"
)
ORDER_PAID = "INSERT INTO transactions (phone_number, amount, account_reference, status, paid_at) VALUES"
CONFIRMS = "INSERT INTO payment_confirmations (transaction_id, evidence, amount, mpesa_receipt_number) VALUES"
PAYS = "UPDATE transactions SET status = 'PAID', paid_at = now() WHERE id = '{PENDING}'"
INVOICES = "INSERT INTO invoices (transaction_id, customer_email, amount) VALUES"
INVOICED = f"{INVOICES} ('{{PAID}}', 'alice@example.com', 1500)"
STORED = "INSERT INTO callback_inbox (transaction_id, body) VALUES ('{PENDING}', 'as sent')"
ALERTS = "INSERT INTO outbox (kind, topic, transaction_id) VALUES ('alert', 'silence', '{PENDING}')"
SENDS = "INSERT INTO outbox (kind, topic, transaction_id) VALUES ('invoice', 'settled', '{PAID}')"
NOTICE = (
    "INSERT INTO outbox (kind, topic, transaction_id, tells_of)"
    " SELECT 'notice', '{topic}', transaction_id, id FROM audit_log"
)
HISTORY = (
    "INSERT INTO audit_log (transaction_id, actor, event, outcome, to_status, place, link, link_key) VALUES"
    " ('{PENDING}', 'test', 'Order', 'admitted', 'INITIATED',"
)
SIGNED = f"{HISTORY} 1, 'link', 'key')"
FAILED_NOW = (
    "INSERT INTO audit_log (transaction_id, actor, event, outcome, from_status, to_status, place, link, link_key)"
    " VALUES ('{PENDING}', 'test', 'Declined', 'declined', 'PENDING', 'FAILED', 1, 'link', 'key')"
)
WRITTEN_ONCE = (
    ("PENDING", "customer_email = 'mallory@example.com'"),
    ("PENDING", "paid_at = now()"),
    ("PAID", "paid_at = now() - interval '1 day'"),
    ("PAID", "paid_late = true"),
    ("PENDING", "merchant_request_id = '9-9-9', checkout_request_id = 'ws_CO_9'"),
    ("PENDING", "merchant_request_id = NULL, checkout_request_id = NULL"),
    ("PENDING", "ids_are_learnt = true"),
    ("PENDING", "updated_at = now() + interval '1 day'"),
    ("PAID", "refunded_at = now()"),
    ("PAID", "refund_receipt = 'R'"),
    ("FAILED", "failed_at = now()"),
    ("PENDING", "pushed_at = now()"),
    ("PENDING", "callback_received_at = now() + interval '1 day'"),
    ("PENDING", "success_held_at = now() + interval '1 day'"),
    ("PENDING", "watched_at = now() + interval '1 day'"),
    ("PENDING", "last_query_at = now() + interval '1 day'"),
    ("PENDING", "audit_length = 2, audit_head = 'head'"),
)
"""A status, and what is not written then."""
ANCHORED = (
    "INSERT INTO audit_anchors (last_audit_id, row_count, payment_count, digest, day_is_over)"
    " VALUES (1, 1, 1, repeat('0', 64), true)"
)
ANCHOR_MAILED = "INSERT INTO outbox (kind, topic, anchor_id) SELECT 'anchor', 'mail', id FROM audit_anchors"
KEEPS_A_KEY = "INSERT INTO idempotency_keys (key, fingerprint, transaction_id) VALUES"
INSTALLED = "INSERT INTO installation (environment) VALUES ('sandbox')"
ANSWERED = "INSERT INTO query_answers (transaction_id, result_code, outcome) VALUES ('{PENDING}', '0', 'paid')"
CHAIN = "UPDATE transactions SET audit_length = 1, audit_head = 'head' WHERE id = '{PENDING}'"
ETIMS = "UPDATE invoices SET etims_scu_id = 'KRACU0000000000', etims_cu_invoice_number = 'KRACU0000000000/1'"
FILE = (
    "INSERT INTO statement_files (sha256, family, row_count, balance_chain, who)"
    " VALUES (repeat('a', 64), 'A', 1, 'ok', 'x')"
)
ROW = (
    "INSERT INTO statement_rows (sha256, row_number, receipt, at, class, status, completed, paid_in, withdrawn,"
    " account, raw)"
    " VALUES (repeat('a', 64), 3, 'UE00000001', now(), 'payment', 'Completed', true, 1500, 0, 'INV00042', '[]')"
)
FILED = f"{FILE};{ROW}"
ERASES = "INSERT INTO erasures (transaction_id, scope, who, why) VALUES"
LOGGED = (
    "INSERT INTO reconciliation_log (kind, subject, facts, who, place, link, link_key)"
    " VALUES ('closed', '2026-10', '{{}}', 'x', 1, 'link', 'key')"
)
RESTORED = "INSERT INTO recoveries (backup_at, backup_sha256, who) VALUES (now(), repeat('0', 64), 'x')"
FINISHED = "UPDATE recoveries SET finished_at = now(), finished_by = 'x', facts = '{{}}'"
LEFT_OUT = f"{RESTORED};SELECT leave_invoice_numbers_out(max(id), 2031, 99, 'x', 'y') FROM recoveries"
UNIQUE, NOT_NULL, FOREIGN_KEY, CHECK = "23505", "23502", "23503", "23514"


def now(status: str, was: str) -> str:
    return f"UPDATE transactions SET status = '{status}', review_reason = NULL WHERE id = '{{{was}}}'"


REFUSED: list[tuple[str, ...]] = [
    # --- a payment
    *[(CHECK, f"{ORDER} ('{PHONE}', {amount}, 'INV1')") for amount in ("0", "-1", "250001")],
    (CHECK, f"{ORDER} ('{PHONE}', 1.5, 'INV1')"),
    (NOT_NULL, f"{ORDER} ('{PHONE}', NULL, 'INV1')"),
    *[
        ("transactions_phone_number_check", f"{ORDER} ('{phone}', 1, 'INV1')")
        for phone in ("0722000000", "+254722000000", "25472200000", "254822000000", "2547220000000", "")
    ],
    *[
        ("transactions_account_reference_check", f"{ORDER} ('{PHONE}', 1, '{reference}')")
        for reference in ("", "INV 1", "INV-1", "THIRTEENCHARS", "INV1\n")
    ],
    (CHECK, now("DONE", was="INITIATED")),
    *[
        ("allowed_transition", now(status, was))
        for was, status in (
            ("PAID", "FAILED"), ("PAID", "PENDING"), ("PAID", "REVIEW"),
            ("REFUNDED", "FAILED"), ("REFUNDED", "PENDING"),
            ("FAILED", "PENDING"), ("FAILED", "CANCELLED"), ("CANCELLED", "UNCERTAIN"), ("PENDING", "INITIATED"),
            ("PENDING", "UNCERTAIN"), ("REVIEW", "PENDING"), ("REVIEW", "CANCELLED"), ("PENDING", "REFUNDED"),
        )
    ],
    *[
        ("amount_is_fixed", f"UPDATE transactions SET amount = 1501 WHERE id = '{{{status}}}'")
        for status in ("INITIATED", "PENDING", "PAID")
    ],
    *[
        (UNIQUE, "SELECT '{PENDING}'", f"{ORDER_NAMED} ('{PHONE}', 1, 'INV1', {ids})")
        for ids in ("'1-1-1', 'ws_CO_X'", "'1-1-X', 'ws_CO_1'")
    ],
    ("ids_come_together", f"{ORDER_NAMED} ('{PHONE}', 1, 'INV1', NULL, 'ws_CO_9')"),
    ("pending_was_accepted", f"{ORDER_MAILED} ('{PHONE}', 1, 'INV1', NULL, NULL, NULL, 'PENDING')"),
    *[("written_once", f"UPDATE transactions SET {change} WHERE id = '{{{was}}}'") for was, change in WRITTEN_ONCE],
    ("review_has_a_reason", "UPDATE transactions SET status = 'REVIEW' WHERE id = '{PENDING}'"),
    ("review_has_a_reason", "UPDATE transactions SET review_reason = 'x' WHERE id = '{PENDING}'"),
    ("review_has_a_reason", "UPDATE transactions SET review_reason = NULL WHERE id = '{REVIEW}'"),
    (FOREIGN_KEY, SIGNED, "DELETE FROM transactions"),
    # --- money
    ("paid_has_evidence", "UPDATE transactions SET status = 'PAID' WHERE id = '{PENDING}'"),
    ("paid_is_confirmed", PAYS),
    ("paid_is_confirmed", f"{PAYS};{CONFIRMS} ('{{PENDING}}', 'callback', 1499, 'UE00000099')"),
    ("paid_is_confirmed", f"{ORDER_PAID} ('{PHONE}', 1, 'INV1', 'PAID', now())"),
    *[
        ("only_for_paid", f"{CONFIRMS} ('{{{status}}}', 'callback', 1500, 'UE00000099')")
        for status in ("PENDING", "FAILED", "REVIEW")
    ],
    ("one_confirmation_a_transaction", f"{CONFIRMS} ('{{PAID}}', 'callback', 1500, 'UE00000099')"),
    ("one_transaction_a_receipt",
     f"{PAYS};{CONFIRMS} ('{{PENDING}}', 'callback', 1500,"
     " (SELECT mpesa_receipt_number FROM payment_confirmations WHERE transaction_id = '{PAID}'))"),
    *[
        ("only_a_query_names_no_receipt", f"{PAYS};{CONFIRMS} ('{{PENDING}}', '{evidence}', 1500, NULL)")
        for evidence in ("callback", "operator")
    ],
    *[
        ("evidence_is_fixed", f"UPDATE payment_confirmations SET {change} WHERE transaction_id = '{{PAID}}'")
        for change in (
            "mpesa_receipt_number = 'UE00000099'", "mpesa_receipt_number = NULL, evidence = 'query'", "amount = 1",
            "transaction_id = '{FAILED}'", "evidence = 'operator'",
        )
    ],
    ("history_is_kept", "DELETE FROM payment_confirmations WHERE transaction_id = '{PAID}'"),
    ("history_is_kept", "TRUNCATE payment_confirmations"),
    ("payment_confirmations_result_code_check",
     "UPDATE payment_confirmations SET result_code = '1032' WHERE transaction_id = '{PAID}'"),
    ("only_a_refund_has_its_receipt", "UPDATE transactions SET status = 'PAID' WHERE id = '{REFUNDED}'"),
    ("written_once", "UPDATE transactions SET refund_receipt = 'R99' WHERE id = '{REFUNDED}'"),
    ("receipt_is_upper_case", f"{PAYS};{CONFIRMS} ('{{PENDING}}', 'callback', 1500, 'ue00000099')"),
    ("statement_has_a_row", f"{PAYS};{CONFIRMS} ('{{PENDING}}', 'statement', 1500, 'UE00000099')"),
    ("evidence_is_known", f"{PAYS};{CONFIRMS} ('{{PENDING}}', 'hearsay', 1500, 'UE00000099')"),
    ("nobody_pays", f"{ORDER} ('254012345678', 1, 'INV1')"),
    ("refunded_has_a_receipt", "UPDATE transactions SET status = 'REFUNDED' WHERE id = '{PAID}'"),
    # --- invoices
    ("paid_is_invoiced",
     f"{ORDER_MAILED} ('{PHONE}', 1500, 'INV00042', 'a@example.com', '9-9-9', 'ws_CO_9', 'PENDING')",
     "UPDATE transactions SET status = 'PAID', paid_at = now() WHERE customer_email IS NOT NULL;"
     "INSERT INTO payment_confirmations (transaction_id, evidence, amount, mpesa_receipt_number)"
     " SELECT id, 'callback', 1500, 'UE00000099' FROM transactions WHERE customer_email IS NOT NULL"),
    ("only_for_paid", f"{INVOICES} ('{{PENDING}}', 'alice@example.com', 1500)"),
    ("only_for_paid", f"{INVOICES} ('{{PAID}}', 'alice@example.com', 1499)"),
    ("one_invoice_a_transaction", INVOICED, f"{INVOICES} ('{{PAID}}', 'bob@example.com', 1500)"),
    ("sent_has_a_time", INVOICED, "UPDATE invoices SET status = 'SENT'"),
    *[
        ("evidence_is_fixed", INVOICED, f"UPDATE invoices SET {change}")
        for change in (
            "invoice_number = 'INV-2026-000099'", "invoice_date = now() + interval '1 day'", "amount = 1499",
            "transaction_id = gen_random_uuid()",
        )
    ],
    ("history_is_kept", INVOICED, "DELETE FROM invoices"),
    ("history_is_kept", INVOICED, "TRUNCATE invoices"),
    *[
        ("evidence_is_fixed", INVOICED, f"UPDATE invoice_years SET {change}")
        for change in ("last_number = 0", "last_number = 3", "year = 2025")
    ],
    ("history_is_kept", INVOICED, "DELETE FROM invoice_years"),
    ("history_is_kept", INVOICED, "TRUNCATE invoice_years"),
    # --- a restore
    *[
        ("finished_once", RESTORED, f"UPDATE recoveries SET {change}")
        for change in ("finished_at = now() - interval '1 day', finished_by = 'x', facts = '{{}}'", "who = 'x'",
                       "finished_at = now(), finished_by = 'x', facts = '{{}}', backup_at = now()")
    ],
    ("finished_once", RESTORED, FINISHED, "UPDATE recoveries SET why = 'x'"),
    (CHECK, RESTORED, "UPDATE recoveries SET finished_at = now()"),
    ("history_is_kept", RESTORED, "DELETE FROM recoveries"),
    ("history_is_kept", RESTORED, "TRUNCATE recoveries CASCADE"),
    *[
        ("history_is_kept", LEFT_OUT, change)
        for change in ("UPDATE invoice_gaps SET who = 'x'", "DELETE FROM invoice_gaps", "TRUNCATE invoice_gaps")
    ],
    *[
        ("evidence_is_fixed", INVOICED, LEFT_OUT, f"UPDATE invoice_years SET {change}")
        for change in ("last_number = 3", "last_number = 100", "last_number = 100, year = year + 1")
    ],
    ("a_tax_invoice_has_a_number", INVOICED, "UPDATE invoices SET etims_receipt_signature = 'QUII27MATATSHFRB'"),
    ("invoices_etims_cu_invoice_number_key",
     INVOICED, f"{INVOICES} ('{{OTHER_PAID}}', 'alice@example.com', 1500)", ETIMS),
    # --- statements
    *[
        ("history_is_kept", FILED, change)
        for change in ("UPDATE statement_files SET who = 'x'", "DELETE FROM statement_files",
                       "DELETE FROM statement_rows", "TRUNCATE statement_rows CASCADE",
                       "TRUNCATE statement_files CASCADE")
    ],
    *[
        ("evidence_is_fixed", FILED, f"UPDATE statement_rows SET {change}")
        for change in ("paid_in = 1", "receipt = 'UE00000099'", "at = now()", "completed = false", "class = 'charge'",
                       "account = 'ANOTHER'", "raw = '[1]'", "raw = NULL", "account = NULL", "withdrawn = 1")
    ],
    ("evidence_is_fixed", FILED, "UPDATE statement_rows SET transaction_id = '{PAID}'",
     "UPDATE statement_rows SET transaction_id = '{OTHER_PAID}'"),
    ("evidence_is_fixed", FILED, "UPDATE statement_rows SET transaction_id = '{PAID}'",
     f"{ERASES} ('{{OTHER_PAID}}', 'person', 'x', 'y');UPDATE statement_rows SET raw = NULL"),
    ("one_row_in_all_files", FILED, ROW),
    ("statement_files_pkey", FILED, FILE),
    *[
        (CHECK, FILE, ROW.replace(good, bad))
        for good, bad in (("'UE00000001'", "'ue00000001'"), ("'payment'", "'sale'"), ("1500", "-1500"),
                          ("1500", "'NaN'"), ("now()", "'1999-01-01'"), ("'[]'", "repeat('x', 100001)"),
                          (", 3,", ", 0,"))
    ],
    (CHECK, FILE.replace("'ok'", "'fine'")),
    (FOREIGN_KEY, ROW),
    (FOREIGN_KEY, f"{PAYS};INSERT INTO payment_confirmations (transaction_id, evidence, amount, mpesa_receipt_number,"
     " statement_row_id) VALUES ('{PENDING}', 'statement', 1500, 'UE00000099', 1)"),
    *[
        ("history_is_kept", LOGGED, change)
        for change in ("UPDATE reconciliation_log SET why = 'x'", "DELETE FROM reconciliation_log",
                       "TRUNCATE reconciliation_log")
    ],
    ("reconciliation_log_place_key", LOGGED, LOGGED),
    ("history_is_kept", INSTALLED, "UPDATE installation SET reconciliation_length = 1, reconciliation_head = 'h'",
     "UPDATE installation SET reconciliation_length = 0, reconciliation_head = NULL"),
    ("a_head_is_of_a_chain", INSTALLED, "UPDATE installation SET reconciliation_length = 1"),
    # --- callbacks, effects, history
    ("evidence_is_fixed", STORED, "UPDATE callback_inbox SET body = 'another'"),
    ("evidence_is_fixed", STORED, "UPDATE callback_inbox SET transaction_id = id"),
    ("history_is_kept", STORED, "DELETE FROM callback_inbox"),
    ("history_is_kept", STORED, "TRUNCATE callback_inbox CASCADE"),
    ("an_outcome_or_another_try", STORED, "UPDATE callback_inbox SET next_try_at = NULL"),
    ("an_outcome_or_another_try", STORED, "UPDATE callback_inbox SET outcome = 'paid'"),
    ("callback_inbox_tries_check", STORED, "UPDATE callback_inbox SET tries = 4"),
    ("tries_end", ALERTS, "UPDATE outbox SET tries = 4"),
    ("outbox_tells_an_alert_once", ALERTS, ALERTS),
    ("outbox_sends_a_first_invoice_once", INVOICED, SENDS, SENDS),
    ("mail_has_a_cause", SENDS),
    *[
        ("mail_has_a_cause", CHAIN, SIGNED, NOTICE.replace("{topic}", topic))
        for topic in ("failed", "paid_late", "under_review", "refunded")
    ],
    ("mail_has_a_cause", CHAIN, FAILED_NOW, NOTICE.replace("{topic}", "refunded")),
    ("over_for_a_reason", ALERTS, "UPDATE outbox SET next_try_at = NULL"),
    ("sent_now", ALERTS, "UPDATE outbox SET sent_at = now() - interval '1 day', next_try_at = NULL"),
    ("sent_is_over", ALERTS, "UPDATE outbox SET sent_at = now()"),
    *[
        ("history_is_kept", SIGNED, change)
        for change in ("UPDATE audit_log SET reason = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log",
                       "TRUNCATE transactions CASCADE")
    ],
    ("audit_log_is_one_chain", SIGNED, f"{HISTORY} 1, 'other', 'key')"),
    *[
        (NOT_NULL, SIGNED, f"{HISTORY} {part})")
        for part in ("2, NULL, 'key'", "NULL, 'link', 'key'", "2, 'link', NULL")
    ],
    ("history_is_kept", SIGNED, CHAIN, "UPDATE transactions SET audit_length = 0, audit_head = NULL"),
    ("a_head_is_of_a_chain", SIGNED, CHAIN, "UPDATE transactions SET audit_head = NULL"),
    *[
        ("history_is_kept", ANCHORED, ANCHOR_MAILED, change)
        for change in ("UPDATE audit_anchors SET digest = 'x'", "DELETE FROM audit_anchors",
                       "TRUNCATE audit_anchors CASCADE")
    ],
    ("outbox_sends_an_anchor_once", ANCHORED, ANCHOR_MAILED, ANCHOR_MAILED),
    ("an_anchor_leaves", ANCHORED, "INSERT INTO outbox (kind, topic) VALUES ('anchor', 'log')"),
    ("idempotency_keys_pkey", f"{KEEPS_A_KEY} ('k', 'f', '{{PENDING}}')", f"{KEEPS_A_KEY} ('k', 'f', '{{FAILED}}')"),
    ("idempotency_keys_transaction_id_key",
     f"{KEEPS_A_KEY} ('k', 'f', '{{PENDING}}')", f"{KEEPS_A_KEY} ('l', 'f', '{{PENDING}}')"),
    ("installation_pkey", INSTALLED, "INSERT INTO installation (environment) VALUES ('production')"),
    ("installation_only_row_check", "INSERT INTO installation (only_row, environment) VALUES (false, 'production')"),
    ("evidence_is_fixed", INSTALLED, "UPDATE installation SET environment = 'production'"),
    ("history_is_kept", INSTALLED, "DELETE FROM installation"),
    ("history_is_kept", INSTALLED, "TRUNCATE installation"),
    *[
        ("history_is_kept", ANSWERED, change)
        for change in ("UPDATE query_answers SET said = 'x'", "DELETE FROM query_answers", "TRUNCATE query_answers")
    ],
]  # fmt: skip
"""The name of the rule, or PostgreSQL's code of its kind; statements that are allowed; the one that is refused."""


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: f"{row[0]}: {row[-1][:70]}")
def test_the_database_refuses_what_would_break_the_books(books: Books, row: tuple[str, ...]) -> None:
    rule, *allowed, refused = row
    for statement in allowed:
        books.run(statement)
    with pytest.raises(ConstraintBroken) as broken:
        books.run(refused)
    assert rule in (broken.value.constraint, broken.value.sqlstate)


def test_healthy_books_can_be_written(books: Books) -> None:
    for status in ("INITIATED", "PENDING", "UNCERTAIN", "PAID", "FAILED", "CANCELLED", "EXPIRED", "REVIEW", "REFUNDED"):
        books.payment(status, phone_number=OTHER_PHONE)
    books.run(f"{PAYS};{CONFIRMS} ('{{PENDING}}', 'query', 1500, NULL)")
    books.run("UPDATE payment_confirmations SET mpesa_receipt_number = 'UE00000099' WHERE evidence = 'query'")
    books.run(INVOICED)
    books.run(f"{ETIMS} WHERE id = (SELECT id FROM invoices LIMIT 1)")
    books.run("UPDATE invoices SET customer_email = 'erased@erased.invalid', customer_name = NULL")
    books.run(FILED)
    books.run(f"{ERASES} ('{{PAID}}', 'person', 'x', 'y');UPDATE statement_rows SET raw = NULL")
    books.run(
        f"UPDATE statement_rows SET transaction_id = '{{PAID}}';{ERASES} ('{{PAID}}', 'person', 'x', 'y');"
        "UPDATE statement_rows SET account = NULL"
    )
    books.run(LOGGED)


def test_money_that_came_another_way_is_booked_under_the_number_of_nobody(books: Books, database: Database) -> None:
    books.run(
        f"{ORDER} ('254012345678', 1500, 'BYHAND');"
        "UPDATE transactions SET status = 'PAID', paid_at = now();"
        "INSERT INTO payment_confirmations (transaction_id, evidence, amount, mpesa_receipt_number)"
        " SELECT id, 'callback', 1500, 'UE00000099' FROM transactions"
    )
    assert database.rows("SELECT status FROM transactions") == [{"status": "PAID"}]


def test_a_refund_is_taken_back_with_its_receipt(books: Books, database: Database) -> None:
    books.run(
        "UPDATE transactions SET status = 'PAID', updated_at = now(), refunded_at = NULL, refund_receipt = NULL"
        " WHERE id = '{REFUNDED}'"
    )
    assert database.rows("SELECT status, refund_receipt FROM transactions") == [
        {"status": "PAID", "refund_receipt": None}
    ]


# Invoice numbers ------------------------------------------------------------------------------------------------------


def invoice(books: Books) -> None:
    books.run(f"{INVOICES} ('{books.payment('PAID')}', 'alice@example.com', 1500)")


def invoice_numbers(database: Database) -> list[str]:
    return [row["invoice_number"] for row in database.rows("SELECT invoice_number FROM invoices ORDER BY 1")]


@pytest.fixture
def year(database: Database) -> int:
    """Nairobi's."""
    (row,) = database.rows("SELECT extract(year FROM now() AT TIME ZONE 'Africa/Nairobi')::integer AS year")
    return int(row["year"])


def test_invoice_numbers_count_up_and_a_rollback_leaves_no_gap(books: Books, database: Database, year: int) -> None:
    for _ in range(2):
        invoice(books)
        with pytest.raises(ConstraintBroken):
            books.run(f"{INVOICES} ('{books.payment()}', 'alice@example.com', 1500)")
    assert invoice_numbers(database) == [f"INV-{year}-000001", f"INV-{year}-000002"]


def test_the_millionth_invoice_of_a_year_keeps_all_its_digits(books: Books, database: Database, year: int) -> None:
    books.run(f"INSERT INTO invoice_years VALUES ({year}, 999998)")
    for _ in range(3):
        invoice(books)
    assert invoice_numbers(database) == [f"INV-{year}-1000000", f"INV-{year}-1000001", f"INV-{year}-999999"]


@pytest.mark.parametrize(
    ("at", "expected"),
    [("2026-12-31 20:59:59.9+00", 2026), ("2026-12-31 21:00:00+00", 2027), ("2027-01-01 00:00+00", 2027)],
)
def test_the_year_turns_at_midnight_in_nairobi(books: Books, database: Database, at: str, expected: int) -> None:
    """As the schema's own function at another time: the last number of the old year, the first of the new one."""
    with database.transaction() as tx:
        (row,) = tx.rows("SELECT pg_get_functiondef('next_invoice_number'::regproc) AS body")
        tx.run(row["body"].replace("now()", f"timestamptz '{at}'"))
    invoice(books)
    assert invoice_numbers(database) == [f"INV-{expected}-000001"]
