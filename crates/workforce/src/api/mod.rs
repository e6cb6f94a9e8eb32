//! The endpoints. Handlers parse, call the store and map; one per file, and the file's path is the URL's.

pub(crate) mod bulk;
mod oauth;
mod query;
pub(crate) mod v1;

use axum::extract::FromRef;
use tenantry_postgres::{Registry, TenantDb, TenantTx};
use utoipa_axum::router::OpenApiRouter;

use crate::{Error, Keychain, Scheduling};

/// All endpoints of the domain, with their OpenAPI description. They need a tenant context: mount them behind the
/// tenancy layer, or each answers 401.
pub fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Registry: FromRef<S>,
    Scheduling: FromRef<S>,
    TenantDb: FromRef<S>,
    Keychain: FromRef<S>,
    Registry: FromRef<S>,
{
    v1::router()
}

/// Endpoints of the domain that stand in front of the tenancy layer: browsers come to them from elsewhere, without a credential.
pub fn public_router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Registry: FromRef<S>,
    Keychain: FromRef<S>,
{
    oauth::router()
}

/// Ends a transaction by its outcome. A refusal is rolled back here and now, so that the connection is free for the next
/// request before the answer is written.
async fn finish<T>(tx: TenantTx, outcome: Result<T, Error>) -> Result<T, Error> {
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

/// A text of the query to compare with: nothing that a column could not hold, or PostgreSQL would refuse the whole statement.
fn text_parameter(parameter: &'static str, given: Option<String>, max: usize) -> Result<Option<String>, Error> {
    match given {
        Some(text) if text.chars().count() > max || text.contains('\0') => {
            Err(Error::InvalidQuery { parameter, detail: format!("must have at most {max} characters and no NUL") })
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// A state with everything that endpoints take from one.
    #[derive(Clone)]
    struct State {
        db: TenantDb,
        registry: Registry,
        scheduling: Scheduling,
        keychain: Keychain,
    }

    macro_rules! parts {
        ($($part:ident: $name:ident),+) => {
            $(impl FromRef<State> for $part {
                fn from_ref(state: &State) -> Self {
                    state.$name.clone()
                }
            })+
        };
    }
    parts!(TenantDb: db, Registry: registry, Scheduling: scheduling, Keychain: keychain);

    fn document() -> Value {
        let (_, api) = router::<State>().split_for_parts();
        serde_json::to_value(api).unwrap()
    }

    /// What is posted and makes nothing that has an address of its own.
    const STEPS: [&str; 12] = [
        "/claim", "/bulk", "/approve", "/reject", "/deliver", "/read", "/usage", "/end", "/fail", "/revoke", "/rotate",
        "/use",
    ];

    #[test]
    fn every_operation_is_described_in_full() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let mut ids = Vec::new();
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().unwrap() {
                ids.push(operation["operationId"].as_str().unwrap().to_owned());
                let responses = operation["responses"].as_object().unwrap();
                let mut expected = vec!["400", "401", "403", "429", "500", "503", "504"];
                if path.contains('{') {
                    expected.push("404");
                }
                let makes = !STEPS.iter().any(|end| path.ends_with(end));
                if operation.get("requestBody").is_some() {
                    expected.extend(["413", "415"]);
                }
                let edge = path.ends_with("/{depends_on_task_id}");
                expected.extend(match method.as_str() {
                    "post" if makes => vec!["201", "402", "422"],
                    // what takes away does not wait for storage
                    "post" if path.ends_with("/revoke") => vec!["200", "422"],
                    "post" => vec!["200", "402", "422"],
                    "delete" if edge => vec!["204"],
                    "patch" => vec!["200", "402", "409", "422", "428"],
                    // it goes on being listed
                    "delete" if path == "/v1/keys/{id}" => vec!["200"],
                    "delete" => vec!["204", "409"],
                    _ => vec!["200"],
                });
                for status in expected {
                    assert!(responses.contains_key(status), "{method} {path} does not describe {status}");
                }
            }
        }
        ids.sort_unstable();
        assert_eq!(
            ids,
            [
                "add_dependency",
                "add_member",
                "approve_message",
                "bulk_agents",
                "bulk_tasks",
                "claim_tasks",
                "create_activity",
                "create_agent",
                "create_api_key",
                "create_broadcast",
                "create_credential",
                "create_message",
                "create_provider_account",
                "create_schedule",
                "create_session",
                "create_task",
                "delete_agent",
                "delete_credential",
                "delete_message",
                "delete_provider_account",
                "delete_schedule",
                "delete_task",
                "deliver_message",
                "end_session",
                "fail_session",
                "get_activity",
                "get_agent",
                "get_api_key",
                "get_credential",
                "get_me",
                "get_member",
                "get_message",
                "get_plan",
                "get_provider_account",
                "get_schedule",
                "get_session",
                "get_settings",
                "get_task",
                "get_thread",
                "get_usage",
                "list_activity",
                "list_agents",
                "list_api_keys",
                "list_credentials",
                "list_dependencies",
                "list_members",
                "list_messages",
                "list_provider_accounts",
                "list_schedules",
                "list_sessions",
                "list_tasks",
                "list_threads",
                "preview_schedule",
                "read_message",
                "read_thread",
                "reject_message",
                "remove_dependency",
                "remove_member",
                "report_session_usage",
                "revoke_api_key",
                "revoke_provider_account",
                "rotate_provider_account",
                "run_schedule",
                "start_authorization",
                "stream_events",
                "update_agent",
                "update_credential",
                "update_member",
                "update_message",
                "update_provider_account",
                "update_schedule",
                "update_settings",
                "update_task",
                "use_credential",
            ]
        );
    }

    #[test]
    fn enums_are_described_by_their_words() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        let words = serde_json::json!(["pending", "in_progress", "blocked", "completed", "failed", "cancelled"]);
        assert_eq!(schemas["TaskStatus"]["enum"], words);
        let required = schemas["UpdateTask"]["required"].as_array();
        assert!(required.is_none_or(Vec::is_empty), "a patch requires nothing: {required:?}");
    }
}
