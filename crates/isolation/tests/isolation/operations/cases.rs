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
    /// The answer to a company that uses its own ids.
    pub(super) success: u16,
    /// A body that works, made of one company's ids.
    pub(super) body: Option<fn(&Company) -> Value>,
    /// Members of the body that name records, with the code for one that is not there.
    pub(super) references: &'static [(&'static str, Pick, &'static str)],
    /// What a list can be asked for, with ids and cursors of a company.
    pub(super) queries: Option<fn(&Company) -> Vec<String>>,
}

const PLAIN: Case = Case { operation: "", id: None, success: 200, body: None, references: &[], queries: None };

/// All operations of tenants.
pub(super) const CASES: &[Case] = &[
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
    Case { operation: "get_plan", ..PLAIN },
    Case { operation: "get_usage", ..PLAIN },
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
    Case { operation: "delete_task", id: Some((|c| c.spare_task, "task_not_found")), success: 204, ..PLAIN },
];

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
        format!("cursor={}", of.agents_cursor),
        format!("cursor={}&limit=1", of.agents_cursor),
    ];
    with_deleted(&filters)
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
        format!("cursor={}", of.tasks_cursor),
        format!("cursor={}&agent_id={}", of.tasks_cursor, of.agent),
    ];
    with_deleted(&filters)
}

fn with_deleted(filters: &[String]) -> Vec<String> {
    let deleted = filters.iter().map(|filter| format!("{filter}&include_deleted=true"));
    filters.iter().cloned().chain(deleted).map(|query| query.trim_start_matches('&').to_owned()).collect()
}
