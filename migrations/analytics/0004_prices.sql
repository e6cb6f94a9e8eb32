-- Prices that operators load and tenants agree with their providers. Run as role tenantry_owner.
SELECT 1;
