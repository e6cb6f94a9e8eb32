use serde_json::json;
use workforce::agent::Agent;
use workforce::message::Message;
use workforce::store::{messages, threads as store};
use workforce::{AgentId, Error, Kind, List, MessageStatus, Page, Position};

use crate::{Company, body, limit};

/// Where the page after this one begins.
fn after<T>(page: &Page<T>, list: List) -> Option<Position> {
    page.next_cursor.as_deref().map(|cursor| Position::decode(cursor, list).unwrap())
}

/// With whom, the newest message, how many are not read.
async fn shown(company: &Company, of: &Agent) -> Vec<(AgentId, String, i64)> {
    let page = store::list(&mut company.single().await, of.id, None, limit(200)).await.unwrap();
    page.data.into_iter().map(|t| (t.with_agent_id, t.last_message.body, t.unread)).collect()
}

async fn thread(company: &Company, one: &Agent, other: &Agent) -> String {
    let mut tx = company.begin().await;
    let page = store::read(&mut tx, one.id, other.id, None, limit(200)).await.unwrap();
    page.data.into_iter().map(|message| message.body).collect::<Vec<_>>().join(" ")
}

async fn mark(company: &Company, one: &Agent, other: &Agent, up_to: &Message) -> Result<u64, Error> {
    let mut tx = company.begin().await;
    let marked = store::mark_read(&mut tx, one.id, other.id, &body(json!({ "up_to": up_to.id }))).await?;
    tx.commit().await?;
    Ok(marked.read)
}

#[tokio::test]
async fn a_thread_is_what_two_wrote_to_each_other() {
    let company = Company::start().await;
    let (mira, ole, noor) = (company.agent("Mira").await, company.agent("Ole").await, company.agent("Noor").await);
    assert_eq!(shown(&company, &mira).await, []);
    company.write(&mira, &ole, "a").await;
    company.write(&ole, &mira, "b").await;
    company.write(&ole, &mira, "c").await;
    company.write(&mira, &noor, "d").await;
    company.draft(&mira, "outside").await;
    let said = |with: &Agent, last: &str, unread| (with.id, last.to_owned(), unread);
    assert_eq!(shown(&company, &mira).await, [said(&noor, "d", 0), said(&ole, "c", 2)]);
    assert_eq!(shown(&company, &ole).await, [said(&mira, "c", 1)]);
    assert_eq!(thread(&company, &mira, &ole).await, "c b a");
    assert_eq!(thread(&company, &ole, &mira).await, "c b a");
    assert_eq!(thread(&company, &noor, &ole).await, "", "they have nothing to say to each other");
    // a deleted agent's thread stays
    company.delete_agent(&ole, None).await.unwrap();
    assert_eq!(shown(&company, &mira).await, [said(&noor, "d", 0), said(&ole, "c", 2)]);
    assert_eq!(thread(&company, &mira, &ole).await, "c b a");
    let note = json!({ "from_agent_id": noor.id, "to_agent_id": noor.id, "type": "system", "body": "note" });
    company.try_message(note).await.unwrap();
    assert_eq!(shown(&company, &noor).await, [said(&noor, "note", 1), said(&mira, "d", 1)]);
    assert_eq!(thread(&company, &noor, &noor).await, "note", "once, not from both sides");
    let unknown = store::read(&mut company.begin().await, mira.id, AgentId::generate(), None, limit(1)).await;
    assert!(matches!(unknown, Err(Error::NotFound { kind: Kind::Agent, .. })));
}

#[tokio::test]
async fn a_thread_is_read_up_to_what_was_seen() {
    let company = Company::start().await;
    let (mira, ole, noor) = (company.agent("Mira").await, company.agent("Ole").await, company.agent("Noor").await);
    let a = company.write(&ole, &mira, "a").await;
    let b = company.write(&ole, &mira, "b").await;
    let answer = company.write(&mira, &ole, "answer").await;
    let c = company.write(&ole, &mira, "c").await;
    let elsewhere = company.write(&noor, &mira, "elsewhere").await;
    let read = company.step(&a, None, MessageStatus::Read).await.unwrap();
    assert_eq!(mark(&company, &mira, &ole, &answer).await.unwrap(), 1, "b; a was read before, c is younger");
    assert_eq!(mark(&company, &mira, &ole, &answer).await.unwrap(), 0);
    let find = async |message: &Message| messages::find(&mut company.single().await, message.id, false).await.unwrap();
    assert_eq!(find(&a).await, read, "what was read keeps its time");
    assert_eq!((find(&b).await.status, find(&b).await.version), (MessageStatus::Read, 2));
    assert!(find(&b).await.read_at.is_some());
    for unread in [&c, &answer, &elsewhere] {
        assert_eq!(find(unread).await, *unread);
    }
    let foreign = mark(&company, &mira, &ole, &elsewhere).await.unwrap_err();
    assert!(matches!(foreign, Error::UnknownMessage { pointer: "/up_to", .. }), "{foreign}");
    assert_eq!(mark(&company, &mira, &ole, &c).await.unwrap(), 1);
    let told = company.audited().await;
    assert_eq!(
        told.iter().filter(|action| *action == "message.read_thread").count(),
        2,
        "nothing marked, nothing told"
    );
}

#[tokio::test]
async fn threads_are_paged() {
    let company = Company::start().await;
    let mira = company.agent("Mira").await;
    let mut others = Vec::new();
    for n in 0..5 {
        let other = company.agent(&format!("Agent {n}")).await;
        company.write(&other, &mira, "first").await;
        company.write(&mira, &other, "second").await;
        others.push(other.id);
    }
    let (mut seen, mut position) = (Vec::new(), None);
    loop {
        let page = store::list(&mut company.single().await, mira.id, position, limit(2)).await.unwrap();
        assert!(page.data.len() <= 2);
        position = after(&page, List::Threads);
        seen.extend(page.data.into_iter().map(|thread| thread.with_agent_id));
        if position.is_none() {
            break;
        }
    }
    others.reverse();
    assert_eq!(seen, others);
    let other = others[0];
    let mut whole = Vec::new();
    let mut position = None;
    loop {
        let page = store::read(&mut company.begin().await, mira.id, other, position, limit(1)).await.unwrap();
        position = after(&page, List::Thread);
        whole.extend(page.data.into_iter().map(|message| message.body));
        if position.is_none() {
            break;
        }
    }
    assert_eq!(whole, ["second", "first"]);
}
