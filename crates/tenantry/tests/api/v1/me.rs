use isolation::server::{Answer, TestServer, actor};
use isolation::tokens;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tenantry_core::Role;
use tenantry_postgres::{NewKey, NewMember};

#[tokio::test]
async fn everybody_is_told_who_they_are_and_what_they_may() {
    let server = TestServer::with(|settings| settings.http.jwt = Some(tokens::accepting())).await;
    let acme = server.tenant("acme").await;
    let me = Answer::to(server.by(&acme, Method::GET, "/v1/me")).await.json();
    assert_eq!((&me["tenant"]["slug"], &me["role"], &me["scopes"]), (&json!("acme"), &json!("owner"), &json!([])));
    assert_eq!(me["principal"]["key"]["id"], acme.key_id);
    assert_eq!(me["limits"]["max_agents"], json!(null), "the enterprise plan has no limits");
    let all = me["permissions"].as_array().unwrap();
    assert!(all.contains(&json!("keys:write")) && all.contains(&json!("me:read")));

    let scopes = ["agents:read".to_owned()];
    let narrow =
        server.state.provisioner.create_key("acme", &NewKey::named("narrow").scoped(&scopes), &actor()).await.unwrap();
    let narrow = server.request(Method::GET, "/v1/me").bearer_auth(narrow.token.expose_secret());
    let me = Answer::to(narrow).await.json();
    assert_eq!(me["permissions"], json!(["agents:read", "me:read"]));

    let new = NewMember { subject: "ada".to_owned(), email: None, role: Role::Viewer };
    server.state.provisioner.add_member("acme", &new, &actor()).await.unwrap();
    let ada = Answer::to(server.request(Method::GET, "/v1/me").bearer_auth(tokens::token("acme", "ada"))).await.json();
    assert_eq!((&ada["role"], &ada["principal"]["kind"]), (&json!("viewer"), &json!("token")));
    assert!(!ada["permissions"].as_array().unwrap().contains(&json!("agents:write")));
}
