use std::collections::BTreeMap;

use crate::Scene;

/// What must not change: a checksum of each part of the database that is not the attacker's own.
pub type Snapshot = BTreeMap<String, String>;

/// The parts whose checksums differ.
#[must_use]
pub fn differences(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// Catalogs of this database alone: a new row version is a change.
const CATALOGS: &[&str] = &[
    "pg_proc",
    "pg_type",
    "pg_attribute",
    "pg_attrdef",
    "pg_constraint",
    "pg_index",
    "pg_trigger",
    "pg_rewrite",
    "pg_policy",
    "pg_operator",
    "pg_opclass",
    "pg_cast",
    "pg_collation",
    "pg_conversion",
    "pg_language",
    "pg_extension",
    "pg_event_trigger",
    "pg_foreign_server",
    "pg_foreign_data_wrapper",
    "pg_user_mapping",
    "pg_publication",
    "pg_default_acl",
    "pg_largeobject_metadata",
    "pg_description",
    "pg_statistic_ext",
    "pg_ts_config",
];

impl Scene {
    /// Takes a snapshot of everything but the attacker's own rows.
    ///
    /// # Panics
    /// When the superuser cannot read.
    pub async fn snapshot(&self) -> Snapshot {
        let mut parts: Vec<(String, String)> = Vec::new();
        for party in self.others() {
            for table in workforce::TENANT_TABLES {
                parts.push((
                    format!("rows of {}.{table}", party.schema),
                    rows(&format!("{}.{table}", party.schema), "true"),
                ));
            }
        }
        for table in [
            "tenants",
            "tenant_domains",
            "tenant_placements",
            "tenant_api_keys",
            "operator_tokens",
            "cells",
            "plans",
            "installation",
            "schema_migrations",
            "migration_runs",
            "migration_ledger",
        ] {
            parts.push((format!("rows of public.{table}"), rows(&format!("public.{table}"), "true")));
        }
        let foreign = format!("t.tenant_id IS DISTINCT FROM '{}'", self.me.id);
        parts.push(("foreign rows of audit.events".into(), rows("audit.events", &foreign)));
        let foreign = format!("t.chain <> '{}'", self.me.id);
        parts.push(("foreign rows of audit.chains".into(), rows("audit.chains", &foreign)));
        for table in ["provider_api_calls", "daily_metrics", "roi_calculations"] {
            parts.push((format!("rows of analytics.{table}"), rows(&format!("analytics.{table}"), "true")));
        }
        for catalog in CATALOGS {
            parts.push((
                (*catalog).to_owned(),
                format!(
                    "SELECT sum(hashtextextended(t.xmin::text || t.ctid::text, 0))::text FROM pg_catalog.{catalog} t"
                ),
            ));
        }
        // Statistics and hint counters of pg_class change by themselves, what it says of rights and kind does not.
        parts.push(("pg_class".into(), "SELECT sum(hashtextextended(concat_ws('|', oid, relname, relnamespace, relowner, relacl, relkind, relpersistence, relrowsecurity, relforcerowsecurity, reloptions), 0))::text FROM pg_class".into()));
        // A GRANT that grants nothing writes the row again.
        parts.push((
            "pg_namespace".into(),
            "SELECT string_agg(concat_ws('|', oid, nspname, nspowner, nspacl), ',' ORDER BY oid) FROM pg_namespace"
                .into(),
        ));
        // Roles are the server's, and other tests make some: ours, and any that an attack of ours would make.
        let ours = format!(
            "(rolname IN ({roles}) OR rolname LIKE 'tenantry%' AND rolname NOT LIKE 'tenantry\\_cell%' OR rolname LIKE 'mallory%')",
            roles =
                self.parties().iter().map(|p| format!("'{}', '{}'", p.role, p.login)).collect::<Vec<_>>().join(", ")
        );
        parts.push(("roles".into(), format!("SELECT string_agg(concat_ws('|', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil), ',' ORDER BY rolname) FROM pg_roles WHERE {ours}")));
        parts.push(("passwords".into(), format!("SELECT md5(string_agg(concat(rolname, rolpassword), ',' ORDER BY rolname)) FROM pg_authid WHERE {ours} AND rolname NOT IN ('tenantry_migrator', 'tenantry_control', 'tenantry_auditor', 'tenantry_meter')")));
        // From 16 on, who makes a role administers it: the migrator the roles of every test.
        parts.push(("memberships".into(), format!("SELECT string_agg(concat(r.rolname, '>', g.rolname, m.admin_option), ',' ORDER BY r.rolname, g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN (SELECT oid, rolname FROM pg_roles WHERE {ours}) r ON r.oid = m.member WHERE NOT (r.rolname = 'tenantry_migrator' AND g.rolname ~ '^(tnt|tenantry_cell)_')")));
        parts.push(("role settings".into(), format!("SELECT string_agg(concat(r.rolname, s.setconfig), ',' ORDER BY r.rolname, s.setdatabase) FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE {ours} OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())")));
        parts.push(("database".into(), "SELECT concat_ws('|', datname, datdba, datallowconn, datconnlimit, datacl) FROM pg_database WHERE datname = current_database()".into()));
        let sql: Vec<String> =
            parts.iter().map(|(name, query)| format!("SELECT '{name}'::text, ({query})::text")).collect();
        let rows = self
            .admin
            .query(&sql.join(" UNION ALL "), &[])
            .await
            .unwrap_or_else(|e| panic!("a snapshot is taken: {e:?}"));
        rows.iter().map(|row| (row.get(0), row.get::<_, Option<String>>(1).unwrap_or_default())).collect()
    }
}

fn rows(table: &str, filter: &str) -> String {
    format!(
        "SELECT count(*)::text || '/' || coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {table} t WHERE {filter}"
    )
}
