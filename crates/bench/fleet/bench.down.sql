DROP INDEX tenant.agents_by_budget;
ALTER TABLE tenant.agents DROP COLUMN budget_cents;
