use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn task() -> Task {
    let agent = AgentId::generate();
    Task {
        id: TaskId::generate(),
        agent_id: agent,
        created_by_id: agent,
        title: "t".to_owned(),
        description: String::new(),
        status: TaskStatus::Pending,
        previous_status: None,
        priority: Priority::Normal,
        progress_percent: 0,
        progress_details: json!({}),
        result: None,
        deadline: None,
        started_at: None,
        completed_at: None,
        error_details: None,
        version: 1,
        retry_count: 0,
        max_retries: 3,
        created_at: DateTime::UNIX_EPOCH,
        deleted_at: None,
        provider: None,
        provider_account_id: None,
    }
}

fn patch(body: Value) -> Valid<UpdateTask> {
    serde_json::from_value::<UpdateTask>(body).unwrap().validated().unwrap()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn walk(task: &mut Task, statuses: &[TaskStatus]) -> Result<(), Error> {
    for (i, status) in (1..).zip(statuses) {
        task.step(*status, at(i))?;
    }
    Ok(())
}

#[test]
fn the_table_of_transitions_is_the_documented_one() {
    use TaskStatus::*;
    let table = [
        (Pending, vec![InProgress, Blocked, Cancelled]),
        (InProgress, vec![Blocked, Completed, Failed, Cancelled]),
        (Blocked, vec![Pending, InProgress, Cancelled]),
        (Failed, vec![Pending]),
        (Completed, vec![]),
        (Cancelled, vec![]),
    ];
    for (from, successors) in table {
        for to in TaskStatus::ALL {
            let mut task = Task { status: from, ..task() };
            let fine = successors.contains(to) || *to == from;
            assert_eq!(task.step(*to, at(1)).is_ok(), fine, "{from} to {to}");
        }
    }
}

#[test]
fn times_and_previous_status_follow_the_run() {
    use TaskStatus::*;
    let mut task = task();
    walk(&mut task, &[InProgress, Blocked, InProgress, Completed]).unwrap();
    assert_eq!((task.started_at, task.completed_at), (Some(at(1)), Some(at(4))));
    assert_eq!((task.previous_status, task.progress_percent), (Some(InProgress), 100));
}

#[test]
fn a_retry_counts_and_starts_over() {
    use TaskStatus::*;
    let mut task = Task { progress_percent: 40, error_details: Some(json!({"code": "timeout"})), ..task() };
    walk(&mut task, &[InProgress, Failed, Pending]).unwrap();
    assert_eq!((task.retry_count, task.progress_percent), (1, 0));
    assert_eq!((task.started_at, task.completed_at), (None, None));
    assert!(task.error_details.is_some(), "the reason of the last failure stays readable");
}

#[test]
fn retries_run_out() {
    use TaskStatus::*;
    let mut task = Task { max_retries: 1, ..task() };
    walk(&mut task, &[InProgress, Failed, Pending, InProgress, Failed]).unwrap();
    let refused = task.step(Pending, at(9)).unwrap_err();
    assert!(matches!(refused, Error::IllegalTransition { allowed: &[], retries: (1, 1), .. }), "{refused}");
    task.apply(&patch(json!({"max_retries": 2, "status": "pending"})), at(10)).unwrap();
    assert_eq!(task.retry_count, 2);
}

#[test]
fn repeating_the_present_status_changes_nothing() {
    let mut one = Task { status: TaskStatus::Completed, ..task() };
    let before = one.clone();
    one.step(TaskStatus::Completed, at(5)).unwrap();
    assert_eq!(one, before);
}

#[test]
fn a_given_percentage_wins_over_the_implied_one() {
    let mut task = Task { status: TaskStatus::InProgress, ..task() };
    task.apply(&patch(json!({"status": "completed", "progress_percent": 90})), at(1)).unwrap();
    assert_eq!(task.progress_percent, 90);
}

#[test]
fn null_clears_what_may_be_empty() {
    let mut task = Task {
        description: "d".to_owned(),
        deadline: Some(at(1)),
        result: Some(json!(1)),
        progress_details: json!([1]),
        provider: Some("openai".to_owned()),
        ..task()
    };
    let body =
        json!({"description": null, "deadline": null, "result": null, "progress_details": null, "provider": null});
    task.apply(&patch(body), at(1)).unwrap();
    assert_eq!((task.description.as_str(), task.deadline, &task.result), ("", None, &None));
    assert_eq!((&task.progress_details, &task.provider), (&json!({}), &None));
}

#[test]
fn bodies_are_checked_whole() {
    let body = json!({
        "title": null, "agent_id": null, "progress_percent": 101, "max_retries": -1, "provider": "Open AI",
        "deadline": "1969-12-31T23:59:59Z", "result": {"a": "\0"},
    });
    let Err(Error::Invalid(errors)) = serde_json::from_value::<UpdateTask>(body).unwrap().validated() else {
        panic!("accepted");
    };
    let pointers: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["/agent_id", "/title", "/progress_percent", "/result", "/deadline", "/max_retries", "/provider"]
    );
    let agent = AgentId::generate();
    let create = json!({"agent_id": agent, "title": "x".repeat(301), "max_retries": 101});
    assert!(serde_json::from_value::<CreateTask>(create).unwrap().validated().is_err());
    let create = json!({"agent_id": agent, "title": "x".repeat(300), "max_retries": 100});
    assert!(serde_json::from_value::<CreateTask>(create).unwrap().validated().is_ok());
}

proptest! {
    #[test]
    fn no_walk_breaks_the_invariants(
        steps in proptest::collection::vec(proptest::sample::select(TaskStatus::ALL), 0..60),
        max_retries in 0..4,
    ) {
        let mut task = Task { max_retries, ..task() };
        for (i, next) in (1..).zip(steps) {
            let before = task.clone();
            match task.step(next, at(i)) {
                Err(_) => prop_assert_eq!(&task, &before, "a refused step leaves no trace"),
                Ok(()) if next == before.status => prop_assert_eq!(&task, &before),
                Ok(()) => {
                    prop_assert!(!before.status.is_final());
                    prop_assert_eq!(task.previous_status, Some(before.status));
                }
            }
            prop_assert!(task.retry_count <= task.max_retries);
            prop_assert!((0..=100).contains(&task.progress_percent));
            prop_assert_eq!(task.completed_at.is_some(), task.status.is_end());
            if matches!(task.status, TaskStatus::InProgress | TaskStatus::Completed | TaskStatus::Failed) {
                prop_assert!(task.started_at.is_some());
            }
        }
    }
}
