-- Shipping: what serialises it. Run as role tenantry_owner.

-- When a tenant's calls came last. Whoever books calls of a tenant takes its row first, by tenant: so shipments of several servers
-- do not wait for each other in a circle, and what one looks for before it books cannot come between.
CREATE TABLE analytics.arrivals (
    tenant_id uuid PRIMARY KEY,
    last_at timestamptz NOT NULL
);
ALTER TABLE analytics.arrivals ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics.arrivals FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON analytics.arrivals
    USING (tenant_id = (SELECT tenantry.current_tenant())) WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY purge_sees ON analytics.arrivals FOR SELECT TO tenantry_owner
    USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));
CREATE POLICY purge ON analytics.arrivals FOR DELETE TO tenantry_owner
    USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));
CREATE POLICY metering ON analytics.arrivals TO tenantry_meter USING (true) WITH CHECK (true);
CREATE POLICY audited_read ON analytics.arrivals FOR SELECT TO tenantry_auditor USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON analytics.arrivals TO tenantry_meter;
GRANT SELECT ON analytics.arrivals TO tenantry_auditor, tenantry_tenant;
