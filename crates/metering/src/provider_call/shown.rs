use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::CostLine;
use crate::call::{CostSource, Finish, Source, UsageSource};
use crate::usage::Usage;

/// Which calls.
#[derive(Debug, Clone, Default)]
pub struct ProviderCallFilter {
    /// Those that began at this instant or later.
    pub from: Option<DateTime<Utc>>,
    /// Those that began before this instant.
    pub to: Option<DateTime<Utc>>,
    /// Of this provider.
    pub provider: Option<String>,
    /// That this model answered.
    pub model: Option<String>,
    /// For this agent.
    pub agent_id: Option<Uuid>,
    /// For this task.
    pub task_id: Option<Uuid>,
    /// In this session.
    pub session_id: Option<Uuid>,
    /// With this key.
    pub api_key_id: Option<Uuid>,
    /// That did what was asked, or did not.
    pub success: Option<bool>,
    /// Whose cost is unknown still, or is known.
    pub unpriced: Option<bool>,
    /// That ended in this way.
    pub finish: Option<Finish>,
}

/// A call to a provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProviderCall {
    /// Its id.
    pub id: Uuid,
    /// When it began.
    pub timestamp: DateTime<Utc>,
    /// The day of the tenant's clock that it is counted in.
    pub day: NaiveDate,
    /// Shared by the attempts of one operation.
    pub operation_id: Uuid,
    /// Which attempt it was, from 1.
    pub attempt: i16,
    /// How it came here.
    pub source: Source,
    /// The provider, as the price catalogue calls it.
    pub provider: String,
    /// What was asked of it.
    pub operation: String,
    /// The model that answered; empty when none did.
    pub model: String,
    /// The model that was asked for.
    pub requested_model: Option<String>,
    /// The tier that served it.
    pub service_tier: Option<String>,
    /// The agent that it was for.
    pub agent_id: Option<Uuid>,
    /// The agent's session.
    pub session_id: Option<Uuid>,
    /// The task.
    pub task_id: Option<Uuid>,
    /// What kind of work it was for.
    pub task_type: Option<String>,
    /// The key that the request had.
    pub api_key_id: Option<Uuid>,
    /// The account at the provider.
    pub provider_account_id: Option<Uuid>,
    /// What the caller calls it.
    pub client_reference: Option<String>,
    /// All input, in tokens.
    pub tokens_input: i64,
    /// All output, in tokens.
    pub tokens_output: i64,
    /// What was used, in buckets that do not overlap.
    pub usage: Usage,
    /// Where that is from.
    pub usage_source: UsageSource,
    /// Whether the reported counts contradict each other.
    pub usage_mismatch: bool,
    /// What it cost when it was recorded, in US dollars, unrounded; `null` is unknown, which is not zero.
    #[serde(with = "rust_decimal::serde::str_option")]
    #[schema(value_type = Option<String>, example = "0.001234", required)]
    pub cost_usd: Option<Decimal>,
    /// Where that is from.
    pub cost_source: CostSource,
    /// Names the price that it was computed with.
    pub price_version: Option<String>,
    /// What was added to it later, in US dollars; below zero where it was too much.
    #[serde(with = "rust_decimal::serde::str")]
    #[schema(value_type = String, example = "0")]
    pub adjustments_usd: Decimal,
    /// Whether its cost is unknown still: it had no price, and no adjustment has given it one.
    pub unpriced: bool,
    /// The same tokens on the dearest model of the catalogue, in US dollars.
    #[serde(with = "rust_decimal::serde::str_option")]
    #[schema(value_type = Option<String>, required)]
    pub list_baseline_usd: Option<Decimal>,
    /// The same tokens on the dearest model of the same class, in the same state of the cache, in US dollars.
    #[serde(with = "rust_decimal::serde::str_option")]
    #[schema(value_type = Option<String>, required)]
    pub like_baseline_usd: Option<Decimal>,
    /// Whether no model of the same class would have been cheaper.
    pub optimal: Option<bool>,
    /// From the request to the end of the answer, in milliseconds.
    pub latency_ms: i32,
    /// To the first token, in milliseconds.
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
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

impl workforce::Record for ProviderCall {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "timestamp",
        "day",
        "operation_id",
        "attempt",
        "source",
        "provider",
        "operation",
        "model",
        "requested_model",
        "service_tier",
        "agent_id",
        "session_id",
        "task_id",
        "task_type",
        "api_key_id",
        "provider_account_id",
        "client_reference",
        "tokens_input",
        "tokens_output",
        "usage",
        "usage_source",
        "usage_mismatch",
        "cost_usd",
        "cost_source",
        "price_version",
        "adjustments_usd",
        "unpriced",
        "list_baseline_usd",
        "like_baseline_usd",
        "optimal",
        "latency_ms",
        "time_to_first_token_ms",
        "streamed",
        "success",
        "error_message",
        "finish",
        "status_code",
        "provider_request_id",
        "recorded_at",
    ];
}

/// A call to a provider with how its cost comes about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProviderCallDetail {
    /// The call.
    #[serde(flatten)]
    pub call: ProviderCall,
    /// The rates that were frozen with it, in US dollars for a million tokens, as texts.
    #[schema(value_type = Option<Object>)]
    pub rates: Option<Value>,
    /// Counts by rates: these add up to `cost_usd`. Empty where the cost is not from a price list.
    pub lines: Vec<CostLine>,
    /// What its cost was changed by later, in the order of time.
    pub adjustments: Vec<CallAdjustment>,
}

/// A later change of what a call cost. The call itself is never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallAdjustment {
    /// Its id.
    pub id: Uuid,
    /// The instant that it is booked at.
    pub timestamp: DateTime<Utc>,
    /// The day of the tenant's clock that it is booked on.
    pub day: NaiveDate,
    /// What it adds, in US dollars.
    #[serde(with = "rust_decimal::serde::str")]
    #[schema(value_type = String, example = "0.000042")]
    pub cost_usd: Decimal,
    /// Whether it gives a price to a call that had none.
    pub prices_call: bool,
    /// Names the price that it is by.
    pub price_version: Option<String>,
    /// When it was made.
    pub recorded_at: DateTime<Utc>,
}
