use axum::http::header;
use serde_json::{Value, json};

use crate::plane::Plane;

const PATH: &str = "/admin/v1/plans";

#[tokio::test]
async fn plans_are_made_changed_and_removed() {
    let plane = Plane::start().await;
    let made = plane.post(PATH, json!({ "tier": "team", "requests_per_minute": 1000, "max_agents": 7 })).await;
    let (address, tag) = (made.header(header::LOCATION).to_owned(), made.header(header::ETAG).to_owned());
    let made = made.ok(201);
    assert_eq!(address, format!("{PATH}/team"));
    assert_eq!((&made["max_agents"], &made["max_tasks_per_month"]), (&json!(7), &Value::Null));
    assert_eq!(plane.get(&address).await.ok(200), made);
    assert_eq!(plane.get(PATH).await.ok(200)["data"].as_array().unwrap().len(), 5);

    let nothing = plane.patch(&address, json!({})).await;
    assert_eq!(nothing.header(header::ETAG), tag, "what names nothing changes nothing");
    let changed = plane.patch(&address, json!({ "max_agents": null, "max_concurrent_tasks": 3 })).await.ok(200);
    assert_eq!((&changed["max_agents"], &changed["max_concurrent_tasks"]), (&Value::Null, &json!(3)));
    assert_eq!(changed["requests_per_minute"], 1000);
    let stale = plane
        .send(
            axum::http::Method::PATCH,
            &address,
            Some(&plane.token),
            &[("if-match", &tag)],
            Some(json!({ "max_agents": 1 })),
        )
        .await;
    assert_eq!((stale.face().1, &stale.body["current"]["tier"]), ("version_conflict", &json!("team")));

    plane
        .post("/admin/v1/tenants", json!({ "slug": "acme", "admin_email": "it@acme.example", "plan_tier": "team" }))
        .await
        .ok(201);
    assert_eq!(plane.delete(&address).await.face(), (409, "plan_in_use", ""));
    plane.patch("/admin/v1/tenants/acme", json!({ "plan_tier": "free" })).await.ok(200);
    plane.delete(&address).await.ok(200);
    for answer in [plane.get(&address).await, plane.delete(&address).await, plane.patch(&address, json!({})).await] {
        assert_eq!(answer.face(), (404, "plan_not_found", ""));
    }
    let trail = plane.get("/admin/v1/audit?action_prefix=plan.").await.ok(200);
    let actions: Vec<&str> = trail["data"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["plan.delete", "plan.update", "plan.create"]);
}

#[tokio::test]
async fn plans_that_make_no_sense_are_refused() {
    let plane = Plane::start().await;
    for (body, status, code, pointer) in [
        (json!({ "tier": "free" }), 409, "plan_exists", "/tier"),
        (json!({ "tier": "" }), 422, "validation_failed", "/tier"),
        (json!({ "tier": "Gold" }), 422, "validation_failed", "/tier"),
        (json!({ "tier": "x".repeat(21) }), 422, "validation_failed", "/tier"),
        (json!({ "tier": "gold", "requests_per_minute": 0 }), 422, "validation_failed", "/requests_per_minute"),
        (json!({ "tier": "gold", "max_agents": -1 }), 422, "validation_failed", "/max_agents"),
        (json!({ "tier": "gold", "max_agents": "many" }), 422, "invalid_body", "/max_agents"),
        (json!({ "max_agents": 1 }), 422, "invalid_body", ""),
    ] {
        assert_eq!(plane.post(PATH, body.clone()).await.face(), (status, code, pointer), "{body}");
    }
    for tier in ["nobody", "%00", &"x".repeat(300)] {
        assert_eq!(plane.get(&format!("{PATH}/{tier}")).await.face(), (404, "plan_not_found", ""));
    }
}
