use tenantry_core::quote_literal;

use super::catalog::Check;
use super::{Finding, Patient, Severity};
use crate::error::DbError;
use crate::init::{FORBIDDEN_FUNCTIONS, STATISTICS_FUNCTIONS};

/// Rights: what PUBLIC has, and what keeps the tables that tenants share apart.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "grants.database",
        severity: Severity::Fail,
        fine: "PUBLIC has no right on the database",
        why: "every role of the server may come in, or make temporary objects",
        sql: "SELECT format('PUBLIC has %s on the database', string_agg(x.privilege_type, ', ')), format('REVOKE ALL ON DATABASE %I FROM PUBLIC;', d.datname) \
              FROM pg_database d CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x \
              WHERE d.datname = current_database() AND x.grantee = 0 GROUP BY d.datname",
    },
    Check {
        name: "grants.schemas",
        severity: Severity::Fail,
        fine: "PUBLIC has no right on a schema",
        why: "every role may see into it, or put something there that others then call",
        sql: "SELECT format('PUBLIC has %s on schema `%s`', string_agg(x.privilege_type, ', '), n.nspname), format('REVOKE ALL ON SCHEMA %I FROM PUBLIC;', n.nspname) \
              FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) x \
              WHERE (n.nspname IN ('public', 'tenantry', 'audit', 'analytics') OR n.nspname LIKE 'tenant\\_%') AND x.grantee = 0 GROUP BY n.nspname",
    },
    Check {
        name: "grants.objects",
        severity: Severity::Fail,
        fine: "PUBLIC has no right on a table or function of ours",
        why: "every tenant has what PUBLIC has",
        sql: "SELECT format('PUBLIC has %s on `%s`', string_agg(x.privilege_type, ', '), c.oid::regclass), \
                format('REVOKE ALL ON %s %s FROM PUBLIC;', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass) \
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(c.relacl) x \
              WHERE (n.nspname IN ('public', 'tenantry', 'audit', 'analytics') OR n.nspname LIKE 'tenant\\_%') AND x.grantee = 0 GROUP BY c.oid, c.relkind \
              UNION ALL SELECT format('PUBLIC may call `%s`', p.oid::regprocedure), format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC;', p.oid::regprocedure) \
              FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x \
              WHERE n.nspname IN ('tenantry', 'audit', 'analytics') AND x.grantee = 0",
    },
    Check {
        name: "grants.row_level_security",
        severity: Severity::Fail,
        fine: "row level security is forced on every shared table and partition",
        why: "its rows are of many tenants, and nothing else keeps them apart",
        sql: "SELECT format('row level security is not forced on `%s`', c.oid::regclass), format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;', c.oid::regclass) \
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
              WHERE n.nspname IN ('analytics', 'audit', 'tenantry') AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity) \
                AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')",
    },
    Check {
        name: "grants.partitions",
        severity: Severity::Fail,
        fine: "this and the next month have their partitions",
        why: "calls of that month cannot be stored",
        sql: "SELECT format('`analytics.%s_%s` does not exist', p, to_char(m, 'YYYY_MM')), \
                'BEGIN; SET LOCAL ROLE tenantry_owner; SELECT analytics.ensure_partitions(3); COMMIT;' \
              FROM unnest(ARRAY['provider_api_calls', 'hourly_metrics', 'daily_metrics']) p, \
                   generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'), date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month', interval '1 month') m \
              WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'analytics' AND c.relname = p || '_' || to_char(m, 'YYYY_MM'))",
    },
];

/// Functions of PostgreSQL that PUBLIC may call and should not. Who is no superuser cannot withdraw them, so this does not fail.
pub(super) async fn withdrawn(patient: &Patient<'_>) -> Result<Vec<Finding>, DbError> {
    const CHECK: &str = "grants.functions";
    let names = FORBIDDEN_FUNCTIONS.iter().map(|name| quote_literal(name)).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace \
         AND (p.proname IN ({names}) OR p.proname LIKE {}) AND has_function_privilege('public', p.oid, 'EXECUTE') ORDER BY 1",
        quote_literal(STATISTICS_FUNCTIONS)
    );
    let open: Vec<String> = patient.rows(&sql).await?.iter().map(|row| row.get(0)).collect();
    if open.is_empty() {
        return Ok(vec![Finding::ok(
            CHECK,
            "PUBLIC may not call what changes roles, talks to others or counts their rows",
        )]);
    }
    let some = open.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let reason = format!(
        "PUBLIC may call {some}{}: an injected statement could change its role within itself, or learn of others",
        if open.len() > 3 { format!(" and {} more", open.len() - 3) } else { String::new() }
    );
    let mend = if open.len() <= 3 {
        format!("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC;", open.join(", "))
    } else {
        "tenantry init, as superuser".to_owned()
    };
    Ok(vec![Finding::warn(CHECK, reason, mend)])
}
