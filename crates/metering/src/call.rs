//! A call to a provider, as it is recorded.

use chrono::{DateTime, DurationRound as _, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenantry_core::TenantId;
use tenantry_core::calendar::{Tz, wall_clock};
use uuid::Uuid;
use workforce::text_enum;

use crate::usage::Usage;

text_enum! {
    /// What a row of the calls is.
    pub enum Kind("kind of call") {
        /// One attempt at a provider.
        Call = "call",
        /// A later change of what one cost.
        Adjustment = "adjustment",
    }
}

text_enum! {
    /// How a call came to us.
    pub enum Source("source of a call") {
        /// Through the gateway.
        Gateway = "gateway",
        /// The tenant reported it.
        Api = "api",
        /// From a trace.
        Replay = "replay",
    }
}

text_enum! {
    /// Where the counts of a call are from.
    pub enum UsageSource("source of usage") {
        /// The provider said so.
        Reported = "reported",
        /// Counted by us, because the provider did not say.
        Estimated = "estimated",
        /// The call was never seen to end: the most that it can have been.
        Unsettled = "unsettled",
        /// There was nothing to count: it failed before a model ran.
        None = "none",
    }
}

text_enum! {
    /// Where the cost of a call is from.
    pub enum CostSource("source of cost") {
        /// A price list.
        Catalogue = "catalogue",
        /// The tenant's own price.
        Override = "override",
        /// The provider's answer.
        Provider = "provider",
        /// Nobody knows it; the cost is null.
        Unpriced = "unpriced",
        /// Nothing was used.
        Free = "free",
        /// An adjustment's.
        Adjustment = "adjustment",
    }
}

text_enum! {
    /// How a call ended.
    pub enum Finish("finish of a call") {
        /// With its answer.
        Complete = "complete",
        /// The client went before the end.
        Cancelled = "cancelled",
        /// The provider's answer was cut off.
        Cut = "cut",
        /// The provider refused or failed.
        Error = "error",
        /// It was never seen to end.
        Unsettled = "unsettled",
    }
}

/// What a call was for, and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// The agent.
    pub agent_id: Option<Uuid>,
    /// Its session.
    pub session_id: Option<Uuid>,
    /// The task.
    pub task_id: Option<Uuid>,
    /// The tenant's key that the request had.
    pub api_key_id: Option<Uuid>,
    /// The account at the provider.
    pub provider_account_id: Option<Uuid>,
    /// What kind of work it was for, in the tenant's words.
    pub task_type: Option<String>,
    /// What the caller calls it.
    pub client_reference: Option<String>,
}

/// What a call costs and by which price; frozen when it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Costed {
    /// In US dollars, unrounded; `None` is unknown, which is not zero.
    pub cost_usd: Option<Decimal>,
    /// Where it is from.
    pub cost_source: CostSource,
    /// Names the price: provider, model, date from and a digest of what it says.
    pub price_version: Option<String>,
    /// The rates themselves.
    pub rates: Option<Value>,
    /// The same tokens on the dearest model of the catalogue.
    pub list_baseline_usd: Option<Decimal>,
    /// The same tokens on the dearest model of the same class, in the same state of the cache.
    pub like_baseline_usd: Option<Decimal>,
    /// Whether no model of the same class would have been cheaper.
    pub optimal: Option<bool>,
}

impl Costed {
    /// Nobody knows what it costs.
    #[must_use]
    pub const fn unpriced() -> Self {
        Self::of(None, CostSource::Unpriced)
    }

    /// Nothing was used.
    #[must_use]
    pub const fn free() -> Self {
        Self::of(Some(Decimal::ZERO), CostSource::Free)
    }

    /// What an adjustment that leads to this adds. The baselines go with the call's first price; a later change is no other call, so it
    /// changes what was spent and not the savings.
    #[must_use]
    pub(crate) fn given(&self, adds_usd: Option<Decimal>, prices_call: bool) -> Self {
        let adds = Self::of(adds_usd, CostSource::Adjustment);
        if !prices_call {
            return adds;
        }
        let Self { list_baseline_usd, like_baseline_usd, optimal, .. } = *self;
        Self { list_baseline_usd, like_baseline_usd, optimal, ..adds }
    }

    /// An amount without rates.
    #[must_use]
    pub const fn of(cost_usd: Option<Decimal>, cost_source: CostSource) -> Self {
        Self {
            cost_usd,
            cost_source,
            price_version: None,
            rates: None,
            list_baseline_usd: None,
            like_baseline_usd: None,
            optimal: None,
        }
    }
}

/// One row of `analytics.provider_api_calls`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Names it for good; with the tenant and the timestamp it is what makes a repetition one.
    pub id: Uuid,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Call or adjustment.
    pub kind: Kind,
    /// The call that an adjustment is of.
    pub adjusts: Option<Uuid>,
    /// Whether an adjustment gives a price to a call that had none.
    pub prices_call: bool,
    /// Shared by the attempts of one operation.
    pub operation_id: Uuid,
    /// From 1.
    pub attempt: i16,
    /// How it came to us.
    pub source: Source,
    /// What it was for.
    pub attribution: Attribution,
    /// The provider, as the price catalogue calls it.
    pub provider: String,
    /// What was asked of it: `chat.completions`, `responses`, `embeddings`, `messages` or whatever a tenant reports.
    pub operation: String,
    /// The model that answered; empty when none did.
    pub model: String,
    /// The model that was asked for.
    pub requested_model: Option<String>,
    /// The tier that served it.
    pub service_tier: Option<String>,
    /// What was counted.
    pub usage: Usage,
    /// Where that is from.
    pub usage_source: UsageSource,
    /// Whether the reported counts contradict each other.
    pub usage_mismatch: bool,
    /// What it costs.
    pub cost: Costed,
    /// From the request to the end of the answer, in milliseconds.
    pub latency_ms: i32,
    /// To the first token.
    pub time_to_first_token_ms: Option<i32>,
    /// Whether the answer was a stream.
    pub streamed: bool,
    /// Whether it did what was asked.
    pub success: bool,
    /// What went wrong.
    pub error_message: Option<String>,
    /// How it ended.
    pub finish: Finish,
    /// The provider's HTTP status.
    pub status_code: Option<i16>,
    /// The provider's name for it.
    pub provider_request_id: Option<String>,
    /// When it began.
    pub timestamp: DateTime<Utc>,
    /// The hour of the tenant's clock that it began in; see [`bucket`].
    pub hour: DateTime<Utc>,
    /// The day.
    pub day: NaiveDate,
}

/// The hour and the day of a tenant's clock that an instant lies in. They are stored with the call, so that a change of the zone, or of
/// a zone's rules, moves nothing that was recorded before.
#[must_use]
pub fn bucket(at: DateTime<Utc>, zone: Tz) -> (DateTime<Utc>, NaiveDate) {
    let wall = wall_clock(at, zone);
    let begun = wall - wall.duration_trunc(TimeDelta::hours(1)).unwrap_or(wall);
    (at - begun, wall.date())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_those_of_the_tenants_clock() {
        let at = "2026-11-24T20:10:00.5Z".parse().unwrap();
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let hour = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(bucket(at, Tz::UTC), (hour("2026-11-24T20:00:00Z"), day("2026-11-24")));
        assert_eq!(bucket(at, Tz::Asia__Kolkata), (hour("2026-11-24T19:30:00Z"), day("2026-11-25")));
        // the hour that is shown twice is two hours
        let (first, second) = ("2026-10-25T00:30:00Z".parse().unwrap(), "2026-10-25T01:30:00Z".parse().unwrap());
        assert_eq!(bucket(first, Tz::Europe__Berlin).0, hour("2026-10-25T00:00:00Z"));
        assert_eq!(bucket(second, Tz::Europe__Berlin).0, hour("2026-10-25T01:00:00Z"));
    }
}
