use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Idempotency, Problem, ProblemBody, TenantScope, from_value};
use tenantry_postgres::TenantDb;
use workforce::{BulkResult, ItemResult};

use super::row;
use crate::Metering;
use crate::api::not_taken;
use crate::call::Call;
use crate::codes::VALIDATION_FAILED;
use crate::provider_call::{MOST_ITEMS, NewCall, RecordCall, RecordCalls, RecordedCall};

/// Records up to 1,000 calls. Each is taken or refused by itself; those that are taken are all on the server's disk when the answer comes.
/// Under an `Idempotency-Key` each item without an id has the same one whenever the request is repeated, by its place.
#[utoipa::path(
    post,
    path = "/v1/provider-calls/batch",
    operation_id = "record_provider_calls",
    tag = "provider calls",
    request_body = RecordCalls,
    responses(
        Common,
        WithBody,
        (status = 202, description = "all of them are recorded", body = BulkResult<RecordedCall>),
        (status = 207, description = "some were refused, or all: each result has a status, and a record or a problem", body = BulkResult<RecordedCall>),
        (status = 422, description = "there is no item, or there are too many", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn record_provider_calls(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<RecordCalls>,
) -> Result<Response, Problem> {
    if !(1..=MOST_ITEMS).contains(&body.items.len()) {
        let detail = format!("must have 1 to {MOST_ITEMS} items, has {}", body.items.len());
        return Err(Problem::of(&VALIDATION_FAILED).pointer("/items", &detail).detail(detail));
    }
    let (now, kept_days) = (metering.clock.now(), metering.settings.keep_calls_days);
    let read = |(index, item)| {
        let new = from_value::<RecordCall>(item).and_then(|body| NewCall::at(now, kept_days, body));
        new.map(|new| row(&metering, &context, &idempotency, index, &new))
            .map_err(|problem| problem.below(&format!("/items/{index}")))
    };
    let read: Vec<Result<Call, Problem>> = body.items.into_iter().enumerate().map(read).collect();
    let taken: Vec<Call> = read.iter().flatten().cloned().collect();
    let items: Vec<_> = read.iter().enumerate().map(|(index, call)| result(index, call)).collect();
    let failed = items.len() - taken.len();
    let status = if failed == 0 { StatusCode::ACCEPTED } else { StatusCode::MULTI_STATUS };
    let answer = Answer::status(status, &BulkResult { items, succeeded: taken.len(), failed });
    if taken.is_empty() {
        return Ok(answer.into_response());
    }
    let answer = idempotency.answer_ahead(&db, &context, answer).await?;
    metering.spool.record(&taken).await.map_err(not_taken)?;
    Ok(answer)
}

fn result(index: usize, call: &Result<Call, Problem>) -> ItemResult<RecordedCall> {
    match call {
        Ok(call) => {
            ItemResult { index, status: StatusCode::ACCEPTED.as_u16(), record: Some(call.into()), problem: None }
        }
        Err(problem) => {
            let (status, problem) = (problem.status().as_u16(), problem.body(None, None));
            ItemResult { index, status, record: None, problem: Some(problem) }
        }
    }
}
