use serde_json::{Value, json};
use workforce::message::{Broadcast, Message, MessageFilter, MessageOrder, MessageType};
use workforce::store::messages as store;
use workforce::{Error, Kind, MessageId, MessageStatus};

use crate::{Company, after, body, limit};

impl Company {
    pub(crate) async fn try_message(&self, new: Value) -> Result<Message, Error> {
        let mut tx = self.begin().await;
        let message = store::create(&mut tx, &body(new)).await?;
        tx.commit().await?;
        Ok(message)
    }

    pub(crate) async fn write(
        &self,
        from: &workforce::agent::Agent,
        to: &workforce::agent::Agent,
        text: &str,
    ) -> Message {
        self.try_message(json!({ "from_agent_id": from.id, "to_agent_id": to.id, "body": text })).await.unwrap()
    }

    pub(crate) async fn draft(&self, from: &workforce::agent::Agent, text: &str) -> Message {
        let new = json!({
            "from_agent_id": from.id, "type": "external_draft", "external_recipient": "ada@example.com", "body": text,
        });
        self.try_message(new).await.unwrap()
    }

    pub(crate) async fn broadcast(&self, from: &workforce::agent::Agent, text: &str) -> Result<Broadcast, Error> {
        let mut tx = self.begin().await;
        let sent = store::broadcast(&mut tx, &body(json!({ "from_agent_id": from.id, "body": text }))).await?;
        tx.commit().await?;
        Ok(sent)
    }

    async fn edit(&self, draft: &Message, change: Value) -> Result<Message, Error> {
        let mut tx = self.begin().await;
        let after = store::update(&mut tx, draft.id, draft.version, &body(change)).await?;
        tx.commit().await?;
        Ok(after)
    }

    pub(crate) async fn step(
        &self,
        message: &Message,
        expected: Option<i64>,
        next: MessageStatus,
    ) -> Result<Message, Error> {
        let mut tx = self.begin().await;
        let after = store::step(&mut tx, message.id, expected, next).await?;
        tx.commit().await?;
        Ok(after)
    }

    async fn remove(&self, message: &Message, expected: Option<i64>) -> Result<(), Error> {
        let mut tx = self.begin().await;
        store::delete(&mut tx, message.id, expected).await?;
        Ok(tx.commit().await?)
    }
}

async fn bodies(company: &Company, filter: &MessageFilter) -> String {
    let page = store::list(&mut company.single().await, filter, MessageOrder::Newest, None, limit(200)).await.unwrap();
    page.data.into_iter().map(|message| message.body).collect::<Vec<_>>().join(" ")
}

async fn find(company: &Company, message: &Message, deleted: bool) -> Result<Message, Error> {
    store::find(&mut company.single().await, message.id, deleted).await
}

#[tokio::test]
async fn what_is_written_is_found() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let sent = company.write(&mira, &ole, "hello").await;
    assert_eq!((sent.kind, sent.status, sent.version), (MessageType::Direct, MessageStatus::Pending, 1));
    assert_eq!((sent.from_agent_id, sent.to_agent_id, sent.is_external_draft), (mira.id, ole.id, false));
    assert_eq!(find(&company, &sent, false).await.unwrap(), sent);
    let draft = company.draft(&mira, "dear Ada").await;
    assert_eq!((draft.kind, draft.to_agent_id, draft.is_external_draft), (MessageType::ExternalDraft, mira.id, true));
    assert_eq!(draft.external_recipient.as_deref(), Some("ada@example.com"));
    let unknown = store::find(&mut company.single().await, MessageId::generate(), true).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { kind: Kind::Message, .. }));
}

#[tokio::test]
async fn only_live_agents_write_and_get() {
    let company = Company::start().await;
    let (mira, gone) = (company.agent("Mira").await, company.agent("Gone").await);
    company.delete_agent(&gone, None).await.unwrap();
    for (from, to, member) in [(gone.id, mira.id, "/from_agent_id"), (mira.id, gone.id, "/to_agent_id")] {
        let new = json!({ "from_agent_id": from, "to_agent_id": to, "body": "x" });
        let error = company.try_message(new).await.unwrap_err();
        assert!(matches!(error, Error::UnknownAgent { pointer, .. } if pointer == member), "{error}");
    }
    let error = company.broadcast(&gone, "x").await.unwrap_err();
    assert!(matches!(error, Error::UnknownAgent { pointer: "/from_agent_id", .. }), "{error}");
    assert_eq!(bodies(&company, &MessageFilter::default()).await, "");
}

#[tokio::test]
async fn a_broadcast_is_a_message_for_each_other_live_agent() {
    let company = Company::start().await;
    let (mira, ole, gone) = (company.agent("Mira").await, company.agent("Ole").await, company.agent("Gone").await);
    let noor = company.agent("Noor").await;
    company.delete_agent(&gone, None).await.unwrap();
    let sent = company.broadcast(&mira, "all").await.unwrap();
    assert_eq!(sent.recipients, 2);
    company.broadcast(&ole, "other").await.unwrap();
    let of = MessageFilter { broadcast_id: Some(sent.broadcast_id), ..MessageFilter::default() };
    let page = store::list(&mut company.single().await, &of, MessageOrder::Newest, None, limit(200)).await.unwrap();
    let mut got: Vec<_> = page.data.iter().map(|message| message.to_agent_id).collect();
    got.sort();
    let mut expected = [ole.id, noor.id];
    expected.sort();
    assert_eq!(got, expected);
    // each is read for itself
    company.step(&page.data[0], None, MessageStatus::Read).await.unwrap();
    let unread = MessageFilter { unread: Some(true), ..of };
    let left = store::list(&mut company.single().await, &unread, MessageOrder::Newest, None, limit(200)).await.unwrap();
    assert_eq!(left.data, page.data[1..]);
}

#[tokio::test]
async fn the_machines_of_messages_and_drafts_hold_in_the_store() {
    use MessageStatus::{Approved, Delivered, Pending, Read, Rejected};
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    for draft in [false, true] {
        for from in MessageStatus::ALL {
            for next in [Delivered, Read, Approved, Rejected] {
                let new = if draft { company.draft(&mira, "d").await } else { company.write(&mira, &ole, "m").await };
                let way: &[MessageStatus] = if *from == Pending { &[] } else { std::slice::from_ref(from) };
                if !way.iter().all(|step| new.allowed_next().contains(step)) {
                    continue;
                }
                let mut before = new;
                for step in way {
                    before = company.step(&before, None, *step).await.unwrap();
                }
                let result = company.step(&before, None, next).await;
                if from.successors(draft).contains(&next) {
                    let after = result.unwrap();
                    assert_eq!((after.status, after.version), (next, before.version + 1), "{from} to {next}");
                    assert_eq!(after.read_at.is_some(), next == Read);
                    assert_eq!(after.approved_at.is_some(), next == Approved);
                    assert_eq!(after.approved_by.as_deref(), (next == Approved).then_some("system"));
                } else if *from == next && !next.is_decision() {
                    assert_eq!(result.unwrap(), before, "a repeated step changes nothing");
                } else {
                    let refused = match result.unwrap_err() {
                        Error::NotADraft { .. } => !draft && next.is_decision(),
                        Error::DraftDecided { status, .. } => draft && next.is_decision() && status == *from,
                        Error::IllegalMessageStep { from: was, to, .. } => was == *from && to == next,
                        other => panic!("{other}"),
                    };
                    assert!(refused, "{from} to {next}");
                    assert_eq!(find(&company, &before, false).await.unwrap(), before);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_draft_is_edited_until_it_is_decided_on() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let first = company.draft(&mira, "dear Ada").await;
    let second = company
        .edit(&first, json!({ "subject": "Tents", "body": "Dear Ada", "external_recipient": "ada@mail.example" }))
        .await
        .unwrap();
    assert_eq!((second.version, second.body.as_str(), second.subject.as_str()), (2, "Dear Ada", "Tents"));
    let cleared = company.edit(&second, json!({ "subject": null })).await.unwrap();
    assert_eq!((cleared.subject.as_str(), cleared.body.as_str()), ("", "Dear Ada"));
    let late = company.edit(&first, json!({ "body": "late" })).await.unwrap_err();
    let Error::VersionConflict { kind: Kind::Message, expected: 1, actual: 3, current } = late else {
        panic!("{late}")
    };
    assert_eq!(current["body"], "Dear Ada");
    // whoever approves names what was read
    let unseen = company.step(&second, Some(2), MessageStatus::Approved).await.unwrap_err();
    assert!(matches!(unseen, Error::VersionConflict { .. }), "{unseen}");
    let approved = company.step(&cleared, Some(3), MessageStatus::Approved).await.unwrap();
    for change in [json!({ "body": "x" }), json!({ "external_recipient": "eve@example.com" }), json!({})] {
        let sealed = company.edit(&approved, change).await.unwrap_err();
        assert!(matches!(sealed, Error::MessageSealed { status: MessageStatus::Approved, draft: true }), "{sealed}");
    }
    let direct = company.write(&mira, &ole, "said").await;
    let sealed = company.edit(&direct, json!({ "body": "unsaid" })).await.unwrap_err();
    assert!(matches!(sealed, Error::MessageSealed { draft: false, .. }), "{sealed}");
    assert_eq!(find(&company, &approved, false).await.unwrap(), approved);
    let told = company.audited().await;
    assert!(told.contains(&"message.approve".to_owned()) && told.contains(&"message.update".to_owned()));
}

/// An edit and an approval of the same version at the same time: one is made, and what is approved is what was read.
#[tokio::test]
async fn nobody_approves_what_is_being_changed() {
    let company = Company::start().await;
    let mira = company.agent("Mira").await;
    for _ in 0..10 {
        let draft = company.draft(&mira, "read").await;
        let (edited, approved) = tokio::join!(
            company.edit(&draft, json!({ "body": "unread" })),
            company.step(&draft, Some(1), MessageStatus::Approved),
        );
        assert_eq!(usize::from(edited.is_ok()) + usize::from(approved.is_ok()), 1, "{edited:?} {approved:?}");
        let now = find(&company, &draft, false).await.unwrap();
        assert_eq!(now.status == MessageStatus::Approved, now.body == "read", "{now:?}");
    }
}

#[tokio::test]
async fn a_deleted_message_is_gone_unless_asked_for() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    let (message, draft) = (company.write(&mira, &ole, "gone").await, company.draft(&mira, "draft").await);
    let old = company.remove(&message, Some(7)).await.unwrap_err();
    assert!(matches!(old, Error::VersionConflict { kind: Kind::Message, actual: 1, .. }), "{old}");
    company.remove(&message, Some(1)).await.unwrap();
    company.remove(&draft, None).await.unwrap();
    let gone = find(&company, &message, true).await.unwrap();
    assert!(gone.deleted_at.is_some() && gone.version == 2);
    for late in [
        find(&company, &message, false).await.map(|_| ()),
        company.remove(&message, None).await,
        company.step(&message, None, MessageStatus::Read).await.map(|_| ()),
        company.step(&draft, Some(2), MessageStatus::Approved).await.map(|_| ()),
        company.edit(&draft, json!({})).await.map(|_| ()),
    ] {
        assert!(matches!(late, Err(Error::NotFound { kind: Kind::Message, .. })), "{late:?}");
    }
    assert_eq!(bodies(&company, &MessageFilter::default()).await, "");
    let all = MessageFilter { include_deleted: true, ..MessageFilter::default() };
    assert_eq!(bodies(&company, &all).await, "draft gone");
}

#[tokio::test]
async fn lists_are_filtered() {
    let company = Company::start().await;
    let (mira, ole, noor) = (company.agent("Mira").await, company.agent("Ole").await, company.agent("Noor").await);
    let a = company.write(&mira, &ole, "a").await;
    let b = company.write(&ole, &mira, "b").await;
    company.write(&mira, &noor, "c").await;
    company.draft(&ole, "d").await;
    let note = json!({ "from_agent_id": noor.id, "to_agent_id": noor.id, "type": "system", "body": "e" });
    company.try_message(note).await.unwrap();
    company.step(&a, None, MessageStatus::Read).await.unwrap();
    company.step(&b, None, MessageStatus::Delivered).await.unwrap();
    let any = MessageFilter::default;
    let cases = [
        (any(), "e d c b a"),
        (MessageFilter { agent_id: Some(mira.id), ..any() }, "c b a"),
        (MessageFilter { agent_id: Some(noor.id), ..any() }, "e c"),
        (MessageFilter { agent_id: Some(mira.id), with_agent_id: Some(ole.id), ..any() }, "b a"),
        (MessageFilter { agent_id: Some(ole.id), with_agent_id: Some(mira.id), ..any() }, "b a"),
        (MessageFilter { agent_id: Some(mira.id), from_agent_id: Some(mira.id), ..any() }, "c a"),
        (MessageFilter { to_agent_id: Some(mira.id), ..any() }, "b"),
        (MessageFilter { types: vec![MessageType::System], ..any() }, "e"),
        (MessageFilter { types: vec![MessageType::System, MessageType::ExternalDraft], ..any() }, "e d"),
        (MessageFilter { statuses: vec![MessageStatus::Delivered, MessageStatus::Read], ..any() }, "b a"),
        (MessageFilter { unread: Some(true), ..any() }, "e c b"),
        (MessageFilter { unread: Some(false), ..any() }, "a"),
        (MessageFilter { since: Some(b.created_at), until: None, ..any() }, "e d c b"),
        (MessageFilter { until: Some(b.created_at), ..any() }, "a"),
    ];
    for (filter, expected) in cases {
        assert_eq!(bodies(&company, &filter).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_while_messages_come_in() {
    let company = Company::start().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    for n in 0..5 {
        company.write(&mira, &ole, &format!("m{n}")).await;
    }
    for filter in [
        MessageFilter::default(),
        MessageFilter { agent_id: Some(ole.id), ..MessageFilter::default() },
        MessageFilter { agent_id: Some(ole.id), with_agent_id: Some(mira.id), ..MessageFilter::default() },
    ] {
        let order = MessageOrder::Newest;
        let before = bodies(&company, &filter).await;
        let (mut seen, mut position) = (Vec::new(), None);
        loop {
            let mut tx = company.single().await;
            let page = store::list(&mut tx, &filter, order, position.as_ref(), limit(2)).await.unwrap();
            position = after(&page, order);
            seen.extend(page.data.into_iter().map(|message| message.body));
            if position.is_none() {
                break;
            }
            company.write(&mira, &ole, "late").await;
        }
        assert_eq!(seen.join(" "), before);
    }
}
