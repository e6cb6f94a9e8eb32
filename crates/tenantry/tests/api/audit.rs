//! Who entered a tenant is in its audit trail, once in a while and not for every request.

use std::time::Duration;

use isolation::backends::eventually;
use isolation::server::{Answer, TestServer};
use reqwest::Method;

const ENTRIES: &str = "SELECT e.actor_kind, e.actor, e.target, e.client_ip, e.request_id, e.details->>'slug', e.details->>'path' \
    FROM audit.events e WHERE e.action = 'access.enter' ORDER BY e.id";

#[tokio::test]
async fn entries_of_a_tenant_are_in_the_trail() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let admin = server.database.admin().await;
    for number in 0..5 {
        let request = server.by(&acme, Method::GET, "/v1/agents?limit=1").header("x-request-id", format!("r{number}"));
        assert_eq!(Answer::to(request).await.status, 200);
    }
    eventually("it is noted", async || !admin.query(ENTRIES, &[]).await.unwrap().is_empty()).await;
    let globex = server.tenant("globex").await;
    assert_eq!(Answer::to(server.by(&globex, Method::GET, "/v1/tasks")).await.status, 200);
    eventually("the other as well", async || admin.query(ENTRIES, &[]).await.unwrap().len() > 1).await;
    let rows = admin.query(ENTRIES, &[]).await.unwrap();
    let texts: Vec<Vec<String>> = rows.iter().map(|row| (0..7).map(|at| row.get::<_, String>(at)).collect()).collect();
    assert_eq!(texts.len(), 2, "one for a credential and address: {texts:?}");
    let name = format!("first key ({})", acme.key_id);
    assert_eq!(texts[0], ["api_key", &name, "GET /v1/agents", "127.0.0.1", "r0", "acme", "/v1/agents"]);
    assert_eq!(texts[1][5..], ["globex", "/v1/tasks"]);
}

#[tokio::test]
async fn entries_are_noted_again_after_a_while_or_never() {
    let often = TestServer::with(|settings| settings.registry.note_entries_every = Duration::from_nanos(1)).await;
    let acme = often.tenant("acme").await;
    let never = TestServer::on(often.database.clone(), |settings| {
        settings.registry.note_entries_every = Duration::ZERO;
    })
    .await;
    let admin = often.database.admin().await;
    for server in [&never, &often, &often] {
        assert_eq!(Answer::to(server.by(&acme, Method::GET, "/v1/agents")).await.status, 200);
    }
    eventually("both are noted", async || admin.query(ENTRIES, &[]).await.unwrap().len() >= 2).await;
    never.stop().await;
    often.stop().await;
    assert_eq!(admin.query(ENTRIES, &[]).await.unwrap().len(), 2, "and the third not");
}
