use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::ToSchema;
use workforce::Error;

use super::frame::{Frame, frame};
use super::query::{bounded, question};
use crate::Metering;
use crate::insight::Roi;
use crate::store::analytics::roi::{self, CoveredGroup};
use crate::store::analytics::sums::Dimension;

/// What the figures take for granted, told with them.
pub(super) const ASSUMPTIONS: [&str; 5] = [
    "both sides are sums over the calls that have a baseline; a baseline is computed when a call is recorded, or given its first price later, from its own tokens and the prices of that moment, and never changes",
    "another model would have used as many tokens: tokenizers and answers differ, so this is a comparison of prices",
    "the list baseline puts every call on the dearest model of the catalogue, which nobody would do: it is an upper bound",
    "the like-for-like baseline takes the dearest model of the same class, with the same tokens read from and written to a cache; a call whose class has no other model counts as what it cost, so it saves nothing there",
    "later adjustments of calls change what was spent and not the savings",
];

question! {
    /// Which calls, put together by what.
    SavingsQuery {
        /// What calls are put together by; `model` unless given. Not by `task`.
        #[param(inline)]
        group_by: Option<Dimension>,
        /// The dearest groups, 1 to 200; 50 unless given.
        #[param(minimum = 1, maximum = 200)]
        limit: Option<i64>,
    }
}

/// What was saved against two baselines, in all and by group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Savings {
    /// What the answer is about, and how far it can be trusted.
    #[serde(flatten)]
    pub frame: Frame,
    /// All calls.
    pub total: Roi,
    /// What calls are put together by.
    pub group_by: Dimension,
    /// The groups, the dearest first.
    pub data: Vec<SavingsOf>,
    /// What the figures take for granted.
    pub assumptions: Vec<String>,
}

/// A group's savings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SavingsOf {
    /// What it is; null for calls that have none.
    #[schema(required)]
    pub key: Option<String>,
    /// Whose model it is; null for what is no model.
    #[schema(required)]
    pub provider: Option<String>,
    /// Its savings.
    #[serde(flatten)]
    pub roi: Roi,
}

/// Tells what calls cost against the dearest model of the catalogue and the dearest of the same class, by group.
#[utoipa::path(
    get,
    path = "/v1/analytics/savings",
    operation_id = "get_savings",
    tag = "analytics",
    params(SavingsQuery),
    responses(Common, (status = 200, description = "savings, signed", body = Savings)),
)]
pub(super) async fn get_savings(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<SavingsQuery>,
) -> Result<Json<Savings>, Problem> {
    let (scope, _) = query.scope(&context, &metering)?;
    let limit = bounded("limit", query.limit, (1, 50, 200))?;
    let group_by = query.group_by.unwrap_or(Dimension::Model);
    if group_by == Dimension::Task {
        let detail = "savings are kept in sums that know no tasks: use another `group_by`".to_owned();
        return Err(Error::InvalidQuery { parameter: "group_by", detail }.into());
    }
    let mut tx = db.snapshot(&context).await?;
    let (sums, total) = roi::covered(&mut tx, &scope).await?;
    let groups = roi::covered_groups(&mut tx, &scope, group_by, limit).await?;
    let frame = frame(&mut tx, &scope, &sums).await?;
    tx.commit().await?;
    Ok(Json(Savings {
        frame,
        total: total.roi(),
        group_by,
        data: groups.into_iter().map(SavingsOf::from).collect(),
        assumptions: assumptions(),
    }))
}

pub(super) fn assumptions() -> Vec<String> {
    ASSUMPTIONS.iter().map(|text| (*text).to_owned()).collect()
}

impl From<CoveredGroup> for SavingsOf {
    fn from(group: CoveredGroup) -> Self {
        Self { key: group.key, provider: group.provider, roi: group.covered.roi() }
    }
}
