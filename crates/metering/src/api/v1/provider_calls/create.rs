use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Idempotency, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use super::row;
use crate::Metering;
use crate::api::not_taken;
use crate::provider_call::{NewCall, RecordCall, RecordedCall};

/// Records a call that was made without the gateway. When the answer comes, the call is on the server's disk and will be in the database,
/// also if that is away now. Recorded again, under the same id and timestamp or by the same request with its `Idempotency-Key`, it is counted once.
/// Spending is recorded whether a budget allows it or not.
#[utoipa::path(
    post,
    path = "/v1/provider-calls",
    operation_id = "record_provider_call",
    tag = "provider calls",
    request_body = RecordCall,
    responses(
        Common,
        WithBody,
        (status = 202, description = "the call is recorded, as it is counted and priced", body = RecordedCall, headers(
            ("Location" = String, description = "the call's address, once it is in the database"),
        )),
        (status = 422, description = "a member is invalid, or the call began too long ago or in the future", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn record_provider_call(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<RecordCall>,
) -> Result<Response, Problem> {
    let new = NewCall::at(metering.clock.now(), metering.settings.keep_calls_days, body)?;
    let call = row(&metering, &context, &idempotency, 0, &new);
    let recorded = Answer::accepted(format!("/v1/provider-calls/{}", call.id), &RecordedCall::from(&call));
    let answer = idempotency.answer_ahead(&db, &context, recorded).await?;
    metering.spool.record(std::slice::from_ref(&call)).await.map_err(not_taken)?;
    Ok(answer)
}
