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
    DROP CONSTRAINT over_for_a_reason;
ALTER TABLE outbox ADD CONSTRAINT topic_is_known CHECK
    (topic ~ '^[a-z_]{1,60}$' AND CASE kind WHEN 'invoice' THEN topic IN ('settled', 'again', 'resent')
     WHEN 'notice' THEN topic IN ('failed', 'paid_late', 'under_review', 'refunded') WHEN 'anchor' THEN topic IN ('log', 'mail')
     WHEN 'sale' THEN topic IN ('paid', 'paid_late', 'refunded') WHEN 'webhook' THEN topic IN ('paid', 'refunded', 'under_review', 'failed')
     ELSE true END) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT kind_is_known CHECK
    (kind IN ('invoice', 'alert', 'anchor', 'notice', 'sale', 'webhook')) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT tries_end CHECK
    (tries BETWEEN 0 AND CASE kind WHEN 'webhook' THEN 7 ELSE 3 END) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT over_for_a_reason CHECK
    (next_try_at IS NOT NULL OR sent_at IS NOT NULL OR dropped IS NOT NULL
     OR tries = CASE kind WHEN 'webhook' THEN 7 ELSE 3 END) NOT VALID;
