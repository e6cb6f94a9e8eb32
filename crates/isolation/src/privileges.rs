//! The audit of privileges: what the catalog says every tenant's role, every cell's login, their group and PUBLIC may
//! do, compared with what they are to have. Anything more, or less, is a leak.

use std::collections::BTreeSet;

use crate::{Leak, Scene};

/// Every right that the access lists give to anybody but the product's fixed roles and superusers, one per line:
/// `grantee: right on kind name`. Parameters are the server's, so there only the roles asked for count.
/// What PostgreSQL itself gives to PUBLIC on its own objects is left out; [`WITHDRAWN`] says what must be missing there.
const GRANTED: &str = "
WITH ours AS (
    SELECT oid, rolname::text AS name FROM pg_roles
     WHERE NOT rolsuper AND rolname NOT LIKE 'pg\\_%'
       AND rolname NOT IN ('tenantry_owner', 'tenantry_migrator', 'tenantry_control', 'tenantry_meter', 'tenantry_auditor')
    UNION ALL SELECT 0, 'PUBLIC'),
objects AS (
    SELECT 'database' AS kind, datname::text AS name, coalesce(datacl, acldefault('d', datdba)) AS acl FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT 'schema', nspname::text, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, c.oid::regclass::text, coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner))
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    UNION ALL SELECT 'column', a.attrelid::regclass::text || '.' || a.attname, a.attacl FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE a.attacl IS NOT NULL AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT 'function', p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT 'language', lanname::text, lanacl FROM pg_language WHERE lanacl IS NOT NULL
    UNION ALL SELECT 'type', t.oid::regtype::text, t.typacl FROM pg_type t WHERE t.typacl IS NOT NULL
    UNION ALL SELECT 'default', defaclobjtype::text || ' of ' || defaclrole::regrole::text, defaclacl FROM pg_default_acl
    UNION ALL SELECT 'parameter', parname, paracl FROM pg_parameter_acl
    UNION ALL SELECT 'large object', oid::text, coalesce(lomacl, acldefault('L', lomowner)) FROM pg_largeobject_metadata
    UNION ALL SELECT 'wrapper', fdwname::text, fdwacl FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'server', srvname::text, srvacl FROM pg_foreign_server
    UNION ALL SELECT 'catalog', c.oid::regclass::text, c.relacl FROM pg_class c WHERE c.relnamespace = 'pg_catalog'::regnamespace)
SELECT ours.name || ': ' || x.privilege_type || ' on ' || o.kind || ' ' || o.name || CASE WHEN x.is_grantable THEN ' with grant option' ELSE '' END
FROM objects o CROSS JOIN LATERAL aclexplode(o.acl) x JOIN ours ON ours.oid = x.grantee
WHERE NOT (o.kind = 'catalog' AND ours.oid = 0 AND x.privilege_type = 'SELECT') AND (o.kind <> 'parameter' OR ours.name = ANY ($1))
";

/// Who may become whom, attributes of roles, settings of roles, what they own: of the given roles only.
const ROLES: &str = "
SELECT r.rolname || ': member of ' || g.rolname || CASE WHEN m.admin_option THEN ' with admin option' ELSE '' END
  FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid WHERE r.rolname = ANY ($1)
UNION ALL SELECT g.rolname || ': has the member ' || r.rolname
  FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
  WHERE g.rolname = ANY ($1) AND r.rolname <> ALL ($1) AND m.inherit_or_set
  AND NOT (g.rolname = 'tenantry_tenant' AND r.rolname ~ '^tnt_')
UNION ALL SELECT rolname || concat_ws(' ', ':', CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolcreaterole THEN 'createrole' END,
    CASE WHEN rolcreatedb THEN 'createdb' END, CASE WHEN rolreplication THEN 'replication' END, CASE WHEN rolbypassrls THEN 'bypassrls' END,
    CASE WHEN rolcanlogin THEN 'login' END)
  FROM pg_roles WHERE rolname = ANY ($1)
UNION ALL SELECT r.rolname || ': setting ' || s FROM pg_db_role_setting d JOIN pg_roles r ON r.oid = d.setrole CROSS JOIN unnest(d.setconfig) s WHERE r.rolname = ANY ($1)
UNION ALL SELECT 'database: setting ' || s FROM pg_db_role_setting d CROSS JOIN unnest(d.setconfig) s
  WHERE d.setrole = 0 AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
UNION ALL SELECT r.rolname || ': owns ' || c.oid::regclass::text FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = ANY ($1)
UNION ALL SELECT r.rolname || ': owns the function ' || p.oid::regprocedure::text FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE r.rolname = ANY ($1)
UNION ALL SELECT r.rolname || ': owns the schema ' || n.nspname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE r.rolname = ANY ($1)
";

/// What would let a right be used without being granted: a login that inherits its tenants' rights.
const INHERITED: &str = "
SELECT r.rolname || ': inherits from ' || g.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
WHERE r.rolname = ANY ($1) AND g.rolname ~ '^tnt_' AND pg_has_role(r.oid, g.oid, 'USAGE')
";

/// Functions that run with their owner's rights (but for the one trigger that moves the audit chains' heads, whom only the table calls), views that read with theirs, tables without row level security that have a tenant's column.
const DANGEROUS: &str = "
SELECT 'security definer: ' || p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND NOT (p.oid = to_regprocedure('audit.chain_event()') AND p.prorettype = 'trigger'::regtype AND p.proowner = 'tenantry_owner'::regrole
             AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp'])
UNION ALL SELECT 'view with its owner''s rights: ' || c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'v' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false)
UNION ALL SELECT 'no forced row level security: ' || c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
  WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('public', 'pg_catalog', 'information_schema') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
UNION ALL SELECT 'policy for everybody: ' || pol.polname || ' on ' || pol.polrelid::regclass::text FROM pg_policy pol
  WHERE (0 = ANY (pol.polroles) OR 'tenantry_tenant'::regrole = ANY (pol.polroles))
    AND coalesce(pg_get_expr(pol.polqual, pol.polrelid), '') || coalesce(pg_get_expr(pol.polwithcheck, pol.polrelid), '') NOT LIKE '%tenantry.current_tenant()%'
";

/// Functions of PostgreSQL that PUBLIC may not call: those that run a text, change a setting or reach other sessions.
const WITHDRAWN: &str = "
SELECT 'PUBLIC: EXECUTE on ' || p.oid::regprocedure::text FROM pg_proc p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')
  AND (p.proname ~ '^(set_config|(query|cursor|table|schema|database)_to_xml.*|ts_stat|ts_rewrite|lo_(create|creat|from_bytea|put|get|open|import|export|unlink|truncate.*)|lowrite|loread)$'
    OR p.proname ~ '^pg_(try_)?advisory_(xact_)?lock' OR p.proname ~ '^pg_(sleep|notify|export_snapshot|terminate_backend|cancel_backend|stat_get_|logical_emit)'
    OR p.proname ~ '^pg_(relation|table|indexes|total_relation|database|tablespace)_size$' OR p.proname ~ '^pg_(read_|ls_|stat_file)')
  AND NOT (p.proname = 'ts_rewrite' AND p.pronargs = 3)
UNION ALL SELECT 'PUBLIC: USAGE on language ' || lanname FROM pg_language
  WHERE lanname NOT IN ('internal', 'c', 'sql') AND has_language_privilege('public', oid, 'USAGE')
UNION ALL SELECT 'PUBLIC: SELECT on pg_class.' || a FROM unnest(ARRAY['reltuples', 'relpages']) a WHERE has_column_privilege('public', 'pg_class', a, 'SELECT')
";

/// Tables of all tenants of which each reads its own rows.
const SHARED_READ: &[&str] = &[
    "arrivals",
    "budgets",
    "budget_notices",
    "provider_api_calls",
    "hourly_metrics",
    "daily_metrics",
    "dirty_hours",
    "price_overrides",
    "rolled_days",
    "spend_counters",
    "task_outcomes",
    "roi_calculations",
    "statements",
    "statement_lines",
];

/// What a tenant writes of its own rows there.
const SHARED_WRITTEN: &[(&str, &str)] = &[
    ("budgets", "INSERT"),
    ("budgets", "UPDATE"),
    ("budget_notices", "UPDATE"),
    ("price_overrides", "DELETE"),
    ("price_overrides", "INSERT"),
    ("task_outcomes", "INSERT"),
    ("task_outcomes", "UPDATE"),
];

/// Compares what is with what is to be.
///
/// # Panics
/// When the catalog cannot be read.
pub async fn audit(scene: &Scene) -> Vec<Leak> {
    const CHECK: &str = "privileges";
    let parties = scene.parties();
    let mut names: Vec<String> = parties.iter().flat_map(|p| [p.role.clone(), p.login.clone()]).collect();
    names.push("tenantry_tenant".into());
    names.sort();
    names.dedup();
    let read = async |sql: &str, with_names: bool| -> BTreeSet<String> {
        let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] = if with_names { &[&names] } else { &[] };
        let rows = scene.admin.query(sql, params).await.unwrap_or_else(|e| panic!("the catalog is read: {e:?}"));
        rows.iter().map(|row| row.get(0)).collect()
    };
    // PostgreSQL 16 says of each membership what it is good for; before, every one may be used.
    let useful = if scene.major >= 16 { "(m.inherit_option OR m.set_option)" } else { "true" };
    let mut found = read(GRANTED, true).await;
    found.extend(read(&ROLES.replace("m.inherit_or_set", useful), true).await);
    let expected = expected(scene);
    let mut leaks: Vec<Leak> =
        found.difference(&expected).map(|line| Leak::new(CHECK, format!("too much: {line}"))).collect();
    leaks.extend(expected.difference(&found).map(|line| Leak::new(CHECK, format!("missing: {line}"))));
    for line in
        read(INHERITED, true).await.into_iter().chain(read(DANGEROUS, false).await).chain(read(WITHDRAWN, false).await)
    {
        leaks.push(Leak::new(CHECK, line));
    }
    leaks
}

fn expected(scene: &Scene) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let database = &scene.world.database.name;
    for party in scene.parties() {
        let (role, login, schema) = (&party.role, &party.login, &party.schema);
        lines.insert(format!("{role}: USAGE on schema {schema}"));
        for table in workforce::TENANT_TABLES {
            let rights: &[&str] = if workforce::APPEND_ONLY_TABLES.contains(table) {
                &["SELECT", "INSERT"]
            } else {
                &["SELECT", "INSERT", "UPDATE", "DELETE"]
            };
            lines.extend(rights.iter().map(|right| format!("{role}: {right} on table {schema}.{table}")));
        }
        if role != login {
            lines.insert(format!("{role}:"));
            lines.insert(format!("{login}: member of {role}"));
        }
        lines.insert(format!("{role}: member of tenantry_tenant"));
        lines.insert(format!("{login}: login"));
        lines.insert(format!("{login}: CONNECT on database {database}"));
        lines.insert(format!("{login}: setting search_path=pg_catalog, pg_temp"));
    }
    lines.insert("tenantry_tenant:".into());
    for schema in ["tenantry", "audit", "analytics"] {
        lines.insert(format!("tenantry_tenant: USAGE on schema {schema}"));
    }
    for table in SHARED_READ {
        lines.insert(format!("tenantry_tenant: SELECT on table analytics.{table}"));
    }
    for (table, right) in SHARED_WRITTEN {
        lines.insert(format!("tenantry_tenant: {right} on table analytics.{table}"));
    }
    for function in ["kept_from()", "latency_bounds()", "note_task_outcome()"] {
        lines.insert(format!("tenantry_tenant: EXECUTE on function analytics.{function}"));
    }
    for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
        lines.insert(format!("tenantry_tenant: {right} on table tenantry.alarms"));
    }
    for column in ["action", "actor", "actor_kind", "client_ip", "details", "request_id", "target"] {
        lines.insert(format!("tenantry_tenant: INSERT on column audit.events.{column}"));
    }
    lines.insert("tenantry_tenant: EXECUTE on function tenantry.current_tenant()".into());
    lines
}
