use axum::http::Method;
use serde_json::{Value, json};

use crate::plane::Plane;

fn with(member: &str, value: Value) -> Value {
    let mut body = json!({ "slug": "newcomer", "admin_email": "it@new.example" });
    body[member] = value;
    body
}

#[tokio::test]
async fn invalid_values_are_pointed_at() {
    let plane = Plane::start().await;
    plane.tenant("acme").await;
    let long = "x".repeat(300);
    let creations = [
        (with("slug", json!("Not A Slug")), (422, "validation_failed", "/slug")),
        (with("slug", json!("x'; DROP SCHEMA tenant_acme; --")), (422, "validation_failed", "/slug")),
        (with("slug", json!("a\0b")), (422, "validation_failed", "/slug")),
        (with("slug", json!("a".repeat(64))), (422, "validation_failed", "/slug")),
        (with("slug", json!("admin")), (422, "validation_failed", "/slug")),
        (with("slug", json!(7)), (422, "invalid_body", "/slug")),
        (with("admin_email", json!("nobody")), (422, "validation_failed", "/admin_email")),
        (with("admin_email", json!(format!("{long}@x.example"))), (422, "validation_failed", "/admin_email")),
        (with("plan_tier", json!("gold")), (422, "validation_failed", "/plan_tier")),
        (with("plan_tier", json!(long)), (422, "validation_failed", "/plan_tier")),
        (with("plan_tier", json!("free\0")), (422, "validation_failed", "/plan_tier")),
        (with("allowed_domains", json!(["no_host"])), (422, "validation_failed", "/allowed_domains")),
        (with("allowed_domains", json!(["10.0.0.1"])), (422, "validation_failed", "/allowed_domains")),
        (with("allowed_domains", json!(vec!["a.b"; 101])), (422, "validation_failed", "/allowed_domains")),
        (with("max_agents", json!(-1)), (422, "validation_failed", "/max_agents")),
        (with("max_agents", json!(3_000_000_000_i64)), (422, "invalid_body", "/max_agents")),
        (with("status", json!("active")), (422, "invalid_body", "/status")),
        (json!({ "slug": "newcomer" }), (422, "invalid_body", "")),
        (with("slug", json!("acme")), (409, "tenant_exists", "/slug")),
    ];
    for (body, expected) in creations {
        assert_eq!(plane.post("/admin/v1/tenants", body.clone()).await.face(), expected, "{body}");
    }
    let patches = [
        (json!({ "plan_tier": null }), (422, "invalid_body", "/plan_tier")),
        (json!({ "admin_email": null }), (422, "invalid_body", "/admin_email")),
        (json!({ "plan_tier": "gold" }), (422, "validation_failed", "/plan_tier")),
        (json!({ "storage_limit_gb": -5 }), (422, "validation_failed", "/storage_limit_gb")),
        (json!({ "statement_timeout_ms": 0 }), (422, "validation_failed", "/statement_timeout_ms")),
        (json!({ "lock_timeout_ms": -1 }), (422, "validation_failed", "/lock_timeout_ms")),
        (json!({ "stripe_customer_id": "" }), (422, "validation_failed", "/stripe_customer_id")),
        (json!({ "stripe_subscription_id": "a\0" }), (422, "validation_failed", "/stripe_subscription_id")),
        (json!({ "slug": "other" }), (422, "invalid_body", "/slug")),
    ];
    for (body, expected) in patches {
        assert_eq!(plane.patch("/admin/v1/tenants/acme", body.clone()).await.face(), expected, "{body}");
    }
    let listed = plane.get("/admin/v1/tenants").await.ok(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "nothing was made by a refused request");
}

#[tokio::test]
async fn a_domain_has_one_tenant() {
    let plane = Plane::start().await;
    plane.post("/admin/v1/tenants", with("allowed_domains", json!(["crm.new.example"]))).await.ok(201);
    plane.tenant("acme").await;
    let mut second = with("allowed_domains", json!(["CRM.new.example"]));
    second["slug"] = json!("another");
    assert_eq!(plane.post("/admin/v1/tenants", second).await.face(), (409, "domain_taken", "/allowed_domains"));
    let taken = plane.patch("/admin/v1/tenants/acme", json!({ "allowed_domains": ["crm.new.example"] })).await;
    assert_eq!(taken.face(), (409, "domain_taken", "/allowed_domains"));
    assert_eq!(plane.get("/admin/v1/tenants/another").await.face().0, 404);
}

#[tokio::test]
async fn bad_queries_name_the_parameter() {
    let plane = Plane::start().await;
    for (path, code, parameter) in [
        ("tenants?status=gone", "invalid_query", "status"),
        ("tenants?limit=0", "invalid_query", "limit"),
        ("tenants?limit=201", "invalid_query", "limit"),
        ("tenants?plan_tier=%00", "invalid_query", "plan_tier"),
        ("tenants?prefix=a%00", "invalid_query", "prefix"),
        ("tenants?offset=3", "invalid_query", "offset"),
        ("tenants?cursor=zzz", "invalid_cursor", "cursor"),
        ("operators?cursor=b3A6MQ", "invalid_cursor", "cursor"),
        ("audit?after=-", "invalid_cursor", "after"),
        ("audit?tenant=a%00", "invalid_query", "tenant"),
        ("audit?tenant_id=7", "invalid_query", "tenant_id"),
        ("audit?action=%00", "invalid_query", "action"),
        ("audit?tenant=acme&tenant_id=00000000-0000-0000-0000-000000000000", "invalid_query", "tenant_id"),
    ] {
        assert_eq!(plane.get(&format!("/admin/v1/{path}")).await.face(), (400, code, parameter), "{path}");
    }
    assert_eq!(plane.get("/admin/v1/audit?tenant=nobody").await.face(), (404, "tenant_not_found", ""));
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Whatever stands in the place of the slug is a tenant's slug, or ends in 400 or 404 before it could reach SQL.
#[tokio::test]
async fn hostile_slugs_reach_no_statement() {
    let plane = Plane::start().await;
    let tenant = plane.tenant("acme").await;
    let hostile = [
        "x'; DROP SCHEMA tenant_acme CASCADE; --",
        "acme' OR '1'='1",
        "acme\"; SELECT 1; --",
        "acme\0",
        "../acme",
        "acme/../../tenants",
        "ACME",
        "tenant_acme",
        "acme\u{2019}",
        "\u{fffd}",
        " acme",
        "$1",
        "%s",
        "",
        "nobody",
    ];
    let long = "a".repeat(5000);
    for slug in hostile.into_iter().chain([long.as_str()]) {
        let at = format!("/admin/v1/tenants/{}", percent_encoded(slug));
        let key = format!("{at}/keys/00000000-0000-0000-0000-000000000000");
        let requests = [
            (Method::GET, at.clone(), None),
            (Method::PATCH, at.clone(), Some(json!({ "max_agents": 1 }))),
            (Method::DELETE, at.clone(), None),
            (Method::POST, format!("{at}/suspend"), None),
            (Method::POST, format!("{at}/resume"), None),
            (Method::POST, format!("{at}/restore"), None),
            (Method::POST, format!("{at}/purge"), Some(json!({ "confirm": slug }))),
            (Method::GET, format!("{at}/keys"), None),
            (Method::POST, format!("{at}/keys"), Some(json!({ "name": "k" }))),
            (Method::DELETE, key, None),
        ];
        for (method, path, body) in requests {
            let answer = plane.send(method.clone(), &path, Some(&plane.token), &[], body).await;
            assert!(matches!(answer.face().0, 400 | 404), "{method} {slug:?}: {} {}", answer.status, answer.body);
        }
    }
    let invalid = plane.send(Method::GET, "/admin/v1/tenants/%FF", Some(&plane.token), &[], None).await;
    assert_eq!(invalid.face().0, 400);
    assert_eq!(plane.get("/admin/v1/tenants/acme").await.ok(200), tenant["tenant"], "the tenant is as it was");
}
