//! Records of the API as tables.

use serde_json::Value;

const WIDEST: usize = 60;

/// The columns of a list; all members where a kind has no choice of its own.
pub(super) fn columns<'a>(path: &str, first: Option<&'a Value>) -> Vec<&'a str> {
    let chosen: &[&str] = match path {
        "/v1/agents" => &["id", "name", "role", "status", "version"],
        "/v1/tasks" => &["id", "title", "status", "priority", "agent_id", "deadline", "version"],
        "/v1/messages" => &["id", "type", "status", "subject", "from_agent_id", "to_agent_id", "version"],
        "/v1/activity" => &["id", "timestamp", "action", "agent_id", "task_id"],
        "/v1/sessions" => &["id", "status", "agent_id", "task_id", "started_at", "ended_at"],
        "/v1/schedules" => &["id", "name", "cron_expression", "time_zone", "enabled", "next_run_at", "version"],
        "/v1/keys" => &["id", "name", "lookup", "scopes", "expires_at", "revoked_at"],
        "/v1/members" => &["id", "subject", "email", "role", "version"],
        "/v1/provider-accounts" => &["id", "provider", "name", "status", "secret_hint", "version"],
        "/v1/credentials" => &["name", "service", "allowed_agents", "version"],
        _ => &[],
    };
    let members = first.and_then(Value::as_object);
    let has = |name: &&str| members.is_none_or(|members| members.contains_key(*name));
    // with `fields=…` only some members are there
    let chosen: Vec<&str> = chosen.iter().copied().filter(has).collect();
    if chosen.is_empty() { members.into_iter().flatten().map(|(name, _)| name.as_str()).collect() } else { chosen }
}

/// A value on one line. Records hold what others wrote: nothing in it may steer a terminal.
pub(super) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut shown: String = text.chars().take(WIDEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(WIDEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_in_a_record_steers_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb\nc")), "a [2Jb c");
        assert_eq!(cell(&json!("x".repeat(61))), format!("{}…", "x".repeat(60)));
        assert_eq!((cell(&Value::Null), cell(&json!(["a"]))), ("-".to_owned(), r#"["a"]"#.to_owned()));
    }

    #[test]
    fn columns_are_those_that_are_there() {
        let part = json!({ "id": 1, "title": "x" });
        assert_eq!(columns("/v1/tasks", Some(&part)), ["id", "title"]);
        assert_eq!(columns("/v1/tasks", None).len(), 7);
        assert_eq!(columns("/v1/other", Some(&part)), ["id", "title"]);
    }
}
