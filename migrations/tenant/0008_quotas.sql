-- How much of each limit is used, counted in the transaction that uses it: a limit holds exactly, however many create at once.

-- One row for each limit and period: '' for what is used as long as it exists, a month such as '2026-11' for what is counted
-- by the month. The row is locked by whoever creates until that is committed.
CREATE TABLE tenant.quota_counters (
    name   text   NOT NULL CHECK (name IN ('agents', 'tasks', 'concurrent_tasks')),
    period text   NOT NULL DEFAULT '' CHECK (period ~ '^([0-9]{4}-[0-9]{2})?$'),
    used   bigint NOT NULL CHECK (used >= 0),
    PRIMARY KEY (name, period)
);

-- By months of UTC: a migration does not know the company's time zone. Where that matters, `tenantry quota verify --repair` counts anew.
INSERT INTO tenant.quota_counters (name, period, used)
    SELECT 'agents', '', count(*) FROM tenant.agents WHERE deleted_at IS NULL
    UNION ALL
    SELECT 'concurrent_tasks', '', count(*) FROM tenant.tasks WHERE status = 'in_progress' AND deleted_at IS NULL
    UNION ALL
    SELECT 'tasks', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'), count(*) FROM tenant.tasks
        WHERE created_at >= date_trunc('month', now(), 'UTC');

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant.quota_counters TO tenant_role;
