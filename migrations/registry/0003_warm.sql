-- Creating tenants: schemas that wait, complete, for a tenant; and what a creation does to the registry as functions, so
-- that it is one request each. Run as role tenantry_owner in `public`, `tenantry`.

-- A warm schema has its future tenant's id, role and cell (whose count includes it) and waits for a slug: claiming it is a rename.
-- A claimed one leaves this table for `public.tenants` in the same transaction.
CREATE TABLE public.warm_schemas (
    id uuid PRIMARY KEY,
    -- No slug begins with `-`, so no tenant's schema begins with `tenant__`.
    schema_name text NOT NULL UNIQUE GENERATED ALWAYS AS ('tenant__warm_' || replace(id::text, '-', '')) STORED,
    role_name text NOT NULL UNIQUE GENERATED ALWAYS AS ('tnt_' || replace(id::text, '-', '')) STORED,
    cell_id integer NOT NULL REFERENCES public.cells (id),
    schema_version integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX warm_schemas_cell ON public.warm_schemas (cell_id);
GRANT SELECT ON public.warm_schemas TO tenantry_control, tenantry_auditor;

-- The owner and its members call these; nobody else.

-- A place in a cell: in one with room that nobody else is filling at this moment, else in one with room once that
-- somebody is done, else in a new one, which one creation makes at a time. `made`: the cell's login is still to be made.
CREATE FUNCTION tenantry.take_cell(capacity_of_new integer, OUT cell integer, OUT login text, OUT made boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        made := false;
        -- Whoever finds a row full when it has its lock keeps the lock; the exceptions give it back, for a creation that
        -- waits to open a cell must hold none.
        BEGIN
            UPDATE public.cells c SET tenants = c.tenants + 1 WHERE c.id = (
                SELECT o.id FROM public.cells o WHERE NOT o.dedicated AND o.tenants < o.capacity
                ORDER BY o.id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING c.id, c.login_role INTO STRICT cell, login;
            RETURN;
        EXCEPTION WHEN no_data_found THEN NULL;
        END;
        FOR attempt IN 1..2 LOOP
            WHILE EXISTS (SELECT FROM public.cells o WHERE NOT o.dedicated AND o.tenants < o.capacity) LOOP
                BEGIN
                    UPDATE public.cells c SET tenants = c.tenants + 1 WHERE c.id = (
                        SELECT o.id FROM public.cells o WHERE NOT o.dedicated AND o.tenants < o.capacity
                        ORDER BY o.id LIMIT 1 FOR UPDATE) RETURNING c.id, c.login_role INTO STRICT cell, login;
                    RETURN;
                EXCEPTION WHEN no_data_found THEN NULL;
                END;
            END LOOP;
            IF attempt = 1 THEN PERFORM pg_advisory_xact_lock(7468657462); END IF;
        END LOOP;
        INSERT INTO public.cells (id, login_role, capacity, tenants)
            SELECT n.id, 'tenantry_cell_' || i.id || '_' || n.id, capacity_of_new, 1
            FROM public.installation i, nextval(pg_get_serial_sequence('public.cells', 'id')) AS n (id)
            RETURNING cells.id, cells.login_role INTO cell, login;
        made := true;
    END $$;

-- The memberships of a new tenant's role. They come late in a creation: PostgreSQL lets one transaction at a time change
-- the members of `tenantry_tenant`.
CREATE FUNCTION tenantry.join_group(role_name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN
        EXECUTE format('GRANT tenantry_tenant TO %I', role_name)
            || CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN ' WITH INHERIT TRUE, SET FALSE' ELSE '' END;
    END $$;
CREATE FUNCTION tenantry.join_cell(role_name text, login text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN
        EXECUTE format('GRANT %I TO %I', role_name, login)
            || CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN ' WITH INHERIT FALSE, SET TRUE' ELSE '' END;
    END $$;

-- Placement, first key and audit event of a tenant whose row was just inserted.
CREATE FUNCTION tenantry.record_tenant(
    tenant uuid, cell integer, version integer, key uuid, key_lookup text, key_hash bytea,
    kind text, who text, request text, ip text, facts jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        INSERT INTO public.tenant_placements (tenant_id, cell_id, schema_version) VALUES (tenant, cell, version);
        INSERT INTO public.tenant_api_keys (id, tenant_id, name, lookup, hash) VALUES (key, tenant, 'first key', key_lookup, key_hash);
        INSERT INTO audit.events (tenant_id, actor_kind, actor, action, target, request_id, client_ip, details)
            VALUES (tenant, kind, who, 'tenant.create', 'tenant/' || tenant, request, ip, facts || jsonb_build_object('cell', cell, 'key', key));
    END $$;

-- The place of a tenant whose schema and role this transaction has made: cell, memberships, and what `record_tenant` does.
CREATE FUNCTION tenantry.settle_tenant(
    tenant uuid, role_name text, alone boolean, capacity_of_new integer, version integer, key uuid, key_lookup text, key_hash bytea,
    kind text, who text, request text, ip text, facts jsonb,
    OUT cell integer, OUT shard text, OUT login text, OUT made boolean, OUT created_at timestamptz, OUT updated_at timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        IF alone THEN
            -- Its right to connect is granted after this, and PostgreSQL refuses two such grants at once.
            PERFORM pg_advisory_xact_lock(7468657462);
            INSERT INTO public.cells (login_role, capacity, tenants, dedicated) VALUES (role_name, 1, 1, true)
                RETURNING cells.id, cells.login_role INTO cell, login;
            made := false;
        ELSE
            SELECT t.cell, t.login, t.made INTO cell, login, made FROM tenantry.take_cell(capacity_of_new) t;
            IF NOT made THEN PERFORM tenantry.join_cell(role_name, login); END IF;
        END IF;
        PERFORM tenantry.join_group(role_name);
        PERFORM tenantry.record_tenant(tenant, cell, version, key, key_lookup, key_hash, kind, who, request, ip, facts);
        SELECT c.shard, t.created_at, t.updated_at INTO shard, created_at, updated_at
            FROM public.cells c, public.tenants t WHERE c.id = cell AND t.id = tenant;
    END $$;

-- Turns the oldest warm schema of at least this version into a tenant: one request, which is one transaction. No row: there is none.
CREATE FUNCTION tenantry.claim_warm(
    slug text, schema_name text, plan_tier text, admin_email text, domains text[],
    max_agents integer, max_tasks_per_month integer, storage_limit_gb integer,
    version integer, key uuid, key_lookup text, key_hash bytea, kind text, who text, request text, ip text, facts jsonb)
    RETURNS TABLE (tenant uuid, cell integer, shard text, schema_version integer, created_at timestamptz, updated_at timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s'
    AS $$
    DECLARE warm public.warm_schemas;
    BEGIN
        DELETE FROM public.warm_schemas w WHERE w.id = (
            SELECT o.id FROM public.warm_schemas o WHERE o.schema_version >= version
            ORDER BY o.created_at, o.id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING * INTO warm;
        IF NOT FOUND THEN RETURN; END IF;
        INSERT INTO public.tenants AS t (id, slug, schema_name, plan_tier, admin_email, allowed_domains, max_agents, max_tasks_per_month, storage_limit_gb)
            VALUES (warm.id, slug, schema_name, plan_tier, admin_email, domains, max_agents, max_tasks_per_month, storage_limit_gb)
            RETURNING t.created_at, t.updated_at INTO created_at, updated_at;
        PERFORM tenantry.record_tenant(warm.id, warm.cell_id, warm.schema_version, key, key_lookup, key_hash, kind, who, request, ip,
            facts || '{"warm": true}');
        EXECUTE format('ALTER SCHEMA %I RENAME TO %I', warm.schema_name, schema_name);
        SELECT c.shard INTO shard FROM public.cells c WHERE c.id = warm.cell_id;
        tenant := warm.id; cell := warm.cell_id; schema_version := warm.schema_version;
        RETURN NEXT;
    END $$;

-- The place of a warm schema that this transaction has made.
CREATE FUNCTION tenantry.settle_warm(tenant uuid, role_name text, capacity_of_new integer, version integer,
    OUT login text, OUT made boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE cell integer;
    BEGIN
        SELECT t.cell, t.login, t.made INTO cell, login, made FROM tenantry.take_cell(capacity_of_new) t;
        IF NOT made THEN PERFORM tenantry.join_cell(role_name, login); END IF;
        PERFORM tenantry.join_group(role_name);
        INSERT INTO public.warm_schemas (id, cell_id, schema_version) VALUES (tenant, cell, version);
    END $$;

-- What of a schema holds its name as text and would not follow a rename: bodies and settings of functions, and literals in
-- defaults, constraints, policies, views, triggers and indexes. By way of dependencies, for a fleet's catalogs are long.
CREATE FUNCTION tenantry.remembers_name(schema_oid oid, old_name text) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    WITH members AS (SELECT d.classid, d.objid FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = schema_oid),
         relations AS (SELECT objid AS oid FROM members WHERE classid = 'pg_class'::regclass),
         texts (what, body) AS (
        SELECT 'function ' || p.proname, p.prosrc || ' ' || coalesce(array_to_string(p.proconfig, ' '), '')
            FROM members m JOIN pg_proc p ON p.oid = m.objid WHERE m.classid = 'pg_proc'::regclass
        UNION ALL SELECT 'default of ' || a.adrelid::regclass, pg_get_expr(a.adbin, a.adrelid) FROM relations JOIN pg_attrdef a ON a.adrelid = relations.oid
        UNION ALL SELECT 'constraint ' || c.conname, pg_get_constraintdef(c.oid) FROM relations JOIN pg_constraint c ON c.conrelid = relations.oid
        UNION ALL SELECT 'policy ' || p.polname, concat(pg_get_expr(p.polqual, p.polrelid), ' ', pg_get_expr(p.polwithcheck, p.polrelid))
            FROM relations JOIN pg_policy p ON p.polrelid = relations.oid
        UNION ALL SELECT 'view ' || r.ev_class::regclass, pg_get_viewdef(r.ev_class) FROM relations JOIN pg_rewrite r ON r.ev_class = relations.oid
            WHERE r.rulename = '_RETURN'
        UNION ALL SELECT 'trigger ' || t.tgname, pg_get_triggerdef(t.oid) FROM relations JOIN pg_trigger t ON t.tgrelid = relations.oid
        UNION ALL SELECT 'index ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid) FROM relations JOIN pg_index i ON i.indrelid = relations.oid)
    SELECT what FROM texts WHERE position(old_name IN body) > 0;
    END;

REVOKE EXECUTE ON FUNCTION tenantry.take_cell, tenantry.join_group, tenantry.join_cell, tenantry.record_tenant, tenantry.settle_tenant,
    tenantry.claim_warm, tenantry.settle_warm, tenantry.remembers_name FROM PUBLIC;
