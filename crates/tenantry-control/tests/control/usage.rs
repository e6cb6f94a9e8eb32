use std::time::Duration;

use axum::http::{Method, header};
use serde_json::{Value, json};

use crate::plane::Plane;

#[tokio::test]
async fn a_tenants_use_is_shown_as_it_was_measured() {
    let plane = Plane::start().await;
    plane.tenant("acme").await;
    const PATH: &str = "/admin/v1/tenants/acme/usage";
    let before = plane.get(PATH).await.ok(200);
    assert_eq!((&before["measured_at"], &before["quotas"][3]["used"]), (&Value::Null, &Value::Null));
    plane.world.provisioner.measure(Duration::ZERO, &[]).await.unwrap();
    let usage = plane.get(PATH).await.ok(200);
    let storage = &usage["quotas"][3];
    assert_eq!((&storage["quota_type"], &storage["limit_name"]), (&json!("storage"), &json!("storage_limit_gb")));
    assert!(storage["used"].as_i64().unwrap() > 0 && usage["measured_at"].is_string(), "{usage}");
    assert_eq!((&usage["slug"], &usage["storage_frozen"]), (&json!("acme"), &json!(false)));
    assert_eq!(plane.get("/admin/v1/tenants/nobody/usage").await.face().1, "tenant_not_found");
}

#[tokio::test]
async fn a_keys_rate_is_set_and_lifted() {
    let plane = Plane::start().await;
    let acme = plane.tenant("acme").await;
    let other = plane.tenant("globex").await;
    let path = |tenant: &Value| format!("/admin/v1/tenants/acme/keys/{}", tenant["api_key"]["id"].as_str().unwrap());
    let own = path(&acme);
    assert_eq!(plane.patch(&own, json!({ "requests_per_minute": 60 })).await.ok(200)["requests_per_minute"], 60);
    assert_eq!(plane.patch(&own, json!({})).await.ok(200)["requests_per_minute"], 60, "what is absent stays");
    assert_eq!(
        plane.patch(&own, json!({ "requests_per_minute": null })).await.ok(200)["requests_per_minute"],
        Value::Null
    );
    // a version names the key as it was read
    let first = plane.patch(&own, json!({ "requests_per_minute": 5 })).await;
    let tag = first.header(header::ETAG).to_owned();
    let read = first.ok(200)["version"].clone();
    assert_eq!(tag, format!("\"{read}\""));
    let based = async |version: &Value, limit: i32| {
        plane.patch(&own, json!({ "requests_per_minute": limit, "version": version })).await
    };
    let changed = based(&read, 6).await.ok(200);
    let stale = based(&read, 7).await;
    assert_eq!(stale.face(), (409, "version_conflict", ""));
    assert_eq!(stale.body["current"], changed, "as it is now");
    let tagged = async |tag: &str| {
        let body = Some(json!({ "requests_per_minute": 8 }));
        plane.send(Method::PATCH, &own, Some(&plane.token), &[("if-match", tag)], body).await
    };
    assert_eq!(tagged(&tag).await.face().0, 409);
    assert_eq!(tagged(&format!("\"{}\"", changed["version"])).await.ok(200)["requests_per_minute"], 8);
    assert_eq!(tagged("*").await.face().1, "invalid_precondition");
    let listed = plane.get("/admin/v1/tenants/acme/keys").await.ok(200);
    assert_eq!(listed["data"][0]["requests_per_minute"], 8, "and nothing else was changed");
    let wrong = plane.patch(&own, json!({ "requests_per_minute": 0 })).await;
    assert_eq!(wrong.face(), (422, "validation_failed", "/requests_per_minute"));
    assert_eq!(plane.patch(&path(&other), json!({})).await.face().1, "key_not_found", "another tenant's key");
}
