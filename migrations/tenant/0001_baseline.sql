-- The tables of one company, all ten at once.
--
-- Runs as `tenantry_owner`, inside the transaction that makes the tenant. The schema named below is a placeholder: the
-- provisioning code puts the quoted schema of the company in its place, so nothing here depends on the search path.
--
-- There are no GRANTs here. The provisioning code grants each table by name (an `ON ALL TABLES IN SCHEMA` slows down
-- with the whole catalog), and it grants `activity_logs` for SELECT and INSERT only: the log is append-only.
--
-- Values are text with a CHECK, never enum types: a type costs a catalog row per tenant and a round trip per connection.
-- Every index costs a file per tenant, so an index is here only for a list, a lookup or a due-scan.
-- `updated_at` and `version` are kept by the application, in the same statement as the change.

CREATE TABLE tenant.agents (
    id                 uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name               text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    role               text        NOT NULL CHECK (char_length(role) BETWEEN 1 AND 100),
    personality_prompt text        NOT NULL DEFAULT '' CHECK (octet_length(personality_prompt) <= 32768),
    status             text        NOT NULL DEFAULT 'idle' CHECK (status IN ('idle', 'working', 'blocked', 'offline')),
    current_task_id    uuid,
    capabilities       jsonb       NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(capabilities) = 'array'),
    tool_permissions   jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(tool_permissions) = 'object'),
    version            bigint      NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    deleted_at         timestamptz
);

-- A deleted agent gives its name back. The store knows a taken name by the name of this index.
CREATE UNIQUE INDEX agents_live_name ON tenant.agents (name) WHERE deleted_at IS NULL;

CREATE TABLE tenant.provider_accounts (
    id                       uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id                uuid        NOT NULL DEFAULT tenantry.current_tenant(),
    provider                 text        NOT NULL CHECK (provider ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    status                   text        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked', 'error')),
    owner_key                text,
    encrypted_access_token   bytea       NOT NULL,
    access_token_expires_at  timestamptz,
    encrypted_refresh_token  bytea,
    refresh_token_expires_at timestamptz,
    scopes                   jsonb       NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(scopes) = 'array'),
    account_meta             jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(account_meta) = 'object'),
    last_error               text,
    last_error_at            timestamptz,
    last_used_at             timestamptz,
    created_at               timestamptz NOT NULL DEFAULT now(),
    updated_at               timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenant.tasks (
    id                  uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_id            uuid        NOT NULL CONSTRAINT tasks_agent_fk REFERENCES tenant.agents (id),
    created_by_id       uuid        NOT NULL CONSTRAINT tasks_created_by_fk REFERENCES tenant.agents (id),
    title               text        NOT NULL CHECK (char_length(title) BETWEEN 1 AND 300),
    description         text        NOT NULL DEFAULT '' CHECK (octet_length(description) <= 65536),
    status              text        NOT NULL DEFAULT 'pending'
                        CHECK (status IN ('pending', 'in_progress', 'blocked', 'completed', 'failed', 'cancelled')),
    previous_status     text
                        CHECK (previous_status IN ('pending', 'in_progress', 'blocked', 'completed', 'failed', 'cancelled')),
    priority            text        NOT NULL DEFAULT 'normal' CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
    progress_percent    smallint    NOT NULL DEFAULT 0 CHECK (progress_percent BETWEEN 0 AND 100),
    progress_details    jsonb       NOT NULL DEFAULT '{}',
    result              jsonb,
    deadline            timestamptz,
    started_at          timestamptz,
    completed_at        timestamptz,
    error_details       jsonb,
    version             bigint      NOT NULL DEFAULT 1 CHECK (version > 0),
    retry_count         integer     NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
    max_retries         integer     NOT NULL DEFAULT 3 CHECK (max_retries >= 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    deleted_at          timestamptz,
    -- An open set: the price catalogue says which providers there are, not the table.
    provider            text        CHECK (provider ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    provider_account_id uuid        CONSTRAINT tasks_provider_account_fk REFERENCES tenant.provider_accounts (id)
);

-- The two orders in which tasks are paged. Not partial: lists that ask for deleted rows use them as well.
CREATE INDEX tasks_by_age ON tenant.tasks (created_at DESC, id DESC);
CREATE INDEX tasks_by_agent ON tenant.tasks (agent_id, created_at DESC, id DESC);

ALTER TABLE tenant.agents ADD CONSTRAINT agents_current_task_fk
    FOREIGN KEY (current_task_id) REFERENCES tenant.tasks (id) ON DELETE SET NULL;

CREATE TABLE tenant.task_dependencies (
    id                 uuid    PRIMARY KEY DEFAULT gen_random_uuid(),
    task_id            uuid    NOT NULL REFERENCES tenant.tasks (id) ON DELETE CASCADE,
    depends_on_task_id uuid    NOT NULL REFERENCES tenant.tasks (id) ON DELETE CASCADE,
    depth              integer NOT NULL DEFAULT 1 CHECK (depth >= 1),
    CONSTRAINT task_dependencies_pair UNIQUE (task_id, depends_on_task_id),
    -- The shortest cycle. Longer ones are refused by the code that adds an edge.
    CONSTRAINT task_dependencies_not_itself CHECK (task_id <> depends_on_task_id)
);

-- What waits for this task: asked whenever a task completes.
CREATE INDEX task_dependencies_by_target ON tenant.task_dependencies (depends_on_task_id);

CREATE TABLE tenant.messages (
    id                 uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    from_agent_id      uuid        NOT NULL REFERENCES tenant.agents (id),
    to_agent_id        uuid        NOT NULL REFERENCES tenant.agents (id),
    subject            text        NOT NULL DEFAULT '' CHECK (char_length(subject) <= 300),
    body               text        NOT NULL CHECK (octet_length(body) <= 262144),
    type               text        NOT NULL DEFAULT 'direct'
                       CHECK (type IN ('direct', 'broadcast', 'system', 'external_draft')),
    status             text        NOT NULL DEFAULT 'pending'
                       CHECK (status IN ('pending', 'delivered', 'read', 'approved', 'rejected')),
    is_external_draft  boolean     NOT NULL DEFAULT false,
    external_recipient text        CHECK (char_length(external_recipient) <= 320),
    approved_by        text        CHECK (char_length(approved_by) <= 320),
    approved_at        timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    read_at            timestamptz,
    deleted_at         timestamptz
);

-- The inbox of an agent, newest first.
CREATE INDEX messages_inbox ON tenant.messages (to_agent_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;

CREATE TABLE tenant.activity_logs (
    id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_id    uuid        NOT NULL REFERENCES tenant.agents (id),
    task_id     uuid        REFERENCES tenant.tasks (id),
    action      text        NOT NULL CHECK (char_length(action) BETWEEN 1 AND 200),
    details     jsonb       NOT NULL DEFAULT '{}',
    "timestamp" timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX activity_logs_by_agent ON tenant.activity_logs (agent_id, "timestamp" DESC, id DESC);

CREATE TABLE tenant.agent_sessions (
    id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_id    uuid        NOT NULL REFERENCES tenant.agents (id),
    task_id     uuid        REFERENCES tenant.tasks (id),
    status      text        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'ended', 'failed')),
    tokens_used jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(tokens_used) = 'object'),
    tool_calls  jsonb       NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(tool_calls) = 'array'),
    started_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz
);

CREATE INDEX agent_sessions_by_agent ON tenant.agent_sessions (agent_id, started_at DESC, id DESC);

CREATE TABLE tenant.schedules (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_id        uuid        NOT NULL REFERENCES tenant.agents (id),
    name            text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    cron_expression text        NOT NULL CHECK (char_length(cron_expression) BETWEEN 1 AND 200),
    task_template   jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(task_template) = 'object'),
    enabled         boolean     NOT NULL DEFAULT true,
    last_run_at     timestamptz,
    next_run_at     timestamptz,
    failure_count   integer     NOT NULL DEFAULT 0 CHECK (failure_count >= 0),
    deleted_at      timestamptz
);

-- The due-scan: the only query that runs without anybody asking.
CREATE INDEX schedules_due ON tenant.schedules (next_run_at) WHERE enabled AND deleted_at IS NULL;

CREATE TABLE tenant.oauth_transactions (
    id                      uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id               uuid        NOT NULL DEFAULT tenantry.current_tenant(),
    provider                text        NOT NULL CHECK (provider ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    owner_key               text,
    state                   text        NOT NULL CHECK (char_length(state) BETWEEN 1 AND 512),
    encrypted_pkce_verifier bytea,
    flow_data               jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(flow_data) = 'object'),
    expires_at              timestamptz NOT NULL,
    created_at              timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT oauth_transactions_state UNIQUE (tenant_id, state)
);

CREATE TABLE tenant.credential_proxies (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id       uuid        NOT NULL DEFAULT tenantry.current_tenant(),
    name            text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    service         text        NOT NULL CHECK (char_length(service) BETWEEN 1 AND 200),
    encrypted_value bytea       NOT NULL,
    allowed_agents  jsonb       NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(allowed_agents) = 'array'),
    created_at      timestamptz NOT NULL DEFAULT now(),
    rotated_at      timestamptz,
    CONSTRAINT credential_proxies_name UNIQUE (tenant_id, name)
);

-- Tables with secrets have a second wall behind the schema and its grants: only rows of the tenant of the role, for owners too.
-- The tenant comes from the role, not from a setting, because injected SQL can rewrite a setting. The subselect makes
-- it a constant of the plan, so that the indexes above stay usable.
ALTER TABLE tenant.provider_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant.provider_accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenant.provider_accounts FOR ALL
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));

ALTER TABLE tenant.oauth_transactions ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant.oauth_transactions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenant.oauth_transactions FOR ALL
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));

ALTER TABLE tenant.credential_proxies ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant.credential_proxies FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenant.credential_proxies FOR ALL
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
