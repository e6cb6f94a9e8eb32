-- Imports of bills and closed statements are written with their audit events. Run as role tenantry_owner.

-- A bill is the platform's own; a statement is a tenant's, and its trail tells of it.
CREATE POLICY bills ON audit.events FOR INSERT TO tenantry_meter WITH CHECK (action = 'bill.import' AND tenant_id IS NULL);
CREATE POLICY statements ON audit.events FOR INSERT TO tenantry_meter WITH CHECK (action = 'statement.close' AND tenant_id IS NOT NULL);
