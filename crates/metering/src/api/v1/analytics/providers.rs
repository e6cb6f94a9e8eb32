use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::ToSchema;
use workforce::text_enum;

use super::frame::{Frame, frame};
use super::query::{bounded, question};
use crate::Metering;
use crate::Usd;
use crate::insight::{Latency, Measures};
use crate::money::{percent, share};
use crate::store::analytics::sums::{self, ProviderSums};
use crate::store::analytics::tasks;

text_enum! {
    /// What is compared.
    pub enum Compared("comparison") {
        /// Providers.
        Provider = "provider",
        /// Each model of each provider.
        Model = "model",
    }
}

question! {
    /// Which calls, compared by what.
    ProvidersQuery {
        /// What is compared; `provider` unless given.
        #[param(inline)]
        by: Option<Compared>,
        /// How many, the dearest first, 1 to 200; 50 unless given.
        #[param(minimum = 1, maximum = 200)]
        limit: Option<i64>,
    }
}

/// Providers side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProviderComparison {
    /// What the answer is about, and how far it can be trusted.
    #[serde(flatten)]
    pub frame: Frame,
    /// Everything together.
    pub total: Measures,
    /// The providers, or their models, the dearest first.
    pub data: Vec<ProviderFigures>,
}

/// A provider, or one of its models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProviderFigures {
    /// The provider.
    pub provider: String,
    /// The model; null where providers are compared. An empty one is that of calls that none answered.
    #[schema(required)]
    pub model: Option<String>,
    /// Its sums.
    #[serde(flatten)]
    pub measures: Measures,
    /// Of all calls, in percent.
    #[schema(required)]
    pub percent_of_calls: Option<f64>,
    /// Of all costs, in percent.
    #[schema(required)]
    pub percent_of_cost: Option<f64>,
    /// The cost of a call whose cost is known; null without any.
    #[schema(required)]
    pub cost_per_call_usd: Option<Usd>,
    /// The cost of a thousand tokens, input and output together; null without any. Of calls without a known cost the tokens count and the
    /// cost does not: see `unpriced_calls`.
    #[schema(required)]
    pub cost_per_1k_tokens_usd: Option<Usd>,
    /// Tasks for this provider that were completed in the period; null by model, and with filters that tasks do not know.
    #[schema(required)]
    pub tasks_completed: Option<i64>,
    /// The cost divided by these tasks; null without any.
    #[schema(required)]
    pub cost_per_task_usd: Option<Usd>,
    /// Successful calls of all, in percent; null without calls.
    #[schema(required)]
    pub success_percent: Option<f64>,
    /// Input that was read from a cache, of all input, in percent; null without input.
    #[schema(required)]
    pub cache_hit_percent: Option<f64>,
    /// How long calls took, failed ones included.
    pub latency: Latency,
    /// How long the first token took.
    pub time_to_first_token: FirstToken,
}

/// How long the first token took, of calls that were streamed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FirstToken {
    /// On average, in milliseconds; null without such calls.
    #[schema(required)]
    pub mean_ms: Option<f64>,
    /// How many calls have one.
    pub calls: i64,
}

/// Compares providers, or their models: cost, latency, success, cached input, cost of a finished task.
#[utoipa::path(
    get,
    path = "/v1/analytics/providers",
    operation_id = "compare_providers",
    tag = "analytics",
    params(ProvidersQuery),
    responses(Common, (status = 200, description = "providers side by side", body = ProviderComparison)),
)]
pub(super) async fn compare_providers(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ProvidersQuery>,
) -> Result<Json<ProviderComparison>, Problem> {
    let (scope, _) = query.scope(&context, &metering)?;
    let limit = bounded("limit", query.limit, (1, 50, 200))?;
    let by_model = query.by == Some(Compared::Model);
    let mut tx = db.snapshot(&context).await?;
    let rows = sums::providers(&mut tx, &scope, by_model, limit).await?;
    let all = if rows.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
        rows.iter().map(|row| row.measures).sum()
    } else {
        sums::total(&mut tx, &scope).await?
    };
    // filters by anything that a task does not know would make its cost another's
    let known = !by_model && !scope.is_beyond_providers_and_agents();
    let ended = if known {
        let between = (scope.period.starts_at(), scope.period.ends_at());
        Some(tasks::outcomes(&mut tx, between, scope.agent_id).await?)
    } else {
        None
    };
    let frame = frame(&mut tx, &scope, &all).await?;
    tx.commit().await?;
    let completed: Option<BTreeMap<String, i64>> = ended
        .map(|ended| ended.into_iter().filter_map(|outcome| Some((outcome.provider?, outcome.completed))).collect());
    let of = |row| ProviderFigures::new(row, &all, completed.as_ref());
    Ok(Json(ProviderComparison { frame, total: all, data: rows.into_iter().map(of).collect() }))
}

impl ProviderFigures {
    fn new(row: ProviderSums, all: &Measures, completed: Option<&BTreeMap<String, i64>>) -> Self {
        let sums = row.measures;
        let tokens = sums.tokens.input + sums.tokens.output;
        let tasks_completed = completed.map(|tasks| tasks.get(&row.provider).copied().unwrap_or(0));
        Self {
            percent_of_calls: percent(Decimal::from(sums.calls), Decimal::from(all.calls)),
            percent_of_cost: percent(sums.cost_usd.0, all.cost_usd.0),
            cost_per_call_usd: sums.cost_usd.each(sums.coverage().priced),
            cost_per_1k_tokens_usd: Usd(sums.cost_usd.0 * Decimal::ONE_THOUSAND).each(tokens),
            tasks_completed,
            cost_per_task_usd: tasks_completed.and_then(|tasks| sums.cost_usd.each(tasks)),
            success_percent: percent(Decimal::from(sums.calls - sums.failed_calls), Decimal::from(sums.calls)),
            cache_hit_percent: percent(Decimal::from(sums.tokens.cache_read), Decimal::from(sums.tokens.input)),
            latency: Latency::of(row.latency_ms, sums.calls, &row.histogram),
            time_to_first_token: FirstToken {
                mean_ms: share(Decimal::from(row.first_token_ms), Decimal::from(row.first_token_calls), 1),
                calls: row.first_token_calls,
            },
            provider: row.provider,
            model: row.model,
            measures: sums,
        }
    }
}
