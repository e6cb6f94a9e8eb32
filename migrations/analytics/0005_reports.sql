-- Providers' bills, and the monthly statements of tenants. Run as role tenantry_owner.
SELECT 1;
