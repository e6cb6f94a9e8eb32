use std::borrow::Cow;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tenantry_http::respond::Common;
use tenantry_http::{Problem, RateState, RequestInfo, TenantScope};
use tenantry_postgres::{Limits, MeasuredStorage, TenantDb};
use utoipa::ToSchema;

use crate::Error;
use crate::quota::{Quota, Used, percent};
use crate::store::quotas;

const GIBIBYTE: i64 = 1 << 30;

/// What a company uses of what its plan allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageOfPlan {
    /// Live agents.
    pub agents: Used,
    /// Tasks created in this calendar month of the company's time zone, deleted ones included.
    pub tasks: Used,
    /// Tasks in progress.
    pub concurrent_tasks: Used,
    /// Data on disk.
    pub storage: StorageUsed,
    /// Requests of the last minute, this one included; of the API key where its own limit is the tighter one.
    pub requests: RequestsUsed,
}

/// How large a company's data is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Storage, example = json!({"limit_name": "storage_limit_gb", "limit_bytes": 10_737_418_240_i64, "used_bytes": 5_905_580_032_i64,
    "percent": 55.0, "measured_at": "2026-11-24T08:00:00Z", "frozen": false}))]
pub struct StorageUsed {
    /// The plan's member that limits it, in gibibytes.
    pub limit_name: Cow<'static, str>,
    /// How large it may be; null is unlimited.
    pub limit_bytes: Option<i64>,
    /// How large it was at the last measurement; null before the first.
    pub used_bytes: Option<i64>,
    /// Of the limit.
    pub percent: Option<f64>,
    /// When it was measured.
    pub measured_at: Option<DateTime<Utc>>,
    /// Whether it is used up, so that nothing can be added or changed.
    pub frozen: bool,
}

/// How many requests were sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Requests, example = json!({"limit_name": "requests_per_minute", "scope": "tenant", "limit": 500, "used": 12, "percent": 2.4,
    "resets_at": "2026-11-24T08:00:02Z"}))]
pub struct RequestsUsed {
    /// The plan's or the key's member that limits them.
    pub limit_name: Cow<'static, str>,
    /// Whose limit it is: `tenant` or `key`.
    pub scope: Cow<'static, str>,
    /// Requests a minute; null is unlimited.
    pub limit: Option<i64>,
    /// Requests that have not been given back yet; null where they are not limited, and so not counted.
    pub used: Option<i64>,
    /// Of the limit.
    pub percent: Option<f64>,
    /// When all are given back, if none is sent until then.
    pub resets_at: Option<DateTime<Utc>>,
}

/// Reads what is used of each limit. Agents and tasks are exact at the moment of the answer; storage is as of its last measurement.
#[utoipa::path(
    get,
    path = "/v1/usage",
    operation_id = "get_usage",
    tag = "account",
    responses(Common, (status = 200, description = "what is used of each limit", body = UsageOfPlan)),
)]
pub(super) async fn get_usage(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    info: RequestInfo,
) -> Result<Json<UsageOfPlan>, Problem> {
    let storage = db.registry().storage(&context).await?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let counted = quotas::counted(&mut tx).await?;
    let tenant = tx.tenant();
    let of = |quota: Quota| Used::new(quota.limit_name(), quota.limit(&tenant.limits), counted.of(quota));
    Ok(Json(UsageOfPlan {
        agents: of(Quota::Agents),
        tasks: Used { resets_at: Some(counted.month_ends), ..of(Quota::Tasks) },
        concurrent_tasks: of(Quota::ConcurrentTasks),
        storage: StorageUsed::new(&tenant.limits, storage, tenant.storage_frozen),
        requests: RequestsUsed::new(info.rate(), counted.now),
    }))
}

impl StorageUsed {
    fn new(limits: &Limits, measured: Option<MeasuredStorage>, frozen: bool) -> Self {
        let limit_bytes = limits.storage_limit_gb.map(|limit| i64::from(limit) * GIBIBYTE);
        let used_bytes = measured.map(|measured| measured.bytes);
        Self {
            limit_name: "storage_limit_gb".into(),
            limit_bytes,
            used_bytes,
            percent: limit_bytes.zip(used_bytes).map(|(limit, used)| percent(used, limit)),
            measured_at: measured.map(|measured| measured.measured_at),
            frozen,
        }
    }
}

impl RequestsUsed {
    fn new(rate: Option<&RateState>, now: DateTime<Utc>) -> Self {
        let used = rate.map(|rate| i64::from(rate.limit - rate.remaining));
        let limit = rate.map(|rate| i64::from(rate.limit));
        Self {
            limit_name: "requests_per_minute".into(),
            scope: rate.map_or("tenant", |rate| rate.scope).into(),
            limit,
            used,
            percent: limit.zip(used).map(|(limit, used)| percent(used, limit)),
            resets_at: rate.map(|rate| now + TimeDelta::from_std(rate.full_in).unwrap_or_default()),
        }
    }
}
