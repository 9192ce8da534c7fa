-- The functions' own role, lipa_functions: it may do what the functions need, and cannot change, remove or switch off history.
-- At the end lipa_backup, which reads everything and writes one row for each backup.
-- Run it as the owner of the tables, after every migration: python -m db.migrate --roles, or psql -f db/roles.sql. Running it
-- again changes nothing. A role cannot log in until you give it a password: docs/database.md, step by step.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lipa_functions') THEN
        CREATE ROLE lipa_functions NOLOGIN;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO lipa_functions', current_database());
    -- Everybody may make temporary tables unless this says otherwise, and through a pooler they outlive who made them.
    -- Only the database's owner can take that back; whoever else runs this gets a warning, and nothing depends on it:
    -- every function names its search_path, with temporary tables last.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC, lipa_functions', current_database());
END $$;

-- Nothing but what follows, also where an older version of this file gave more. (A privilege on a table that is taken
-- back takes those on its columns with it.)
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM lipa_functions;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM lipa_functions;
REVOKE ALL ON SCHEMA public FROM lipa_functions;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO lipa_functions;

-- Only the columns that a function writes when it adds a row: numbers and times of rows come from the database.
-- History: read and added to, never changed. No DELETE or TRUNCATE on anything that tells of money.
GRANT SELECT, INSERT ON audit_log TO lipa_functions;
GRANT USAGE ON SEQUENCE audit_log_id_seq TO lipa_functions;
GRANT SELECT, INSERT (last_audit_id, row_count, payment_count, digest, day_is_over) ON audit_anchors TO lipa_functions;
GRANT SELECT, INSERT (transaction_id, result_code, said, outcome) ON query_answers TO lipa_functions;
GRANT SELECT, INSERT (environment) ON installation TO lipa_functions;
-- Statements are an operator's. The sweep reads until when the books were compared, and an operator with this role reads the
-- rest of what verifies them; what can name somebody (account, raw) nobody reads but the owner.
GRANT SELECT ON statement_files, reconciliation_log, backups TO lipa_functions;
-- Whether a restore is finished: nobody is asked to pay until it is. Numbers that are left out are an operator's word.
GRANT SELECT ON recoveries, invoice_gaps TO lipa_functions;
GRANT SELECT ON drills TO lipa_functions;
GRANT SELECT (id, sha256, row_number, receipt, at, class, status, completed, paid_in, withdrawn, linked_receipt, transaction_id)
    ON statement_rows TO lipa_functions;

-- Payments: the number, the amount, the reference and the moment of the order never change.
GRANT SELECT, INSERT (
    id, phone_number, amount, account_reference, transaction_desc, customer_email, customer_name, lang, pushed_at,
    audit_length, audit_head, items, note, link_digest
) ON transactions TO lipa_functions;
GRANT UPDATE (
    merchant_request_id, checkout_request_id, ids_are_learnt, customer_email, status, review_reason, response_code,
    response_message, result_code, result_desc, updated_at, pushed_at, callback_received_at, success_held_at, paid_at,
    paid_late, refunded_at, refund_receipt, failed_at, watched_at, query_count, last_query_at, next_query_at,
    audit_length, audit_head, order_sent_at
) ON transactions TO lipa_functions;

-- Callbacks: never the bytes, nor whose they are, nor where they came from.
GRANT SELECT, INSERT (id, transaction_id, body, source_address, source_check, tries, next_try_at, seal)
    ON callback_inbox TO lipa_functions;
GRANT UPDATE (outcome, receipts, tries, next_try_at, judged_at, last_error, source_check, copies)
    ON callback_inbox TO lipa_functions;

-- Confirmations: a receipt that was missing is filled in, with what came with it.
GRANT SELECT, INSERT (
    transaction_id, evidence, inbox_id, result_desc, amount, mpesa_receipt_number, balance_amount, transaction_date, phone_number
) ON payment_confirmations TO lipa_functions;
GRANT UPDATE (mpesa_receipt_number, inbox_id, result_desc, balance_amount, transaction_date, phone_number)
    ON payment_confirmations TO lipa_functions;

-- What leaves the house. An invoice's number comes from next_invoice_number(), which runs as its owner: invoice_years is only read.
GRANT SELECT ON invoice_years TO lipa_functions;
REVOKE EXECUTE ON FUNCTION next_invoice_number() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION next_invoice_number() TO lipa_functions;
GRANT SELECT, INSERT (transaction_id, customer_email, customer_name, customer_phone, amount) ON invoices TO lipa_functions;
GRANT SELECT, INSERT (kind, topic, transaction_id, tries, next_try_at, anchor_id, facts, tells_of) ON outbox TO lipa_functions;
GRANT UPDATE (status, sent_at) ON invoices TO lipa_functions;
GRANT UPDATE (tries, next_try_at, sent_at, last_error, dropped) ON outbox TO lipa_functions;

-- Going live: an operator's steps, with the site's own variables.
GRANT SELECT, INSERT (step, state, who, says, facts) ON golive_steps TO lipa_functions;

-- What is no history: keys that are released, the token, the budget, limits, what the sweep remembers.
GRANT SELECT, DELETE, INSERT (key, fingerprint, transaction_id) ON idempotency_keys TO lipa_functions;
GRANT SELECT, DELETE, INSERT (address_digest) ON push_callers TO lipa_functions;
GRANT SELECT, INSERT (name), UPDATE (retired_at) ON callback_keys TO lipa_functions;
GRANT SELECT, INSERT, UPDATE ON access_tokens, query_budget, incidents, sweeps, mail_pause TO lipa_functions;

-- The role of `ops backup`: it reads every table and sequence, also those of later migrations, and adds to `backups`. Nothing else.
DO $$
DECLARE
    home text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lipa_backup') THEN
        CREATE ROLE lipa_backup NOLOGIN;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO lipa_backup', current_database());
    FOR home IN SELECT nspname FROM pg_namespace WHERE nspname IN ('public', 'lipa', 'netlify') LOOP
        BEGIN
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM lipa_backup', home);
            EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM lipa_backup', home);
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO lipa_backup', home);
            EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO lipa_backup', home);
            EXECUTE format('GRANT SELECT ON ALL SEQUENCES IN SCHEMA %I TO lipa_backup', home);
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO lipa_backup', home);
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON SEQUENCES TO lipa_backup', home);
        EXCEPTION WHEN insufficient_privilege THEN
            IF home <> 'netlify' THEN
                RAISE;
            END IF;                                           -- the host's own record, which no restore needs
        END;
    END LOOP;
END $$;
GRANT INSERT (at, place, size_bytes, sha256, recipients, server_version, client_version, migration, facts) ON backups TO lipa_backup;
