//! Budgets and leases as servers use them: across tenants, as the role of the metering.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use tenantry_core::TenantId;
use tenantry_core::calendar::Tz;
use tenantry_postgres::{DbError, MeterDb, MeterTx, Row, statements};
use uuid::Uuid;

use crate::budgets::lease::{Ask, Granted};
use crate::budgets::tenant::{Key, Limit};
use crate::budgets::{Period, Scope};

statements! {
    /// Budgets that were written by this transaction or a later one, with the first transaction that is not over, on every row: at least one.
    CHANGED_BUDGETS(TEXT) =
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS upto, b.* FROM (VALUES (1)) AS one (row) LEFT JOIN LATERAL ( \
           SELECT b.id, b.tenant_id, b.name, b.scope, b.scope_id, b.period, b.limit_usd, b.hard, b.version, \
             b.deleted_at IS NOT NULL AS deleted, t.time_zone \
           FROM analytics.budgets b JOIN public.tenants t ON t.id = b.tenant_id \
           WHERE b.changed_in >= $1::text::xid8) b ON true";
    /// What a server has leased.
    OWN_LEASES(UUID) =
        "SELECT budget_id, tenant_id, period_start, amount_usd, extract(epoch FROM expires_at - now())::float8 AS seconds \
         FROM analytics.budget_leases WHERE server_id = $1 AND expires_at > now()";
    /// Lets one server at a time reckon with a budget. Ordered, so that no two wait for each other.
    LOCK_BUDGETS(UUID_ARRAY) =
        "SELECT id FROM analytics.budgets WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
    /// Waits for shipments that are taking off a lease, so that the next statement sees what they did.
    LOCK_OWN_LEASES(UUID_ARRAY, UUID) =
        "SELECT budget_id FROM analytics.budget_leases WHERE budget_id = ANY ($1) AND server_id = $2 \
         ORDER BY budget_id, period_start FOR UPDATE";
    /// Makes leases as large as they are asked for, as far as spent and leased together stay within the limit.
    ///
    /// What is taken already is leased in any case: it is a fact, and others are to know of it.
    RESIZE_LEASES(UUID, UUID, FLOAT8, UUID_ARRAY, DATE_ARRAY, DATE_ARRAY, NUMERIC_ARRAY, NUMERIC_ARRAY, NUMERIC_ARRAY, NUMERIC_ARRAY, BOOL_ARRAY) =
        "WITH ask AS ( \
           SELECT * FROM unnest($4::uuid[], $5::date[], $6::date[], $7::numeric[], $8::numeric[], $9::numeric[], $10::numeric[], $11::bool[]) \
             AS a (budget_id, first_day, end_day, leased, exposure, need, slack, shrink) \
         ), seen AS ( \
           SELECT a.*, b.tenant_id, b.limit_usd, own.amount_usd AS own, \
             b.limit_usd \
             - COALESCE((SELECT sum(c.cost_usd) FROM analytics.spend_counters c WHERE c.tenant_id = b.tenant_id AND c.scope = b.scope \
                 AND c.scope_id = b.scope_id AND c.day >= a.first_day AND c.day < a.end_day), 0) \
             - COALESCE((SELECT sum(greatest(l.amount_usd, 0)) FROM analytics.budget_leases l WHERE l.budget_id = b.id \
                 AND l.period_start = a.first_day AND l.server_id <> $1 AND l.expires_at > now()), 0) AS headroom \
           FROM ask a JOIN analytics.budgets b ON b.id = a.budget_id AND b.tenant_id = $2 AND b.deleted_at IS NULL \
           LEFT JOIN analytics.budget_leases own ON own.budget_id = b.id AND own.period_start = a.first_day AND own.server_id = $1 \
             AND own.expires_at > now() AND a.leased IS NOT NULL \
         ), shifted AS ( \
           SELECT s.*, COALESCE(s.own - s.leased, 0) AS shift, \
             CASE WHEN s.own IS NULL OR s.shrink THEN s.exposure ELSE greatest(s.leased, s.exposure) END AS least \
           FROM seen s \
         ), sized AS ( \
           SELECT s.*, s.exposure + s.need + s.shift AS must, s.headroom - (s.exposure + s.need + s.shift) AS spare FROM shifted s \
         ), written AS ( \
           INSERT INTO analytics.budget_leases AS l (budget_id, tenant_id, server_id, period_start, amount_usd, expires_at) \
           SELECT s.budget_id, s.tenant_id, $1, s.first_day, \
             greatest(CASE WHEN s.spare >= 0 THEN s.must + least(s.slack, greatest(trunc(s.spare / 4, 12), least(s.spare, trunc(s.slack / 64, 12)))) \
                           ELSE s.headroom END, s.least + s.shift, 0), \
             now() + make_interval(secs => $3) \
           FROM sized s \
           ON CONFLICT (budget_id, period_start, server_id) DO UPDATE SET amount_usd = excluded.amount_usd, expires_at = excluded.expires_at \
           RETURNING l.budget_id, l.period_start, l.amount_usd \
         ) SELECT w.budget_id, w.period_start, w.amount_usd, s.own, w.amount_usd >= s.must AS enough, s.slack > 0 AND s.spare < 4 * s.slack AS tight, \
             s.limit_usd - s.headroom + s.exposure + s.shift AS used \
         FROM written w JOIN sized s ON s.budget_id = w.budget_id AND s.first_day = w.period_start";
    /// Takes what is shipped off the leases that it was held in.
    LOWER_LEASES(UUID, UUID_ARRAY, DATE_ARRAY, NUMERIC_ARRAY) =
        "WITH held AS ( \
           SELECT l.budget_id, l.period_start, s.amount FROM analytics.budget_leases l \
           JOIN unnest($2::uuid[], $3::date[], $4::numeric[]) AS s (budget_id, period_start, amount) \
             ON s.budget_id = l.budget_id AND s.period_start = l.period_start \
           WHERE l.server_id = $1 ORDER BY l.budget_id, l.period_start FOR UPDATE OF l \
         ) UPDATE analytics.budget_leases l SET amount_usd = l.amount_usd - h.amount FROM held h \
         WHERE l.budget_id = h.budget_id AND l.period_start = h.period_start AND l.server_id = $1";
    /// What servers have leased of a budget in a period.
    RESERVED(UUID, DATE) =
        "SELECT COALESCE(sum(greatest(amount_usd, 0)), 0) AS reserved FROM analytics.budget_leases \
         WHERE budget_id = $1 AND period_start = $2 AND expires_at > now()";
    /// Removes leases that count no more.
    FORGET_LEASES() = "DELETE FROM analytics.budget_leases WHERE expires_at < now() - interval '1 day'";
}

/// A budget that is new, changed or deleted.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) tenant: TenantId,
    pub(crate) zone: Tz,
    pub(crate) limit: Limit,
    pub(crate) deleted: bool,
}

/// What has changed since a place in the order of transactions, and the place to begin at the next time. The first place is `0`.
pub(crate) async fn changes(db: &MeterDb, since: &str) -> Result<(Vec<Change>, String), DbError> {
    let tx = db.begin().await?;
    let rows = tx.query(&CHANGED_BUDGETS, &[&since]).await?;
    tx.commit().await?;
    let mut changes = Vec::new();
    let mut upto = since.to_owned();
    for row in &rows {
        upto = row.try_get("upto")?;
        if row.try_get::<_, Option<Uuid>>("id")?.is_some() {
            changes.push(change(row)?);
        }
    }
    Ok((changes, upto))
}

fn change(row: &Row) -> Result<Change, DbError> {
    let unreadable = || DbError::Misuse("a budget's row has words that are not known");
    let (scope, period): (&str, &str) = (row.try_get("scope")?, row.try_get("period")?);
    let zone: &str = row.try_get("time_zone")?;
    let limit = Limit {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        scope: scope.parse::<Scope>().map_err(|_| unreadable())?,
        scope_id: row.try_get("scope_id")?,
        period: period.parse::<Period>().map_err(|_| unreadable())?,
        limit_usd: row.try_get("limit_usd")?,
        hard: row.try_get("hard")?,
        version: row.try_get("version")?,
        span: None,
    };
    Ok(Change {
        tenant: TenantId::from_uuid(row.try_get("tenant_id")?),
        zone: zone.parse().map_err(|_| unreadable())?,
        limit,
        deleted: row.try_get("deleted")?,
    })
}

/// A lease that this server had before it was started, and the seconds that it lasts.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) tenant: TenantId,
    pub(crate) key: Key,
    pub(crate) amount: Decimal,
    pub(crate) seconds: f64,
}

/// What a server of this id has leased.
pub(crate) async fn own(db: &MeterDb, server: Uuid) -> Result<Vec<Found>, DbError> {
    let tx = db.begin().await?;
    let rows = tx.query(&OWN_LEASES, &[&server]).await?;
    tx.commit().await?;
    let found = |row: &Row| {
        Ok(Found {
            tenant: TenantId::from_uuid(row.try_get("tenant_id")?),
            key: Key { budget: row.try_get("budget_id")?, start: row.try_get("period_start")? },
            amount: row.try_get("amount_usd")?,
            seconds: row.try_get("seconds")?,
        })
    };
    rows.iter().map(found).collect()
}

/// What the database made of an ask.
#[derive(Debug)]
pub(crate) struct Resized {
    pub(crate) key: Key,
    pub(crate) granted: Granted,
    /// Whether so little is left that whoever keeps some keeps it from others.
    pub(crate) tight: bool,
    /// What is spent or held, by all servers.
    pub(crate) used_usd: Decimal,
}

/// How a resizing ended that did not succeed.
#[derive(Debug)]
pub(crate) enum NotResized {
    /// Nothing has changed.
    Undone(DbError),
    /// Nobody knows.
    Unknown(DbError),
}

/// One ask, with the last day of its period and one.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) key: Key,
    pub(crate) end: NaiveDate,
    pub(crate) ask: Ask,
}

/// Resizes leases of a server, of one tenant's budgets; a budget that is deleted meanwhile is left out.
pub(crate) async fn resize(
    db: &MeterDb,
    server: Uuid,
    tenant: TenantId,
    lease_seconds: f64,
    asked: &[Asked],
) -> Result<Vec<Resized>, NotResized> {
    let tx = db.begin().await.map_err(NotResized::Undone)?;
    match resize_in(&tx, server, tenant, lease_seconds, asked).await {
        Ok(resized) => {
            tx.commit().await.map_err(NotResized::Unknown)?;
            Ok(resized)
        }
        Err(error) => {
            // Lost or not, what was not committed is undone.
            let _ = tx.rollback().await;
            Err(NotResized::Undone(error))
        }
    }
}

async fn resize_in(
    tx: &MeterTx,
    server: Uuid,
    tenant: TenantId,
    lease_seconds: f64,
    asked: &[Asked],
) -> Result<Vec<Resized>, DbError> {
    // A lease that grows has to last, or another server could be given the same after a crash of the database. One that only becomes smaller or
    // lasts longer need not: if that is lost, it counts for more than it should, until it is resized again.
    let grows = asked.iter().any(|Asked { ask, .. }| !ask.shrink || !ask.need.is_zero() || !ask.slack.is_zero());
    let settings = if grows {
        "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '5s'"
    } else {
        "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '5s'; SET LOCAL synchronous_commit = off"
    };
    tx.batch(settings).await?;
    let ids: Vec<Uuid> = asked.iter().map(|asked| asked.key.budget).collect();
    tx.query(&LOCK_BUDGETS, &[&ids]).await?;
    tx.query(&LOCK_OWN_LEASES, &[&ids, &server]).await?;
    let starts: Vec<NaiveDate> = asked.iter().map(|asked| asked.key.start).collect();
    let ends: Vec<NaiveDate> = asked.iter().map(|asked| asked.end).collect();
    let leased: Vec<Option<Decimal>> = asked.iter().map(|asked| asked.ask.leased).collect();
    let exposure: Vec<Decimal> = asked.iter().map(|asked| asked.ask.exposure).collect();
    let need: Vec<Decimal> = asked.iter().map(|asked| asked.ask.need).collect();
    let slack: Vec<Decimal> = asked.iter().map(|asked| asked.ask.slack).collect();
    let shrink: Vec<bool> = asked.iter().map(|asked| asked.ask.shrink).collect();
    let rows = tx
        .query(
            &RESIZE_LEASES,
            &[
                &server,
                tenant.as_uuid(),
                &lease_seconds,
                &ids,
                &starts,
                &ends,
                &leased,
                &exposure,
                &need,
                &slack,
                &shrink,
            ],
        )
        .await?;
    let resized = |row: &Row| {
        let granted =
            Granted { before: row.try_get("own")?, now: row.try_get("amount_usd")?, enough: row.try_get("enough")? };
        let key = Key { budget: row.try_get("budget_id")?, start: row.try_get("period_start")? };
        Ok(Resized { key, granted, tight: row.try_get("tight")?, used_usd: row.try_get("used")? })
    };
    rows.iter().map(resized).collect()
}

/// Takes amounts off the leases of a server, in the order of the keys.
pub(crate) async fn lower(tx: &MeterTx, server: Uuid, amounts: &[(Key, Decimal)]) -> Result<(), DbError> {
    let ids: Vec<Uuid> = amounts.iter().map(|(key, _)| key.budget).collect();
    let starts: Vec<NaiveDate> = amounts.iter().map(|(key, _)| key.start).collect();
    let amounts: Vec<Decimal> = amounts.iter().map(|(_, amount)| *amount).collect();
    tx.execute_again(&LOWER_LEASES, &[&server, &ids, &starts, &amounts]).await?;
    Ok(())
}

/// What all servers have leased of a budget.
///
/// # Errors
/// [`DbError`].
pub async fn reserved(db: &MeterDb, budget: Uuid, period_start: NaiveDate) -> Result<Decimal, DbError> {
    let tx = db.begin().await?;
    let row = tx.query_one(&RESERVED, &[&budget, &period_start]).await?;
    tx.commit().await?;
    Ok(row.try_get("reserved")?)
}

/// Removes leases that have long ceased to count.
pub(crate) async fn forget(db: &MeterDb) -> Result<(), DbError> {
    let tx = db.begin().await?;
    tx.execute(&FORGET_LEASES, &[]).await?;
    tx.commit().await
}
