-- A shop's own prices, what customers say to the shop, payment links; and the shop is told of its sales.
SET LOCAL lock_timeout = '2s';

-- All locks, before anything changes: as in 0002.
DO $$
BEGIN
    FOR tries_left IN REVERSE coalesce(nullif(current_setting('lipa.lock_tries', true), '')::integer, 60)..1 LOOP
        BEGIN
            LOCK TABLE transactions, outbox IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF tries_left = 1 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(1);
        END;
    END LOOP;
END $$;

-- What was bought, at the prices of then; the customer's words to the shop; SHA-256 of the payment link's token.
ALTER TABLE transactions ADD COLUMN items jsonb, ADD COLUMN note text, ADD COLUMN link_digest bytea;

CREATE INDEX transactions_paid_reference ON transactions (lower(account_reference), paid_at) WHERE paid_at IS NOT NULL;
CREATE INDEX transactions_link_digest ON transactions (link_digest) WHERE link_digest IS NOT NULL;

-- What items cost together: each a price and a quantity of at least 1. NULL where one is anything else.
CREATE FUNCTION total_of_items(items jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT CASE WHEN bool_and(kes IS NOT NULL) THEN sum(kes) END
    FROM jsonb_array_elements(CASE jsonb_typeof(items) WHEN 'array' THEN items ELSE '[]' END) AS item,
         LATERAL (SELECT CASE WHEN item ->> 'price_kes' ~ '^[1-9][0-9]{0,5}$' AND item ->> 'quantity' ~ '^[1-9][0-9]{0,5}$'
                              THEN (item ->> 'price_kes')::numeric * (item ->> 'quantity')::numeric END AS kes) AS line
$$;

ALTER TABLE transactions ADD CONSTRAINT amount_is_of_its_items CHECK
    (items IS NULL OR total_of_items(items) IS NOT DISTINCT FROM amount) NOT VALID;
ALTER TABLE transactions ADD CONSTRAINT words_of_the_shop_end CHECK
    (octet_length(items::text) <= 50000 AND char_length(note) <= 200 AND octet_length(link_digest) = 32) NOT VALID;

-- Mail and webhooks to the shop are rows like what leaves for customers; a webhook is tried seven times.
ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check, DROP CONSTRAINT outbox_tries_check, DROP CONSTRAINT topic_is_known,
    DROP CONSTRAINT over_for_a_reason, DROP CONSTRAINT dropped_is_over, DROP CONSTRAINT a_notice_tells_of_a_change;
ALTER TABLE outbox ADD CONSTRAINT topic_is_known CHECK
    (topic ~ '^[a-z_]{1,60}$' AND CASE kind WHEN 'invoice' THEN topic IN ('settled', 'again', 'resent')
     WHEN 'notice' THEN topic IN ('failed', 'paid_late', 'under_review', 'refunded') WHEN 'anchor' THEN topic IN ('log', 'mail')
     WHEN 'sale' THEN topic IN ('paid', 'paid_late', 'refunded') WHEN 'webhook' THEN topic IN ('paid', 'refunded', 'under_review', 'failed')
     ELSE true END) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT kind_is_known CHECK
    (kind IN ('invoice', 'alert', 'alert_mail', 'anchor', 'notice', 'sale', 'webhook')) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT tells_of_a_change CHECK
    ((kind IN ('notice', 'sale', 'webhook')) = (tells_of IS NOT NULL)) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT dropped_is_over CHECK
    (dropped IS NULL OR kind IN ('notice', 'webhook') AND sent_at IS NULL AND next_try_at IS NULL) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT tries_end CHECK
    (tries BETWEEN 0 AND CASE kind WHEN 'webhook' THEN 7 ELSE 3 END) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT over_for_a_reason CHECK
    (next_try_at IS NOT NULL OR sent_at IS NOT NULL OR dropped IS NOT NULL
     OR tries = CASE kind WHEN 'webhook' THEN 7 ELSE 3 END) NOT VALID;

CREATE UNIQUE INDEX outbox_tells_the_shop_once ON outbox (transaction_id, tells_of, kind) WHERE kind IN ('sale', 'webhook');
CREATE UNIQUE INDEX outbox_mails_alerts_together ON outbox (topic) WHERE kind = 'alert_mail' AND next_try_at IS NOT NULL;
CREATE INDEX outbox_alerts_mailed ON outbox (topic, sent_at) WHERE kind = 'alert_mail';
CREATE INDEX outbox_alerts_sent ON outbox (topic, sent_at) WHERE kind = 'alert' AND sent_at IS NOT NULL;

CREATE OR REPLACE FUNCTION require_cause() RETURNS trigger LANGUAGE plpgsql
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
DROP TRIGGER mail_has_a_cause ON outbox;
CREATE CONSTRAINT TRIGGER mail_has_a_cause AFTER INSERT ON outbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.kind IN ('invoice', 'notice', 'sale', 'webhook')) EXECUTE FUNCTION require_cause();

-- `ops sent`: what was bought is on its way. `ops sales` reads by day.
ALTER TABLE transactions ADD COLUMN order_sent_at timestamptz;
ALTER TABLE transactions ADD CONSTRAINT order_sent_at_is_real CHECK
    (order_sent_at BETWEEN '2000-01-01 00:00+00' AND '2200-01-01 00:00+00') NOT VALID;
CREATE INDEX transactions_paid_at ON transactions (paid_at) WHERE paid_at IS NOT NULL;
CREATE INDEX transactions_refunded_at ON transactions (refunded_at) WHERE refunded_at IS NOT NULL;

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
