//! `GET /v1/events`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use isolation::backends::eventually;
use isolation::server::{Answer, Tenant, TestServer, actor};
use isolation::stream::{Frame, Stream};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tenantry::Settings;
use tenantry_postgres::NewKey;

use crate::company::refusal;

/// Two servers on one database, with a company.
async fn two(change: impl Fn(&mut Settings)) -> ([TestServer; 2], Tenant) {
    let first = TestServer::with(&change).await;
    let second = TestServer::on(first.database.clone(), &change).await;
    let tenant = first.tenant("acme").await;
    ([first, second], tenant)
}

fn events(server: &TestServer, tenant: &Tenant, query: &str) -> RequestBuilder {
    server.by(tenant, Method::GET, &format!("/v1/events{query}"))
}

async fn post(server: &TestServer, tenant: &Tenant, path: &str, body: Value) -> Value {
    let made = Answer::to(server.by(tenant, Method::POST, path).json(&body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}

async fn agent(server: &TestServer, tenant: &Tenant, name: &str) -> Value {
    post(server, tenant, "/v1/agents", json!({ "name": name, "role": "support" })).await
}

fn kinds(frames: &[Frame]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame.event.as_deref()).collect()
}

#[tokio::test]
async fn changes_arrive_with_their_records_on_either_server() {
    let ([first, second], acme) = two(|_| {}).await;
    let mut streams = [Stream::open(events(&first, &acme, "")).await, Stream::open(events(&second, &acme, "")).await];
    let began = Instant::now();
    let made = agent(&first, &acme, "Mira").await;
    for (server, stream) in ["its own", "the other"].into_iter().zip(&mut streams) {
        let frame = stream.event().await.unwrap();
        let event = frame.json();
        assert_eq!(frame.event.as_deref(), Some("agent.created"));
        assert_eq!((event["id"].as_i64(), &event["type"]), (frame.id, &json!("agent.created")));
        assert_eq!(event["data"], made, "the record as it is answered");
        assert!(event["created_at"].as_str().unwrap().ends_with('Z'), "{event}");
        // well below the time after which it would be found without being told
        assert!(began.elapsed() < Duration::from_secs(3), "{server}: {:?}", began.elapsed());
    }
    let path = format!("/v1/agents/{}", made["id"].as_str().unwrap());
    let change = second.by(&acme, Method::PATCH, &path).header("if-match", "\"1\"").json(&json!({ "role": "sales" }));
    assert_eq!(Answer::to(change).await.status, 200);
    assert_eq!(Answer::to(second.by(&acme, Method::DELETE, &path)).await.status, 204);
    for stream in &mut streams {
        assert_eq!(stream.event().await.unwrap().json()["data"]["role"], "sales");
        let gone = stream.event().await.unwrap();
        assert_eq!(gone.event.as_deref(), Some("agent.deleted"));
        assert_eq!(gone.json()["data"], json!({ "id": made["id"], "version": 3 }));
    }
    // what was refused is told to nobody
    let refused = Answer::to(first.by(&acme, Method::POST, "/v1/agents").json(&json!({ "name": "" }))).await;
    assert_eq!(refused.status, 422);
    assert_eq!(streams[0].within(Duration::from_millis(200)).await, []);
}

#[tokio::test]
async fn without_announcements_the_slow_look_finds_them() {
    let ([first, second], acme) = two(|settings| {
        settings.events.announce = false;
        settings.events.poll = Duration::from_millis(300);
    })
    .await;
    let mut stream = Stream::open(events(&second, &acme, "")).await;
    agent(&first, &acme, "Mira").await;
    stream.until("agent.created").await;
}

/// The negative control: it is the announcement that makes it fast.
#[tokio::test]
async fn without_announcements_the_other_server_does_not_know() {
    let ([first, second], acme) = two(|settings| settings.events.announce = false).await;
    let mut stream = Stream::open(events(&second, &acme, "")).await;
    agent(&first, &acme, "Mira").await;
    assert_eq!(stream.within(Duration::from_secs(1)).await, []);
}

/// A client that loses its connection all the time, on whichever server, while several write: it gets everything once, in order.
#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    const WRITERS: usize = 4;
    const EACH: usize = 15;
    let (servers, acme) = two(|_| {}).await;
    let write = async |writer: usize| {
        for number in 0..EACH {
            agent(&servers[(writer + number) % 2], &acme, &format!("{writer}-{number}")).await;
        }
    };
    let read = async {
        let mut last: Option<i64> = None;
        let mut names = Vec::new();
        for connection in 0.. {
            let mut request = events(&servers[connection % 2], &acme, "?after=0");
            if let Some(last) = last {
                request = request.header("last-event-id", last.to_string());
            }
            let mut stream = Stream::open(request).await;
            for _ in 0..=connection % 7 {
                let frame = stream.event().await.unwrap();
                assert!(frame.id > last, "ids rise: {last:?}, {frame:?}");
                last = frame.id;
                names.push(frame.json()["data"]["name"].as_str().unwrap().to_owned());
                if names.len() == WRITERS * EACH {
                    return names;
                }
            }
        }
        names
    };
    let ((), (), (), (), names) = tokio::join!(write(0), write(1), write(2), write(3), read);
    let different: BTreeSet<&String> = names.iter().collect();
    assert_eq!(different.len(), WRITERS * EACH, "{names:?}");
    let rest = Stream::open(events(&servers[0], &acme, "?after=0")).await.within(Duration::from_millis(300)).await;
    assert_eq!(rest.len(), WRITERS * EACH, "as many as there are");
}

#[tokio::test]
async fn types_can_be_chosen_and_bad_ones_are_refused() {
    let ([server, _], acme) = two(|settings| settings.events.heartbeat = Duration::from_millis(100)).await;
    let mut agents = Stream::open(events(&server, &acme, "?types=agent.*,task.deleted")).await;
    let mut tasks = Stream::open(events(&server, &acme, "?types=task.created")).await;
    let made = agent(&server, &acme, "Mira").await;
    post(&server, &acme, "/v1/tasks", json!({ "agent_id": made["id"], "title": "one" })).await;
    let last = agent(&server, &acme, "Ada").await;
    let heard = [agents.event().await.unwrap(), agents.event().await.unwrap()];
    assert_eq!(kinds(&heard), ["agent.created", "agent.created"]);
    assert_eq!(heard[1].json()["data"]["id"], last["id"]);
    let task = tasks.event().await.unwrap();
    assert_eq!(task.event.as_deref(), Some("task.created"));
    // the place moves on by what was not wanted, so that a return does not begin before it
    let mut place = task.id;
    while place < heard[1].id {
        place = place.max(tasks.frame().await.unwrap().id);
    }
    for query in ["?types=Agent.*", "?types=", "?after=-1", "?after=x", "?type=agent.*"] {
        let answer = Answer::to(events(&server, &acme, query)).await;
        assert_eq!(answer.verdict(), refusal(400, "invalid_query"), "{query}");
    }
    let answer = Answer::to(events(&server, &acme, "").header("last-event-id", "seven")).await;
    assert_eq!(answer.verdict(), refusal(400, "invalid_query"));
}

#[tokio::test]
async fn what_a_credential_may_not_read_is_not_told() {
    let ([server, _], acme) = two(|_| {}).await;
    let key = async |scopes: &[&str]| {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let created = server
            .state
            .provisioner
            .create_key("acme", &NewKey::named("limited").scoped(&scopes), &actor())
            .await
            .unwrap();
        Tenant { key: created.token.expose_secret().to_owned(), ..acme.clone() }
    };
    let made = agent(&server, &acme, "Mira").await;
    post(&server, &acme, "/v1/tasks", json!({ "agent_id": made["id"], "title": "one" })).await;
    let agents = key(&["events:read", "agents:read"]).await;
    let heard = Stream::open(events(&server, &agents, "?after=0")).await.within(Duration::from_millis(300)).await;
    assert_eq!(kinds(&heard), ["agent.created"]);
    let heard = Stream::open(events(&server, &acme, "?after=0")).await.within(Duration::from_millis(300)).await;
    assert_eq!(kinds(&heard), ["agent.created", "task.created"], "which are there for whoever may");
    let none = key(&["agents:read"]).await;
    assert_eq!(Answer::to(events(&server, &none, "")).await.verdict(), refusal(403, "permission_denied"));
}

#[tokio::test]
async fn a_client_that_was_away_too_long_is_told_to_begin_anew() {
    let ([server, _], acme) = two(|settings| settings.events.keep_rows = 3).await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        agent(&server, &acme, name).await;
    }
    let kept = async || {
        let heard = Stream::open(events(&server, &acme, "?after=0")).await.within(Duration::from_millis(300)).await;
        heard.iter().filter_map(|frame| frame.id).collect::<Vec<i64>>()
    };
    let before = kept().await;
    assert_eq!(before.len(), 6);
    server.state.tenancy.db().sweep_all_events().await;
    assert_eq!(kept().await, before[3..], "the last three are left");

    let resumed = async |after: i64| {
        let mut stream = Stream::open(events(&server, &acme, "").header("last-event-id", after.to_string())).await;
        stream.event().await.unwrap()
    };
    let next = resumed(before[3]).await;
    assert_eq!((next.event.as_deref(), next.id), (Some("agent.created"), Some(before[4])), "nothing is missing");
    // of whom has seen the third, nothing is missing either
    assert_eq!(resumed(before[2]).await.id, Some(before[3]));
    for (newest, away) in [(before[5], before[1]), (before[5] + 1, before[5] + 100)] {
        let mut stream = Stream::open(events(&server, &acme, &format!("?after={away}"))).await;
        let reset = stream.event().await.unwrap();
        assert_eq!((reset.event.as_deref(), reset.id), (Some("reset"), Some(newest)), "{away}");
        assert_eq!(reset.json(), json!({ "newest": newest }));
        agent(&server, &acme, &format!("after {away}")).await;
        assert_eq!(stream.event().await.unwrap().event.as_deref(), Some("agent.created"), "and it goes on from there");
    }
}

#[tokio::test]
async fn old_events_go_but_the_last_one_stays_as_a_mark() {
    let ([server, _], acme) = two(|settings| settings.events.keep = Duration::ZERO).await;
    for name in ["a", "b"] {
        agent(&server, &acme, name).await;
    }
    server.state.tenancy.db().sweep_all_events().await;
    let admin = server.database.admin().await;
    let left = admin.query("SELECT data->>'name' FROM tenant_acme.events", &[]).await.unwrap();
    assert_eq!(left.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["b"]);
    let reset = Stream::open(events(&server, &acme, "?after=1")).await.event().await.unwrap();
    assert_eq!(reset.event.as_deref(), Some("agent.created"), "after the first comes the last, and nothing is missing");
}

#[tokio::test]
async fn streams_are_bounded_and_waiting_ones_hold_no_connection() {
    let ([server, other], acme) = two(|settings| settings.events.streams_per_tenant = 3).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(Stream::open(events(&server, &acme, "")).await);
    }
    let refused = Answer::to(events(&server, &acme, "")).await;
    assert_eq!(refused.verdict(), refusal(429, "too_many_streams"));
    assert_eq!((refused.header("retry-after"), &refused.json()["limit"]), ("2", &json!(3)));
    let globex = server.tenant("globex").await;
    drop(Stream::open(events(&server, &globex, "")).await);
    drop(Stream::open(events(&other, &acme, "")).await);
    let stats = server.state.tenancy.db().stats();
    assert_eq!(stats.live, stats.idle, "nobody holds a connection: {stats:?}");
    // a client that is gone gives its place back, at the latest when there is something to tell it
    streams.pop();
    eventually("there is room again", async || {
        agent(&server, &acme, &uuid::Uuid::new_v4().to_string()).await;
        server.state.tenancy.registry().events().streams() < 3
    })
    .await;
    drop(Stream::open(events(&server, &acme, "")).await);
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams_at_once() {
    let ([server, other], acme) = two(|_| {}).await;
    let mut stream = Stream::open(events(&server, &acme, "")).await;
    let made = agent(&server, &acme, "Mira").await;
    let last = stream.until("agent.created").await.id.unwrap();
    let began = Instant::now();
    let (drained, reason) = tokio::join!(server.stop(), stream.end());
    assert_eq!((drained.cut, reason.as_str()), (0, "shutdown"));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // the client goes on where it was, on another server
    let path = format!("/v1/agents/{}", made["id"].as_str().unwrap());
    assert_eq!(Answer::to(other.by(&acme, Method::DELETE, &path)).await.status, 204);
    let mut stream = Stream::open(events(&other, &acme, "").header("last-event-id", last.to_string())).await;
    assert_eq!(stream.event().await.unwrap().event.as_deref(), Some("agent.deleted"));
}

#[tokio::test]
async fn a_stream_lives_for_a_while_and_shows_it() {
    let ([server, _], acme) = two(|settings| {
        settings.events.heartbeat = Duration::from_millis(100);
        settings.events.max_age = Duration::from_millis(800);
    })
    .await;
    let mut stream = Stream::open(events(&server, &acme, "")).await;
    for _ in 0..3 {
        assert_eq!(stream.frame().await.unwrap().event, None, "a sign of life");
    }
    assert_eq!(stream.end().await, "max_age");
}
