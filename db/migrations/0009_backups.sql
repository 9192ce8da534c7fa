-- The database knows of each good backup.
SET LOCAL lock_timeout = '2s';

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

CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON backups
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
ALTER TABLE backups ADD CONSTRAINT moments_are_real CHECK
    (least(at, noted_at) >= '2000-01-01 00:00+00' AND greatest(at, noted_at) <= '2200-01-01 00:00+00') NOT VALID;
ALTER TABLE backups ADD CONSTRAINT texts_end CHECK
    (octet_length(concat(place, server_version, client_version, migration)) <= 10000
     AND octet_length(recipients::text) <= 10000 AND octet_length(facts::text) <= 20000) NOT VALID;
