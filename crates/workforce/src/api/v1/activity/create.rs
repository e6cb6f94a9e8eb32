use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::Validate as _;
use crate::activity::{Activity, CreateActivity};
use crate::store::activity;

/// Appends to the activity log. An entry is never changed or removed.
#[utoipa::path(
    post,
    path = "/v1/activity",
    operation_id = "create_activity",
    tag = "activity",
    request_body = CreateActivity,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new entry", body = Activity, headers(
            ("Location" = String, description = "the entry's address"),
        )),
        (status = 422, description = "a member is invalid, or names an agent or task that does not exist", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_activity(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreateActivity>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    let mut write = Once::optimistic(&db, &context, idempotency).await?;
    let outcome = activity::append(write.tx(), &new).await;
    write.finish(outcome.map(|entry| Answer::made(format!("/v1/activity/{}", entry.id), &entry))).await
}
