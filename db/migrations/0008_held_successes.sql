-- The sweep looks every minute for successes that came after a failure and wait for a query for too long: they are few.

CREATE INDEX transactions_success_held_at ON transactions (success_held_at)
    WHERE success_held_at IS NOT NULL AND status IN ('FAILED', 'CANCELLED', 'EXPIRED');
