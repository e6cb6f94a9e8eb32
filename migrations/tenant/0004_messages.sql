-- Messages that can be edited and decided on, broadcasts, and the orders in which messages, activity and sessions are paged.
--
-- The tables below had no endpoint before this version and are empty but for imports, so their indexes are built here, in
-- the step's transaction, and not beside the traffic in a file each.

-- For optimistic concurrency: whoever approves a draft approves the text that was read.
ALTER TABLE tenant.messages ADD COLUMN version bigint NOT NULL DEFAULT 1;
-- The rows of one broadcast, one for each agent that gets it.
ALTER TABLE tenant.messages ADD COLUMN broadcast_id uuid;

-- Newest first, over all. Not partial: lists that ask for deleted rows use it as well.
-- tenantry: allow require-concurrent-index-creation: nothing has written this table before this version
CREATE INDEX messages_by_age ON tenant.messages (created_at DESC, id DESC);
-- What one agent wrote to another: half a thread.
-- tenantry: allow require-concurrent-index-creation: nothing has written this table before this version
CREATE INDEX messages_by_pair ON tenant.messages (from_agent_id, to_agent_id, created_at DESC, id DESC)
    WHERE deleted_at IS NULL;

-- tenantry: allow require-concurrent-index-creation: nothing has written this table before this version
CREATE INDEX activity_logs_by_age ON tenant.activity_logs ("timestamp" DESC, id DESC);
-- What was done on one task, which is the question most asked; most of the log belongs to no task.
-- tenantry: allow require-concurrent-index-creation: nothing has written this table before this version
CREATE INDEX activity_logs_by_task ON tenant.activity_logs (task_id, "timestamp" DESC, id DESC) WHERE task_id IS NOT NULL;

-- tenantry: allow require-concurrent-index-creation: nothing has written this table before this version
CREATE INDEX agent_sessions_by_age ON tenant.agent_sessions (started_at DESC, id DESC);
