//! The gateway against a provider that speaks the real protocols: what goes through, what is refused, and what is recorded. What the provider ran is
//! known from its own log.

mod accounts;
mod calls;
mod ends;
mod refusals;
mod streams;

use std::time::{Duration, Instant};

use isolation::server::{Answer, Tenant, TestServer};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tenantry::Settings;
use testkit::upstream::Upstream;

const CHAT: &str = "/llm/openai/v1/chat/completions";
const RESPONSES: &str = "/llm/openai/v1/responses";
const EMBEDDINGS: &str = "/llm/openai/v1/embeddings";
const MESSAGES: &str = "/llm/anthropic/v1/messages";

/// What is waited for comes within this, or not at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose providers are here, and a tenant with an account at each.
struct Gate {
    server: TestServer,
    upstream: Upstream,
    acme: Tenant,
}

impl Gate {
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let upstream = Upstream::start().await;
        let server = TestServer::with(|settings| {
            let gateway = &mut settings.metering.gateway;
            gateway.allow_http = true;
            gateway.upstreams.insert("openai".to_owned(), upstream.openai());
            gateway.upstreams.insert("anthropic".to_owned(), upstream.anthropic());
            settings.metering.ship_interval = Duration::from_millis(20);
            change(settings);
        })
        .await;
        let acme = server.tenant("acme").await;
        let gate = Self { server, upstream, acme };
        for provider in ["openai", "anthropic"] {
            let acme = gate.acme.clone();
            gate.account(&acme, json!({ "provider": provider, "access_token": format!("sk-good-acme-{provider}") }))
                .await;
        }
        gate
    }

    /// Makes an account and gives its id.
    async fn account(&self, tenant: &Tenant, body: Value) -> String {
        let request = self.server.by(tenant, Method::POST, "/v1/provider-accounts").json(&body);
        let made = Answer::to(request).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()["id"].as_str().unwrap().to_owned()
    }

    /// A call of acme's.
    fn call(&self, path: &str, body: &Value) -> RequestBuilder {
        self.by(&self.acme, path, body)
    }

    fn by(&self, tenant: &Tenant, path: &str, body: &Value) -> RequestBuilder {
        let request = self.server.request(Method::POST, path).json(body);
        if path == MESSAGES {
            request.header("x-api-key", &tenant.key).header("anthropic-version", "2023-06-01")
        } else {
            request.bearer_auth(&tenant.key)
        }
    }

    /// The same call to the provider itself.
    fn direct(&self, path: &str, body: &Value) -> RequestBuilder {
        let url = format!("http://{}{}", self.upstream.address, path.strip_prefix("/llm").unwrap());
        let request = isolation::server::client().post(url).json(body).bearer_auth("sk-good-direct");
        request.header("anthropic-version", "2023-06-01")
    }

    /// The rows of a tenant, once there are so many.
    async fn rows(&self, tenant: &Tenant, count: usize) -> Vec<Value> {
        let admin = self.server.database.admin().await;
        let sql = "SELECT to_jsonb(c) FROM analytics.provider_api_calls c JOIN public.tenants t ON t.id = c.tenant_id \
                   WHERE t.slug = $1 ORDER BY c.\"timestamp\", c.id";
        let began = Instant::now();
        loop {
            let rows = admin.query(sql, &[&tenant.slug]).await.unwrap();
            let rows: Vec<Value> = rows.iter().map(|row| row.get(0)).collect();
            if rows.len() >= count {
                assert_eq!(rows.len(), count, "{rows:#?}");
                return rows;
            }
            assert!(began.elapsed() < PATIENCE, "{} rows, not {count}: {rows:#?}", rows.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The only row of acme.
    async fn row(&self) -> Value {
        self.rows(&self.acme, 1).await.remove(0)
    }
}

fn chat(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "What is the weather like in Bern?" }] })
}

fn message(model: &str) -> Value {
    json!({ "model": model, "max_tokens": 100, "messages": [{ "role": "user", "content": "And in Basel?" }] })
}

fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body
}

/// Without the names that every answer has for itself.
fn nameless(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = ["chatcmpl-", "resp_", "\"msg_"].iter().filter_map(|name| rest.find(name)).min() {
        let digits = rest[at..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |digits| at + digits);
        out.push_str(&rest[..digits]);
        rest = rest[digits..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out + rest
}

async fn text(response: Response) -> String {
    String::from_utf8(response.bytes().await.unwrap().to_vec()).unwrap()
}

/// Tokens of a row: input, read from the cache, output, reasoning.
fn tokens(row: &Value) -> [u64; 4] {
    ["tokens_input", "tokens_cache_read", "tokens_output", "tokens_reasoning"].map(|name| row[name].as_u64().unwrap())
}
