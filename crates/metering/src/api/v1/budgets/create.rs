use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::{Registry, TenantDb};
use workforce::keychain::KeychainError;
use workforce::{Error, Keychain, Validate as _};

use crate::Metering;
use crate::budgets::{Budget, BudgetError, CreateBudget, Target};
use crate::store::budgets;

/// Makes a budget. What was spent in its present period before counts as well.
#[utoipa::path(
    post,
    path = "/v1/budgets",
    operation_id = "create_budget",
    tag = "budgets",
    request_body = CreateBudget,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new budget", body = Budget, headers(
            ("ETag" = String, description = "the version"),
            ("Location" = String, description = "the budget's address"),
        )),
        (status = 409, description = "the name is taken, or there are too many budgets", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid, or `scope_id` names no live agent or key",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_budget(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(registry): State<Registry>,
    State(keychain): State<Keychain>,
    State(metering): State<Metering>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreateBudget>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    if let Some(target) = new.webhook_url.as_deref().and_then(|url| Target::parse(url).ok()) {
        let admitted = keychain.egress.admits(target.service).map_err(KeychainError::from);
        admitted.map_err(|error| BudgetError::from(Error::from(error)))?;
    }
    let sealed = budgets::seal(&keychain.secrets, &context, &new).await?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = budgets::create(write.tx(), &registry, &new, &sealed).await;
    let answer = |budget: Budget| Answer::created(budget.version, format!("/v1/budgets/{}", budget.id), &budget);
    let response = write.finish(outcome.map(answer)).await?;
    metering.budgets.changed();
    Ok(response)
}
