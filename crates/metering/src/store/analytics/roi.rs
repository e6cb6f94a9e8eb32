//! Savings against baselines, and the table `roi_calculations`.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tenantry_core::TenantId;
use tenantry_http::Limit;
use tenantry_postgres::{DbError, MeterTx, Row, TenantTx, statements};
use uuid::Uuid;
use workforce::{List, Page, Position};

use super::sums::{Dimension, key};
use super::{Scope, all_sums, column, hourly, measures, scoped};
use crate::Usd;
use crate::insight::{Covered, Measures, RoiCalculation};

macro_rules! covered {
    () => {
        "coalesce(sum(covered_calls), 0)::int8 AS covered_calls, coalesce(sum(covered_cost_usd), 0) AS covered_cost_usd, \
         coalesce(sum(list_baseline_usd), 0) AS list_baseline_usd, coalesce(sum(like_baseline_usd), 0) AS like_baseline_usd, \
         coalesce(sum(optimal_calls), 0)::int8 AS optimal_calls"
    };
}

macro_rules! stored {
    () => {
        "id, period_start, period_end, actual_cost_usd, baseline_cost_usd, savings_usd, savings_percent, tasks_completed, \
         optimal_routing_percent, calculated_at"
    };
}

statements! {
    #![planned_anew]
    /// All sums, and costs and baselines of the calls that have baselines.
    COVERED(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT) =
        concat!("SELECT ", all_sums!(), ", ", covered!(), " FROM ", hourly!());
    /// The same by group, the dearest first.
    COVERED_GROUPS(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT, TEXT, INT8) = concat!(
        "SELECT ", key!(), ", coalesce(sum(total_calls), 0)::int8 AS total_calls, coalesce(sum(cost_usd), 0) AS cost_usd, ",
        covered!(), " FROM ", hourly!(), " GROUP BY 1, 2 ORDER BY sum(cost_usd) DESC, 1, 2 LIMIT $12"
    );
    /// Stored calculations, the newest first.
    LIST_CALCULATIONS(TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", stored!(), " FROM analytics.roi_calculations \
         WHERE (calculated_at, id) < (COALESCE($1, 'infinity'::timestamptz), COALESCE($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) \
         ORDER BY calculated_at DESC, id DESC LIMIT $3"
    );
    /// Stores a calculation, unless it is there.
    KEEP_CALCULATION(UUID, UUID, TIMESTAMPTZ, TIMESTAMPTZ, NUMERIC, NUMERIC, NUMERIC, NUMERIC, INT8, NUMERIC, TIMESTAMPTZ) =
        "INSERT INTO analytics.roi_calculations (id, tenant_id, period_start, period_end, actual_cost_usd, baseline_cost_usd, savings_usd, \
           savings_percent, tasks_completed, optimal_routing_percent, calculated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING";
    /// A stored calculation.
    FIND_CALCULATION(UUID, UUID) =
        concat!("SELECT ", stored!(), " FROM analytics.roi_calculations WHERE id = $1 AND tenant_id = $2");
}

/// A group with its costs and baselines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoveredGroup {
    /// What it is.
    pub key: Option<String>,
    /// Whose model it is.
    pub provider: Option<String>,
    /// Its figures.
    pub covered: Covered,
}

fn covered_of(row: &Row) -> Result<Covered, DbError> {
    Ok(Covered {
        calls: column!(row, "total_calls"),
        cost_usd: Usd(column!(row, "cost_usd")),
        covered_calls: column!(row, "covered_calls"),
        covered_cost_usd: Usd(column!(row, "covered_cost_usd")),
        list_baseline_usd: Usd(column!(row, "list_baseline_usd")),
        like_baseline_usd: Usd(column!(row, "like_baseline_usd")),
        optimal_calls: column!(row, "optimal_calls"),
    })
}

/// All sums of a period, and its costs and baselines.
///
/// # Errors
/// Only the database's.
pub async fn covered(tx: &mut TenantTx, scope: &Scope) -> Result<(Measures, Covered), DbError> {
    let row = scoped!(tx, query_one, &COVERED, scope)?;
    Ok((measures(&row)?, covered_of(&row)?))
}

/// Costs and baselines by group, the dearest first.
///
/// # Errors
/// Only the database's.
pub async fn covered_groups(
    tx: &mut TenantTx,
    scope: &Scope,
    by: Dimension,
    limit: i64,
) -> Result<Vec<CoveredGroup>, DbError> {
    let rows = scoped!(tx, query, &COVERED_GROUPS, scope, &by.as_str(), &limit)?;
    rows.iter()
        .map(|row| {
            Ok(CoveredGroup {
                key: column!(row, "key"),
                provider: column!(row, "of_provider"),
                covered: covered_of(row)?,
            })
        })
        .collect()
}

/// A page of the tenant's stored calculations, the newest first.
///
/// # Errors
/// Only the database's.
pub async fn list(tx: &mut TenantTx, after: Option<Position>, limit: Limit) -> Result<Page<RoiCalculation>, DbError> {
    let (at, id) = (after.map(|place| place.created_at), after.map(|place| place.id));
    let rows = tx.query(&LIST_CALCULATIONS, &[&at, &id, &limit.probe()]).await?;
    let found = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(found, limit, List::RoiCalculations, |row| Position { created_at: row.calculated_at, id: row.id }))
}

/// Stores a calculation for a tenant, and gives what is stored under its id: one that was stored before stays as it was.
///
/// The tenant is that of a verified context: the role that writes here is not held to one.
///
/// # Errors
/// Only the database's.
pub async fn keep(tx: &MeterTx, tenant: TenantId, new: &RoiCalculation) -> Result<RoiCalculation, DbError> {
    let decimal = |value: f64| Decimal::try_from(value).unwrap_or_default();
    tx.execute(
        &KEEP_CALCULATION,
        &[
            &new.id,
            tenant.as_uuid(),
            &new.period_start,
            &new.period_end,
            &new.actual_cost_usd.0,
            &new.baseline_cost_usd.0,
            &new.savings_usd.0,
            &decimal(new.savings_percent),
            &new.tasks_completed,
            &decimal(new.optimal_routing_percent),
            &new.calculated_at,
        ],
    )
    .await?;
    read(&tx.query_one(&FIND_CALCULATION, &[&new.id, tenant.as_uuid()]).await?)
}

fn read(row: &Row) -> Result<RoiCalculation, DbError> {
    use rust_decimal::prelude::ToPrimitive as _;
    let (savings, optimal): (Decimal, Decimal) =
        (column!(row, "savings_percent"), column!(row, "optimal_routing_percent"));
    let (id, calculated_at): (Uuid, DateTime<Utc>) = (column!(row, "id"), column!(row, "calculated_at"));
    Ok(RoiCalculation {
        id,
        period_start: column!(row, "period_start"),
        period_end: column!(row, "period_end"),
        actual_cost_usd: Usd(column!(row, "actual_cost_usd")),
        baseline_cost_usd: Usd(column!(row, "baseline_cost_usd")),
        savings_usd: Usd(column!(row, "savings_usd")),
        savings_percent: savings.to_f64().unwrap_or_default(),
        tasks_completed: column!(row, "tasks_completed"),
        optimal_routing_percent: optimal.to_f64().unwrap_or_default(),
        calculated_at,
    })
}
