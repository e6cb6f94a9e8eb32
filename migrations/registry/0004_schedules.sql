-- What a tenant decides about itself, and when the platform has to do something for it without being asked.
-- Run as role tenantry_owner.

ALTER TABLE public.tenants
    -- A name of the IANA database. Days and months of the tenant begin at midnight there.
    ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC',
    -- ISO 4217. Amounts are shown in it; they are stored in what they were spent in.
    ADD COLUMN display_currency text NOT NULL DEFAULT 'USD',
    -- Grows by one whenever the tenant changes one of these.
    ADD COLUMN settings_version bigint NOT NULL DEFAULT 1;

-- The next time at which something is due for a tenant, by kind of work, so that a server finds the few tenants that are due
-- without looking into every schema. A tenant's own transactions keep its row true, together with what makes it due: the
-- tenant is the role's, not a parameter. An alarm that rings early costs a look; one that rings late must not happen.
CREATE TABLE tenantry.alarms (
    tenant_id uuid NOT NULL DEFAULT tenantry.current_tenant() REFERENCES public.tenants (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind ~ '^[a-z_]{1,40}$'),
    due_at timestamptz NOT NULL,
    -- A server is at it until then. Not a lock: it only keeps servers from doing the same twice and one after the other.
    leased_until timestamptz,
    -- When the tenant was served again after a suspension, until the work that it missed was put aside.
    resumed_at timestamptz,
    PRIMARY KEY (tenant_id, kind)
);
CREATE INDEX alarms_due ON tenantry.alarms (kind, due_at);
ALTER TABLE tenantry.alarms ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.alarms FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON tenantry.alarms FOR ALL
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY control_plane ON tenantry.alarms FOR ALL TO tenantry_control, tenantry_owner, tenantry_auditor
    USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.alarms TO tenantry_tenant;
GRANT SELECT, UPDATE ON tenantry.alarms TO tenantry_control;
GRANT SELECT ON tenantry.alarms TO tenantry_auditor;

CREATE FUNCTION tenantry.note_resumption() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN
        UPDATE tenantry.alarms SET resumed_at = clock_timestamp(), leased_until = NULL WHERE tenant_id = NEW.id;
        RETURN NULL;
    END $$;
CREATE TRIGGER tenants_resumed AFTER UPDATE OF status ON public.tenants
    FOR EACH ROW WHEN (NEW.status = 'active' AND OLD.status <> 'active') EXECUTE FUNCTION tenantry.note_resumption();
REVOKE EXECUTE ON FUNCTION tenantry.note_resumption() FROM PUBLIC;
