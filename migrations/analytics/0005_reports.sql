-- Providers' bills, and the monthly statements of tenants. Run as role tenantry_owner.

-- A file with what a provider bills, as an operator imported it. No tenant has a right here: it is the platform's own bill.
CREATE TABLE analytics.provider_bills (
    id uuid PRIMARY KEY,
    -- The order of import: of two files that have the same day of an account, the later one is believed.
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    provider text NOT NULL CHECK (length(provider) BETWEEN 1 AND 63),
    format text NOT NULL CHECK (format IN ('openai', 'anthropic', 'generic')),
    -- SHA-256 of the file and of what it was read as: the same file twice is one bill.
    digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    lines integer NOT NULL CHECK (lines > 0),
    first_day date NOT NULL,
    last_day date NOT NULL CHECK (last_day >= first_day),
    total_usd numeric(24, 12) NOT NULL,
    imported_by text NOT NULL,
    imported_at timestamptz NOT NULL
);
CREATE TABLE analytics.provider_bill_lines (
    bill_id uuid NOT NULL REFERENCES analytics.provider_bills (id),
    -- The line of the file.
    line integer NOT NULL CHECK (line > 0),
    provider text NOT NULL,
    -- The provider's name for the account, project or workspace; empty when the file does not tell.
    account text NOT NULL,
    -- Of the provider's clock, which is UTC.
    day date NOT NULL,
    -- What it was for, in the provider's words.
    model text NOT NULL,
    amount_usd numeric(24, 12) NOT NULL,
    PRIMARY KEY (bill_id, line)
);
CREATE INDEX provider_bill_lines_day ON analytics.provider_bill_lines (day, provider);

-- What a month cost a tenant, as it was closed.
CREATE TABLE analytics.statements (
    tenant_id uuid NOT NULL,
    -- Its first day.
    month date NOT NULL CHECK (extract(day FROM month) = 1),
    -- From 1, without gaps.
    number integer NOT NULL CHECK (number > 0),
    time_zone text NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL CHECK (period_end > period_start),
    calls bigint NOT NULL,
    unpriced_calls bigint NOT NULL,
    estimated_calls bigint NOT NULL,
    unsettled_calls bigint NOT NULL,
    -- The sum of its lines, exact.
    cost_usd numeric(24, 12) NOT NULL,
    -- The same in whole cents: the one place where money is rounded.
    amount_usd numeric(24, 2) NOT NULL,
    -- For information: the tenant's currency, what a dollar was worth in it, and the amount in it.
    display_currency text NOT NULL,
    display_rate numeric(24, 12) CHECK (display_rate > 0),
    display_amount numeric(24, 2),
    -- SHA-256 of all that it says, the digest of the statement before included.
    digest bytea NOT NULL CHECK (length(digest) = 32),
    previous_digest bytea CHECK (length(previous_digest) = 32),
    closed_at timestamptz NOT NULL,
    closed_by text NOT NULL,
    PRIMARY KEY (tenant_id, month),
    UNIQUE (tenant_id, number)
);
CREATE TABLE analytics.statement_lines (
    tenant_id uuid NOT NULL,
    month date NOT NULL,
    line integer NOT NULL CHECK (line > 0),
    -- `usage`: calls of the month. `late`: calls of an earlier month that came after its statement. `adjustment`: changes of costs.
    kind text NOT NULL CHECK (kind IN ('usage', 'late', 'adjustment')),
    -- The month of the calls.
    for_month date NOT NULL CHECK (for_month <= month),
    provider text NOT NULL,
    model text NOT NULL,
    calls bigint NOT NULL,
    unpriced_calls bigint NOT NULL,
    estimated_calls bigint NOT NULL,
    unsettled_calls bigint NOT NULL,
    tokens_input bigint NOT NULL,
    tokens_output bigint NOT NULL,
    cost_usd numeric(24, 12) NOT NULL,
    amount_usd numeric(24, 2) NOT NULL,
    PRIMARY KEY (tenant_id, month, line),
    FOREIGN KEY (tenant_id, month) REFERENCES analytics.statements (tenant_id, month)
);

-- What is closed does not change, whoever asks. A purge removes it with everything else of its tenant.
CREATE FUNCTION analytics.refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN
        -- Row level security shows the owner the rows of deleted tenants only.
        IF TG_OP = 'DELETE' AND current_user = 'tenantry_owner' THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'a closed statement does not change; corrections are lines of the next one' USING ERRCODE = 'restrict_violation';
    END $$;
REVOKE EXECUTE ON FUNCTION analytics.refuse_change() FROM PUBLIC;
CREATE TRIGGER statements_stay BEFORE UPDATE OR DELETE ON analytics.statements
    FOR EACH ROW EXECUTE FUNCTION analytics.refuse_change();
CREATE TRIGGER statements_stay_whole BEFORE TRUNCATE ON analytics.statements
    FOR EACH STATEMENT EXECUTE FUNCTION analytics.refuse_change();
CREATE TRIGGER statement_lines_stay BEFORE UPDATE OR DELETE ON analytics.statement_lines
    FOR EACH ROW EXECUTE FUNCTION analytics.refuse_change();
CREATE TRIGGER statement_lines_stay_whole BEFORE TRUNCATE ON analytics.statement_lines
    FOR EACH STATEMENT EXECUTE FUNCTION analytics.refuse_change();

-- The oldest month of which hours are kept: retention drops partitions. An hour that was dropped is no correction.
CREATE FUNCTION analytics.kept_from() RETURNS date
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT coalesce(min(to_date(right(c.relname, 7), 'YYYY_MM')), 'infinity')
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'analytics.hourly_metrics'::regclass
    $$;
REVOKE EXECUTE ON FUNCTION analytics.kept_from() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION analytics.kept_from() TO tenantry_meter, tenantry_tenant;

-- What operators ask of all tenants at once is about the last minutes, hours or days. Rows come in the order of time, so a few
-- blocks hold them, and this index costs next to nothing to keep.
CREATE INDEX provider_api_calls_recent ON analytics.provider_api_calls USING brin ("timestamp") WITH (pages_per_range = 32);
CREATE INDEX hourly_metrics_hour ON analytics.hourly_metrics USING brin (hour) WITH (pages_per_range = 16);
CREATE INDEX hourly_metrics_unpriced ON analytics.hourly_metrics (hour) WHERE unpriced_calls <> 0;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['statements', 'statement_lines'] LOOP
        EXECUTE format('ALTER TABLE analytics.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE analytics.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant_isolation ON analytics.%I USING (tenant_id = (SELECT tenantry.current_tenant())) '
                       'WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()))', t);
        EXECUTE format('CREATE POLICY purge_sees ON analytics.%I FOR SELECT TO tenantry_owner '
                       'USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = ''deleted''))', t);
        EXECUTE format('CREATE POLICY purge ON analytics.%I FOR DELETE TO tenantry_owner '
                       'USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = ''deleted''))', t);
        EXECUTE format('CREATE POLICY metering ON analytics.%I TO tenantry_meter USING (true) WITH CHECK (true)', t);
        EXECUTE format('CREATE POLICY audited_read ON analytics.%I FOR SELECT TO tenantry_auditor USING (true)', t);
    END LOOP;
END $$;
-- Nobody has a right to change or remove any of it.
GRANT SELECT, INSERT ON analytics.provider_bills, analytics.provider_bill_lines, analytics.statements, analytics.statement_lines
    TO tenantry_meter;
GRANT SELECT ON analytics.provider_bills, analytics.provider_bill_lines, analytics.statements, analytics.statement_lines
    TO tenantry_auditor;
GRANT SELECT ON analytics.statements, analytics.statement_lines TO tenantry_tenant;
-- A statement is shown in the tenant's currency as well.
GRANT SELECT (display_currency) ON public.tenants TO tenantry_meter;

-- A month is closed when its statement was made: what comes to it later is booked at its own time.
CREATE OR REPLACE FUNCTION analytics.month_is_closed(tenant uuid, of_day date) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT EXISTS (SELECT FROM analytics.statements s
                         WHERE s.tenant_id = tenant AND s.month = date_trunc('month', of_day::timestamp)::date) $$;
