use axum::http::header;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::plane::Plane;

const PATH: &str = "/admin/v1/tenants/acme/keys";

#[tokio::test]
async fn keys_are_made_listed_and_revoked() {
    let plane = Plane::start().await;
    let first = plane.tenant("acme").await;
    let other = plane.tenant("globex").await;
    let expires_at = Utc::now() + TimeDelta::days(1);
    let made = plane
        .post(
            PATH,
            json!({ "name": "ci", "scopes": ["tasks:read"], "requests_per_minute": 60, "expires_at": expires_at }),
        )
        .await;
    let address = made.header(header::LOCATION).to_owned();
    let made = made.ok(201);
    assert_eq!(address, format!("{PATH}/{}", made["id"].as_str().unwrap()));
    assert_eq!(made["requests_per_minute"], 60);
    let token = made["token"].as_str().unwrap();
    assert_eq!(plane.whoami(token).await.ok(200)["slug"], "acme");

    let page = plane.get(&format!("{PATH}?limit=1")).await.ok(200);
    assert_eq!(page["data"][0]["id"], made["id"], "newest first");
    assert_eq!((&page["data"][0]["scopes"], &page["data"][0]["token"]), (&json!(["tasks:read"]), &Value::Null));
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = plane.get(&format!("{PATH}?limit=1&cursor={cursor}")).await.ok(200);
    assert_eq!((&rest["data"][0]["id"], &rest["next_cursor"]), (&first["api_key"]["id"], &Value::Null));

    let revoked = plane.delete(&address).await.ok(200);
    assert!(revoked["revoked_at"].is_string());
    assert_eq!(plane.delete(&address).await.ok(200), revoked, "revoking again changes nothing");
    assert_eq!(plane.eventually("/v1/whoami", token, 401).await.face().1, "invalid_credential");
    let foreign = format!("{PATH}/{}", other["api_key"]["id"].as_str().unwrap());
    assert_eq!(
        plane.delete(&foreign).await.face(),
        (404, "key_not_found", ""),
        "another tenant's key is none of this one's"
    );
    plane.whoami(other["api_key"]["token"].as_str().unwrap()).await.ok(200);
    assert_eq!(plane.delete(&format!("{PATH}/7")).await.face().1, "invalid_path");
}

#[tokio::test]
async fn keys_that_make_no_sense_are_refused() {
    let plane = Plane::start().await;
    plane.tenant("acme").await;
    let past = Utc::now() - TimeDelta::seconds(1);
    for (body, code, pointer) in [
        (json!({ "name": "x", "expires_at": past }), "validation_failed", "/expires_at"),
        (json!({ "name": "x", "requests_per_minute": 0 }), "validation_failed", "/requests_per_minute"),
        (json!({ "name": "x", "expires_at": "tomorrow" }), "invalid_body", "/expires_at"),
        (json!({ "name": "" }), "validation_failed", "/name"),
        (json!({ "name": "a\0" }), "validation_failed", "/name"),
        (json!({ "name": "x".repeat(101) }), "validation_failed", "/name"),
        (json!({ "name": "x", "scopes": ["two words"] }), "validation_failed", "/scopes"),
        (json!({ "name": "x", "scopes": vec!["s"; 33] }), "validation_failed", "/scopes"),
        (json!({ "name": "x", "scope": [] }), "invalid_body", "/scope"),
    ] {
        assert_eq!(plane.post(PATH, body.clone()).await.face(), (422, code, pointer), "{body}");
    }
}
