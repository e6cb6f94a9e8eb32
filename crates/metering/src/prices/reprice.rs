//! Calls that are priced again: those that had no price, and those whose price was another than it should have been.
//!
//! What was recorded stays as it is. The difference is a row of its own, an adjustment, booked with the counters and the mark of its hour
//! in one transaction. A run goes through the calls tenant by tenant, in the order of time, some hundred in a transaction; each transaction first takes the
//! one row that such runs share, and reads what has been adjusted so far. So a run that is killed leaves whole transactions behind,
//! and the next one finds only what is left; two at once wait for each other.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tenantry_core::TenantId;
use tenantry_postgres::{Actor, DbError, MeterDb, MeterTx};
use utoipa::ToSchema;
use uuid::Uuid;

use super::diff::{Difference, Effect, ModelEffect};
use super::table::Table;
use super::{PriceQuery, Prices, PricesError};
use crate::call::{Call, Costed, Kind, UsageSource, bucket};
use crate::store::prices::{self as store, Place, Recorded};
use crate::store::{audit, book};
use crate::usage::{Bounds, Usage};

/// Calls in one transaction.
const BATCH: i64 = 500;
/// Calls that the effect of a catalogue is computed of, at most.
const EFFECT_CALLS: i64 = 200_000;
/// How far back that goes.
const EFFECT_DAYS: i64 = 30;

/// Which calls are to be priced again, and how.
#[derive(Debug, Clone)]
pub struct Reprice {
    /// Only of one tenant.
    pub tenant: Option<TenantId>,
    /// Only calls that began then or later.
    pub since: DateTime<Utc>,
    /// Only calls that began before.
    pub until: DateTime<Utc>,
    /// Calls that have a price, instead of those that have none.
    pub changed: bool,
    /// Only to see what it would do.
    pub dry_run: bool,
    /// Why, for the audit trail.
    pub reason: String,
    /// Behind this place, where an earlier run has ended.
    pub after: Option<String>,
    /// Not more calls than this are looked at.
    pub at_most: u64,
}

/// What pricing calls again has done, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repriced {
    /// Whether it was only tried.
    pub dry_run: bool,
    /// The calls that were looked at.
    pub calls: u64,
    /// The adjustments that were made.
    pub adjusted: u64,
    /// Those of the calls that have no price now.
    pub without_price: u64,
    /// The sum of the adjustments.
    #[serde(with = "rust_decimal::serde::str")]
    #[schema(value_type = String, example = "-0.001234")]
    pub delta_usd: Decimal,
    /// The same by provider and model.
    pub models: Vec<RepricedModel>,
    /// Where it ended before it was through; `null` when it was. Go on with it as `after`.
    #[schema(required)]
    pub next: Option<String>,
}

/// The adjustments of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepricedModel {
    /// The provider.
    pub provider: String,
    /// The model, as the calls name it.
    pub model: String,
    /// Adjustments.
    pub adjusted: u64,
    /// Calls without a price.
    pub without_price: u64,
    /// What the adjusted calls cost so far.
    #[serde(with = "rust_decimal::serde::str")]
    #[schema(value_type = String, example = "0.5")]
    pub before_usd: Decimal,
    /// What they cost with the adjustments.
    #[serde(with = "rust_decimal::serde::str")]
    #[schema(value_type = String, example = "0.4")]
    pub after_usd: Decimal,
}

/// A place that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no place where a run has ended")]
pub struct NoPlace(String);

impl Reprice {
    /// Where it begins.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn begins(&self) -> Result<Place, NoPlace> {
        let Some(after) = &self.after else { return Ok(Place::START) };
        let read = || {
            let mut parts = after.splitn(3, '.');
            let tenant = parts.next()?.parse().ok()?;
            let at = DateTime::from_timestamp_micros(parts.next()?.parse().ok()?)?;
            Some(Place { tenant, at, id: parts.next()?.parse().ok()? })
        };
        read().ok_or_else(|| NoPlace(after.chars().take(100).collect()))
    }
}

fn written(place: Place) -> String {
    format!("{}.{}.{}", place.tenant.simple(), place.at.timestamp_micros(), place.id.simple())
}

/// Why calls are not priced again.
#[derive(Debug, thiserror::Error)]
pub enum RepriceError {
    /// The prices, or the database. What was done before stays.
    #[error(transparent)]
    Prices(#[from] PricesError),
    /// Where to begin.
    #[error(transparent)]
    Place(#[from] NoPlace),
}

impl From<DbError> for RepriceError {
    fn from(error: DbError) -> Self {
        Self::Prices(error.into())
    }
}

impl Prices {
    /// Prices calls again with what is valid now for the time at which they were made. After each transaction `progress` is told what
    /// has been done so far; when it answers `false`, the run ends there.
    ///
    /// # Errors
    /// [`RepriceError`].
    pub async fn reprice(
        &self,
        db: &MeterDb,
        what: &Reprice,
        actor: &Actor,
        now: DateTime<Utc>,
        mut progress: impl FnMut(&Repriced) -> bool,
    ) -> Result<Repriced, RepriceError> {
        let mut place = what.begins()?;
        self.refresh(db).await?;
        let mut done = Tally::default();
        let mut repriced = Repriced { dry_run: what.dry_run, ..Repriced::default() };
        loop {
            let left = what.at_most.saturating_sub(repriced.calls);
            let limit = BATCH.min(i64::try_from(left).unwrap_or(BATCH));
            let tx = db.begin().await?;
            if !what.dry_run {
                store::hold_work(&tx).await?;
            }
            let calls = store::to_price(&tx, what.changed, what.tenant, (what.since, what.until), place, limit).await?;
            let adjustments = self.adjust(&calls, now, &mut done);
            if !what.dry_run && !adjustments.is_empty() {
                book(&tx, &adjustments).await?;
                note(&tx, actor, what, &adjustments).await?;
                tx.commit().await?;
            } else {
                tx.rollback().await?;
            }
            let full = i64::try_from(calls.len()).unwrap_or(i64::MAX) == limit;
            repriced.calls += u64::try_from(calls.len()).unwrap_or(u64::MAX);
            if let Some(Recorded { call, .. }) = calls.last() {
                place = Place { tenant: *call.tenant_id.as_uuid(), at: call.timestamp, id: call.id };
            }
            repriced = done.told(repriced);
            repriced.next = full.then(|| written(place));
            if !progress(&repriced) || !full || repriced.calls >= what.at_most {
                return Ok(repriced);
            }
        }
    }

    /// The adjustments that calls need.
    fn adjust(&self, calls: &[Recorded], now: DateTime<Utc>, done: &mut Tally) -> Vec<Call> {
        let mut adjustments = Vec::new();
        let table = self.inner.table.load();
        for recorded in calls {
            let call = &recorded.call;
            let model = done.0.entry((call.provider.clone(), call.model.clone())).or_default();
            let Some(costed) = priced(&table, call) else {
                model.without_price += 1;
                continue;
            };
            let before = call.cost.cost_usd.unwrap_or_default() + recorded.adjusted_usd.unwrap_or_default();
            let after = costed.cost_usd.unwrap_or_default();
            let prices_call = call.cost.cost_usd.is_none() && !recorded.priced_later;
            if after == before && !prices_call {
                continue;
            }
            model.adjusted += 1;
            model.before_usd += before;
            model.after_usd += after;
            adjustments.push(adjustment(recorded, &costed, after - before, prices_call, now));
        }
        adjustments
    }
}

/// What a call costs by these prices; one that was never seen to end costs the most that it can have been.
fn priced(table: &Table, call: &Call) -> Option<Costed> {
    let query = query(call);
    if call.usage_source != UsageSource::Unsettled {
        return table.cost(&query, &call.usage).ok();
    }
    // No output is no bound: the model was not known then.
    let output_at_most = Some(call.usage.tokens_output()).filter(|output| *output > 0);
    let bounds = Bounds { input_at_most: call.usage.tokens_input(), output_at_most, choices: 1 };
    let usage = table.at_most(&query, &bounds).ok()??;
    table.cost(&query, &usage).ok()
}

fn query(call: &Call) -> PriceQuery<'_> {
    PriceQuery {
        tenant: call.tenant_id,
        account: call.attribution.provider_account_id,
        provider: &call.provider,
        model: &call.model,
        service_tier: call.service_tier.as_deref(),
        at: call.timestamp,
    }
}

/// The row that changes what a call costs: at the call's time, or where that month is closed at its own.
fn adjustment(of: &Recorded, costed: &Costed, delta: Decimal, prices_call: bool, now: DateTime<Utc>) -> Call {
    let call = &of.call;
    let (timestamp, hour, day) = if of.closed {
        let (hour, day) = bucket(now, of.zone);
        (now, hour, day)
    } else {
        (call.timestamp, call.hour, call.day)
    };
    // A call is given its price once, so that adjustment has one id; what is changed again has one each time.
    let id = if prices_call { first_price(call.id) } else { Uuid::now_v7() };
    Call {
        id,
        kind: Kind::Adjustment,
        adjusts: Some(call.id),
        prices_call,
        usage: Usage::default(),
        usage_mismatch: false,
        cost: Costed {
            price_version: costed.price_version.clone(),
            rates: costed.rates.clone(),
            ..costed.given(Some(delta), prices_call)
        },
        latency_ms: 0,
        time_to_first_token_ms: None,
        error_message: None,
        timestamp,
        hour,
        day,
        ..call.clone()
    }
}

fn first_price(call: Uuid) -> Uuid {
    let digest = Sha256::new().chain_update(b"tenantry first price").chain_update(call).finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Tells each tenant's trail what was changed of its calls.
async fn note(tx: &MeterTx, actor: &Actor, what: &Reprice, adjustments: &[Call]) -> Result<(), DbError> {
    let mut tenants: BTreeMap<TenantId, (u64, Decimal)> = BTreeMap::new();
    for adjustment in adjustments {
        let tenant = tenants.entry(adjustment.tenant_id).or_default();
        tenant.0 += 1;
        tenant.1 += adjustment.cost.cost_usd.unwrap_or_default();
    }
    for (tenant, (adjusted, delta)) in tenants {
        let details = json!({
            "reason": what.reason, "changed": what.changed, "adjusted": adjusted, "delta_usd": delta.to_string(),
        });
        audit::tell(tx, Some(tenant), actor, "prices.reprice", "provider-calls", &details).await?;
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Tally(BTreeMap<(String, String), RepricedModel>);

impl Tally {
    fn told(&self, so_far: Repriced) -> Repriced {
        let named = self.0.iter().map(|((provider, model), sums)| RepricedModel {
            provider: provider.clone(),
            model: model.clone(),
            ..sums.clone()
        });
        let models: Vec<_> = named.filter(|sums| sums.adjusted + sums.without_price > 0).collect();
        Repriced {
            adjusted: models.iter().map(|sums| sums.adjusted).sum(),
            without_price: models.iter().map(|sums| sums.without_price).sum(),
            delta_usd: models.iter().map(|sums| sums.after_usd - sums.before_usd).sum(),
            models,
            ..so_far
        }
    }
}

/// What other prices would do to the calls of the last days.
pub(super) async fn effect(
    tx: &MeterTx,
    after: &Table,
    differences: &[Difference],
    now: DateTime<Utc>,
) -> Result<Effect, DbError> {
    let providers: HashSet<&str> = differences.iter().map(|difference| difference.provider.as_str()).collect();
    let providers: Vec<&str> = providers.into_iter().collect();
    let mut effect = Effect::default();
    if providers.is_empty() {
        return Ok(effect);
    }
    let mut models: BTreeMap<(String, String), ModelEffect> = BTreeMap::new();
    let since = now - TimeDelta::days(EFFECT_DAYS);
    store::latest_calls(tx, since, &providers, EFFECT_CALLS, |call| {
        effect.calls += 1;
        let costed = after.cost(&query(call), &call.usage).ok().and_then(|costed| costed.cost_usd);
        if costed == call.cost.cost_usd {
            return;
        }
        let model = models.entry((call.provider.clone(), call.model.clone())).or_default();
        model.calls += 1;
        model.newly_priced += u64::from(call.cost.cost_usd.is_none());
        model.newly_unpriced += u64::from(costed.is_none());
        model.before_usd += call.cost.cost_usd.unwrap_or_default();
        model.after_usd += costed.unwrap_or_default();
    })
    .await?;
    effect.truncated = i64::try_from(effect.calls).is_ok_and(|calls| calls >= EFFECT_CALLS);
    effect.models =
        models.into_iter().map(|((provider, model), sums)| ModelEffect { provider, model, ..sums }).collect();
    effect.before_usd = effect.models.iter().map(|model| model.before_usd).sum();
    effect.after_usd = effect.models.iter().map(|model| model.after_usd).sum();
    Ok(effect)
}
