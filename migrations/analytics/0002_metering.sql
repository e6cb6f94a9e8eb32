-- Metering: what a provider call was, what it cost and why, and the sums that are made of it. Run as role tenantry_owner.
--
-- One amount everywhere: the calls of an hour, the hour, the day and the counters of budgets add up to the same number, to the
-- last digit. So a call's hour and day (of the tenant's time zone when it was recorded) are stored with it, money has twelve
-- decimals (a price of up to six decimals for a million tokens, for one token) and nothing is rounded before a statement is.

-- tenantry: allow adding-field-with-default: nothing has written this table before this version
ALTER TABLE analytics.provider_api_calls
    -- `call`: one attempt at a provider. `adjustment`: a later change of what one cost; it has no tokens and is no call.
    ADD COLUMN kind text NOT NULL DEFAULT 'call' CHECK (kind IN ('call', 'adjustment')),
    -- The call that an adjustment is of.
    ADD COLUMN adjusts uuid,
    -- Whether an adjustment gives a price to a call that had none.
    ADD COLUMN prices_call boolean NOT NULL DEFAULT false,
    -- The attempts of one operation share it: requests are counted by operations, money by attempts.
    ADD COLUMN operation_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN attempt smallint NOT NULL DEFAULT 1 CHECK (attempt > 0),
    -- How it came to us.
    ADD COLUMN source text NOT NULL DEFAULT 'api' CHECK (source IN ('gateway', 'api', 'replay')),
    ADD COLUMN agent_id uuid,
    ADD COLUMN api_key_id uuid,
    ADD COLUMN provider_account_id uuid,
    -- What kind of work it was for, in the tenant's words.
    ADD COLUMN task_type text,
    -- The model that answered, as the provider named it, and the one that was asked for.
    ADD COLUMN model text NOT NULL DEFAULT '',
    ADD COLUMN requested_model text,
    -- The tier that served it.
    ADD COLUMN service_tier text,
    -- Tokens that are part of `tokens_input` (read from a cache, written to one) and of `tokens_output` (reasoning).
    ADD COLUMN tokens_cache_read bigint NOT NULL DEFAULT 0 CHECK (tokens_cache_read >= 0),
    ADD COLUMN tokens_cache_write bigint NOT NULL DEFAULT 0 CHECK (tokens_cache_write >= 0),
    ADD COLUMN tokens_reasoning bigint NOT NULL DEFAULT 0 CHECK (tokens_reasoning >= 0),
    -- All that was counted, in buckets that do not overlap.
    ADD COLUMN usage jsonb NOT NULL DEFAULT '{}',
    -- Where the counts are from: the provider said so; we counted because it did not; the call was never seen to end; there was nothing to count.
    ADD COLUMN usage_source text NOT NULL DEFAULT 'reported' CHECK (usage_source IN ('reported', 'estimated', 'unsettled', 'none')),
    -- Whether the reported counts contradict each other.
    ADD COLUMN usage_mismatch boolean NOT NULL DEFAULT false,
    -- Where the cost is from: a price list, the tenant's own price, the provider's answer; `unpriced` has none.
    ADD COLUMN cost_source text NOT NULL DEFAULT 'unpriced' CHECK (cost_source IN ('catalogue', 'override', 'provider', 'unpriced', 'free', 'adjustment')),
    -- The price it was computed with: its name, and the rates themselves, so that it can be computed again for good.
    ADD COLUMN price_version text,
    ADD COLUMN rates jsonb,
    -- What the same would have cost: on the dearest model of the catalogue, and on the dearest of the same class.
    ADD COLUMN list_baseline_usd numeric(24, 12),
    ADD COLUMN like_baseline_usd numeric(24, 12),
    -- Whether no model of the same class would have been cheaper.
    ADD COLUMN optimal boolean,
    ADD COLUMN time_to_first_token_ms integer CHECK (time_to_first_token_ms >= 0),
    ADD COLUMN streamed boolean NOT NULL DEFAULT false,
    -- How it ended: with its answer, because the client went, because the provider's answer was cut off, with an error, never seen.
    ADD COLUMN finish text NOT NULL DEFAULT 'complete' CHECK (finish IN ('complete', 'cancelled', 'cut', 'error', 'unsettled')),
    ADD COLUMN status_code smallint,
    ADD COLUMN provider_request_id text,
    -- What the caller calls it, for its own records.
    ADD COLUMN client_reference text,
    -- The hour of the tenant's clock in which it began, and the day.
    ADD COLUMN hour timestamptz NOT NULL DEFAULT date_trunc('hour', now(), 'UTC'),
    ADD COLUMN day date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT now();

-- Sums of an hour of the tenant's clock, made anew from the calls whenever one comes to it. Sums and counts; averages are derived.
-- tenantry: allow tenant-id-without-rls: the block below enables and forces it, for all tables of this file
CREATE TABLE analytics.hourly_metrics (
    tenant_id uuid NOT NULL,
    hour timestamptz NOT NULL,
    day date NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    operation text NOT NULL,
    agent_id uuid,
    api_key_id uuid,
    provider_account_id uuid,
    task_type text,
    total_calls bigint NOT NULL,
    -- First attempts.
    operations bigint NOT NULL,
    successful_calls bigint NOT NULL,
    -- Calls without a cost that no adjustment has priced either; can be below zero in the hour of an adjustment.
    unpriced_calls bigint NOT NULL,
    estimated_calls bigint NOT NULL,
    unsettled_calls bigint NOT NULL,
    cost_usd numeric(24, 12) NOT NULL,
    -- Parts of `cost_usd`.
    adjustments_usd numeric(24, 12) NOT NULL,
    failed_cost_usd numeric(24, 12) NOT NULL,
    estimated_cost_usd numeric(24, 12) NOT NULL,
    -- What the calls with a baseline cost, and their baselines.
    covered_calls bigint NOT NULL,
    covered_cost_usd numeric(24, 12) NOT NULL,
    list_baseline_usd numeric(24, 12) NOT NULL,
    like_baseline_usd numeric(24, 12) NOT NULL,
    optimal_calls bigint NOT NULL,
    tokens_input bigint NOT NULL,
    tokens_output bigint NOT NULL,
    tokens_cache_read bigint NOT NULL,
    tokens_cache_write bigint NOT NULL,
    tokens_reasoning bigint NOT NULL,
    latency_ms bigint NOT NULL,
    -- Calls by latency, in the buckets of analytics.latency_bounds().
    latency_histogram bigint[] NOT NULL,
    first_token_ms bigint NOT NULL,
    first_token_calls bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (tenant_id, hour, day, provider, model, operation, agent_id, api_key_id, provider_account_id, task_type)
) PARTITION BY RANGE (hour);
CREATE INDEX hourly_metrics_tenant_day ON analytics.hourly_metrics (tenant_id, day);

-- The upper bounds of the buckets of latency histograms, in milliseconds; one bucket more is for everything above.
CREATE FUNCTION analytics.latency_bounds() RETURNS integer[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 1500, 2000, 3000, 4000, 5000, 7500, 10000,
                 15000, 20000, 30000, 45000, 60000, 90000, 120000, 180000, 300000, 600000];

-- Hours whose sums are older than their calls. Written with the calls, removed with the sums.
-- tenantry: allow tenant-id-without-rls: the block below enables and forces it, for all tables of this file
CREATE TABLE analytics.dirty_hours (
    tenant_id uuid NOT NULL,
    hour timestamptz NOT NULL,
    day date NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, hour, day)
);
CREATE INDEX dirty_hours_age ON analytics.dirty_hours (marked_at);

-- When the sums of a day, or of an hour of it, were made last. Who makes them holds the day's row, so that one does at a time.
-- tenantry: allow tenant-id-without-rls: the block below enables and forces it, for all tables of this file
CREATE TABLE analytics.rolled_days (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    rolled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, day)
);

-- What a tenant, an agent or a key has spent on a day: written with the calls, and what budgets are compared with.
-- tenantry: allow tenant-id-without-rls: the block below enables and forces it, for all tables of this file
CREATE TABLE analytics.spend_counters (
    tenant_id uuid NOT NULL,
    scope text NOT NULL CHECK (scope IN ('tenant', 'agent', 'key')),
    -- The agent or the key; the tenant's own id for the tenant.
    scope_id uuid NOT NULL,
    day date NOT NULL,
    cost_usd numeric(24, 12) NOT NULL DEFAULT 0,
    calls bigint NOT NULL DEFAULT 0,
    unpriced_calls bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, scope, scope_id, day)
);

-- How each finished task ended. It outlives the task.
-- tenantry: allow tenant-id-without-rls: the block below enables and forces it, for all tables of this file
CREATE TABLE analytics.task_outcomes (
    tenant_id uuid NOT NULL DEFAULT tenantry.current_tenant(),
    task_id uuid NOT NULL,
    agent_id uuid,
    provider text,
    status text NOT NULL CHECK (status IN ('completed', 'failed', 'cancelled')),
    finished_at timestamptz NOT NULL DEFAULT now(),
    -- Whether the next two say how it ended last. A task that ends again stays counted where it was until it is counted anew.
    counted boolean NOT NULL DEFAULT false,
    -- The day in the sums of which it is; NULL until it is in one.
    counted_day date,
    -- The provider there: the task's, or that of most of its calls, or `none`.
    counted_provider text,
    PRIMARY KEY (tenant_id, task_id)
);
CREATE INDEX task_outcomes_uncounted ON analytics.task_outcomes (tenant_id) WHERE NOT counted;
CREATE INDEX task_outcomes_counted ON analytics.task_outcomes (tenant_id, counted_day);
CREATE INDEX task_outcomes_finished ON analytics.task_outcomes (tenant_id, finished_at);

-- For a trigger of each tenant's tasks: runs as the tenant's role.
CREATE FUNCTION analytics.note_task_outcome() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN
        INSERT INTO analytics.task_outcomes AS o (task_id, agent_id, provider, status)
            VALUES (NEW.id, NEW.agent_id, NEW.provider, NEW.status)
            ON CONFLICT (tenant_id, task_id) DO UPDATE
            SET agent_id = excluded.agent_id, provider = excluded.provider, status = excluded.status, finished_at = now(), counted = false;
        RETURN NULL;
    END $$;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['hourly_metrics', 'dirty_hours', 'rolled_days', 'spend_counters', 'task_outcomes'] LOOP
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
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON analytics.%I TO tenantry_meter', t);
        EXECUTE format('GRANT SELECT ON analytics.%I TO tenantry_auditor', t);
    END LOOP;
END $$;
GRANT SELECT ON analytics.hourly_metrics, analytics.dirty_hours, analytics.rolled_days, analytics.spend_counters TO tenantry_tenant;
GRANT SELECT, INSERT, UPDATE ON analytics.task_outcomes TO tenantry_tenant;
-- Whose day it is, and what the operators' reports are by.
GRANT SELECT (id, slug, status, plan_tier, time_zone) ON public.tenants TO tenantry_meter;
GRANT SELECT ON public.plans TO tenantry_meter;

-- Removes everything of a tenant that is being purged, whatever tables there are; its owner's policies let it see no other tenant.
CREATE FUNCTION analytics.forget(tenant uuid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        t regclass;
    BEGIN
        FOR t IN SELECT c.oid FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
                 WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname
        LOOP
            EXECUTE format('DELETE FROM %s WHERE tenant_id = $1', t) USING tenant;
        END LOOP;
    END $$;
REVOKE EXECUTE ON FUNCTION analytics.forget(uuid) FROM PUBLIC;

-- Makes the partitions from `behind` months ago to `ahead` months from now. Repeatable.
CREATE FUNCTION analytics.ensure_partitions(behind integer, ahead integer) RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        parent text;
        first_day date;
        child text;
        made integer := 0;
        this_month date := date_trunc('month', now() AT TIME ZONE 'UTC');
    BEGIN
        FOREACH parent IN ARRAY ARRAY['provider_api_calls', 'hourly_metrics', 'daily_metrics'] LOOP
            FOR first_day IN
                SELECT generate_series(this_month - make_interval(months => behind), this_month + make_interval(months => ahead),
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
REVOKE EXECUTE ON FUNCTION analytics.ensure_partitions(integer, integer) FROM PUBLIC;
CREATE OR REPLACE FUNCTION analytics.ensure_partitions(ahead integer) RETURNS integer
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS 'SELECT analytics.ensure_partitions(4, ahead)';
SELECT analytics.ensure_partitions(4, 3);
REVOKE EXECUTE ON FUNCTION analytics.note_task_outcome(), analytics.latency_bounds() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION analytics.latency_bounds() TO tenantry_meter, tenantry_tenant, tenantry_auditor;
GRANT EXECUTE ON FUNCTION analytics.note_task_outcome() TO tenantry_tenant;
