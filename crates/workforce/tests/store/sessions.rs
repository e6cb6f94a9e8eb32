use serde_json::{Value, json};
use workforce::session::{Session, SessionFilter, SessionOrder, SessionStatus};
use workforce::store::sessions as store;
use workforce::{Error, Kind, SessionId};

use crate::{Company, after, body, limit};

impl Company {
    pub(crate) async fn run(&self, new: Value) -> Result<Session, Error> {
        let mut tx = self.begin().await;
        let session = store::start(&mut tx, &body(new)).await?;
        tx.commit().await?;
        Ok(session)
    }

    async fn report(&self, session: &Session, report: Value) -> Result<Session, Error> {
        let mut tx = self.begin().await;
        let session = store::report(&mut tx, session.id, &body(report)).await?;
        tx.commit().await?;
        Ok(session)
    }

    async fn end(&self, session: &Session, status: SessionStatus) -> Result<Session, Error> {
        let mut tx = self.begin().await;
        let session = store::end(&mut tx, session.id, status).await?;
        tx.commit().await?;
        Ok(session)
    }
}

async fn find(company: &Company, session: &Session) -> Session {
    store::find(&mut company.single().await, session.id).await.unwrap()
}

#[tokio::test]
async fn a_session_is_a_run_of_a_live_agent_on_its_own_task() {
    let company = Company::start().await;
    let (mira, ole, gone) = (company.agent("Mira").await, company.agent("Ole").await, company.agent("Gone").await);
    let (task, deleted) = (company.task(&mira, "t").await, company.task(&mira, "d").await);
    company.delete_task(&deleted, None).await.unwrap();
    company.delete_agent(&gone, None).await.unwrap();
    let session = company.run(json!({ "agent_id": mira.id, "task_id": task.id })).await.unwrap();
    assert_eq!((session.agent_id, session.task_id, session.status), (mira.id, Some(task.id), SessionStatus::Active));
    assert!(session.tokens_used.is_empty() && session.tool_calls.is_empty() && session.ended_at.is_none());
    assert_eq!(find(&company, &session).await, session);
    assert_eq!(company.run(json!({ "agent_id": ole.id })).await.unwrap().task_id, None);
    let error = company.run(json!({ "agent_id": gone.id })).await.unwrap_err();
    assert!(matches!(error, Error::UnknownAgent { pointer: "/agent_id", .. }), "{error}");
    for (agent, task) in [(ole.id, *task.id.as_uuid()), (mira.id, *deleted.id.as_uuid()), (mira.id, uuid::Uuid::nil())]
    {
        let error = company.run(json!({ "agent_id": agent, "task_id": task })).await.unwrap_err();
        assert!(matches!(error, Error::UnknownTask { pointer: "/task_id", .. }), "{error}");
    }
    let unknown = store::find(&mut company.single().await, SessionId::generate()).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { kind: Kind::Session, .. }));
}

#[tokio::test]
async fn reports_add_up_and_an_ended_session_takes_none() {
    let company = Company::start().await;
    let mira = company.agent("Mira").await;
    for last in [SessionStatus::Ended, SessionStatus::Failed] {
        let session = company.run(json!({ "agent_id": mira.id })).await.unwrap();
        let call = json!({ "tool": "orders", "ms": 41, "args": { "ids": [1, 2.5, null] } });
        company
            .report(&session, json!({ "tokens_used": { "input": 5, "output": 1 }, "tool_calls": [call] }))
            .await
            .unwrap();
        company.report(&session, json!({})).await.unwrap();
        let used =
            company.report(&session, json!({ "tokens_used": { "input": 7, "cached": 3 }, "tool_calls": [{ "n": 2 }] }));
        let used = used.await.unwrap();
        assert_eq!(json!(used.tokens_used), json!({ "cached": 3, "input": 12, "output": 1 }));
        assert_eq!(used.tool_calls, [call, json!({ "n": 2 })]);
        assert_eq!(find(&company, &session).await, used);
        let ended = company.end(&session, last).await.unwrap();
        assert_eq!((ended.status, ended.tool_calls.len()), (last, 2));
        assert!(ended.ended_at.unwrap() >= ended.started_at);
        for late in [
            company.report(&session, json!({ "tokens_used": { "input": 1 } })).await,
            company.end(&session, SessionStatus::Ended).await,
            company.end(&session, SessionStatus::Failed).await,
        ] {
            let Err(Error::SessionEnded { status, current }) = late else { panic!("{late:?}") };
            assert_eq!((status, &current["id"]), (last, &json!(session.id)));
        }
        assert_eq!(find(&company, &session).await, ended);
    }
    let unknown = store::report(&mut company.begin().await, SessionId::generate(), &body(json!({}))).await;
    assert!(matches!(unknown, Err(Error::NotFound { kind: Kind::Session, .. })));
    let told = company.audited().await;
    assert_eq!(
        told[told.len() - 5..],
        ["session.start", "session.report", "session.report", "session.report", "session.end"]
    );
}

#[tokio::test]
async fn reports_at_the_same_time_are_all_counted() {
    let company = Company::start().await;
    let mira = company.agent("Mira").await;
    let session = company.run(json!({ "agent_id": mira.id })).await.unwrap();
    let reports = (0..20).map(|n| {
        let report = json!({ "tokens_used": { "input": n, format!("kind_{}", n % 4): 1 }, "tool_calls": [{ "n": n }] });
        company.report(&session, report)
    });
    for result in futures_util::future::join_all(reports).await {
        result.unwrap();
    }
    let used = find(&company, &session).await;
    assert_eq!(json!(used.tokens_used), json!({ "input": 190, "kind_0": 5, "kind_1": 5, "kind_2": 5, "kind_3": 5 }));
    let mut calls: Vec<i64> = used.tool_calls.iter().map(|call| call["n"].as_i64().unwrap()).collect();
    calls.sort_unstable();
    assert_eq!(calls, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let task = company.task(&mira, "t").await;
    let a = company.run(json!({ "agent_id": mira.id })).await.unwrap();
    let b = company.run(json!({ "agent_id": mira.id, "task_id": task.id })).await.unwrap();
    let c = company.run(json!({ "agent_id": ole.id })).await.unwrap();
    company.end(&a, SessionStatus::Ended).await.unwrap();
    company.end(&c, SessionStatus::Failed).await.unwrap();
    let any = SessionFilter::default;
    let cases: [(SessionFilter, &[&Session]); 8] = [
        (any(), &[&c, &b, &a]),
        (SessionFilter { agent_id: Some(mira.id), ..any() }, &[&b, &a]),
        (SessionFilter { task_id: Some(task.id), ..any() }, &[&b]),
        (SessionFilter { agent_id: Some(ole.id), task_id: Some(task.id), ..any() }, &[]),
        (SessionFilter { statuses: vec![SessionStatus::Active], ..any() }, &[&b]),
        (SessionFilter { statuses: vec![SessionStatus::Ended, SessionStatus::Failed], ..any() }, &[&c, &a]),
        (SessionFilter { since: Some(b.started_at), ..any() }, &[&c, &b]),
        (SessionFilter { until: Some(b.started_at), ..any() }, &[&a]),
    ];
    for (filter, expected) in cases {
        for order in SessionOrder::ALL.iter().copied() {
            let (mut seen, mut position) = (Vec::new(), None);
            loop {
                let mut tx = company.single().await;
                let page = store::list(&mut tx, &filter, order, position.as_ref(), limit(1)).await.unwrap();
                position = after(&page, order);
                seen.extend(page.data.into_iter().map(|session| session.id));
                if position.is_none() {
                    break;
                }
            }
            if order == SessionOrder::Oldest {
                seen.reverse();
            }
            assert_eq!(seen, expected.iter().map(|session| session.id).collect::<Vec<_>>(), "{order}: {filter:?}");
        }
    }
}
