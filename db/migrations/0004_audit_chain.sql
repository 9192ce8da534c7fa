-- The audit log becomes a chain: each row is signed with a key outside the database, after the head of its payment; the
-- payment keeps head and length. Rows from before stay unsigned until `ops audit adopt` signs for them.

ALTER TABLE transactions
    ADD COLUMN audit_length integer NOT NULL DEFAULT 0,
    ADD COLUMN audit_head text,
    ADD CONSTRAINT a_head_is_of_a_chain CHECK ((audit_length = 0) = (audit_head IS NULL));

ALTER TABLE audit_log
    ADD COLUMN place integer,
    ADD COLUMN link text,
    ADD COLUMN link_key text,
    ADD CONSTRAINT signed_whole_or_not_at_all CHECK ((place IS NULL) = (link IS NULL) AND (place IS NULL) = (link_key IS NULL));

CREATE UNIQUE INDEX audit_log_is_one_chain ON audit_log (transaction_id, place) WHERE place IS NOT NULL;

CREATE TABLE audit_anchors (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at       timestamptz NOT NULL DEFAULT now(),
    last_audit_id bigint NOT NULL,
    row_count     bigint NOT NULL,
    payment_count bigint NOT NULL,
    digest        text NOT NULL,
    day_is_over   boolean NOT NULL
);

ALTER TABLE outbox
    ADD COLUMN anchor_id bigint REFERENCES audit_anchors (id),
    DROP CONSTRAINT outbox_kind_check,
    ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('invoice', 'alert', 'anchor')),
    ADD CONSTRAINT an_anchor_leaves CHECK ((kind = 'anchor') = (anchor_id IS NOT NULL));

CREATE UNIQUE INDEX outbox_sends_an_anchor_once ON outbox (anchor_id, topic) WHERE kind = 'anchor';

CREATE TRIGGER history_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_anchors
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER history_only_grows BEFORE UPDATE OF audit_length ON transactions
    FOR EACH ROW WHEN (NEW.audit_length < OLD.audit_length) EXECUTE FUNCTION refuse_change_of_history();
