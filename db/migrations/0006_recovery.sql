-- What follows a restore: nobody is asked to pay until it is finished, invoice numbers that may have been mailed are left out, and
-- each erasure leaves the house as a line.
SET LOCAL lock_timeout = '2s';

-- All locks, before anything changes: as in 0002.
DO $$
BEGIN
    FOR tries_left IN REVERSE coalesce(nullif(current_setting('lipa.lock_tries', true), '')::integer, 60)..1 LOOP
        BEGIN
            LOCK TABLE invoice_years, outbox IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF tries_left = 1 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(1);
        END;
    END LOOP;
END $$;

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
CREATE OR REPLACE FUNCTION next_invoice_number() RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER
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

CREATE FUNCTION refuse_jump_of_numbers() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.year = OLD.year AND EXISTS (SELECT FROM invoice_gaps g WHERE g.year = NEW.year
                                         AND g.first_number = OLD.last_number + 1 AND g.last_number = NEW.last_number) THEN
        RETURN NEW;                                           -- what it jumps over is left out, and can never be given
    END IF;
    RAISE EXCEPTION 'what % once said never changes', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'evidence_is_fixed';
END $$;
DROP TRIGGER evidence_is_fixed ON invoice_years;
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

ALTER TABLE outbox DROP CONSTRAINT topic_is_known;
ALTER TABLE outbox DROP CONSTRAINT kind_is_known;
ALTER TABLE outbox ADD CONSTRAINT topic_is_known CHECK
    (topic ~ '^[a-z_]{1,60}$' AND CASE kind WHEN 'invoice' THEN topic IN ('settled', 'again', 'resent')
     WHEN 'notice' THEN topic IN ('failed', 'paid_late', 'under_review', 'refunded') WHEN 'anchor' THEN topic IN ('log', 'mail')
     WHEN 'erasure' THEN topic IN ('log', 'mail')
     WHEN 'sale' THEN topic IN ('paid', 'paid_late', 'refunded') WHEN 'webhook' THEN topic IN ('paid', 'refunded', 'under_review', 'failed')
     ELSE true END) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT kind_is_known CHECK
    (kind IN ('invoice', 'alert', 'alert_mail', 'anchor', 'erasure', 'notice', 'sale', 'webhook')) NOT VALID;
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
