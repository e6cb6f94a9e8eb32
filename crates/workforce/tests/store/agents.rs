use serde_json::json;
use workforce::agent::{Agent, AgentFilter, AgentOrder, AgentStatus};
use workforce::store::agents as store;
use workforce::{AgentId, Error, Kind};

use crate::{Company, after, body, limit};

async fn names(company: &Company, filter: &AgentFilter) -> Vec<String> {
    let page = store::list(&mut company.single().await, filter, AgentOrder::Newest, None, limit(200)).await.unwrap();
    page.data.into_iter().map(|agent| agent.name).collect()
}

async fn find(company: &Company, agent: &Agent, deleted: bool) -> Result<Agent, Error> {
    store::find(&mut company.single().await, agent.id, deleted).await
}

#[tokio::test]
async fn what_is_created_is_found() {
    let company = Company::start().await;
    let full = json!({
        "name": "Mira", "role": "support", "personality_prompt": "Brief.\nKind.", "status": "offline",
        "capabilities": ["triage", "refunds"], "tool_permissions": { "mail": "send", "crm": { "read": true } },
    });
    let made = company.try_agent(full).await.unwrap();
    assert_eq!((made.version, made.status, made.deleted_at), (1, AgentStatus::Offline, None));
    assert_eq!(made.tool_permissions["crm"], json!({ "read": true }));
    assert_eq!(find(&company, &made, false).await.unwrap(), made);
    let plain = company.agent("Ole").await;
    assert_eq!((plain.status, plain.capabilities.len(), plain.personality_prompt.as_str()), (AgentStatus::Idle, 0, ""));
    let unknown = store::find(&mut company.single().await, AgentId::generate(), true).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { kind: Kind::Agent, .. }));
    assert_eq!(company.audited().await, ["agent.create", "agent.create"]);
}

#[tokio::test]
async fn a_live_name_is_taken_and_a_deleted_one_is_free_again() {
    let company = Company::start().await;
    let first = company.agent("Mira").await;
    let new = json!({ "name": "Mira", "role": "sales" });
    assert!(matches!(company.try_agent(new.clone()).await, Err(Error::AgentNameTaken(name)) if name == "Mira"));
    let other = company.agent("Ole").await;
    let rename = company.change_agent(&other, json!({ "name": "Mira" })).await;
    assert!(matches!(rename, Err(Error::AgentNameTaken(name)) if name == "Mira"));
    company.delete_agent(&first, None).await.unwrap();
    let second = company.try_agent(new.clone()).await.unwrap();
    company.delete_agent(&second, None).await.unwrap();
    company.try_agent(new).await.unwrap();
    let all = AgentFilter { include_deleted: true, ..AgentFilter::default() };
    assert_eq!(names(&company, &all).await, ["Mira", "Mira", "Ole", "Mira"]);
}

#[tokio::test]
async fn a_change_needs_the_present_version() {
    let company = Company::start().await;
    let first = company.agent("Mira").await;
    let change = json!({ "status": "working", "capabilities": ["a"], "personality_prompt": "x" });
    let second = company.change_agent(&first, change).await.unwrap();
    assert_eq!((second.version, second.status, second.name.as_str()), (2, AgentStatus::Working, "Mira"));
    assert!(second.updated_at > first.updated_at && second.created_at == first.created_at);
    let late = company.change_agent(&first, json!({ "name": "Late" })).await.unwrap_err();
    let Error::VersionConflict { expected: 1, actual: 2, current, .. } = late else { panic!("{late}") };
    assert_eq!(current["capabilities"], json!(["a"]));
    let cleared = json!({ "capabilities": null, "personality_prompt": null });
    let third = company.change_agent(&second, cleared).await.unwrap();
    assert!(third.capabilities.is_empty() && third.personality_prompt.is_empty());
    assert!(matches!(company.delete_agent(&third, Some(2)).await, Err(Error::VersionConflict { actual: 3, .. })));
    company.delete_agent(&third, Some(3)).await.unwrap();
    assert_eq!(company.audited().await, ["agent.create", "agent.update", "agent.update", "agent.delete"]);
}

#[tokio::test]
async fn of_two_changes_at_once_one_wins() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    let (one, two) = tokio::join!(
        company.change_agent(&agent, json!({ "role": "one" })),
        company.change_agent(&agent, json!({ "role": "two" })),
    );
    let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
    assert_eq!(won.unwrap().version, 2);
    assert!(matches!(lost, Err(Error::VersionConflict { expected: 1, actual: 2, .. })));
}

#[tokio::test]
async fn a_deleted_agent_is_gone_unless_asked_for() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    company.delete_agent(&agent, None).await.unwrap();
    assert!(matches!(find(&company, &agent, false).await, Err(Error::NotFound { .. })));
    let kept = find(&company, &agent, true).await.unwrap();
    assert!(kept.deleted_at.is_some() && kept.version == 2);
    for late in [company.delete_agent(&agent, None).await, company.change_agent(&kept, json!({})).await.map(|_| ())] {
        assert!(matches!(late, Err(Error::NotFound { .. })), "{late:?}");
    }
    assert!(names(&company, &AgentFilter::default()).await.is_empty());
}

#[tokio::test]
async fn an_agent_works_on_a_task_of_its_own_only() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let task = company.task(&mira, "hers").await;
    let mira = company.change_agent(&mira, json!({ "current_task_id": task.id })).await.unwrap();
    assert_eq!(mira.current_task_id, Some(task.id));
    let foreign = company.change_agent(&ole, json!({ "current_task_id": task.id })).await.unwrap_err();
    assert!(matches!(foreign, Error::UnknownTask { pointer: "/current_task_id", id } if id == *task.id.as_uuid()));
    let nowhere = company.change_agent(&ole, json!({ "current_task_id": uuid::Uuid::nil() })).await.unwrap_err();
    assert!(matches!(nowhere, Error::UnknownTask { .. }));
    assert_eq!(find(&company, &ole, false).await.unwrap().version, 1, "nothing of it stayed");
    let none = company.change_agent(&mira, json!({ "current_task_id": null })).await.unwrap();
    assert_eq!(none.current_task_id, None);
}

#[tokio::test]
async fn lists_are_filtered() {
    let company = Company::start().await;
    for (name, role, status) in [("Mira", "support", "idle"), ("mirko", "sales", "idle"), ("Ole", "support", "offline")]
    {
        company.try_agent(json!({ "name": name, "role": role, "status": status })).await.unwrap();
    }
    let gone = company.agent("Mirage").await;
    company.delete_agent(&gone, None).await.unwrap();
    let any = AgentFilter::default;
    let cases = [
        (any(), "Ole mirko Mira"),
        (AgentFilter { status: vec![AgentStatus::Idle], ..any() }, "mirko Mira"),
        (AgentFilter { role: Some("support".into()), ..any() }, "Ole Mira"),
        (AgentFilter { name_prefix: Some("MIR".into()), ..any() }, "mirko Mira"),
        (AgentFilter { name_prefix: Some("mir%".into()), ..any() }, ""),
        (AgentFilter { name_prefix: Some("mir".into()), include_deleted: true, ..any() }, "Mirage mirko Mira"),
        (AgentFilter { role: Some("support".into()), status: vec![AgentStatus::Idle], ..any() }, "Mira"),
    ];
    for (filter, expected) in cases {
        assert_eq!(names(&company, &filter).await.join(" "), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_while_rows_are_added() {
    let company = Company::start().await;
    // Of one transaction, so that the age is the same and the id decides.
    let mut tx = company.begin().await;
    for n in 0..7 {
        let new = body(json!({ "name": format!("a{n}"), "role": "r" }));
        store::create(&mut tx, &new).await.unwrap();
    }
    tx.commit().await.unwrap();
    let (mut seen, mut position) = (Vec::new(), None);
    loop {
        let (filter, order) = (AgentFilter::default(), AgentOrder::Newest);
        let mut tx = company.single().await;
        let page = store::list(&mut tx, &filter, order, position.as_ref(), limit(2)).await.unwrap();
        position = after(&page, order);
        seen.extend(page.data.into_iter().map(|agent| agent.name));
        if position.is_none() {
            break;
        }
        company.agent(&format!("late{}", seen.len())).await;
    }
    assert_eq!(seen, ["a6", "a5", "a4", "a3", "a2", "a1", "a0"]);
}
