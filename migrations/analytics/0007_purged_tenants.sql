-- Tenants that were purged: their calls may still lie on some server's disk, and must not come back. Run as role tenantry_owner.

-- An id says nothing about whose it was. The column is not called after the tenant, or the purge would remove the row with all others.
CREATE TABLE analytics.purged_tenants (
    id uuid PRIMARY KEY,
    purged_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON analytics.purged_tenants TO tenantry_meter;

-- The purge takes the row that whoever books the tenant's calls has to take: what is being booked is waited for and then removed, and
-- what comes later waits for the purge and then finds it noted.
CREATE POLICY purge_takes ON analytics.arrivals FOR INSERT TO tenantry_owner
    WITH CHECK (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));
CREATE POLICY purge_holds ON analytics.arrivals FOR UPDATE TO tenantry_owner
    USING (tenant_id IN (SELECT id FROM public.tenants WHERE status = 'deleted'));

CREATE OR REPLACE FUNCTION analytics.forget(tenant uuid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        t regclass;
    BEGIN
        INSERT INTO analytics.purged_tenants (id) VALUES (tenant) ON CONFLICT DO NOTHING;
        INSERT INTO analytics.arrivals AS a (tenant_id, last_at) VALUES (tenant, now())
            ON CONFLICT (tenant_id) DO UPDATE SET last_at = a.last_at;
        -- Sums that are being made of its hours are waited for, and none is begun until this has ended.
        LOCK TABLE analytics.rolled_days IN EXCLUSIVE MODE;
        FOR t IN SELECT c.oid FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
                 WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname
        LOOP
            EXECUTE format('DELETE FROM %s WHERE tenant_id = $1', t) USING tenant;
        END LOOP;
    END $$;
