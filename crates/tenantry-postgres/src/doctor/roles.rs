use super::catalog::Check;
use super::{Finding, Patient, Severity};
use crate::connect::{Logins, connect};

/// Roles: what they are, whom they may become, and how their sessions begin.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "roles.missing",
        severity: Severity::Fail,
        fine: "all fixed roles exist",
        why: "the installation does not work without it",
        sql: "SELECT 'role `' || n || '` does not exist', 'tenantry init' \
              FROM unnest(ARRAY['tenantry_owner', 'tenantry_migrator', 'tenantry_control', 'tenantry_meter', 'tenantry_auditor', 'tenantry_tenant']) n \
              WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = n)",
    },
    Check {
        name: "roles.attributes",
        severity: Severity::Fail,
        fine: "no role may more than it should",
        why: "with that it may go round what keeps tenants apart, or cannot work",
        sql: ", expected (name, login, inherits, creates_roles) AS ( \
                VALUES ('tenantry_owner', false, false, false), ('tenantry_meter', true, false, false), ('tenantry_auditor', true, false, false), \
                    ('tenantry_tenant', false, false, false), ('tenantry_migrator', true, true, true), ('tenantry_control', true, true, false) \
                UNION ALL SELECT login_role, true, false, false FROM public.cells WHERE NOT dedicated \
                UNION ALL SELECT role_name, dedicated, true, false FROM everybody) \
              SELECT format('`%s` is %s', r.rolname, concat_ws(', ', CASE WHEN r.rolsuper THEN 'superuser' END, CASE WHEN r.rolbypassrls THEN 'free of row level security' END, \
                    CASE WHEN r.rolreplication THEN 'allowed to replicate' END, CASE WHEN r.rolcreatedb THEN 'allowed to create databases' END, \
                    CASE WHEN r.rolcreaterole AND NOT e.creates_roles THEN 'allowed to create roles' WHEN NOT r.rolcreaterole AND e.creates_roles THEN 'not allowed to create roles' END, \
                    CASE WHEN r.rolcanlogin AND NOT e.login THEN 'a login' WHEN NOT r.rolcanlogin AND e.login THEN 'no login' END, \
                    CASE WHEN r.rolinherit AND NOT e.inherits THEN 'inheriting' WHEN NOT r.rolinherit AND e.inherits THEN 'not inheriting' END)), \
                format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS NOREPLICATION NOCREATEDB %s %s %s;', r.rolname, CASE WHEN e.creates_roles THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END, \
                    CASE WHEN e.login THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN e.inherits THEN 'INHERIT' ELSE 'NOINHERIT' END) \
              FROM expected e JOIN pg_roles r ON r.rolname = e.name \
              WHERE r.rolsuper OR r.rolbypassrls OR r.rolreplication OR r.rolcreatedb OR r.rolcreaterole <> e.creates_roles OR r.rolcanlogin <> e.login OR r.rolinherit <> e.inherits \
              ORDER BY 1",
    },
    Check {
        name: "roles.memberships_missing",
        severity: Severity::Fail,
        fine: "every tenant's role is where its placement says",
        why: "the tenant cannot be served",
        sql: "SELECT format('`%s` is not a member of `%s` (%s)', e.login_role, e.role_name, e.slug), format('SELECT tenantry.join_cell(%L, %L);', e.role_name, e.login_role) \
              FROM everybody e JOIN pg_roles r ON r.rolname = e.role_name JOIN pg_roles l ON l.rolname = e.login_role \
              WHERE NOT e.dedicated AND NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = r.oid AND m.member = l.oid) \
              UNION ALL SELECT format('`%s` is not a member of `tenantry_tenant` (%s)', e.role_name, e.slug), format('SELECT tenantry.join_group(%L);', e.role_name) \
              FROM everybody e JOIN pg_roles r ON r.rolname = e.role_name \
              WHERE NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = 'tenantry_tenant'::regrole AND m.member = r.oid) \
              UNION ALL SELECT '`tenantry_migrator` is not a member of `tenantry_owner`', 'tenantry init' \
              WHERE NOT EXISTS (SELECT FROM pg_auth_members WHERE roleid = to_regrole('tenantry_owner') AND member = to_regrole('tenantry_migrator'))",
    },
    Check {
        name: "roles.memberships_superfluous",
        severity: Severity::Fail,
        fine: "nobody may become a tenant but its cell's login",
        why: "that crosses the border between tenants",
        sql: ", ours AS (SELECT role_name AS name FROM everybody UNION SELECT login_role FROM public.cells) \
              SELECT format('`%s` is a member of `%s`', w.rolname, g.rolname), format('REVOKE %I FROM %I;', g.rolname, w.rolname) \
              FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles w ON w.oid = m.member \
              WHERE (g.rolname IN (SELECT name FROM ours) OR w.rolname IN (SELECT name FROM ours) OR g.rolname = 'tenantry_tenant' AND w.rolname !~ '^tnt_') \
                AND w.rolname <> 'tenantry_migrator' AND NOT w.rolsuper \
                AND NOT (g.rolname = 'tenantry_tenant' AND w.rolname IN (SELECT role_name FROM everybody)) \
                AND NOT EXISTS (SELECT FROM everybody e WHERE NOT e.dedicated AND e.role_name = g.rolname AND e.login_role = w.rolname) \
              ORDER BY 1",
    },
    Check {
        name: "roles.settings",
        severity: Severity::Fail,
        fine: "every login starts with its own settings",
        why: "a role may change its own defaults, and whoever had it may have sent new sessions somewhere else",
        sql: ", logins AS (SELECT login_role AS name FROM public.cells), \
              ours AS (SELECT name, true AS login FROM logins UNION SELECT role_name, false FROM everybody WHERE role_name NOT IN (SELECT name FROM logins)) \
              SELECT format('`%s` starts with %s', r.rolname, array_to_string(s.setconfig, ', ')), \
                CASE WHEN d.datname IS NOT NULL THEN format('ALTER ROLE %I IN DATABASE %I RESET ALL;', r.rolname, d.datname) \
                     ELSE format('ALTER ROLE %I RESET ALL;', r.rolname) || CASE WHEN o.login THEN format(' ALTER ROLE %I SET search_path = pg_catalog, pg_temp;', r.rolname) ELSE '' END END \
              FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole JOIN ours o ON o.name = r.rolname LEFT JOIN pg_database d ON d.oid = s.setdatabase \
              WHERE NOT (o.login AND d.datname IS NULL AND s.setconfig = ARRAY['search_path=pg_catalog, pg_temp']) \
              UNION ALL SELECT format('`%s` starts without a search path of its own', r.rolname), format('ALTER ROLE %I SET search_path = pg_catalog, pg_temp;', r.rolname) \
              FROM logins l JOIN pg_roles r ON r.rolname = l.name WHERE NOT EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0) \
              ORDER BY 1",
    },
    Check {
        name: "roles.logins",
        severity: Severity::Fail,
        fine: "every cell has its login",
        why: "none of the cell's tenants can be served",
        sql: "SELECT format('`%s`, the login of cell %s, does not exist', c.login_role, c.id), \
                format('CREATE ROLE %I LOGIN NOINHERIT; GRANT CONNECT ON DATABASE %I TO %I; -- then `tenantry init` gives it its password, and `tenantry doctor` its memberships', \
                    c.login_role, current_database(), c.login_role) \
              FROM public.cells c WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = c.login_role)",
    },
];

/// Whether the secret is the one that the logins were made with.
pub(super) async fn secret(patient: &Patient<'_>) -> Vec<Finding> {
    const CHECK: &str = "roles.secret";
    let mut findings = Vec::new();
    for role in [Logins::CONTROL, Logins::MIGRATOR, Logins::AUDITOR, Logins::METER] {
        if let Err(error) = connect(patient.database, role).await {
            let reason = format!("`{role}` cannot log in with the password of this secret: {error}");
            let mend =
                "tenantry init --secret-file FILE, with the secret of all servers, gives the logins its passwords";
            findings.push(Finding::fail(CHECK, reason, mend));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "the secret is that of the installation"));
    }
    findings
}
