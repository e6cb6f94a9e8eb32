//! Streams of events hold nothing of other tenants, and end with the right to them.

use std::time::{Duration, Instant};

use isolation::proxy::{Proxy, Traffic};
use isolation::server::{Answer, Tenant, TestServer, actor, serve_aside};
use isolation::stream::{Frame, Stream};
use isolation::through::parts;
use reqwest::Method;
use serde_json::json;

/// The contract.
const BOUND: Duration = Duration::from_secs(1);

async fn add(server: &TestServer, tenant: &Tenant, name: &str) {
    let body = json!({ "name": name, "role": "support" });
    let made = Answer::to(server.by(tenant, Method::POST, "/v1/agents").json(&body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

fn names(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| frame.json()["data"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What a stream of the first tenant gets while both tenants are at work, on two servers.
async fn heard_by_the_first(servers: &[TestServer; 2], mut stream: Stream, tenants: [&Tenant; 2]) -> Vec<Frame> {
    for round in 0..5 {
        for (tenant, name) in tenants.iter().zip(["own", "foreign"]) {
            for (at, server) in servers.iter().enumerate() {
                add(server, tenant, &format!("{name} {round} {at}")).await;
            }
        }
    }
    add(&servers[0], tenants[0], "last").await;
    let mut heard = Vec::new();
    while !names(&heard).iter().any(|name| name == "last") {
        heard.push(stream.event().await.expect("the stream goes on"));
    }
    heard
}

#[tokio::test]
async fn the_others_events_never_arrive() {
    let first = TestServer::start().await;
    let second = TestServer::on(first.database.clone(), |_| {}).await;
    let servers = [first, second];
    let (acme, globex) = (servers[0].tenant("acme").await, servers[0].tenant("globex").await);
    // a place that the other's ids have passed is no way in either
    for query in ["?after=0", "", "?types=agent.*"] {
        let stream = Stream::open(servers[1].by(&acme, Method::GET, &format!("/v1/events{query}"))).await;
        let heard = heard_by_the_first(&servers, stream, [&acme, &globex]).await;
        assert!(heard.len() > 10 && !names(&heard).iter().any(|name| name.contains("foreign")), "{heard:?}");
        let sweep = "TRUNCATE tenant_acme.agents, tenant_globex.agents CASCADE";
        servers[0].database.admin().await.batch_execute(sweep).await.unwrap();
    }
}

/// The negative control: a stream that is opened as the other's hears the other's, so the check above would notice.
#[tokio::test]
async fn a_stream_in_the_others_scope_hears_the_others() {
    let first = TestServer::start().await;
    let second = TestServer::on(first.database.clone(), |_| {}).await;
    let servers = [first, second];
    let (acme, globex) = (servers[0].tenant("acme").await, servers[0].tenant("globex").await);
    let state = servers[1].state.clone();
    let wrong = state.tenancy.registry().system_context(&"globex".parse().unwrap(), "negative control").await.unwrap();
    let tenancy = state.tenancy.clone();
    let routes = workforce::router::<tenantry::AppState>().split_for_parts().0.layer(axum::middleware::from_fn(
        move |mut request: axum::extract::Request, next: axum::middleware::Next| {
            request.extensions_mut().insert(tenantry_http::TenantScope(wrong.clone()));
            request.extensions_mut().insert(tenancy.clone());
            next.run(request)
        },
    ));
    for tenant in [&acme, &globex] {
        add(&servers[0], tenant, &format!("of {}", tenant.slug)).await;
    }
    let base = serve_aside(routes.with_state(state)).await;
    let request = isolation::server::client().get(format!("{base}/v1/events?after=0")).header("x-api-key", &acme.key);
    let heard = Stream::open(request).await.event().await.unwrap();
    assert_eq!(names(&[heard]), ["of globex"]);
}

/// The time from before the change until both servers' streams have ended, and why they say they did.
async fn ended<F: Future<Output = ()>>(mut streams: [Stream; 2], change: F) -> (Duration, [String; 2]) {
    let began = Instant::now();
    let [first, second] = &mut streams;
    let ((), first, second) = tokio::join!(change, first.end(), second.end());
    (began.elapsed(), [first, second])
}

#[tokio::test]
async fn streams_end_with_the_right_to_them() {
    let first = TestServer::start().await;
    let second = TestServer::on(first.database.clone(), |_| {}).await;
    let acme = first.tenant("acme").await;
    let open = async || {
        let stream = |server: &TestServer| Stream::open(server.by(&acme, Method::GET, "/v1/events"));
        [stream(&first).await, stream(&second).await]
    };
    let provisioner = &first.state.provisioner;
    let streams = open().await;
    let suspend = async { drop(provisioner.suspend("acme", &actor()).await.unwrap()) };
    let (took, reasons) = ended(streams, suspend).await;
    assert_eq!(reasons, ["tenant_inactive", "tenant_inactive"]);
    assert!(took < BOUND, "suspended: {took:?}");

    provisioner.resume("acme", &actor()).await.unwrap();
    for server in [&first, &second] {
        isolation::backends::eventually("it is served again", async || {
            Answer::to(server.by(&acme, Method::GET, "/v1/agents")).await.status == 200
        })
        .await;
    }
    let streams = open().await;
    let key = acme.key_id.parse().unwrap();
    let revoke = async { drop(provisioner.revoke_key("acme", key, &actor()).await.unwrap()) };
    let (took, reasons) = ended(streams, revoke).await;
    assert_eq!(reasons, ["invalid_credential", "invalid_credential"]);
    assert!(took < BOUND, "revoked: {took:?}");
    assert_eq!(
        (first.state.tenancy.registry().events().streams(), first.state.tenancy.db().stats().live > 0),
        (0, true)
    );
}

/// A server that cannot know whether a stream may go on ends it.
#[tokio::test]
async fn a_deaf_server_without_a_database_ends_its_streams() {
    let founder = TestServer::start().await;
    let acme = founder.tenant("acme").await;
    let (host, port, ..) = parts(founder.database.server());
    let proxy = Proxy::start(&host, port).await;
    let server = TestServer::on(founder.database.by_way_of(proxy.port()), |_| {}).await;
    let mut stream = Stream::open(server.by(&acme, Method::GET, "/v1/events")).await;
    proxy.set(Traffic::Refuse);
    let reason = stream.end().await;
    assert!(["registry_unavailable", "database_unavailable"].contains(&reason.as_str()), "{reason}");
}
