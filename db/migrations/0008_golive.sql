-- Going live, step by step. A new table: nobody waits for anything.
SET LOCAL lock_timeout = '2s';

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
CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON golive_steps
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
