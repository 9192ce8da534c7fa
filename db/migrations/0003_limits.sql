-- Limits that hold for all instances together: who asked lately, and what the whole shop has room for.

CREATE INDEX transactions_created_at ON transactions (created_at);

-- Callers who asked for a push within the hour that their address is limited for; the sweep deletes what is older.
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
RETURNS TABLE (refused_by text, retry_after_s double precision) LANGUAGE plpgsql VOLATILE AS $$
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
