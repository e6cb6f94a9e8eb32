//! What must hold outside the tenants' schemas: registry, audit and analytics, the installation's roles, the database,
//! and what was taken from PUBLIC.

use std::collections::BTreeSet;

use tenantry_core::{TenantId, quote_identifier, quote_literal};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::catalog::{self, Lines, Place};
use super::compare::{self, Change, Difference, Repair};
use super::with_warm;
use crate::clients::typed;
use crate::connect::Logins;
use crate::error::DbError;
use crate::init;
use crate::migrate::shared;

const SCHEMAS: &[&str] = &["public", "tenantry", "audit", "analytics"];

/// Everything that differs, and what could not be looked at.
pub(super) async fn differences(client: &Client, warm: bool) -> Result<(Vec<Difference>, Vec<String>), DbError> {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    let applied = applied(client).await?;
    let behind: Vec<String> = shared::missing(&applied).collect();
    if behind.is_empty() {
        found.extend(shared_schemas(client).await?);
    } else {
        notes.push(format!("registry and analytics were not compared: `{}` is not applied", behind.join("`, `")));
    }
    for sql in [include_str!("roles.sql"), include_str!("database.sql")] {
        found.extend(client.query_typed(&with_warm(sql, warm), &[]).await?.iter().map(told));
    }
    let (withdrawn, note) = public(client).await?;
    found.extend(withdrawn);
    notes.extend(note);
    Ok((found, notes))
}

async fn applied(client: &Client) -> Result<std::collections::BTreeMap<String, i32>, DbError> {
    let sql = "SELECT scope, max(version) FROM public.schema_migrations GROUP BY scope";
    Ok(client.query_typed(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// A row of kind, object, sentence and repair, where the sentence begins with `+`, `-` or `~`.
fn told(row: &tokio_postgres::Row) -> Difference {
    let (kind, object, text, sql): (String, String, String, String) = (row.get(0), row.get(1), row.get(2), row.get(3));
    let change = match text.as_bytes().first() {
        Some(b'+') => Change::Extra,
        Some(b'-') => Change::Missing,
        _ => Change::Different,
    };
    let repair = vec![Repair { phase: 5, sql, destroys: false, administrative: true }];
    Difference { change, kind, object, expected: None, found: None, text, repair }
}

/// Registry, audit and analytics beside ones made anew under other names, in a transaction that is rolled back.
async fn shared_schemas(client: &Client) -> Result<Vec<Difference>, DbError> {
    let hex = TenantId::generate().as_uuid().simple().to_string();
    let prefix = format!("ref_{}_", &hex[hex.len() - 12..]);
    let mut sql = format!("CREATE SCHEMA {prefix}public;");
    for migration in shared::sets().iter().flat_map(|set| set.all()) {
        sql.push_str(&renamed(&migration.up, &prefix));
        sql.push_str("\n;\n");
    }
    client
        .batch_execute(&format!(
            "BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '60s'; SET LOCAL ROLE {}; {sql} RESET ROLE",
            Logins::OWNER
        ))
        .await?;
    let mut references = Vec::new();
    for schema in SCHEMAS {
        let place = Place { schema: format!("{prefix}{schema}"), role: String::new(), cell: String::new() };
        references.push(named_back(catalog::lines(client, &place).await?, &prefix));
    }
    client.batch_execute("ROLLBACK").await?;
    let mut differences = Vec::new();
    for (schema, reference) in SCHEMAS.iter().zip(references) {
        let place = Place { schema: (*schema).to_owned(), role: String::new(), cell: String::new() };
        let (reference, actual) = without_months(reference, catalog::lines(client, &place).await?);
        differences.extend(compare::compare(&reference, &actual, &place, schema));
    }
    Ok(differences)
}

/// With other schemas for the shared ones, in code and in quotes alike: functions name them in both.
fn renamed(sql: &str, prefix: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(sql.len() * 2);
    let mut rest = sql;
    while !rest.is_empty() {
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if SCHEMAS.contains(&&rest[..word]) {
            out.push_str(prefix);
        }
        let end = word + rest[word..].find(is_word).unwrap_or(rest.len() - word);
        out.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    out
}

fn named_back(lines: Lines, prefix: &str) -> Lines {
    let mut back = Lines::new();
    for ((kind, name), mut entry) in lines {
        entry.def = entry.def.replace(prefix, "");
        entry.within = entry.within.replace(prefix, "");
        back.insert((kind, name.replace(prefix, "")), entry);
    }
    back
}

/// Partitions come with the months, and go when each table's rows are old enough: those of the reference tell what each one must be,
/// which ones there are does not matter. The schema `public` itself is the database owner's, which `database.sql` looks at.
fn without_months(reference: Lines, actual: Lines) -> (Lines, Lines) {
    let of_public = |kind: &str, name: &str| matches!(kind, "owner" | "grant") && name.starts_with("schema ");
    let partitions: BTreeSet<&str> =
        actual.values().filter(|entry| month(&entry.within).is_some()).map(|entry| entry.within.as_str()).collect();
    let mut wanted = Lines::new();
    for ((kind, name), entry) in reference {
        if of_public(&kind, &name) {
            continue;
        }
        let Some(own) = month(&entry.within) else {
            wanted.insert((kind, name), entry);
            continue;
        };
        let table = entry.within.trim_end_matches(&own);
        for other in partitions.iter().filter_map(|partition| partition.strip_prefix(table)) {
            if month(other).is_none_or(|whole| whole != other) {
                continue;
            }
            let mut copy = entry.clone();
            copy.def = copy.def.replace(&own, other);
            copy.within = copy.within.replace(&own, other);
            wanted.insert((kind.clone(), name.replace(&own, other)), copy);
        }
    }
    let mut found = Lines::new();
    for ((kind, name), mut entry) in actual {
        if of_public(&kind, &name) {
            continue;
        }
        // The bounds of a partition are said by its name.
        if kind == "table" && month(&entry.within).is_some() {
            entry.def.clone_from(
                &wanted.get(&(kind.clone(), name.clone())).map_or_else(|| entry.def.clone(), |want| want.def.clone()),
            );
        }
        found.insert((kind, name), entry);
    }
    (wanted, found)
}

/// The `_2027_01` at the end of a partition's name.
fn month(table: &str) -> Option<String> {
    let suffix = table.get(table.len().checked_sub(8)?..)?;
    let fine =
        suffix.bytes().enumerate().all(|(at, b)| if at == 0 || at == 5 { b == b'_' } else { b.is_ascii_digit() });
    fine.then(|| suffix.to_owned())
}

/// What PUBLIC may do again that `tenantry init` has taken from it.
async fn public(client: &Client) -> Result<(Vec<Difference>, Option<String>), DbError> {
    let rows = client
        .query_typed(
            "SELECT p.oid::regprocedure::text, has_function_privilege('public', p.oid, 'EXECUTE') FROM pg_proc p \
             WHERE p.pronamespace = 'pg_catalog'::regnamespace AND (p.proname = ANY ($1) OR p.proname LIKE $2) ORDER BY 1",
            &[typed(&init::FORBIDDEN_FUNCTIONS, Type::TEXT_ARRAY), typed(&init::STATISTICS_FUNCTIONS, Type::TEXT)],
        )
        .await?;
    let back: Vec<String> = rows.iter().filter(|row| row.get(1)).map(|row| row.get(0)).collect();
    if !back.is_empty() && back.len() == rows.len() {
        let note = "PUBLIC may call every server function: `tenantry init` was never run by a superuser here";
        return Ok((Vec::new(), Some(note.to_owned())));
    }
    let mut found: Vec<Difference> = back
        .iter()
        .map(|function| {
            extra(
                "grant",
                function,
                format!("+ grant EXECUTE on function {function} to PUBLIC"),
                format!("REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"),
            )
        })
        .collect();
    let checks = [
        (
            "has_column_privilege('public', 'pg_catalog.pg_class', 'reltuples', 'SELECT')",
            "SELECT on pg_catalog.pg_class",
            "REVOKE SELECT ON pg_catalog.pg_class FROM PUBLIC; GRANT SELECT (%) ON pg_catalog.pg_class TO PUBLIC",
        ),
        (
            "has_table_privilege('public', 'pg_catalog.pg_settings', 'UPDATE')",
            "UPDATE on pg_catalog.pg_settings",
            "REVOKE UPDATE ON pg_catalog.pg_settings FROM PUBLIC",
        ),
        (
            "has_language_privilege('public', 'plpgsql', 'USAGE')",
            "USAGE on language plpgsql",
            "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
        ),
    ];
    for (check, what, repair) in checks {
        let rows = client.query_typed(&format!("SELECT {check}"), &[]).await?;
        if rows.first().is_some_and(|row| row.get(0)) {
            let repair = if repair.contains('%') { columns(client, repair).await? } else { repair.to_owned() };
            found.push(extra("grant", what, format!("+ grant {what} to PUBLIC"), repair));
        }
    }
    Ok((found, None))
}

/// With the columns of `pg_class` that PUBLIC keeps.
async fn columns(client: &Client, repair: &str) -> Result<String, DbError> {
    let sizes = init::SIZE_COLUMNS.iter().map(|name| quote_literal(name)).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'pg_catalog.pg_class'::regclass AND attname NOT IN ({sizes}) ORDER BY attnum"
    );
    let names = client.query_typed(&sql, &[]).await?;
    let names: Vec<String> = names.iter().map(|row| quote_identifier(row.get(0))).collect();
    Ok(repair.replace('%', &names.join(", ")))
}

fn extra(kind: &str, object: &str, text: String, sql: String) -> Difference {
    Difference {
        change: Change::Extra,
        kind: kind.to_owned(),
        object: object.to_owned(),
        expected: None,
        found: None,
        text,
        repair: vec![Repair { phase: 5, sql, destroys: false, administrative: true }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_schemas_are_named_otherwise() {
        assert_eq!(
            renamed(
                "CREATE SCHEMA audit; TABLE public.a; 'analytics.%I', tenantry_owner, audit_events TO PUBLIC",
                "r_"
            ),
            "CREATE SCHEMA r_audit; TABLE r_public.a; 'r_analytics.%I', tenantry_owner, audit_events TO PUBLIC"
        );
    }

    #[test]
    fn partitions_end_with_a_month() {
        assert_eq!(month("daily_metrics_2027_01").as_deref(), Some("_2027_01"));
        assert_eq!(month("daily_metrics"), None);
        assert_eq!(month(""), None);
    }
}
