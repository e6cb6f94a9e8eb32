-- Budgets: what a tenant, an agent or a key may spend in a period. Run as role tenantry_owner.
--
-- What is spent stands in analytics.spend_counters, written with the calls. A server that admits calls does not ask for each: it takes
-- a slice of what is left beforehand (a lease) and admits from that. For each hard budget and period holds, whenever a lease is made
-- or grows: spent + all leases <= limit. A lease becomes smaller in the transaction that ships the calls it was for.

-- tenantry: allow tenant-id-without-rls: the block below enables and forces it, for all tables of this file
CREATE TABLE analytics.budgets (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL DEFAULT tenantry.current_tenant(),
    name text NOT NULL,
    scope text NOT NULL CHECK (scope IN ('tenant', 'agent', 'key')),
    -- The agent or the key; the tenant's own id for the tenant, as in analytics.spend_counters.
    scope_id uuid NOT NULL,
    -- Of the tenant's clock; weeks begin on Monday.
    period text NOT NULL CHECK (period IN ('day', 'week', 'month')),
    limit_usd numeric(24, 12) NOT NULL CHECK (limit_usd > 0),
    -- Whether calls are refused when it is used up; otherwise it only warns.
    hard boolean NOT NULL DEFAULT true,
    -- Percent of the limit at which to warn.
    warn_at integer[] NOT NULL DEFAULT '{50,80,100}',
    webhook_url text,
    -- What the webhook is signed with, sealed for this row.
    webhook_secret bytea,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- A deleted budget stays as a row, so that every server learns of it.
    deleted_at timestamptz,
    -- The transaction that wrote the row last. A server that looks for changes asks for all transactions that were not over when it
    -- looked before, so it misses none, whatever the order in which they commit.
    changed_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CHECK ((webhook_url IS NULL) = (webhook_secret IS NULL))
);
CREATE UNIQUE INDEX budgets_name ON analytics.budgets (tenant_id, name) WHERE deleted_at IS NULL;
CREATE INDEX budgets_age ON analytics.budgets (tenant_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX budgets_changes ON analytics.budgets (changed_in);

-- What of a budget a server may spend without asking.
-- tenantry: allow tenant-id-without-rls: the block below enables and forces it, for all tables of this file
CREATE TABLE analytics.budget_leases (
    budget_id uuid NOT NULL REFERENCES analytics.budgets ON DELETE CASCADE,
    tenant_id uuid NOT NULL,
    server_id uuid NOT NULL,
    -- The first day of the period.
    period_start date NOT NULL,
    -- Below zero when what was shipped cost more than was held for it; it counts as nothing then.
    amount_usd numeric(24, 12) NOT NULL,
    -- Afterwards it counts no more: the server is taken for dead.
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (budget_id, period_start, server_id)
);
CREATE INDEX budget_leases_server ON analytics.budget_leases (server_id);
CREATE INDEX budget_leases_expiry ON analytics.budget_leases (expires_at);

-- What has to be told of budgets. One row for each thing that is told once, so that it is, by however many servers it is noticed.
-- tenantry: allow tenant-id-without-rls: the block below enables and forces it, for all tables of this file
CREATE TABLE analytics.budget_notices (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    budget_id uuid NOT NULL REFERENCES analytics.budgets ON DELETE CASCADE,
    period_start date NOT NULL,
    -- `threshold`: so many percent are spent. `refused`: a call was refused.
    kind text NOT NULL CHECK (kind IN ('threshold', 'refused')),
    -- Percent; 0 for a refusal.
    threshold integer NOT NULL,
    spent_usd numeric(24, 12) NOT NULL,
    limit_usd numeric(24, 12) NOT NULL,
    noticed_at timestamptz NOT NULL,
    -- When the tenant's event was written.
    published_at timestamptz,
    -- When the webhook's receiver took it.
    delivered_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    -- NULL: nothing is left to do.
    next_attempt_at timestamptz,
    last_error text,
    UNIQUE (budget_id, period_start, kind, threshold)
);
CREATE INDEX budget_notices_due ON analytics.budget_notices (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['budgets', 'budget_leases', 'budget_notices'] LOOP
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
-- An auditor sees no secret, sealed or not.
REVOKE SELECT ON analytics.budgets FROM tenantry_auditor;
GRANT SELECT (id, tenant_id, name, scope, scope_id, period, limit_usd, hard, warn_at, version, created_at, updated_at, deleted_at)
    ON analytics.budgets TO tenantry_auditor;
GRANT SELECT, INSERT, UPDATE ON analytics.budgets TO tenantry_tenant;
-- The event and the mark that it was written are one transaction, which is the tenant's.
GRANT SELECT, UPDATE ON analytics.budget_notices TO tenantry_tenant;
