-- What operators may read of a tenant, with a reason, as `tenantry_auditor`: rows without secrets. Tables that hold secrets are
-- granted by column, and their row level security lets that role read. Nothing of `oauth_transactions`, which are secrets only.
-- The list that operators' reads go by is `AUDITED_TABLES` of the crate `workforce`; a table that is not here is not read.

-- A schema cannot be named by the pseudo schema alone, so it is found by one of its types.
DO $$ BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO tenantry_auditor',
        (SELECT typnamespace::regnamespace FROM pg_type WHERE oid = pg_typeof(NULL::tenant.agents)));
END $$;

GRANT SELECT ON tenant.agents, tenant.tasks, tenant.task_dependencies, tenant.messages, tenant.activity_logs,
    tenant.agent_sessions, tenant.schedules TO tenantry_auditor;
GRANT SELECT (id, provider, status, owner_key, access_token_expires_at, refresh_token_expires_at, scopes, last_error, last_error_at,
    last_used_at, created_at, updated_at) ON tenant.provider_accounts TO tenantry_auditor;
GRANT SELECT (id, name, service, allowed_agents, created_at, rotated_at) ON tenant.credential_proxies TO tenantry_auditor;

CREATE POLICY auditor_reads ON tenant.provider_accounts FOR SELECT TO tenantry_auditor USING (true);
CREATE POLICY auditor_reads ON tenant.credential_proxies FOR SELECT TO tenantry_auditor USING (true);
