//! Calls to providers: a tenant's are made with its own account, booked on its own agents, and nobody else's.

use std::time::Duration;

use isolation::server::{Answer, Tenant, TestServer};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::upstream::Upstream;

const CHAT: &str = "/llm/openai/v1/chat/completions";

struct Two {
    server: TestServer,
    upstream: Upstream,
    acme: Tenant,
    globex: Tenant,
}

impl Two {
    /// Two tenants with an account each, under the same name.
    async fn start(one_for_all: bool) -> Self {
        let upstream = Upstream::start().await;
        let server = TestServer::with(|settings| {
            let gateway = &mut settings.metering.gateway;
            gateway.allow_http = true;
            gateway.one_for_all = one_for_all;
            gateway.upstreams.insert("openai".to_owned(), upstream.openai());
            settings.metering.ship_interval = Duration::from_millis(20);
        })
        .await;
        let (acme, globex) = (server.tenant("acme").await, server.tenant("globex").await);
        let two = Self { server, upstream, acme, globex };
        for tenant in [&two.acme, &two.globex] {
            let token = format!("sk-good-{}", tenant.slug);
            two.make(
                tenant,
                "/v1/provider-accounts",
                json!({ "provider": "openai", "name": "main", "access_token": token }),
            )
            .await;
        }
        two
    }

    async fn make(&self, tenant: &Tenant, path: &str, body: Value) -> String {
        let made = Answer::to(self.server.by(tenant, Method::POST, path).json(&body)).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()["id"].as_str().unwrap().to_owned()
    }

    /// A call with headers; gives its status and the credential that the provider saw, if it saw the call.
    async fn call(&self, tenant: &Tenant, headers: &[(&str, &str)]) -> (u16, Option<String>) {
        let before = self.upstream.log().received().len();
        let mut request = self.server.by(tenant, Method::POST, CHAT).json(&json!({ "model": "gpt-5", "messages": [] }));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let status = Answer::to(request).await.status;
        let received = self.upstream.log().received();
        let seen = received.get(before).map(|received| received.headers["authorization"].clone());
        (status, seen)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_made_and_booked_with_what_is_the_tenants_own() {
    let two = Two::start(false).await;
    let (acme, globex) = (&two.acme, &two.globex);
    let agent = two.make(globex, "/v1/agents", json!({ "name": "Gus", "role": "sales" })).await;
    let task = two.make(globex, "/v1/tasks", json!({ "agent_id": agent, "title": "Sell" })).await;
    let session = two.make(globex, "/v1/sessions", json!({ "agent_id": agent })).await;
    let accounts = Answer::to(two.server.by(globex, Method::GET, "/v1/provider-accounts")).await.json();
    let account = accounts["data"][0]["id"].as_str().unwrap();
    // Warm for its owner, and for the other one nothing all the same.
    for own in [("x-tenantry-agent", agent.as_str()), ("x-tenantry-account", account), ("x-tenantry-account", "main")] {
        assert_eq!(two.call(globex, &[own]).await, (200, Some("Bearer sk-good-globex".to_owned())));
    }
    assert_eq!(two.call(acme, &[("x-tenantry-account", "main")]).await, (200, Some("Bearer sk-good-acme".to_owned())));
    assert_eq!(two.call(acme, &[]).await, (200, Some("Bearer sk-good-acme".to_owned())));
    for foreign in [
        ("x-tenantry-agent", agent.as_str()),
        ("x-tenantry-task", &task),
        ("x-tenantry-session", &session),
        ("x-tenantry-account", account),
    ] {
        assert_eq!(two.call(acme, &[foreign]).await, (422, None), "{foreign:?}");
    }
    assert_eq!(two.call(acme, &[("x-tenant-slug", "globex")]).await, (403, None));
    assert_eq!(two.upstream.log().keys_seen(), 0, "no key of a tenant has reached the provider");
    let admin = two.server.database.admin().await;
    let rows = "SELECT count(*) FILTER (WHERE t.slug = 'acme'), count(*) FILTER (WHERE t.slug = 'globex'), \
                  count(*) FILTER (WHERE t.slug = 'acme' AND c.agent_id IS NOT NULL) \
                FROM analytics.provider_api_calls c JOIN public.tenants t ON t.id = c.tenant_id";
    isolation::backends::eventually("every call is booked on who made it", async || {
        let row = admin.query_one(rows, &[]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)) == (2, 3, 0)
    })
    .await;
}

/// The code of an error of the gateway, in either API's shape.
fn code(answer: &Answer) -> String {
    let error = &answer.json()["error"];
    let message = error["message"].as_str().unwrap_or_default();
    error["code"].as_str().or_else(|| message.split(':').next()).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_of_the_gateway_is_had_without_the_own_credential_under_the_own_name() {
    let two = Two::start(false).await;
    let accounts = Answer::to(two.server.by(&two.globex, Method::GET, "/v1/provider-accounts")).await.json();
    let account = accounts["data"][0]["id"].as_str().unwrap();
    let passages = crate::operations::passages();
    assert!(passages.len() > 8, "{passages:?}");
    for (method, path) in passages {
        let path = path.replace("{id}", "gpt-5");
        let bare = || {
            let request = two.server.request(method.clone(), &path);
            if method == Method::POST { request.json(&json!({ "model": "gpt-5", "messages": [] })) } else { request }
        };
        let (key, other) = (&two.acme.key, "globex");
        for (request, expected) in [
            (bare(), (400, "tenant_identifier_required")),
            (bare().header("x-tenant-slug", other), (401, "credential_required")),
            (bare().header("x-api-key", "hunter2").header("x-tenant-slug", other), (401, "invalid_credential")),
            (bare().header("x-api-key", key).header("x-tenant-slug", other), (403, "tenant_mismatch")),
            (bare().header("x-api-key", key).header("host", two.globex.subdomain()), (403, "tenant_mismatch")),
            (bare().header("x-api-key", key).header("x-tenantry-account", account), (422, "no_provider_account")),
        ] {
            let answer = Answer::to(request).await;
            assert_eq!((answer.status, code(&answer).as_str()), expected, "{method} {path}");
        }
    }
    assert_eq!(two.upstream.log().received().len(), 0, "nothing of all that has reached the provider");
}

/// Negative control: were what is kept of accounts and agents not kept by tenant, the above would find it.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_tenant_in_what_is_kept() {
    let two = Two::start(true).await;
    let agent = two.make(&two.globex, "/v1/agents", json!({ "name": "Gus", "role": "sales" })).await;
    let labels = [("x-tenantry-agent", agent.as_str())];
    assert_eq!(two.call(&two.globex, &labels).await.0, 200);
    let found = two.call(&two.acme, &labels).await;
    assert_eq!(found, (200, Some("Bearer sk-good-globex".to_owned())), "the leak is there and is seen");
}

/// Negative control: a key that reaches the provider is seen there.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_at_the_provider_is_noticed() {
    let upstream = Upstream::start().await;
    let url = format!("{}/models", upstream.openai());
    let request = isolation::server::client().get(url).bearer_auth("sk-good-x").header("x-any", "k=tnk_abc");
    assert_eq!(Answer::to(request).await.status, 200);
    assert_eq!(upstream.log().keys_seen(), 1);
}
