use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_control::{Caller, Common, Repeatable, WithBody};
use tenantry_http::{ApiJson, Problem, ProblemBody};
use tenantry_postgres::{Actor, Provisioner};
use utoipa::ToSchema;

use crate::Metering;
use crate::codes;
use crate::prices::{Reprice, Repriced};
use crate::store::prices::tenant;

/// Calls that one request looks at, unless it says less: it must end within the request's time.
const AT_MOST: u64 = 20_000;

/// Which calls are to be priced again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reason": "ticket 4711: gpt-5 was priced before its price was loaded", "since": "2026-10-01T00:00:00Z", "dry_run": true }))]
pub(super) struct RepriceCalls {
    /// Only those of the tenant with this slug.
    tenant: Option<String>,
    /// Only calls that began then or later; needed with `changed`.
    since: Option<DateTime<Utc>>,
    /// Only calls that began before; now unless given.
    until: Option<DateTime<Utc>>,
    /// Calls that have a price: each gets the difference to what is valid for its time now. Without it, calls that have none.
    #[serde(default)]
    changed: bool,
    /// Only tell what it would do.
    #[serde(default)]
    dry_run: bool,
    /// Why, for the tenants' audit trails.
    #[schema(max_length = 500)]
    reason: String,
    /// `next` of the answer before, with the same members.
    after: Option<String>,
    /// Look at so many calls at most, up to 20000.
    #[schema(minimum = 1, maximum = 20000)]
    limit: Option<u64>,
}

/// Prices calls again: those without a price that have one now, once each, or with `changed` those whose price was another. What was
/// recorded stays; the difference is an adjustment, in a closed month one of today. Do it with `dry_run` first.
#[utoipa::path(
    post,
    path = "/admin/v1/prices/reprice",
    operation_id = "reprice_calls",
    tag = "prices",
    request_body = RepriceCalls,
    responses(
        Common,
        WithBody,
        (status = 200, description = "what was done, or would be; ask again with `next` as `after` where there is one", body = Repriced),
        (status = 404, description = "no tenant has this slug", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reprice_calls(
    Caller(actor): Caller,
    once: Repeatable,
    State(provisioner): State<Provisioner>,
    State(metering): State<Metering>,
    ApiJson(body): ApiJson<RepriceCalls>,
) -> Result<Response, Problem> {
    let wrong = |pointer: &str, detail: &'static str| {
        Problem::of(&codes::VALIDATION_FAILED).pointer(pointer, detail).detail(detail)
    };
    if body.reason.len() > 500 || body.reason.contains('\0') || body.reason.trim().is_empty() {
        return Err(wrong("/reason", "must say why, in at most 500 bytes without NUL characters"));
    }
    if body.changed && body.since.is_none() {
        return Err(wrong("/since", "is needed with `changed`"));
    }
    if body.limit.is_some_and(|limit| !(1..=AT_MOST).contains(&limit)) {
        return Err(wrong("/limit", "must be 1 to 20000"));
    }
    let repriced = once.on(&provisioner).beside(reprice(&metering, body, &actor)).await?;
    Ok(once.answer(Json(repriced).into_response()))
}

/// A run that was killed is finished by the same request again; what was adjusted is not adjusted again.
async fn reprice(metering: &Metering, body: RepriceCalls, actor: &Actor) -> Result<Repriced, Problem> {
    let tenant = match body.tenant {
        None => None,
        Some(slug) => {
            let tx = metering.db.begin().await?;
            let found = tenant(&tx, &slug.replace('\0', "")).await?;
            tx.rollback().await?;
            let unknown = || Problem::of(&tenantry_http::codes::TENANT_NOT_FOUND).detail("no tenant has this slug");
            Some(found.ok_or_else(unknown)?)
        }
    };
    let now = metering.clock.now();
    let what = Reprice {
        tenant,
        since: body.since.unwrap_or(DateTime::UNIX_EPOCH),
        until: body.until.unwrap_or(now),
        changed: body.changed,
        dry_run: body.dry_run,
        reason: body.reason,
        after: body.after,
        at_most: body.limit.unwrap_or(AT_MOST),
    };
    Ok(metering.prices.reprice(&metering.db, &what, actor, now, |_| true).await?)
}
