-- What must be true at any moment. Each query names the rows that break one rule, and finds none in healthy books.
-- They only read: an operator may run them on production, all with `make verify`, or one by one.

-- tables_are_in_public: the functions look for their tables in schema public; else the schema where they are, and nothing more
SELECT min(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'callback_inbox' AND c.relkind = 'r' AND n.nspname NOT LIKE 'pg\_%'
  AND to_regclass('public.callback_inbox') IS NULL
HAVING count(*) > 0;

-- paid_has_evidence: a paid payment has one confirmation, of its exact amount, with a receipt unless a query confirmed it
SELECT t.id FROM transactions t
LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
WHERE t.status = 'PAID' AND (c.id IS NULL OR c.amount <> t.amount OR t.paid_at IS NULL
      OR c.mpesa_receipt_number IS NULL AND c.evidence <> 'query');

-- amount_is_of_its_items: every amount is the sum of its items, where it has any
SELECT id FROM transactions WHERE items IS NOT NULL AND total_of_items(items) IS DISTINCT FROM amount;

-- only_paid_is_confirmed: nothing else has a confirmation
SELECT t.id FROM transactions t JOIN payment_confirmations c ON c.transaction_id = t.id
WHERE t.status NOT IN ('PAID', 'REFUNDED');

-- one_confirmation: at most one confirmation a payment, and one payment a receipt
SELECT transaction_id FROM payment_confirmations GROUP BY transaction_id HAVING count(*) > 1
UNION ALL
SELECT min(transaction_id::text)::uuid FROM payment_confirmations
WHERE mpesa_receipt_number IS NOT NULL GROUP BY mpesa_receipt_number HAVING count(*) > 1;

-- one_invoice: every payment that was paid and has an address has exactly one invoice, of its amount; nobody else has one
SELECT t.id FROM transactions t LEFT JOIN invoices i ON i.transaction_id = t.id
GROUP BY t.id
HAVING count(i.id) <> (CASE WHEN t.status IN ('PAID', 'REFUNDED') AND t.paid_at IS NOT NULL AND t.customer_email IS NOT NULL
                            THEN 1 ELSE 0 END)
    OR bool_or(i.amount <> t.amount OR i.customer_email <> t.customer_email OR i.customer_name <> coalesce(t.customer_name, '')
               OR i.customer_phone <> t.phone_number);

-- an_invoice_is_mailed_for_a_reason: once when it is paid, ten times for its customer, and as often as an operator said so; SENT: it left
SELECT i.transaction_id FROM invoices i
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE o.topic = 'again') AS again, count(*) FILTER (WHERE o.topic = 'resent') AS resent,
           count(o.sent_at) AS sent
    FROM outbox o WHERE o.transaction_id = i.transaction_id AND o.kind = 'invoice') mailed
WHERE mailed.again > 10 OR i.status = 'SENT' AND mailed.sent = 0
   OR mailed.resent > (SELECT count(*) FROM audit_log a WHERE a.transaction_id = i.transaction_id AND a.event = 'InvoiceResent');

-- invoice_numbers_have_no_gap: in each year every number from 1 to the last is one invoice's or left out after a restore, none is above
SELECT coalesce(i.invoice_number, wanted.invoice_number) FROM (
    SELECT 'INV-' || y.year || '-' || lpad(number::text, greatest(6, length(number::text)), '0') AS invoice_number
    FROM invoice_years y CROSS JOIN LATERAL generate_series(1, y.last_number) AS number
    WHERE NOT EXISTS (SELECT FROM invoice_gaps g WHERE g.year = y.year AND number BETWEEN g.first_number AND g.last_number)) wanted
FULL JOIN invoices i USING (invoice_number)
WHERE wanted.invoice_number IS NULL OR i.invoice_number IS NULL;

-- a_notice_tells_of_a_change: a notice, sale or webhook belongs to one change of its payment; a notice's customer left an address
SELECT o.transaction_id FROM outbox o JOIN transactions t ON t.id = o.transaction_id
WHERE o.kind IN ('notice', 'sale', 'webhook')
  AND (NOT EXISTS (SELECT FROM audit_log a WHERE a.id = o.tells_of AND a.transaction_id = o.transaction_id
                     AND a.from_status <> a.to_status)
       OR o.kind = 'notice' AND t.customer_email IS NULL AND NOT EXISTS (SELECT FROM audit_log a WHERE a.transaction_id = o.transaction_id
                                                     AND a.event = 'PersonErased'))
UNION
SELECT transaction_id FROM outbox WHERE kind IN ('notice', 'sale', 'webhook')
GROUP BY transaction_id, kind, tells_of HAVING count(*) > 1;

-- a_receipt_that_paid_is_on_file: a receipt that no operator typed stands in an inbox entry, or in a statement row, of the same payment
SELECT c.transaction_id FROM payment_confirmations c
WHERE c.mpesa_receipt_number IS NOT NULL AND c.evidence <> 'operator'
  AND NOT EXISTS (SELECT FROM statement_rows r WHERE r.id = c.statement_row_id AND r.transaction_id = c.transaction_id
                    AND r.receipt = c.mpesa_receipt_number AND r.completed AND r.paid_in = c.amount)
  AND NOT EXISTS (SELECT FROM callback_inbox i WHERE i.id = c.inbox_id AND i.transaction_id = c.transaction_id
                    AND c.mpesa_receipt_number = ANY (i.receipts));

-- no_double_payment: the same reference, phone and amount is paid once within 24 hours, unless refunded before, or a person said otherwise
SELECT a.id FROM transactions a JOIN transactions b
  ON b.phone_number = a.phone_number AND lower(b.account_reference) = lower(a.account_reference) AND b.amount = a.amount
 AND b.id > a.id
 AND b.paid_at BETWEEN a.paid_at - interval '24 hours' AND a.paid_at + interval '24 hours'
 AND coalesce(a.refunded_at > b.paid_at, true) AND coalesce(b.refunded_at > a.paid_at, true)
WHERE NOT EXISTS (SELECT FROM audit_log said WHERE said.transaction_id IN (a.id, b.id) AND said.to_status = 'PAID' AND said.from_status <> 'PAID'
                    AND said.event IN ('OperatorPaid', 'OperatorReopened', 'BookedByHand'));

-- a_statement_row_is_of_one_payment: a confirmation and the row that it names belong to the same payment, and one row confirms once
SELECT c.transaction_id FROM payment_confirmations c JOIN statement_rows r ON r.id = c.statement_row_id
WHERE r.transaction_id IS DISTINCT FROM c.transaction_id
UNION ALL
SELECT min(transaction_id::text)::uuid FROM payment_confirmations
WHERE statement_row_id IS NOT NULL GROUP BY statement_row_id HAVING count(*) > 1;

-- history_is_whole: each payment's audit rows begin with its order, follow each other without a gap, end in its status
SELECT transaction_id FROM (
    SELECT a.transaction_id, a.from_status, a.to_status, t.status,
           lag(a.to_status) OVER chain AS before, lead(a.id) OVER chain AS after
    FROM audit_log a JOIN transactions t ON t.id = a.transaction_id
    WINDOW chain AS (PARTITION BY a.transaction_id ORDER BY a.id)) step
WHERE from_status IS DISTINCT FROM before
   OR from_status <> to_status AND NOT payment_may_go(from_status, to_status)
   OR after IS NULL AND to_status <> status
UNION
SELECT t.id FROM transactions t WHERE NOT EXISTS (SELECT FROM audit_log a WHERE a.transaction_id = t.id);

-- audit_chain_is_whole: audit rows are numbered from 1 without a gap, in their order; the payment knows how many
SELECT t.id FROM transactions t
LEFT JOIN (SELECT transaction_id, count(*) AS links, bool_or(place <> nth) AS disordered
           FROM (SELECT transaction_id, place, row_number() OVER (PARTITION BY transaction_id ORDER BY id) AS nth
                 FROM audit_log) numbered
           GROUP BY transaction_id) chain ON chain.transaction_id = t.id
WHERE t.audit_length <> coalesce(chain.links, 0) OR chain.disordered OR t.audit_head !~ '^[0-9a-f]{64}$';

-- one_push: a payment's push is answered for once; the same answer may be written again when COMMIT's answer was lost
SELECT transaction_id FROM audit_log WHERE event IN ('PushAccepted', 'PushRefused', 'PushNotSent', 'PushUnanswered')
GROUP BY transaction_id HAVING count(DISTINCT event) > 1 OR count(*) FILTER (WHERE from_status = 'INITIATED') > 1;

-- every_callback_is_judged: an inbox entry has an outcome, or another try is due soon
SELECT transaction_id FROM callback_inbox WHERE outcome IS NULL AND next_try_at < now() - interval '10 minutes';

-- a_person_hears_of_what_nobody_judged: a callback that changed no payment by itself has an alert
SELECT i.transaction_id FROM callback_inbox i LEFT JOIN transactions t ON t.id = i.transaction_id
WHERE i.outcome IN ('unreadable', 'unknown_transaction', 'held', 'dead_letter')
  AND NOT EXISTS (SELECT FROM outbox o WHERE o.kind = 'alert' AND o.topic = i.outcome AND o.transaction_id IS NOT DISTINCT FROM t.id);

-- flood_has_an_alert: a callback is only counted as a copy where the payment's inbox is full, and then there is an alert
SELECT i.transaction_id FROM callback_inbox i LEFT JOIN transactions t ON t.id = i.transaction_id
WHERE i.copies > 0
  AND ((SELECT count(*) FROM callback_inbox o
        WHERE o.transaction_id = i.transaction_id
          AND (o.source_check IS NOT DISTINCT FROM 'listed') = (i.source_check IS NOT DISTINCT FROM 'listed')) < 32
       OR NOT EXISTS (SELECT FROM outbox o WHERE o.kind = 'alert' AND o.topic = 'callback_flood'
                        AND o.transaction_id IS NOT DISTINCT FROM t.id));

-- silence_has_an_alert: nothing was open, nor held for a query after a failure, for over 15 minutes at the last look without an alert
SELECT t.id FROM transactions t, (SELECT least(began_at - interval '16 minutes', now() - interval '20 minutes') AS at FROM sweeps) seen
WHERE (t.status IN ('INITIATED', 'PENDING', 'UNCERTAIN') AND t.created_at < seen.at
       OR t.status IN ('FAILED', 'CANCELLED', 'EXPIRED') AND t.success_held_at < seen.at)
  AND NOT EXISTS (SELECT FROM outbox o WHERE o.transaction_id = t.id AND o.kind = 'alert');

-- review_has_an_alert: a payment that waits for a person has an alert
SELECT t.id FROM transactions t
WHERE t.status = 'REVIEW' AND NOT EXISTS (SELECT FROM outbox o WHERE o.transaction_id = t.id AND o.kind = 'alert');

-- one_environment: a database with payments belongs to exactly one environment
SELECT t.id FROM transactions t WHERE (SELECT count(*) FROM installation) <> 1 LIMIT 1;
