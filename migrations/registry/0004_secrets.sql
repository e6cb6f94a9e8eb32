-- The keys that tenants' secrets are sealed with.
-- Run as role tenantry_owner.

-- A data key of a tenant, wrapped by a master key that the database never sees. The row goes with its tenant, and with it
-- goes the only way to read what was sealed with it. Older versions stay, for rows that were sealed with them.
CREATE TABLE public.tenant_data_keys (
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    version integer NOT NULL CHECK (version > 0),
    wrapped_key bytea NOT NULL CHECK (octet_length(wrapped_key) BETWEEN 32 AND 4096),
    master_key_id text NOT NULL CHECK (char_length(master_key_id) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    PRIMARY KEY (tenant_id, version)
);
-- One key of a tenant seals; whoever comes second finds it taken.
CREATE UNIQUE INDEX tenant_data_keys_current ON public.tenant_data_keys (tenant_id) WHERE retired_at IS NULL;
-- What a rotation of the master key has still to do.
CREATE INDEX tenant_data_keys_master ON public.tenant_data_keys (master_key_id);

GRANT SELECT, INSERT ON public.tenant_data_keys TO tenantry_control;
GRANT UPDATE (wrapped_key, master_key_id, retired_at) ON public.tenant_data_keys TO tenantry_control;

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
