use axum::http::{Method, header};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tenantry_core::OperatorRole;
use tenantry_postgres::Actor;

use crate::plane::Plane;

const PATH: &str = "/admin/v1/operators";

#[tokio::test]
async fn a_revoked_operator_is_refused() {
    let plane = Plane::start().await;
    let made = plane.post(PATH, json!({ "name": "grace" })).await;
    let address = made.header(header::LOCATION).to_owned();
    let made = made.ok(201);
    let token = made["token"].as_str().unwrap();
    plane.send(Method::GET, PATH, Some(token), &[], None).await.ok(200);
    let revoked = plane.delete(&address).await.ok(200);
    assert!(revoked["revoked_at"].is_string());
    assert_eq!(plane.eventually(PATH, token, 401).await.face().1, "invalid_credential");
    assert_eq!(plane.delete(&address).await.ok(200), revoked, "revoking again changes nothing");
    let listed = plane.get(&format!("{PATH}?limit=1")).await.ok(200);
    assert_eq!(listed["data"][0], revoked, "newest first, revoked ones too");
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest = plane.get(&format!("{PATH}?cursor={cursor}")).await.ok(200);
    assert_eq!((&rest["data"][0]["name"], &rest["next_cursor"]), (&json!("ada"), &Value::Null));
}

#[tokio::test]
async fn the_last_valid_token_stays() {
    let plane = Plane::start().await;
    let listed = plane.get(PATH).await.ok(200);
    let ada = format!("{PATH}/{}", listed["data"][0]["id"].as_str().unwrap());
    assert_eq!(plane.delete(&ada).await.face(), (409, "last_operator", ""));
    // A token that has expired lets nobody in, so it does not count.
    let past = Some(Utc::now() - TimeDelta::seconds(1));
    plane.world.provisioner.issue_operator("expired", OperatorRole::Admin, past, &Actor::system("test")).await.unwrap();
    assert_eq!(plane.delete(&ada).await.face(), (409, "last_operator", ""));

    let made = plane.post(PATH, json!({ "name": "grace" })).await;
    let grace = made.header(header::LOCATION).to_owned();
    let (one, two) = tokio::join!(plane.delete(&ada), plane.delete(&grace));
    let mut statuses = [one, two].map(|answer| answer.status.as_u16());
    statuses.sort_unstable();
    // 401 when the first revocation was heard before the second request was let in
    assert!(matches!(statuses, [200, 401 | 409]), "two that revoke each other do not lock everybody out: {statuses:?}");
    let valid =
        "SELECT count(*) FROM public.operator_tokens WHERE revoked_at IS NULL AND coalesce(expires_at > now(), true)";
    let left: i64 = plane.world.admin().await.query_one(valid, &[]).await.unwrap().get(0);
    assert_eq!(left, 1);
}

#[tokio::test]
async fn operators_that_make_no_sense_are_refused() {
    let plane = Plane::start().await;
    assert_eq!(plane.post(PATH, json!({ "name": "ada" })).await.face(), (409, "operator_exists", "/name"));
    for (body, code, pointer) in [
        (json!({ "name": "" }), "validation_failed", "/name"),
        (json!({ "name": " a" }), "validation_failed", "/name"),
        (json!({ "name": "a\0" }), "validation_failed", "/name"),
        (json!({ "name": "x", "expires_at": Utc::now() - TimeDelta::seconds(1) }), "validation_failed", "/expires_at"),
        (json!({ "name": "x", "role": "root" }), "invalid_body", "/role"),
    ] {
        assert_eq!(plane.post(PATH, body.clone()).await.face(), (422, code, pointer), "{body}");
    }
    let unknown = format!("{PATH}/00000000-0000-0000-0000-000000000000");
    assert_eq!(plane.delete(&unknown).await.face(), (404, "operator_not_found", ""));
    assert_eq!(plane.delete(&format!("{PATH}/x")).await.face().1, "invalid_path");
}
