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
