-- What the tenants' provider calls cost. Shared per shard, partitioned by month, one tenant's rows
-- visible to that tenant's role only. Sums and counts are stored, averages are derived; unknown cost is NULL.

CREATE SCHEMA analytics;

CREATE TABLE analytics.provider_api_calls (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    session_id uuid,
    task_id uuid,
    provider text NOT NULL,
    operation text NOT NULL,
    tokens_input bigint NOT NULL DEFAULT 0 CHECK (tokens_input >= 0),
    tokens_output bigint NOT NULL DEFAULT 0 CHECK (tokens_output >= 0),
    cost_usd numeric(24, 12),
    latency_ms integer NOT NULL CHECK (latency_ms >= 0),
    success boolean NOT NULL DEFAULT true,
    error_message text,
    "timestamp" timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id, "timestamp")
) PARTITION BY RANGE ("timestamp");
CREATE INDEX provider_api_calls_tenant_time ON analytics.provider_api_calls (tenant_id, "timestamp");
CREATE INDEX provider_api_calls_provider_time ON analytics.provider_api_calls (provider, "timestamp");
CREATE INDEX provider_api_calls_task ON analytics.provider_api_calls (task_id);

CREATE TABLE analytics.daily_metrics (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    date date NOT NULL,
    provider text NOT NULL,
    agent_id uuid,
    total_calls bigint NOT NULL DEFAULT 0,
    successful_calls bigint NOT NULL DEFAULT 0,
    unpriced_calls bigint NOT NULL DEFAULT 0,
    total_cost_usd numeric(24, 12) NOT NULL DEFAULT 0,
    total_tokens_input bigint NOT NULL DEFAULT 0,
    total_tokens_output bigint NOT NULL DEFAULT 0,
    total_latency_ms bigint NOT NULL DEFAULT 0,
    latency_histogram bigint[] NOT NULL DEFAULT '{}',
    tasks_completed bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (id, date),
    UNIQUE NULLS NOT DISTINCT (tenant_id, date, provider, agent_id)
) PARTITION BY RANGE (date);
-- The design's index on (tenant_id, date) is left out: the unique key begins with these columns.

CREATE TABLE analytics.roi_calculations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    actual_cost_usd numeric(24, 12) NOT NULL,
    baseline_cost_usd numeric(24, 12) NOT NULL,
    savings_usd numeric(24, 12) NOT NULL,
    savings_percent numeric(9, 4) NOT NULL,
    tasks_completed bigint NOT NULL,
    optimal_routing_percent numeric(9, 4) NOT NULL,
    calculated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (period_end > period_start)
);
CREATE INDEX roi_calculations_tenant_period ON analytics.roi_calculations (tenant_id, period_start, period_end);

ALTER TABLE analytics.provider_api_calls ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics.provider_api_calls FORCE ROW LEVEL SECURITY;
ALTER TABLE analytics.daily_metrics ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics.daily_metrics FORCE ROW LEVEL SECURITY;
ALTER TABLE analytics.roi_calculations ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics.roi_calculations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON analytics.provider_api_calls
    USING (tenant_id = (SELECT tenantry.current_tenant())) WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY tenant_isolation ON analytics.daily_metrics
    USING (tenant_id = (SELECT tenantry.current_tenant())) WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY tenant_isolation ON analytics.roi_calculations
    USING (tenant_id = (SELECT tenantry.current_tenant())) WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
-- The owner sees and removes rows of deleted tenants only, for the purge. Old months go by dropping their partitions.
CREATE POLICY purge_sees ON analytics.provider_api_calls FOR SELECT TO tenantry_owner
    USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));
CREATE POLICY purge ON analytics.provider_api_calls FOR DELETE TO tenantry_owner
    USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));
CREATE POLICY purge_sees ON analytics.daily_metrics FOR SELECT TO tenantry_owner
    USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));
CREATE POLICY purge ON analytics.daily_metrics FOR DELETE TO tenantry_owner
    USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));
CREATE POLICY purge_sees ON analytics.roi_calculations FOR SELECT TO tenantry_owner
    USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));
CREATE POLICY purge ON analytics.roi_calculations FOR DELETE TO tenantry_owner
    USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));
CREATE POLICY metering ON analytics.provider_api_calls TO tenantry_meter USING (true) WITH CHECK (true);
CREATE POLICY metering ON analytics.daily_metrics TO tenantry_meter USING (true) WITH CHECK (true);
CREATE POLICY metering ON analytics.roi_calculations TO tenantry_meter USING (true) WITH CHECK (true);
CREATE POLICY audited_read ON analytics.provider_api_calls FOR SELECT TO tenantry_auditor USING (true);
CREATE POLICY audited_read ON analytics.daily_metrics FOR SELECT TO tenantry_auditor USING (true);
CREATE POLICY audited_read ON analytics.roi_calculations FOR SELECT TO tenantry_auditor USING (true);

-- Makes the partitions from last month to `ahead` months from now. Repeatable.
CREATE FUNCTION analytics.ensure_partitions(ahead integer) RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        parent text;
        first_day date;
        child text;
        made integer := 0;
    BEGIN
        FOREACH parent IN ARRAY ARRAY['provider_api_calls', 'daily_metrics'] LOOP
            FOR first_day IN
                SELECT generate_series(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month',
                                       date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead),
                                       interval '1 month')::date
            LOOP
                child := format('%s_%s', parent, to_char(first_day, 'YYYY_MM'));
                CONTINUE WHEN to_regclass(format('analytics.%I', child)) IS NOT NULL;
                EXECUTE format('CREATE TABLE analytics.%I PARTITION OF analytics.%I FOR VALUES FROM (%L) TO (%L)',
                    child, parent,
                    CASE parent WHEN 'daily_metrics' THEN first_day::text ELSE first_day || ' 00:00:00+00' END,
                    CASE parent WHEN 'daily_metrics' THEN (first_day + interval '1 month')::date::text
                                ELSE (first_day + interval '1 month')::date || ' 00:00:00+00' END);
                EXECUTE format('ALTER TABLE analytics.%I ENABLE ROW LEVEL SECURITY', child);
                EXECUTE format('ALTER TABLE analytics.%I FORCE ROW LEVEL SECURITY', child);
                made := made + 1;
            END LOOP;
        END LOOP;
        RETURN made;
    END $$;
REVOKE EXECUTE ON FUNCTION analytics.ensure_partitions(integer) FROM PUBLIC;
SELECT analytics.ensure_partitions(3);

GRANT USAGE ON SCHEMA analytics TO tenantry_meter, tenantry_auditor;
GRANT SELECT, INSERT, UPDATE, DELETE ON analytics.provider_api_calls, analytics.daily_metrics,
    analytics.roi_calculations TO tenantry_meter;
GRANT SELECT ON analytics.provider_api_calls, analytics.daily_metrics, analytics.roi_calculations TO tenantry_auditor;
GRANT USAGE ON SCHEMA analytics TO tenantry_tenant;
GRANT SELECT ON analytics.provider_api_calls, analytics.daily_metrics, analytics.roi_calculations TO tenantry_tenant;
