-- An operator looks up a payment by its reference, paid or not, and by every receipt that a callback named.
SET LOCAL lock_timeout = '2s';

-- All locks, before anything changes: as in 0002. Nothing is rewritten: callbacks wait while the two indexes are made.
DO $$
BEGIN
    FOR tries_left IN REVERSE coalesce(nullif(current_setting('lipa.lock_tries', true), '')::integer, 60)..1 LOOP
        BEGIN
            LOCK TABLE transactions, callback_inbox IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF tries_left = 1 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(1);
        END;
    END LOOP;
END $$;

DROP INDEX transactions_paid_reference;
CREATE INDEX transactions_reference ON transactions (lower(account_reference), paid_at);
CREATE INDEX callback_inbox_receipts ON callback_inbox USING gin (receipts) WHERE receipts <> '{}';
