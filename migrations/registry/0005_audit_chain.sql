-- The audit trail in chains: one of each tenant, one of what concerns no tenant. An event holds the hash of the event before it, so
-- none can be changed, removed, added or moved without every later hash being another. Run as role tenantry_owner in `audit`.

-- The last event of each chain. A chain outlives its tenant, as its events do.
CREATE TABLE audit.chains (
    -- The tenant's id, or the nil UUID.
    chain uuid PRIMARY KEY,
    seq bigint NOT NULL CHECK (seq >= 0),
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32)
) WITH (fillfactor = 50);

ALTER TABLE audit.events ADD COLUMN seq bigint, ADD COLUMN prev_hash bytea, ADD COLUMN hash bytea;

-- A value as a netstring: its length in bytes, `:`, the value, `,`. NULL is `-,`. No two lists of values give the same text.
CREATE FUNCTION audit.field(value text) RETURNS text
    LANGUAGE sql STABLE
    RETURN coalesce(octet_length(convert_to(value, 'UTF8')) || ':' || value, '-') || ',';

-- The hash of an event as the one with this number after the one with that hash. `crates/tenantry-postgres/src/audit/hash.rs` computes
-- the same; whatever an event gets beside these columns needs another version in the first field.
CREATE FUNCTION audit.event_hash(event audit.events, after bytea, number bigint) RETURNS bytea
    LANGUAGE sql STABLE
    RETURN sha256(convert_to(
        audit.field('tenantry-audit-1')
        || audit.field(encode(after, 'hex'))
        || audit.field(coalesce((event).tenant_id, '00000000-0000-0000-0000-000000000000')::text)
        || audit.field(number::text)
        || audit.field((event).id::text)
        || audit.field((extract(epoch FROM (event).at) * 1000000)::bigint::text)
        || audit.field((event).actor_kind)
        || audit.field((event).actor)
        || audit.field((event).action)
        || audit.field((event).target)
        || audit.field((event).request_id)
        || audit.field((event).client_ip)
        || audit.field((event).details::text), 'UTF8'));

-- Takes the chain's last place for a new event and holds it until the transaction ends, so that a chain's events are numbered in
-- the order in which they are committed. It runs as the owner: who writes an event cannot touch the chains.
CREATE FUNCTION audit.chain_event() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE of_chain uuid := coalesce(NEW.tenant_id, '00000000-0000-0000-0000-000000000000');
    BEGIN
        LOOP
            UPDATE audit.chains c
                SET seq = c.seq + 1, prev_hash = c.hash, hash = audit.event_hash(NEW, c.hash, c.seq + 1)
                WHERE c.chain = of_chain
                RETURNING c.seq, c.prev_hash, c.hash INTO NEW.seq, NEW.prev_hash, NEW.hash;
            IF FOUND THEN RETURN NEW; END IF;
            INSERT INTO audit.chains (chain, seq, prev_hash, hash)
                VALUES (of_chain, 0, '', decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
        END LOOP;
    END $$;

-- The events so far, in the order of their ids.
ALTER TABLE audit.events DISABLE TRIGGER append_only;
DO $$
    DECLARE event audit.events; last audit.chains;
    BEGIN
        FOR event IN SELECT * FROM audit.events ORDER BY coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'), id LOOP
            IF last.chain IS DISTINCT FROM coalesce(event.tenant_id, '00000000-0000-0000-0000-000000000000') THEN
                IF last.chain IS NOT NULL THEN INSERT INTO audit.chains SELECT last.*; END IF;
                last.chain := coalesce(event.tenant_id, '00000000-0000-0000-0000-000000000000');
                last.seq := 0;
                last.hash := decode(repeat('00', 32), 'hex');
            END IF;
            last.seq := last.seq + 1;
            last.prev_hash := last.hash;
            last.hash := audit.event_hash(event, last.prev_hash, last.seq);
            UPDATE audit.events e SET seq = last.seq, prev_hash = last.prev_hash, hash = last.hash WHERE e.id = event.id;
        END LOOP;
        IF last.chain IS NOT NULL THEN INSERT INTO audit.chains SELECT last.*; END IF;
    END $$;
ALTER TABLE audit.events ENABLE TRIGGER append_only;

-- tenantry: allow adding-not-nullable-field: the backfill above has the table locked and rewritten already, and nothing reads it while it runs
ALTER TABLE audit.events ALTER COLUMN seq SET NOT NULL, ALTER COLUMN prev_hash SET NOT NULL, ALTER COLUMN hash SET NOT NULL;
CREATE TRIGGER chained BEFORE INSERT ON audit.events FOR EACH ROW EXECUTE FUNCTION audit.chain_event();

-- Whose an event is, when it was, and its place in the chain is nobody's to say. The control plane says whose.
REVOKE INSERT ON audit.events FROM tenantry_tenant, tenantry_control;
GRANT INSERT (actor_kind, actor, action, target, request_id, client_ip, details) ON audit.events TO tenantry_tenant;
GRANT INSERT (tenant_id, actor_kind, actor, action, target, request_id, client_ip, details) ON audit.events TO tenantry_control;
GRANT SELECT ON audit.chains TO tenantry_control, tenantry_auditor;
REVOKE EXECUTE ON FUNCTION audit.field, audit.event_hash, audit.chain_event FROM PUBLIC;
