//! What has to be told of budgets: written as the role of the metering, told as the tenant.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tenantry_core::Slug;
use tenantry_postgres::{DbError, MeterDb, Row, TenantTx, statements};
use uuid::Uuid;

use crate::Usd;
use crate::budgets::tenant::Key;

statements! {
    /// Notes the thresholds that are reached in these periods. What was noted before is not noted again.
    NOTE_THRESHOLDS(UUID_ARRAY, DATE_ARRAY, DATE_ARRAY, TIMESTAMPTZ) =
        "WITH spent AS ( \
           SELECT b.id, b.tenant_id, b.limit_usd, b.warn_at, a.first_day, \
             COALESCE((SELECT sum(c.cost_usd) FROM analytics.spend_counters c WHERE c.tenant_id = b.tenant_id AND c.scope = b.scope \
               AND c.scope_id = b.scope_id AND c.day >= a.first_day AND c.day < a.end_day), 0) AS cost \
           FROM unnest($1::uuid[], $2::date[], $3::date[]) AS a (budget_id, first_day, end_day) \
           JOIN analytics.budgets b ON b.id = a.budget_id AND b.deleted_at IS NULL \
         ) INSERT INTO analytics.budget_notices \
             (tenant_id, budget_id, period_start, kind, threshold, spent_usd, limit_usd, noticed_at, next_attempt_at) \
           SELECT s.tenant_id, s.id, s.first_day, 'threshold', t.percent, s.cost, s.limit_usd, $4, $4 \
           FROM spent s CROSS JOIN LATERAL unnest(s.warn_at) AS t (percent) \
           WHERE s.cost * 100 >= s.limit_usd * t.percent ORDER BY s.id, t.percent \
         ON CONFLICT (budget_id, period_start, kind, threshold) DO NOTHING";
    /// Notes that calls were refused in these periods.
    NOTE_REFUSALS(UUID_ARRAY, DATE_ARRAY, DATE_ARRAY, TIMESTAMPTZ) =
        "INSERT INTO analytics.budget_notices \
             (tenant_id, budget_id, period_start, kind, threshold, spent_usd, limit_usd, noticed_at, next_attempt_at) \
           SELECT b.tenant_id, b.id, a.first_day, 'refused', 0, \
             COALESCE((SELECT sum(c.cost_usd) FROM analytics.spend_counters c WHERE c.tenant_id = b.tenant_id AND c.scope = b.scope \
               AND c.scope_id = b.scope_id AND c.day >= a.first_day AND c.day < a.end_day), 0), b.limit_usd, $4, $4 \
           FROM unnest($1::uuid[], $2::date[], $3::date[]) AS a (budget_id, first_day, end_day) \
           JOIN analytics.budgets b ON b.id = a.budget_id AND b.deleted_at IS NULL ORDER BY b.id \
         ON CONFLICT (budget_id, period_start, kind, threshold) DO NOTHING";
    /// Takes notices that are due, so that no other server takes them before the second time.
    TAKE_NOTICES(TIMESTAMPTZ, TIMESTAMPTZ, INT8) =
        "UPDATE analytics.budget_notices n SET next_attempt_at = $2 FROM public.tenants t \
         WHERE t.id = n.tenant_id AND n.id IN (SELECT id FROM analytics.budget_notices WHERE next_attempt_at <= $1 \
           ORDER BY next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED) \
         RETURNING n.id, t.slug, n.attempts";
    /// A notice is done with, or tried again later.
    END_ATTEMPT(UUID, TIMESTAMPTZ, INT4, TIMESTAMPTZ, TEXT) =
        "UPDATE analytics.budget_notices SET delivered_at = $2, attempts = $3, next_attempt_at = $4, last_error = $5 WHERE id = $1";
    /// Marks a notice as told in the tenant's events. No row: it was before.
    PUBLISH_NOTICE(UUID, TIMESTAMPTZ) =
        "UPDATE analytics.budget_notices SET published_at = $2 WHERE id = $1 AND published_at IS NULL RETURNING id";
    /// A notice with its budget.
    FIND_NOTICE(UUID) =
        "SELECT n.id, n.period_start, n.kind, n.threshold, n.spent_usd, n.limit_usd, n.noticed_at, n.delivered_at, \
           b.id AS budget_id, b.name, b.scope, b.scope_id, b.period, b.hard, b.webhook_url, b.webhook_secret, b.deleted_at \
         FROM analytics.budget_notices n JOIN analytics.budgets b ON b.id = n.budget_id WHERE n.id = $1";
}

/// Notes what has happened in these periods: thresholds that are reached, or that calls were refused.
pub(crate) async fn notice(
    db: &MeterDb,
    periods: &[(Key, NaiveDate)],
    refused: bool,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let ids: Vec<Uuid> = periods.iter().map(|(key, _)| key.budget).collect();
    let starts: Vec<NaiveDate> = periods.iter().map(|(key, _)| key.start).collect();
    let ends: Vec<NaiveDate> = periods.iter().map(|(_, end)| *end).collect();
    let statement = if refused { &NOTE_REFUSALS } else { &NOTE_THRESHOLDS };
    let tx = db.begin().await?;
    tx.execute(statement, &[&ids, &starts, &ends, &now]).await?;
    tx.commit().await
}

/// A notice that is due.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) id: Uuid,
    pub(crate) tenant: Slug,
    pub(crate) attempts: i32,
}

/// Takes some notices that are due; until `lease` nobody else does.
pub(crate) async fn take(
    db: &MeterDb,
    now: DateTime<Utc>,
    lease: DateTime<Utc>,
    most: i64,
) -> Result<Vec<Due>, DbError> {
    let tx = db.begin().await?;
    let rows = tx.query(&TAKE_NOTICES, &[&now, &lease, &most]).await?;
    tx.commit().await?;
    let due = |row: &Row| {
        let slug: &str = row.try_get("slug")?;
        let tenant = slug.parse().map_err(|_| DbError::Misuse("a tenant's slug is none"))?;
        Ok(Due { id: row.try_get("id")?, tenant, attempts: row.try_get("attempts")? })
    };
    rows.iter().map(due).collect()
}

/// How an attempt to tell ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) delivered_at: Option<DateTime<Utc>>,
    pub(crate) attempts: i32,
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    pub(crate) error: Option<String>,
}

/// Writes down how an attempt ended.
pub(crate) async fn end(db: &MeterDb, notice: Uuid, ended: &Ended) -> Result<(), DbError> {
    let tx = db.begin().await?;
    let Ended { delivered_at, attempts, next_attempt_at, error } = ended;
    tx.execute(&END_ATTEMPT, &[&notice, delivered_at, attempts, next_attempt_at, error]).await?;
    tx.commit().await
}

/// A notice as it is told.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) id: Uuid,
    pub(crate) budget: Uuid,
    pub(crate) kind: &'static str,
    pub(crate) data: Value,
    pub(crate) noticed_at: DateTime<Utc>,
    /// Where it is posted to, with the sealed secret.
    pub(crate) webhook: Option<(String, Vec<u8>)>,
}

/// Reads a notice of the tenant, and writes it among its events if that has not been done.
pub(crate) async fn publish(tx: &mut TenantTx, notice: Uuid, now: DateTime<Utc>) -> Result<Option<Notice>, DbError> {
    let Some(row) = tx.query_opt(&FIND_NOTICE, &[&notice]).await? else { return Ok(None) };
    let notice = read(&row)?;
    if tx.query_opt(&PUBLISH_NOTICE, &[&notice.id, &now]).await?.is_some() {
        tx.publish(notice.kind, notice.data.clone());
    }
    Ok(Some(notice))
}

fn read(row: &Row) -> Result<Notice, DbError> {
    let kind: &str = row.try_get("kind")?;
    let kind = if kind == "refused" { "budget.refused" } else { "budget.threshold" };
    let (id, budget): (Uuid, Uuid) = (row.try_get("id")?, row.try_get("budget_id")?);
    let scope: &str = row.try_get("scope")?;
    let scope_id: Uuid = row.try_get("scope_id")?;
    let threshold: i32 = row.try_get("threshold")?;
    let usd = |column: &str| row.try_get::<_, Decimal>(column).map(Usd);
    let data = json!({
        "budget": {
            "id": budget, "name": row.try_get::<_, &str>("name")?, "scope": scope,
            "scope_id": (scope != "tenant").then_some(scope_id), "period": row.try_get::<_, &str>("period")?,
            "hard": row.try_get::<_, bool>("hard")?,
        },
        "period_start": row.try_get::<_, NaiveDate>("period_start")?,
        "threshold_percent": (kind == "budget.threshold").then_some(threshold),
        "spent_usd": usd("spent_usd")?,
        "limit_usd": usd("limit_usd")?,
    });
    let delivered: Option<DateTime<Utc>> = row.try_get("delivered_at")?;
    let deleted: Option<DateTime<Utc>> = row.try_get("deleted_at")?;
    let (url, secret): (Option<String>, Option<Vec<u8>>) =
        (row.try_get("webhook_url")?, row.try_get("webhook_secret")?);
    let webhook = url.zip(secret).filter(|_| delivered.is_none() && deleted.is_none());
    Ok(Notice { id, budget, kind, data, noticed_at: row.try_get("noticed_at")?, webhook })
}
