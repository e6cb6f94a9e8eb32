//! What was done, and where everybody is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::error::MigrateError;
use super::fleet::Fleet;
use super::plan;
use super::shared;
use super::source::{Migration, Scope};
use crate::clients::typed;
use crate::error::DbError;

const OPEN_FAILURES: i64 = 1000;

/// Where the fleet is.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Registry and analytics.
    pub shared: Vec<SharedStatus>,
    /// The version this program brings tenants to.
    pub latest: i32,
    /// How many tenants are at which version.
    pub versions: Vec<VersionCount>,
    /// The last run.
    pub last_run: Option<RunRow>,
    /// Tenants that are not where a run tried to bring them, with what stood in the way; at most 1,000.
    pub failed: Vec<OpenFailure>,
}

/// A set that the database has once.
#[derive(Debug, Clone, Serialize)]
pub struct SharedStatus {
    /// Which.
    pub scope: Scope,
    /// The version it is at.
    pub version: i32,
    /// What is missing.
    pub pending: Vec<String>,
}

/// Tenants at one version.
#[derive(Debug, Clone, Serialize)]
pub struct VersionCount {
    /// The version.
    pub version: i32,
    /// How many.
    pub tenants: i64,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct RunRow {
    /// Its number.
    pub id: i64,
    /// `up` or `down`.
    pub direction: String,
    /// The version it led to.
    pub target: i32,
    /// `cli`, `operator` or `system`.
    pub actor_kind: String,
    /// Who, within the kind.
    pub actor: String,
    /// What it was told.
    pub settings: Value,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; none while it runs.
    pub ended_at: Option<DateTime<Utc>>,
    /// `done`, `failed`, `stopped`, `interrupted` or `killed`.
    pub outcome: Option<String>,
    /// Why it was stopped.
    pub reason: Option<String>,
    /// Tenants migrated.
    pub migrated: i32,
    /// Tenants failed.
    pub failed: i32,
    /// Tenants left out.
    pub skipped: i32,
}

/// A tenant whose last step failed and was not made since.
#[derive(Debug, Clone, Serialize)]
pub struct OpenFailure {
    /// The tenant.
    pub slug: String,
    /// The version it is at.
    pub at: i32,
    /// The step that failed.
    pub version: i32,
    /// `up` or `down`.
    pub direction: String,
    /// The run.
    pub run: Option<i64>,
    /// When.
    pub failed_at: Option<DateTime<Utc>>,
    /// Tries.
    pub attempts: i32,
    /// The SQLSTATE.
    pub sqlstate: Option<String>,
    /// Why.
    pub error: Option<String>,
}

/// A row of the ledger.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerRow {
    /// Its number; later rows have higher ones.
    pub id: i64,
    /// The run.
    pub run: Option<i64>,
    /// The set.
    pub scope: String,
    /// The tenant, by slug; none for registry and analytics, and for one that was purged.
    pub slug: Option<String>,
    /// The tenant.
    pub tenant_id: Option<Uuid>,
    /// The step.
    pub version: i32,
    /// `up` or `down`.
    pub direction: String,
    /// `running`, `done`, `failed` or `skipped`.
    pub state: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: Option<f64>,
    /// Tries.
    pub attempts: i32,
    /// The SQLSTATE.
    pub sqlstate: Option<String>,
    /// Why it failed or was left out.
    pub error: Option<String>,
}

/// Which rows of the ledger to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct HistoryFilter {
    /// Only of this tenant.
    pub slug: Option<String>,
    /// Only of this run.
    pub run: Option<i64>,
    /// Only failed and skipped ones.
    pub failed: bool,
    /// Rows older than this one.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

impl Fleet {
    /// Where everybody is.
    ///
    /// # Errors
    /// [`MigrateError::NotPrepared`], [`MigrateError::Database`].
    pub async fn status(&self) -> Result<Status, MigrateError> {
        let client = self.clients.get().await?;
        let mut shared_sets = Vec::new();
        let mut versions = BTreeMap::new();
        for set in shared::sets() {
            let version = shared::applied(&client, set.scope()).await?.keys().next_back().copied().unwrap_or(0);
            versions.insert(set.scope().as_str().to_owned(), version);
            let pending = set.after(version).iter().map(Migration::label).collect();
            shared_sets.push(SharedStatus { scope: set.scope(), version, pending });
        }
        if versions.get(Scope::Registry.as_str()).is_none_or(|version| *version == 0) {
            return Err(MigrateError::NotPrepared);
        }
        let counts = plan::versions(&client).await?;
        // The ledger itself comes with a migration of the registry.
        let has_ledger = versions.get(Scope::Registry.as_str()).is_some_and(|version| *version >= 2);
        let (last_run, failed) = if has_ledger {
            (runs(&client, 1).await?.pop(), open_failures(&client).await?)
        } else {
            (None, Vec::new())
        };
        client.give_back();
        let versions = counts.into_iter().map(|(version, tenants)| VersionCount { version, tenants }).collect();
        Ok(Status { shared: shared_sets, latest: self.set.latest(), versions, last_run, failed })
    }

    /// The latest runs, newest first.
    ///
    /// # Errors
    /// [`MigrateError::Database`].
    pub async fn runs(&self, limit: i64) -> Result<Vec<RunRow>, MigrateError> {
        let client = self.clients.get().await?;
        let rows = runs(&client, limit).await?;
        client.give_back();
        Ok(rows)
    }

    /// Rows of the ledger, newest first.
    ///
    /// # Errors
    /// [`MigrateError::Database`].
    pub async fn history(&self, filter: &HistoryFilter) -> Result<Vec<LedgerRow>, MigrateError> {
        // Each condition only where it is asked for, so that its index is used.
        let before = filter.before.unwrap_or(i64::MAX);
        let mut params = vec![typed(&before, Type::INT8), typed(&filter.limit, Type::INT8)];
        let mut conditions = String::from("l.id < $1");
        if filter.slug.is_some() {
            params.push(typed(&filter.slug, Type::TEXT));
            conditions.push_str(&format!(
                " AND l.tenant_id = (SELECT id FROM public.tenants WHERE slug = ${})",
                params.len()
            ));
        }
        if filter.run.is_some() {
            params.push(typed(&filter.run, Type::INT8));
            conditions.push_str(&format!(" AND l.run_id = ${}", params.len()));
        }
        if filter.failed {
            conditions.push_str(" AND l.state IN ('failed', 'skipped')");
        }
        let sql = format!(
            "SELECT l.id, l.run_id, l.scope, t.slug, l.tenant_id, l.version, l.direction, l.state, l.started_at, l.duration_ms, l.attempts, l.sqlstate, l.error \
             FROM public.migration_ledger l LEFT JOIN public.tenants t ON t.id = l.tenant_id WHERE {conditions} ORDER BY l.id DESC LIMIT $2"
        );
        let client = self.clients.get().await?;
        let rows = client.query_typed(&sql, &params).await?;
        client.give_back();
        Ok(rows.iter().map(ledger_row).collect())
    }
}

async fn runs(client: &Client, limit: i64) -> Result<Vec<RunRow>, DbError> {
    let sql = "SELECT id, direction, target, actor_kind, actor, settings, started_at, ended_at, outcome, reason, migrated, failed, skipped \
               FROM public.migration_runs ORDER BY id DESC LIMIT $1";
    let rows = client.query_typed(sql, &[typed(&limit, Type::INT8)]).await?;
    let run = |row: &Row| RunRow {
        id: row.get("id"),
        direction: row.get("direction"),
        target: row.get("target"),
        actor_kind: row.get("actor_kind"),
        actor: row.get("actor"),
        settings: row.get("settings"),
        started_at: row.get("started_at"),
        ended_at: row.get("ended_at"),
        outcome: row.get("outcome"),
        reason: row.get("reason"),
        migrated: row.get("migrated"),
        failed: row.get("failed"),
        skipped: row.get("skipped"),
    };
    Ok(rows.iter().map(run).collect())
}

/// By way of the index on failed rows: the fleet's size does not matter, only the number of failures.
async fn open_failures(client: &Client) -> Result<Vec<OpenFailure>, DbError> {
    let sql = "SELECT t.slug, p.schema_version, f.* FROM ( \
            SELECT DISTINCT ON (tenant_id) tenant_id, version, direction, run_id, finished_at, attempts, sqlstate, error \
            FROM public.migration_ledger WHERE state = 'failed' AND tenant_id IS NOT NULL ORDER BY tenant_id, id DESC) f \
        JOIN public.tenants t ON t.id = f.tenant_id JOIN public.tenant_placements p ON p.tenant_id = f.tenant_id \
        WHERE CASE f.direction WHEN 'up' THEN p.schema_version < f.version ELSE p.schema_version >= f.version END \
        ORDER BY t.slug LIMIT $1";
    let rows = client.query_typed(sql, &[typed(&OPEN_FAILURES, Type::INT8)]).await?;
    let failure = |row: &Row| OpenFailure {
        slug: row.get("slug"),
        at: row.get("schema_version"),
        version: row.get("version"),
        direction: row.get("direction"),
        run: row.get("run_id"),
        failed_at: row.get("finished_at"),
        attempts: row.get("attempts"),
        sqlstate: row.get("sqlstate"),
        error: row.get("error"),
    };
    Ok(rows.iter().map(failure).collect())
}

fn ledger_row(row: &Row) -> LedgerRow {
    LedgerRow {
        id: row.get("id"),
        run: row.get("run_id"),
        scope: row.get("scope"),
        slug: row.get("slug"),
        tenant_id: row.get("tenant_id"),
        version: row.get("version"),
        direction: row.get("direction"),
        state: row.get("state"),
        started_at: row.get("started_at"),
        duration_ms: row.get("duration_ms"),
        attempts: row.get("attempts"),
        sqlstate: row.get("sqlstate"),
        error: row.get("error"),
    }
}
