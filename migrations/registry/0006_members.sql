-- Who may act for a tenant, what operators may do, and answers that are given once.
-- Run as role tenantry_owner in `public`, `tenantry`.

-- A tenant's people. `subject` is what the identity provider calls them (`sub` of a token).
CREATE TABLE public.tenant_members (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    email text CHECK (length(email) BETWEEN 3 AND 255),
    role text NOT NULL CHECK (role IN ('viewer', 'member', 'admin', 'owner')),
    version bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- Also the way to a token's member, and to a tenant's list.
    CONSTRAINT tenant_members_subject UNIQUE (tenant_id, subject)
);
CREATE TRIGGER members_updated_at BEFORE UPDATE ON public.tenant_members
    FOR EACH ROW EXECUTE FUNCTION tenantry.touch_updated_at();

-- A member is remembered by tenant and subject, and so is that a subject is none: an insertion is told as well.
CREATE FUNCTION tenantry.announce_member() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE member jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
    BEGIN
        PERFORM pg_notify('tenantry_registry', concat_ws(':', 'member', member ->> 'tenant_id', member ->> 'subject'));
        RETURN NULL;
    END $$;
CREATE TRIGGER members_announce AFTER INSERT OR UPDATE OR DELETE ON public.tenant_members
    FOR EACH ROW EXECUTE FUNCTION tenantry.announce_member();
GRANT SELECT, INSERT, UPDATE, DELETE ON public.tenant_members TO tenantry_control;

-- What a token may do. Those made before there were roles may do everything, as they did.
ALTER TABLE public.operator_tokens ADD COLUMN role text NOT NULL DEFAULT 'admin'
    CONSTRAINT operator_tokens_role CHECK (role IN ('viewer', 'support', 'admin'));

GRANT INSERT, UPDATE, DELETE ON public.plans TO tenantry_control;

-- The answers to requests that carried an `Idempotency-Key` and changed the registry: written by the transaction of the
-- change, so that it is made once. The key itself is not here, only its hash, and no answer holds a secret in clear:
-- a token that was made for such a request is derived from the key, the installation's secret and the record's id.
CREATE TABLE public.idempotent_requests (
    -- Who asked: the tenant and its principal, or the operator.
    caller text NOT NULL CHECK (length(caller) BETWEEN 1 AND 600),
    key_hash bytea NOT NULL CHECK (length(key_hash) = 32),
    -- Method, path and body.
    request_hash bytea NOT NULL CHECK (length(request_hash) = 32),
    -- NULL only while the transaction of the change is not done, where nobody else sees it.
    answer jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key_hash)
);
CREATE INDEX idempotent_requests_age ON public.idempotent_requests (created_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON public.idempotent_requests TO tenantry_control;

REVOKE EXECUTE ON FUNCTION tenantry.announce_member() FROM PUBLIC;
