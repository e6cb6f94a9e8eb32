use axum::http::{Method, header};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tenantry_core::OperatorRole;

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
    plane.operator("expired", OperatorRole::Admin).await;
    let ended = "UPDATE public.operator_tokens SET expires_at = now() - interval '1 second' WHERE name = 'expired'";
    plane.world.admin().await.batch_execute(ended).await.unwrap();
    assert_eq!(plane.delete(&ada).await.face(), (409, "last_operator", ""));

    // Neither does one that may not change anything.
    plane.operator("reader", OperatorRole::Support).await;
    assert_eq!(plane.delete(&ada).await.face(), (409, "last_operator", ""));

    let made = plane.post(PATH, json!({ "name": "grace", "role": "admin" })).await;
    let grace = made.header(header::LOCATION).to_owned();
    let (one, two) = tokio::join!(plane.delete(&ada), plane.delete(&grace));
    let mut statuses = [one, two].map(|answer| answer.status.as_u16());
    statuses.sort_unstable();
    // 401 when the first revocation was heard before the second request was let in
    assert!(matches!(statuses, [200, 401 | 409]), "two that revoke each other do not lock everybody out: {statuses:?}");
    let valid = "SELECT count(*) FROM public.operator_tokens WHERE role = 'admin' AND revoked_at IS NULL AND coalesce(expires_at > now(), true)";
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

#[tokio::test]
async fn a_role_reaches_as_far_as_its_rules() {
    let plane = Plane::start().await;
    plane.tenant("acme").await;
    let viewer = plane.post(PATH, json!({ "name": "vic" })).await.ok(201);
    assert_eq!(viewer["role"], "viewer", "the least unless another is asked for");
    let viewer = viewer["token"].as_str().unwrap().to_owned();
    let support = plane.operator("sue", OperatorRole::Support).await;
    let at = "/admin/v1/tenants/acme";
    let send = |method, path: String, token: &str, body| {
        let token = token.to_owned();
        let plane = &plane;
        async move { plane.send(method, &path, Some(&token), &[], body).await }
    };
    for token in [&viewer, &support] {
        send(Method::GET, at.to_owned(), token, None).await.ok(200);
        send(Method::HEAD, at.to_owned(), token, None).await.ok(200);
        for (method, path, body) in [
            (Method::PATCH, at.to_owned(), Some(json!({ "max_agents": 1 }))),
            (Method::DELETE, at.to_owned(), None),
            (Method::POST, format!("{at}/keys"), Some(json!({ "name": "k" }))),
            (Method::POST, PATH.to_owned(), Some(json!({ "name": "own", "role": "admin" }))),
        ] {
            let answer = send(method.clone(), path.clone(), token, body).await;
            assert_eq!(answer.face(), (403, "permission_denied", ""), "{method} {path}");
        }
    }
    assert_eq!(send(Method::POST, format!("{at}/suspend"), &viewer, None).await.face().1, "permission_denied");
    assert_eq!(send(Method::POST, format!("{at}/suspend"), &support, None).await.ok(200)["status"], "suspended");
    send(Method::POST, format!("{at}/resume"), &support, None).await.ok(200);
    let trail = plane.get("/admin/v1/audit?tenant=acme&actor=sue").await.ok(200);
    assert_eq!(trail["data"].as_array().unwrap().len(), 2, "who did it is written down");
}
