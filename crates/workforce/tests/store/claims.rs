//! Work is handed out once, in its order, and agents follow their tasks.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use workforce::agent::{Agent, AgentStatus};
use workforce::store::{claim, tasks as store};
use workforce::task::Task;
use workforce::{AgentId, Error, TaskStatus};

use crate::{Company, body};

impl Company {
    async fn claim(&self, agent: AgentId, limit: u8) -> Result<Vec<Task>, Error> {
        let mut tx = self.begin().await;
        let claimed = claim::claim(&mut tx, &body(json!({ "agent_id": agent, "limit": limit }))).await?;
        tx.commit().await?;
        Ok(claimed)
    }

    async fn look(&self, agent: &Agent) -> (AgentStatus, Option<String>, i64) {
        let agent = workforce::store::agents::find(&mut self.single().await, agent.id, true).await.unwrap();
        let task = match agent.current_task_id {
            Some(id) => Some(store::find(&mut self.single().await, id, true).await.unwrap().title),
            None => None,
        };
        (agent.status, task, agent.version)
    }
}

#[tokio::test]
async fn the_most_urgent_comes_first() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let done = company.task(&ole, "not hers").await;
    for (title, priority, deadline) in [
        ("6", "low", Value::Null),
        ("4", "normal", Value::Null),
        ("3", "normal", json!("2031-01-01T00:00:00Z")),
        ("1", "urgent", Value::Null),
        ("5", "normal", Value::Null),
        ("2", "normal", json!("2030-01-01T00:00:00Z")),
    ] {
        let new = json!({ "agent_id": mira.id, "title": title, "priority": priority, "deadline": deadline });
        company.try_task(new).await.unwrap();
    }
    let held = json!({ "agent_id": mira.id, "title": "held up", "priority": "urgent", "depends_on": [done.id] });
    company.try_task(held).await.unwrap();
    let titles = |tasks: Vec<Task>| tasks.into_iter().map(|task| task.title).collect::<Vec<_>>();
    let first = company.claim(mira.id, 1).await.unwrap();
    assert_eq!((first[0].title.as_str(), first[0].status, first[0].version), ("1", TaskStatus::InProgress, 2));
    assert!(first[0].started_at.is_some());
    assert_eq!(titles(company.claim(mira.id, 2).await.unwrap()), ["2", "3"]);
    assert_eq!(titles(company.claim(mira.id, 20).await.unwrap()), ["4", "5", "6"]);
    assert!(company.claim(mira.id, 1).await.unwrap().is_empty());
    let started = company.claim(ole.id, 1).await.unwrap().remove(0);
    company.change_task(&started, json!({ "status": "completed" })).await.unwrap();
    assert_eq!(titles(company.claim(mira.id, 5).await.unwrap()), ["held up"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_task_is_handed_out_once() {
    let company = Company::start().await;
    let agent = company.agent("Mira").await;
    let mut all = BTreeSet::new();
    for n in 0..40 {
        all.insert(company.task(&agent, &format!("t{n}")).await.id);
    }
    let claimers = (0..8_u8).map(|n| {
        let company = &company;
        async move {
            let mut got = Vec::new();
            loop {
                let claimed = company.claim(agent.id, 1 + n % 3).await.unwrap();
                if claimed.is_empty() {
                    return got;
                }
                got.extend(claimed.into_iter().map(|task| task.id));
            }
        }
    });
    let agent_got = futures_util::future::join_all(claimers).await.concat();
    assert_eq!(agent_got.len(), all.len(), "none twice");
    assert_eq!(agent_got.into_iter().collect::<BTreeSet<_>>(), all, "and none left");
}

#[tokio::test]
async fn who_is_offline_or_gone_gets_nothing() {
    let company = Company::start().await;
    let (mira, gone) = (company.agent("Mira").await, company.agent("Gone").await);
    company.task(&mira, "t").await;
    company.change_agent(&mira, json!({ "status": "offline" })).await.unwrap();
    company.delete_agent(&gone, None).await.unwrap();
    assert!(matches!(company.claim(mira.id, 1).await, Err(Error::AgentOffline(_))));
    for id in [gone.id, AgentId::generate()] {
        assert!(matches!(company.claim(id, 1).await, Err(Error::UnknownAgent { pointer: "/agent_id", .. })));
    }
}

#[tokio::test]
async fn an_agent_follows_its_tasks() {
    use AgentStatus::{Blocked, Idle, Offline, Working};
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let (one, two) = (company.task(&mira, "one").await, company.task(&mira, "two").await);
    let to = async |task: &Task, status: &str| company.change_task(task, json!({ "status": status })).await.unwrap();
    let on = |title: &str| Some(title.to_owned());
    let one = to(&one, "in_progress").await;
    assert_eq!(company.look(&mira).await, (Working, on("one"), 2));
    let one = company.change_task(&one, json!({ "progress_percent": 5 })).await.unwrap();
    assert_eq!(company.look(&mira).await, (Working, on("one"), 2), "not touched for nothing");
    let two = to(&two, "in_progress").await;
    assert_eq!(company.look(&mira).await, (Working, on("two"), 3));
    let two = to(&two, "blocked").await;
    assert_eq!(company.look(&mira).await, (Blocked, on("two"), 4));
    let one = to(&one, "blocked").await;
    assert_eq!(company.look(&mira).await, (Blocked, on("two"), 4), "it was not on that one");
    let one = to(&one, "in_progress").await;
    assert_eq!(company.look(&mira).await, (Working, on("one"), 5));
    let two = to(&two, "in_progress").await;
    to(&two, "completed").await;
    assert_eq!(company.look(&mira).await, (Working, on("one"), 7), "back to what it has still in work");
    let one = company.change_task(&one, json!({ "agent_id": ole.id })).await.unwrap();
    assert_eq!(company.look(&mira).await, (Idle, None, 8));
    assert_eq!(company.look(&ole).await, (Working, on("one"), 2));
    let ole_off = workforce::store::agents::find(&mut company.single().await, ole.id, false).await.unwrap();
    company.change_agent(&ole_off, json!({ "status": "offline" })).await.unwrap();
    company.delete_task(&one, None).await.unwrap();
    assert_eq!(company.look(&ole).await, (Offline, None, 4), "offline is a person's word");
    // a deleted agent stays as it is
    let last = company.task(&mira, "last").await;
    company.delete_agent(&mira, None).await.unwrap();
    to(&last, "in_progress").await;
    assert_eq!(company.look(&mira).await, (Idle, None, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_change_hands_both_ways_meet_no_deadlock() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    for round in 0..15 {
        let (mut ours, mut theirs) = (company.task(&mira, "a").await, company.task(&ole, "b").await);
        ours = company.change_task(&ours, json!({ "status": "in_progress" })).await.unwrap();
        theirs = company.change_task(&theirs, json!({ "status": "in_progress" })).await.unwrap();
        let (one, two) = tokio::join!(
            company.change_task(&ours, json!({ "agent_id": ole.id })),
            company.change_task(&theirs, json!({ "agent_id": mira.id })),
        );
        for done in [one, two] {
            company.change_task(&done.unwrap(), json!({ "status": "completed" })).await.unwrap();
        }
        assert_eq!(company.look(&mira).await.1, None, "round {round}");
    }
}
