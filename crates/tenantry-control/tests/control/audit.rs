use axum::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::plane::Plane;

fn actions(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_change_is_written_down_with_who_asked() {
    let plane = Plane::with_grace(TimeDelta::zero()).await;
    let sent = |method, path: &'static str, body| {
        plane.send(method, path, Some(&plane.token), &[("x-request-id", "req-42")], body)
    };
    let new = json!({ "slug": "acme", "admin_email": "it@acme.example" });
    let tenant = sent(Method::POST, "/admin/v1/tenants", Some(new.clone())).await.ok(201);
    let id = tenant["tenant"]["id"].as_str().unwrap();
    let secret = tenant["api_key"]["token"].as_str().unwrap().splitn(3, '_').nth(2).unwrap();
    sent(Method::PATCH, "/admin/v1/tenants/acme", Some(json!({ "max_agents": 9 }))).await.ok(200);
    let key = sent(Method::POST, "/admin/v1/tenants/acme/keys", Some(json!({ "name": "ci" }))).await.ok(201);
    let key_path = format!("/admin/v1/tenants/acme/keys/{}", key["id"].as_str().unwrap());
    plane.delete(&key_path).await.ok(200);
    plane.delete(&key_path).await.ok(200);
    sent(Method::POST, "/admin/v1/tenants/acme/suspend", None).await.ok(200);
    sent(Method::POST, "/admin/v1/tenants/acme/suspend", None).await.ok(200);
    sent(Method::POST, "/admin/v1/tenants/acme/resume", None).await.ok(200);
    sent(Method::DELETE, "/admin/v1/tenants/acme", None).await.ok(200);
    sent(Method::POST, "/admin/v1/tenants/acme/restore", None).await.ok(200);
    sent(Method::DELETE, "/admin/v1/tenants/acme", None).await.ok(200);
    // refused requests change nothing and are not written down as changes
    sent(Method::POST, "/admin/v1/tenants", Some(new)).await.ok(409);
    sent(Method::POST, "/admin/v1/tenants/acme/resume", None).await.ok(409);

    let trail = plane.get("/admin/v1/audit?tenant=acme").await.ok(200);
    let expected = [
        "tenant.delete",
        "tenant.restore",
        "tenant.delete",
        "tenant.resume",
        "tenant.suspend",
        "key.revoke",
        "key.create",
        "tenant.update",
        "tenant.create",
    ];
    assert_eq!(actions(&trail), expected, "newest first, and no row for what changed nothing");
    for event in trail["data"].as_array().unwrap() {
        assert_eq!((&event["actor_kind"], &event["actor"]), (&json!("operator"), &json!("ada")), "{event}");
        assert_eq!((&event["client_ip"], &event["tenant_id"]), (&json!("192.0.2.7"), &json!(id)), "{event}");
        assert!(event["action"] == "key.revoke" || event["request_id"] == "req-42", "{event}");
        assert!(!event.to_string().contains(secret), "no secret in the trail");
    }
    let update = &trail["data"][7]["details"];
    assert_eq!((&update["before"]["max_agents"], &update["after"]["max_agents"]), (&Value::Null, &json!(9)));

    sent(Method::POST, "/admin/v1/tenants/acme/purge", Some(json!({ "confirm": "acme" }))).await.ok(200);
    assert_eq!(plane.get("/admin/v1/audit?tenant=acme").await.face().0, 404);
    let left = plane.get(&format!("/admin/v1/audit?tenant_id={id}")).await.ok(200);
    assert_eq!(actions(&left)[0], "tenant.purge", "the trail outlives the tenant");
    assert_eq!(actions(&left).len(), expected.len() + 1);
}

#[tokio::test]
async fn the_trail_is_paged_and_filtered() {
    let plane = Plane::start().await;
    for slug in ["acme", "globex"] {
        plane.tenant(slug).await;
    }
    plane.step("/admin/v1/tenants/acme/suspend").await.ok(200);
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = plane.get(&format!("/admin/v1/audit?limit=2{after}")).await.ok(200);
        let events = page["data"].as_array().unwrap();
        assert!(events.len() <= 2);
        seen.extend(events.iter().map(|event| event["id"].as_i64().unwrap()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        after = format!("&after={cursor}");
    }
    assert_eq!(seen.len(), 4, "one operator, two tenants, one suspension");
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, each once: {seen:?}");
    let created = plane.get("/admin/v1/audit?action=tenant.create").await.ok(200);
    assert_eq!(actions(&created), ["tenant.create", "tenant.create"]);
    let one = plane.get("/admin/v1/audit?action=tenant.create&tenant=globex").await.ok(200);
    assert_eq!(one["data"][0]["details"]["slug"], "globex");
    for method in [Method::PATCH, Method::DELETE, Method::POST] {
        let answer = plane.send(method, "/admin/v1/audit", Some(&plane.token), &[], None).await;
        assert_eq!(answer.status.as_u16(), 405, "nobody changes the trail");
    }
}

#[tokio::test]
async fn the_trail_is_searched() {
    let plane = Plane::start().await;
    for slug in ["acme", "globex"] {
        plane.tenant(slug).await;
    }
    let named = |body| {
        plane.send(
            Method::POST,
            "/admin/v1/tenants/acme/keys",
            Some(&plane.token),
            &[("x-request-id", "req-7")],
            Some(body),
        )
    };
    let key = named(json!({ "name": "Nightly Export" })).await.ok(201);
    let target = format!("key/{}", key["id"].as_str().unwrap());
    let before =
        plane.get("/admin/v1/audit?action=key.create").await.ok(200)["data"][0]["at"].as_str().unwrap().to_owned();
    for (query, expected) in [
        ("action_prefix=key.".to_owned(), vec!["key.create"]),
        ("request_id=req-7".to_owned(), vec!["key.create"]),
        (format!("target={target}"), vec!["key.create"]),
        ("text=nightly%20EXPORT".to_owned(), vec!["key.create"]),
        ("text=%25".to_owned(), vec![]),
        ("actor=ada&actor_kind=operator&action_prefix=tenant.".to_owned(), vec!["tenant.create", "tenant.create"]),
        ("actor=ada&actor_kind=api_key".to_owned(), vec![]),
        ("tenant=globex&actor=ada".to_owned(), vec!["tenant.create"]),
        (format!("since={}", before.replace('+', "%2B")), vec!["key.create"]),
        (format!("until={}&tenant=acme", before.replace('+', "%2B")), vec!["tenant.create"]),
        ("since=2100-01-01T00:00:00Z".to_owned(), vec![]),
    ] {
        let found = plane.get(&format!("/admin/v1/audit?{query}")).await.ok(200);
        assert_eq!(actions(&found), expected, "{query}");
    }
    for (query, parameter) in [
        ("actor_kind=ghost", "actor_kind"),
        ("actor=", "actor"),
        ("text=a%00", "text"),
        ("since=yesterday", "since"),
        ("until=0001-01-01T00:00:00Z", "until"),
        ("action_prefix=%20", "action_prefix"),
    ] {
        assert_eq!(
            plane.get(&format!("/admin/v1/audit?{query}")).await.face(),
            (400, "invalid_query", parameter),
            "{query}"
        );
    }
}
