//! Which error codes an operation can answer with. What follows from the shape of an operation (its credentials, body, headers and
//! path) is a rule over the shape; what only some operations have is a list of them. An operation has a code only where it
//! documents the code's status.

use metering::codes as metered;
use serde_json::{Map, Value, json};
use tenantry_http::codes as http;
use tenantry_http::codes::ErrorCode;
use workforce::codes as domain;
use workforce::keychain::codes as keychain;

/// The member of a response that lists its codes.
pub(super) const CODES: &str = "x-error-codes";

/// An operation of the document.
pub(super) struct Operation<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) described: &'a Value,
}

impl Operation<'_> {
    pub(super) fn id(&self) -> &str {
        self.described["operationId"].as_str().unwrap_or_default()
    }

    fn has(&self, place: &str, name: Option<&str>) -> bool {
        let parameters = self.described["parameters"].as_array();
        parameters.into_iter().flatten().any(|parameter| {
            parameter["in"] == place && name.is_none_or(|name| parameter["name"].as_str() == Some(name))
        })
    }

    /// Whether it answers with a problem of the status; the gateway writes problems as the API that was called does.
    fn documents(&self, status: u16) -> bool {
        let content = &self.described["responses"][status.to_string()]["content"];
        content.get(if of_passage(self) { "application/json" } else { "application/problem+json" }).is_some()
    }
}

fn of_passage(operation: &Operation<'_>) -> bool {
    operation.path.starts_with("/llm/")
}

fn of_tenants(operation: &Operation<'_>) -> bool {
    operation.path.starts_with("/v1/") || of_passage(operation)
}

fn of_operators(operation: &Operation<'_>) -> bool {
    operation.path.starts_with("/admin/")
}

fn reads_json(operation: &Operation<'_>) -> bool {
    !of_passage(operation) && operation.described["requestBody"]["content"].get("application/json").is_some()
}

/// Whether the server reads a body, be it to compare it with that of the same key before.
fn reads_bytes(operation: &Operation<'_>) -> bool {
    operation.described.get("requestBody").is_some() || (operation.method == "post" && !of_passage(operation))
}

fn is_repeatable(operation: &Operation<'_>) -> bool {
    !of_passage(operation) && operation.has("header", Some("Idempotency-Key"))
}

/// Where codes are met.
enum On {
    When(fn(&Operation<'_>) -> bool),
    /// Of paths that begin so.
    Below(&'static [&'static str]),
    /// Of operations by their ids.
    In(&'static [&'static str]),
}

impl On {
    fn holds(&self, operation: &Operation<'_>) -> bool {
        match self {
            Self::When(rule) => rule(operation),
            Self::Below(paths) => paths.iter().any(|path| operation.path.starts_with(path)),
            Self::In(ids) => ids.contains(&operation.id()),
        }
    }
}

const RULES: &[(On, &[ErrorCode])] = &[
    (
        On::When(|_| true),
        &[
            http::INTERNAL_ERROR,
            http::SCOPE_REFUSED,
            http::POOL_EXHAUSTED,
            http::LOCK_TIMEOUT,
            http::DATABASE_UNAVAILABLE,
            http::REQUEST_TIMEOUT,
            http::QUERY_TIMEOUT,
        ],
    ),
    (
        On::When(of_tenants),
        &[
            http::TENANT_IDENTIFIER_REQUIRED,
            http::INVALID_TENANT_IDENTIFIER,
            http::INVALID_HOST,
            http::CONFLICTING_CREDENTIALS,
            http::CREDENTIAL_REQUIRED,
            http::INVALID_CREDENTIAL,
            http::INVALID_TENANT,
            http::TENANT_INACTIVE,
            http::TENANT_MISMATCH,
            http::NOT_A_MEMBER,
            http::RATE_LIMITED,
            http::TOO_MANY_FAILED_CREDENTIALS,
            http::REGISTRY_UNAVAILABLE,
            http::TENANT_SCHEMA_BEHIND,
            http::TOKEN_KEYS_UNAVAILABLE,
        ],
    ),
    // Who one is, everybody may know.
    (On::When(|operation| of_tenants(operation) && operation.id() != "get_me"), &[http::PERMISSION_DENIED]),
    (
        On::When(of_operators),
        &[
            http::CONFLICTING_CREDENTIALS,
            http::OPERATOR_CREDENTIAL_REQUIRED,
            http::INVALID_CREDENTIAL,
            http::PERMISSION_DENIED,
            http::TOO_MANY_FAILED_CREDENTIALS,
        ],
    ),
    (On::When(|operation| operation.has("query", None)), &[http::INVALID_QUERY]),
    (On::When(|operation| operation.has("path", None) && !of_passage(operation)), &[http::INVALID_PATH]),
    (On::When(|operation| operation.has("query", Some("cursor"))), &[http::INVALID_CURSOR]),
    (
        On::When(|operation| operation.has("header", Some("If-Match"))),
        &[http::INVALID_PRECONDITION, http::VERSION_CONFLICT],
    ),
    (On::When(|operation| operation.documents(428)), &[http::VERSION_REQUIRED]),
    (On::When(is_repeatable), &[http::INVALID_IDEMPOTENCY_KEY, http::IDEMPOTENCY_KEY_REUSED]),
    (On::When(reads_bytes), &[http::UNREADABLE_BODY, http::BODY_TOO_LARGE]),
    (
        On::When(reads_json),
        &[http::INVALID_JSON, http::UNSUPPORTED_MEDIA_TYPE, http::INVALID_BODY, http::VALIDATION_FAILED],
    ),
    (On::Below(&["/v1/"]), &[http::STORAGE_FROZEN]),
    // records, by the places in paths that name them
    (On::When(|operation| operation.path.contains("{slug}")), &[http::TENANT_NOT_FOUND]),
    (On::When(|operation| operation.path.ends_with("/keys/{id}")), &[http::KEY_NOT_FOUND]),
    (On::Below(&["/admin/v1/operators/{id}"]), &[http::OPERATOR_NOT_FOUND]),
    (On::Below(&["/admin/v1/plans/{tier}"]), &[http::PLAN_NOT_FOUND]),
    (On::Below(&["/v1/activity/{id}"]), &[domain::ACTIVITY_NOT_FOUND]),
    (On::Below(&["/v1/agents/{id}", "/v1/messages/threads/{agent_id}"]), &[domain::AGENT_NOT_FOUND]),
    (On::Below(&["/v1/budgets/{id}"]), &[metered::BUDGET_NOT_FOUND]),
    (On::Below(&["/v1/credentials/{name}"]), &[keychain::CREDENTIAL_NOT_FOUND]),
    (On::Below(&["/v1/members/{id}"]), &[http::MEMBER_NOT_FOUND]),
    (On::Below(&["/v1/messages/{id}"]), &[domain::MESSAGE_NOT_FOUND]),
    (On::Below(&["/v1/prices/overrides/{id}"]), &[metered::PRICE_OVERRIDE_NOT_FOUND]),
    (On::Below(&["/v1/provider-accounts/{id}", "/oauth/"]), &[keychain::PROVIDER_ACCOUNT_NOT_FOUND]),
    (On::Below(&["/v1/provider-calls/{id}"]), &[metered::PROVIDER_CALL_NOT_FOUND]),
    (On::Below(&["/v1/schedules/{id}"]), &[domain::SCHEDULE_NOT_FOUND]),
    (On::Below(&["/v1/sessions/{id}"]), &[domain::SESSION_NOT_FOUND]),
    (On::Below(&["/v1/tasks/{id}"]), &[domain::TASK_NOT_FOUND]),
    (On::When(|operation| operation.path.ends_with("/{month}")), &[metered::STATEMENT_NOT_FOUND]),
    (On::In(&["remove_dependency"]), &[domain::DEPENDENCY_NOT_FOUND]),
    // the domain
    (
        On::In(&["approve_message", "reject_message"]),
        &[http::VERSION_CONFLICT, domain::NOT_A_DRAFT, domain::DRAFT_DECIDED],
    ),
    (On::In(&["update_message"]), &[domain::MESSAGE_SEALED]),
    (On::In(&["update_task", "deliver_message", "read_message"]), &[domain::ILLEGAL_TRANSITION]),
    (On::In(&["update_task"]), &[domain::DEPENDENCIES_NOT_DONE]),
    (On::In(&["create_agent", "update_agent"]), &[domain::AGENT_NAME_TAKEN]),
    (On::In(&["create_agent", "bulk_agents", "create_task", "bulk_tasks", "run_schedule"]), &[domain::QUOTA_EXCEEDED]),
    (On::In(&["create_task", "update_task", "bulk_tasks", "claim_tasks"]), &[domain::TOO_MANY_RUNNING_TASKS]),
    (On::In(&["claim_tasks"]), &[domain::AGENT_OFFLINE]),
    (On::In(&["bulk_agents", "bulk_tasks"]), &[domain::BULK_REJECTED]),
    (On::In(&["add_dependency"]), &[domain::DEPENDENCY_CYCLE, domain::TASK_UNDER_WAY]),
    (On::In(&["add_dependency", "create_task"]), &[domain::TOO_MANY_DEPENDENCIES]),
    (On::In(&["end_session", "fail_session", "report_session_usage"]), &[domain::SESSION_ENDED]),
    (On::In(&["report_session_usage"]), &[domain::SESSION_FULL]),
    (
        On::In(&[
            "claim_tasks",
            "create_activity",
            "create_broadcast",
            "create_credential",
            "create_message",
            "create_schedule",
            "create_session",
            "create_task",
            "run_schedule",
            "update_credential",
            "update_schedule",
            "update_task",
        ]),
        &[domain::UNKNOWN_AGENT],
    ),
    (
        On::In(&["add_dependency", "create_activity", "create_session", "create_task", "update_agent"]),
        &[domain::UNKNOWN_TASK],
    ),
    (On::In(&["read_thread"]), &[domain::UNKNOWN_MESSAGE]),
    (
        On::In(&[
            "create_price_override",
            "create_schedule",
            "create_task",
            "run_schedule",
            "start_authorization",
            "update_schedule",
            "update_task",
        ]),
        &[domain::UNKNOWN_PROVIDER_ACCOUNT],
    ),
    (On::In(&["add_member"]), &[http::MEMBER_EXISTS]),
    (On::In(&["remove_member", "update_member"]), &[http::LAST_OWNER]),
    (On::In(&["stream_events"]), &[http::TOO_MANY_STREAMS]),
    // secrets and what goes out
    (On::In(&["create_credential"]), &[keychain::CREDENTIAL_NAME_TAKEN]),
    (On::In(&["delete_provider_account"]), &[keychain::PROVIDER_ACCOUNT_IN_USE]),
    (
        On::In(&["rotate_provider_account", "start_authorization", "oauth_callback"]),
        &[keychain::PROVIDER_ACCOUNT_REVOKED],
    ),
    (On::In(&["start_authorization", "oauth_callback"]), &[keychain::OAUTH_PROVIDER_UNKNOWN]),
    (
        On::In(&["oauth_callback"]),
        &[
            keychain::OAUTH_STATE_INVALID,
            keychain::OAUTH_DENIED,
            keychain::OAUTH_EXCHANGE_FAILED,
            http::INVALID_TENANT,
            http::TENANT_INACTIVE,
            http::REGISTRY_UNAVAILABLE,
            http::TENANT_SCHEMA_BEHIND,
        ],
    ),
    (On::In(&["use_credential"]), &[keychain::AGENT_NOT_ALLOWED, keychain::SERVICE_ANSWER_REFUSED]),
    (On::In(&["use_credential", "test_budget"]), &[keychain::SERVICE_UNREACHABLE, keychain::SERVICE_TIMEOUT]),
    (
        On::In(&[
            "create_budget",
            "create_credential",
            "test_budget",
            "update_budget",
            "update_credential",
            "use_credential",
        ]),
        &[keychain::EGRESS_REFUSED],
    ),
    (
        On::In(&[
            "create_budget",
            "create_credential",
            "create_provider_account",
            "oauth_callback",
            "rotate_provider_account",
            "start_authorization",
            "test_budget",
            "update_budget",
            "update_credential",
            "use_credential",
        ]),
        &[keychain::SECRETS_UNAVAILABLE],
    ),
    // calls to providers
    (On::In(&["create_budget", "update_budget"]), &[metered::BUDGET_NAME_TAKEN]),
    (On::In(&["create_budget"]), &[metered::TOO_MANY_BUDGETS, metered::UNKNOWN_SCOPE]),
    (On::In(&["test_budget", "use_credential"]), &[http::REQUEST_IN_PROGRESS]),
    (On::In(&["test_budget"]), &[metered::BUDGET_WITHOUT_WEBHOOK]),
    (On::In(&["create_price_override"]), &[metered::PRICE_OVERRIDE_OVERLAPS, metered::TOO_MANY_PRICE_OVERRIDES]),
    (On::In(&["create_roi"]), &[metered::ROI_NOT_COMPUTABLE]),
    (On::In(&["what_if"]), &[metered::TOO_MANY_CALLS]),
    (On::In(&["export_calls"]), &[metered::EXPORT_RUNNING]),
    (On::In(&["record_provider_call"]), &[metered::TIMESTAMP_IN_FUTURE, metered::TIMESTAMP_TOO_OLD]),
    (
        On::When(|operation| {
            of_passage(operation) || ["record_provider_call", "record_provider_calls"].contains(&operation.id())
        }),
        &[metered::METERING_BACKLOG_FULL, metered::METERING_UNAVAILABLE],
    ),
    (
        On::When(of_passage),
        &[
            http::NOT_FOUND,
            keychain::SECRETS_UNAVAILABLE,
            keychain::SERVICE_ANSWER_REFUSED,
            metered::GATEWAY_BUSY,
            metered::INVALID_ATTRIBUTION,
            metered::NO_PROVIDER_ACCOUNT,
            metered::PROVIDER_ADDRESS_REFUSED,
            metered::PROVIDER_TIMEOUT,
            metered::PROVIDER_UNREACHABLE,
            metered::UNKNOWN_ATTRIBUTION,
        ],
    ),
    (
        On::When(|operation| of_passage(operation) && operation.method == "post"),
        &[
            metered::BUDGETS_UNAVAILABLE,
            metered::BUDGET_EXHAUSTED,
            metered::BUDGET_NEEDS_PRICE,
            metered::INVALID_CALL,
            metered::UNMETERED_CALL,
        ],
    ),
    // operators
    (On::In(&["list_audit_events", "reprice_calls"]), &[http::TENANT_NOT_FOUND]),
    (On::In(&["create_tenant"]), &[http::TENANT_EXISTS]),
    (On::In(&["create_tenant", "update_tenant"]), &[http::DOMAIN_TAKEN]),
    (On::In(&["restore_tenant", "resume_tenant", "suspend_tenant"]), &[http::INVALID_TRANSITION]),
    (On::In(&["purge_tenant"]), &[http::NOT_PURGEABLE, http::CONFIRMATION_REQUIRED]),
    (On::In(&["create_plan"]), &[http::PLAN_EXISTS]),
    (On::In(&["delete_plan"]), &[http::PLAN_IN_USE]),
    (On::In(&["create_operator"]), &[http::OPERATOR_EXISTS]),
    (On::In(&["revoke_operator"]), &[http::LAST_OPERATOR]),
    (On::In(&["read_rows"]), &[http::INVALID_CURSOR]),
    (On::In(&["import_bill"]), &[metered::INVALID_BILL]),
    (On::In(&["load_catalogue"]), &[metered::INVALID_CATALOGUE]),
    // what the payment provider sends
    (
        On::In(&["receive_stripe_event"]),
        &[http::STRIPE_NOT_CONFIGURED, http::INVALID_SIGNATURE, http::INVALID_JSON, http::INVALID_BODY],
    ),
];

/// Writes the codes of each error into its description, for people and, as [`CODES`], for programs.
pub(super) fn name(paths: &mut Map<String, Value>) {
    for (path, item) in paths {
        for (method, described) in item.as_object_mut().into_iter().flatten() {
            let operation = Operation { method, path, described };
            let codes = of(&operation);
            for (status, response) in described["responses"].as_object_mut().into_iter().flatten() {
                let codes: Vec<&str> =
                    codes.iter().filter(|code| code.status.to_string() == *status).map(|code| code.code).collect();
                if codes.is_empty() {
                    continue;
                }
                let description = response["description"].as_str().unwrap_or_default().trim_end_matches('.');
                response["description"] = json!(format!("{description}. Codes: `{}`.", codes.join("`, `")));
                response[CODES] = json!(codes);
            }
        }
    }
}

/// The codes of an operation, in the order of the alphabet.
fn of(operation: &Operation<'_>) -> Vec<ErrorCode> {
    let held = RULES.iter().filter(|(on, _)| on.holds(operation)).flat_map(|(_, codes)| codes.iter().copied());
    let mut codes: Vec<ErrorCode> = held.filter(|code| operation.documents(code.status)).collect();
    codes.sort_by_key(|code| code.code);
    codes.dedup();
    codes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Met where no operation is: on a way that leads nowhere, in a browser's question before the request, or by a defect.
    const ELSEWHERE: [ErrorCode; 5] = [
        http::CONFLICT,
        http::METHOD_NOT_ALLOWED,
        http::ORIGIN_REFUSED,
        http::TENANT_CONTEXT_FAILED,
        http::TENANT_CONTEXT_REQUIRED,
    ];

    fn operations(paths: &Map<String, Value>) -> Vec<Operation<'_>> {
        let items =
            paths.iter().flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |rest| (path, rest)));
        items.map(|(path, (method, described))| Operation { method, path, described }).collect()
    }

    #[test]
    fn a_list_of_operations_names_such_as_document_the_status() {
        let (_, paths, _) = super::super::parts();
        let operations = operations(&paths);
        for (on, codes) in RULES {
            let named: Vec<&Operation<'_>> = match on {
                On::When(_) => continue,
                On::Below(begins) => {
                    for path in *begins {
                        assert!(operations.iter().any(|operation| operation.path.starts_with(path)), "{path}");
                    }
                    continue;
                }
                On::In(ids) => {
                    let find =
                        |id| operations.iter().find(|o| o.id() == id).unwrap_or_else(|| panic!("no operation `{id}`"));
                    ids.iter().map(|id| find(*id)).collect()
                }
            };
            for operation in named {
                for code in *codes {
                    assert!(operation.documents(code.status), "{}: {} of `{}`", operation.id(), code.status, code.code);
                }
            }
        }
    }

    #[test]
    fn every_code_of_the_tables_is_met_somewhere() {
        let (_, paths, _) = super::super::parts();
        let met: BTreeSet<&str> = operations(&paths).iter().flat_map(of).map(|code| code.code).collect();
        let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|code| code.code).collect();
        let known = crate::api::ERROR_CODES.iter().flat_map(|table| table.iter()).map(|code| code.code);
        let unmet: Vec<&str> = known.filter(|code| met.contains(code) == elsewhere.contains(code)).collect();
        assert!(
            unmet.is_empty(),
            "codes that no operation has, or that one has although they are met elsewhere: {unmet:?}"
        );
    }
}
