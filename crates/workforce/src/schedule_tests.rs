use serde_json::{Value, json};

use super::*;

fn wrong(members: Value) -> Vec<String> {
    let mut body = json!({
        "agent_id": Uuid::nil(), "name": "n", "cron_expression": "@daily", "task_template": { "title": "t" },
    });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    match serde_json::from_value::<CreateSchedule>(body).unwrap().validated() {
        Ok(_) => Vec::new(),
        Err(Error::Invalid(errors)) => errors.into_iter().map(|error| error.pointer).collect(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_template_has_the_rules_of_a_task() {
    let fine = json!({
        "title": "t", "description": "d", "priority": "high", "max_retries": 0, "provider": "openai", "deadline_seconds": 1,
    });
    assert_eq!(wrong(json!({ "task_template": fine })), Vec::<String>::new());
    let broken = json!({
        "title": "", "description": "\0", "max_retries": 101, "provider": "Open AI", "deadline_seconds": 0,
    });
    assert_eq!(
        wrong(json!({ "task_template": broken })),
        [
            "/task_template/deadline_seconds",
            "/task_template/title",
            "/task_template/description",
            "/task_template/max_retries",
            "/task_template/provider"
        ]
    );
    let long = json!({ "title": "t", "deadline_seconds": i64::MAX });
    assert_eq!(wrong(json!({ "task_template": long })), ["/task_template/deadline_seconds"]);
    assert!(serde_json::from_value::<TaskTemplate>(json!({ "title": "t", "status": "completed" })).is_err());
}

#[test]
fn members_have_rules() {
    assert_eq!(wrong(json!({ "name": "" })), ["/name"]);
    assert_eq!(wrong(json!({ "cron_expression": "0 0 30 2 *" })), ["/cron_expression"]);
    assert_eq!(wrong(json!({ "time_zone": "Mars/Olympus" })), ["/time_zone"]);
    assert_eq!(wrong(json!({ "time_zone": "Pacific/Auckland" })), Vec::<String>::new());
}

#[test]
fn an_installation_may_ask_for_a_longer_interval() {
    let least = |seconds| std::time::Duration::from_secs(seconds);
    assert!(check_interval("* * * * *", least(60)).is_ok());
    assert!(check_interval("* * * * *", least(61)).unwrap_err().contains("every 60 seconds"));
    assert!(check_interval("0,10 * * * *", least(900)).is_err());
    assert!(check_interval("*/15 * * * *", least(900)).is_ok());
    assert!(check_interval("@daily", least(86_400)).is_ok());
}

fn schedule(cron: &str) -> Schedule {
    let at = DateTime::UNIX_EPOCH;
    Schedule {
        id: ScheduleId::generate(),
        agent_id: AgentId::generate(),
        name: "n".to_owned(),
        cron_expression: cron.to_owned(),
        time_zone: "UTC".to_owned(),
        task_template: json!({ "title": "t" }),
        enabled: true,
        next_runs: Vec::new(),
        last_run_at: None,
        next_run_at: Some(at),
        last_task_id: None,
        failure_count: 0,
        last_error: None,
        version: 1,
        created_at: at,
        updated_at: at,
        deleted_at: None,
    }
}

#[test]
fn failures_put_a_schedule_off_but_not_one_that_is_rare_anyway() {
    let now = DateTime::UNIX_EPOCH;
    let failure = RunFailure { code: "c".to_owned(), detail: "d".to_owned(), at: now };
    let mut often = schedule("* * * * *");
    let mut pauses = Vec::new();
    for _ in 0..13 {
        often.failed(failure.clone(), 14, now);
        pauses.push((often.next_run_at.unwrap() - now).num_minutes());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440]);
    often.failed(failure.clone(), 14, now);
    assert_eq!((often.enabled, often.next_run_at, often.failure_count), (false, None, 14));
    let mut daily = schedule("@daily");
    for _ in 0..5 {
        daily.failed(failure.clone(), 14, now);
        assert_eq!(daily.next_run_at, Some(now + TimeDelta::days(1)));
    }
    daily.succeeded(TaskId::generate(), now).unwrap();
    assert_eq!((daily.failure_count, daily.last_error.is_none()), (0, true));
}

#[test]
fn what_is_stored_and_not_understood_disables_the_schedule() {
    let now = DateTime::UNIX_EPOCH;
    let failure = RunFailure { code: "c".to_owned(), detail: "d".to_owned(), at: now };
    for (cron, zone) in [("nonsense", "UTC"), ("@daily", "Mars/Olympus")] {
        let mut schedule = Schedule { time_zone: zone.to_owned(), ..schedule(cron) };
        assert!(matches!(schedule.next_after(now), Err(Error::Corrupt { .. })));
        assert_eq!(schedule.runs_ahead(), []);
        schedule.failed(failure.clone(), 10, now);
        assert!(!schedule.enabled);
    }
    let unreadable = Schedule { task_template: json!({}), ..schedule("@daily") };
    assert!(matches!(unreadable.task(now), Err(Error::Corrupt { column: "task_template", .. })));
}
