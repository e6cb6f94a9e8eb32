//! What each operation of a tenant needs to be tried with another tenant's ids.
//!
//! A new operation of a tenant needs a case here; operations of operators need none, their paths are filled by
//! the names of their parameters.

use serde_json::{Value, json};
use uuid::Uuid;

use super::company::Company;
use super::queries::{
    account_queries, activity_queries, agent_queries, analytics_queries, budget_queries, credential_queries,
    event_queries, export_queries, key_queries, member_queries, message_queries, override_queries, price_queries,
    provider_call_queries, savings_queries, schedule_queries, session_queries, statement_queries, task_queries,
    thread_queries, usage_series_queries,
};

/// Picks a record of a company.
pub(super) type Pick = fn(&Company) -> Uuid;

/// How to call one operation of a tenant.
pub(super) struct Case {
    pub(super) operation: &'static str,
    /// The record that `{id}` names, and the code for one that is not there.
    pub(super) id: Option<(Pick, &'static str)>,
    /// The record that a second name in braces names.
    pub(super) second: Option<Pick>,
    /// The answer to a company that uses its own ids.
    pub(super) success: u16,
    /// A body that works, made of one company's ids.
    pub(super) body: Option<fn(&Company) -> Value>,
    /// Members of the body that name records, with the code for one that is not there.
    pub(super) references: &'static [(&'static str, Pick, &'static str)],
    /// What it must be asked with, beside a body.
    pub(super) query: &'static str,
    /// What a list can be asked for, with ids and cursors of a company.
    pub(super) queries: Option<fn(&Company) -> Vec<String>>,
}

const PLAIN: Case =
    Case { operation: "", id: None, second: None, success: 200, body: None, references: &[], query: "", queries: None };

/// All operations of tenants.
pub(super) const CASES: &[Case] = &[
    Case { operation: "compare_providers", queries: Some(analytics_queries), ..PLAIN },
    Case { operation: "create_roi", success: 201, body: Some(|_| json!({})), ..PLAIN },
    Case { operation: "explain_costs", queries: Some(analytics_queries), ..PLAIN },
    Case { operation: "export_calls", queries: Some(export_queries), ..PLAIN },
    Case { operation: "get_cost_summary", queries: Some(analytics_queries), ..PLAIN },
    Case { operation: "get_roi", queries: Some(analytics_queries), ..PLAIN },
    Case { operation: "get_savings", queries: Some(savings_queries), ..PLAIN },
    Case { operation: "get_task_types", queries: Some(analytics_queries), ..PLAIN },
    Case { operation: "get_trends", queries: Some(analytics_queries), ..PLAIN },
    Case { operation: "get_usage_series", queries: Some(usage_series_queries), ..PLAIN },
    // no calls are of this operation, so that no price is needed
    Case { operation: "what_if", query: "to_provider=openai&to_model=gpt-5&operation=none", ..PLAIN },
    Case { operation: "list_agents", queries: Some(agent_queries), ..PLAIN },
    Case { operation: "create_agent", success: 201, body: Some(|own| own.new_agent("new")), ..PLAIN },
    Case { operation: "get_agent", id: Some((|c| c.agent, "agent_not_found")), ..PLAIN },
    Case {
        operation: "update_agent",
        id: Some((|c| c.agent, "agent_not_found")),
        body: Some(|own| json!({ "status": "working", "current_task_id": own.task })),
        references: &[("current_task_id", |c| c.task, "unknown_task")],
        ..PLAIN
    },
    Case { operation: "delete_agent", id: Some((|c| c.spare_agent, "agent_not_found")), success: 204, ..PLAIN },
    Case { operation: "stream_events", queries: Some(event_queries), ..PLAIN },
    Case { operation: "get_plan", ..PLAIN },
    Case { operation: "get_usage", ..PLAIN },
    Case { operation: "list_prices", queries: Some(price_queries), ..PLAIN },
    Case { operation: "list_price_overrides", queries: Some(override_queries), ..PLAIN },
    Case {
        operation: "create_price_override",
        success: 201,
        body: Some(|own| own.new_override("new")),
        references: &[("provider_account_id", |c| c.account, "unknown_provider_account")],
        ..PLAIN
    },
    Case { operation: "get_price_override", id: Some((|c| c.price_override, "price_override_not_found")), ..PLAIN },
    Case {
        operation: "delete_price_override",
        id: Some((|c| c.spare_override, "price_override_not_found")),
        success: 204,
        ..PLAIN
    },
    Case { operation: "list_budgets", queries: Some(budget_queries), ..PLAIN },
    Case {
        operation: "create_budget",
        success: 201,
        body: Some(Company::new_budget),
        references: &[("scope_id", |c| c.agent, "unknown_scope")],
        ..PLAIN
    },
    Case { operation: "get_budget", id: Some((|c| c.budget, "budget_not_found")), ..PLAIN },
    Case { operation: "get_budget_status", id: Some((|c| c.budget, "budget_not_found")), ..PLAIN },
    Case { operation: "test_budget", id: Some((|c| c.budget, "budget_not_found")), ..PLAIN },
    Case {
        operation: "update_budget",
        id: Some((|c| c.budget, "budget_not_found")),
        body: Some(|own| json!({ "name": format!("renamed {}", own.mark) })),
        ..PLAIN
    },
    Case { operation: "delete_budget", id: Some((|c| c.spare_budget, "budget_not_found")), success: 204, ..PLAIN },
    Case { operation: "list_tasks", queries: Some(task_queries), ..PLAIN },
    Case {
        operation: "create_task",
        success: 201,
        body: Some(Company::new_task),
        references: &[
            ("agent_id", |c| c.agent, "unknown_agent"),
            ("created_by_id", |c| c.agent, "unknown_agent"),
            ("provider_account_id", |c| c.account, "unknown_provider_account"),
        ],
        ..PLAIN
    },
    Case { operation: "list_provider_accounts", queries: Some(account_queries), ..PLAIN },
    Case { operation: "create_provider_account", success: 201, body: Some(|own| own.new_account("new")), ..PLAIN },
    Case { operation: "get_provider_account", id: Some((|c| c.account, "provider_account_not_found")), ..PLAIN },
    Case {
        operation: "update_provider_account",
        id: Some((|c| c.account, "provider_account_not_found")),
        body: Some(|own| json!({ "owner_key": own.mark })),
        ..PLAIN
    },
    Case {
        operation: "rotate_provider_account",
        id: Some((|c| c.account, "provider_account_not_found")),
        body: Some(|own| json!({ "access_token": format!("rotated-{}", own.mark) })),
        ..PLAIN
    },
    Case {
        operation: "revoke_provider_account",
        id: Some((|c| c.ended_account, "provider_account_not_found")),
        ..PLAIN
    },
    Case {
        operation: "delete_provider_account",
        id: Some((|c| c.spare_account, "provider_account_not_found")),
        success: 204,
        ..PLAIN
    },
    Case {
        operation: "start_authorization",
        success: 201,
        body: Some(|own| json!({ "provider": "openai", "provider_account_id": own.account })),
        references: &[("provider_account_id", |c| c.account, "unknown_provider_account")],
        ..PLAIN
    },
    Case { operation: "list_provider_calls", queries: Some(provider_call_queries), ..PLAIN },
    Case { operation: "record_provider_call", success: 202, body: Some(Company::new_provider_call), ..PLAIN },
    Case {
        operation: "record_provider_calls",
        success: 202,
        body: Some(|own| json!({ "items": [own.new_provider_call(), own.new_provider_call()] })),
        ..PLAIN
    },
    Case { operation: "get_provider_call", id: Some((|c| c.provider_call, "provider_call_not_found")), ..PLAIN },
    Case { operation: "list_credentials", queries: Some(credential_queries), ..PLAIN },
    Case {
        operation: "create_credential",
        success: 201,
        body: Some(|own| own.new_credential(Uuid::new_v4())),
        ..PLAIN
    },
    Case { operation: "get_credential", id: Some((|c| c.credential, "credential_not_found")), ..PLAIN },
    Case {
        operation: "update_credential",
        id: Some((|c| c.credential, "credential_not_found")),
        body: Some(|own| json!({ "allowed_agents": [own.agent] })),
        ..PLAIN
    },
    Case {
        operation: "use_credential",
        id: Some((|c| c.credential, "credential_not_found")),
        body: Some(|own| json!({ "agent_id": own.agent, "path": "/echo" })),
        ..PLAIN
    },
    Case {
        operation: "delete_credential",
        id: Some((|c| c.spare_credential, "credential_not_found")),
        success: 204,
        ..PLAIN
    },
    Case { operation: "get_task", id: Some((|c| c.task, "task_not_found")), ..PLAIN },
    Case {
        operation: "update_task",
        id: Some((|c| c.task, "task_not_found")),
        body: Some(|own| json!({ "progress_percent": 5, "agent_id": own.agent, "provider_account_id": own.account })),
        references: &[
            ("agent_id", |c| c.spare_agent, "unknown_agent"),
            ("provider_account_id", |c| c.account, "unknown_provider_account"),
        ],
        ..PLAIN
    },
    Case { operation: "list_schedules", queries: Some(schedule_queries), ..PLAIN },
    Case {
        operation: "create_schedule",
        success: 201,
        body: Some(Company::new_schedule),
        references: &[("agent_id", |c| c.agent, "unknown_agent")],
        ..PLAIN
    },
    Case { operation: "preview_schedule", query: "cron_expression=@daily", ..PLAIN },
    Case { operation: "get_schedule", id: Some((|c| c.schedule, "schedule_not_found")), ..PLAIN },
    Case {
        operation: "update_schedule",
        id: Some((|c| c.schedule, "schedule_not_found")),
        body: Some(|own| json!({ "name": format!("renamed {}", own.mark), "agent_id": own.agent })),
        references: &[("agent_id", |c| c.spare_agent, "unknown_agent")],
        ..PLAIN
    },
    Case { operation: "run_schedule", id: Some((|c| c.schedule, "schedule_not_found")), success: 201, ..PLAIN },
    Case {
        operation: "delete_schedule",
        id: Some((|c| c.spare_schedule, "schedule_not_found")),
        success: 204,
        ..PLAIN
    },
    Case { operation: "list_statements", queries: Some(statement_queries), ..PLAIN },
    Case { operation: "get_statement", ..PLAIN },
    Case { operation: "get_settings", ..PLAIN },
    Case { operation: "update_settings", body: Some(|_| json!({ "time_zone": "Europe/Berlin" })), ..PLAIN },
    Case { operation: "list_dependencies", id: Some((|c| c.waiting_task, "task_not_found")), ..PLAIN },
    Case {
        operation: "add_dependency",
        id: Some((|c| c.waiting_task, "task_not_found")),
        success: 201,
        body: Some(|own| json!({ "depends_on_task_id": own.other_task })),
        references: &[("depends_on_task_id", |c| c.task, "unknown_task")],
        ..PLAIN
    },
    Case {
        operation: "remove_dependency",
        id: Some((|c| c.waiting_task, "task_not_found")),
        second: Some(|c| c.task),
        success: 204,
        ..PLAIN
    },
    Case {
        operation: "claim_tasks",
        body: Some(|own| json!({ "agent_id": own.agent, "limit": 20 })),
        references: &[("agent_id", |c| c.agent, "unknown_agent")],
        ..PLAIN
    },
    Case {
        operation: "bulk_tasks",
        body: Some(|own| {
            let mut new = own.new_task();
            new["op"] = json!("create");
            json!({ "atomic": true, "items": [new] })
        }),
        ..PLAIN
    },
    Case {
        operation: "bulk_agents",
        body: Some(|own| {
            let mut new = own.new_agent("bulk");
            new["op"] = json!("create");
            json!({ "atomic": true, "items": [new] })
        }),
        ..PLAIN
    },
    Case { operation: "delete_task", id: Some((|c| c.spare_task, "task_not_found")), success: 204, ..PLAIN },
    Case { operation: "list_messages", queries: Some(message_queries), ..PLAIN },
    Case {
        operation: "create_message",
        success: 201,
        body: Some(Company::new_message),
        references: &[("from_agent_id", |c| c.agent, "unknown_agent"), ("to_agent_id", |c| c.agent, "unknown_agent")],
        ..PLAIN
    },
    Case {
        operation: "create_broadcast",
        success: 201,
        body: Some(|own| json!({ "from_agent_id": own.agent, "body": own.mark })),
        references: &[("from_agent_id", |c| c.agent, "unknown_agent")],
        ..PLAIN
    },
    Case { operation: "get_message", id: Some((|c| c.messages[0], "message_not_found")), ..PLAIN },
    Case {
        operation: "update_message",
        id: Some((|c| c.drafts[0], "message_not_found")),
        body: Some(|own| json!({ "body": format!("changed {}", own.mark) })),
        ..PLAIN
    },
    Case { operation: "delete_message", id: Some((|c| c.messages[2], "message_not_found")), success: 204, ..PLAIN },
    Case { operation: "read_message", id: Some((|c| c.messages[0], "message_not_found")), ..PLAIN },
    Case { operation: "deliver_message", id: Some((|c| c.messages[1], "message_not_found")), ..PLAIN },
    Case {
        operation: "approve_message",
        id: Some((|c| c.drafts[1], "message_not_found")),
        body: Some(|_| json!({ "version": 1 })),
        ..PLAIN
    },
    Case {
        operation: "reject_message",
        id: Some((|c| c.drafts[2], "message_not_found")),
        body: Some(|_| json!({ "version": 1 })),
        ..PLAIN
    },
    Case { operation: "list_threads", queries: Some(thread_queries), ..PLAIN },
    Case { operation: "get_thread", id: Some((|c| c.agent, "agent_not_found")), second: Some(|c| c.peer), ..PLAIN },
    Case {
        operation: "read_thread",
        id: Some((|c| c.agent, "agent_not_found")),
        second: Some(|c| c.peer),
        body: Some(|own| json!({ "up_to": own.messages[0] })),
        references: &[("up_to", |c| c.messages[0], "unknown_message")],
        ..PLAIN
    },
    Case { operation: "list_activity", queries: Some(activity_queries), ..PLAIN },
    Case {
        operation: "create_activity",
        success: 201,
        body: Some(Company::new_entry),
        references: &[("agent_id", |c| c.agent, "unknown_agent"), ("task_id", |c| c.task, "unknown_task")],
        ..PLAIN
    },
    Case { operation: "get_activity", id: Some((|c| c.entry, "activity_not_found")), ..PLAIN },
    Case { operation: "list_sessions", queries: Some(session_queries), ..PLAIN },
    Case {
        operation: "create_session",
        success: 201,
        body: Some(Company::new_session),
        references: &[("agent_id", |c| c.agent, "unknown_agent"), ("task_id", |c| c.task, "unknown_task")],
        ..PLAIN
    },
    Case { operation: "get_session", id: Some((|c| c.sessions[0], "session_not_found")), ..PLAIN },
    Case {
        operation: "report_session_usage",
        id: Some((|c| c.sessions[0], "session_not_found")),
        body: Some(Company::usage),
        ..PLAIN
    },
    Case { operation: "end_session", id: Some((|c| c.sessions[1], "session_not_found")), ..PLAIN },
    Case { operation: "fail_session", id: Some((|c| c.sessions[2], "session_not_found")), ..PLAIN },
    Case { operation: "list_members", queries: Some(member_queries), ..PLAIN },
    Case {
        operation: "add_member",
        success: 201,
        body: Some(|own| json!({ "subject": format!("new {}", own.mark), "role": "admin" })),
        ..PLAIN
    },
    Case { operation: "get_member", id: Some((|c| c.member, "member_not_found")), ..PLAIN },
    Case {
        operation: "update_member",
        id: Some((|c| c.member, "member_not_found")),
        body: Some(|own| json!({ "role": "viewer", "email": format!("{}@new.example", own.mark) })),
        ..PLAIN
    },
    Case { operation: "remove_member", id: Some((|c| c.spare_member, "member_not_found")), success: 204, ..PLAIN },
    Case { operation: "list_api_keys", queries: Some(key_queries), ..PLAIN },
    Case {
        operation: "create_api_key",
        success: 201,
        body: Some(|own| json!({ "name": format!("new {}", own.mark), "scopes": ["agents:read"] })),
        ..PLAIN
    },
    Case { operation: "get_api_key", id: Some((|c| c.key, "key_not_found")), ..PLAIN },
    Case { operation: "revoke_api_key", id: Some((|c| c.spare_key, "key_not_found")), ..PLAIN },
    Case { operation: "get_me", ..PLAIN },
];
