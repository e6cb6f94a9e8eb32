-- Budgets: what a tenant, an agent or a key may spend in a period. Run as role tenantry_owner.
SELECT 1;
