DROP POLICY auditor_reads ON tenant.credential_proxies;
DROP POLICY auditor_reads ON tenant.provider_accounts;
REVOKE SELECT ON tenant.agents, tenant.tasks, tenant.task_dependencies, tenant.messages, tenant.activity_logs,
    tenant.agent_sessions, tenant.schedules, tenant.provider_accounts, tenant.credential_proxies FROM tenantry_auditor;
DO $$ BEGIN
    EXECUTE format('REVOKE USAGE ON SCHEMA %s FROM tenantry_auditor',
        (SELECT typnamespace::regnamespace FROM pg_type WHERE oid = pg_typeof(NULL::tenant.agents)));
END $$;
