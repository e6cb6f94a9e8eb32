use futures_util::future::join_all;
use isolation::server::{Answer, actor};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tenantry_postgres::NewKey;
use uuid::Uuid;

use crate::company::{Company, at, column, pointers, refusal};

const LIST: &str = "/v1/messages";
const BROADCASTS: &str = "/v1/messages/broadcasts";

impl Company {
    async fn message(&self, from: &Value, to: &Value, text: &str) -> Value {
        self.make(LIST, json!({ "from_agent_id": from["id"], "to_agent_id": to["id"], "body": text })).await
    }

    async fn draft(&self, from: &Value, text: &str) -> Value {
        let body = json!({
            "from_agent_id": from["id"], "type": "external_draft", "external_recipient": "ada@example.com", "body": text,
        });
        self.make(LIST, body).await
    }

    /// A step of a message: `deliver`, `read`.
    async fn send(&self, message: &Value, step: &str) -> Answer {
        Answer::to(self.server.by(&self.tenant, Method::POST, &format!("{}/{step}", at("messages", message)))).await
    }

    /// A decision on a draft as it was read.
    async fn decide(&self, draft: &Value, decision: &str) -> Answer {
        let body = json!({ "version": draft["version"] });
        self.post(&format!("{}/{decision}", at("messages", draft)), body).await
    }
}

#[tokio::test]
async fn a_new_message_has_an_address_a_version_and_defaults() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let made =
        company.post(LIST, json!({ "from_agent_id": mira["id"], "to_agent_id": noor["id"], "body": "hello" })).await;
    let message = made.json();
    assert_eq!(
        (made.status, made.header("etag"), made.header("location")),
        (201, "\"1\"", at("messages", &message).as_str())
    );
    let expected = json!({
        "id": message["id"], "from_agent_id": mira["id"], "to_agent_id": noor["id"], "subject": "", "body": "hello",
        "type": "direct", "status": "pending", "is_external_draft": false, "external_recipient": null,
        "approved_by": null, "approved_at": null, "broadcast_id": null, "version": 1,
        "created_at": message["created_at"], "read_at": null, "deleted_at": null,
    });
    assert_eq!(message, expected);
    let read = company.get(made.header("location")).await;
    assert_eq!((read.status, read.header("etag"), read.json()), (200, "\"1\"", message.clone()));
    let known =
        company.server.by(&company.tenant, Method::GET, made.header("location")).header("if-none-match", "\"1\"");
    let known = Answer::to(known).await;
    assert_eq!((known.status, known.text.as_str()), (304, ""));
    let events = company.events(&format!("message/{}", message["id"].as_str().unwrap())).await;
    let told = json!({ "from_agent_id": mira["id"], "to_agent_id": noor["id"], "type": "direct" });
    assert_eq!(events, [("message.create".to_owned(), told)], "the text itself stays out of the trail");
}

#[tokio::test]
async fn broken_members_are_pointed_to() {
    let company = Company::open().await;
    let (mira, noor, gone) = (company.agent("Mira").await, company.agent("Noor").await, company.agent("Gone").await);
    assert_eq!(company.delete(&at("agents", &gone)).await.status, 204);
    let unknown = Uuid::new_v4();
    let broken = [
        (json!({ "to_agent_id": null }), "validation_failed", "/to_agent_id"),
        (json!({ "to_agent_id": mira["id"] }), "validation_failed", "/to_agent_id"),
        (json!({ "type": "broadcast" }), "validation_failed", "/type"),
        (json!({ "type": "letter" }), "invalid_body", "/type"),
        (json!({ "type": "external_draft" }), "validation_failed", "/external_recipient"),
        (
            json!({ "type": "external_draft", "external_recipient": "Ada <ada@example.com>" }),
            "validation_failed",
            "/external_recipient",
        ),
        (json!({ "external_recipient": "ada@example.com" }), "validation_failed", "/external_recipient"),
        (json!({ "subject": "two\nlines" }), "validation_failed", "/subject"),
        (json!({ "body": "" }), "validation_failed", "/body"),
        (json!({ "body": "\u{0}" }), "validation_failed", "/body"),
        (json!({ "status": "approved" }), "invalid_body", "/status"),
        (json!({ "approved_by": "me" }), "invalid_body", "/approved_by"),
        (json!({ "from_agent_id": unknown }), "unknown_agent", "/from_agent_id"),
        (json!({ "to_agent_id": unknown }), "unknown_agent", "/to_agent_id"),
        (json!({ "from_agent_id": gone["id"] }), "unknown_agent", "/from_agent_id"),
        (json!({ "to_agent_id": gone["id"] }), "unknown_agent", "/to_agent_id"),
    ];
    for (change, code, pointer) in broken {
        let mut body = json!({ "from_agent_id": mira["id"], "to_agent_id": noor["id"], "body": "fine" });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = company.post(LIST, body).await;
        assert_eq!((answer.verdict(), pointers(&answer)), (refusal(422, code), vec![pointer.to_owned()]), "{change}");
    }
    let broadcast = company.post(BROADCASTS, json!({ "from_agent_id": unknown, "body": "x" })).await;
    assert_eq!(
        (broadcast.verdict(), pointers(&broadcast)),
        (refusal(422, "unknown_agent"), vec!["/from_agent_id".to_owned()])
    );
    let long = company.post(BROADCASTS, json!({ "from_agent_id": mira["id"], "body": "x".repeat(20_000) })).await;
    assert_eq!((long.verdict(), pointers(&long)), (refusal(422, "validation_failed"), vec!["/body".to_owned()]));
    assert!(company.walk(LIST, 50).await.is_empty());
}

#[tokio::test]
async fn a_broadcast_reaches_all_others_and_is_listed_as_one() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    let (noor, ole) = (company.agent("Noor").await, company.agent("Ole").await);
    let sent =
        company.post(BROADCASTS, json!({ "from_agent_id": mira["id"], "subject": "Gate 3", "body": "closed" })).await;
    let broadcast = sent.json();
    assert_eq!((sent.status, &broadcast["recipients"]), (201, &json!(2)));
    let rows = company.walk(sent.header("location"), 1).await;
    let mut got = column(&rows, "to_agent_id");
    got.sort();
    let mut expected = column(&[noor.clone(), ole], "id");
    expected.sort();
    assert_eq!(got, expected);
    assert!(rows.iter().all(|row| row["type"] == "broadcast" && row["subject"] == "Gate 3"));
    let own = rows.iter().find(|row| row["to_agent_id"] == noor["id"]).unwrap();
    assert_eq!(company.send(own, "read").await.status, 200);
    let unread = company.walk(&format!("{}&unread=true", sent.header("location")), 5).await;
    assert_eq!(unread.len(), 1, "each reads for itself");
}

#[tokio::test]
async fn a_message_is_delivered_and_read_once() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let message = company.message(&mira, &noor, "hello").await;
    let delivered = company.send(&message, "deliver").await;
    assert_eq!(
        (delivered.status, delivered.header("etag"), &delivered.json()["status"]),
        (200, "\"2\"", &json!("delivered"))
    );
    assert_eq!(company.send(&message, "deliver").await.json(), delivered.json(), "again changes nothing");
    let read = company.send(&message, "read").await.json();
    assert_eq!((&read["status"], &read["version"]), (&json!("read"), &json!(3)));
    assert!(read["read_at"].is_string());
    assert_eq!(company.send(&message, "read").await.json(), read, "the first reading counts");
    let back = company.send(&message, "deliver").await;
    assert_eq!((back.verdict(), &back.json()["allowed"]), (refusal(409, "illegal_transition"), &json!([])));
    let at_once = company.send(&company.message(&mira, &noor, "x").await, "read").await;
    assert_eq!(at_once.json()["status"], "read");
    let draft = company.draft(&mira, "dear Ada").await;
    for step in ["deliver", "read"] {
        let refused = company.send(&draft, step).await;
        assert_eq!(refused.verdict(), refusal(409, "illegal_transition"));
        assert_eq!(refused.json()["allowed"], json!(["approved", "rejected"]));
    }
    for decision in ["approve", "reject"] {
        assert_eq!(company.decide(&read, decision).await.verdict(), refusal(409, "not_a_draft"));
    }
    let path = at("messages", &read);
    let edit = company.patch(&path, json!({ "version": 3, "body": "never said" })).await;
    assert_eq!(edit.verdict(), refusal(409, "message_sealed"));
    assert_eq!(company.get(&path).await.json(), read);
}

#[tokio::test]
async fn a_draft_is_edited_then_approved_as_it_was_read() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    let draft = company.draft(&mira, "dear Ada").await;
    let path = at("messages", &draft);
    assert_eq!((&draft["is_external_draft"], &draft["to_agent_id"]), (&json!(true), &mira["id"]));
    assert_eq!(company.patch(&path, json!({ "body": "x" })).await.verdict(), refusal(428, "version_required"));
    assert_eq!(company.post(&format!("{path}/approve"), json!({})).await.verdict(), refusal(428, "version_required"));
    for (change, code, pointer) in [
        (json!({ "body": null }), "validation_failed", "/body"),
        (json!({ "body": "" }), "validation_failed", "/body"),
        (json!({ "external_recipient": null }), "validation_failed", "/external_recipient"),
        (json!({ "external_recipient": "ada" }), "validation_failed", "/external_recipient"),
        (json!({ "to_agent_id": mira["id"] }), "invalid_body", "/to_agent_id"),
        (json!({ "status": "approved" }), "invalid_body", "/status"),
    ] {
        let answer = company.patch_if(&path, "\"1\"", change.clone()).await;
        assert_eq!((answer.verdict(), pointers(&answer)), (refusal(422, code), vec![pointer.to_owned()]), "{change}");
    }
    let change =
        json!({ "version": 1, "subject": "Tents", "body": "Dear Ada", "external_recipient": "ada@mail.example" });
    let edited = company.patch(&path, change).await;
    assert_eq!((edited.status, edited.header("etag")), (200, "\"2\""));
    let edited = edited.json();
    // the text has changed since the approver read it
    let unseen = company.decide(&draft, "approve").await;
    assert_eq!((unseen.verdict(), &unseen.json()["current"]), (refusal(409, "version_conflict"), &edited));
    let unseen = company.decide(&draft, "reject").await;
    assert_eq!(unseen.verdict(), refusal(409, "version_conflict"));
    let approve = company.server.by(&company.tenant, Method::POST, &format!("{path}/approve"));
    let approved = Answer::to(approve.header("if-match", "\"2\"").json(&json!({}))).await;
    assert_eq!((approved.status, approved.header("etag")), (200, "\"3\""), "{}", approved.text);
    let approved = approved.json();
    assert_eq!((&approved["status"], &approved["body"]), (&json!("approved"), &json!("Dear Ada")));
    assert_eq!(approved["approved_by"], format!("key:{}", company.tenant.key_id));
    assert!(approved["approved_at"].is_string());
    for decision in ["approve", "reject"] {
        let again = company.decide(&approved, decision).await;
        assert_eq!((again.verdict(), &again.json()["current"]), (refusal(409, "draft_decided"), &approved));
    }
    for change in
        [json!({ "body": "x" }), json!({ "external_recipient": "eve@example.com" }), json!({ "subject": null })]
    {
        let sealed = company.patch_if(&path, "\"3\"", change).await;
        assert_eq!(sealed.verdict(), refusal(409, "message_sealed"));
    }
    assert_eq!(company.get(&path).await.json(), approved);
    let rejected = company.draft(&mira, "no").await;
    let rejected = company.post(&format!("{}/reject", at("messages", &rejected)), json!({})).await.json();
    let undecided = (&rejected["approved_by"], &rejected["approved_at"]);
    assert_eq!((&rejected["status"], undecided), (&json!("rejected"), (&Value::Null, &Value::Null)));
    let events = company.events(&format!("message/{}", draft["id"].as_str().unwrap())).await;
    let actions: Vec<&str> = events.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["message.create", "message.update", "message.approve"]);
}

#[tokio::test]
async fn of_parallel_decisions_one_is_made() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    for _ in 0..3 {
        let draft = company.draft(&mira, "dear Ada").await;
        let decisions = ["approve", "reject"].into_iter().cycle().take(8);
        let answers = join_all(decisions.map(|decision| company.decide(&draft, decision))).await;
        let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(made.len(), 1);
        assert_eq!(answers.iter().filter(|answer| answer.verdict() == refusal(409, "draft_decided")).count(), 7);
        assert_eq!(company.get(&at("messages", &draft)).await.json(), made[0].json());
    }
}

#[tokio::test]
async fn a_repeated_decision_with_its_key_is_the_same_decision() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    let draft = company.draft(&mira, "dear Ada").await;
    let approve = |version: i64| {
        let path = format!("{}/approve", at("messages", &draft));
        let request = company.server.by(&company.tenant, Method::POST, &path).header("idempotency-key", "one");
        Answer::to(request.json(&json!({ "version": version })))
    };
    let first = approve(1).await;
    let second = approve(1).await;
    assert_eq!((first.status, second.status, first.json()), (200, 200, second.json()));
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert_eq!(approve(2).await.verdict(), refusal(422, "idempotency_key_reused"));
    let send = || {
        let body = json!({ "from_agent_id": mira["id"], "body": "all" });
        Answer::to(
            company.server.by(&company.tenant, Method::POST, BROADCASTS).header("idempotency-key", "b").json(&body),
        )
    };
    company.agent("Noor").await;
    let sent = join_all((0..4).map(|_| send())).await;
    assert!(sent.iter().all(|answer| answer.status == 201 && answer.json() == sent[0].json()));
    assert_eq!(company.walk("/v1/messages?type=broadcast", 50).await.len(), 1, "one broadcast to one agent");
}

#[tokio::test]
async fn only_who_may_approves() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    let draft = company.draft(&mira, "dear Ada").await;
    let key = async |scopes: &[&str]| {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let created = company
            .server
            .state
            .provisioner
            .create_key("acme", &NewKey::named("limited").scoped(&scopes), &actor())
            .await;
        created.unwrap().token.expose_secret().to_owned()
    };
    let writer = key(&["messages:read", "messages:write"]).await;
    let approver = key(&["messages:approve"]).await;
    let by = |key: &str, method: Method, path: &str| company.server.request(method, path).header("x-api-key", key);
    for decision in ["approve", "reject"] {
        let path = format!("{}/{decision}", at("messages", &draft));
        let refused = Answer::to(by(&writer, Method::POST, &path).json(&json!({ "version": 1 }))).await;
        assert_eq!(refused.verdict(), refusal(403, "permission_denied"));
        assert_eq!(refused.json()["permission"], "messages:approve");
    }
    let body = json!({ "from_agent_id": mira["id"], "to_agent_id": mira["id"], "type": "system", "body": "x" });
    let refused = Answer::to(by(&approver, Method::POST, LIST).json(&body)).await;
    assert_eq!(refused.verdict(), refusal(403, "permission_denied"), "who approves does not write");
    assert_eq!(Answer::to(by(&writer, Method::POST, LIST).json(&body)).await.status, 201);
    let path = format!("{}/approve", at("messages", &draft));
    let approved = Answer::to(by(&approver, Method::POST, &path).json(&json!({ "version": 1 }))).await;
    assert_eq!(approved.status, 200, "{}", approved.text);
    assert!(approved.json()["approved_by"].as_str().unwrap().starts_with("key:"));
    assert_ne!(approved.json()["approved_by"], format!("key:{}", company.tenant.key_id));
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let company = Company::open().await;
    let (mira, noor, ole) = (company.agent("Mira").await, company.agent("Noor").await, company.agent("Ole").await);
    let a = company.message(&mira, &noor, "a").await;
    let b = company.message(&noor, &mira, "b").await;
    company.message(&mira, &ole, "c").await;
    let d = company.draft(&ole, "d").await;
    assert_eq!(company.send(&a, "read").await.status, 200);
    assert_eq!(company.delete(&at("messages", &d)).await.status, 204);
    let id = |agent: &Value| agent["id"].as_str().unwrap().to_owned();
    let (mira, noor, ole) = (id(&mira), id(&noor), id(&ole));
    let since = b["created_at"].as_str().unwrap();
    let filtered = [
        (String::new(), vec!["c", "b", "a"]),
        (format!("agent_id={mira}"), vec!["c", "b", "a"]),
        (format!("agent_id={noor}"), vec!["b", "a"]),
        (format!("agent_id={mira}&with_agent_id={noor}"), vec!["b", "a"]),
        (format!("from_agent_id={mira}&to_agent_id={ole}"), vec!["c"]),
        ("type=external_draft&include_deleted=true".to_owned(), vec!["d"]),
        ("type=external_draft".to_owned(), vec![]),
        ("type=external_draft,direct&include_deleted=true".to_owned(), vec!["d", "c", "b", "a"]),
        ("status=read,delivered".to_owned(), vec!["a"]),
        ("sort=created_at".to_owned(), vec!["a", "b", "c"]),
        (format!("sort=created_at&agent_id={noor}"), vec!["a", "b"]),
        (format!("sort=created_at&agent_id={noor}&with_agent_id={mira}"), vec!["a", "b"]),
        ("status=read".to_owned(), vec!["a"]),
        ("unread=true".to_owned(), vec!["c", "b"]),
        ("unread=false".to_owned(), vec!["a"]),
        (format!("since={since}"), vec!["c", "b"]),
        (format!("until={since}"), vec!["a"]),
        (format!("broadcast_id={}", Uuid::new_v4()), vec![]),
    ];
    for (query, expected) in filtered {
        for limit in [1, 50] {
            assert_eq!(column(&company.walk(&format!("{LIST}?{query}"), limit).await, "body"), expected, "{query}");
        }
    }
    for (query, parameter) in [
        ("type=letter", "type"),
        ("type=direct,", "type"),
        ("sort=subject", "sort"),
        ("fields=id,text", "fields"),
        ("status=sent", "status"),
        ("unread=maybe", "unread"),
        ("since=yesterday", "since"),
        ("since=1960-01-01T00:00:00Z", "since"),
        ("agent_id=x", "agent_id"),
        ("with_agent_id=00000000-0000-0000-0000-000000000000", "with_agent_id"),
        ("broadcast_id=x", "broadcast_id"),
        ("limit=0", "limit"),
        ("subject=a", "subject"),
    ] {
        let answer = company.get(&format!("{LIST}?{query}")).await;
        assert_eq!(answer.verdict(), refusal(400, "invalid_query"), "{query}");
        assert_eq!(answer.json()["errors"][0]["parameter"], parameter, "{query}");
    }
    let short = company.walk(&format!("{LIST}?fields=body,type"), 1).await;
    assert_eq!(short[0], json!({ "body": "c", "type": "direct" }));
    let first = company.get(&format!("{LIST}?limit=1")).await.json()["next_cursor"].as_str().unwrap().to_owned();
    let other_order = company.get(&format!("{LIST}?sort=created_at&cursor={first}")).await;
    assert_eq!(other_order.verdict(), refusal(400, "invalid_cursor"));
    let of_agents = company.get("/v1/agents?limit=1").await.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(company.get(&format!("{LIST}?cursor={of_agents}")).await.verdict(), refusal(400, "invalid_cursor"));
}

#[tokio::test]
async fn a_deleted_message_is_gone_but_shown_to_whoever_asks() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let message = company.message(&mira, &noor, "hello").await;
    let path = at("messages", &message);
    let stale = company.delete(&format!("{path}?version=2")).await;
    assert_eq!((stale.verdict(), &stale.json()["current"]), (refusal(409, "version_conflict"), &message));
    assert_eq!(company.delete_if(&path, "\"1\"").await.status, 204);
    for answer in [company.get(&path).await, company.delete(&path).await, company.send(&message, "read").await] {
        assert_eq!(answer.verdict(), refusal(404, "message_not_found"));
    }
    assert!(company.get(&format!("{path}?include_deleted=true")).await.json()["deleted_at"].is_string());
}

#[tokio::test]
async fn threads_show_the_newest_message_and_what_is_not_read() {
    let company = Company::open().await;
    let (mira, noor, ole) = (company.agent("Mira").await, company.agent("Noor").await, company.agent("Ole").await);
    let a = company.message(&noor, &mira, "a").await;
    company.message(&noor, &mira, "b").await;
    let answer = company.message(&mira, &noor, "answer").await;
    let c = company.message(&noor, &mira, "c").await;
    company.message(&ole, &mira, "d").await;
    company.draft(&mira, "outside").await;
    let id = |agent: &Value| agent["id"].as_str().unwrap().to_owned();
    let threads = async || {
        let rows = company.walk(&format!("{LIST}/threads?agent_id={}", id(&mira)), 1).await;
        let said =
            |row: &Value| (row["with_agent_id"].clone(), row["last_message"]["body"].clone(), row["unread"].clone());
        rows.iter().map(said).collect::<Vec<_>>()
    };
    let said = |with: &Value, last: &str, unread: i64| (with["id"].clone(), json!(last), json!(unread));
    assert_eq!(threads().await, [said(&ole, "d", 1), said(&noor, "c", 3)]);
    let path = format!("{LIST}/threads/{}/{}", id(&mira), id(&noor));
    assert_eq!(column(&company.walk(&path, 3).await, "body"), ["c", "answer", "b", "a"]);
    let other_side = format!("{LIST}/threads/{}/{}", id(&noor), id(&mira));
    assert_eq!(company.walk(&other_side, 50).await, company.walk(&path, 50).await);
    let marked = company.post(&format!("{path}/read"), json!({ "up_to": answer["id"] })).await;
    assert_eq!((marked.status, marked.json()), (200, json!({ "read": 2 })), "{}", marked.text);
    assert_eq!(threads().await, [said(&ole, "d", 1), said(&noor, "c", 1)], "what came later stays unread");
    assert_eq!(company.get(&at("messages", &a)).await.json()["status"], "read");
    assert_eq!(
        company.get(&at("messages", &answer)).await.json()["status"],
        "pending",
        "that is for the other to read"
    );
    let mark = format!("{path}/read");
    let marks = join_all((0..4).map(|_| company.post(&mark, json!({ "up_to": c["id"] })))).await;
    let read: i64 = marks.iter().map(|mark| mark.json()["read"].as_i64().unwrap()).sum();
    assert_eq!(read, 1, "marked once, however many mark it");
    let unknown = Uuid::new_v4();
    let of_another = company.post(&format!("{path}/read"), json!({ "up_to": unknown })).await;
    assert_eq!(
        (of_another.verdict(), pointers(&of_another)),
        (refusal(422, "unknown_message"), vec!["/up_to".to_owned()])
    );
    for path in [format!("{LIST}/threads/{unknown}/{}", id(&noor)), format!("{LIST}/threads/{}/{unknown}", id(&noor))] {
        assert_eq!(company.get(&path).await.verdict(), refusal(404, "agent_not_found"));
        let read = company.post(&format!("{path}/read"), json!({ "up_to": a["id"] })).await;
        assert_eq!(read.verdict(), refusal(404, "agent_not_found"));
    }
    let nobodys = company.get(&format!("{LIST}/threads")).await;
    assert_eq!(nobodys.verdict(), refusal(400, "invalid_query"));
    assert_eq!(company.get(&format!("{LIST}/threads/x/{}", id(&noor))).await.verdict(), refusal(400, "invalid_path"));
}

#[tokio::test]
async fn what_happens_to_messages_is_published() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let message = company.message(&mira, &noor, "hello").await;
    company.send(&message, "read").await;
    company.decide(&company.draft(&mira, "x").await, "reject").await;
    company.delete(&at("messages", &message)).await;
    company.post(BROADCASTS, json!({ "from_agent_id": mira["id"], "body": "all" })).await;
    let sql =
        format!("SELECT kind, data FROM {}.events WHERE kind LIKE 'message.%' ORDER BY id", company.tenant.schema);
    let rows = company.server.database.admin().await.query(&sql, &[]).await.unwrap();
    let told: Vec<(String, Value)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    let expected = [
        "message.created",
        "message.updated",
        "message.created",
        "message.updated",
        "message.deleted",
        "message.broadcast",
    ];
    assert_eq!(kinds, expected);
    assert_eq!((&told[0].1, &told[1].1["status"]), (&message, &json!("read")));
}
