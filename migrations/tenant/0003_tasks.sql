-- tenantry: no-transaction
-- What an agent has to do, and what it is at: asked whenever an agent wants work or is done with some. Partial, because most
-- tasks of a company are done; without it each of these questions would read all that an agent has ever done.
CREATE INDEX CONCURRENTLY tasks_open ON tenant.tasks (agent_id, status)
    WHERE deleted_at IS NULL AND status IN ('pending', 'in_progress', 'blocked');
