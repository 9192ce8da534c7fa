-- The whole schema, readable top to bottom. db/migrations builds it; a test proves that both give the same database.
-- To change it: write a new file in db/migrations, then the same change here. A migration that was applied never changes.
-- PostgreSQL 15 to 18. What the code promises about money is said here again, as UNIQUE, CHECK and triggers.
-- Every instant that decides anything is a plain timestamptz column.

-- Which M-Pesa this database belongs to: set once, so that sandbox and production can never mix.
CREATE TABLE installation (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    environment text NOT NULL CHECK (environment IN ('sandbox', 'production')),
    stamped_at  timestamptz NOT NULL DEFAULT now(),
    reconciliation_length integer NOT NULL DEFAULT 0,         -- of the chain in reconciliation_log
    reconciliation_head   text                                -- the chain's end
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
    items                jsonb,                               -- what was bought, at the prices of then; null: only an amount is known
    note                 text,                                -- the customer's words to the shop: a delivery address, a size
    link_digest          bytea,                               -- SHA-256 of the payment link's token; null: no link was used
    order_sent_at        timestamptz,                         -- a person said that what was bought is on its way
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
CREATE INDEX transactions_reference ON transactions (lower(account_reference), paid_at);
CREATE INDEX transactions_link_digest ON transactions (link_digest) WHERE link_digest IS NOT NULL;
CREATE INDEX transactions_paid_at ON transactions (paid_at) WHERE paid_at IS NOT NULL;
CREATE INDEX transactions_refunded_at ON transactions (refunded_at) WHERE refunded_at IS NOT NULL;

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
    seal           text,                                      -- the receiver's signature of id, payment and bytes, under the audit log's key
    CONSTRAINT an_outcome_or_another_try CHECK ((outcome IS NULL) = (next_try_at IS NOT NULL))
);

CREATE INDEX callback_inbox_transaction_id ON callback_inbox (transaction_id);
CREATE INDEX callback_inbox_next_try_at ON callback_inbox (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX callback_inbox_received_at ON callback_inbox (received_at);
CREATE INDEX callback_inbox_waiting ON callback_inbox (judged_at) WHERE outcome IN ('dead_letter', 'held');
CREATE INDEX callback_inbox_receipts ON callback_inbox USING gin (receipts) WHERE receipts <> '{}';
CREATE INDEX callback_inbox_unlisted ON callback_inbox (source_address, received_at) WHERE source_check = 'unlisted';

-- The keys that sign callback addresses, by a digest of each. The sweep of the published deploy says which are good and retires
-- all others; one that nobody has named yet is good.
CREATE TABLE callback_keys (
    name       text PRIMARY KEY CHECK (name ~ '^[0-9a-f]{32}$'),
    since      timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz                                    -- null: good
);

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

-- Why a payment is paid: exactly one row for each paid payment. A query names no receipt; it is filled in later.
CREATE TABLE payment_confirmations (
    id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    transaction_id       uuid NOT NULL REFERENCES transactions (id),
    evidence             text NOT NULL,
    inbox_id             uuid REFERENCES callback_inbox (id),
    result_code          varchar(10) NOT NULL DEFAULT '0' CHECK (result_code = '0'),
    result_desc          text,
    amount               numeric(10, 2) NOT NULL,
    mpesa_receipt_number varchar(50),
    balance_amount       numeric(10, 2),
    transaction_date     timestamptz,
    phone_number         varchar(20),
    received_at          timestamptz NOT NULL DEFAULT now(),
    statement_row_id     bigint,                              -- the row that confirmed it, or brought its receipt
    CONSTRAINT one_confirmation_a_transaction UNIQUE (transaction_id),
    CONSTRAINT one_transaction_a_receipt UNIQUE (mpesa_receipt_number),
    CONSTRAINT only_a_query_names_no_receipt CHECK (evidence = 'query' OR mpesa_receipt_number IS NOT NULL)
);

-- Each restore of a backup into the shop's place. While one is not finished nobody is asked to pay (ops/recovery.py).
CREATE TABLE recoveries (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    restored_at   timestamptz NOT NULL DEFAULT now(),
    backup_at     timestamptz NOT NULL,                       -- what came between the two is lost, until it is found again
    backup_sha256 text NOT NULL CHECK (backup_sha256 ~ '^[0-9a-f]{64}$'),
    who           text NOT NULL,
    finished_at   timestamptz,
    finished_by   text,
    why           text,                                       -- where something was missing
    facts         jsonb CHECK (jsonb_typeof(facts) = 'object'), -- what the finish found; never personal
    CONSTRAINT finished_by_somebody CHECK (num_nulls(finished_at, finished_by, facts) IN (0, 3))
);

CREATE INDEX recoveries_open ON recoveries (id) WHERE finished_at IS NULL;

-- Invoice numbers that are left out: they may have been mailed in the time that a restore has lost. A gap that ends before it
-- begins leaves none out: somebody looked.
CREATE TABLE invoice_gaps (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT now(),
    recovery_id  bigint NOT NULL REFERENCES recoveries (id),
    year         integer NOT NULL,
    first_number integer NOT NULL CHECK (first_number >= 1),
    last_number  integer NOT NULL CHECK (last_number >= first_number - 1),
    who          text NOT NULL,
    why          text NOT NULL
);

-- The last invoice number of each of Nairobi's years, counted from 1; every gap stands in invoice_gaps.
CREATE TABLE invoice_years (
    year        integer PRIMARY KEY,
    last_number integer NOT NULL CHECK (last_number >= 1)
);

-- The year's numbers up to this one are left out, where they are not given already.
CREATE FUNCTION leave_invoice_numbers_out(recovery bigint, of_year integer, until integer, by_whom text, reason text)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    given integer;
BEGIN
    LOCK TABLE invoice_gaps IN SHARE ROW EXCLUSIVE MODE;
    SELECT y.last_number INTO given FROM invoice_years y WHERE y.year = of_year FOR UPDATE;
    given := coalesce(given, 0);
    INSERT INTO invoice_gaps (recovery_id, year, first_number, last_number, who, why)
    VALUES (recovery, of_year, given + 1, greatest(given, until), by_whom, reason);
    IF until > given THEN
        INSERT INTO invoice_years (year, last_number) VALUES (of_year, until)
        ON CONFLICT (year) DO UPDATE SET last_number = excluded.last_number;
    END IF;
END $$;

-- Given with the settlement, in its transaction: what is rolled back gives its number back. The year's row is locked from here until
-- COMMIT, after every other lock of a settlement, so nobody who holds it waits for another payment. It runs as its owner: the
-- functions' role gets numbers, and cannot set them. After a restore, until somebody says which number was mailed last, it leaves out
-- one for each second that was lost: no shop is asked for more.
CREATE FUNCTION next_invoice_number() RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    this_year integer := extract(year FROM now() AT TIME ZONE 'Africa/Nairobi');
    number integer;
    recovery bigint;
    lost_s integer;
BEGIN
    SELECT max(r.id), ceil(extract(epoch FROM max(r.restored_at) - min(r.backup_at))) INTO recovery, lost_s
    FROM recoveries r
    WHERE r.finished_at IS NULL AND extract(year FROM r.restored_at AT TIME ZONE 'Africa/Nairobi') >= this_year;
    IF recovery IS NOT NULL
       AND NOT EXISTS (SELECT FROM invoice_gaps g WHERE g.recovery_id = recovery AND g.year = this_year) THEN
        PERFORM leave_invoice_numbers_out(
            recovery, this_year, coalesce((SELECT y.last_number FROM invoice_years y WHERE y.year = this_year), 0) + lost_s,
            'lipa', 'given while nobody had said which number was mailed last');
    END IF;
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

-- What has to leave the house: written with the status change, sent afterwards; at most three tries, a webhook seven.
CREATE TABLE outbox (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind           text NOT NULL,                             -- invoice, notice: to the customer; sale, webhook, alert_mail: to the shop; alert, anchor, erasure
    topic          text NOT NULL,                             -- which alert or notice; invoices: 'settled', 'again'; anchors, erasures: 'log', 'mail'
    transaction_id uuid REFERENCES transactions (id),
    created_at     timestamptz NOT NULL DEFAULT now(),
    tries          smallint NOT NULL DEFAULT 0,
    next_try_at    timestamptz DEFAULT now(),                 -- null: sent, given up or dropped
    sent_at        timestamptz,
    last_error     text,
    anchor_id      bigint REFERENCES audit_anchors (id),
    facts          jsonb,                                     -- an alert's counts, lines of erasures; never personal
    tells_of       bigint,                                    -- a notice, sale or webhook: the change, by its row of audit_log
    dropped        text CHECK (dropped IN ('no_address', 'overtaken', 'off', 'seen', 'tried_again', 'daily_limit', 'never_told')),
    CONSTRAINT sent_is_over CHECK (sent_at IS NULL OR next_try_at IS NULL),
    CONSTRAINT an_anchor_leaves CHECK ((kind = 'anchor') = (anchor_id IS NOT NULL))
);

CREATE UNIQUE INDEX outbox_tells_an_alert_once ON outbox (transaction_id, topic) WHERE kind = 'alert';
CREATE UNIQUE INDEX outbox_sends_a_first_invoice_once ON outbox (transaction_id) WHERE kind = 'invoice' AND topic = 'settled';
CREATE UNIQUE INDEX outbox_sends_an_anchor_once ON outbox (anchor_id, topic) WHERE kind = 'anchor';
CREATE UNIQUE INDEX outbox_tells_of_a_change_once ON outbox (transaction_id, tells_of) WHERE kind = 'notice';
CREATE UNIQUE INDEX outbox_tells_the_shop_once ON outbox (transaction_id, tells_of, kind) WHERE kind IN ('sale', 'webhook');
CREATE UNIQUE INDEX outbox_mails_alerts_together ON outbox (topic) WHERE kind = 'alert_mail' AND next_try_at IS NOT NULL;
CREATE INDEX outbox_alerts_mailed ON outbox (topic, sent_at) WHERE kind = 'alert_mail';
CREATE INDEX outbox_alerts_sent ON outbox (topic, sent_at) WHERE kind = 'alert' AND sent_at IS NOT NULL;
CREATE INDEX outbox_next_try_at ON outbox (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX outbox_failures_told ON outbox (created_at) WHERE kind = 'notice' AND topic = 'failed' AND tries > 0;
CREATE INDEX outbox_waiting_of_a_payment ON outbox (transaction_id) WHERE next_try_at IS NOT NULL;
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

-- When a sweep last got through all its steps, when one last looked at the whole shop, and until when they leave it alone.
CREATE TABLE sweeps (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    began_at     timestamptz NOT NULL DEFAULT now(),
    looked_at    timestamptz,
    asleep_until timestamptz                                  -- by the process that sleeps; another one may look meanwhile
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
CREATE INDEX audit_log_reopened ON audit_log (transaction_id) WHERE event = 'OperatorReopened';

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

-- Each drill: a backup put into a scratch server and checked there (ops/drill.py). Only ever added to.
CREATE TABLE drills (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    began_at      timestamptz NOT NULL,
    took_s        integer NOT NULL CHECK (took_s >= 0),
    taken_at      timestamptz,                                -- when the backup was made; null: it could not be restored
    backup_sha256 text NOT NULL CHECK (backup_sha256 ~ '^[0-9a-f]{64}$'),
    backup_bytes  bigint NOT NULL CHECK (backup_bytes >= 0),
    is_good       boolean NOT NULL,
    found         text,                                       -- what was wrong; never personal
    who           text NOT NULL,
    CONSTRAINT good_or_a_reason CHECK (is_good = (found IS NULL) AND (taken_at IS NOT NULL OR NOT is_good)),
    CONSTRAINT moments_are_real CHECK (least(began_at, taken_at) >= '2000-01-01 00:00+00'
                                       AND greatest(began_at, taken_at) <= '2200-01-01 00:00+00'),
    CONSTRAINT texts_end CHECK (octet_length(concat(found, who)) <= 10000)
);

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

-- The steps of `ops golive`, as they were done, or said to be. Never personal.
CREATE TABLE golive_steps (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at    timestamptz NOT NULL DEFAULT now(),
    step  text NOT NULL CHECK (step ~ '^[a-z_]{1,40}$'),
    state text NOT NULL CHECK (state IN ('done', 'said', 'asked', 'failed')),
    who   text NOT NULL,
    says  text NOT NULL,
    facts jsonb NOT NULL CHECK (jsonb_typeof(facts) = 'object'),
    CONSTRAINT moments_are_real CHECK (at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00'),
    CONSTRAINT texts_end CHECK (octet_length(concat(who, says)) <= 10000 AND octet_length(facts::text) <= 100000)
);

-- Each backup that was written whole, and listed where it is kept (ops/backup.py). Rows are only ever added.
CREATE TABLE backups (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL,                      -- what came later is not in it
    noted_at       timestamptz NOT NULL DEFAULT now(),
    place          text NOT NULL,                             -- a path, or s3://bucket/…; no credentials
    size_bytes     bigint NOT NULL CHECK (size_bytes > 0),
    sha256         text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    recipients     text[] NOT NULL CHECK (cardinality(recipients) >= 1), -- fingerprints of their public keys
    server_version text NOT NULL,
    client_version text NOT NULL,                             -- of pg_dump
    migration      text NOT NULL,                             -- the last one that was applied
    facts          jsonb NOT NULL CHECK (jsonb_typeof(facts) = 'object') -- rows, seconds; never personal
);

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
    soon timestamptz := now() + interval '1 minute';           -- what lies further ahead was written by a wrong clock
    free_at timestamptz;
    taken_kes numeric;
BEGIN
    FOR time IN 1..2 LOOP
        IF time = 2 THEN
            PERFORM pg_advisory_xact_lock(hashtextextended('the shop', 1));
        END IF;

        SELECT max(taken.until) INTO free_at FROM (
            (SELECT c.asked_at + interval '1 hour' AS until FROM push_callers c
             WHERE c.address_digest = caller AND c.asked_at BETWEEN now() - interval '1 hour' AND soon
             ORDER BY c.asked_at DESC OFFSET most_by_caller - 1 LIMIT 1)
            UNION ALL                                         -- and nobody alone takes more than a third of the shop's minute
            (SELECT c.asked_at + interval '1 minute' FROM push_callers c
             WHERE c.address_digest = caller AND c.asked_at BETWEEN now() - interval '1 minute' AND soon
             ORDER BY c.asked_at DESC OFFSET greatest(most_in_shop / 3, 1) - 1 LIMIT 1)) taken;
        IF free_at IS NOT NULL THEN
            RETURN QUERY SELECT 'address', extract(epoch FROM free_at - now())::double precision;
            RETURN;
        END IF;

        SELECT t.created_at + interval '1 minute' INTO free_at FROM transactions t
        WHERE t.created_at BETWEEN now() - interval '1 minute' AND soon AND t.pushed_at IS NOT NULL
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
        'REVIEW PAID', 'REVIEW FAILED', 'REVIEW REFUNDED', 'PAID REFUNDED', 'REFUNDED PAID', 'REFUNDED REVIEW')
$$;

-- What items cost together: each a price and a quantity of at least 1. NULL where one is anything else.
CREATE FUNCTION total_of_items(items jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT CASE WHEN bool_and(kes IS NOT NULL) THEN sum(kes) END
    FROM jsonb_array_elements(CASE jsonb_typeof(items) WHEN 'array' THEN items ELSE '[]' END) AS item,
         LATERAL (SELECT CASE WHEN item ->> 'price_kes' ~ '^[1-9][0-9]{0,5}$' AND item ->> 'quantity' ~ '^[1-9][0-9]{0,5}$'
                              THEN (item ->> 'price_kes')::numeric * (item ->> 'quantity')::numeric END AS kes) AS line
$$;

CREATE FUNCTION refuse_forbidden_transition() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT payment_may_go(OLD.status, NEW.status)
       OR OLD.status = 'REFUNDED' AND NOT has_table_privilege('erasures', 'INSERT') THEN -- only a person takes it back: no function
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

CREATE TRIGGER history_only_grows BEFORE UPDATE OF reconciliation_length ON installation
    FOR EACH ROW WHEN (NEW.reconciliation_length < OLD.reconciliation_length) EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON drills
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON golive_steps
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_files
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER evidence_is_kept BEFORE DELETE OR TRUNCATE ON statement_rows
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON backups
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

CREATE FUNCTION refuse_jump_of_numbers() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.year = OLD.year AND EXISTS (SELECT FROM invoice_gaps g WHERE g.year = NEW.year
                                         AND g.first_number = OLD.last_number + 1 AND g.last_number = NEW.last_number) THEN
        RETURN NEW;                                           -- what it jumps over is left out, and can never be given
    END IF;
    RAISE EXCEPTION 'what % once said never changes', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'evidence_is_fixed';
END $$;
CREATE TRIGGER evidence_is_fixed BEFORE UPDATE ON invoice_years
    FOR EACH ROW WHEN ((NEW.year, NEW.last_number) IS DISTINCT FROM (OLD.year, OLD.last_number + 1))
    EXECUTE FUNCTION refuse_jump_of_numbers();
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_gaps
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();

CREATE FUNCTION refuse_change_of_recovery() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.finished_at IS NULL AND NEW.finished_at = now()
       AND (OLD.id, OLD.restored_at, OLD.backup_at, OLD.backup_sha256, OLD.who)
           IS NOT DISTINCT FROM (NEW.id, NEW.restored_at, NEW.backup_at, NEW.backup_sha256, NEW.who) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a recovery is finished once, and never changes' USING ERRCODE = 'check_violation', CONSTRAINT = 'finished_once';
END $$;
CREATE TRIGGER finished_once BEFORE UPDATE ON recoveries FOR EACH ROW EXECUTE FUNCTION refuse_change_of_recovery();
CREATE TRIGGER history_is_kept BEFORE DELETE OR TRUNCATE ON recoveries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();

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
CREATE CONSTRAINT TRIGGER nobody_pays AFTER INSERT ON transactions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.phone_number LIKE '2540%' AND NEW.status IN ('INITIATED', 'PENDING', 'UNCERTAIN', 'REVIEW'))
    EXECUTE FUNCTION refuse_payment_of_nobody();

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

-- What a function may write, it may write once, and only with the change that it belongs to: whoever has only the functions' password
-- can neither send mail to another address nor give a payment another date.

CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql
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
CREATE TRIGGER written_once BEFORE UPDATE ON transactions FOR EACH ROW EXECUTE FUNCTION refuse_rewriting();

CREATE FUNCTION refuse_rewriting_of_callback() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT NEW.receipts @> OLD.receipts THEN                  -- every receipt number ever seen is kept
        NEW.receipts := OLD.receipts || NEW.receipts;
    END IF;
    IF OLD.judged_at IS DISTINCT FROM NEW.judged_at AND NEW.judged_at <> now()
       OR OLD.source_check IS DISTINCT FROM NEW.source_check
          AND (OLD.source_check, NEW.source_check) IS DISTINCT FROM ('held', 'unlisted')
       OR OLD.seal IS DISTINCT FROM NEW.seal OR NEW.copies < OLD.copies THEN
        RAISE EXCEPTION 'what % once said never changes', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'written_once';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER written_once BEFORE UPDATE ON callback_inbox FOR EACH ROW EXECUTE FUNCTION refuse_rewriting_of_callback();

CREATE FUNCTION refuse_rewriting_of_confirmation() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.mpesa_receipt_number IS NULL AND NEW.mpesa_receipt_number IS NOT NULL OR is_being_erased(OLD.transaction_id) THEN
        RETURN NEW;                                           -- the receipt that was missing, with what came with it
    END IF;
    RAISE EXCEPTION 'what % once said never changes', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'written_once';
END $$;
CREATE TRIGGER written_once BEFORE UPDATE ON payment_confirmations
    FOR EACH ROW WHEN ((OLD.inbox_id, OLD.result_desc, OLD.balance_amount, OLD.transaction_date, OLD.phone_number, OLD.statement_row_id)
                       IS DISTINCT FROM
                       (NEW.inbox_id, NEW.result_desc, NEW.balance_amount, NEW.transaction_date, NEW.phone_number, NEW.statement_row_id))
    EXECUTE FUNCTION refuse_rewriting_of_confirmation();

CREATE FUNCTION refuse_another_time_of_sending() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'sent_at of % is the moment when it is written', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = 'sent_now';
END $$;
CREATE TRIGGER sent_now BEFORE UPDATE OF sent_at ON outbox FOR EACH ROW
    WHEN (OLD.sent_at IS DISTINCT FROM NEW.sent_at AND NEW.sent_at <> now()) EXECUTE FUNCTION refuse_another_time_of_sending();
CREATE TRIGGER sent_now BEFORE UPDATE OF sent_at ON invoices FOR EACH ROW
    WHEN (OLD.sent_at IS DISTINCT FROM NEW.sent_at AND (OLD.sent_at IS NOT NULL OR NEW.sent_at <> now()))
    EXECUTE FUNCTION refuse_another_time_of_sending();

CREATE FUNCTION require_cause() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.kind = 'invoice' AND EXISTS (SELECT FROM invoices i WHERE i.transaction_id = NEW.transaction_id)
       OR NEW.kind IN ('notice', 'sale', 'webhook') AND EXISTS (
           SELECT FROM audit_log a
           WHERE a.id = NEW.tells_of AND a.transaction_id = NEW.transaction_id AND a.from_status <> a.to_status
             AND a.to_status = ANY (CASE NEW.topic WHEN 'failed' THEN ARRAY['FAILED', 'CANCELLED', 'EXPIRED']
                                                   WHEN 'paid' THEN ARRAY['PAID'] WHEN 'paid_late' THEN ARRAY['PAID']
                                                   WHEN 'under_review' THEN ARRAY['REVIEW']
                                                   WHEN 'refunded' THEN ARRAY['REFUNDED'] END)) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'an invoice is sent where there is one; a notice, a sale and a webhook tell of a change'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'mail_has_a_cause';
END $$;
CREATE CONSTRAINT TRIGGER mail_has_a_cause AFTER INSERT ON outbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.kind IN ('invoice', 'notice', 'sale', 'webhook')) EXECUTE FUNCTION require_cause();

-- An audit row has a number that was given out, and a place in its payment's chain: nobody takes the place of the row that comes next.
-- (Whoever may delete rows is the owner, who restores a backup before the numbers go on.)
CREATE FUNCTION refuse_place_of_another() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.id BETWEEN 1 AND pg_sequence_last_value('audit_log_id_seq')
       AND NEW.place <= (SELECT t.audit_length FROM transactions t WHERE t.id = NEW.transaction_id)
       OR has_table_privilege('audit_log', 'DELETE') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the place of an audit row is the next one of its payment'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'place_is_its_own';
END $$;
CREATE TRIGGER place_is_its_own BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_place_of_another();

-- What would stop whoever reads it is never written: moments of no calendar, counts that overflow, words that no code knows, texts
-- without an end. NOT VALID: rows that are there already are not read, so a large table is not locked for it.

ALTER TABLE installation ADD CONSTRAINT moments_are_real CHECK
    (stamped_at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE transactions ADD CONSTRAINT moments_are_real CHECK
    (least(created_at, updated_at, pushed_at, callback_received_at, success_held_at, paid_at, refunded_at,
                failed_at, watched_at, last_query_at, next_query_at)
         >= '2000-01-01 00:00+00'
     AND greatest(created_at, updated_at, pushed_at, callback_received_at, success_held_at, paid_at, refunded_at,
                   failed_at, watched_at, last_query_at, next_query_at)
         <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE transactions ADD CONSTRAINT order_sent_at_is_real CHECK
    (order_sent_at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE transactions ADD CONSTRAINT counts_are_real CHECK
    (query_count BETWEEN 0 AND 1000000 AND audit_length >= 0) NOT VALID;
ALTER TABLE transactions ADD CONSTRAINT review_reason_is_known CHECK (review_reason IN (
    'silence', 'unknown_code', 'amount_mismatch', 'incomplete_success', 'ids_disagree', 'reused_receipt', 'duplicate_payment',
    'unconfirmed_large', 'contradiction')) NOT VALID;
ALTER TABLE transactions ADD CONSTRAINT texts_end CHECK
    (octet_length(concat(transaction_desc, response_message, result_desc, audit_head)) <= 200000) NOT VALID;
ALTER TABLE transactions ADD CONSTRAINT amount_is_of_its_items CHECK
    (items IS NULL OR total_of_items(items) IS NOT DISTINCT FROM amount) NOT VALID;
ALTER TABLE transactions ADD CONSTRAINT words_of_the_shop_end CHECK
    (octet_length(items::text) <= 50000 AND char_length(note) <= 200 AND octet_length(link_digest) = 32) NOT VALID;
ALTER TABLE idempotency_keys ADD CONSTRAINT moments_are_real CHECK
    (created_at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE idempotency_keys ADD CONSTRAINT texts_end CHECK (octet_length(fingerprint) <= 1000) NOT VALID;
ALTER TABLE callback_inbox ADD CONSTRAINT moments_are_real CHECK
    (least(received_at, next_try_at, judged_at)
         >= '2000-01-01 00:00+00'
     AND greatest(received_at, next_try_at, judged_at)
         <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE callback_inbox ADD CONSTRAINT counts_are_real CHECK (copies BETWEEN 0 AND 1000000000) NOT VALID;
ALTER TABLE callback_inbox ADD CONSTRAINT outcome_is_a_word CHECK (outcome ~ '^[a-z_]{1,50}$') NOT VALID;
ALTER TABLE callback_inbox ADD CONSTRAINT texts_end CHECK
    (octet_length(body) <= 100000 AND octet_length(receipts::text) <= 100000
     AND octet_length(concat(source_address, last_error, erased_sha256, seal)) <= 10000) NOT VALID;
ALTER TABLE callback_keys ADD CONSTRAINT moments_are_real CHECK
    (least(since, retired_at)
         >= '2000-01-01 00:00+00'
     AND greatest(since, retired_at)
         <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE query_answers ADD CONSTRAINT moments_are_real CHECK
    (answered_at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE query_answers ADD CONSTRAINT texts_end CHECK (octet_length(concat(said, outcome)) <= 100000) NOT VALID;
ALTER TABLE payment_confirmations ADD CONSTRAINT moments_are_real CHECK
    (received_at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE payment_confirmations ADD CONSTRAINT date_is_of_a_calendar CHECK
    (transaction_date BETWEEN '0002-01-01 00:00+00' AND '9998-12-31 00:00+00') NOT VALID;
ALTER TABLE payment_confirmations ADD CONSTRAINT balance_is_a_number CHECK (balance_amount <> 'NaN') NOT VALID;
ALTER TABLE payment_confirmations ADD CONSTRAINT texts_end CHECK (octet_length(result_desc) <= 100000) NOT VALID;
ALTER TABLE invoices ADD CONSTRAINT moments_are_real CHECK
    (least(invoice_date, sent_at, etims_signed_at)
         >= '2000-01-01 00:00+00'
     AND greatest(invoice_date, sent_at, etims_signed_at)
         <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE audit_anchors ADD CONSTRAINT moments_are_real CHECK
    (made_at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE audit_anchors ADD CONSTRAINT anchor_can_be_sent CHECK
    (digest ~ '^[0-9a-f]{64}$' AND last_audit_id BETWEEN 0 AND 999999999999999999
     AND row_count BETWEEN 0 AND 999999999999999999 AND payment_count BETWEEN 0 AND row_count) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT moments_are_real CHECK
    (least(created_at, next_try_at, sent_at)
         >= '2000-01-01 00:00+00'
     AND greatest(created_at, next_try_at, sent_at)
         <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT topic_is_known CHECK
    (topic ~ '^[a-z_]{1,60}$' AND CASE kind WHEN 'invoice' THEN topic IN ('settled', 'again', 'resent')
     WHEN 'notice' THEN topic IN ('failed', 'paid_late', 'under_review', 'refunded') WHEN 'anchor' THEN topic IN ('log', 'mail')
     WHEN 'erasure' THEN topic IN ('log', 'mail')
     WHEN 'sale' THEN topic IN ('paid', 'paid_late', 'refunded') WHEN 'webhook' THEN topic IN ('paid', 'refunded', 'under_review', 'failed')
     ELSE true END) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT kind_is_known CHECK
    (kind IN ('invoice', 'alert', 'alert_mail', 'anchor', 'erasure', 'notice', 'sale', 'webhook')) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT tells_of_a_change CHECK
    ((kind IN ('notice', 'sale', 'webhook')) = (tells_of IS NOT NULL)) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT dropped_is_over CHECK
    (dropped IS NULL OR kind IN ('notice', 'webhook') AND sent_at IS NULL AND next_try_at IS NULL) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT tries_end CHECK
    (tries BETWEEN 0 AND CASE kind WHEN 'webhook' THEN 7 ELSE 3 END) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT over_for_a_reason CHECK
    (next_try_at IS NOT NULL OR sent_at IS NOT NULL OR dropped IS NOT NULL
     OR tries = CASE kind WHEN 'webhook' THEN 7 ELSE 3 END) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT texts_end CHECK
    (octet_length(facts::text) <= 20000 AND octet_length(last_error) <= 10000
     AND (facts IS NULL OR jsonb_typeof(facts) = 'object')) NOT VALID;
ALTER TABLE mail_pause ADD CONSTRAINT moments_are_real CHECK
    (until BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE incidents ADD CONSTRAINT moments_are_real CHECK
    (least(since, seen_at, alerted_at)
         >= '2000-01-01 00:00+00'
     AND greatest(since, seen_at, alerted_at)
         <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE incidents ADD CONSTRAINT texts_end CHECK (octet_length(topic) <= 1000) NOT VALID;
ALTER TABLE sweeps ADD CONSTRAINT moments_are_real CHECK
    (least(began_at, looked_at, asleep_until)
         >= '2000-01-01 00:00+00'
     AND greatest(began_at, looked_at, asleep_until)
         <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE audit_log ADD CONSTRAINT moments_are_real CHECK
    (at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE audit_log ADD CONSTRAINT place_is_counted CHECK (place >= 1) NOT VALID;
ALTER TABLE audit_log ADD CONSTRAINT statuses_are_known CHECK (concat(from_status, ' ', to_status) ~
    '^(INITIATED|PENDING|UNCERTAIN|PAID|FAILED|CANCELLED|EXPIRED|REVIEW|REFUNDED|) (INITIATED|PENDING|UNCERTAIN|PAID|FAILED|CANCELLED|EXPIRED|REVIEW|REFUNDED)$')
    NOT VALID;
ALTER TABLE audit_log ADD CONSTRAINT texts_end CHECK
    (octet_length(concat(actor, event, outcome, reason, link, link_key)) <= 100000) NOT VALID;
ALTER TABLE erasures ADD CONSTRAINT moments_are_real CHECK
    (at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE access_tokens ADD CONSTRAINT moments_are_real CHECK
    (least(expires_at, leased_until)
         >= '2000-01-01 00:00+00'
     AND greatest(expires_at, leased_until)
         <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE access_tokens ADD CONSTRAINT token_fits_a_header CHECK (token ~ '^[!-~]+$' AND length(token) <= 5000) NOT VALID;
ALTER TABLE query_budget ADD CONSTRAINT moments_are_real CHECK
    (next_slot_at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE push_callers ADD CONSTRAINT moments_are_real CHECK
    (asked_at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE push_callers ADD CONSTRAINT texts_end CHECK (octet_length(address_digest) <= 1000) NOT VALID;
ALTER TABLE payment_confirmations ADD CONSTRAINT evidence_is_known CHECK
    (evidence IN ('callback', 'query', 'operator', 'statement')) NOT VALID;
ALTER TABLE payment_confirmations ADD CONSTRAINT row_is_on_file FOREIGN KEY (statement_row_id) REFERENCES statement_rows (id) NOT VALID;
ALTER TABLE payment_confirmations ADD CONSTRAINT statement_has_a_row CHECK
    (evidence <> 'statement' OR statement_row_id IS NOT NULL) NOT VALID;
ALTER TABLE payment_confirmations ADD CONSTRAINT receipt_is_upper_case CHECK
    (mpesa_receipt_number = upper(mpesa_receipt_number)) NOT VALID;
ALTER TABLE installation ADD CONSTRAINT a_head_is_of_a_chain CHECK
    ((reconciliation_length = 0) = (reconciliation_head IS NULL)) NOT VALID;
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
ALTER TABLE transactions ADD CONSTRAINT only_a_refund_has_its_receipt CHECK
    (status = 'REFUNDED' OR num_nonnulls(refunded_at, refund_receipt) = 0) NOT VALID;
ALTER TABLE recoveries ADD CONSTRAINT moments_are_real CHECK
    (least(restored_at, backup_at, finished_at)
         >= '2000-01-01 00:00+00'
     AND greatest(restored_at, backup_at, finished_at)
         <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE recoveries ADD CONSTRAINT texts_end CHECK
    (octet_length(concat(who, finished_by, why)) <= 10000 AND octet_length(facts::text) <= 1000000) NOT VALID;
ALTER TABLE invoice_gaps ADD CONSTRAINT moments_are_real CHECK
    (at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE invoice_gaps ADD CONSTRAINT texts_end CHECK (octet_length(concat(who, why)) <= 10000) NOT VALID;
ALTER TABLE backups ADD CONSTRAINT moments_are_real CHECK
    (least(at, noted_at) >= '2000-01-01 00:00+00' AND greatest(at, noted_at) <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE backups ADD CONSTRAINT texts_end CHECK
    (octet_length(concat(place, server_version, client_version, migration)) <= 10000
     AND octet_length(recipients::text) <= 10000 AND octet_length(facts::text) <= 20000) NOT VALID;
