use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tenantry_postgres::{NotReady, Registry};
use utoipa::ToSchema;

/// Whether requests may come.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Whether all checks passed.
    ready: bool,
    /// What stands in the way; empty when ready.
    reasons: Vec<Reason>,
}

/// A failed check.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reason {
    /// `database`, `migrations` or `listener`.
    check: &'static str,
    /// What is wrong.
    message: String,
}

/// Whether the process should get requests: the database answers, no migration is missing, and changes of the registry
/// are heard.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "ready",
    tag = "probes",
    security(()),
    responses(
        (status = 200, description = "ready", body = Readiness),
        (status = 503, description = "not ready, and why", body = Readiness),
    ),
)]
pub(super) async fn ready(State(registry): State<Registry>) -> (StatusCode, Json<Readiness>) {
    let reasons: Vec<Reason> = registry.readiness().await.into_iter().map(reason).collect();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, reasons }))
}

fn reason(why: NotReady) -> Reason {
    let check = match why {
        NotReady::Listener => "listener",
        // the database's own words may hold names and addresses; they are in the log
        NotReady::Database(detail) => {
            tracing::warn!(target: "tenantry::ready", detail, "the database does not answer");
            return Reason { check: "database", message: "the database does not answer".to_owned() };
        }
        NotReady::Login(detail) => {
            tracing::error!(target: "tenantry::ready", detail, "the database refuses the login");
            return Reason { check: "database", message: "the database refuses the login".to_owned() };
        }
        NotReady::Migrations(_) => "migrations",
    };
    Reason { check, message: why.to_string() }
}
