//! A trace of calls, fed through the pipeline: priced, spooled, shipped and summed as any call is.
//!
//! What a line's call is depends on the file and the [`Plan`] alone, its id included. So a replay that was ended in between is finished by the next, and
//! one that is repeated changes nothing. A replay without a given start finds the one of its first run by its first call.

mod plan;
mod trace;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound as _, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use tenantry_postgres::DbError;

pub use plan::{Plan, ReplayModel, ReplayTenant};
pub use trace::{Columns, Line, Trace};

use crate::call::Call;
use crate::meter::{Metering, MeteringError};
use crate::prices::PriceQuery;
use crate::rollup::{Rollup, RollupSettings};
use crate::settings::MeteringSettings;
use crate::ship::Shipping;
use crate::spool::SpoolError;
use crate::store;

/// Calls recorded at a time.
const BATCH: usize = 500;
/// Between two looks whether the spool has room, or is empty.
const LOOK: Duration = Duration::from_millis(20);
/// How long prices are waited for.
const PRICES: Duration = Duration::from_secs(5);
/// How long the end waits for what is in the spool. What is not in the database then is shipped by the next run.
const LAST_SHIPMENTS: Duration = Duration::from_secs(600);

/// Why a trace is not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file.
    #[error("`{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no CSV.
    #[error("the trace cannot be read: {0}")]
    Csv(String),
    /// A column is missing.
    #[error("the trace has no column for the {what}{}, its columns are `{}`", name.as_ref().map(|name| format!(" called `{name}`")).unwrap_or_default(), has.join("`, `"))]
    NoColumn {
        /// What it would be for.
        what: &'static str,
        /// What it was said to be called.
        name: Option<String>,
        /// What there is.
        has: Vec<String>,
    },
    /// What was recorded cannot be shipped.
    #[error(transparent)]
    Metering(#[from] MeteringError),
    /// A value of a line.
    #[error("line {number} of the trace has `{value}` where a time or a number of tokens should be")]
    Line {
        /// Its number in the file.
        number: u64,
        /// What it has.
        value: String,
    },
    /// The plan has no tenants, or no models.
    #[error("a replay needs at least one tenant and one model")]
    Nobody,
    /// The spool's disk.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// What a tenant got of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// The tenant.
    pub tenant: String,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Calls.
    pub calls: u64,
    /// Calls without a price.
    pub unpriced_calls: u64,
    /// Tokens of input.
    pub tokens_input: u64,
    /// Tokens of output.
    pub tokens_output: u64,
    /// What they cost.
    pub cost_usd: Decimal,
}

/// What a replay did.
#[derive(Debug, Clone, Serialize)]
pub struct Replayed {
    /// When the first call began.
    pub start: DateTime<Utc>,
    /// When the last one did.
    pub end: DateTime<Utc>,
    /// Calls of the trace.
    pub calls: usize,
    /// Of those, calls that are new in the database.
    pub new: u64,
    /// Of those, calls that were there.
    pub repeated: u64,
    /// Calls that the database refuses, such as those before the first month that it keeps; they lie in a file of the spool.
    pub rejected: u64,
    /// Calls that wait in the spool because the database was not there; the next run ships them.
    pub waiting: u64,
    /// Hours whose sums were made.
    pub hours: usize,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What each tenant got of each model.
    pub totals: Vec<Total>,
}

/// Replays a trace. `speed` is how much faster than it was: 0 is as fast as can be. `progress` is told how many calls of how many are in the spool.
///
/// # Errors
/// [`ReplayError`]; what was recorded by then is shipped by the next run.
pub async fn replay(
    metering: &Metering,
    settings: &MeteringSettings,
    trace: &Trace,
    plan: &Plan,
    speed: f64,
    mut progress: impl FnMut(usize, usize),
) -> Result<Replayed, ReplayError> {
    if plan.tenants.is_empty() || plan.models.is_empty() {
        return Err(ReplayError::Nobody);
    }
    let begun = Instant::now();
    metering.prices.begin(&metering.db, PRICES).await;
    let shipping = Shipping::start(metering, settings)?;
    // What an earlier run has left comes first: its start is looked for.
    while metering.health().records > 0 {
        tokio::time::sleep(LOOK).await;
    }
    let identity = plan.identity(trace);
    let before = metering.health();
    let start = start(metering, trace, plan, &identity).await?;
    let mut totals: BTreeMap<(String, String, String), Total> = BTreeMap::new();
    let mut batch: Vec<Call> = Vec::with_capacity(BATCH);
    for (done, line) in trace.lines.iter().enumerate() {
        let due = due(begun, line, speed);
        if batch.len() >= BATCH || (!batch.is_empty() && due > Instant::now()) {
            record(metering, &mut batch).await?;
            progress(done, trace.lines.len());
        }
        tokio::time::sleep_until(due.into()).await;
        let (Some(mut call), Some(tenant)) = (plan.call(&identity, line, start), plan.tenant(line)) else { continue };
        price(metering, &mut call);
        count(&mut totals, &tenant.slug, &call);
        batch.push(call);
    }
    record(metering, &mut batch).await?;
    progress(trace.lines.len(), trace.lines.len());
    shipping.stop(LAST_SHIPMENTS).await;
    let after = metering.health();
    let rollup = Rollup::new(metering.db.clone(), RollupSettings::default());
    let mut hours = 0;
    for tenant in &plan.tenants {
        hours += rollup.settle(Some(tenant.id), |_| ()).await?.hours;
    }
    Ok(Replayed {
        start,
        end: start + trace.length(),
        calls: trace.lines.len(),
        new: after.shipped - before.shipped,
        repeated: after.repeated - before.repeated,
        rejected: after.rejected,
        waiting: after.records,
        hours,
        seconds: begun.elapsed().as_secs_f64(),
        totals: totals.into_values().collect(),
    })
}

/// The plan's start; or that of an earlier run; or one with which nothing is in the future.
async fn start(
    metering: &Metering,
    trace: &Trace,
    plan: &Plan,
    identity: &[u8; 32],
) -> Result<DateTime<Utc>, ReplayError> {
    let first = trace.lines.first().and_then(|line| Some((plan.tenant(line)?, line)));
    if let (None, Some((tenant, line))) = (plan.start, first) {
        let tx = metering.db.begin().await?;
        let before = store::replay::begun(&tx, tenant.id, Plan::id(identity, line, tenant)).await?;
        tx.commit().await?;
        if let Some(before) = before {
            return Ok(before);
        }
    }
    Ok(plan.start.unwrap_or_else(|| metering.clock.now() - trace.length()).trunc_subsecs(6))
}

fn due(begun: Instant, line: &Line, speed: f64) -> Instant {
    let seconds = if speed > 0.0 { (line.after.as_seconds_f64() / speed).max(0.0) } else { 0.0 };
    begun + Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn price(metering: &Metering, call: &mut Call) {
    let query = PriceQuery {
        tenant: call.tenant_id,
        account: None,
        provider: &call.provider,
        model: &call.model,
        service_tier: None,
        at: call.timestamp,
    };
    call.cost = metering.prices.cost(&query, &call.usage);
}

/// A full spool is waited for: a replay has time.
async fn record(metering: &Metering, batch: &mut Vec<Call>) -> Result<(), ReplayError> {
    while !batch.is_empty() {
        match metering.spool.record(batch).await {
            Ok(()) => batch.clear(),
            Err(SpoolError::Full) => tokio::time::sleep(LOOK).await,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn count(totals: &mut BTreeMap<(String, String, String), Total>, slug: &str, call: &Call) {
    let key = (slug.to_owned(), call.provider.clone(), call.model.clone());
    let total = totals.entry(key).or_insert_with(|| Total {
        tenant: slug.to_owned(),
        provider: call.provider.clone(),
        model: call.model.clone(),
        ..Total::default()
    });
    total.calls += 1;
    total.unpriced_calls += u64::from(call.cost.cost_usd.is_none());
    total.tokens_input += call.usage.tokens_input();
    total.tokens_output += call.usage.tokens_output();
    total.cost_usd += call.cost.cost_usd.unwrap_or_default();
}
