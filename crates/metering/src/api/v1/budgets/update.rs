use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody, required_version, versioned};
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use uuid::Uuid;
use workforce::keychain::KeychainError;
use workforce::{Error, Keychain, Validate as _};

use super::finish;
use crate::Metering;
use crate::budgets::{Budget, BudgetError, Target, UpdateBudget};
use crate::store::budgets;

/// Changes a budget: a merge patch. A new limit holds on every server within a second, and who changed it from what is in the audit trail.
#[utoipa::path(
    patch,
    path = "/v1/budgets/{id}",
    operation_id = "update_budget",
    tag = "budgets",
    params(
        ("id" = Uuid, Path, description = "the budget's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the version that the change is based on"),
    ),
    request_body = UpdateBudget,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the changed budget", body = Budget, headers(("ETag" = String, description = "the new version"))),
        (status = 404, description = "no budget has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one, and `current` holds the budget; the name is taken; or there is no webhook \
            that the secret could be for", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "the change names no version", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_budget(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(keychain): State<Keychain>,
    State(metering): State<Metering>,
    ApiPath(id): ApiPath<Uuid>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdateBudget>,
) -> Result<Response, Problem> {
    let expected = required_version(&headers, body.version)?;
    let change = body.validated()?;
    if let Some(target) = change.webhook_url.value().and_then(|url| Target::parse(url).ok()) {
        keychain.egress.admits(target.service).map_err(|error| Error::from(KeychainError::from(error)))?;
    }
    let mut tx = db.begin(&context).await.map_err(BudgetError::from)?;
    let outcome = budgets::update(&mut tx, &keychain.secrets, id, expected, &change).await;
    let budget = finish(tx, outcome).await?;
    metering.budgets.changed();
    Ok(versioned(StatusCode::OK, budget.version, &budget))
}
