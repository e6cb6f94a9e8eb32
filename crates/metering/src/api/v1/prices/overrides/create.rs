use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use workforce::Validate as _;

use super::super::model::{CreatePriceOverride, PriceOverride};
use super::changed;
use crate::Metering;
use crate::store::overrides;

/// Sets what the company pays instead of the catalogue's price: for calls that are recorded from now on and began in its time. Every server
/// prices with it after two seconds at the latest.
#[utoipa::path(
    post,
    path = "/v1/prices/overrides",
    operation_id = "create_price_override",
    tag = "prices",
    request_body = CreatePriceOverride,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new override", body = PriceOverride, headers(
            ("Location" = String, description = "the override's address"),
        )),
        (status = 409, description = "another override for the same model and account is valid in a part of the same time",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid, names an account that does not exist, or there are 500 overrides already",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_price_override(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreatePriceOverride>,
) -> Result<Response, Early> {
    let new = body.validated().map_err(Problem::from)?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = overrides::create(write.tx(), &new, metering.clock.now()).await;
    let answer = outcome.map(|made| Answer::made(format!("/v1/prices/overrides/{}", made.id), &made));
    let response = write.finish(answer).await?;
    changed(&metering).await;
    Ok(response)
}
