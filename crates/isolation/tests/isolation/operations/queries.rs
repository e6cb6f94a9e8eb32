//! What each list can be asked for: every filter, alone and beside others, with ids and cursors of a company.

use chrono::{TimeDelta, Utc};

use super::company::Company;

/// Every filter that all questions about calls have.
pub(super) fn analytics_queries(of: &Company) -> Vec<String> {
    // and as many days before, which some compare with, are kept as well
    let (last, first) = (Utc::now().date_naive(), (Utc::now() - TimeDelta::days(180)).date_naive());
    let mut filters = ["", "provider=openai", "operation=chat.completions"].map(str::to_owned).to_vec();
    filters.extend([
        format!("from={first}&to={last}"),
        format!("agent_id={}", of.agent),
        format!("api_key_id={}", of.tenant.key_id),
        format!("model=model%20{}", of.mark),
        format!("task_type=type%20{}", of.mark),
    ]);
    filters
}

pub(super) fn usage_series_queries(of: &Company) -> Vec<String> {
    let groupings = ["provider", "model", "agent", "task", "key", "operation", "task_type", "account"];
    let grouped = groupings.map(|group_by| format!("group_by={group_by}&interval=week"));
    [analytics_queries(of), grouped.to_vec()].concat()
}

pub(super) fn savings_queries(of: &Company) -> Vec<String> {
    let grouped = ["agent", "task_type", "key"].map(|group_by| format!("group_by={group_by}"));
    [analytics_queries(of), grouped.to_vec()].concat()
}

pub(super) fn export_queries(of: &Company) -> Vec<String> {
    let written = ["csv", "jsonl", "focus"]
        .iter()
        .flat_map(|format| ["calls", "days"].map(|rows| format!("format={format}&rows={rows}")));
    [analytics_queries(of), written.collect()].concat()
}

/// Streams from the first event, from now on, and from a place that only the other may have come to.
pub(super) fn event_queries(_: &Company) -> Vec<String> {
    ["after=0", "after=0&types=agent.*", "after=0&types=task.updated,*", "after=3", ""].map(str::to_owned).to_vec()
}

/// Every filter of the list of agents, alone and with deleted ones.
pub(super) fn agent_queries(of: &Company) -> Vec<String> {
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
pub(super) fn provider_call_queries(of: &Company) -> Vec<String> {
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
pub(super) fn task_queries(of: &Company) -> Vec<String> {
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
pub(super) fn account_queries(of: &Company) -> Vec<String> {
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
pub(super) fn credential_queries(of: &Company) -> Vec<String> {
    let service = format!("service={}", Company::service());
    vec![String::new(), "limit=1".to_owned(), service, format!("cursor={}", of.credentials_cursor)]
}

pub(super) fn budget_queries(of: &Company) -> Vec<String> {
    let scope = format!("scope=agent&scope_id={}", of.agent);
    vec![String::new(), "limit=1".to_owned(), scope, format!("cursor={}", of.budgets_cursor)]
}

/// Every filter of the list of schedules, alone and with deleted ones.
pub(super) fn schedule_queries(of: &Company) -> Vec<String> {
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
pub(super) fn message_queries(of: &Company) -> Vec<String> {
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
pub(super) fn thread_queries(of: &Company) -> Vec<String> {
    vec![
        format!("agent_id={}", of.agent),
        format!("agent_id={}&limit=1", of.peer),
        format!("agent_id={}", of.spare_agent),
        format!("agent_id={}&cursor={}", of.agent, of.talk_cursors[1]),
    ]
}

/// Every filter of the activity log.
pub(super) fn activity_queries(of: &Company) -> Vec<String> {
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
pub(super) fn session_queries(of: &Company) -> Vec<String> {
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
pub(super) fn statement_queries(of: &Company) -> Vec<String> {
    vec![String::new(), "limit=1".to_owned(), format!("cursor={}", of.statements_cursor)]
}

/// Every filter of the list of members.
pub(super) fn member_queries(of: &Company) -> Vec<String> {
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

pub(super) fn key_queries(of: &Company) -> Vec<String> {
    vec![String::new(), "limit=1".to_owned(), format!("cursor={}", of.keys_cursor)]
}

fn with_deleted(filters: &[String]) -> Vec<String> {
    let deleted = filters.iter().map(|filter| format!("{filter}&include_deleted=true"));
    filters.iter().cloned().chain(deleted).map(|query| query.trim_start_matches('&').to_owned()).collect()
}

pub(super) fn override_queries(of: &Company) -> Vec<String> {
    vec![String::new(), "provider=openai".to_owned(), format!("limit=1&cursor={}", of.overrides_cursor)]
}

pub(super) fn price_queries(of: &Company) -> Vec<String> {
    vec!["limit=200".to_owned(), "provider=openai&limit=200".to_owned(), format!("model={}", of.tenant.slug)]
}
