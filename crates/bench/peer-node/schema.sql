-- A company of the other side: the two tables that are measured, with the columns and indexes of ours. `tenant.` stands for its
-- schema. Without checks, the other tables, a role and grants.
CREATE TABLE tenant.agents (
    id                 uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name               text        NOT NULL,
    role               text        NOT NULL,
    personality_prompt text        NOT NULL DEFAULT '',
    status             text        NOT NULL DEFAULT 'idle',
    current_task_id    uuid,
    capabilities       jsonb       NOT NULL DEFAULT '[]',
    tool_permissions   jsonb       NOT NULL DEFAULT '{}',
    version            bigint      NOT NULL DEFAULT 1,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    deleted_at         timestamptz
);
CREATE UNIQUE INDEX agents_live_name ON tenant.agents (name) WHERE deleted_at IS NULL;

CREATE TABLE tenant.tasks (
    id                  uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_id            uuid        NOT NULL REFERENCES tenant.agents (id),
    created_by_id       uuid        NOT NULL REFERENCES tenant.agents (id),
    title               text        NOT NULL,
    description         text        NOT NULL DEFAULT '',
    status              text        NOT NULL DEFAULT 'pending',
    previous_status     text,
    priority            text        NOT NULL DEFAULT 'normal',
    progress_percent    smallint    NOT NULL DEFAULT 0,
    progress_details    jsonb       NOT NULL DEFAULT '{}',
    result              jsonb,
    deadline            timestamptz,
    started_at          timestamptz,
    completed_at        timestamptz,
    error_details       jsonb,
    version             bigint      NOT NULL DEFAULT 1,
    retry_count         integer     NOT NULL DEFAULT 0,
    max_retries         integer     NOT NULL DEFAULT 3,
    created_at          timestamptz NOT NULL DEFAULT now(),
    deleted_at          timestamptz,
    provider            text,
    provider_account_id uuid
);
CREATE INDEX tasks_by_age ON tenant.tasks (created_at DESC, id DESC);
CREATE INDEX tasks_by_agent ON tenant.tasks (agent_id, created_at DESC, id DESC);
ALTER TABLE tenant.agents ADD FOREIGN KEY (current_task_id) REFERENCES tenant.tasks (id) ON DELETE SET NULL;

-- What a change leaves behind with PEER_AUDITED=1.
CREATE TABLE tenant.quota_counters (name text PRIMARY KEY, used bigint NOT NULL DEFAULT 0);
INSERT INTO tenant.quota_counters VALUES ('agents'), ('tasks');
CREATE TABLE tenant.audit_head (hash bytea NOT NULL);
INSERT INTO tenant.audit_head VALUES ('');
CREATE TABLE tenant.audit_events (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT now(),
    actor     text        NOT NULL,
    client_ip text,
    action    text        NOT NULL,
    details   jsonb       NOT NULL,
    hash      bytea       NOT NULL
);
CREATE TABLE tenant.events (
    id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at   timestamptz NOT NULL DEFAULT now(),
    kind text        NOT NULL,
    data jsonb       NOT NULL
);
