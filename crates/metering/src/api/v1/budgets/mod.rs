mod create;
mod delete;
mod get;
mod list;
mod status;
mod test;
mod update;

use axum::extract::FromRef;
use tenantry_postgres::{Registry, TenantDb, TenantTx};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workforce::Keychain;

use crate::Metering;
use crate::budgets::BudgetError;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Registry: FromRef<S>,
    Keychain: FromRef<S>,
    Metering: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(list::list_budgets, create::create_budget))
        .routes(routes!(get::get_budget, update::update_budget, delete::delete_budget))
        .routes(routes!(status::get_budget_status))
        .routes(routes!(test::test_budget))
}

/// Ends a transaction by its outcome. A refusal is rolled back here and now, so that the connection is free for the next request before
/// the answer is written.
async fn finish<T>(tx: TenantTx, outcome: Result<T, BudgetError>) -> Result<T, BudgetError> {
    match outcome {
        Ok(value) => {
            tx.commit().await?;
            Ok(value)
        }
        Err(error) => {
            if let Err(rollback) = tx.rollback().await {
                tracing::debug!(%rollback, "the connection was lost on rollback; the server undoes the transaction");
            }
            Err(error)
        }
    }
}
