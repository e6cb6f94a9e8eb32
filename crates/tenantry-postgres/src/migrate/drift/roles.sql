WITH fixed (role, attributes) AS (VALUES
    ('tenantry_owner', 'NOSUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS'),
    ('tenantry_meter', 'NOSUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS'),
    ('tenantry_auditor', 'NOSUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS'),
    ('tenantry_tenant', 'NOSUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS'),
    ('tenantry_migrator', 'NOSUPERUSER INHERIT CREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS'),
    ('tenantry_control', 'NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS')
),
cell AS MATERIALIZED (SELECT id, login_role FROM public.cells WHERE NOT dedicated),
wanted AS (
    SELECT role, attributes FROM fixed
    UNION ALL
    SELECT login_role, 'NOSUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS' FROM cell
),
actual AS MATERIALIZED (
    SELECT oid, rolname::text AS role, concat_ws(' ', CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END,
               CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
               CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END, CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
               CASE WHEN rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END) AS attributes
      FROM pg_roles
),
ours AS MATERIALIZED (SELECT actual.oid, actual.role FROM actual JOIN wanted USING (role)),
placed AS MATERIALIZED (
    SELECT cell.login_role, 'tnt_' || replace(p.tenant_id::text, '-', '') AS role
      FROM public.tenant_placements p JOIN cell ON cell.id = p.cell_id
    --warm UNION ALL SELECT cell.login_role, w.role_name FROM public.warm_schemas w JOIN cell ON cell.id = w.cell_id
),
membership AS MATERIALIZED (
    SELECT m.roleid, m.member, pg_get_userbyid(m.roleid)::text AS role, pg_get_userbyid(m.member)::text AS of,
           pg_get_userbyid(m.grantor)::text AS grantor
      FROM pg_auth_members m WHERE m.roleid IN (SELECT oid FROM ours) OR m.member IN (SELECT oid FROM ours)
)
SELECT 'role', w.role, format('~ role %s is `%s`, not `%s`', w.role, coalesce(a.attributes, 'missing'), w.attributes),
       CASE WHEN a.oid IS NULL THEN '-- `tenantry init` makes it' ELSE format('ALTER ROLE %I %s', w.role, w.attributes) END
  FROM wanted w LEFT JOIN actual a USING (role) WHERE a.attributes IS DISTINCT FROM w.attributes
UNION ALL
SELECT 'has member', m.role, format('+ %s is a member of %s', m.of, m.role), format('REVOKE %I FROM %I GRANTED BY %I CASCADE', m.role, m.of, m.grantor)
  FROM membership m
 WHERE (m.role, m.of) NOT IN (('tenantry_owner', 'tenantry_migrator'), ('tenantry_tenant', 'tenantry_migrator'))
   AND NOT EXISTS (SELECT 1 FROM placed WHERE placed.login_role = m.of AND placed.role = m.role)
   AND NOT (m.role = 'tenantry_tenant' AND m.of ~ '^tnt_[0-9a-f]{32}$')
   -- Who makes a role gets it to administer, from 16 on.
   AND NOT (m.of = 'tenantry_migrator' AND (m.role ~ '^tnt_[0-9a-f]{32}$' OR m.role IN (SELECT login_role FROM cell)
                                            OR m.role LIKE 'tenantry\_cell\_%'))
   AND m.member NOT IN (SELECT datdba FROM pg_database WHERE datname = current_database())
   AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = m.member)
UNION ALL
SELECT 'has member', 'tenantry_owner', '- tenantry_migrator is no member of tenantry_owner', 'GRANT tenantry_owner TO tenantry_migrator'
 WHERE NOT EXISTS (SELECT 1 FROM membership WHERE role = 'tenantry_owner' AND of = 'tenantry_migrator')
UNION ALL
SELECT 'setting', ours.role, format('+ setting %s of %s', c, ours.role), format('ALTER ROLE %I%s RESET %s', ours.role,
           coalesce((SELECT format(' IN DATABASE %I', datname) FROM pg_database WHERE oid = s.setdatabase), ''), split_part(c, '=', 1))
  FROM ours JOIN pg_db_role_setting s ON s.setrole = ours.oid, unnest(s.setconfig) AS c
 WHERE NOT (s.setdatabase = 0 AND c = 'search_path=pg_catalog, pg_temp' AND ours.role IN (SELECT login_role FROM cell))
UNION ALL
SELECT 'setting', cell.login_role, format('- setting search_path of %s is missing', cell.login_role),
       format('ALTER ROLE %I SET search_path = pg_catalog, pg_temp', cell.login_role)
  FROM cell JOIN ours ON ours.role = cell.login_role
 WHERE NOT EXISTS (SELECT 1 FROM pg_db_role_setting s WHERE s.setrole = ours.oid AND s.setdatabase = 0
                   AND 'search_path=pg_catalog, pg_temp' = ANY (s.setconfig))
UNION ALL
SELECT 'owned elsewhere', ours.role, format('+ %s owns %s', ours.role, pg_describe_object(s.classid, s.objid, s.objsubid)),
       format('-- give %s to another owner', pg_describe_object(s.classid, s.objid, s.objsubid))
  FROM ours JOIN pg_shdepend s ON s.refclassid = 'pg_authid'::regclass AND s.refobjid = ours.oid AND s.deptype = 'o'
 WHERE ours.role <> 'tenantry_owner' AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
   -- What a session made for itself goes with it.
   AND NOT (s.classid = 'pg_class'::regclass AND EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = s.objid AND c.relpersistence = 't'))
