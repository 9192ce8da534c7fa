-- What the caller's address says about a callback (CALLBACK_IP_MODE).

ALTER TABLE callback_inbox ADD COLUMN source_check text CHECK (source_check IN ('listed', 'unlisted', 'held'));

CREATE INDEX callback_inbox_unlisted ON callback_inbox (source_address, received_at) WHERE source_check = 'unlisted';
