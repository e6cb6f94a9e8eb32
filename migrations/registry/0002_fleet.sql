-- The fleet's migrations: which tenants go first, what was run by whom, and what it did to each tenant.
-- Run as role tenantry_owner.

-- Tenants that are migrated before all others, and whose failure stops a run: a staging tenant, a friendly customer.
ALTER TABLE public.tenant_placements ADD COLUMN canary boolean NOT NULL DEFAULT false;
GRANT UPDATE (canary) ON public.tenant_placements TO tenantry_control;

CREATE TABLE public.migration_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope text NOT NULL DEFAULT 'tenant' CHECK (scope IN ('registry', 'analytics', 'tenant')),
    direction text NOT NULL CHECK (direction IN ('up', 'down')),
    target integer NOT NULL CHECK (target >= 0),
    actor_kind text NOT NULL,
    actor text NOT NULL,
    settings jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    -- `killed` is written by the next run, about one that ended without a word.
    outcome text CHECK (outcome IN ('done', 'failed', 'stopped', 'interrupted', 'killed')),
    reason text,
    migrated integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    skipped integer NOT NULL DEFAULT 0,
    CONSTRAINT ended_has_outcome CHECK ((ended_at IS NULL) = (outcome IS NULL))
);

-- A row for each step on each tenant. `done` is written by the transaction that made the step, so it cannot lie. Rows
-- outlive their tenant, so nothing is referenced. The registry's and the analytics' own steps have no tenant.
CREATE TABLE public.migration_ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint,
    scope text NOT NULL DEFAULT 'tenant' CHECK (scope IN ('registry', 'analytics', 'tenant')),
    tenant_id uuid,
    version integer NOT NULL,
    direction text NOT NULL CHECK (direction IN ('up', 'down')),
    -- `running` is written for steps outside a transaction only: the others are not seen before they are done.
    state text NOT NULL CHECK (state IN ('running', 'done', 'failed', 'skipped')),
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    duration_ms double precision,
    attempts integer NOT NULL DEFAULT 1,
    sqlstate text,
    error text,
    checksum bytea,
    CONSTRAINT running_is_open CHECK ((state = 'running') = (finished_at IS NULL))
);
CREATE INDEX migration_ledger_run ON public.migration_ledger (run_id, id);
CREATE INDEX migration_ledger_tenant ON public.migration_ledger (tenant_id, id) WHERE tenant_id IS NOT NULL;
CREATE INDEX migration_ledger_unfinished ON public.migration_ledger (state, run_id) WHERE state IN ('running', 'failed');

-- The first statement of a step on a tenant. It holds the placement until the end of the transaction and refuses unless the tenant
-- is where the runner believes, so that no step is made twice or on the wrong schema, whoever else runs.
CREATE FUNCTION tenantry.begin_migration(p_tenant uuid, p_version integer, p_generation bigint, p_schema text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE held record;
    BEGIN
        SELECT p.schema_version, p.generation, t.schema_name INTO held
            FROM public.tenants t JOIN public.tenant_placements p ON p.tenant_id = t.id
            WHERE t.id = p_tenant FOR KEY SHARE OF t FOR NO KEY UPDATE OF p;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the tenant was purged' USING ERRCODE = 'TY002';
        ELSIF held.generation <> p_generation OR held.schema_name <> p_schema THEN
            RAISE EXCEPTION 'the tenant was moved' USING ERRCODE = 'TY003';
        ELSIF held.schema_version <> p_version THEN
            RAISE EXCEPTION 'the tenant is at version %, not %', held.schema_version, p_version USING ERRCODE = 'TY001';
        END IF;
        PERFORM set_config('tenantry.step', clock_timestamp()::text, true);
    END $$;

-- The last statement of a step: version and ledger change with the schema or not at all.
CREATE FUNCTION tenantry.finish_migration(p_run bigint, p_tenant uuid, p_direction text, p_version integer,
    p_result integer, p_attempts integer, p_checksum bytea) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        begun timestamptz := nullif(current_setting('tenantry.step', true), '')::timestamptz;
        ended timestamptz := clock_timestamp();
    BEGIN
        -- The setting is the transaction's: a COMMIT among the migration's statements has taken it away.
        IF begun IS NULL THEN
            RAISE EXCEPTION 'the migration ends its transaction itself' USING ERRCODE = 'TY004';
        END IF;
        UPDATE public.tenant_placements SET schema_version = p_result WHERE tenant_id = p_tenant;
        INSERT INTO public.migration_ledger
            (run_id, tenant_id, version, direction, state, started_at, finished_at, duration_ms, attempts, checksum)
            VALUES (p_run, p_tenant, p_version, p_direction, 'done', begun, ended,
                    extract(epoch FROM ended - begun) * 1000, p_attempts, p_checksum);
        PERFORM set_config('tenantry.step', ended::text, true);
    END $$;

GRANT SELECT ON public.migration_runs, public.migration_ledger TO tenantry_control, tenantry_auditor;
REVOKE EXECUTE ON FUNCTION tenantry.begin_migration(uuid, integer, bigint, text),
    tenantry.finish_migration(bigint, uuid, text, integer, integer, integer, bytea) FROM PUBLIC;
