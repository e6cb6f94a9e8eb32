//! What breaks on the way, and what is refused.

use futures_util::{StreamExt as _, TryStreamExt as _};
use isolation::server::TestServer;
use tenantry_client::{Client, Error, Event, Retry};
use workforce::Patch;
use workforce::agent::{Agent, AgentFilter, UpdateAgent};

use crate::agent;
use crate::relay::{Fault, Relay};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_safe_to_repeat_is_repeated_and_has_one_effect() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let relay = Relay::start(server.address).await;
    let quick = Retry { pause: std::time::Duration::from_millis(1), ..Retry::default() };
    let client = Client::builder(relay.url(), &acme.key).retry(quick).build().unwrap();
    let agents = client.agents();

    relay.fail([Fault::LostAnswer, Fault::BadGateway, Fault::LostAnswer, Fault::TooMany(0)]);
    let mira = agents.create(&agent("Mira")).await.unwrap();
    assert_eq!((relay.left(), mira.version), (0, 1));
    assert_eq!(agents.list(&AgentFilter::default()).all().await.unwrap(), std::slice::from_ref(&mira), "made once");
    relay.fail([Fault::BadGateway, Fault::LostAnswer]);
    assert_eq!(agents.get(mira.id).await.unwrap(), mira);

    // a change whose answer is lost may have been made: the caller is told, and nothing is sent again
    let change = UpdateAgent { role: Patch::Set("sales".into()), ..UpdateAgent::default() };
    relay.fail([Fault::LostAnswer, Fault::BadGateway]);
    let lost = agents.update(mira.id, mira.version, &change).await.unwrap_err();
    assert!(matches!(lost, Error::Transport { .. }), "{lost}");
    assert_eq!(relay.left(), 1);
    assert_eq!(agents.get(mira.id).await.unwrap().role, "sales", "it was made");
    // one that was turned away at the door is sent again
    relay.fail([Fault::TooMany(0)]);
    agents.delete(mira.id, mira.version + 1).await.unwrap();

    // patience has an end, in attempts and in time
    relay.fail([Fault::TooMany(200)]);
    let late = agents.create(&agent("Late")).await.unwrap_err();
    assert_eq!((late.code(), late.api().unwrap().retry_after.unwrap().as_secs()), (Some("http_429"), 200));
    relay.fail([Fault::BadGateway; 5]);
    assert_eq!(agents.create(&agent("Late")).await.unwrap_err().code(), Some("http_502"));
    assert_eq!(relay.left(), 0);
}

/// Two processes that share a key make one record; a client's own keys are never the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_callers_own_outlives_the_process() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let client = || Client::builder(format!("http://{}", server.address), &acme.key).build().unwrap();
    let make = |client: Client| async move {
        client.agents().create(&agent("Mira")).idempotency_key("order-4711").await.map(|agent| agent.id)
    };
    let (first, second) = tokio::join!(make(client()), make(client()));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(client().agents().create(&agent("Mira")).await.unwrap_err().code(), Some("agent_name_taken"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_is_refused_as_an_error_with_a_code() {
    let server = TestServer::start().await;
    let (acme, globex) = (server.tenant("acme").await, server.tenant("globex").await);
    let url = format!("http://{}", server.address);
    let acme_client = Client::builder(&url, &acme.key).build().unwrap();
    let mira = acme_client.agents().create(&agent("Mira")).await.unwrap();
    let other = Client::builder(&url, &globex.key).build().unwrap();
    assert_eq!(other.agents().get(mira.id).await.unwrap_err().code(), Some("agent_not_found"));
    let mixed = Client::builder(&url, &acme.key).tenant("globex").build().unwrap();
    assert_eq!(mixed.agents().get(mira.id).await.unwrap_err().code(), Some("tenant_mismatch"));
    let stranger = Client::builder(&url, "tnk_0000000000000000_x").build().unwrap();
    assert_eq!(stranger.agents().get(mira.id).await.unwrap_err().api().unwrap().status, 401);
}

/// A stream that is cut again and again misses nothing and tells nothing twice; its end has a reason.
#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_events_comes_back_where_it_broke_off() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let relay = Relay::start(server.address).await;
    let client = Client::builder(relay.url(), &acme.key).build().unwrap();
    let names = ["Ada", "Bea", "Cleo", "Dora"];
    let mut stream = client.events().types(["agent.created"]).after(0).stream();
    for (i, name) in names.iter().enumerate() {
        client.agents().create(&agent(name)).await.unwrap();
        let Some(Event::Published(event)) = stream.try_next().await.unwrap() else { panic!("{name} is told") };
        assert_eq!((event.kind.as_str(), event.record::<Agent>().unwrap().name.as_str()), ("agent.created", *name));
        relay.cut();
        if i == 1 {
            relay.fail([Fault::BadGateway]);
        }
    }
    let again = client.events().types(["agent.*"]).after(0).stream();
    let all: Vec<String> = again
        .take(names.len())
        .map_ok(|event| match event {
            Event::Published(event) => event.data["name"].as_str().unwrap().to_owned(),
            Event::Reset { newest } => panic!("reset at {newest}"),
        })
        .try_collect()
        .await
        .unwrap();
    assert_eq!(all, names);

    let (key, actor) = (acme.key_id.parse().unwrap(), isolation::server::actor());
    server.state.provisioner.revoke_key("acme", key, &actor).await.unwrap();
    let end = stream.try_next().await.unwrap_err();
    let told = matches!(&end, Error::Ended(_)) || end.api().is_some_and(|refusal| refusal.status == 401);
    assert!(told, "{end}");
    assert!(stream.try_next().await.unwrap().is_none(), "it is over");
}
