use serde_json::{Value, json};
use tokio_postgres::error::SqlState;
use workforce::activity::{Activity, ActivityFilter, ActivityOrder};
use workforce::store::activity as store;
use workforce::{ActivityId, Error, Kind};

use crate::{Company, after, body, limit};

impl Company {
    pub(crate) async fn log(&self, new: Value) -> Result<Activity, Error> {
        let mut tx = self.begin().await;
        let entry = store::append(&mut tx, &body(new)).await?;
        tx.commit().await?;
        Ok(entry)
    }
}

async fn actions(company: &Company, filter: &ActivityFilter) -> String {
    let page = store::list(&mut company.single().await, filter, ActivityOrder::Newest, None, limit(200)).await.unwrap();
    page.data.into_iter().map(|entry| entry.action).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn what_is_logged_is_found() {
    let company = Company::start().await;
    let mira = company.agent("Mira").await;
    let task = company.task(&mira, "t").await;
    let new =
        json!({ "agent_id": mira.id, "task_id": task.id, "action": "ticket.answered", "details": { "n": [1, 2.5] } });
    let entry = company.log(new).await.unwrap();
    assert_eq!((entry.agent_id, entry.task_id, entry.action.as_str()), (mira.id, Some(task.id), "ticket.answered"));
    assert_eq!(entry.details, json!({ "n": [1, 2.5] }));
    assert_eq!(store::find(&mut company.single().await, entry.id).await.unwrap(), entry);
    let plain = company.log(json!({ "agent_id": mira.id, "action": "idle" })).await.unwrap();
    assert_eq!((plain.task_id, plain.details), (None, json!({})));
    let unknown = store::find(&mut company.single().await, ActivityId::generate()).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { kind: Kind::Activity, .. }));
    // what was done on a task that is deleted by now was done all the same
    company.delete_task(&task, None).await.unwrap();
    company.log(json!({ "agent_id": mira.id, "task_id": task.id, "action": "late" })).await.unwrap();
    assert_eq!(company.audited().await.last().unwrap(), "activity.append");
}

#[tokio::test]
async fn only_who_is_there_logs_and_only_on_what_is_there() {
    let company = Company::start().await;
    let (mira, gone) = (company.agent("Mira").await, company.agent("Gone").await);
    company.delete_agent(&gone, None).await.unwrap();
    let nobody = uuid::Uuid::nil();
    for agent in [nobody, *gone.id.as_uuid()] {
        let error = company.log(json!({ "agent_id": agent, "action": "x" })).await.unwrap_err();
        assert!(matches!(error, Error::UnknownAgent { pointer: "/agent_id", .. }), "{error}");
    }
    let error = company.log(json!({ "agent_id": mira.id, "task_id": nobody, "action": "x" })).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTask { pointer: "/task_id", .. }), "{error}");
    assert_eq!(actions(&company, &ActivityFilter::default()).await, "");
}

/// The database refuses, whatever the code does; with the right that the tenant's role does not have the same statements work,
/// so it is the missing right that refuses them.
#[tokio::test]
async fn the_database_keeps_the_log_append_only() {
    let company = Company::start().await;
    let mira = company.agent("Mira").await;
    company.log(json!({ "agent_id": mira.id, "action": "done" })).await.unwrap();
    let tenant = company.context.tenant();
    let (table, role) = (format!("{}.activity_logs", tenant.schema.quoted()), tenant.role().quoted());
    let client = company.world.admin().await;
    let attempts =
        [format!("UPDATE {table} SET action = 'undone'"), format!("DELETE FROM {table}"), format!("TRUNCATE {table}")];
    for attempt in &attempts {
        client.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
        let refused = client.batch_execute(attempt).await.unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{attempt}");
        client.batch_execute("RESET ROLE").await.unwrap();
    }
    assert_eq!(actions(&company, &ActivityFilter::default()).await, "done");
    client.batch_execute(&format!("GRANT UPDATE, DELETE, TRUNCATE ON {table} TO {role}")).await.unwrap();
    client.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
    client.batch_execute(&attempts[0]).await.unwrap();
    assert_eq!(actions(&company, &ActivityFilter::default()).await, "undone");
    client.batch_execute(&attempts[1]).await.unwrap();
    client.batch_execute(&attempts[2]).await.unwrap();
    assert_eq!(actions(&company, &ActivityFilter::default()).await, "");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let task = company.task(&mira, "t").await;
    company.log(json!({ "agent_id": mira.id, "action": "a" })).await.unwrap();
    let b = company.log(json!({ "agent_id": ole.id, "action": "b", "task_id": task.id })).await.unwrap();
    company.log(json!({ "agent_id": mira.id, "action": "c", "task_id": task.id })).await.unwrap();
    company.log(json!({ "agent_id": mira.id, "action": "a" })).await.unwrap();
    let any = ActivityFilter::default;
    let cases = [
        (any(), "a c b a"),
        (ActivityFilter { agent_id: Some(mira.id), ..any() }, "a c a"),
        (ActivityFilter { task_id: Some(task.id), ..any() }, "c b"),
        (ActivityFilter { task_id: Some(task.id), agent_id: Some(mira.id), ..any() }, "c"),
        (ActivityFilter { actions: vec!["a".into()], ..any() }, "a a"),
        (ActivityFilter { actions: vec!["b".into(), "c".into()], ..any() }, "c b"),
        (ActivityFilter { since: Some(b.timestamp), ..any() }, "a c b"),
        (ActivityFilter { until: Some(b.timestamp), ..any() }, "a"),
    ];
    for (filter, expected) in cases {
        assert_eq!(actions(&company, &filter).await, expected, "{filter:?}");
        for order in ActivityOrder::ALL.iter().copied() {
            let (mut seen, mut position) = (Vec::new(), None);
            loop {
                let mut tx = company.single().await;
                let page = store::list(&mut tx, &filter, order, position.as_ref(), limit(1)).await.unwrap();
                position = after(&page, order);
                seen.extend(page.data.into_iter().map(|entry| entry.action));
                if position.is_none() {
                    break;
                }
            }
            if order == ActivityOrder::Oldest {
                seen.reverse();
            }
            assert_eq!(seen.join(" "), expected, "page by page, {order}: {filter:?}");
        }
    }
}
