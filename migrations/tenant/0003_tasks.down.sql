-- tenantry: no-transaction
DROP INDEX CONCURRENTLY IF EXISTS tenant.tasks_open;
