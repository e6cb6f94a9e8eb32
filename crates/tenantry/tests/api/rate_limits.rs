//! Requests per minute, alone and with a real Redis between servers.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use isolation::server::{Answer, Tenant, TestServer, actor};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tenantry_embedded::Redis;
use tenantry_http::RedisUrl;
use tenantry_postgres::NewKey;

/// Sets what everybody on the tests' plan may send.
async fn limit_plan(server: &TestServer, limit: i32) {
    let sql = "UPDATE public.plans SET requests_per_minute = $1 WHERE tier = 'enterprise'";
    server.database.admin().await.execute(sql, &[&limit]).await.unwrap();
}

/// A tenant that the server has not heard of yet, so that it hears of the plan as it is now.
async fn tenant(server: &TestServer, slug: &str) -> Tenant {
    server.tenant(slug).await
}

async fn ask(server: &TestServer, tenant: &Tenant) -> Answer {
    Answer::to(server.by(tenant, Method::GET, "/v1/plan")).await
}

async fn ask_with(server: &TestServer, key: &str) -> Answer {
    Answer::to(server.request(Method::GET, "/v1/plan").header("x-api-key", key)).await
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    for _ in 0..1000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn a_minutes_requests_and_no_more() {
    let server = TestServer::start().await;
    limit_plan(&server, 5).await;
    let (acme, globex) = (tenant(&server, "acme").await, tenant(&server, "globex").await);
    for left in (0..5).rev() {
        let answer = ask(&server, &acme).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(
            (answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")),
            ("5", left.to_string().as_str())
        );
        let reset: u64 = answer.header("ratelimit-reset").parse().unwrap();
        assert!((1..=60).contains(&reset), "{reset}");
    }
    let refused = ask(&server, &acme).await;
    assert_eq!(refused.verdict(), (429, "rate_limited".to_owned()));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=12).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit-remaining"), "0");
    let body = refused.json();
    assert_eq!(
        (&body["limit_name"], &body["limit"], &body["used"], &body["scope"]),
        (&json!("requests_per_minute"), &json!(5), &json!(5), &json!("tenant"))
    );
    assert!(body["request_id"].is_string());
    assert_eq!(server.state.tenancy.counters().rate_limited(), 1);
    // refusals of others' kinds carry the fields too, and a neighbour has its own bucket
    let missing = Answer::to(server.by(&globex, Method::GET, &format!("/v1/agents/{}", uuid::Uuid::new_v4()))).await;
    assert_eq!((missing.status, missing.header("ratelimit-remaining")), (404, "4"));
    let usage = Answer::to(server.by(&globex, Method::GET, "/v1/usage")).await.json();
    assert_eq!((&usage["requests"]["limit"], &usage["requests"]["used"]), (&json!(5), &json!(2)));
    assert!(usage["requests"]["resets_at"].is_string());
}

#[tokio::test]
async fn a_key_has_a_limit_of_its_own() {
    let server = TestServer::start().await;
    limit_plan(&server, 10).await;
    let acme = tenant(&server, "acme").await;
    let second = server.state.provisioner.create_key("acme", &NewKey::named("second"), &actor()).await.unwrap();
    server.state.provisioner.limit_key("acme", second.info.id, Some(Some(2)), None, &actor()).await.unwrap();
    let key = second.token.expose_secret();
    for left in ["1", "0"] {
        let answer = ask_with(&server, key).await;
        assert_eq!(
            (answer.status, answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")),
            (200, "2", left)
        );
    }
    for _ in 0..5 {
        let refused = ask_with(&server, key).await;
        assert_eq!((refused.status, refused.json()["scope"].as_str()), (429, Some("key")));
    }
    // what the key was refused is not taken from the tenant
    let answer = ask(&server, &acme).await;
    assert_eq!((answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")), ("10", "7"));
    // the limit is lifted within a second
    server.state.provisioner.limit_key("acme", second.info.id, Some(None), None, &actor()).await.unwrap();
    eventually("the new limit is heard", async || ask_with(&server, key).await.status == 200).await;
}

/// How many requests are let in that were sent since then: the limit, and one more for each part of a minute in which one is refilled. A
/// machine that stood still meanwhile gives more time, not more than that.
fn fits(limit: usize, began: Instant) -> RangeInclusive<usize> {
    limit..=limit + usize::try_from(began.elapsed().as_millis()).unwrap() * limit / 60_000
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_at_once_get_no_more() {
    let server = TestServer::start().await;
    limit_plan(&server, 5).await;
    let acme = tenant(&server, "acme").await;
    let began = Instant::now();
    let answers = join_all((0..50).map(|_| ask(&server, &acme))).await;
    let let_in = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(fits(5, began).contains(&let_in), "{let_in} in {:?}", began.elapsed());
}

/// Two servers on one database and one Redis.
struct Pair {
    one: TestServer,
    two: TestServer,
    redis: Redis,
}

impl Pair {
    /// `patience` is how long a request waits for Redis: where the shared count is to be exact, longer than a busy machine takes.
    async fn start(limit: i32, patience: Duration) -> Self {
        let redis = Redis::start().await.unwrap();
        let url = RedisUrl::from(redis.url());
        let with = |settings: &mut tenantry::Settings| {
            settings.http.rate_limit.redis_url = Some(url.clone());
            settings.http.rate_limit.redis_timeout = patience;
        };
        let one = TestServer::with(with).await;
        let two = TestServer::on(one.database.clone(), with).await;
        limit_plan(&one, limit).await;
        let pair = Self { one, two, redis };
        assert!(pair.servers().iter().all(|server| server.state.tenancy.rates().is_shared()));
        pair
    }

    fn servers(&self) -> [&TestServer; 2] {
        [&self.one, &self.two]
    }

    /// How many of so many requests, half to each server and all at once, are let in.
    async fn let_in(&self, tenant: &Tenant, requests: usize) -> usize {
        let sent = (0..requests).map(|n| ask(self.servers()[n % 2], tenant));
        join_all(sent).await.iter().filter(|answer| answer.status == 200).count()
    }

    fn failures(&self) -> u64 {
        self.servers().iter().map(|server| server.state.tenancy.rates().shared_failures()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_one_limit_while_redis_is_there() {
    let pair = Pair::start(5, Duration::from_secs(10)).await;
    let acme = tenant(&pair.one, "acme").await;
    let began = Instant::now();
    let let_in = pair.let_in(&acme, 40).await;
    assert!(fits(5, began).contains(&let_in), "{let_in} in {:?}", began.elapsed());
    assert_eq!(pair.failures(), 0);
    // one that is used up there stays so when Redis dies: each server goes on from what it has seen
    let port = pair.redis.port();
    let Pair { one, two, redis } = pair;
    redis.kill().await;
    for server in [&one, &two] {
        let status = ask(server, &acme).await.status;
        assert!(status == 429 || fits(5, began) != (5..=5), "{status} after {:?}", began.elapsed());
    }
    // a tenant that nobody has seen gets the limit from each of the two
    let globex = tenant(&one, "globex").await;
    let began = Instant::now();
    let mut let_in = 0;
    for n in 0..40 {
        let_in += usize::from(ask([&one, &two][n % 2], &globex).await.status == 200);
    }
    let each = fits(5, began);
    assert!((2 * each.start()..=2 * each.end()).contains(&let_in), "{let_in} in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(15), "nobody waits for what is away: {:?}", began.elapsed());
    let failures = |server: &TestServer| server.state.tenancy.rates().shared_failures();
    assert!(failures(&one) >= 20 && failures(&two) >= 20);
    assert!(!one.state.tenancy.rates().is_shared() && !two.state.tenancy.rates().is_shared());

    let redis = Redis::start_on(port).await.unwrap();
    let pair = Pair { one, two, redis };
    eventually("both are connected again", async || {
        pair.servers().iter().all(|server| server.state.tenancy.rates().is_shared())
    })
    .await;
    let initech = tenant(&pair.one, "initech").await;
    let before = pair.failures();
    let began = Instant::now();
    let let_in = pair.let_in(&initech, 40).await;
    assert!(fits(5, began).contains(&let_in), "one limit again: {let_in} in {:?}", began.elapsed());
    assert_eq!(pair.failures(), before);
    pair.redis.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_left_alone() {
    let mut pair = Pair::start(1000, Duration::from_millis(50)).await;
    let acme = tenant(&pair.one, "acme").await;
    assert_eq!(ask(&pair.one, &acme).await.status, 200);
    pair.redis.freeze();
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(ask(&pair.one, &acme).await.status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(pair.failures() > 0);
    pair.redis.resume();
    eventually("it is used again", async || pair.one.state.tenancy.rates().is_shared()).await;
    pair.redis.stop().await;
}

#[tokio::test]
async fn whoever_guesses_gets_slow_and_known_keys_do_not() {
    let server = TestServer::with(|settings| settings.http.rate_limit.failed_credentials_per_minute = 5).await;
    let (acme, globex) = (server.tenant("acme").await, server.tenant("globex").await);
    assert_eq!(ask(&server, &acme).await.status, 200);
    let guess = |n: usize| format!("tnk_abcdefghij{n:02}_{}", "a".repeat(43));
    for n in 0..5 {
        assert_eq!(ask_with(&server, &guess(n)).await.verdict(), (401, "invalid_credential".to_owned()));
    }
    let slow = (429, "too_many_failed_credentials".to_owned());
    let refused = ask_with(&server, &guess(5)).await;
    assert_eq!(refused.verdict(), slow);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=12).contains(&wait), "{wait}");
    // damaged ones, tokens, and operators' tokens count alike; the secret of a known key is not guessed either
    let wrong = format!("{}{}", &acme.key[..acme.key.len() - 4], "aaaa");
    for guess in ["tnk_damaged", "a.b.c", wrong.as_str()] {
        assert_eq!(ask_with(&server, guess).await.verdict(), slow, "{guess}");
    }
    let operator = Answer::to(server.request(Method::GET, "/admin/v1/plans").bearer_auth("top_damaged")).await;
    assert_eq!(operator.verdict(), slow);
    // a right key that this server has not seen is not told from a wrong one; one that it knows goes on working
    assert_eq!(ask(&server, &globex).await.verdict(), slow);
    assert_eq!(ask(&server, &acme).await.status, 200);
    assert_eq!(server.state.tenancy.counters().guesses_refused(), 6);
}

/// The control: without the limit, guesses are answered for ever.
#[tokio::test]
async fn without_the_limit_guesses_go_on() {
    let server = TestServer::start().await;
    for n in 0..80 {
        let guess = format!("tnk_abcdefghij{n:02}_{}", "a".repeat(43));
        assert_eq!(ask_with(&server, &guess).await.status, 401);
    }
}

#[tokio::test]
async fn a_wrong_address_is_told_at_the_start_and_an_absent_redis_is_not_waited_for() {
    let database = testkit::TestDatabase::create().await;
    let mut settings = tenantry::Settings::default();
    let spool = tempfile::tempdir().unwrap();
    settings.metering.spool_dir = Some(spool.path().to_owned());
    settings.http.rate_limit.redis_url = Some(RedisUrl::from("http://:secret@nowhere/".to_owned()));
    let error = tenantry::Server::start(&database.config, &settings).await.unwrap_err().to_string();
    assert!(error.contains("http.rate_limit.redis_url") && !error.contains("secret"), "{error}");
    settings.http.rate_limit.redis_url = Some(RedisUrl::from("redis://127.0.0.1:1/".to_owned()));
    let server = TestServer::on(database, |own| *own = settings.clone()).await;
    let acme = server.tenant("acme").await;
    assert_eq!(ask(&server, &acme).await.status, 200);
    assert_eq!(server.state.tenancy.rates().shared_failures(), 0, "a tenant without a limit is not counted");
}
