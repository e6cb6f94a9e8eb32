use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use isolation::server::{Answer, TestServer};
use isolation::service::{self, laboratory};
use reqwest::Method;
use serde_json::{Value, json};
use workforce::keychain::EgressConfig;
use workforce::keychain::egress::{Found, Lookup};

use crate::company::Company;

const VALUE: &str = "crm-secret/0123456789+&";

fn at(host: &str) -> String {
    format!("{host}:{}", service::port())
}

async fn with(change: impl FnOnce(&mut EgressConfig)) -> Company {
    let server = TestServer::with(|settings| change(&mut settings.egress)).await;
    let tenant = server.tenant("acme").await;
    Company { server, tenant }
}

struct Scene {
    company: Company,
    agent: Value,
}

impl Scene {
    async fn of(company: Company) -> Self {
        let agent = company.agent("Mira").await;
        Self { company, agent }
    }

    async fn open() -> Self {
        Self::of(Company::open().await).await
    }

    async fn credential(&self, name: &str, service: &str, injection: Value) -> Value {
        let body = json!({
            "name": name, "service": service, "value": VALUE, "injection": injection,
            "allowed_agents": [self.agent["id"]],
        });
        self.company.make("/v1/credentials", body).await
    }

    async fn send(&self, name: &str, request: Value) -> Answer {
        let mut request = request;
        request["agent_id"] = self.agent["id"].clone();
        self.company.post(&format!("/v1/credentials/{name}/use"), request).await
    }
}

/// What the service says that it was sent.
fn echoed(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    serde_json::from_str(answer.json()["body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn the_value_reaches_the_service_and_never_comes_back() {
    let scene = Scene::open().await;
    let service = at("crm.service.test");
    scene.credential("bearer", &service, json!({ "as": "bearer" })).await;
    scene
        .credential("header", &service, json!({ "as": "header", "name": "X-Api-Key", "template": "Token {value}" }))
        .await;
    scene.credential("query", &service, json!({ "as": "query", "name": "key" })).await;
    let request = json!({
        "method": "POST", "path": "/echo/things?limit=1", "headers": { "X-Mine": "yes", "Authorization": "Bearer mine" },
        "json": { "name": "Ada" },
    });
    for (name, place) in [("bearer", "authorization"), ("header", "x-api-key"), ("query", "")] {
        let answer = scene.send(name, request.clone()).await;
        let sent = echoed(&answer);
        assert_eq!((&sent["method"], &sent["path"]), (&json!("POST"), &json!("/echo/things")));
        assert_eq!((&sent["headers"]["x-mine"], &sent["body"]), (&json!("yes"), &json!(r#"{"name":"Ada"}"#)));
        assert_eq!(sent["headers"]["accept-encoding"], "identity");
        match name {
            "bearer" => assert_eq!(sent["headers"][place], "Bearer [redacted]", "the server's wins over the caller's"),
            "header" => assert_eq!(sent["headers"][place], "Token [redacted]"),
            _ => assert_eq!(sent["query"], "limit=1&key=[redacted]"),
        }
        let headers = &answer.json()["headers"];
        assert!(headers["keep-alive"].is_null() && headers["set-cookie"].is_null(), "{headers}");
        for form in [VALUE, "crm-secret", "0123456789"] {
            assert!(!answer.text.contains(form), "{}", answer.text);
        }
    }
    let admin = scene.company.server.database.admin().await;
    let rows =
        admin.query("SELECT details::text FROM audit.events WHERE action = 'credential.use'", &[]).await.unwrap();
    assert_eq!(rows.len(), 3, "each use is noted");
    for row in rows {
        let details: Value = serde_json::from_str(row.get(0)).unwrap();
        assert_eq!((&details["path"], &details["outcome"]), (&json!("/echo/things"), &json!("200")));
        assert_eq!(details["agent_id"], scene.agent["id"]);
    }
}

#[tokio::test]
async fn only_agents_that_are_allowed_use_it() {
    let scene = Scene::open().await;
    scene.credential("crm", &at("crm.service.test"), json!({ "as": "bearer" })).await;
    let other = scene.company.agent("Otto").await;
    let body = |agent: &Value| json!({ "agent_id": agent["id"], "path": "/echo" });
    let path = "/v1/credentials/crm/use";
    assert_eq!(scene.company.post(path, body(&other)).await.verdict(), (403, "agent_not_allowed".to_owned()));
    let nobody = json!({ "agent_id": uuid::Uuid::new_v4(), "path": "/echo" });
    assert_eq!(scene.company.post(path, nobody).await.verdict(), (403, "agent_not_allowed".to_owned()));
    let change = json!({ "allowed_agents": [scene.agent["id"], other["id"]] });
    assert_eq!(scene.company.patch_if("/v1/credentials/crm", "\"1\"", change).await.status, 200);
    assert_eq!(scene.company.post(path, body(&other)).await.status, 200);
    assert_eq!(scene.company.delete(&format!("/v1/agents/{}", other["id"].as_str().unwrap())).await.status, 204);
    assert_eq!(scene.company.post(path, body(&other)).await.verdict(), (403, "agent_not_allowed".to_owned()));
    let gone = json!({ "allowed_agents": [other["id"]] });
    let refused = scene.company.patch_if("/v1/credentials/crm", "\"2\"", gone).await;
    assert_eq!(refused.verdict(), (422, "unknown_agent".to_owned()));
    assert_eq!(
        scene.send("nothing", json!({ "path": "/echo" })).await.verdict(),
        (404, "credential_not_found".to_owned())
    );
}

#[tokio::test]
async fn a_value_is_not_sent_elsewhere() {
    let scene = Scene::open().await;
    let service = at("crm.service.test");
    let made = scene.credential("crm", &service, json!({ "as": "bearer" })).await;
    // A redirect is shown and not followed.
    let redirect = scene.send("crm", json!({ "path": "/redirect" })).await.json();
    assert_eq!(
        (&redirect["status"], &redirect["headers"]["location"]),
        (&json!(302), &json!("https://evil.service.test/echo"))
    );
    // A path stays a path.
    for path in ["/echo/@evil.example", "/echo//evil.example", "/echo/..%2f..%2f"] {
        let sent = echoed(&scene.send("crm", json!({ "path": path })).await);
        assert_eq!(sent["headers"]["host"], service.as_str(), "{path}");
    }
    for path in ["https://evil.service.test/", "@evil.service.test/", "/a\\@evil.service.test", "/x#y", "/a b", ""] {
        let refused = scene.send("crm", json!({ "path": path })).await;
        assert_eq!(refused.verdict(), (422, "validation_failed".to_owned()), "{path}");
    }
    // Who may change it cannot have the present value sent to another host.
    let moved =
        scene.company.patch_if("/v1/credentials/crm", "\"1\"", json!({ "service": at("evil.service.test") })).await;
    assert_eq!((moved.status, &moved.json()["errors"][0]["pointer"]), (422, &json!("/value")));
    let both = json!({ "service": at("new.service.test"), "value": "another-value-0123" });
    let moved = scene.company.patch_if("/v1/credentials/crm", "\"1\"", both).await.json();
    assert!(moved["rotated_at"].is_string() && made["rotated_at"].is_null(), "{moved}");
    let sent = echoed(&scene.send("crm", json!({ "path": "/echo" })).await);
    assert_eq!(sent["headers"]["authorization"], "Bearer [redacted]");
    assert_eq!(sent["headers"]["host"], at("new.service.test").as_str());
}

#[tokio::test]
async fn answers_have_limits() {
    let scene = Scene::of(with(|egress| egress.timeout = Duration::from_millis(700)).await).await;
    scene.credential("crm", &at("crm.service.test"), json!({ "as": "bearer" })).await;
    for (path, status, code) in [
        ("/large", 502, "service_answer_refused"),
        ("/gzip", 502, "service_answer_refused"),
        ("/slow", 504, "service_timeout"),
    ] {
        assert_eq!(scene.send("crm", json!({ "path": path })).await.verdict(), (status, code.to_owned()), "{path}");
    }
    let bytes = scene.send("crm", json!({ "path": "/bytes" })).await.json();
    assert_eq!((&bytes["encoding"], &bytes["body"]), (&json!("base64"), &json!("//4A")));
    assert_eq!(scene.send("crm", json!({ "path": "/status/500" })).await.json()["status"], 500);
    // A name that the certificate is not for, and a port where nobody listens.
    scene.credential("name", &at("crm.other.test"), json!({ "as": "bearer" })).await;
    scene.credential("port", "crm.service.test:9", json!({ "as": "bearer" })).await;
    for name in ["name", "port"] {
        let refused = scene.send(name, json!({ "path": "/echo" })).await;
        assert_eq!(refused.verdict(), (502, "service_unreachable".to_owned()), "{name}");
    }
}

/// Answers with these addresses, one after the other.
struct Turning {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Lookup for Turning {
    fn lookup(&self, _: String) -> Found {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let answer = self.answers[turn].clone();
        Box::pin(async move { Ok(answer) })
    }
}

fn turning(answers: &[&[&str]]) -> Arc<Turning> {
    let parse = |list: &&[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
    Arc::new(Turning { answers: answers.iter().map(parse).collect(), asked: AtomicUsize::new(0) })
}

async fn named_by(lookup: Arc<Turning>, unchecked: bool) -> Scene {
    laid_out(lookup, false, unchecked).await
}

async fn laid_out(lookup: Arc<Turning>, loopback: bool, unchecked: bool) -> Scene {
    let company = with(|egress| {
        egress.timeout = Duration::from_secs(2);
        egress.laboratory =
            workforce::keychain::egress::Laboratory { lookup: Some(lookup), loopback, unchecked, ..laboratory() };
    });
    let scene = Scene::of(company.await).await;
    scene.credential("crm", &at("crm.service.test"), json!({ "as": "bearer" })).await;
    scene
}

#[tokio::test]
async fn names_that_lead_inside_lead_nowhere() {
    let refused = (403, "egress_refused".to_owned());
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["169.254.169.254"],
        &["fd00:ec2::254"],
        &["10.0.0.1"],
        &["::ffff:127.0.0.1"],
        &["::ffff:169.254.169.254"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::"],
        &["0.0.0.0"],
        // One inside among public ones.
        &["1.1.1.1", "127.0.0.1"],
    ] {
        let scene = named_by(turning(&[addresses]), false).await;
        assert_eq!(scene.send("crm", json!({ "path": "/echo" })).await.verdict(), refused, "{addresses:?}");
    }
}

#[tokio::test]
async fn a_name_that_turns_inside_after_the_check_leads_where_the_check_was() {
    // The first answer is let through, every later one leads inside: whoever asks once more to connect (DNS rebinding) goes there.
    let lookup = turning(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let scene = laid_out(lookup.clone(), true, false).await;
    let sent = echoed(&scene.send("crm", json!({ "path": "/echo" })).await);
    assert_eq!(
        (&sent["path"], lookup.asked.load(Ordering::SeqCst)),
        (&json!("/echo"), 1),
        "asked once, and went there"
    );
    // Another connection asks again, and is refused.
    scene.credential("other", &at("other.service.test"), json!({ "as": "bearer" })).await;
    assert_eq!(scene.send("other", json!({ "path": "/echo" })).await.verdict(), (403, "egress_refused".to_owned()));
    assert_eq!(lookup.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn without_the_check_of_addresses_the_inside_is_reached() {
    let scene = named_by(turning(&[&["127.0.0.1"]]), true).await;
    let sent = echoed(&scene.send("crm", json!({ "path": "/echo" })).await);
    assert_eq!(sent["path"], "/echo", "what the checks keep away is there");
}

#[tokio::test]
async fn services_that_are_no_public_names_are_not_taken() {
    let company = Company::open().await;
    for service in [
        "127.0.0.1",
        "localhost",
        "0x7f000001",
        "2130706433",
        "[::1]",
        "a@b.example",
        "crm.example/x",
        "crm",
        "",
        "017700000001",
        "[::ffff:169.254.169.254]",
        "crm.example:0",
    ] {
        let body = json!({ "name": "x", "service": service, "value": VALUE });
        let refused = company.post("/v1/credentials", body).await;
        assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!("/service")), "{service}");
    }
}

#[tokio::test]
async fn the_operators_list_of_hosts_holds() {
    let company = with(|egress| egress.allowed_hosts = vec!["crm.service.test".to_owned()]).await;
    let body = |service: String| json!({ "name": "x", "service": service, "value": VALUE });
    let refused = company.post("/v1/credentials", body(at("other.service.test"))).await;
    assert_eq!(refused.verdict(), (403, "egress_refused".to_owned()));
    assert_eq!(company.post("/v1/credentials", body(at("crm.service.test"))).await.status, 201);
}

#[tokio::test]
async fn a_keyed_use_is_sent_once() {
    let scene = Scene::open().await;
    scene.credential("crm", &at("crm.service.test"), json!({ "as": "bearer" })).await;
    let company = &scene.company;
    let send = async |path: &str| {
        let body = json!({ "agent_id": scene.agent["id"], "path": path });
        let request = company.server.by(&company.tenant, Method::POST, "/v1/credentials/crm/use");
        Answer::to(request.header("idempotency-key", "k").json(&body)).await
    };
    let (first, again) = (send("/echo").await, send("/echo").await);
    assert_eq!((first.status, &first.text), (200, &again.text));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(send("/echo/other").await.verdict(), (422, "idempotency_key_reused".to_owned()));
    let admin = company.server.database.admin().await;
    let sql = "SELECT count(*) FROM audit.events WHERE action = 'credential.use'";
    assert_eq!(admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_credential_has_one_name_and_versions() {
    let scene = Scene::open().await;
    let made = scene.credential("crm", "api.example.com", json!({ "as": "bearer" })).await;
    let body = json!({ "name": "crm", "service": "api.example.com", "value": VALUE });
    let taken = scene.company.post("/v1/credentials", body).await;
    assert_eq!(
        (taken.verdict().1.as_str(), &taken.json()["errors"][0]["pointer"]),
        ("credential_name_taken", &json!("/name"))
    );
    assert_eq!(scene.company.get("/v1/credentials/crm").await.json(), made);
    let conflict = scene.company.patch_if("/v1/credentials/crm", "\"9\"", json!({ "value": "new-value-0123" })).await;
    assert_eq!((conflict.verdict().1.as_str(), &conflict.json()["current"]), ("version_conflict", &made));
    assert_eq!(scene.company.get("/v1/credentials/CRM").await.verdict(), (404, "credential_not_found".to_owned()));
    assert_eq!(scene.company.delete_if("/v1/credentials/crm", "\"9\"").await.status, 409);
    assert_eq!(scene.company.delete("/v1/credentials/crm").await.status, 204);
    assert_eq!(scene.company.walk("/v1/credentials", 5).await, Vec::<Value>::new());
}
