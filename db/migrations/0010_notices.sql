-- Notices: what else matters to a customer who left an address is told in their language, once a change. And a pause that
-- all mail keeps, also what is queued while it lasts.

ALTER TABLE transactions ADD COLUMN lang varchar(2) NOT NULL DEFAULT 'en' CHECK (lang IN ('en', 'sw'));

ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('invoice', 'alert', 'anchor', 'notice'));
ALTER TABLE outbox ADD COLUMN tells_of bigint;
ALTER TABLE outbox ADD COLUMN dropped text
    CHECK (dropped IN ('no_address', 'overtaken', 'off', 'seen', 'tried_again', 'never_told'));
ALTER TABLE outbox ADD CONSTRAINT dropped_is_over
    CHECK (dropped IS NULL OR kind = 'notice' AND sent_at IS NULL AND next_try_at IS NULL);
ALTER TABLE outbox ADD CONSTRAINT a_notice_tells_of_a_change CHECK ((kind = 'notice') = (tells_of IS NOT NULL));

CREATE UNIQUE INDEX outbox_tells_of_a_change_once ON outbox (transaction_id, tells_of) WHERE kind = 'notice';

CREATE TABLE mail_pause (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    until    timestamptz NOT NULL
);
