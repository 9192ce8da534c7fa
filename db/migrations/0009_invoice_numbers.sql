-- Invoice numbers without a gap in each of Nairobi's years, and room for what KRA's eTIMS gives back for an invoice.
-- Numbers that are given already stay: in a year that has gaps, it is from the next number on that there are none.

LOCK TABLE invoices IN ACCESS EXCLUSIVE MODE;

CREATE TABLE invoice_years (
    year         integer PRIMARY KEY,
    first_number integer NOT NULL DEFAULT 1,
    last_number  integer NOT NULL,
    CONSTRAINT counts_up CHECK (first_number >= 1 AND last_number >= first_number - 1)
);

INSERT INTO invoice_years (year, first_number, last_number)
SELECT year, CASE WHEN count(*) = max(number) THEN 1 ELSE max(number) + 1 END, max(number)
FROM (SELECT substr(invoice_number, 5, 4)::integer AS year, substr(invoice_number, 10)::integer AS number
      FROM invoices WHERE invoice_number ~ '^INV-[0-9]{4}-[0-9]{6,9}$') given
GROUP BY year;

CREATE FUNCTION next_invoice_number() RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    this_year integer := extract(year FROM now() AT TIME ZONE 'Africa/Nairobi');
    number integer;
BEGIN
    INSERT INTO invoice_years AS y (year, last_number) VALUES (this_year, 1)
    ON CONFLICT (year) DO UPDATE SET last_number = y.last_number + 1
    RETURNING last_number INTO number;
    RETURN 'INV-' || this_year || '-' || lpad(number::text, greatest(6, length(number::text)), '0');
END $$;

ALTER TABLE invoices ALTER COLUMN invoice_number SET DEFAULT next_invoice_number();
DROP SEQUENCE invoice_numbers;

ALTER TABLE invoices
    ADD COLUMN etims_scu_id            varchar(50),
    ADD COLUMN etims_cu_invoice_number varchar(100) UNIQUE,
    ADD COLUMN etims_receipt_signature text,
    ADD COLUMN etims_internal_data     text,
    ADD COLUMN etims_qr_url            text,
    ADD COLUMN etims_signed_at         timestamptz,
    ADD CONSTRAINT a_tax_invoice_has_a_number CHECK (etims_cu_invoice_number IS NOT NULL
        OR num_nonnulls(etims_scu_id, etims_receipt_signature, etims_internal_data, etims_qr_url, etims_signed_at) = 0);

CREATE INDEX outbox_invoices_of_a_payment ON outbox (transaction_id) WHERE kind = 'invoice';

CREATE TRIGGER evidence_is_fixed BEFORE UPDATE ON invoices
    FOR EACH ROW WHEN ((OLD.transaction_id, OLD.invoice_number, OLD.invoice_date, OLD.amount)
                       IS DISTINCT FROM (NEW.transaction_id, NEW.invoice_number, NEW.invoice_date, NEW.amount))
    EXECUTE FUNCTION refuse_change_of_evidence();
CREATE TRIGGER evidence_is_fixed BEFORE UPDATE ON invoice_years
    FOR EACH ROW WHEN ((NEW.year, NEW.first_number, NEW.last_number) IS DISTINCT FROM (OLD.year, OLD.first_number, OLD.last_number + 1))
    EXECUTE FUNCTION refuse_change_of_evidence();
CREATE TRIGGER evidence_is_kept BEFORE DELETE OR TRUNCATE ON invoice_years
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
