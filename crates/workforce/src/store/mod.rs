//! All SQL of the domain. Every function takes `&mut TenantTx`, so it reaches the tenant of its context and no other.
//!
//! ```compile_fail,E0308
//! use tenantry_postgres::TenantDb;
//! use workforce::{AgentId, store::agents};
//! async fn without_a_tenant(mut db: TenantDb, id: AgentId) {
//!     let _ = agents::find(&mut db, id, false).await;
//! }
//! ```
//!
//! Reads are one statement each, fit for `TenantDb::single`. Writes leave an audit event in their own transaction.

pub mod accounts;
pub mod activity;
pub mod agents;
pub mod attribution;
pub mod claim;
pub mod credentials;
pub mod dependencies;
pub mod messages;
pub mod oauth;
pub mod quotas;
mod sample;
pub mod schedules;
pub mod sealed;
pub mod sessions;
pub mod tasks;
pub mod threads;

use tenantry_postgres::Statement;

pub(crate) use dependencies::add_first as insert_sample_dependencies;
pub(crate) use sample::{
    insert_sample_activity, insert_sample_agent, insert_sample_message, insert_sample_session, insert_sample_task,
    sample_room, set_sample_current_task,
};

/// Every statement of the domain, for the test that prepares each against the migrated schema.
#[must_use]
pub fn statements() -> Vec<&'static Statement> {
    [
        accounts::STATEMENTS,
        accounts::calling::STATEMENTS,
        accounts::renewal::STATEMENTS,
        credentials::STATEMENTS,
        oauth::STATEMENTS,
        sealed::STATEMENTS,
        agents::STATEMENTS,
        attribution::STATEMENTS,
        dependencies::STATEMENTS,
        tasks::STATEMENTS,
        claim::STATEMENTS,
        messages::STATEMENTS,
        threads::STATEMENTS,
        activity::STATEMENTS,
        sessions::STATEMENTS,
        schedules::STATEMENTS,
        quotas::STATEMENTS,
        sample::STATEMENTS,
        tenantry_http::STATEMENTS,
        tenantry_http::CLAIM_STATEMENTS,
    ]
    .concat()
}

/// Reads one column by name. A macro, because the conversion needs the database's error on the way.
macro_rules! column {
    ($row:expr, $name:literal) => {
        $row.try_get($name).map_err(::tenantry_postgres::DbError::from)?
    };
}
pub(crate) use column;

/// Words to compare with, as a parameter; none at all compare with nothing.
fn words<T: Copy>(words: &[T], text: impl Fn(T) -> &'static str) -> Option<Vec<&'static str>> {
    (!words.is_empty()).then(|| words.iter().map(|word| text(*word)).collect())
}

/// The end of a list's statement: the rows behind a place, by an instant, the latest first. The `COALESCE` stands for "from
/// the start" and keeps the comparison one that an index can serve.
macro_rules! latest_first {
    ($column:literal, $key:literal, $id:literal, $limit:literal) => {
        concat!(
            " AND (",
            $column,
            ", id) < (COALESCE(",
            $key,
            ", 'infinity'::timestamptz), COALESCE(",
            $id,
            ", 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) ORDER BY ",
            $column,
            " DESC, id DESC LIMIT ",
            $limit
        )
    };
}
pub(crate) use latest_first;

/// As `latest_first`, the other way round.
macro_rules! earliest_first {
    ($column:literal, $key:literal, $id:literal, $limit:literal) => {
        concat!(
            " AND (",
            $column,
            ", id) > (COALESCE(",
            $key,
            ", '-infinity'::timestamptz), COALESCE(",
            $id,
            ", '00000000-0000-0000-0000-000000000000'::uuid)) ORDER BY ",
            $column,
            ", id LIMIT ",
            $limit
        )
    };
}
pub(crate) use earliest_first;

/// The end of a list's statement for an order that has no index: the rows behind a place, by an expression and a key that is
/// comparable with it, `>` for the smallest first.
macro_rules! sorted {
    ($expression:expr, > $key:expr, $id:literal, $limit:literal) => {
        concat!(
            " AND (",
            $id,
            "::uuid IS NULL OR (",
            $expression,
            ", id) > (",
            $key,
            ", ",
            $id,
            ")) \
              ORDER BY ",
            $expression,
            ", id LIMIT ",
            $limit
        )
    };
    ($expression:expr, < $key:expr, $id:literal, $limit:literal) => {
        concat!(
            " AND (",
            $id,
            "::uuid IS NULL OR (",
            $expression,
            ", id) < (",
            $key,
            ", ",
            $id,
            ")) \
              ORDER BY ",
            $expression,
            " DESC, id DESC LIMIT ",
            $limit
        )
    };
}
pub(crate) use sorted;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn statements_use_all_their_parameters_and_only_the_pseudo_schema() {
        let mut names = HashSet::new();
        for statement in statements() {
            assert!(names.insert(statement.name()), "{} twice", statement.name());
            let used = (1..100).take_while(|n| statement.sql().contains(&format!("${n}"))).count();
            assert_eq!(used, statement.params().len(), "{}", statement.name());
            let parts = ["found", "held", "gone", "freed", "live", "place"];
            for keyword in ["FROM ", "INTO ", "UPDATE "] {
                for (at, _) in statement.sql().match_indices(keyword) {
                    let target = &statement.sql()[at + keyword.len()..];
                    let word = target.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                    // a part of the statement itself, named in its `WITH`
                    let own = parts.contains(&word) && statement.sql().contains(&format!("{word} AS ("));
                    let clause = ["SET", "(", ")", "SKIP LOCKED"].iter().any(|clause| target.starts_with(clause));
                    let fine = own || clause || target.starts_with("tenant.");
                    assert!(fine, "{}: `{keyword}{target}`", statement.name());
                }
            }
        }
    }

    /// Whatever makes or removes what a plan limits says so to its counter in the same statement. Rows for demonstrations are counted
    /// when all are there.
    #[test]
    fn statements_count_what_they_make_and_remove() {
        for statement in statements() {
            let sql = statement.sql();
            let makes = sql.contains("INSERT INTO tenant.agents") || sql.contains("INSERT INTO tenant.tasks ");
            let of_limited = sql.contains("UPDATE tenant.agents") || sql.contains("UPDATE tenant.tasks ");
            let removes = of_limited && sql.contains("deleted_at = ");
            if (makes || removes) && !statement.name().starts_with("SAMPLE_") {
                assert!(sql.contains("tenant.quota_counters"), "{} is not counted", statement.name());
            }
        }
    }
}
