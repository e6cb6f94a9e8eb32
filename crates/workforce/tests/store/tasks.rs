use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use workforce::store::tasks as store;
use workforce::task::{Priority, Task, TaskFilter, TaskOrder};
use workforce::{Error, Kind, TaskId, TaskStatus};

use crate::{Company, after, limit};

async fn titles(company: &Company, filter: &TaskFilter) -> String {
    let page = store::list(&mut company.single().await, filter, TaskOrder::Newest, None, limit(200)).await.unwrap();
    page.data.into_iter().map(|task| task.title).collect::<Vec<_>>().join(" ")
}

async fn find(company: &Company, task: &Task, deleted: bool) -> Result<Task, Error> {
    store::find(&mut company.single().await, task.id, deleted).await
}

fn to(status: TaskStatus) -> Value {
    json!({ "status": status })
}

#[tokio::test]
async fn what_is_created_is_found() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let deadline = Utc::now() + TimeDelta::hours(3);
    let full = json!({
        "agent_id": mira.id, "created_by_id": ole.id, "title": "Answer", "description": "All of it", "priority": "urgent",
        "deadline": deadline, "max_retries": 0, "provider": "openai",
    });
    let made = company.try_task(full).await.unwrap();
    assert_eq!((made.agent_id, made.created_by_id, made.status), (mira.id, ole.id, TaskStatus::Pending));
    assert_eq!((made.priority, made.max_retries, made.version), (Priority::Urgent, 0, 1));
    assert_eq!(made.deadline.unwrap().timestamp_micros(), deadline.timestamp_micros());
    assert_eq!(find(&company, &made, false).await.unwrap(), made);
    let plain = company.task(&mira, "Plain").await;
    assert_eq!((plain.created_by_id, plain.priority, plain.max_retries), (mira.id, Priority::Normal, 3));
    let unknown = store::find(&mut company.single().await, TaskId::generate(), true).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { kind: Kind::Task, .. }));
}

#[tokio::test]
async fn a_task_names_live_agents_and_known_accounts() {
    let company = Company::start().await;
    let (mira, gone) = (company.agent("Mira").await, company.agent("Gone").await);
    company.delete_agent(&gone, None).await.unwrap();
    let nobody = uuid::Uuid::nil();
    let cases = [
        (json!({ "agent_id": nobody, "title": "t" }), "/agent_id"),
        (json!({ "agent_id": gone.id, "title": "t" }), "/agent_id"),
        (json!({ "agent_id": mira.id, "created_by_id": gone.id, "title": "t" }), "/created_by_id"),
    ];
    for (new, member) in cases {
        let error = company.try_task(new).await.unwrap_err();
        assert!(matches!(error, Error::UnknownAgent { pointer, .. } if pointer == member), "{error}");
    }
    let account = json!({ "agent_id": mira.id, "title": "t", "provider_account_id": nobody });
    assert!(matches!(company.try_task(account).await, Err(Error::UnknownProviderAccount(_))));
    let task = company.task(&mira, "t").await;
    let error = company.change_task(&task, json!({ "agent_id": gone.id })).await.unwrap_err();
    assert!(matches!(error, Error::UnknownAgent { .. }));
    assert_eq!(find(&company, &task, false).await.unwrap(), task);
}

#[tokio::test]
async fn the_machine_holds_in_the_store() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    for from in TaskStatus::ALL {
        for next in TaskStatus::ALL {
            let task = reach(&company, &company.task(&agent, "t").await, *from).await;
            let result = company.change_task(&task, to(*next)).await;
            if next == from || from.successors().contains(next) {
                let changed = result.unwrap();
                assert_eq!((changed.status, changed.version), (*next, task.version + 1));
                let before = if next == from { task.previous_status } else { Some(*from) };
                assert_eq!(changed.previous_status, before, "{from} to {next}");
            } else {
                assert!(matches!(result, Err(Error::IllegalTransition { .. })), "{from} to {next}");
                assert_eq!(find(&company, &task, false).await.unwrap(), task);
            }
        }
    }
}

/// Takes a pending task to a status by allowed steps.
async fn reach(company: &Company, task: &Task, status: TaskStatus) -> Task {
    let way: &[TaskStatus] = match status {
        TaskStatus::Pending => &[],
        TaskStatus::InProgress | TaskStatus::Blocked | TaskStatus::Cancelled => &[status],
        TaskStatus::Completed | TaskStatus::Failed => &[TaskStatus::InProgress, status],
    };
    let mut task = task.clone();
    for step in way {
        task = company.change_task(&task, to(*step)).await.unwrap();
    }
    task
}

#[tokio::test]
async fn a_run_leaves_its_times_and_retries_are_counted() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    let new = json!({ "agent_id": agent.id, "title": "t", "max_retries": 1 });
    let task = company.try_task(new).await.unwrap();
    assert_eq!((task.started_at, task.completed_at), (None, None));
    let task = company.change_task(&task, to(TaskStatus::InProgress)).await.unwrap();
    assert!(task.started_at.is_some() && task.completed_at.is_none());
    let failed = json!({ "status": "failed", "error_details": { "why": "rate limit" }, "progress_percent": 40 });
    let task = company.change_task(&task, failed).await.unwrap();
    assert!(task.completed_at.is_some() && task.progress_percent == 40);
    let task = company.change_task(&task, to(TaskStatus::Pending)).await.unwrap();
    assert_eq!((task.retry_count, task.started_at, task.progress_percent), (1, None, 0));
    assert_eq!(task.error_details, Some(json!({ "why": "rate limit" })));
    let task = company.change_task(&task, to(TaskStatus::InProgress)).await.unwrap();
    let task = company.change_task(&task, to(TaskStatus::Failed)).await.unwrap();
    let over = company.change_task(&task, to(TaskStatus::Pending)).await.unwrap_err();
    assert!(matches!(over, Error::IllegalTransition { retries: (1, 1), allowed: [], .. }), "{over}");
    let done = reach(&company, &company.task(&agent, "done").await, TaskStatus::Completed).await;
    assert_eq!(done.progress_percent, 100);
    assert!(done.started_at.unwrap() <= done.completed_at.unwrap());
}

#[tokio::test]
async fn a_change_needs_the_present_version() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let first = company.task(&mira, "t").await;
    let change = json!({ "title": "u", "agent_id": ole.id, "priority": "low", "provider": "anthropic", "result": [1] });
    let second = company.change_task(&first, change).await.unwrap();
    assert_eq!((second.version, second.title.as_str(), second.agent_id), (2, "u", ole.id));
    assert_eq!((second.priority, second.provider.as_deref()), (Priority::Low, Some("anthropic")));
    let late = company.change_task(&first, json!({ "title": "late" })).await.unwrap_err();
    let Error::VersionConflict { kind: Kind::Task, expected: 1, actual: 2, current } = late else { panic!("{late}") };
    assert_eq!(current["title"], "u");
    assert!(matches!(company.delete_task(&second, Some(1)).await, Err(Error::VersionConflict { .. })));
    let (one, two) = tokio::join!(
        company.change_task(&second, to(TaskStatus::InProgress)),
        company.change_task(&second, to(TaskStatus::Cancelled)),
    );
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
    assert_eq!(find(&company, &second, false).await.unwrap().version, 3);
}

#[tokio::test]
async fn a_deleted_task_is_gone_unless_asked_for() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    let (task, kept) = (company.task(&agent, "gone").await, company.task(&agent, "kept").await);
    company.delete_task(&task, Some(1)).await.unwrap();
    assert!(matches!(find(&company, &task, false).await, Err(Error::NotFound { .. })));
    let deleted = find(&company, &task, true).await.unwrap();
    assert!(deleted.deleted_at.is_some() && deleted.version == 2);
    for late in [company.delete_task(&task, None).await, company.change_task(&deleted, json!({})).await.map(|_| ())] {
        assert!(matches!(late, Err(Error::NotFound { .. })), "{late:?}");
    }
    assert_eq!(titles(&company, &TaskFilter::default()).await, "kept");
    let all = TaskFilter { include_deleted: true, ..TaskFilter::default() };
    assert_eq!(titles(&company, &all).await, "kept gone");
    // Its agent's deletion leaves it.
    company.delete_agent(&agent, None).await.unwrap();
    assert_eq!(find(&company, &kept, false).await.unwrap(), kept);
    let told = company.audited().await;
    assert_eq!(told[told.len() - 2..], ["task.delete", "agent.delete"]);
}

#[tokio::test]
async fn lists_are_filtered() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let soon = Utc::now() + TimeDelta::hours(1);
    for new in [
        json!({ "agent_id": mira.id, "title": "a", "priority": "high" }),
        json!({ "agent_id": mira.id, "title": "b", "created_by_id": ole.id, "deadline": soon }),
        json!({ "agent_id": ole.id, "title": "c", "priority": "high", "deadline": soon + TimeDelta::days(2) }),
    ] {
        company.try_task(new).await.unwrap();
    }
    let done = company.task(&ole, "d").await;
    reach(&company, &done, TaskStatus::Completed).await;
    let any = TaskFilter::default;
    let cases = [
        (any(), "d c b a"),
        (TaskFilter { status: vec![TaskStatus::Completed], ..any() }, "d"),
        (TaskFilter { priority: vec![Priority::High], ..any() }, "c a"),
        (TaskFilter { agent_id: Some(mira.id), ..any() }, "b a"),
        (TaskFilter { created_by_id: Some(ole.id), ..any() }, "d c b"),
        (TaskFilter { deadline_before: Some(soon + TimeDelta::days(1)), ..any() }, "b"),
        (TaskFilter { agent_id: Some(ole.id), priority: vec![Priority::High], ..any() }, "c"),
        (TaskFilter { agent_id: Some(mira.id), created_by_id: Some(ole.id), ..any() }, "b"),
    ];
    for (filter, expected) in cases {
        assert_eq!(titles(&company, &filter).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_while_rows_are_added() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    for filter in [TaskFilter::default(), TaskFilter { agent_id: Some(agent.id), ..TaskFilter::default() }] {
        let first = TaskFilter { include_deleted: true, ..filter.clone() };
        let before = store::list(&mut company.single().await, &first, TaskOrder::Newest, None, limit(200))
            .await
            .unwrap()
            .data
            .len();
        for n in 0..5 {
            company.task(&agent, &format!("t{n}")).await;
        }
        let (mut seen, mut position) = (Vec::new(), None);
        loop {
            let (mut tx, order) = (company.single().await, TaskOrder::Newest);
            let page = store::list(&mut tx, &filter, order, position.as_ref(), limit(2)).await.unwrap();
            assert!(page.data.len() <= 2);
            position = after(&page, order);
            seen.extend(page.data.into_iter().map(|task| task.title));
            if position.is_none() {
                break;
            }
            company.task(&agent, "late").await;
        }
        assert_eq!(seen[..5], ["t4", "t3", "t2", "t1", "t0"]);
        assert_eq!(seen.len(), before + 5);
    }
}
