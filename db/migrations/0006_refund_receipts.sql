-- Money goes back under a receipt of its own: no two refunds have the same.

CREATE UNIQUE INDEX transactions_refund_receipt ON transactions (refund_receipt) WHERE refund_receipt IS NOT NULL;
