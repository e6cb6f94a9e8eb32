use axum::Json;
use axum::extract::State;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenantry_core::TenantId;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::ToSchema;
use workforce::Error;

use super::frame::{Frame, frame};
use super::query::{name, question};
use crate::Usd;
use crate::money::percent;
use crate::prices::{PriceQuery, Prices};
use crate::store::analytics::calls::{self, UsedRow};
use crate::store::analytics::sums;
use crate::usage::Usage;
use crate::{Metering, codes};

/// Calls that are priced anew for one answer.
const MOST_CALLS: i64 = 200_000;

question! {
    /// Which calls, and which model they are thought to have gone to.
    WhatIfQuery {
        /// The provider of the other model.
        #[param(min_length = 1, max_length = 200, example = "anthropic")]
        to_provider: String,
        /// The other model.
        #[param(min_length = 1, max_length = 200)]
        to_model: String,
    }
}

/// What the calls of a period would have cost on another model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhatIf {
    /// What the answer is about, and how far it can be trusted.
    #[serde(flatten)]
    pub frame: Frame,
    /// The provider of the other model.
    pub to_provider: String,
    /// The other model.
    pub to_model: String,
    /// What the calls that could be priced on it cost.
    pub actual_cost_usd: Usd,
    /// What they would have cost on it.
    pub what_if_cost_usd: Usd,
    /// The latter less the former: below zero when the other model is cheaper.
    pub difference_usd: Usd,
    /// In percent of the actual cost; null when that is zero.
    #[schema(required)]
    pub difference_percent: Option<f64>,
    /// Calls that could be priced on both.
    pub compared_calls: i64,
    /// Of these, calls whose tier the other model does not have: priced at its default.
    pub default_tier_calls: i64,
    /// Calls with no known cost, or with units that the other model has no price for: in neither sum.
    pub left_out_calls: i64,
    /// Calls that used nothing: they cost the same anywhere.
    pub unused_calls: i64,
    /// What the figures take for granted.
    pub assumptions: Vec<String>,
}

/// Prices the calls of a period on another model. Each call is priced by itself, with its own tokens, at its own time: prices depend on the
/// size of a call, so sums of tokens would not do.
#[utoipa::path(
    get,
    path = "/v1/analytics/what-if",
    operation_id = "what_if",
    tag = "analytics",
    params(WhatIfQuery),
    responses(
        Common,
        (status = 200, description = "the cost on another model", body = WhatIf),
        (status = 422, description = "more calls than are priced for one answer", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn what_if(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<WhatIfQuery>,
) -> Result<Json<WhatIf>, Problem> {
    let (scope, _) = query.scope(&context, &metering)?;
    let to_provider = name("to_provider", Some(query.to_provider))?.unwrap_or_default();
    let to_model = name("to_model", Some(query.to_model))?.unwrap_or_default();
    let mut tx = db.snapshot(&context).await?;
    let total = sums::total(&mut tx, &scope).await?;
    if total.calls > MOST_CALLS {
        let detail = format!(
            "the period has {} calls and at most {MOST_CALLS} are priced for one answer: ask for a shorter one",
            total.calls
        );
        return Err(Problem::of(&codes::TOO_MANY_CALLS).detail(detail));
    }
    let mut tally = Tally::default();
    let mut after = calls::START;
    loop {
        let page = calls::used(&mut tx, &scope, after).await?;
        let elsewhere =
            Elsewhere { tenant: context.id(), provider: &to_provider, model: &to_model, prices: &metering.prices };
        page.iter().filter(|row| row.is_call).for_each(|row| tally.add(row, &elsewhere));
        match page.last() {
            Some(last) if page.len() == calls::PAGE => after = (last.timestamp, last.id),
            _ => break,
        }
    }
    let frame = frame(&mut tx, &scope, &total).await?;
    tx.commit().await?;
    if tally.compared == 0 && tally.without_price > 0 {
        let detail =
            format!("`to_model`: no price of `{to_model}` of `{to_provider}` is known for any call of the period");
        return Err(Error::InvalidQuery { parameter: "to_model", detail }.into());
    }
    let difference = tally.there - tally.here;
    Ok(Json(WhatIf {
        frame,
        to_provider,
        to_model,
        actual_cost_usd: Usd(tally.here),
        what_if_cost_usd: Usd(tally.there),
        difference_usd: Usd(difference),
        difference_percent: percent(difference, tally.here),
        compared_calls: tally.compared,
        default_tier_calls: tally.default_tier,
        left_out_calls: tally.without_price + tally.unknown,
        unused_calls: tally.unused,
        assumptions: [
            "the other model would have used as many tokens: tokenizers and answers differ",
            "as much of the input would have been read from and written to its cache",
            "each call at the price that was valid at its time, in the tier that served it where the other model has it",
            "adjustments are left out, on both sides",
        ]
        .map(str::to_owned)
        .to_vec(),
    }))
}

/// Where calls are thought to have gone.
struct Elsewhere<'a> {
    tenant: TenantId,
    provider: &'a str,
    model: &'a str,
    prices: &'a Prices,
}

#[derive(Default)]
struct Tally {
    here: Decimal,
    there: Decimal,
    compared: i64,
    default_tier: i64,
    /// What the other model has no price for.
    without_price: i64,
    /// What has no known cost.
    unknown: i64,
    unused: i64,
}

impl Tally {
    fn add(&mut self, row: &UsedRow, to: &Elsewhere<'_>) {
        let usage = Usage::deserialize(&row.usage).ok();
        if usage.as_ref() == Some(&Usage::default()) {
            self.unused += 1;
            return;
        }
        let (Some(usage), Some(cost)) = (usage, row.cost_usd) else {
            self.unknown += 1;
            return;
        };
        let query = |service_tier| PriceQuery {
            tenant: to.tenant,
            account: None,
            provider: to.provider,
            model: to.model,
            service_tier,
            at: row.timestamp,
        };
        let tier = row.service_tier.as_deref();
        let there = to.prices.cost(&query(tier), &usage).cost_usd;
        let default =
            if there.is_none() && tier.is_some() { to.prices.cost(&query(None), &usage).cost_usd } else { None };
        self.default_tier += i64::from(default.is_some());
        match there.or(default) {
            Some(there) => {
                self.here += cost;
                self.there += there;
                self.compared += 1;
            }
            None => self.without_price += 1,
        }
    }
}
