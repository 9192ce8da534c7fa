-- M-Pesa statements as evidence, a log of closed months, and the operator's word that can be taken back.
SET LOCAL lock_timeout = '2s';

-- All locks, before anything changes: as in 0002.
DO $$
BEGIN
    FOR tries_left IN REVERSE coalesce(nullif(current_setting('lipa.lock_tries', true), '')::integer, 60)..1 LOOP
        BEGIN
            LOCK TABLE transactions, payment_confirmations, installation IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF tries_left = 1 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(1);
        END;
    END LOOP;
END $$;

-- Statements of the shop's paybill or till, as Safaricom exports them. A row that several files hold is kept once.
CREATE TABLE statement_files (
    sha256        text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    family        text NOT NULL CHECK (family ~ '^[A-Z]$'),
    shortcode     text,                                       -- null: the file does not say
    starts        timestamptz,                                -- the period that the file itself states
    ends          timestamptz,
    row_count     integer NOT NULL CHECK (row_count >= 0),
    balance_chain text NOT NULL CHECK (balance_chain IN ('ok', 'broken', 'absent')),
    who           text NOT NULL,
    written_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE statement_rows (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256         text NOT NULL REFERENCES statement_files (sha256),
    row_number     integer NOT NULL CHECK (row_number >= 1),
    receipt        text NOT NULL CHECK (receipt = upper(receipt)),
    at             timestamptz NOT NULL,                      -- completion
    class          text NOT NULL CHECK (class IN (
                       'payment', 'charge', 'reversal', 'sweep', 'settlement', 'organisation', 'b2c', 'other')),
    status         text NOT NULL,                             -- in Safaricom's words
    completed      boolean NOT NULL,
    paid_in        numeric(12, 2) NOT NULL CHECK (paid_in >= 0 AND paid_in <> 'NaN'),
    withdrawn      numeric(12, 2) NOT NULL CHECK (withdrawn >= 0 AND withdrawn <> 'NaN'),
    account        text,                                      -- null: none, or erased
    linked_receipt text,
    raw            text,                                      -- the cells, as one JSON list; null: erased
    transaction_id uuid REFERENCES transactions (id),         -- the payment that it is of; null: none is known
    CONSTRAINT one_row_in_all_files UNIQUE (receipt, class, paid_in, withdrawn, status)
);

CREATE INDEX statement_rows_transaction_id ON statement_rows (transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX statement_rows_linked_receipt ON statement_rows (linked_receipt) WHERE linked_receipt IS NOT NULL;
CREATE INDEX statement_rows_at ON statement_rows (at);
CREATE INDEX statement_rows_sha256 ON statement_rows (sha256);

-- A statement row can confirm a payment, or bring the receipt that was missing.
ALTER TABLE payment_confirmations ADD COLUMN statement_row_id bigint;
ALTER TABLE payment_confirmations DROP CONSTRAINT payment_confirmations_evidence_check;
ALTER TABLE payment_confirmations ADD CONSTRAINT evidence_is_known CHECK
    (evidence IN ('callback', 'query', 'operator', 'statement')) NOT VALID;
ALTER TABLE payment_confirmations ADD CONSTRAINT row_is_on_file FOREIGN KEY (statement_row_id) REFERENCES statement_rows (id) NOT VALID;
ALTER TABLE payment_confirmations ADD CONSTRAINT statement_has_a_row CHECK
    (evidence <> 'statement' OR statement_row_id IS NOT NULL) NOT VALID;
ALTER TABLE payment_confirmations ADD CONSTRAINT receipt_is_upper_case CHECK
    (mpesa_receipt_number = upper(mpesa_receipt_number)) NOT VALID;

DROP TRIGGER written_once ON payment_confirmations;
CREATE TRIGGER written_once BEFORE UPDATE ON payment_confirmations
    FOR EACH ROW WHEN ((OLD.inbox_id, OLD.result_desc, OLD.balance_amount, OLD.transaction_date, OLD.phone_number, OLD.statement_row_id)
                       IS DISTINCT FROM
                       (NEW.inbox_id, NEW.result_desc, NEW.balance_amount, NEW.transaction_date, NEW.phone_number, NEW.statement_row_id))
    EXECUTE FUNCTION refuse_rewriting_of_confirmation();

-- What was said about whole months and about money that is no sale. One chain for the shop, signed like the audit log
-- (ops/reconciliation_log.py); its end is kept in `installation`.
CREATE TABLE reconciliation_log (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT now(),
    kind     text NOT NULL CHECK (kind ~ '^[a-z_]{1,50}$'),   -- closed, reopened, not_a_sale …
    subject  text NOT NULL,                                   -- a month, like 2026-10, or a receipt
    facts    jsonb NOT NULL CHECK (jsonb_typeof(facts) = 'object'), -- never personal
    who      text NOT NULL,
    why      text,
    place    integer NOT NULL UNIQUE CHECK (place >= 1),      -- in the chain, from 1
    link     text NOT NULL,
    link_key text NOT NULL
);

CREATE INDEX reconciliation_log_subject ON reconciliation_log (subject, kind);

ALTER TABLE installation ADD COLUMN reconciliation_length integer NOT NULL DEFAULT 0, ADD COLUMN reconciliation_head text;
ALTER TABLE installation ADD CONSTRAINT a_head_is_of_a_chain CHECK
    ((reconciliation_length = 0) = (reconciliation_head IS NULL)) NOT VALID;

CREATE TRIGGER history_only_grows BEFORE UPDATE OF reconciliation_length ON installation
    FOR EACH ROW WHEN (NEW.reconciliation_length < OLD.reconciliation_length) EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_files
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER evidence_is_kept BEFORE DELETE OR TRUNCATE ON statement_rows
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();

-- A row is given to a payment once. An erasure may empty what can name a person.
CREATE FUNCTION refuse_change_of_statement() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF (OLD.id, OLD.sha256, OLD.row_number, OLD.receipt, OLD.at, OLD.class, OLD.status, OLD.completed, OLD.paid_in, OLD.withdrawn,
        OLD.linked_receipt)
       IS NOT DISTINCT FROM
       (NEW.id, NEW.sha256, NEW.row_number, NEW.receipt, NEW.at, NEW.class, NEW.status, NEW.completed, NEW.paid_in, NEW.withdrawn,
        NEW.linked_receipt)
       AND (OLD.transaction_id IS NULL OR OLD.transaction_id IS NOT DISTINCT FROM NEW.transaction_id)
       AND ((OLD.account, OLD.raw) IS NOT DISTINCT FROM (NEW.account, NEW.raw)
            OR coalesce(NEW.account = OLD.account, NEW.account IS NULL) AND coalesce(NEW.raw = OLD.raw, NEW.raw IS NULL)
               AND CASE WHEN NEW.transaction_id IS NOT NULL THEN is_being_erased(NEW.transaction_id)
                        ELSE EXISTS (SELECT FROM erasures e WHERE e.within = pg_current_xact_id() AND e.at = now()) END) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what % once said never changes', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'evidence_is_fixed';
END $$;
CREATE TRIGGER evidence_is_fixed BEFORE UPDATE ON statement_rows
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_statement();

ALTER TABLE statement_files ADD CONSTRAINT moments_are_real CHECK
    (least(starts, ends, written_at)
         >= '2000-01-01 00:00+00'
     AND greatest(starts, ends, written_at)
         <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE statement_files ADD CONSTRAINT texts_end CHECK (octet_length(concat(shortcode, who)) <= 1000) NOT VALID;
ALTER TABLE statement_rows ADD CONSTRAINT moments_are_real CHECK
    (at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE statement_rows ADD CONSTRAINT texts_end CHECK
    (octet_length(receipt) <= 50 AND octet_length(concat(status, linked_receipt)) <= 1000
     AND octet_length(account) <= 10000 AND octet_length(raw) <= 100000) NOT VALID;
ALTER TABLE reconciliation_log ADD CONSTRAINT moments_are_real CHECK
    (at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE reconciliation_log ADD CONSTRAINT texts_end CHECK
    (octet_length(concat(subject, who, why, link, link_key)) <= 100000 AND octet_length(facts::text) <= 10000000) NOT VALID;

CREATE INDEX audit_log_reopened ON audit_log (transaction_id) WHERE event = 'OperatorReopened';

-- A person's word can be taken back: REFUNDED goes back to where it came from.
CREATE OR REPLACE FUNCTION payment_may_go(was text, now text) RETURNS boolean LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT was || ' ' || now IN (
        'INITIATED PENDING', 'INITIATED UNCERTAIN', 'INITIATED PAID',
        'INITIATED FAILED', 'INITIATED CANCELLED', 'INITIATED EXPIRED', 'INITIATED REVIEW',
        'UNCERTAIN PENDING', 'UNCERTAIN PAID',
        'UNCERTAIN FAILED', 'UNCERTAIN CANCELLED', 'UNCERTAIN EXPIRED', 'UNCERTAIN REVIEW',
        'PENDING PAID', 'PENDING FAILED', 'PENDING CANCELLED', 'PENDING EXPIRED', 'PENDING REVIEW',
        'FAILED PAID', 'FAILED REVIEW', 'CANCELLED PAID', 'CANCELLED REVIEW', 'EXPIRED PAID', 'EXPIRED REVIEW',
        'REVIEW PAID', 'REVIEW FAILED', 'REVIEW REFUNDED', 'PAID REFUNDED', 'REFUNDED PAID', 'REFUNDED REVIEW')
$$;

ALTER TABLE transactions ADD CONSTRAINT only_a_refund_has_its_receipt CHECK
    (status = 'REFUNDED' OR num_nonnulls(refunded_at, refund_receipt) = 0) NOT VALID;

CREATE OR REPLACE FUNCTION refuse_forbidden_transition() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT payment_may_go(OLD.status, NEW.status)
       OR OLD.status = 'REFUNDED' AND NOT has_table_privilege('erasures', 'INSERT') THEN -- only a person takes it back: no function
        RAISE EXCEPTION 'a payment never goes from % to %', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'allowed_transition';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    moves boolean := OLD.status <> NEW.status;
    fails boolean := NEW.status IN ('FAILED', 'CANCELLED', 'EXPIRED');
    rewritten text := CASE
        WHEN OLD.customer_email IS DISTINCT FROM NEW.customer_email
             AND NOT (OLD.customer_email IS NULL AND NEW.status = 'PAID' AND NOT moves) THEN 'customer_email'
        WHEN (OLD.merchant_request_id, OLD.checkout_request_id) IS DISTINCT FROM (NEW.merchant_request_id, NEW.checkout_request_id)
             AND NOT (OLD.checkout_request_id IS NULL OR OLD.ids_are_learnt) THEN 'checkout_request_id'
        WHEN OLD.ids_are_learnt < NEW.ids_are_learnt AND OLD.checkout_request_id IS NOT NULL THEN 'ids_are_learnt'
        WHEN OLD.updated_at IS DISTINCT FROM NEW.updated_at AND NOT (moves AND NEW.updated_at = now()) THEN 'updated_at'
        WHEN OLD.paid_at IS DISTINCT FROM NEW.paid_at
             AND NOT coalesce(moves AND NEW.status = 'PAID' AND NEW.paid_at = now(), false) THEN 'paid_at'
        WHEN OLD.paid_late IS DISTINCT FROM NEW.paid_late
             AND NOT (moves AND NEW.status = 'PAID' AND NEW.paid_late) THEN 'paid_late'
        WHEN (OLD.refunded_at, OLD.refund_receipt) IS DISTINCT FROM (NEW.refunded_at, NEW.refund_receipt)
             AND NOT coalesce(moves AND NEW.status = 'REFUNDED' AND NEW.refunded_at = now(), false)
             AND NOT (moves AND OLD.status = 'REFUNDED' AND num_nonnulls(NEW.refunded_at, NEW.refund_receipt) = 0)
             THEN 'refunded_at'
        WHEN OLD.failed_at IS DISTINCT FROM NEW.failed_at
             AND NOT coalesce(moves AND fails AND NEW.failed_at = now(), false) THEN 'failed_at'
        WHEN OLD.pushed_at IS DISTINCT FROM NEW.pushed_at AND NEW.pushed_at IS NOT NULL THEN 'pushed_at'
        WHEN OLD.callback_received_at IS DISTINCT FROM NEW.callback_received_at
             AND NOT coalesce(OLD.callback_received_at IS NULL AND NEW.callback_received_at = now(), false)
             THEN 'callback_received_at'
        WHEN OLD.success_held_at IS DISTINCT FROM NEW.success_held_at
             AND NOT (NEW.success_held_at IS NULL OR OLD.success_held_at IS NULL AND NEW.success_held_at = now())
             THEN 'success_held_at'
        WHEN OLD.watched_at IS DISTINCT FROM NEW.watched_at AND NEW.watched_at IS DISTINCT FROM now() THEN 'watched_at'
        WHEN OLD.last_query_at IS DISTINCT FROM NEW.last_query_at AND NEW.last_query_at IS DISTINCT FROM now()
             THEN 'last_query_at'
        WHEN OLD.order_sent_at IS DISTINCT FROM NEW.order_sent_at
             AND NOT coalesce(NEW.status = 'PAID' AND NEW.order_sent_at = now(), false) THEN 'order_sent_at'
        WHEN OLD.audit_length <> NEW.audit_length AND NEW.audit_length <> OLD.audit_length + 1 THEN 'audit_length'
    END;
BEGIN
    IF rewritten IS NULL OR is_being_erased(OLD.id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the % of a payment is written once, with its change', rewritten
        USING ERRCODE = 'check_violation', CONSTRAINT = 'written_once', COLUMN = rewritten;
END $$;

-- Nobody is asked to pay under the number of nobody. Money that came another way is booked under one, and is PAID before COMMIT.
CREATE FUNCTION refuse_payment_of_nobody() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM transactions t WHERE t.id = NEW.id AND t.phone_number LIKE '2540%'
                 AND t.status IN ('INITIATED', 'PENDING', 'UNCERTAIN', 'REVIEW')) THEN
        RAISE EXCEPTION 'nobody can be asked to pay under the number of an erased person'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'nobody_pays';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER nobody_pays ON transactions;
CREATE CONSTRAINT TRIGGER nobody_pays AFTER INSERT ON transactions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.phone_number LIKE '2540%' AND NEW.status IN ('INITIATED', 'PENDING', 'UNCERTAIN', 'REVIEW'))
    EXECUTE FUNCTION refuse_payment_of_nobody();
