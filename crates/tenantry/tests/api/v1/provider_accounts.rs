use serde_json::json;

use crate::company::Company;

const TOKEN: &str = "sk-proj-0123456789abcdefWXYZ";

async fn account(company: &Company) -> serde_json::Value {
    company.make("/v1/provider-accounts", json!({ "provider": "openai", "name": "Main", "access_token": TOKEN })).await
}

fn path(account: &serde_json::Value) -> String {
    format!("/v1/provider-accounts/{}", account["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_secret_goes_in_and_never_comes_out() {
    let company = Company::open().await;
    let body = json!({
        "provider": "openai", "name": "Main", "owner_key": "team-a", "access_token": TOKEN,
        "refresh_token": "refresh-0123456789abcdef", "access_token_expires_at": "2030-01-01T00:00:00Z",
        "scopes": ["chat"], "account_meta": { "org": "acme" },
    });
    let made = company.make("/v1/provider-accounts", body).await;
    assert_eq!((&made["secret_hint"], &made["has_refresh_token"]), (&json!("WXYZ"), &json!(true)));
    assert_eq!((&made["status"], &made["version"], &made["scopes"]), (&json!("active"), &json!(1), &json!(["chat"])));
    let path = path(&made);
    let read = company.get(&path).await;
    assert_eq!((read.status, read.json()), (200, made.clone()));
    let listed = company.get("/v1/provider-accounts?provider=openai&status=active&owner_key=team-a").await;
    assert_eq!(listed.json()["data"], json!([made]));
    assert_eq!(company.get("/v1/provider-accounts?owner_key=team-b").await.json()["data"], json!([]));
    let changed = company.patch_if(&path, "\"1\"", json!({ "name": null, "account_meta": null })).await;
    assert_eq!((changed.status, &changed.json()["name"], &changed.json()["version"]), (200, &json!(""), &json!(2)));
    let rotated = company.post(&format!("{path}/rotate"), json!({ "access_token": "another-0123456789-ABCD" })).await;
    assert_eq!((rotated.status, &rotated.json()["secret_hint"]), (200, &json!("ABCD")));
    assert_eq!(rotated.json()["has_refresh_token"], false, "all that it had was replaced");
    for answer in [&read, &listed, &changed, &rotated] {
        for secret in [TOKEN, "refresh-0123", "another-0123"] {
            assert!(!answer.text.contains(secret), "{}", answer.text);
        }
    }
    // Neither the row, nor the audit trail, nor the published events hold it.
    let admin = company.server.database.admin().await;
    for sql in [
        format!("SELECT p::text FROM {}.provider_accounts p", company.tenant.schema),
        format!("SELECT e::text FROM {}.events e", company.tenant.schema),
        "SELECT e::text FROM audit.events e".to_owned(),
    ] {
        let rows = admin.query(&sql, &[]).await.unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            let text: String = row.get(0);
            assert!(!text.contains("another-0123") && !text.contains(TOKEN), "{text}");
            assert!(!text.contains(&hex("another-0123456789-ABCD")), "sealed, not only encoded: {text}");
        }
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_revoked_account_keeps_nothing_secret_and_stays_revoked() {
    let company = Company::open().await;
    let made = account(&company).await;
    let path = path(&made);
    let refused = company.post(&format!("{path}/revoke"), json!({})).await;
    let revoked = refused.json();
    assert_eq!((refused.status, &revoked["status"], &revoked["secret_hint"]), (200, &json!("revoked"), &json!(null)));
    let admin = company.server.database.admin().await;
    let sql = format!("SELECT octet_length(encrypted_access_token) FROM {}.provider_accounts", company.tenant.schema);
    assert_eq!(admin.query_one(&sql, &[]).await.unwrap().get::<_, i32>(0), 0);
    let rotated = company.post(&format!("{path}/rotate"), json!({ "access_token": TOKEN })).await;
    assert_eq!(rotated.verdict(), (409, "provider_account_revoked".to_owned()));
}

#[tokio::test]
async fn versions_and_uses_stand_in_the_way_of_changes() {
    let company = Company::open().await;
    let made = account(&company).await;
    let path = path(&made);
    assert_eq!(company.patch(&path, json!({ "name": "x" })).await.verdict(), (428, "version_required".to_owned()));
    let conflict = company.patch_if(&path, "\"7\"", json!({ "name": "x" })).await;
    assert_eq!(conflict.verdict(), (409, "version_conflict".to_owned()));
    assert_eq!(conflict.json()["current"], made);
    let old = json!({ "access_token": TOKEN, "version": 7 });
    assert_eq!(company.post(&format!("{path}/rotate"), old).await.verdict(), (409, "version_conflict".to_owned()));
    let agent = company.agent("Mira").await;
    let task = json!({ "agent_id": agent["id"], "title": "t", "provider_account_id": made["id"] });
    company.make("/v1/tasks", task).await;
    assert_eq!(company.delete(&path).await.verdict(), (409, "provider_account_in_use".to_owned()));
    let spare = account(&company).await;
    let spare = format!("/v1/provider-accounts/{}", spare["id"].as_str().unwrap());
    assert_eq!(company.delete(&spare).await.status, 204);
    assert_eq!(company.get(&spare).await.verdict(), (404, "provider_account_not_found".to_owned()));
}

#[tokio::test]
async fn a_repeated_creation_makes_one_account() {
    let company = Company::open().await;
    let body = json!({ "provider": "openai", "access_token": TOKEN });
    let send = async || {
        let request = company.server.by(&company.tenant, reqwest::Method::POST, "/v1/provider-accounts");
        isolation::server::Answer::to(request.header("idempotency-key", "k").json(&body)).await
    };
    let (first, second) = (send().await, send().await);
    assert_eq!((first.status, second.status, &first.text), (201, 201, &second.text));
    assert_eq!(company.walk("/v1/provider-accounts", 10).await.len(), 1);
}

#[tokio::test]
async fn bodies_are_checked() {
    let company = Company::open().await;
    let bad = json!({ "provider": "Open AI", "access_token": "short" });
    let refused = company.post("/v1/provider-accounts", bad).await;
    assert_eq!(refused.verdict(), (422, "validation_failed".to_owned()));
    let pointers: Vec<_> = refused.json()["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, [json!("/provider"), json!("/access_token")]);
    let unknown = json!({ "provider": "openai", "access_token": TOKEN, "status": "active" });
    assert_eq!(company.post("/v1/provider-accounts", unknown).await.verdict(), (422, "invalid_body".to_owned()));
}

#[tokio::test]
async fn without_a_master_key_nothing_secret_is_taken() {
    let server = isolation::server::TestServer::with(|settings| {
        settings.secrets = tenantry_secrets::SecretsConfig::default();
    })
    .await;
    let tenant = server.tenant("acme").await;
    let company = Company { server, tenant };
    let body = json!({ "provider": "openai", "access_token": TOKEN });
    let refused = company.post("/v1/provider-accounts", body).await;
    assert_eq!(refused.verdict(), (503, "secrets_unavailable".to_owned()));
    assert_eq!(company.get("/v1/provider-accounts").await.json()["data"], json!([]));
}
