-- What the benchmark brings to every tenant: a column and an index, in a table that is being read.
ALTER TABLE tenant.agents ADD COLUMN budget_cents bigint;
CREATE INDEX agents_by_budget ON tenant.agents (status, budget_cents);
