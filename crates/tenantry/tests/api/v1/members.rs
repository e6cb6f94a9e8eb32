use std::time::{Duration, Instant};

use futures_util::future::join_all;
use isolation::server::{Answer, TestServer};
use isolation::tokens;
use reqwest::Method;
use serde_json::{Value, json};
use tenantry_http::UnlistedRole;

use crate::company::{Company, at, pointers, refusal};

async fn with_tokens() -> Company {
    let server = TestServer::with(|settings| settings.http.jwt = Some(tokens::accepting())).await;
    let tenant = server.tenant("acme").await;
    Company { server, tenant }
}

impl Company {
    async fn member(&self, subject: &str, role: &str) -> Value {
        self.make("/v1/members", json!({ "subject": subject, "role": role })).await
    }

    /// A request with somebody's token.
    async fn token_sends(&self, subject: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = self.server.request(method, path).bearer_auth(tokens::token("acme", subject));
        Answer::to(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    /// Waits for the role that somebody has; promised within a second, a busy test machine gets more.
    async fn until_role(&self, subject: &str, role: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let me = self.token_sends(subject, Method::GET, "/v1/me", None).await.json();
            if me["role"] == role {
                return;
            }
            assert!(Instant::now() < deadline, "{subject} is still {}", me["role"]);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_member_has_their_role_as_long_as_they_are_one() {
    let company = with_tokens().await;
    company.until_role("ada", "member").await;
    let ada = company.member("ada", "viewer").await;
    assert_eq!(
        (&ada["subject"], &ada["role"], &ada["email"], &ada["version"]),
        (&json!("ada"), &json!("viewer"), &Value::Null, &json!(1))
    );
    company.until_role("ada", "viewer").await;
    let agent = json!({ "name": "Mira", "role": "support" });
    let refused = company.token_sends("ada", Method::POST, "/v1/agents", Some(agent.clone())).await;
    assert_eq!(refused.verdict(), refusal(403, "permission_denied"));

    let address = at("members", &ada);
    let stale = company.patch(&address, json!({ "role": "admin", "version": 7 })).await;
    assert_eq!(stale.verdict(), refusal(409, "version_conflict"));
    assert_eq!(stale.json()["current"]["version"], 1);
    assert_eq!(company.patch(&address, json!({ "role": "admin" })).await.verdict(), refusal(428, "version_required"));
    let changed = company.patch_if(&address, "\"1\"", json!({ "role": "admin", "email": "ada@acme.example" })).await;
    assert_eq!((changed.status, changed.header("etag")), (200, "\"2\""), "{}", changed.text);
    company.until_role("ada", "admin").await;
    assert_eq!(company.token_sends("ada", Method::POST, "/v1/agents", Some(agent)).await.status, 201);
    let same = company.patch(&address, json!({ "role": "admin", "version": 2 })).await;
    assert_eq!(same.header("etag"), "\"2\"", "what changes nothing makes no version");

    assert_eq!(company.get(&address).await.json()["email"], "ada@acme.example");
    assert_eq!(company.delete_if(&address, "\"1\"").await.verdict(), refusal(409, "version_conflict"));
    assert_eq!(company.delete(&address).await.status, 204);
    company.until_role("ada", "member").await;
    assert_eq!(company.get(&address).await.verdict(), refusal(404, "member_not_found"));
    let actions: Vec<String> =
        company.events(&format!("member/{}", ada["id"].as_str().unwrap())).await.into_iter().map(|(a, _)| a).collect();
    assert_eq!(actions, ["member.add", "member.update", "member.remove"]);
}

#[tokio::test]
async fn who_is_no_member_can_be_kept_out() {
    let server = TestServer::with(|settings| {
        let mut jwt = tokens::accepting();
        jwt.unlisted_role = UnlistedRole::None;
        settings.http.jwt = Some(jwt);
    })
    .await;
    let tenant = server.tenant("acme").await;
    let company = Company { server, tenant };
    let refused = company.token_sends("ada", Method::GET, "/v1/agents", None).await;
    assert_eq!(refused.verdict(), refusal(403, "not_a_member"));
    let ada = company.member("ada", "owner").await;
    company.until_role("ada", "owner").await;
    company.member("bob", "owner").await;
    assert_eq!(company.delete(&at("members", &ada)).await.status, 204);
    let deadline = Instant::now() + Duration::from_secs(10);
    while company.token_sends("ada", Method::GET, "/v1/me", None).await.status != 403 {
        assert!(Instant::now() < deadline, "a removed member is let in for ever");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let company = with_tokens().await;
    let (owner, admin) = (company.member("olga", "owner").await, company.member("adam", "admin").await);
    company.until_role("olga", "owner").await;
    company.until_role("adam", "admin").await;
    let denied = refusal(403, "permission_denied");
    let new = |role: &str| Some(json!({ "subject": format!("new {role}"), "role": role }));
    let send = async |method, path: String, body| company.token_sends("adam", method, &path, body).await;
    assert_eq!(send(Method::POST, "/v1/members".into(), new("owner")).await.verdict(), denied);
    assert_eq!(send(Method::POST, "/v1/members".into(), new("admin")).await.status, 201);
    let promote = Some(json!({ "role": "owner", "version": 1 }));
    assert_eq!(send(Method::PATCH, at("members", &admin), promote.clone()).await.verdict(), denied, "not even oneself");
    let demote = Some(json!({ "role": "viewer", "version": 1 }));
    assert_eq!(send(Method::PATCH, at("members", &owner), demote).await.verdict(), denied);
    assert_eq!(send(Method::DELETE, at("members", &owner), None).await.verdict(), denied);
    let by_owner = company.token_sends("olga", Method::PATCH, &at("members", &admin), promote).await;
    assert_eq!(by_owner.status, 200, "{}", by_owner.text);

    // a key for members alone makes nobody who may do more than it
    let key = company.make("/v1/keys", json!({ "name": "narrow", "scopes": ["members:write"] })).await;
    let request = company.server.request(Method::POST, "/v1/members").bearer_auth(key["token"].as_str().unwrap());
    let answer = Answer::to(request.json(&json!({ "subject": "x", "role": "viewer" }))).await;
    assert_eq!(answer.verdict(), denied, "{}", answer.text);
}

#[tokio::test]
async fn the_last_owner_stays_also_when_two_demote_each_other() {
    let company = with_tokens().await;
    let mut owners = [company.member("one", "owner").await, company.member("two", "owner").await];
    for round in 0..6 {
        let demotions = owners.each_ref().map(|owner| {
            let (path, version) = (at("members", owner), owner["version"].clone());
            let company = &company;
            async move {
                if round % 2 == 0 {
                    company.patch(&path, json!({ "role": "member", "version": version })).await
                } else {
                    company.patch(&path, json!({ "role": "viewer", "version": version })).await
                }
            }
        });
        let answers = join_all(demotions).await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{answers:?}");
        let kept = answers.iter().position(|answer| answer.status == 409).unwrap();
        assert_eq!(answers[kept].verdict().1, "last_owner");
        assert_eq!(company.delete(&at("members", &owners[kept])).await.verdict(), refusal(409, "last_owner"));
        // and both are owners again for the next round
        let back = json!({ "role": "owner", "version": answers[1 - kept].json()["version"] });
        owners[1 - kept] = company.patch(&at("members", &owners[1 - kept]), back).await.json();
    }
}

#[tokio::test]
async fn members_that_make_no_sense_are_refused() {
    let company = Company::open().await;
    company.member("ada", "member").await;
    for (body, code, pointer) in [
        (json!({ "subject": "", "role": "member" }), "validation_failed", "/subject"),
        (json!({ "subject": "a\nb", "role": "member" }), "validation_failed", "/subject"),
        (json!({ "subject": "x".repeat(256), "role": "member" }), "validation_failed", "/subject"),
        (json!({ "subject": "x", "role": "member", "email": "nobody" }), "validation_failed", "/email"),
        (json!({ "subject": "x", "role": "god" }), "invalid_body", "/role"),
        (json!({ "subject": "x" }), "invalid_body", ""),
    ] {
        let answer = company.post("/v1/members", body.clone()).await;
        assert_eq!(answer.verdict(), refusal(422, code), "{body}: {}", answer.text);
        assert_eq!(pointers(&answer), [pointer], "{body}");
    }
    let twice = company.post("/v1/members", json!({ "subject": "ada", "role": "owner" })).await;
    assert_eq!(twice.verdict(), refusal(409, "member_exists"));
    let listed = company.get("/v1/members?role=member").await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert_eq!(company.get("/v1/members?subject=a%00").await.verdict(), refusal(400, "invalid_query"));
    let null = company.patch(&at("members", &listed["data"][0]), json!({ "role": null, "version": 1 })).await;
    assert_eq!(null.verdict(), refusal(422, "validation_failed"));
}

#[tokio::test]
async fn the_same_request_adds_one_member() {
    let company = Company::open().await;
    let body = json!({ "subject": "ada", "role": "member" });
    let send = |body: Value| {
        let request = company.server.by(&company.tenant, Method::POST, "/v1/members").header("idempotency-key", "k-1");
        Answer::to(request.json(&body))
    };
    let answers = join_all((0..8).map(|_| send(body.clone()))).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.text), (201, &answers[0].text), "one answer for all");
        assert_eq!(answer.header("location"), answers[0].header("location"));
    }
    let fresh = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count();
    assert_eq!(fresh, 1, "one was the first");
    let other = send(json!({ "subject": "bob", "role": "member" })).await;
    assert_eq!(other.verdict(), refusal(422, "idempotency_key_reused"));
    assert_eq!(company.get("/v1/members").await.json()["data"].as_array().unwrap().len(), 1);
    // a refusal changed nothing and is not kept
    let taken = json!({ "subject": "ada", "role": "member" });
    let request = || {
        company.server.by(&company.tenant, Method::POST, "/v1/members").header("idempotency-key", "k-2").json(&taken)
    };
    assert_eq!(Answer::to(request()).await.status, 409);
    company.delete(answers[0].header("location")).await;
    assert_eq!(Answer::to(request()).await.status, 201);
}
