use std::collections::BTreeMap;

use super::catalog::Check;
use super::{Finding, Patient, Severity};
use crate::error::DbError;
use crate::migrate::shared;

/// The fleet: what the registry says is there, and nothing else.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "fleet.schemas_missing",
        severity: Severity::Fail,
        fine: "every tenant has its schema",
        why: "its data is not there",
        sql: "SELECT format('`%s` has no schema `%s`', slug, schema_name), format('pg_restore --schema=%s, from a backup', schema_name) \
              FROM everybody WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = schema_name) ORDER BY 1",
    },
    Check {
        name: "fleet.roles_missing",
        severity: Severity::Fail,
        fine: "every tenant has its role",
        why: "it cannot be served",
        sql: "SELECT format('`%s` has no role `%s`', slug, role_name), \
                format('CREATE ROLE %I NOLOGIN; SELECT tenantry.join_group(%L); SELECT tenantry.join_cell(%L, %L); GRANT USAGE ON SCHEMA %I TO %I; -- then `tenantry migrate drift` gives the rights on its tables', \
                    role_name, role_name, role_name, login_role, schema_name, role_name) \
              FROM everybody WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) ORDER BY 1",
    },
    Check {
        name: "fleet.placements_missing",
        severity: Severity::Fail,
        fine: "every tenant is placed in a cell",
        why: "it cannot be served",
        sql: "SELECT format('`%s` has no placement', t.slug), \
                format('INSERT INTO public.tenant_placements (tenant_id, cell_id, schema_version) SELECT %L, c.id, (SELECT max(schema_version) FROM public.tenant_placements) FROM public.cells c \
                    WHERE c.login_role = (SELECT m.member::regrole::text FROM pg_auth_members m WHERE m.roleid = to_regrole(%L) AND m.member::regrole::text LIKE ''tenantry\\_cell\\_%%'' LIMIT 1);', \
                    t.id, 'tnt_' || replace(t.id::text, '-', '')) \
              FROM public.tenants t WHERE NOT EXISTS (SELECT FROM public.tenant_placements p WHERE p.tenant_id = t.id) ORDER BY 1",
    },
    Check {
        name: "fleet.schemas_orphaned",
        severity: Severity::Warn,
        fine: "every tenant schema belongs to a tenant",
        why: "it may be what is left of a restore or of somebody's work by hand: look into it before you drop it",
        sql: "SELECT format('schema `%s` belongs to no tenant', nspname), format('DROP SCHEMA %I CASCADE;', nspname) \
              FROM pg_namespace WHERE nspname LIKE 'tenant\\_%' AND nspname NOT IN (SELECT schema_name FROM everybody) ORDER BY 1",
    },
    Check {
        name: "fleet.roles_orphaned",
        severity: Severity::Warn,
        fine: "every tenant role belongs to a tenant",
        why: "nobody needs it, unless another database of this server does",
        sql: "SELECT format('role `%s` belongs to no tenant of this database, and owns nothing in another', r.rolname), format('DROP OWNED BY %I; DROP ROLE %I;', r.rolname, r.rolname) \
              FROM pg_roles r WHERE r.rolname ~ '^tnt_[0-9a-f]{32}$' AND r.rolname NOT IN (SELECT role_name FROM everybody) \
                AND NOT EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.dbid NOT IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))) \
                AND NOT EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.classid = 'pg_database'::regclass AND d.objid <> (SELECT oid FROM pg_database WHERE datname = current_database())) \
              ORDER BY 1",
    },
    Check {
        name: "fleet.cells",
        severity: Severity::Fail,
        fine: "every cell counts its tenants rightly",
        why: "new tenants go to a full cell, or open one that is not needed",
        sql: "SELECT format('cell %s counts %s tenants and has %s', c.id, c.tenants, count(e.id)), format('UPDATE public.cells SET tenants = %s WHERE id = %s;', count(e.id), c.id) \
              FROM public.cells c LEFT JOIN everybody e ON e.cell_id = c.id GROUP BY c.id HAVING c.tenants <> count(e.id) ORDER BY c.id",
    },
];

/// The registry's and the analytics' own migrations.
pub(super) async fn migrations(patient: &Patient<'_>) -> Result<Vec<Finding>, DbError> {
    const CHECK: &str = "fleet.migrations";
    let rows = patient.rows("SELECT scope, max(version) FROM public.schema_migrations GROUP BY scope").await?;
    let versions: BTreeMap<String, i32> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let missing: Vec<String> = shared::missing(&versions).collect();
    if missing.is_empty() {
        return Ok(vec![Finding::ok(CHECK, "registry and analytics are at this program's version")]);
    }
    let reason = format!("not applied: {}; this program's servers do not start", missing.join(", "));
    Ok(vec![Finding::fail(CHECK, reason, "tenantry init")])
}

/// Tenants that this program does not serve, or that are not yet where new ones are.
pub(super) async fn versions(patient: &Patient<'_>) -> Result<Finding, DbError> {
    const CHECK: &str = "fleet.versions";
    let (version, needs) = (patient.expected.version, patient.expected.needs);
    let sql = format!(
        "SELECT count(*) FILTER (WHERE schema_version < {needs}), count(*) FILTER (WHERE schema_version < {version}), count(*) FROM public.tenant_placements"
    );
    let rows = patient.rows(&sql).await?;
    let (refused, behind, all): (i64, i64, i64) =
        rows.first().map_or((0, 0, 0), |row| (row.get(0), row.get(1), row.get(2)));
    Ok(if refused > 0 {
        let reason =
            format!("{refused} of {all} tenants are below version {needs}, which this program needs: they are refused");
        Finding::fail(CHECK, reason, "tenantry migrate up")
    } else if behind > 0 {
        Finding::warn(CHECK, format!("{behind} of {all} tenants are below version {version}"), "tenantry migrate up")
    } else {
        Finding::ok(CHECK, format!("all {all} tenants are at version {version} or later"))
    })
}
