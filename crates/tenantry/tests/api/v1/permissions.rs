//! What a limited credential may do.

use isolation::server::{Answer, Tenant};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tenantry_postgres::NewKey;

use crate::company::{Company, refusal};

async fn limited(company: &Company, scopes: &[&str]) -> Tenant {
    let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let actor = isolation::server::actor();
    let key = company
        .server
        .state
        .provisioner
        .create_key("acme", &NewKey::named("limited").scoped(&scopes), &actor)
        .await
        .unwrap();
    Tenant { key: key.token.expose_secret().to_owned(), key_id: key.info.id.to_string(), ..company.tenant.clone() }
}

#[tokio::test]
async fn a_key_does_what_its_scopes_name_and_nothing_else() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    let path = crate::company::at("agents", &mira);
    let reader = limited(&company, &["agents:read"]).await;
    let answer = async |by: &Tenant, method: Method, path: &str| {
        let body = json!({ "name": "Noor", "role": "support" });
        let request = company.server.by(by, method.clone(), path);
        Answer::to(if method == Method::GET { request } else { request.json(&body) }).await
    };
    assert_eq!(answer(&reader, Method::GET, &path).await.status, 200);
    assert_eq!(Answer::to(company.server.by(&reader, Method::HEAD, &path)).await.status, 200);
    let denied = refusal(403, "permission_denied");
    for (method, path) in [(Method::POST, "/v1/agents"), (Method::DELETE, &path), (Method::GET, "/v1/tasks")] {
        let refused = answer(&reader, method.clone(), path).await;
        assert_eq!(refused.verdict(), denied, "{method} {path}");
        assert!(refused.json()["permission"].is_string());
    }
    let writer = limited(&company, &["agents:write"]).await;
    assert_eq!(answer(&writer, Method::POST, "/v1/agents").await.status, 201);
    assert_eq!(answer(&writer, Method::GET, &path).await.verdict(), denied, "writing is not reading");
    let all = limited(&company, &["*"]).await;
    assert_eq!(answer(&all, Method::GET, "/v1/tasks").await.status, 200);
    let nothing = limited(&company, &["agents:raed"]).await;
    assert_eq!(answer(&nothing, Method::GET, &path).await.verdict(), denied, "a misspelt scope is none");
}
