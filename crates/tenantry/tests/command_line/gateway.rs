//! Servers with a gateway, a company with an account at a provider, and what the gateway refuses by a budget.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use metering::Decimal;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use testkit::upstream::{Ran, Upstream};

use super::installation::Installation;

/// The provider's models with the words that steer it, at a thousand times the price, so that few calls are a dollar.
const CATALOGUE: &str = "format = 1\n[[provider]]\nname = \"openai\"\n[[provider.model]]\nname = \"gpt-4o-mini\"\naliases = [\"gpt-4o-mini+*\"]\n\
    max_output_tokens = 16384\n[[provider.model.price]]\nfrom = \"2024-07-18\"\nsource = \"of the tests\"\nchecked = \"2026-01-01\"\n\
    input = \"150\"\ncache_read = \"75\"\noutput = \"600\"\n";
const CALLS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

/// A server.
pub(super) struct Served {
    pub(super) child: Child,
    pub(super) base: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    pub(super) fn start(installation: &Installation) -> Self {
        let mut command = installation.command(&["serve", "--listen", "127.0.0.1:0", "--master-key-file", "keys"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = log.find(|line| line.as_ref().unwrap().contains("serving on")).unwrap().unwrap();
        let base = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        let base = base.trim_end_matches(',').to_owned();
        std::thread::spawn(move || log.for_each(drop));
        Self { child, base }
    }

    /// Makes something over the API.
    pub(super) async fn make(&self, key: &str, path: &str, body: Value) {
        let made = client().post(format!("{}/v1/{path}", self.base)).header("x-api-key", key).json(&body);
        let made = made.send().await.unwrap();
        assert_eq!(made.status(), 201, "{}", made.text().await.unwrap());
    }
}

/// An installation whose gateway leads to a provider, with prices of it, and a company's key.
pub(super) async fn company(upstream: &Upstream) -> (Installation, String) {
    let installation = Installation::prepared().await;
    let directory = installation.directory.path();
    let keys = installation.run(&["secrets", "new-key", "--id", "one"]).ok().stdout;
    std::fs::write(directory.join("keys"), keys).unwrap();
    let settings = format!(
        "[metering]\nspool_dir = \"spool\"\nspool_segment_bytes = 262144\nship_interval = 0.02\n\
         [metering.gateway]\nallow_http = true\n[metering.gateway.upstreams]\nopenai = \"{}\"\n",
        upstream.openai()
    );
    std::fs::write(directory.join("tenantry.toml"), settings).unwrap();
    std::fs::write(directory.join("prices.toml"), CATALOGUE).unwrap();
    installation.run(&["prices", "load", "prices.toml"]).ok();
    let create = ["-o", "json", "tenant", "create", "acme", "--admin-email", "a@acme.example", "--plan", "enterprise"];
    let key = installation.run(&create).ok().json()["key"]["token"].as_str().unwrap().to_owned();
    (installation, key)
}

/// The company's account at the provider.
pub(super) fn account() -> Value {
    json!({ "provider": "openai", "access_token": "sk-good-acme" })
}

pub(super) fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

async fn call(served: &Served, key: &str, name: &str, tokens: u64) -> Response {
    let body = json!({
        "model": format!("gpt-4o-mini+tokens-{tokens}+delay-20"), "max_tokens": tokens, "messages": [{ "role": "user", "content": "?" }],
    });
    let request = client().post(format!("{}/llm/openai/v1/chat/completions", served.base)).bearer_auth(key);
    let request = request.header("x-tenantry-reference", name).header("x-client-request-id", name);
    request.json(&body).send().await.unwrap()
}

/// Every call costs at most what was held for it, so the bound is the limit itself, whatever the number of servers.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_stops_calls_at_two_servers_by_the_providers_own_log() {
    let upstream = Upstream::start().await;
    let (installation, key) = company(&upstream).await;
    let servers = [Served::start(&installation), Served::start(&installation)];
    servers[0].make(&key, "provider-accounts", account()).await;
    let budget = json!({ "name": "a dollar", "scope": "tenant", "period": "month", "limit_usd": "1" });
    servers[0].make(&key, "budgets", budget).await;
    // Servers look for budgets once in a while; until then the other one knows of none.
    let began = Instant::now();
    loop {
        let known = "SELECT count(DISTINCT server_id) FROM analytics.budget_leases";
        join_all(servers.iter().map(|served| call(served, &key, "cheap", 1))).await;
        if database(&installation).await.query_one(known, &[]).await.unwrap().get::<_, i64>(0) == 2 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "both servers lease of the budget");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    let answers = join_all((0..CALLS).map(|n| call(&servers[n % 2], &key, "dear", 20))).await;
    let mut refused = None;
    for answer in answers {
        match answer.status().as_u16() {
            200 => {}
            402 => refused = Some(answer),
            _ => panic!("{}", answer.text().await.unwrap()),
        }
    }
    let refused = refused.expect("two hundred calls cost more than a dollar");
    assert_eq!(refused.headers()["x-should-retry"], "false");
    let error = refused.json::<Value>().await.unwrap()["error"].clone();
    assert_eq!((&error["code"], &error["type"]), (&json!("budget_exhausted"), &json!("insufficient_quota")), "{error}");
    let usd = |value: &Value| value.as_str().unwrap().parse::<Decimal>().unwrap();
    let (limit, used) = (usd(&error["details"]["limit"]), usd(&error["details"]["used"]));
    assert!(limit == Decimal::ONE && used <= limit && used > Decimal::ZERO, "{error}");
    assert!(error["details"]["resets_at"].is_string() && error["message"].as_str().unwrap().contains("a dollar"));

    let cost = |ran: &[Ran]| {
        let millionths = ran.iter().map(|ran| ran.tokens.input * 150 + ran.tokens.output * 600).sum::<u64>();
        Decimal::from(millionths) / Decimal::from(1_000_000)
    };
    let is_dear = |ran: &Ran| ran.client_request_id.as_deref() == Some("dear");
    let ran: Vec<Ran> = upstream.log().ran().into_iter().filter(is_dear).collect();
    assert!(cost(&ran) <= limit, "{} calls ran, for {} USD", ran.len(), cost(&ran));
    assert!(cost(&ran) > limit / Decimal::TWO, "and not far below it: {} USD", cost(&ran));
    let booked =
        "SELECT count(*), sum(cost_usd)::text FROM analytics.provider_api_calls WHERE client_reference = 'dear'";
    loop {
        let row = database(&installation).await.query_one(booked, &[]).await.unwrap();
        if usize::try_from(row.get::<_, i64>(0)).unwrap() >= ran.len() {
            assert_eq!(
                row.get::<_, &str>(1).parse::<Decimal>().unwrap(),
                cost(&ran),
                "booked is what the provider ran"
            );
            break;
        }
        assert!(began.elapsed() < PATIENCE, "all calls are booked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn database(installation: &Installation) -> tokio_postgres::Client {
    let (database, connection) = tokio_postgres::connect(&installation.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    database
}
