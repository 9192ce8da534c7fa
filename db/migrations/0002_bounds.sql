-- What a foreign hand, a wrong clock or a restore can write no longer stops anything or changes what is paid and mailed.
SET LOCAL lock_timeout = '2s';

-- All locks, before anything changes. Everybody queues behind a file that waits: after 2 s they are let through, and it tries
-- again. So it does where Netlify applies it; db.migrate has it try once, says who holds the locks, and repeats it by itself.
DO $$
BEGIN
    FOR tries_left IN REVERSE coalesce(nullif(current_setting('lipa.lock_tries', true), '')::integer, 60)..1 LOOP
        BEGIN
            LOCK TABLE transactions, callback_inbox, payment_confirmations, audit_log, outbox, invoices, invoice_years,
                idempotency_keys, query_answers, push_callers, access_tokens, query_budget, mail_pause, incidents, sweeps,
                audit_anchors, erasures, installation IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF tries_left = 1 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(1);
        END;
    END LOOP;
END $$;

ALTER TABLE callback_inbox ADD COLUMN seal text;

-- The keys that sign callback addresses, by a digest of each. The sweep of the published deploy says which are good and retires
-- all others; one that nobody has named yet is good.
CREATE TABLE callback_keys (
    name       text PRIMARY KEY CHECK (name ~ '^[0-9a-f]{32}$'),
    since      timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz                                    -- null: good
);

-- An idle shop's sweep leaves the database alone until then.
ALTER TABLE sweeps ADD COLUMN asleep_until timestamptz;

CREATE INDEX outbox_waiting_of_a_payment ON outbox (transaction_id) WHERE next_try_at IS NOT NULL;
CREATE INDEX outbox_failures_told ON outbox (created_at) WHERE kind = 'notice' AND topic = 'failed' AND tries > 0;

CREATE OR REPLACE FUNCTION room_for_push(caller text, most_by_caller integer, most_in_shop integer, kes numeric, most_kes numeric)
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

DROP TRIGGER nobody_pays ON transactions;
CREATE TRIGGER nobody_pays BEFORE INSERT ON transactions         -- a finished payment comes back by a restore
    FOR EACH ROW WHEN (NEW.phone_number LIKE '2540%' AND NEW.status IN ('INITIATED', 'PENDING', 'UNCERTAIN', 'REVIEW'))
    EXECUTE FUNCTION refuse_change_of_person();

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
             AND NOT coalesce(moves AND NEW.status = 'REFUNDED' AND NEW.refunded_at = now(), false) THEN 'refunded_at'
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
    FOR EACH ROW WHEN ((OLD.inbox_id, OLD.result_desc, OLD.balance_amount, OLD.transaction_date, OLD.phone_number) IS DISTINCT FROM
                       (NEW.inbox_id, NEW.result_desc, NEW.balance_amount, NEW.transaction_date, NEW.phone_number))
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
       OR NEW.kind = 'notice' AND EXISTS (
           SELECT FROM audit_log a
           WHERE a.id = NEW.tells_of AND a.transaction_id = NEW.transaction_id AND a.from_status <> a.to_status
             AND a.to_status = ANY (CASE NEW.topic WHEN 'failed' THEN ARRAY['FAILED', 'CANCELLED', 'EXPIRED']
                                                   WHEN 'paid_late' THEN ARRAY['PAID'] WHEN 'under_review' THEN ARRAY['REVIEW']
                                                   WHEN 'refunded' THEN ARRAY['REFUNDED'] END)) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'an invoice is sent where there is one, and a notice tells of a change'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'mail_has_a_cause';
END $$;
CREATE CONSTRAINT TRIGGER mail_has_a_cause AFTER INSERT ON outbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.kind IN ('invoice', 'notice')) EXECUTE FUNCTION require_cause();

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
ALTER TABLE transactions ADD CONSTRAINT counts_are_real CHECK
    (query_count BETWEEN 0 AND 1000000 AND audit_length >= 0) NOT VALID;
ALTER TABLE transactions ADD CONSTRAINT review_reason_is_known CHECK (review_reason IN (
    'silence', 'unknown_code', 'amount_mismatch', 'incomplete_success', 'ids_disagree', 'reused_receipt', 'duplicate_payment',
    'unconfirmed_large', 'contradiction')) NOT VALID;
ALTER TABLE transactions ADD CONSTRAINT texts_end CHECK
    (octet_length(concat(transaction_desc, response_message, result_desc, audit_head)) <= 200000) NOT VALID;
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
     ELSE true END) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT over_for_a_reason CHECK
    (next_try_at IS NOT NULL OR sent_at IS NOT NULL OR dropped IS NOT NULL OR tries = 3) NOT VALID;
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
