use std::time::Duration;

use serde_json::Value;
use tenantry_http::codes::{ErrorCode, INTERNAL_ERROR, VERSION_CONFLICT};
use tenantry_http::{Early, Problem};
use tenantry_postgres::{DbError, ProvisionError};
use uuid::Uuid;

use super::admit::NotAdmitted;
use super::model::Scope;
use crate::codes;

/// Why a request about budgets was not done. The text is for the person who sent it.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The tenant has no budget of this id.
    #[error("budget `{0}` does not exist")]
    NotFound(Uuid),
    /// The budget is not what it was when it was read.
    #[error("the budget is at version {actual}, not {expected}")]
    VersionConflict {
        /// The version that the change was based on.
        expected: i64,
        /// Its version.
        actual: i64,
        /// As it is now.
        current: Box<Value>,
    },
    /// Another budget has the name.
    #[error("a budget is called `{0}` already")]
    NameTaken(String),
    /// No live agent or key has the id.
    #[error("{} `{id}` does not exist", if *scope == Scope::Key { "key" } else { "agent" })]
    UnknownScope {
        /// Agent or key.
        scope: Scope,
        /// As asked for.
        id: Uuid,
    },
    /// There are too many.
    #[error("there may be {0} budgets at most")]
    TooMany(i64),
    /// The budget has no address to post to.
    #[error("the budget has no webhook")]
    NoWebhook,
    /// A stored row cannot be read.
    #[error("a budget's row cannot be read: {0}")]
    Corrupt(String),
    /// The registry, where keys are.
    #[error(transparent)]
    Registry(#[from] ProvisionError),
    /// Validation, secrets or requests to services.
    #[error(transparent)]
    Shared(#[from] workforce::Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<BudgetError> for Problem {
    fn from(error: BudgetError) -> Self {
        let text = error.to_string();
        let problem = |code: &ErrorCode| Self::of(code).detail(text.clone());
        match error {
            BudgetError::NotFound(_) => problem(&codes::BUDGET_NOT_FOUND),
            BudgetError::VersionConflict { current, .. } => problem(&VERSION_CONFLICT).with("current", current),
            BudgetError::NameTaken(_) => problem(&codes::BUDGET_NAME_TAKEN).pointer("/name", &text),
            BudgetError::UnknownScope { .. } => problem(&codes::UNKNOWN_SCOPE).pointer("/scope_id", &text),
            BudgetError::TooMany(limit) => problem(&codes::TOO_MANY_BUDGETS).with("limit", limit),
            BudgetError::NoWebhook => problem(&codes::BUDGET_WITHOUT_WEBHOOK),
            BudgetError::Corrupt(_) => {
                tracing::error!(error = %text, "a stored row cannot be read");
                Self::of(&INTERNAL_ERROR)
            }
            BudgetError::Registry(error) => error.into(),
            BudgetError::Shared(error) => error.into(),
            BudgetError::Database(error) => error.into(),
        }
    }
}

impl From<BudgetError> for Early {
    fn from(error: BudgetError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<NotAdmitted> for Problem {
    fn from(error: NotAdmitted) -> Self {
        let text = error.to_string();
        match error {
            NotAdmitted::Exhausted { id, name, period, limit_usd, used_usd, resets_at } => {
                Self::of(&codes::BUDGET_EXHAUSTED)
                    .detail(format!(
                        "{text}: wait until {}, raise the limit, or use another agent or key",
                        resets_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
                    ))
                    .with("limit_name", name)
                    .with("budget_id", id)
                    .with("period", period)
                    .with("limit", limit_usd.normalize().to_string())
                    .with("used", used_usd.normalize().to_string())
                    .with("resets_at", resets_at)
            }
            NotAdmitted::Unpriced { name } => {
                Self::of(&codes::BUDGET_NEEDS_PRICE).detail(text).with("limit_name", name)
            }
            NotAdmitted::Unknown => {
                Self::of(&codes::BUDGETS_UNAVAILABLE).detail(text).retry_after(Duration::from_secs(1))
            }
        }
    }
}
