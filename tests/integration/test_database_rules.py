"""The database refuses what would break the books, whoever asks: each rule of the schema, broken once by plain SQL."""

from __future__ import annotations

import pytest

from shared.database import ConstraintBroken, Database

PHONE, OTHER_PHONE = "254722000000", "254722111111"
HISTORY = "INSERT INTO audit_log (transaction_id, actor, event, outcome, to_status, place, link, link_key) VALUES"


class Books:
    """Writes rows as an operator with a console would."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, *statements: str, **params: object) -> None:
        """All of them in one transaction."""
        with self._database.transaction() as tx:
            for statement in statements:
                names = {name: value for name, value in params.items() if f":{name}" in statement}
                tx.run(statement, **names)

    def payment(self, status: str = "PENDING", **columns: object) -> str:
        """A payment as healthy books hold it in this status; its id."""
        settled = status in ("PAID", "REFUNDED")
        number = self._next()
        row: dict[str, object] = {
            "phone_number": PHONE,
            "amount": 1500,
            "account_reference": "INV00042",
            "merchant_request_id": f"{number}-1-1",
            "checkout_request_id": f"ws_CO_{number}",
            **columns,
        }
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        with self._database.transaction() as tx:
            (stored,) = tx.rows(f"INSERT INTO transactions ({names}) VALUES ({values}) RETURNING id", **row)
            payment_id = str(stored["id"])
            if settled:
                self._settle(tx, payment_id, number)
            elif status == "REVIEW":
                tx.run(
                    f"UPDATE transactions SET status = 'REVIEW', review_reason = 'silence' WHERE id = '{payment_id}'"
                )
            elif status != "INITIATED":
                tx.run(f"UPDATE transactions SET status = '{status}' WHERE id = '{payment_id}'")
            if status == "REFUNDED":
                tx.run(
                    f"UPDATE transactions SET status = 'REFUNDED', refunded_at = now(), refund_receipt = 'R{number}'"
                    f" WHERE id = '{payment_id}'"
                )
        return payment_id

    def _settle(self, tx: object, payment_id: str, number: int) -> None:
        from shared.database import Transaction

        assert isinstance(tx, Transaction)
        tx.run(f"UPDATE transactions SET status = 'PAID', paid_at = now() WHERE id = '{payment_id}'")
        tx.run(
            f"""
            INSERT INTO payment_confirmations (transaction_id, evidence, amount, mpesa_receipt_number)
            SELECT id, 'callback', amount, 'UE{number:08}' FROM transactions WHERE id = '{payment_id}'
            """
        )

    def _next(self) -> int:
        with self._database.transaction() as tx:
            return int(tx.rows("SELECT count(*) AS n FROM transactions")[0]["n"]) + 1

    def entry(self, payment_id: str) -> str:
        with self._database.transaction() as tx:
            (row,) = tx.rows(
                f"INSERT INTO callback_inbox (transaction_id, body) VALUES ('{payment_id}', 'as sent') RETURNING id"
            )
        return str(row["id"])


@pytest.fixture
def books(database: Database) -> Books:
    return Books(database)


def refuses(books: Books, constraint: str, *statements: str, **params: object) -> None:
    with pytest.raises(ConstraintBroken) as broken:
        books.run(*statements, **params)
    assert broken.value.constraint == constraint


# A payment ------------------------------------------------------------------------------------------------------------


def test_healthy_books_can_be_written(books: Books) -> None:
    for status in ("INITIATED", "PENDING", "UNCERTAIN", "PAID", "FAILED", "CANCELLED", "EXPIRED", "REVIEW", "REFUNDED"):
        books.payment(status, phone_number=OTHER_PHONE)


@pytest.mark.parametrize("amount", ["0", "-1", "1.5", "250001", "NULL"])
def test_an_amount_is_whole_shillings_within_the_limits(books: Books, amount: str) -> None:
    with pytest.raises(ConstraintBroken):
        books.run(
            f"INSERT INTO transactions (phone_number, amount, account_reference) VALUES ('{PHONE}', {amount}, 'INV1')"
        )


@pytest.mark.parametrize("phone", ["0722000000", "+254722000000", "25472200000", "254822000000", "2547220000000", ""])
def test_a_phone_number_is_stored_in_one_form(books: Books, phone: str) -> None:
    refuses(
        books,
        "transactions_phone_number_check",
        "INSERT INTO transactions (phone_number, amount, account_reference) VALUES (:phone, 1, 'INV1')",
        phone=phone,
    )


@pytest.mark.parametrize("reference", ["", "INV 1", "INV-1", "THIRTEENCHARS", "INV1\n"])
def test_a_reference_is_what_daraja_can_print(books: Books, reference: str) -> None:
    refuses(
        books,
        "transactions_account_reference_check",
        f"INSERT INTO transactions (phone_number, amount, account_reference) VALUES ('{PHONE}', 1, :reference)",
        reference=reference,
    )


def test_a_status_is_one_of_nine(books: Books) -> None:
    payment = books.payment("INITIATED")
    with pytest.raises(ConstraintBroken):
        books.run(f"UPDATE transactions SET status = 'DONE' WHERE id = '{payment}'")


@pytest.mark.parametrize(
    ("was", "now"),
    [("PAID", "FAILED"), ("PAID", "PENDING"), ("PAID", "REVIEW"), ("REFUNDED", "PAID"), ("REFUNDED", "PENDING"),
     ("FAILED", "PENDING"), ("FAILED", "CANCELLED"), ("CANCELLED", "UNCERTAIN"), ("PENDING", "INITIATED"),
     ("PENDING", "UNCERTAIN"), ("REVIEW", "PENDING"), ("REVIEW", "CANCELLED"), ("PENDING", "REFUNDED")],
)  # fmt: skip
def test_a_status_never_goes_where_the_table_does_not_lead(books: Books, was: str, now: str) -> None:
    payment = books.payment(was)
    refuses(
        books,
        "allowed_transition",
        f"UPDATE transactions SET status = '{now}', review_reason = NULL WHERE id = '{payment}'",
    )


def test_the_amount_of_a_payment_never_changes(books: Books) -> None:
    for status in ("INITIATED", "PENDING", "PAID"):
        payment = books.payment(status)
        refuses(books, "amount_is_fixed", f"UPDATE transactions SET amount = 1501 WHERE id = '{payment}'")


def test_two_payments_never_share_an_id_of_darajas(books: Books) -> None:
    books.payment(merchant_request_id="1-1-1", checkout_request_id="ws_CO_X")
    for change in ({"checkout_request_id": "ws_CO_X"}, {"merchant_request_id": "1-1-1"}):
        with pytest.raises(ConstraintBroken) as broken:
            books.payment(**change)
        assert broken.value.sqlstate == "23505"


def test_darajas_two_ids_come_together(books: Books) -> None:
    payment = books.payment()
    refuses(books, "ids_come_together", f"UPDATE transactions SET merchant_request_id = NULL WHERE id = '{payment}'")


def test_a_pending_payment_was_accepted_by_daraja(books: Books) -> None:
    with pytest.raises(ConstraintBroken) as broken:
        books.payment("PENDING", merchant_request_id=None, checkout_request_id=None)
    assert broken.value.constraint == "pending_was_accepted"


def test_a_review_has_a_reason_and_nothing_else_has_one(books: Books) -> None:
    pending, review = books.payment(), books.payment("REVIEW")
    refuses(books, "review_has_a_reason", f"UPDATE transactions SET status = 'REVIEW' WHERE id = '{pending}'")
    refuses(books, "review_has_a_reason", f"UPDATE transactions SET review_reason = 'x' WHERE id = '{pending}'")
    refuses(books, "review_has_a_reason", f"UPDATE transactions SET review_reason = NULL WHERE id = '{review}'")


def test_a_payment_with_a_history_cannot_be_deleted(books: Books) -> None:
    payment = books.payment()
    books.run(f"{HISTORY} ('{payment}', 'test', 'Order', 'admitted', 'INITIATED', 1, 'link', 'key')")
    with pytest.raises(ConstraintBroken) as broken:
        books.run(f"DELETE FROM transactions WHERE id = '{payment}'")
    assert broken.value.sqlstate == "23503"


# Money ----------------------------------------------------------------------------------------------------------------

CONFIRMS = "INSERT INTO payment_confirmations (transaction_id, evidence, amount, mpesa_receipt_number) VALUES "


def test_paid_needs_a_time_and_a_confirmation_of_the_exact_amount(books: Books) -> None:
    payment = books.payment()
    pays = f"UPDATE transactions SET status = 'PAID', paid_at = now() WHERE id = '{payment}'"
    refuses(books, "paid_has_evidence", f"UPDATE transactions SET status = 'PAID' WHERE id = '{payment}'")
    refuses(books, "paid_is_confirmed", pays)
    with pytest.raises(ConstraintBroken):
        books.run(pays, f"{CONFIRMS} ('{payment}', 'callback', 1499, 'UE00000099')")
    books.run(pays, f"{CONFIRMS} ('{payment}', 'callback', 1500, 'UE00000099')")


def test_paid_cannot_be_inserted_either(books: Books) -> None:
    refuses(
        books,
        "paid_is_confirmed",
        "INSERT INTO transactions (phone_number, amount, account_reference, status, paid_at)"
        f" VALUES ('{PHONE}', 1, 'INV1', 'PAID', now())",
    )


def test_only_what_is_paid_has_a_confirmation(books: Books) -> None:
    for status in ("PENDING", "FAILED", "REVIEW"):
        payment = books.payment(status)
        refuses(books, "only_for_paid", f"{CONFIRMS} ('{payment}', 'callback', 1500, 'UE00000099')")


def test_a_payment_has_one_confirmation(books: Books) -> None:
    payment = books.payment("PAID")
    refuses(books, "one_confirmation_a_transaction", f"{CONFIRMS} ('{payment}', 'callback', 1500, 'UE00000099')")


def test_a_receipt_confirms_one_payment(books: Books) -> None:
    books.payment("PAID")
    payment = books.payment(phone_number=OTHER_PHONE)
    refuses(
        books,
        "one_transaction_a_receipt",
        f"UPDATE transactions SET status = 'PAID', paid_at = now() WHERE id = '{payment}'",
        f"{CONFIRMS} ('{payment}', 'callback', 1500, 'UE00000001')",
    )


def test_only_a_query_confirms_without_a_receipt(books: Books) -> None:
    payment = books.payment()
    pays = f"UPDATE transactions SET status = 'PAID', paid_at = now() WHERE id = '{payment}'"
    for evidence in ("callback", "operator"):
        refuses(books, "only_a_query_names_no_receipt", pays, f"{CONFIRMS} ('{payment}', '{evidence}', 1500, NULL)")
    books.run(pays, f"{CONFIRMS} ('{payment}', 'query', 1500, NULL)")
    books.run("UPDATE payment_confirmations SET mpesa_receipt_number = 'UE00000099'")  # filled in when it comes


@pytest.mark.parametrize(
    "change",
    ["mpesa_receipt_number = 'UE00000099'", "mpesa_receipt_number = NULL, evidence = 'query'", "amount = 1",
     "transaction_id = '{other}'", "evidence = 'operator'"],
)  # fmt: skip
def test_a_confirmation_never_changes_what_it_said(books: Books, change: str) -> None:
    payment, other = books.payment("PAID"), books.payment("FAILED")
    refuses(
        books,
        "evidence_is_fixed",
        f"UPDATE payment_confirmations SET {change.format(other=other)} WHERE transaction_id = '{payment}'",
    )


def test_a_confirmation_is_never_lost(books: Books) -> None:
    books.payment("PAID")
    refuses(books, "history_is_kept", "DELETE FROM payment_confirmations")
    refuses(books, "history_is_kept", "TRUNCATE payment_confirmations")


def test_a_code_other_than_0_confirms_nothing(books: Books) -> None:
    books.payment("PAID")
    refuses(books, "payment_confirmations_result_code_check", "UPDATE payment_confirmations SET result_code = '1032'")


def test_refunded_has_a_receipt_of_the_money_that_went_back(books: Books) -> None:
    payment = books.payment("PAID")
    refuses(books, "refunded_has_a_receipt", f"UPDATE transactions SET status = 'REFUNDED' WHERE id = '{payment}'")


# Invoices -------------------------------------------------------------------------------------------------------------

INVOICES = "INSERT INTO invoices (transaction_id, customer_email, amount) VALUES "


def test_a_paid_payment_with_an_address_has_an_invoice(books: Books) -> None:
    with pytest.raises(ConstraintBroken) as broken:
        books.payment("PAID", customer_email="alice@example.com")
    assert broken.value.constraint == "paid_is_invoiced"


def test_only_what_is_paid_has_an_invoice_and_only_one_of_its_amount(books: Books) -> None:
    pending, paid = books.payment(), books.payment("PAID")
    refuses(books, "only_for_paid", f"{INVOICES} ('{pending}', 'alice@example.com', 1500)")
    refuses(books, "only_for_paid", f"{INVOICES} ('{paid}', 'alice@example.com', 1499)")
    books.run(f"{INVOICES} ('{paid}', 'alice@example.com', 1500)")
    refuses(books, "one_invoice_a_transaction", f"{INVOICES} ('{paid}', 'bob@example.com', 1500)")


def test_a_sent_invoice_says_when(books: Books) -> None:
    books.run(f"{INVOICES} ('{books.payment('PAID')}', 'alice@example.com', 1500)")
    refuses(books, "sent_has_a_time", "UPDATE invoices SET status = 'SENT'")


def invoice_numbers(database: Database) -> list[str]:
    with database.transaction() as tx:
        return [row["invoice_number"] for row in tx.rows("SELECT invoice_number FROM invoices ORDER BY 1")]


def nairobis_year(database: Database) -> int:
    with database.transaction() as tx:
        (row,) = tx.rows("SELECT extract(year FROM now() AT TIME ZONE 'Africa/Nairobi')::integer AS year")
        return int(row["year"])


def test_invoice_numbers_count_up_within_the_year_and_what_is_rolled_back_leaves_no_gap(
    books: Books, database: Database
) -> None:
    year = nairobis_year(database)
    for _ in range(2):
        books.run(f"{INVOICES} ('{books.payment('PAID')}', 'alice@example.com', 1500)")
        refuses(books, "only_for_paid", f"{INVOICES} ('{books.payment()}', 'alice@example.com', 1500)")
    assert invoice_numbers(database) == [f"INV-{year}-000001", f"INV-{year}-000002"]


def test_the_millionth_invoice_of_a_year_keeps_all_its_digits(books: Books, database: Database) -> None:
    year = nairobis_year(database)
    books.run(f"INSERT INTO invoice_years VALUES ({year}, 999998)")
    for _ in range(3):
        books.run(f"{INVOICES} ('{books.payment('PAID')}', 'alice@example.com', 1500)")
    assert invoice_numbers(database) == [f"INV-{year}-1000000", f"INV-{year}-1000001", f"INV-{year}-999999"]


@pytest.mark.parametrize(
    ("at", "year"),
    [("2026-12-31 20:59:59.9+00", 2026), ("2026-12-31 21:00:00+00", 2027), ("2027-01-01 00:00+00", 2027)],
)
def test_the_year_turns_at_midnight_in_nairobi(books: Books, database: Database, at: str, year: int) -> None:
    """As the function of this schema, told another time: the last of the old year, the first of the new one."""
    with database.transaction() as tx:
        (row,) = tx.rows("SELECT pg_get_functiondef('next_invoice_number'::regproc) AS body")
        tx.run(row["body"].replace("now()", f"timestamptz '{at}'"))
    books.run(f"{INVOICES} ('{books.payment('PAID')}', 'alice@example.com', 1500)")
    assert invoice_numbers(database) == [f"INV-{year}-000001"]


@pytest.mark.parametrize(
    "change",
    [
        "invoice_number = 'INV-2026-000099'",
        "invoice_date = now() + interval '1 day'",
        "amount = 1499",
        "transaction_id = gen_random_uuid()",
    ],
)
def test_number_date_and_amount_of_an_invoice_never_change(books: Books, change: str) -> None:
    books.run(f"{INVOICES} ('{books.payment('PAID')}', 'alice@example.com', 1500)")
    refuses(books, "evidence_is_fixed", f"UPDATE invoices SET {change}")
    books.run("UPDATE invoices SET customer_email = 'erased@erased.invalid', customer_name = NULL")


@pytest.mark.parametrize("change", ["last_number = 0", "last_number = 3", "year = 2025"])
def test_numbers_are_never_given_twice_nor_left_out(books: Books, change: str) -> None:
    books.run(f"{INVOICES} ('{books.payment('PAID')}', 'alice@example.com', 1500)")
    refuses(books, "evidence_is_fixed", f"UPDATE invoice_years SET {change}")
    refuses(books, "history_is_kept", "DELETE FROM invoice_years")
    refuses(books, "history_is_kept", "TRUNCATE invoice_years")


def test_what_etims_gives_back_comes_with_its_number_and_one_number_is_one_invoices(books: Books) -> None:
    for _ in range(2):
        books.run(f"{INVOICES} ('{books.payment('PAID')}', 'alice@example.com', 1500)")
    refuses(books, "a_tax_invoice_has_a_number", "UPDATE invoices SET etims_receipt_signature = 'QUII27MATATSHFRB'")
    numbered = "UPDATE invoices SET etims_scu_id = 'KRACU0000000000', etims_cu_invoice_number = 'KRACU0000000000/1'"
    refuses(books, "invoices_etims_cu_invoice_number_key", numbered)
    books.run(f"{numbered} WHERE id = (SELECT id FROM invoices LIMIT 1)")


# Callbacks, effects, history ------------------------------------------------------------------------------------------


def test_a_callback_never_changes_and_is_never_lost(books: Books) -> None:
    entry = books.entry(books.payment())
    refuses(books, "evidence_is_fixed", f"UPDATE callback_inbox SET body = 'another' WHERE id = '{entry}'")
    refuses(books, "evidence_is_fixed", f"UPDATE callback_inbox SET transaction_id = id WHERE id = '{entry}'")
    refuses(books, "history_is_kept", "DELETE FROM callback_inbox")
    refuses(books, "history_is_kept", "TRUNCATE callback_inbox CASCADE")


def test_a_callback_has_an_outcome_or_another_try(books: Books) -> None:
    entry = books.entry(books.payment())
    refuses(books, "an_outcome_or_another_try", f"UPDATE callback_inbox SET next_try_at = NULL WHERE id = '{entry}'")
    refuses(books, "an_outcome_or_another_try", f"UPDATE callback_inbox SET outcome = 'paid' WHERE id = '{entry}'")


@pytest.mark.parametrize("table", ["callback_inbox", "outbox"])
def test_nothing_is_tried_more_than_three_times(books: Books, table: str) -> None:
    payment = books.payment()
    books.entry(payment)
    books.run(f"INSERT INTO outbox (kind, topic, transaction_id) VALUES ('alert', 'silence', '{payment}')")
    refuses(books, f"{table}_tries_check", f"UPDATE {table} SET tries = 4")


def test_an_alert_and_a_first_invoice_leave_once(books: Books) -> None:
    payment = books.payment()
    tells = f"INSERT INTO outbox (kind, topic, transaction_id) VALUES ('alert', 'silence', '{payment}')"
    sends = f"INSERT INTO outbox (kind, topic, transaction_id) VALUES ('invoice', 'settled', '{payment}')"
    books.run(tells, sends)
    refuses(books, "outbox_tells_an_alert_once", tells)
    refuses(books, "outbox_sends_a_first_invoice_once", sends)


def test_what_was_sent_is_not_tried_again(books: Books) -> None:
    payment = books.payment()
    books.run(f"INSERT INTO outbox (kind, topic, transaction_id) VALUES ('alert', 'silence', '{payment}')")
    refuses(books, "sent_is_over", "UPDATE outbox SET sent_at = now()")


@pytest.mark.parametrize("change", ["UPDATE audit_log SET reason = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log",
                                    "TRUNCATE transactions CASCADE"])  # fmt: skip
def test_history_is_only_ever_added_to(books: Books, change: str) -> None:
    payment = books.payment()
    books.run(f"{HISTORY} ('{payment}', 'test', 'Order', 'admitted', 'INITIATED', 1, 'link', 'key')")
    refuses(books, "history_is_kept", change)


def test_a_chain_is_numbered_once_signed_whole_and_only_grows(books: Books) -> None:
    payment = books.payment()
    told = f"'{payment}', 'test', 'Order', 'admitted', 'INITIATED'"
    books.run(f"{HISTORY} ({told}, 1, 'link', 'key')")
    refuses(books, "audit_log_is_one_chain", f"{HISTORY} ({told}, 1, 'other', 'key')")
    for part in ("2, NULL, 'key'", "NULL, 'link', 'key'", "2, 'link', NULL"):
        with pytest.raises(ConstraintBroken, match="23502"):
            books.run(f"{HISTORY} ({told}, {part})")
    books.run(f"UPDATE transactions SET audit_length = 2, audit_head = 'head' WHERE id = '{payment}'")
    refuses(books, "history_is_kept", "UPDATE transactions SET audit_length = 1")
    refuses(books, "a_head_is_of_a_chain", "UPDATE transactions SET audit_head = NULL")


@pytest.mark.parametrize(
    "change", ["UPDATE audit_anchors SET digest = 'x'", "DELETE FROM audit_anchors", "TRUNCATE audit_anchors CASCADE"]
)
def test_an_anchor_is_kept_and_leaves_once_by_each_way(books: Books, change: str) -> None:
    books.run(
        """
        INSERT INTO audit_anchors (last_audit_id, row_count, payment_count, digest, day_is_over)
        VALUES (1, 1, 1, 'digest', true)
        """
    )
    sends = "INSERT INTO outbox (kind, topic, anchor_id) SELECT 'anchor', 'mail', id FROM audit_anchors"
    books.run(sends)
    refuses(books, "outbox_sends_an_anchor_once", sends)
    refuses(books, "an_anchor_leaves", "INSERT INTO outbox (kind, topic) VALUES ('anchor', 'log')")
    refuses(books, "history_is_kept", change)


def test_a_key_belongs_to_one_payment_and_a_payment_to_one_key(books: Books) -> None:
    one, two = books.payment(), books.payment()
    keeps = "INSERT INTO idempotency_keys (key, fingerprint, transaction_id) VALUES "
    books.run(f"{keeps} ('k', 'f', '{one}')")
    refuses(books, "idempotency_keys_pkey", f"{keeps} ('k', 'f', '{two}')")
    refuses(books, "idempotency_keys_transaction_id_key", f"{keeps} ('l', 'f', '{one}')")


def test_a_database_belongs_to_one_environment_for_ever(books: Books) -> None:
    books.run("INSERT INTO installation (environment) VALUES ('sandbox')")
    refuses(books, "installation_pkey", "INSERT INTO installation (environment) VALUES ('production')")
    refuses(books, "installation_only_row_check",
            "INSERT INTO installation (only_row, environment) VALUES (false, 'production')")  # fmt: skip
    refuses(books, "evidence_is_fixed", "UPDATE installation SET environment = 'production'")
    refuses(books, "history_is_kept", "DELETE FROM installation")
    refuses(books, "history_is_kept", "TRUNCATE installation")


def test_an_invoice_that_was_made_stays_on_file(books: Books) -> None:
    payment = books.payment("PAID")
    books.run(
        f"INSERT INTO invoices (transaction_id, customer_email, amount) VALUES ('{payment}', 'a@example.com', 1500)"
    )
    refuses(books, "history_is_kept", "DELETE FROM invoices")
    refuses(books, "history_is_kept", "TRUNCATE invoices")


@pytest.mark.parametrize(
    "change", ["UPDATE query_answers SET said = 'x'", "DELETE FROM query_answers", "TRUNCATE query_answers"]
)
def test_what_daraja_answered_is_only_ever_added_to(books: Books, change: str) -> None:
    payment = books.payment()
    books.run(f"INSERT INTO query_answers (transaction_id, result_code, outcome) VALUES ('{payment}', '0', 'paid')")
    refuses(books, "history_is_kept", change)
