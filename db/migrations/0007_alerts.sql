-- Alerts that concern the whole shop, each told once an occasion by whichever sweep sees it first; and whether the sweep runs.

ALTER TABLE outbox ADD COLUMN facts jsonb;

CREATE INDEX outbox_invoices_sent ON outbox (sent_at) WHERE kind = 'invoice' AND sent_at IS NOT NULL;
CREATE INDEX outbox_invoices_unsent ON outbox (created_at) WHERE kind = 'invoice' AND sent_at IS NULL;
CREATE INDEX callback_inbox_received_at ON callback_inbox (received_at);
CREATE INDEX callback_inbox_waiting ON callback_inbox (judged_at) WHERE outcome IN ('dead_letter', 'held');
CREATE INDEX query_answers_answered_at ON query_answers (answered_at) WHERE result_code IS NOT NULL;

CREATE TABLE occasions (
    topic    text PRIMARY KEY,
    since    timestamptz NOT NULL DEFAULT now(),
    seen_at  timestamptz NOT NULL DEFAULT now(),
    told_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sweeps (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    began_at  timestamptz NOT NULL DEFAULT now(),
    looked_at timestamptz
);
