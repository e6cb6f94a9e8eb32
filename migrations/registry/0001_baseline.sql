-- The registry: who the tenants are, where they live, who may act for them, and what was done.
-- Run as role tenantry_owner in database and schema `public`, `tenantry`, `audit`, `analytics`.

CREATE SCHEMA tenantry;
CREATE SCHEMA audit;

-- The tenant of the current role, or NULL. Row level security compares with it. It reads the role's
-- name and not a setting, because injected SQL can change a setting. Roles named so are made by the
-- provisioning code only. The body is bound to functions and operators here, so no search path of a caller matters.
CREATE FUNCTION tenantry.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN current_user::text COLLATE "C" ~ '^tnt_[0-9a-f]{32}$'
                THEN substr(current_user::text, 5)::uuid END;

CREATE FUNCTION tenantry.touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;

-- Each installation has an id of its own, so that two databases of one server never share a cell login.
CREATE TABLE public.installation (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id text NOT NULL DEFAULT substr(md5(gen_random_uuid()::text), 1, 8) CHECK (id ~ '^[0-9a-f]{8}$'),
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO public.installation DEFAULT VALUES;

CREATE TABLE public.schema_migrations (
    scope text NOT NULL CHECK (scope IN ('registry', 'tenant', 'analytics')),
    version integer NOT NULL,
    name text NOT NULL,
    checksum bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, version)
);

-- NULL is unlimited. The enterprise tier is per contract: limits stand on the tenant.
CREATE TABLE public.plans (
    tier varchar(20) PRIMARY KEY,
    requests_per_minute integer CHECK (requests_per_minute > 0),
    max_agents integer CHECK (max_agents >= 0),
    max_concurrent_tasks integer CHECK (max_concurrent_tasks >= 0),
    max_tasks_per_month integer CHECK (max_tasks_per_month >= 0),
    storage_limit_gb integer CHECK (storage_limit_gb >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO public.plans (tier, requests_per_minute, max_agents, max_concurrent_tasks, storage_limit_gb) VALUES
    ('free', 100, 5, 10, 1),
    ('starter', 500, 20, 50, 10),
    ('growth', 2000, 100, 200, 50),
    ('enterprise', NULL, NULL, NULL, NULL);

CREATE TABLE public.tenants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug varchar(63) UNIQUE NOT NULL,
    schema_name varchar(63) UNIQUE NOT NULL,
    status varchar(20) NOT NULL DEFAULT 'active',
    plan_tier varchar(20) NOT NULL DEFAULT 'free' REFERENCES public.plans (tier),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    allowed_domains text[],
    -- Kept for the approved design; keys live in public.tenant_api_keys and this stays NULL.
    api_key_hash text,
    max_agents integer,
    max_tasks_per_month integer,
    storage_limit_gb integer,
    stripe_customer_id varchar(255),
    stripe_subscription_id varchar(255),
    admin_email varchar(255) NOT NULL,
    CONSTRAINT valid_slug CHECK (slug ~ '^[a-z0-9-]+$'),
    CONSTRAINT valid_schema_name CHECK (schema_name ~ '^tenant_[a-z0-9_]+$'),
    CONSTRAINT valid_status CHECK (status IN ('active', 'suspended', 'deleted')),
    CONSTRAINT deleted_has_time CHECK ((status = 'deleted') = (deleted_at IS NOT NULL))
);
-- idx_tenants_slug of the design is left out: the UNIQUE constraint on slug is that index.
CREATE INDEX idx_tenants_status ON public.tenants (status) WHERE status = 'active';
CREATE INDEX idx_tenants_stripe ON public.tenants (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE TRIGGER tenants_updated_at BEFORE UPDATE ON public.tenants
    FOR EACH ROW EXECUTE FUNCTION tenantry.touch_updated_at();
CREATE TRIGGER plans_updated_at BEFORE UPDATE ON public.plans
    FOR EACH ROW EXECUTE FUNCTION tenantry.touch_updated_at();

-- One host, one tenant: an array cannot promise that, so a trigger spreads it into a keyed table.
CREATE TABLE public.tenant_domains (
    domain text PRIMARY KEY CHECK (domain = lower(domain) AND domain ~ '^[a-z0-9.-]{1,253}$'),
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE
);
CREATE INDEX tenant_domains_tenant ON public.tenant_domains (tenant_id);
CREATE FUNCTION tenantry.spread_domains() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN
        DELETE FROM public.tenant_domains WHERE tenant_id = NEW.id AND domain <> ALL (coalesce(NEW.allowed_domains, '{}'));
        INSERT INTO public.tenant_domains (domain, tenant_id)
            SELECT DISTINCT d, NEW.id FROM unnest(NEW.allowed_domains) AS d
            WHERE NOT EXISTS (SELECT 1 FROM public.tenant_domains t WHERE t.domain = d AND t.tenant_id = NEW.id);
        RETURN NULL;
    END $$;
CREATE TRIGGER tenants_domains AFTER INSERT OR UPDATE OF allowed_domains ON public.tenants
    FOR EACH ROW EXECUTE FUNCTION tenantry.spread_domains();

-- A cell: tenants that share one login role and a small pool. A dedicated cell has one tenant.
CREATE TABLE public.cells (
    id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    shard text NOT NULL DEFAULT 'main',
    login_role text NOT NULL UNIQUE,
    capacity integer NOT NULL CHECK (capacity > 0),
    tenants integer NOT NULL DEFAULT 0 CHECK (tenants >= 0),
    dedicated boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX cells_with_room ON public.cells (id) WHERE NOT dedicated AND tenants < capacity;

CREATE TABLE public.tenant_placements (
    tenant_id uuid PRIMARY KEY REFERENCES public.tenants (id) ON DELETE CASCADE,
    cell_id integer NOT NULL REFERENCES public.cells (id),
    generation bigint NOT NULL DEFAULT 1,
    schema_version integer NOT NULL,
    -- NULL is the server's default.
    statement_timeout_ms integer CHECK (statement_timeout_ms > 0),
    lock_timeout_ms integer CHECK (lock_timeout_ms > 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tenant_placements_cell ON public.tenant_placements (cell_id);
CREATE TRIGGER placements_updated_at BEFORE UPDATE ON public.tenant_placements
    FOR EACH ROW EXECUTE FUNCTION tenantry.touch_updated_at();

CREATE TABLE public.tenant_api_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    lookup text NOT NULL UNIQUE,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    scopes text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX tenant_api_keys_tenant ON public.tenant_api_keys (tenant_id);

CREATE TABLE public.operator_tokens (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    lookup text NOT NULL UNIQUE,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

-- Every change of what a server caches is told to all servers in the transaction that makes it.
CREATE FUNCTION tenantry.announce() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE row_data jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
    BEGIN
        PERFORM pg_notify('tenantry_registry', TG_ARGV[0] || ':' || coalesce(row_data ->> TG_ARGV[1], ''));
        RETURN NULL;
    END $$;
CREATE TRIGGER tenants_announce AFTER INSERT OR UPDATE OR DELETE ON public.tenants
    FOR EACH ROW EXECUTE FUNCTION tenantry.announce('tenant', 'id');
CREATE TRIGGER placements_announce AFTER UPDATE OR DELETE ON public.tenant_placements
    FOR EACH ROW EXECUTE FUNCTION tenantry.announce('tenant', 'tenant_id');
CREATE TRIGGER plans_announce AFTER UPDATE ON public.plans
    FOR EACH ROW EXECUTE FUNCTION tenantry.announce('plan', 'tier');
CREATE TRIGGER keys_announce AFTER UPDATE OR DELETE ON public.tenant_api_keys
    FOR EACH ROW EXECUTE FUNCTION tenantry.announce('key', 'lookup');
CREATE TRIGGER operators_announce AFTER UPDATE OR DELETE ON public.operator_tokens
    FOR EACH ROW EXECUTE FUNCTION tenantry.announce('operator', 'lookup');

-- Who did what to which tenant. A tenant's role may append rows of its own tenant, in the
-- transaction of the change they tell of; nobody may change or remove one.
CREATE TABLE audit.events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id uuid DEFAULT tenantry.current_tenant(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_kind text NOT NULL CHECK (actor_kind IN ('api_key', 'token', 'operator', 'cli', 'system', 'anonymous')),
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    request_id text,
    client_ip text,
    details jsonb NOT NULL DEFAULT '{}'
);
-- Read newest first, which is by id: the order of insertion.
CREATE INDEX audit_events_tenant ON audit.events (tenant_id, id);
ALTER TABLE audit.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit.events FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON audit.events FOR INSERT
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY control_plane ON audit.events FOR ALL TO tenantry_control, tenantry_owner, tenantry_auditor
    USING (true) WITH CHECK (true);
CREATE FUNCTION audit.refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN
        RAISE EXCEPTION 'audit events are append-only' USING ERRCODE = 'insufficient_privilege';
    END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit.events
    FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit.events
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();

GRANT SELECT ON public.installation, public.schema_migrations, public.plans, public.cells,
    public.tenant_placements, public.tenant_domains TO tenantry_control, tenantry_auditor;
GRANT SELECT ON public.tenants TO tenantry_auditor;
GRANT SELECT, INSERT, UPDATE ON public.tenants, public.tenant_api_keys, public.operator_tokens TO tenantry_control;
-- A placement's place is changed by a move only; its time limits are settings like those of the tenant.
GRANT UPDATE (statement_timeout_ms, lock_timeout_ms) ON public.tenant_placements TO tenantry_control;
-- The trigger that spreads domains runs with the rights of whoever changes the tenant.
GRANT INSERT, DELETE ON public.tenant_domains TO tenantry_control;
GRANT USAGE ON SCHEMA audit TO tenantry_control, tenantry_auditor;
GRANT SELECT, INSERT ON audit.events TO tenantry_control;
GRANT SELECT ON audit.events TO tenantry_auditor;
GRANT USAGE ON SCHEMA tenantry TO tenantry_control, tenantry_auditor, tenantry_meter;

-- What every tenant's role may do outside its schema, granted once to a group: grants to each role
-- would make these objects' access lists as long as the fleet.
GRANT USAGE ON SCHEMA tenantry, audit TO tenantry_tenant;
GRANT INSERT ON audit.events TO tenantry_tenant;

-- PUBLIC may call every new function. Of ours, row level security calls one as whoever asks; triggers need no such right.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA tenantry, audit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.current_tenant() TO tenantry_tenant, tenantry_control, tenantry_meter, tenantry_auditor;
