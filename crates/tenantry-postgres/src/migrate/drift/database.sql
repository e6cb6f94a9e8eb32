WITH cell AS MATERIALIZED (SELECT login_role FROM public.cells),
entry (object, grantor, grantee, privilege, wanted) AS (
    SELECT 'DATABASE ' || quote_ident(d.datname), pg_get_userbyid(e.grantor), CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, e.privilege_type,
           e.grantee = d.datdba
           OR e.privilege_type = 'CONNECT' AND pg_get_userbyid(e.grantee) IN (SELECT login_role FROM cell)
           OR (pg_get_userbyid(e.grantee), e.privilege_type) IN (('tenantry_owner', 'CREATE'), ('tenantry_owner', 'CONNECT'),
                  ('tenantry_migrator', 'CONNECT'), ('tenantry_control', 'CONNECT'), ('tenantry_meter', 'CONNECT'), ('tenantry_meter', 'TEMPORARY'), ('tenantry_auditor', 'CONNECT'))
      FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS e WHERE d.datname = current_database()
    UNION ALL
    SELECT 'SCHEMA public', pg_get_userbyid(e.grantor), CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, e.privilege_type,
           e.grantee = n.nspowner
           OR (pg_get_userbyid(e.grantee), e.privilege_type) IN (('tenantry_owner', 'CREATE'), ('tenantry_owner', 'USAGE'),
                  ('tenantry_control', 'USAGE'), ('tenantry_auditor', 'USAGE'), ('tenantry_meter', 'USAGE'))
      FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS e WHERE n.nspname = 'public'
),
needed (object, grantee, privilege) AS (
    SELECT 'DATABASE ' || quote_ident(current_database()), role, privilege
      FROM (VALUES ('tenantry_owner', 'CREATE'), ('tenantry_owner', 'CONNECT'), ('tenantry_migrator', 'CONNECT'), ('tenantry_control', 'CONNECT'),
                   ('tenantry_meter', 'CONNECT'), ('tenantry_meter', 'TEMPORARY'), ('tenantry_auditor', 'CONNECT')) AS v (role, privilege)
    UNION ALL SELECT 'DATABASE ' || quote_ident(current_database()), login_role, 'CONNECT' FROM cell
    UNION ALL SELECT 'SCHEMA public', role, privilege
      FROM (VALUES ('tenantry_owner', 'CREATE'), ('tenantry_owner', 'USAGE'), ('tenantry_control', 'USAGE'), ('tenantry_auditor', 'USAGE'), ('tenantry_meter', 'USAGE')) AS v (role, privilege)
)
SELECT 'grant', object, format('+ grant %s on %s to %s', privilege, lower(left(object, strpos(object, ' '))) || substr(object, strpos(object, ' ') + 1), grantee),
       -- Only whoever has granted it can take it back.
       format('SET LOCAL ROLE %I; REVOKE %s ON %s FROM %s CASCADE; RESET ROLE', grantor, privilege, object, CASE grantee WHEN 'PUBLIC' THEN grantee ELSE quote_ident(grantee) END)
  FROM entry WHERE NOT wanted
UNION ALL
SELECT 'grant', object, format('- grant %s on %s to %s is missing', privilege, lower(left(object, strpos(object, ' '))) || substr(object, strpos(object, ' ') + 1), grantee),
       format(CASE WHEN privilege = 'CONNECT' AND grantee NOT LIKE 'tenantry\_%' OR grantee LIKE 'tenantry\_cell\_%'
                   THEN 'SET LOCAL ROLE tenantry_owner; GRANT %s ON %s TO %I; RESET ROLE' ELSE 'GRANT %s ON %s TO %I' END, privilege, object, grantee)
  FROM needed WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.object = needed.object AND e.grantee = needed.grantee AND e.privilege = needed.privilege)
UNION ALL
SELECT 'schema', n.nspname::text, format('+ schema %s belongs to no tenant', n.nspname), format('-- look at it first: DROP SCHEMA %I CASCADE', n.nspname)
  FROM pg_namespace n
 WHERE n.nspname NOT IN ('public', 'tenantry', 'audit', 'analytics') AND (n.nspname LIKE 'tenant\_%' OR n.nspowner = 'tenantry_owner'::regrole)
   AND NOT EXISTS (SELECT 1 FROM public.tenants t WHERE t.schema_name = n.nspname)
   --warm AND NOT EXISTS (SELECT 1 FROM public.warm_schemas w WHERE w.schema_name = n.nspname)
UNION ALL
SELECT 'default privilege', pg_get_userbyid(d.defaclrole)::text,
       format('+ default privileges of %s for %s: %s', pg_get_userbyid(d.defaclrole), CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences'
           WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' ELSE 'schemas' END, d.defaclacl),
       format('-- ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE … takes them back', pg_get_userbyid(d.defaclrole))
  FROM pg_default_acl d WHERE d.defaclnamespace = 0 AND pg_get_userbyid(d.defaclrole) LIKE 'tenantry\_%'
