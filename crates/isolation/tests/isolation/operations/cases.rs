//! What each operation of a tenant needs to be tried with another tenant's ids.
//!
//! A new operation of a tenant needs a case here; operations of operators need none, their paths are filled by
//! the names of their parameters.

use serde_json::{Value, json};
use uuid::Uuid;

use super::company::Company;

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

/// Every filter that all questions about calls have.
fn analytics_queries(of: &Company) -> Vec<String> {
    let mut filters = ["", "from=2026-01-01&to=2026-12-31", "provider=openai", "operation=chat.completions"]
        .map(str::to_owned)
        .to_vec();
    filters.extend([
        format!("agent_id={}", of.agent),
        format!("api_key_id={}", of.tenant.key_id),
        format!("model=model%20{}", of.mark),
        format!("task_type=type%20{}", of.mark),
    ]);
    filters
}

fn usage_series_queries(of: &Company) -> Vec<String> {
    let groupings = ["provider", "model", "agent", "task", "key", "operation", "task_type", "account"];
    let grouped = groupings.map(|group_by| format!("group_by={group_by}&interval=week"));
    [analytics_queries(of), grouped.to_vec()].concat()
}

fn savings_queries(of: &Company) -> Vec<String> {
    let grouped = ["agent", "task_type", "key"].map(|group_by| format!("group_by={group_by}"));
    [analytics_queries(of), grouped.to_vec()].concat()
}

fn export_queries(of: &Company) -> Vec<String> {
    let written = ["csv", "jsonl", "focus"]
        .iter()
        .flat_map(|format| ["calls", "days"].map(|rows| format!("format={format}&rows={rows}")));
    [analytics_queries(of), written.collect()].concat()
}

/// Streams from the first event, from now on, and from a place that only the other may have come to.
fn event_queries(_: &Company) -> Vec<String> {
    ["after=0", "after=0&types=agent.*", "after=0&types=task.updated,*", "after=3", ""].map(str::to_owned).to_vec()
}

/// Every filter of the list of agents, alone and with deleted ones.
fn agent_queries(of: &Company) -> Vec<String> {
    let role = format!("role=role%20{}", of.mark);
    let filters = [
        String::new(),
        "limit=1".to_owned(),
        "status=idle".to_owned(),
        "status=working".to_owned(),
        role,
        "name=first".to_owned(),
        "name=m".to_owned(),
        "name=%25".to_owned(),
        "q=r".to_owned(),
        "status=idle,working,offline,blocked&created_after=2020-01-01T00:00:00Z".to_owned(),
        "created_before=2099-01-01T00:00:00Z&sort=name".to_owned(),
        "sort=-updated_at&fields=name,role".to_owned(),
        format!("cursor={}", of.agents_cursor),
        format!("cursor={}&limit=1", of.agents_cursor),
    ];
    with_deleted(&filters)
}

/// Every filter of the list of calls, and places in both lists.
fn provider_call_queries(of: &Company) -> Vec<String> {
    [
        String::new(),
        "limit=1".to_owned(),
        "from=2020-01-01T00:00:00Z&to=2099-01-01T00:00:00Z".to_owned(),
        "provider=openai".to_owned(),
        format!("model=model%20{}", of.mark),
        format!("agent_id={}", of.agent),
        format!("task_id={}", of.task),
        format!("session_id={}", of.sessions[0]),
        format!("api_key_id={}", of.key),
        "success=true&unpriced=true".to_owned(),
        "finish=complete".to_owned(),
        format!("cursor={}", of.provider_calls_cursor),
        format!("cursor={}&limit=1", of.provider_calls_cursor),
    ]
    .to_vec()
}

/// Every filter of the list of tasks, alone and with deleted ones.
fn task_queries(of: &Company) -> Vec<String> {
    let filters = [
        String::new(),
        "limit=1".to_owned(),
        "status=pending".to_owned(),
        "status=in_progress".to_owned(),
        "priority=high".to_owned(),
        format!("agent_id={}", of.agent),
        format!("created_by_id={}", of.agent),
        format!("agent_id={}&created_by_id={}&status=pending&priority=high", of.agent, of.agent),
        "deadline_before=2031-01-01T00:00:00Z".to_owned(),
        "q=t".to_owned(),
        "ready=true".to_owned(),
        "ready=false".to_owned(),
        "status=pending,in_progress&priority=low,high&created_after=2020-01-01T00:00:00Z".to_owned(),
        "created_before=2099-01-01T00:00:00Z&sort=title".to_owned(),
        "sort=deadline&fields=title,description".to_owned(),
        "sort=-priority".to_owned(),
        format!("cursor={}", of.tasks_cursor),
        format!("cursor={}&agent_id={}", of.tasks_cursor, of.agent),
    ];
    with_deleted(&filters)
}

/// Every filter of the list of provider accounts.
fn account_queries(of: &Company) -> Vec<String> {
    vec![
        String::new(),
        "limit=1".to_owned(),
        "status=active".to_owned(),
        "status=revoked".to_owned(),
        "provider=openai".to_owned(),
        format!("owner_key={}", of.mark),
        format!("cursor={}", of.accounts_cursor),
        format!("cursor={}&limit=1", of.accounts_cursor),
    ]
}

/// Every filter of the list of credentials.
fn credential_queries(of: &Company) -> Vec<String> {
    let service = format!("service={}", Company::service());
    vec![String::new(), "limit=1".to_owned(), service, format!("cursor={}", of.credentials_cursor)]
}

fn budget_queries(of: &Company) -> Vec<String> {
    let scope = format!("scope=agent&scope_id={}", of.agent);
    vec![String::new(), "limit=1".to_owned(), scope, format!("cursor={}", of.budgets_cursor)]
}

/// Every filter of the list of schedules, alone and with deleted ones.
fn schedule_queries(of: &Company) -> Vec<String> {
    let filters = [
        String::new(),
        "limit=1".to_owned(),
        "enabled=true".to_owned(),
        "enabled=false".to_owned(),
        format!("agent_id={}", of.agent),
        format!("agent_id={}&enabled=true", of.agent),
        "sort=name".to_owned(),
        "sort=-name".to_owned(),
        "sort=next_run_at".to_owned(),
        "sort=created_at&fields=id,name,task_template".to_owned(),
        format!("cursor={}", of.schedules_cursor),
        format!("cursor={}&limit=1", of.schedules_cursor),
    ];
    with_deleted(&filters)
}

/// Every filter of the list of messages, alone and with deleted ones.
fn message_queries(of: &Company) -> Vec<String> {
    let filters = [
        String::new(),
        "limit=1".to_owned(),
        format!("agent_id={}", of.agent),
        format!("agent_id={}&with_agent_id={}", of.agent, of.peer),
        format!("from_agent_id={}", of.agent),
        format!("to_agent_id={}", of.peer),
        "type=external_draft".to_owned(),
        "type=direct,system".to_owned(),
        "sort=created_at".to_owned(),
        format!("sort=created_at&agent_id={}", of.agent),
        "fields=id,body".to_owned(),
        "status=pending".to_owned(),
        "unread=true".to_owned(),
        "unread=false".to_owned(),
        "since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z".to_owned(),
        format!("broadcast_id={}", of.agent),
        format!("cursor={}", of.talk_cursors[0]),
        format!("cursor={}&agent_id={}", of.talk_cursors[0], of.agent),
    ];
    with_deleted(&filters)
}

/// The threads of each of its agents.
fn thread_queries(of: &Company) -> Vec<String> {
    vec![
        format!("agent_id={}", of.agent),
        format!("agent_id={}&limit=1", of.peer),
        format!("agent_id={}", of.spare_agent),
        format!("agent_id={}&cursor={}", of.agent, of.talk_cursors[1]),
    ]
}

/// Every filter of the activity log.
fn activity_queries(of: &Company) -> Vec<String> {
    vec![
        String::new(),
        "limit=1".to_owned(),
        format!("agent_id={}", of.agent),
        format!("task_id={}", of.task),
        format!("agent_id={}&task_id={}", of.agent, of.task),
        format!("action=action%20{}", of.mark),
        "since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z".to_owned(),
        format!("cursor={}", of.talk_cursors[2]),
        format!("cursor={}&agent_id={}", of.talk_cursors[2], of.agent),
    ]
}

/// Every filter of the list of sessions.
fn session_queries(of: &Company) -> Vec<String> {
    vec![
        String::new(),
        "limit=1".to_owned(),
        format!("agent_id={}", of.agent),
        format!("task_id={}", of.task),
        format!("agent_id={}&status=active", of.agent),
        "since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z".to_owned(),
        format!("cursor={}", of.talk_cursors[3]),
        format!("cursor={}&agent_id={}", of.talk_cursors[3], of.agent),
    ]
}

/// Pages of the list of statements.
fn statement_queries(of: &Company) -> Vec<String> {
    vec![String::new(), "limit=1".to_owned(), format!("cursor={}", of.statements_cursor)]
}

/// Every filter of the list of members.
fn member_queries(of: &Company) -> Vec<String> {
    vec![
        String::new(),
        "limit=1".to_owned(),
        "role=viewer".to_owned(),
        "role=member".to_owned(),
        "subject=common".to_owned(),
        format!("cursor={}", of.members_cursor),
        format!("cursor={}&role=member", of.members_cursor),
    ]
}

fn key_queries(of: &Company) -> Vec<String> {
    vec![String::new(), "limit=1".to_owned(), format!("cursor={}", of.keys_cursor)]
}

fn with_deleted(filters: &[String]) -> Vec<String> {
    let deleted = filters.iter().map(|filter| format!("{filter}&include_deleted=true"));
    filters.iter().cloned().chain(deleted).map(|query| query.trim_start_matches('&').to_owned()).collect()
}

fn override_queries(of: &Company) -> Vec<String> {
    vec![String::new(), "provider=openai".to_owned(), format!("limit=1&cursor={}", of.overrides_cursor)]
}

fn price_queries(of: &Company) -> Vec<String> {
    vec!["limit=200".to_owned(), "provider=openai&limit=200".to_owned(), format!("model={}", of.tenant.slug)]
}
