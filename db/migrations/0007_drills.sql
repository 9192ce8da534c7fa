-- Drills: backups that were restored to see whether they can be.
SET LOCAL lock_timeout = '2s';

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

CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON drills
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
