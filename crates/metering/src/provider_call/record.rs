use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenantry_http::Problem;
use tenantry_postgres::{TenantContext, Via};
use utoipa::ToSchema;
use uuid::Uuid;
use workforce::{Checks, Valid, Validate};

use crate::call::{Attribution, Call, CostSource, Finish, Kind, Source, UsageSource, bucket};
use crate::codes;
use crate::prices::{PriceQuery, Prices};
use crate::usage::{Bounds, Flavour, MOST_OF_ONE, Reading, Usage, measure, read_usage};

/// Calls in one request.
pub const MOST_ITEMS: usize = 1000;
/// What is older is for a bill, however long single calls are kept.
const OLDEST_DAYS: u32 = 90;
/// Clocks may differ by so much.
const AHEAD: TimeDelta = TimeDelta::minutes(5);
/// The most that one call can have cost, in US dollars.
const DEAREST: i64 = 1_000_000;
/// Decimals of an amount in the database.
const DECIMALS: u32 = 12;
/// Kinds of units in one call.
const MOST_UNITS: usize = 20;

/// A call that was made without the gateway.
///
/// It is told what was used, as `usage` or as `raw_usage`; a call that failed before a model ran has neither.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "timestamp": "2026-11-24T09:30:00Z", "provider": "anthropic", "operation": "messages", "model": "claude-sonnet-4-5",
    "api": "anthropic_messages", "raw_usage": { "input_tokens": 25, "cache_read_input_tokens": 1200, "output_tokens": 310 },
    "latency_ms": 1840, "task_type": "support.reply"
}))]
pub struct RecordCall {
    /// The caller's name for the call. One that is recorded again under its id and timestamp is recorded once. Unless given, it is made
    /// of the `Idempotency-Key` and the request, or else at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// When the call began: within the last 90 days (fewer where single calls are kept for fewer), and at most 5 minutes ahead of the server's
    /// clock.
    pub timestamp: DateTime<Utc>,
    /// The provider, as the price catalogue calls it.
    #[schema(min_length = 1, max_length = 63, pattern = "^[a-z0-9][a-z0-9_.-]*$")]
    pub provider: String,
    /// What was asked of it, such as `chat.completions`, `responses`, `embeddings` or `messages`.
    #[schema(min_length = 1, max_length = 64)]
    pub operation: String,
    /// The model that answered. Empty when none did.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub model: String,
    /// The model that was asked for, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub requested_model: Option<String>,
    /// The tier that served it, such as `flex`, `priority` or `batch`. What `raw_usage` says of it counts more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 40)]
    pub service_tier: Option<String>,
    /// What was used, in buckets that do not overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The provider's own `usage` object, as it was in the answer; `api` says how to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub raw_usage: Option<Value>,
    /// Whose way of counting `raw_usage` has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Flavour>,
    /// From the request to the end of the answer, in milliseconds.
    #[schema(minimum = 0)]
    pub latency_ms: i32,
    /// To the first token, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub time_to_first_token_ms: Option<i32>,
    /// Whether the answer was a stream.
    #[serde(default)]
    pub streamed: bool,
    /// Whether it did what was asked.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub success: bool,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub error_message: Option<String>,
    /// How it ended; `complete` or `error`, by `success`, unless given. `unsettled` is not for callers to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,
    /// The provider's HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 100, maximum = 599)]
    pub status_code: Option<i16>,
    /// The provider's name for the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub provider_request_id: Option<String>,
    /// What the provider says that it cost, in US dollars with at most twelve decimals. It counts more than any price list.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rust_decimal::serde::str_option")]
    #[schema(value_type = Option<String>, example = "0.001234")]
    pub cost_usd: Option<Decimal>,
    /// The agent that it was for. Like the ids that follow, it is kept as it is given and may name what is no longer there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<Uuid>,
    /// The agent's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Uuid>,
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<Uuid>,
    /// What kind of work it was for, in words of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub task_type: Option<String>,
    /// The account at the provider; it may have prices of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_account_id: Option<Uuid>,
    /// What you call it, for your own records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub client_reference: Option<String>,
    /// Shared by the attempts of one operation; the call's own id unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<Uuid>,
    /// Which attempt of the operation it was, from 1, which it is unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub attempt: Option<i16>,
}

const fn yes() -> bool {
    true
}

/// Calls that were made without the gateway.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordCalls {
    /// 1 to 1,000 of them.
    #[schema(value_type = Vec<RecordCall>, min_items = 1, max_items = 1000)]
    pub items: Vec<Value>,
}

impl Validate for RecordCall {
    fn check(&self, checks: &mut Checks) {
        checks.provider("/provider", &self.provider);
        checks.line("/operation", &self.operation, 64);
        if !self.model.is_empty() {
            checks.line("/model", &self.model, 200);
        }
        let lines = [
            ("/requested_model", &self.requested_model, 200),
            ("/service_tier", &self.service_tier, 40),
            ("/provider_request_id", &self.provider_request_id, 200),
            ("/task_type", &self.task_type, 100),
            ("/client_reference", &self.client_reference, 200),
        ];
        for (pointer, text, most) in lines {
            text.iter().for_each(|text| checks.line(pointer, text, most));
        }
        self.error_message.iter().for_each(|text| checks.prose("/error_message", text, 2000));
        checks.instant("/timestamp", self.timestamp);
        checks.number("/latency_ms", self.latency_ms.into(), 0..=i32::MAX.into());
        self.time_to_first_token_ms.iter().for_each(|ms| {
            checks.number("/time_to_first_token_ms", (*ms).into(), 0..=i32::MAX.into());
        });
        self.status_code.iter().for_each(|status| checks.number("/status_code", (*status).into(), 100..=599));
        self.attempt.iter().for_each(|attempt| checks.number("/attempt", (*attempt).into(), 1..=1000));
        if self.finish == Some(Finish::Unsettled) {
            checks.fail("/finish", "must be `complete`, `cancelled`, `cut` or `error`");
        }
        if let Some(cost) = self.cost_usd
            && (cost < Decimal::ZERO || cost > Decimal::from(DEAREST) || cost.normalize().scale() > DECIMALS)
        {
            checks.fail("/cost_usd", format!("must be 0 to {DEAREST}, with at most {DECIMALS} decimals"));
        }
        self.check_usage(checks);
    }
}

impl RecordCall {
    fn check_usage(&self, checks: &mut Checks) {
        match (&self.usage, &self.raw_usage, self.api) {
            (Some(_), Some(_), _) => checks.fail("/raw_usage", "must not be given beside `usage`"),
            (Some(usage), None, None) => checks.under("/usage", |checks| check_buckets(usage, checks)),
            (_, None, Some(_)) => checks.fail("/api", "says how to read `raw_usage`, which is not given"),
            (None, Some(_), None) => checks.fail("/api", "must say how to read `raw_usage`"),
            (None, Some(raw), Some(api)) => {
                if read_usage(api, raw).source != UsageSource::Reported {
                    checks.fail("/raw_usage", format!("must hold counts as `{api}` has them"));
                }
            }
            (None, None, None) if self.success && self.cost_usd.is_none() => {
                checks.fail("/usage", "must be given for a call that succeeded, or `raw_usage` with `api`");
            }
            (None, None, None) => {}
        }
    }

    /// What the caller says of the answer.
    fn reading(&self) -> Reading {
        let mut reading = match (&self.usage, &self.raw_usage, self.api) {
            (Some(usage), ..) => Reading { usage: usage.clone(), source: UsageSource::Reported, ..Reading::default() },
            (None, Some(raw), Some(api)) => read_usage(api, raw),
            _ => Reading { source: UsageSource::None, ..Reading::default() },
        };
        reading.provider_cost_usd = self.cost_usd.or(reading.provider_cost_usd);
        reading
    }
}

fn check_buckets(usage: &Usage, checks: &mut Checks) {
    let counts = [
        ("/input", usage.input),
        ("/cache_read", usage.cache_read),
        ("/cache_write", usage.cache_write),
        ("/cache_write_1h", usage.cache_write_1h),
        ("/audio_input", usage.audio_input),
        ("/output", usage.output),
        ("/reasoning", usage.reasoning),
        ("/audio_output", usage.audio_output),
    ];
    for (pointer, count) in counts {
        if count > MOST_OF_ONE {
            checks.fail(pointer, format!("must be at most {MOST_OF_ONE}"));
        }
    }
    if usage.units.len() > MOST_UNITS {
        checks.fail("/units", format!("must be of at most {MOST_UNITS} kinds"));
    }
    for (name, count) in &usage.units {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !(1..=63).contains(&name.len()) || !name.bytes().all(word) {
            checks.fail("/units", "names of units have 1 to 63 of a-z, 0-9 and `_`");
        } else if *count > MOST_OF_ONE {
            checks.fail(format!("/units/{name}"), format!("must be at most {MOST_OF_ONE}"));
        }
    }
}

/// A reported call whose place in time is fine.
#[derive(Debug)]
pub struct NewCall(Valid<RecordCall>);

impl NewCall {
    /// Takes a report whose call can still be counted at `now`, where single calls are kept for `kept_days`: one that is older would have no
    /// partition to go to.
    ///
    /// # Errors
    /// `validation_failed`, `timestamp_too_old`, `timestamp_in_future`.
    pub fn at(now: DateTime<Utc>, kept_days: u32, body: RecordCall) -> Result<Self, Problem> {
        let body = body.validated()?;
        let days = kept_days.clamp(1, OLDEST_DAYS);
        let refuse = |code, detail: &str| Problem::of(code).pointer("/timestamp", detail).detail(detail.to_owned());
        if body.timestamp < now - TimeDelta::days(days.into()) {
            return Err(refuse(&codes::TIMESTAMP_TOO_OLD, &format!("calls are recorded within {days} days")));
        }
        if body.timestamp > now + AHEAD {
            return Err(refuse(&codes::TIMESTAMP_IN_FUTURE, "the call would begin more than 5 minutes from now"));
        }
        Ok(Self(body))
    }

    /// The caller's id.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        self.0.id
    }

    /// When it began, as the database keeps it: in whole microseconds, or it would not be found again under its timestamp.
    #[must_use]
    pub fn timestamp(&self) -> DateTime<Utc> {
        self.0.timestamp.trunc_subsecs(6)
    }

    /// The row that it becomes.
    #[must_use]
    pub fn call(&self, context: &TenantContext, id: Uuid, prices: &Prices) -> Call {
        let (body, timestamp) = (&*self.0, self.timestamp());
        let query = PriceQuery {
            tenant: context.id(),
            account: body.provider_account_id,
            provider: &body.provider,
            model: &body.model,
            service_tier: body.service_tier.as_deref(),
            at: timestamp,
        };
        let measured = measure(&body.reading(), &Bounds::default(), &query, prices);
        let (hour, day) = bucket(timestamp, context.tenant().time_zone);
        let api_key_id = match context.principal().via() {
            Via::ApiKey { id, .. } => Some(*id.as_uuid()),
            Via::Token | Via::System { .. } => None,
        };
        Call {
            id,
            tenant_id: context.id(),
            kind: Kind::Call,
            adjusts: None,
            prices_call: false,
            operation_id: body.operation_id.unwrap_or(id),
            attempt: body.attempt.unwrap_or(1),
            source: Source::Api,
            attribution: Attribution {
                agent_id: body.agent_id,
                session_id: body.session_id,
                task_id: body.task_id,
                api_key_id,
                provider_account_id: body.provider_account_id,
                task_type: body.task_type.clone(),
                client_reference: body.client_reference.clone(),
            },
            provider: body.provider.clone(),
            operation: body.operation.clone(),
            model: measured.model,
            requested_model: body.requested_model.clone(),
            service_tier: measured.service_tier,
            usage: measured.usage,
            usage_source: measured.usage_source,
            usage_mismatch: measured.usage_mismatch,
            cost: measured.cost,
            latency_ms: body.latency_ms,
            time_to_first_token_ms: body.time_to_first_token_ms,
            streamed: body.streamed,
            success: body.success,
            error_message: body.error_message.clone(),
            finish: body.finish.unwrap_or(if body.success { Finish::Complete } else { Finish::Error }),
            status_code: body.status_code,
            provider_request_id: body.provider_request_id.clone(),
            timestamp,
            hour,
            day,
        }
    }
}

/// What was recorded: the call as it is counted and priced. It is on the server's disk, and in lists within seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordedCall {
    /// Its id.
    pub id: Uuid,
    /// When it began, in whole microseconds.
    pub timestamp: DateTime<Utc>,
    /// The model that is paid for.
    pub model: String,
    /// The tier that is paid for.
    pub service_tier: Option<String>,
    /// What was used, in buckets that do not overlap.
    pub usage: Usage,
    /// Where that is from.
    pub usage_source: UsageSource,
    /// Whether the reported counts contradict each other. They were cut to what was reported as a whole.
    pub usage_mismatch: bool,
    /// What it costs, in US dollars, unrounded; `null` is unknown, which is not zero.
    #[serde(with = "rust_decimal::serde::str_option")]
    #[schema(value_type = Option<String>, example = "0.001234", required)]
    pub cost_usd: Option<Decimal>,
    /// Where the cost is from.
    pub cost_source: CostSource,
    /// Names the price that it was computed with.
    pub price_version: Option<String>,
}

impl From<&Call> for RecordedCall {
    fn from(call: &Call) -> Self {
        Self {
            id: call.id,
            timestamp: call.timestamp,
            model: call.model.clone(),
            service_tier: call.service_tier.clone(),
            usage: call.usage.clone(),
            usage_source: call.usage_source,
            usage_mismatch: call.usage_mismatch,
            cost_usd: call.cost.cost_usd.map(|cost| cost.normalize()),
            cost_source: call.cost.cost_source,
            price_version: call.cost.price_version.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    /// The code and the first pointer of a refusal.
    fn refused(change: &Value) -> (String, String) {
        let mut body = json!({
            "timestamp": "2026-11-24T11:00:00Z", "provider": "openai", "operation": "responses", "model": "m", "latency_ms": 5,
            "usage": { "input": 1 },
        });
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let problem = match tenantry_http::from_value::<RecordCall>(body) {
            Ok(body) => NewCall::at(now(), 90, body).map(|_| ()).unwrap_err(),
            Err(problem) => problem,
        };
        let body = problem.body(None, None);
        (body.code, body.extensions["errors"][0]["pointer"].as_str().unwrap().to_owned())
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let invalid = |pointer: &str| ("validation_failed".to_owned(), pointer.to_owned());
        for (change, pointer) in [
            (json!({ "provider": "Open AI" }), "/provider"),
            (json!({ "latency_ms": -1 }), "/latency_ms"),
            (json!({ "usage": { "input": MOST_OF_ONE + 1 } }), "/usage/input"),
            (json!({ "usage": { "units": { "web search": 1 } } }), "/usage/units"),
            (json!({ "usage": null }), "/usage"),
            (json!({ "api": "openai_chat" }), "/api"),
            (json!({ "raw_usage": {} }), "/raw_usage"),
            (json!({ "usage": null, "raw_usage": { "prompt_tokens": 1 } }), "/api"),
            (json!({ "usage": null, "raw_usage": { "tokens": 1 }, "api": "openai_chat" }), "/raw_usage"),
            (json!({ "cost_usd": "-0.1" }), "/cost_usd"),
            (json!({ "cost_usd": "0.0000000000001" }), "/cost_usd"),
            (json!({ "attempt": 0 }), "/attempt"),
            (json!({ "finish": "unsettled" }), "/finish"),
            (json!({ "task_type": "a\nb" }), "/task_type"),
        ] {
            assert_eq!(refused(&change), invalid(pointer), "{change}");
        }
        for (change, code) in [
            (json!({ "timestamp": "2026-08-26T11:59:59Z" }), "timestamp_too_old"),
            (json!({ "timestamp": "2026-11-24T12:05:01Z" }), "timestamp_in_future"),
            (json!({ "cost_usd": 0.1 }), "invalid_body"),
            (json!({ "usage": { "inputs": 1 } }), "invalid_body"),
            (json!({ "usage": { "input": -1 } }), "invalid_body"),
        ] {
            assert_eq!(refused(&change).0, code, "{change}");
        }
    }

    #[test]
    fn what_is_told_in_other_ways_is_fine() {
        for change in [
            json!({ "usage": null, "success": false, "error_message": "429" }),
            json!({ "usage": null, "cost_usd": "0.25" }),
            json!({ "usage": {}, "timestamp": "2026-08-26T12:00:00Z" }),
            json!({ "usage": null, "raw_usage": { "input_tokens": 0 }, "api": "anthropic_messages", "timestamp": "2026-11-24T12:05:00Z" }),
        ] {
            let mut body =
                json!({ "timestamp": "2026-11-24T11:00:00Z", "provider": "p", "operation": "o", "latency_ms": 0 });
            body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let body = serde_json::from_value(body).unwrap();
            assert!(NewCall::at(now(), 400, body).is_ok(), "{change}");
        }
    }

    #[test]
    fn what_would_not_be_kept_is_not_recorded() {
        let of = |timestamp: &str, kept_days| {
            let body =
                json!({ "timestamp": timestamp, "provider": "p", "operation": "o", "latency_ms": 0, "cost_usd": "1" });
            NewCall::at(now(), kept_days, serde_json::from_value(body).unwrap()).map(|_| ()).map_err(|p| p.code())
        };
        assert_eq!(of("2026-10-25T12:00:00Z", 30), Ok(()));
        assert_eq!(of("2026-10-25T11:59:59Z", 30), Err("timestamp_too_old"));
        assert_eq!(of("2026-08-26T11:59:59Z", 400), Err("timestamp_too_old"));
        assert_eq!(of("2026-11-24T11:59:59Z", 0), Ok(()), "what has just been made is recorded always");
    }
}
