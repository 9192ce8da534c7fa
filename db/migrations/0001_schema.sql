-- The first migration: the schema of version 0.2.0. It never changes; db/schema.sql is the schema of today.
-- PostgreSQL 15 to 18. What the code promises about money is said here again, as UNIQUE, CHECK and triggers.
-- Every instant that decides anything is a plain timestamptz column.

-- Which M-Pesa this database belongs to: set once, so that sandbox and production can never mix.
CREATE TABLE installation (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    environment text NOT NULL CHECK (environment IN ('sandbox', 'production')),
    stamped_at  timestamptz NOT NULL DEFAULT now()
);

-- One row for each payment asked for, committed before M-Pesa is asked.
CREATE TABLE transactions (
    id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    merchant_request_id  varchar(255) UNIQUE,
    checkout_request_id  varchar(255) UNIQUE,
    ids_are_learnt       boolean NOT NULL DEFAULT false,      -- from a callback, not from the answer to our push
    phone_number         varchar(20) NOT NULL CHECK (phone_number ~ '^254[017][0-9]{8}$'), -- 2540…: erased
    amount               numeric(10, 2) NOT NULL CHECK (amount = trunc(amount) AND amount BETWEEN 1 AND 250000),
    account_reference    varchar(255) NOT NULL CHECK (account_reference ~ '^[A-Za-z0-9]{1,12}$'),
    transaction_desc     text,
    customer_email       varchar(255),
    customer_name        varchar(255),
    status               varchar(50) NOT NULL DEFAULT 'INITIATED' CHECK (status IN (
                             'INITIATED', 'PENDING', 'UNCERTAIN', 'PAID', 'FAILED', 'CANCELLED', 'EXPIRED', 'REVIEW', 'REFUNDED')),
    review_reason        text,
    response_code        varchar(50),                         -- Daraja's answer to the push
    response_message     text,
    result_code          varchar(50),                         -- what the customer did, by callback or query
    result_desc          text,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    pushed_at            timestamptz,                         -- from when on a push may have left; null: it never did
    callback_received_at timestamptz,
    success_held_at      timestamptz,                         -- a callback said paid, a query has to agree first
    paid_at              timestamptz,
    paid_late            boolean NOT NULL DEFAULT false,
    refunded_at          timestamptz,
    refund_receipt       varchar(50),                         -- of the money that went back
    failed_at            timestamptz,
    watched_at           timestamptz,                         -- a customer last looked at it
    query_count          integer NOT NULL DEFAULT 0,
    last_query_at        timestamptz,
    next_query_at        timestamptz,
    audit_length         integer NOT NULL DEFAULT 0,          -- of its chain in audit_log
    audit_head           text,                                -- the chain's end, under the key of the functions
    lang                 varchar(2) NOT NULL DEFAULT 'en' CHECK (lang IN ('en', 'sw')), -- what we write to the customer in
    CONSTRAINT paid_has_evidence CHECK (status <> 'PAID' OR paid_at IS NOT NULL),
    CONSTRAINT refunded_has_a_receipt CHECK (status <> 'REFUNDED' OR refunded_at IS NOT NULL AND refund_receipt IS NOT NULL),
    CONSTRAINT review_has_a_reason CHECK ((status = 'REVIEW') = (review_reason IS NOT NULL)),
    CONSTRAINT ids_come_together CHECK ((merchant_request_id IS NULL) = (checkout_request_id IS NULL)),
    CONSTRAINT pending_was_accepted CHECK (status <> 'PENDING' OR checkout_request_id IS NOT NULL),
    CONSTRAINT a_head_is_of_a_chain CHECK ((audit_length = 0) = (audit_head IS NULL))
);

CREATE INDEX transactions_phone_number ON transactions (phone_number, created_at);
CREATE INDEX transactions_status ON transactions (status, created_at);
CREATE INDEX transactions_created_at ON transactions (created_at);
CREATE INDEX transactions_mailbox
    ON transactions (regexp_replace(lower(customer_email), '(\+[^@]*|\.)(?=[^@]*@)', '', 'g'), created_at)
    WHERE customer_email IS NOT NULL;
CREATE UNIQUE INDEX transactions_refund_receipt ON transactions (refund_receipt) WHERE refund_receipt IS NOT NULL;
CREATE INDEX transactions_success_held_at ON transactions (success_held_at)
    WHERE success_held_at IS NOT NULL AND status IN ('FAILED', 'CANCELLED', 'EXPIRED');
CREATE INDEX transactions_next_query_at ON transactions (next_query_at) WHERE next_query_at IS NOT NULL;

-- What the browser asked for, by its Idempotency-Key: the same key never makes a second payment.
CREATE TABLE idempotency_keys (
    key            varchar(255) PRIMARY KEY,
    fingerprint    text NOT NULL,                             -- of the normalised request
    transaction_id uuid NOT NULL UNIQUE REFERENCES transactions (id),
    created_at     timestamptz NOT NULL DEFAULT now()          -- the sweep deletes what is older than 30 days
);

CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

-- Every callback with a genuine address, byte for byte, before it is judged.
CREATE TABLE callback_inbox (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    transaction_id uuid NOT NULL,                             -- from the address, which only we can sign; no such row is an outcome
    received_at    timestamptz NOT NULL DEFAULT now(),
    body           bytea NOT NULL,
    source_address text,
    outcome        text,                                      -- null: not judged yet
    receipts       text[] NOT NULL DEFAULT '{}',              -- every receipt number in it, also one that does not fit
    tries          smallint NOT NULL DEFAULT 0 CHECK (tries BETWEEN 0 AND 3),
    next_try_at    timestamptz DEFAULT now(),                 -- null: nothing left to do
    judged_at      timestamptz,
    last_error     text,
    source_check   text CHECK (source_check IN ('listed', 'unlisted', 'held')), -- is source_address Safaricom's? null: not checked
    copies         bigint NOT NULL DEFAULT 0,                 -- how often it came again when no more were stored for the payment
    erased_sha256  text,                                      -- of the bytes that an erasure took away; body is what it left of them
    CONSTRAINT an_outcome_or_another_try CHECK ((outcome IS NULL) = (next_try_at IS NOT NULL))
);

CREATE INDEX callback_inbox_transaction_id ON callback_inbox (transaction_id);
CREATE INDEX callback_inbox_next_try_at ON callback_inbox (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX callback_inbox_received_at ON callback_inbox (received_at);
CREATE INDEX callback_inbox_waiting ON callback_inbox (judged_at) WHERE outcome IN ('dead_letter', 'held');
CREATE INDEX callback_inbox_unlisted ON callback_inbox (source_address, received_at) WHERE source_check = 'unlisted';

-- What Daraja answered when it was asked. Kept as evidence: an answer names no receipt, and cannot be had again for ever.
CREATE TABLE query_answers (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid NOT NULL REFERENCES transactions (id),
    answered_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    result_code    varchar(50),                               -- of the closed terminal list; null: no answer yet
    said           text,
    outcome        text NOT NULL
);

CREATE INDEX query_answers_transaction_id ON query_answers (transaction_id, id);
CREATE INDEX query_answers_answered_at ON query_answers (answered_at) WHERE result_code IS NOT NULL;

-- Why a payment is paid: exactly one row for each paid payment. A query names no receipt; it is filled in later.
CREATE TABLE payment_confirmations (
    id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    transaction_id       uuid NOT NULL REFERENCES transactions (id),
    evidence             text NOT NULL CHECK (evidence IN ('callback', 'query', 'operator')),
    inbox_id             uuid REFERENCES callback_inbox (id),
    result_code          varchar(10) NOT NULL DEFAULT '0' CHECK (result_code = '0'),
    result_desc          text,
    amount               numeric(10, 2) NOT NULL,
    mpesa_receipt_number varchar(50),
    balance_amount       numeric(10, 2),
    transaction_date     timestamptz,
    phone_number         varchar(20),
    received_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_confirmation_a_transaction UNIQUE (transaction_id),
    CONSTRAINT one_transaction_a_receipt UNIQUE (mpesa_receipt_number),
    CONSTRAINT only_a_query_names_no_receipt CHECK (evidence = 'query' OR mpesa_receipt_number IS NOT NULL)
);

-- The last invoice number of each of Nairobi's years, counted from 1 without a gap.
CREATE TABLE invoice_years (
    year        integer PRIMARY KEY,
    last_number integer NOT NULL CHECK (last_number >= 1)
);

-- Given with the settlement, in its transaction: what is rolled back gives its number back. The year's row is locked from here until
-- COMMIT, after every other lock of a settlement, so nobody who holds it waits for another payment. It runs as its owner: the
-- functions' role gets numbers, and cannot set them.
CREATE FUNCTION next_invoice_number() RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    this_year integer := extract(year FROM now() AT TIME ZONE 'Africa/Nairobi');
    number integer;
BEGIN
    INSERT INTO invoice_years AS y (year, last_number) VALUES (this_year, 1)
    ON CONFLICT (year) DO UPDATE SET last_number = y.last_number + 1
    RETURNING last_number INTO number;
    RETURN 'INV-' || this_year || '-' || lpad(number::text, greatest(6, length(number::text)), '0');
END $$;

-- One invoice for each paid payment whose customer left an address. Its number, date and amount never change.
CREATE TABLE invoices (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    transaction_id uuid NOT NULL REFERENCES transactions (id),
    customer_email varchar(255) NOT NULL,
    customer_name  varchar(255),
    customer_phone varchar(20),
    invoice_number varchar(50) NOT NULL UNIQUE DEFAULT next_invoice_number(),
    amount         numeric(10, 2) NOT NULL,
    invoice_date   timestamptz NOT NULL DEFAULT now(),
    sent_at        timestamptz,
    status         varchar(50) NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'SENT', 'FAILED')),
    etims_scu_id            varchar(50),                      -- room for what KRA's eTIMS gives back, filled by the shop's own program
    etims_cu_invoice_number varchar(100) UNIQUE,
    etims_receipt_signature text,
    etims_internal_data     text,
    etims_qr_url            text,
    etims_signed_at         timestamptz,
    CONSTRAINT one_invoice_a_transaction UNIQUE (transaction_id),
    CONSTRAINT sent_has_a_time CHECK (status <> 'SENT' OR sent_at IS NOT NULL),
    CONSTRAINT a_tax_invoice_has_a_number CHECK (etims_cu_invoice_number IS NOT NULL
        OR num_nonnulls(etims_scu_id, etims_receipt_signature, etims_internal_data, etims_qr_url, etims_signed_at) = 0)
);

CREATE INDEX invoices_customer_email ON invoices (customer_email);

-- One digest over all heads, up to one row of the audit log: each goes on from the one before, and once a day one leaves.
CREATE TABLE audit_anchors (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at       timestamptz NOT NULL DEFAULT now(),
    last_audit_id bigint NOT NULL,
    row_count     bigint NOT NULL,
    payment_count bigint NOT NULL,
    digest        text NOT NULL,
    day_is_over   boolean NOT NULL                            -- it holds all of the day before; false: a step on the way
);

-- What has to leave the house: written with the status change, sent afterwards, at most three tries.
CREATE TABLE outbox (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind           text NOT NULL CHECK (kind IN ('invoice', 'alert', 'anchor', 'notice')),
    topic          text NOT NULL,                             -- which alert or notice; invoices: 'settled', 'again'; anchors: 'log', 'mail'
    transaction_id uuid REFERENCES transactions (id),
    created_at     timestamptz NOT NULL DEFAULT now(),
    tries          smallint NOT NULL DEFAULT 0 CHECK (tries BETWEEN 0 AND 3),
    next_try_at    timestamptz DEFAULT now(),                 -- null: sent, given up or dropped
    sent_at        timestamptz,
    last_error     text,
    anchor_id      bigint REFERENCES audit_anchors (id),
    facts          jsonb,                                     -- an alert's counts; never personal
    tells_of       bigint,                                    -- a notice: the change, by its row of audit_log
    dropped        text CHECK (dropped IN ('no_address', 'overtaken', 'off', 'seen', 'tried_again', 'daily_limit', 'never_told')),
    CONSTRAINT sent_is_over CHECK (sent_at IS NULL OR next_try_at IS NULL),
    CONSTRAINT dropped_is_over CHECK (dropped IS NULL OR kind = 'notice' AND sent_at IS NULL AND next_try_at IS NULL),
    CONSTRAINT a_notice_tells_of_a_change CHECK ((kind = 'notice') = (tells_of IS NOT NULL)),
    CONSTRAINT an_anchor_leaves CHECK ((kind = 'anchor') = (anchor_id IS NOT NULL))
);

CREATE UNIQUE INDEX outbox_tells_an_alert_once ON outbox (transaction_id, topic) WHERE kind = 'alert';
CREATE UNIQUE INDEX outbox_sends_a_first_invoice_once ON outbox (transaction_id) WHERE kind = 'invoice' AND topic = 'settled';
CREATE UNIQUE INDEX outbox_sends_an_anchor_once ON outbox (anchor_id, topic) WHERE kind = 'anchor';
CREATE UNIQUE INDEX outbox_tells_of_a_change_once ON outbox (transaction_id, tells_of) WHERE kind = 'notice';
CREATE INDEX outbox_next_try_at ON outbox (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX outbox_invoices_of_a_payment ON outbox (transaction_id) WHERE kind = 'invoice';
CREATE INDEX outbox_invoices_sent ON outbox (sent_at) WHERE kind = 'invoice' AND sent_at IS NOT NULL;
CREATE INDEX outbox_invoices_unsent ON outbox (created_at) WHERE kind = 'invoice' AND sent_at IS NULL;

-- Until when no mail leaves: whoever carries it asked for a pause, or takes none.
CREATE TABLE mail_pause (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    until    timestamptz NOT NULL
);

-- Conditions of the whole shop: alerted when they begin and once a day while they last, by one sweep only.
CREATE TABLE incidents (
    topic      text PRIMARY KEY,
    since      timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),            -- not for an hour: over, the next one is new
    alerted_at timestamptz NOT NULL DEFAULT now()
);

-- When a sweep last began, and when one last looked at the whole shop.
CREATE TABLE sweeps (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    began_at  timestamptz NOT NULL DEFAULT now(),
    looked_at timestamptz
);

-- Every change of a payment: what, by whom, why. Free of personal data; rows are only ever added, each signed with a key
-- outside the database, after the payment's head (shared/audit_chain.py).
CREATE TABLE audit_log (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT now(),
    transaction_id uuid NOT NULL REFERENCES transactions (id),
    actor          text NOT NULL,                             -- stkpush, callback, sweep, operator …
    event          text NOT NULL,
    outcome        text NOT NULL,
    from_status    varchar(50),
    to_status      varchar(50) NOT NULL,
    reason         text,
    inbox_id       uuid REFERENCES callback_inbox (id),       -- the evidence: the callback on file …
    said           varchar(50),                               -- … or the result code, or the receipt an operator saw
    place          integer NOT NULL,                          -- in the payment's chain, from 1
    link           text NOT NULL,
    link_key       text NOT NULL                              -- the name of the key that signed it
);

CREATE INDEX audit_log_transaction_id ON audit_log (transaction_id, id);
CREATE UNIQUE INDEX audit_log_is_one_chain ON audit_log (transaction_id, place);

-- Each time a payment's personal values were erased: by whom and why, never whose. While the transaction that wrote such a
-- row is open, the triggers let the evidence of that payment be rewritten. The functions' role cannot write here.
CREATE TABLE erasures (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT now(),
    transaction_id uuid NOT NULL,                             -- as in callback_inbox: there may be no such payment
    scope          text NOT NULL CHECK (scope IN ('person', 'contact', 'mention', 'late_evidence')),
    who            text NOT NULL,
    why            text NOT NULL,
    within         xid8 NOT NULL DEFAULT pg_current_xact_id() -- the database transaction that erases
);

CREATE INDEX erasures_transaction_id ON erasures (transaction_id, at);

-- One access token for all instances: a new one invalidates the old.
CREATE TABLE access_tokens (
    app          text PRIMARY KEY,                            -- a digest of the consumer key
    token        text,
    expires_at   timestamptz,
    leased_until timestamptz                                  -- somebody is fetching a new one
);

-- One budget of STK queries for all instances.
CREATE TABLE query_budget (
    app          text PRIMARY KEY,
    next_slot_at timestamptz NOT NULL DEFAULT now()
);

-- Callers who asked for a push, or ('invoice ' before the digest) for an invoice again, within the hour that their address is limited
-- for; the sweep deletes what is older.
CREATE TABLE push_callers (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address_digest text NOT NULL,                             -- of the network address, under a key outside the database
    asked_at       timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX push_callers_address_digest ON push_callers (address_digest, asked_at);
CREATE INDEX push_callers_asked_at ON push_callers (asked_at);

-- What spans phones is counted twice: first as it is, so that a flood that is refused anyway holds nobody up; then for
-- certain, under one lock for the whole shop, held from here until the push is committed. Each query of a volatile function sees
-- what was committed before it began, so the second time it sees everybody who held the lock before us.
CREATE FUNCTION room_for_push(caller text, most_by_caller integer, most_in_shop integer, kes numeric, most_kes numeric)
RETURNS TABLE (refused_by text, retry_after_s double precision) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    today timestamptz := date_trunc('day', now() AT TIME ZONE 'Africa/Nairobi') AT TIME ZONE 'Africa/Nairobi';
    free_at timestamptz;
    taken_kes numeric;
BEGIN
    FOR time IN 1..2 LOOP
        IF time = 2 THEN
            PERFORM pg_advisory_xact_lock(hashtextextended('the shop', 1));
        END IF;

        SELECT max(taken.until) INTO free_at FROM (
            (SELECT c.asked_at + interval '1 hour' AS until FROM push_callers c
             WHERE c.address_digest = caller AND c.asked_at > now() - interval '1 hour'
             ORDER BY c.asked_at DESC OFFSET most_by_caller - 1 LIMIT 1)
            UNION ALL                                         -- and nobody alone takes more than a third of the shop's minute
            (SELECT c.asked_at + interval '1 minute' FROM push_callers c
             WHERE c.address_digest = caller AND c.asked_at > now() - interval '1 minute'
             ORDER BY c.asked_at DESC OFFSET greatest(most_in_shop / 3, 1) - 1 LIMIT 1)) taken;
        IF free_at IS NOT NULL THEN
            RETURN QUERY SELECT 'address', extract(epoch FROM free_at - now())::double precision;
            RETURN;
        END IF;

        SELECT t.created_at + interval '1 minute' INTO free_at FROM transactions t
        WHERE t.created_at > now() - interval '1 minute' AND t.pushed_at IS NOT NULL
        ORDER BY t.created_at DESC OFFSET most_in_shop - 1 LIMIT 1;
        IF FOUND THEN
            RETURN QUERY SELECT 'shop', extract(epoch FROM free_at - now())::double precision;
            RETURN;
        END IF;

        IF most_kes IS NOT NULL THEN
            SELECT coalesce(sum(t.amount), 0) INTO taken_kes FROM transactions t
            WHERE t.created_at >= today AND t.status NOT IN ('FAILED', 'CANCELLED', 'EXPIRED');
            IF taken_kes + kes > most_kes THEN
                RETURN QUERY SELECT 'shop_day', extract(epoch FROM today + interval '1 day' - now())::double precision;
                RETURN;
            END IF;
        END IF;
    END LOOP;
    RETURN QUERY SELECT NULL::text, NULL::double precision;
END $$;

-- The invariants, where no code can forget them. Every function names its search_path, with pg_temp last: otherwise whoever may
-- make a temporary table could put one in the place of `erasures`, say.

CREATE FUNCTION payment_may_go(was text, now text) RETURNS boolean LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT was || ' ' || now IN (
        'INITIATED PENDING', 'INITIATED UNCERTAIN', 'INITIATED PAID',
        'INITIATED FAILED', 'INITIATED CANCELLED', 'INITIATED EXPIRED', 'INITIATED REVIEW',
        'UNCERTAIN PENDING', 'UNCERTAIN PAID',
        'UNCERTAIN FAILED', 'UNCERTAIN CANCELLED', 'UNCERTAIN EXPIRED', 'UNCERTAIN REVIEW',
        'PENDING PAID', 'PENDING FAILED', 'PENDING CANCELLED', 'PENDING EXPIRED', 'PENDING REVIEW',
        'FAILED PAID', 'FAILED REVIEW', 'CANCELLED PAID', 'CANCELLED REVIEW', 'EXPIRED PAID', 'EXPIRED REVIEW',
        'REVIEW PAID', 'REVIEW FAILED', 'REVIEW REFUNDED', 'PAID REFUNDED')
$$;

CREATE FUNCTION refuse_forbidden_transition() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT payment_may_go(OLD.status, NEW.status) THEN
        RAISE EXCEPTION 'a payment never goes from % to %', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'allowed_transition';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER allowed_transition BEFORE UPDATE OF status ON transactions
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION refuse_forbidden_transition();

CREATE FUNCTION refuse_change_of_amount() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the amount of a payment never changes' USING ERRCODE = 'check_violation', CONSTRAINT = 'amount_is_fixed';
END $$;
CREATE TRIGGER amount_is_fixed BEFORE UPDATE OF amount ON transactions
    FOR EACH ROW WHEN (OLD.amount <> NEW.amount) EXECUTE FUNCTION refuse_change_of_amount();

CREATE FUNCTION require_confirmation_of_paid() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM payment_confirmations c WHERE c.transaction_id = NEW.id AND c.amount = NEW.amount) THEN
        RAISE EXCEPTION 'a paid payment has a confirmation of its exact amount'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'paid_is_confirmed';
    END IF;
    IF NEW.customer_email IS NOT NULL AND NOT EXISTS (SELECT FROM invoices i WHERE i.transaction_id = NEW.id) THEN
        RAISE EXCEPTION 'a paid payment with an address has an invoice'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'paid_is_invoiced';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER paid_is_confirmed AFTER INSERT OR UPDATE OF status ON transactions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status = 'PAID') EXECUTE FUNCTION require_confirmation_of_paid();

CREATE FUNCTION require_paid_transaction() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM transactions t
        WHERE t.id = NEW.transaction_id AND t.status IN ('PAID', 'REFUNDED') AND t.amount = NEW.amount
    ) THEN
        RAISE EXCEPTION 'only a paid payment has a row in %, of its exact amount', TG_TABLE_NAME
            USING ERRCODE = 'check_violation', CONSTRAINT = 'only_for_paid';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER confirmation_only_for_paid AFTER INSERT OR UPDATE ON payment_confirmations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_paid_transaction();
CREATE CONSTRAINT TRIGGER invoice_only_for_paid AFTER INSERT OR UPDATE ON invoices
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_paid_transaction();

CREATE FUNCTION refuse_change_of_history() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'history_is_kept';
END $$;
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_anchors
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_only_grows BEFORE UPDATE OF audit_length ON transactions
    FOR EACH ROW WHEN (NEW.audit_length < OLD.audit_length) EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER evidence_is_kept BEFORE DELETE OR TRUNCATE ON callback_inbox
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER evidence_is_kept BEFORE DELETE OR TRUNCATE ON payment_confirmations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER evidence_is_kept BEFORE DELETE OR TRUNCATE ON query_answers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON erasures
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER evidence_is_kept BEFORE DELETE OR TRUNCATE ON invoices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER evidence_is_kept BEFORE DELETE OR TRUNCATE ON invoice_years
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER environment_is_kept BEFORE DELETE OR TRUNCATE ON installation
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();

CREATE FUNCTION refuse_change_of_evidence() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'what % once said never changes', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'evidence_is_fixed';
END $$;
CREATE TRIGGER evidence_is_fixed BEFORE UPDATE ON payment_confirmations
    FOR EACH ROW WHEN ((OLD.transaction_id, OLD.evidence, OLD.amount) IS DISTINCT FROM (NEW.transaction_id, NEW.evidence, NEW.amount)
                       OR OLD.mpesa_receipt_number <> coalesce(NEW.mpesa_receipt_number, ''))
    EXECUTE FUNCTION refuse_change_of_evidence();
CREATE TRIGGER evidence_is_fixed BEFORE UPDATE ON invoices
    FOR EACH ROW WHEN ((OLD.transaction_id, OLD.invoice_number, OLD.invoice_date, OLD.amount)
                       IS DISTINCT FROM (NEW.transaction_id, NEW.invoice_number, NEW.invoice_date, NEW.amount))
    EXECUTE FUNCTION refuse_change_of_evidence();
CREATE TRIGGER evidence_is_fixed BEFORE UPDATE ON invoice_years
    FOR EACH ROW WHEN ((NEW.year, NEW.last_number) IS DISTINCT FROM (OLD.year, OLD.last_number + 1))
    EXECUTE FUNCTION refuse_change_of_evidence();
CREATE TRIGGER environment_is_fixed BEFORE UPDATE ON installation
    FOR EACH ROW WHEN (OLD.environment <> NEW.environment) EXECUTE FUNCTION refuse_change_of_evidence();

-- Erasing a person is the one way in which evidence may change, and only in the transaction that says so in `erasures`.

CREATE FUNCTION is_being_erased(payment uuid) RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM erasures e
                   WHERE e.transaction_id = payment AND e.within = pg_current_xact_id() AND e.at = now())
$$;

CREATE FUNCTION refuse_change_of_person() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.phone_number LIKE '2540%' AND is_being_erased(NEW.id)
       AND OLD.status NOT IN ('INITIATED', 'PENDING', 'UNCERTAIN', 'REVIEW') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the number of a payment changes only when its person is erased'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'person_is_fixed';
END $$;
CREATE TRIGGER person_is_fixed BEFORE UPDATE OF phone_number ON transactions
    FOR EACH ROW WHEN (OLD.phone_number <> NEW.phone_number) EXECUTE FUNCTION refuse_change_of_person();
CREATE TRIGGER nobody_pays BEFORE INSERT ON transactions
    FOR EACH ROW WHEN (NEW.phone_number LIKE '2540%') EXECUTE FUNCTION refuse_change_of_person();

CREATE FUNCTION refuse_change_of_callback() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.transaction_id = OLD.transaction_id AND is_being_erased(OLD.transaction_id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what % once said never changes', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'evidence_is_fixed';
END $$;
CREATE TRIGGER evidence_is_fixed BEFORE UPDATE ON callback_inbox
    FOR EACH ROW WHEN ((OLD.body, OLD.erased_sha256, OLD.transaction_id)
                       IS DISTINCT FROM (NEW.body, NEW.erased_sha256, NEW.transaction_id))
    EXECUTE FUNCTION refuse_change_of_callback();

CREATE FUNCTION refuse_change_of_answer() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF (OLD.id, OLD.transaction_id, OLD.answered_at, OLD.result_code, OLD.outcome)
       IS NOT DISTINCT FROM (NEW.id, NEW.transaction_id, NEW.answered_at, NEW.result_code, NEW.outcome)
       AND is_being_erased(OLD.transaction_id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'history_is_kept';
END $$;
CREATE TRIGGER history_is_kept BEFORE UPDATE ON query_answers
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_answer();
