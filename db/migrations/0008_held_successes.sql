-- The sweep looks every minute for successes that wait for a query for too long, also after a failure: they are few.

CREATE INDEX transactions_success_held_at ON transactions (success_held_at) WHERE success_held_at IS NOT NULL;
