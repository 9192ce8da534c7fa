-- 1. A callback's address that leaked stores only so many bodies; after that a copy of one on file counts there.
--
-- 2. Every function looks for its tables in `public`, and in nobody's temporary tables: PostgreSQL looks there first
-- unless pg_temp is named last, and whoever may make temporary tables could put one of its own before `erasures` or
-- `payment_confirmations`. A function that is added later says the same itself (SET search_path = …): a test looks at
-- all there are.

ALTER TABLE callback_inbox ADD COLUMN copies bigint NOT NULL DEFAULT 0;

ALTER FUNCTION room_for_push(text, integer, integer, numeric, numeric) SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION next_invoice_number() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION payment_may_go(text, text) SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION refuse_forbidden_transition() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION refuse_change_of_amount() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION require_confirmation_of_paid() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION require_paid_transaction() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION refuse_change_of_history() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION refuse_change_of_evidence() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION is_being_erased(uuid) SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION refuse_change_of_person() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION refuse_change_of_callback() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION refuse_change_of_answer() SET search_path = pg_catalog, public, pg_temp;
