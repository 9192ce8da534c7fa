-- Erasing a person: the one way in which stored evidence may change, and only in the transaction that says so.

-- Each time a payment's personal values were erased: by whom and why, never whose. While the transaction that wrote such a
-- row is open, the triggers below let the evidence of that payment be rewritten. The functions' role cannot write here.
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

CREATE FUNCTION is_being_erased(payment uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM erasures e
                   WHERE e.transaction_id = payment AND e.within = pg_current_xact_id() AND e.at = now())
$$;

CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON erasures
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();

-- 2540… stands where a number was erased: after 254 no Kenyan number begins with 0.
ALTER TABLE transactions DROP CONSTRAINT transactions_phone_number_check;
ALTER TABLE transactions ADD CONSTRAINT transactions_phone_number_check CHECK (phone_number ~ '^254[017][0-9]{8}$');

CREATE FUNCTION refuse_change_of_person() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER nobody_pays BEFORE INSERT ON transactions
    FOR EACH ROW WHEN (NEW.phone_number LIKE '2540%') EXECUTE FUNCTION refuse_change_of_person();

CREATE FUNCTION refuse_change_of_callback() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.transaction_id = OLD.transaction_id AND is_being_erased(OLD.transaction_id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what % once said never changes', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'evidence_is_fixed';
END $$;
DROP TRIGGER evidence_is_fixed ON callback_inbox;
CREATE TRIGGER evidence_is_fixed BEFORE UPDATE ON callback_inbox
    FOR EACH ROW WHEN ((OLD.body, OLD.transaction_id) IS DISTINCT FROM (NEW.body, NEW.transaction_id))
    EXECUTE FUNCTION refuse_change_of_callback();

CREATE FUNCTION refuse_change_of_answer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.id, OLD.transaction_id, OLD.answered_at, OLD.result_code, OLD.outcome)
       IS NOT DISTINCT FROM (NEW.id, NEW.transaction_id, NEW.answered_at, NEW.result_code, NEW.outcome)
       AND is_being_erased(OLD.transaction_id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'history_is_kept';
END $$;
DROP TRIGGER evidence_is_kept ON query_answers;
CREATE TRIGGER evidence_is_kept BEFORE DELETE OR TRUNCATE ON query_answers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_is_kept BEFORE UPDATE ON query_answers
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_answer();
