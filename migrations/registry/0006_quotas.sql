-- What tenants use of their limits: measured in the background, so that the fleet's use is one query. Run as role tenantry_owner.

-- NULL: the tenant's limit alone.
ALTER TABLE public.tenant_api_keys ADD COLUMN requests_per_minute integer CHECK (requests_per_minute > 0);

-- As of `measured_at`. The exact counters are in each tenant's own schema, where they change with what they count.
CREATE TABLE public.tenant_usage (
    tenant_id uuid PRIMARY KEY REFERENCES public.tenants (id) ON DELETE CASCADE,
    storage_bytes bigint NOT NULL CHECK (storage_bytes >= 0),
    -- What the domain counts, by quota type.
    counters jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(counters) = 'object'),
    -- The highest threshold in percent that was warned of, by quota type.
    warned jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(warned) = 'object'),
    -- Whether its writes are refused for want of storage, as of the measurement; see tenantry.storage_frozen.
    frozen boolean NOT NULL DEFAULT false,
    measured_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tenant_usage_age ON public.tenant_usage (measured_at);

-- Frozen from the limit on, thawed below 95 % of it, and between the two as it was: so that it does not flutter. A server asks
-- with the present limit whenever it reads a tenant, and so a new limit counts at once and not with the next measurement.
CREATE FUNCTION tenantry.storage_frozen(bytes bigint, limit_gb integer, was boolean) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN limit_gb IS NULL OR bytes IS NULL THEN false
        WHEN bytes >= limit_gb::bigint * 1073741824 THEN true
        WHEN bytes < limit_gb::bigint * 1020054733 THEN false
        ELSE coalesce(was, false)
    END;

-- Servers hear of a freeze and of its end; of each measurement they need not.
CREATE TRIGGER usage_announce_first AFTER INSERT ON public.tenant_usage
    FOR EACH ROW WHEN (NEW.frozen) EXECUTE FUNCTION tenantry.announce('tenant', 'tenant_id');
CREATE TRIGGER usage_announce AFTER UPDATE ON public.tenant_usage
    FOR EACH ROW WHEN (OLD.frozen <> NEW.frozen) EXECUTE FUNCTION tenantry.announce('tenant', 'tenant_id');

GRANT SELECT ON public.tenant_usage TO tenantry_control, tenantry_auditor;
GRANT EXECUTE ON FUNCTION tenantry.storage_frozen TO tenantry_control;
REVOKE EXECUTE ON FUNCTION tenantry.storage_frozen FROM PUBLIC;
