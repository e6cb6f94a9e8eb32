use std::time::{Duration, Instant};

use axum::http::{Method, header};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tenantry_postgres::Statement;

use crate::plane::Plane;

/// Schemas and roles of a tenant in the database, whatever the registry says.
async fn traces(plane: &Plane, id: &str, schema: &str) -> i64 {
    let role = format!("tnt_{}", id.replace('-', ""));
    let sql = "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = $1) + (SELECT count(*) FROM pg_roles WHERE rolname = $2) \
               + (SELECT count(*) FROM public.tenant_api_keys WHERE tenant_id = $3::text::uuid)";
    plane.world.admin().await.query_one(sql, &[&schema, &role, &id]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_tenant_lives_and_dies_over_http() {
    let plane = Plane::with_grace(TimeDelta::zero()).await;
    let new = json!({
        "slug": "acme", "admin_email": "it@acme.example", "plan_tier": "growth", "allowed_domains": ["CRM.acme.example."],
        "max_agents": 7,
    });
    let created = plane.post("/admin/v1/tenants", new).await;
    assert_eq!(created.header(header::LOCATION), "/admin/v1/tenants/acme");
    assert_eq!(created.header(header::CACHE_CONTROL), "no-store", "a token is in the body");
    let created = created.ok(201);
    let key = created["api_key"]["token"].as_str().unwrap();
    assert_eq!(plane.whoami(key).await.ok(200), json!({ "slug": "acme" }));

    let shown = plane.get("/admin/v1/tenants/acme").await.ok(200);
    assert_eq!(shown, created["tenant"]);
    assert_eq!(shown["allowed_domains"], json!(["crm.acme.example"]));
    assert_eq!(
        (&shown["status"], &shown["plan_tier"], &shown["max_agents"]),
        (&json!("active"), &json!("growth"), &json!(7))
    );
    let (id, schema) = (shown["id"].as_str().unwrap(), shown["schema_name"].as_str().unwrap());
    assert_eq!(traces(&plane, id, schema).await, 3);

    assert_eq!(plane.step("/admin/v1/tenants/acme/suspend").await.ok(200)["status"], "suspended");
    plane.step("/admin/v1/tenants/acme/suspend").await.ok(200);
    assert_eq!(plane.eventually("/v1/whoami", key, 403).await.face().1, "tenant_inactive");
    assert_eq!(plane.step("/admin/v1/tenants/acme/restore").await.face(), (409, "invalid_transition", ""));
    assert_eq!(plane.step("/admin/v1/tenants/acme/resume").await.ok(200)["status"], "active");
    plane.eventually("/v1/whoami", key, 200).await;
    let early = plane.post("/admin/v1/tenants/acme/purge", json!({ "confirm": "acme" })).await;
    assert_eq!(early.face(), (409, "not_purgeable", ""));

    let deletion = plane.delete("/admin/v1/tenants/acme").await.ok(200);
    assert_eq!(deletion["tenant"]["status"], "deleted");
    assert_eq!(deletion["purge_after"], deletion["tenant"]["deleted_at"], "no grace here");
    assert_eq!(plane.delete("/admin/v1/tenants/acme").await.ok(200), deletion, "deleting again changes nothing");
    plane.eventually("/v1/whoami", key, 403).await;
    assert_eq!(plane.step("/admin/v1/tenants/acme/resume").await.face().1, "invalid_transition");
    assert_eq!(plane.step("/admin/v1/tenants/acme/suspend").await.face().1, "invalid_transition");
    assert_eq!(plane.tenant_taken("acme").await, (409, "tenant_exists".to_owned()), "a deleted tenant keeps its slug");

    assert_eq!(plane.step("/admin/v1/tenants/acme/restore").await.ok(200)["deleted_at"], Value::Null);
    plane.eventually("/v1/whoami", key, 200).await;

    plane.delete("/admin/v1/tenants/acme").await.ok(200);
    for unsure in [json!({}), json!({ "confirm": "acm" }), json!({ "confirm": null })] {
        let refused = plane.post("/admin/v1/tenants/acme/purge", unsure).await;
        assert_eq!(refused.face(), (422, "confirmation_required", "/confirm"));
    }
    let silent = plane.step("/admin/v1/tenants/acme/purge").await;
    assert_eq!(silent.face(), (422, "confirmation_required", "/confirm"), "no body, no confirmation");
    assert_eq!(traces(&plane, id, schema).await, 3, "nothing is gone yet");
    let purged = plane.post("/admin/v1/tenants/acme/purge", json!({ "confirm": "acme" })).await.ok(200);
    assert_eq!(purged["id"], id);
    assert_eq!(traces(&plane, id, schema).await, 0);
    assert_eq!(plane.get("/admin/v1/tenants/acme").await.face(), (404, "tenant_not_found", ""));
    plane.eventually("/v1/whoami", key, 401).await;
    plane.tenant("acme").await;
}

#[tokio::test]
async fn the_grace_period_holds() {
    let plane = Plane::start().await;
    plane.tenant("acme").await;
    let deletion = plane.delete("/admin/v1/tenants/acme").await.ok(200);
    let instant = |value: &Value| value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let grace = instant(&deletion["purge_after"]) - instant(&deletion["tenant"]["deleted_at"]);
    assert_eq!(grace, TimeDelta::days(30));
    let early = plane.post("/admin/v1/tenants/acme/purge", json!({ "confirm": "acme" })).await;
    assert_eq!(early.face(), (409, "not_purgeable", ""));
    plane.step("/admin/v1/tenants/acme/restore").await.ok(200);
}

#[tokio::test]
async fn patches_set_clear_and_check_the_version() {
    let plane = Plane::start().await;
    plane.tenant("acme").await;
    let path = "/admin/v1/tenants/acme";
    let read = plane.get(path).await;
    let first = read.header(header::ETAG).to_owned();
    let changed = plane
        .patch(
            path,
            json!({
                "plan_tier": "starter", "admin_email": "new@acme.example", "allowed_domains": ["a.acme.example", "b.acme.example"],
                "max_agents": 3, "max_tasks_per_month": 4, "storage_limit_gb": 5, "stripe_customer_id": "cus_1",
                "stripe_subscription_id": "sub_1", "statement_timeout_ms": 1500, "lock_timeout_ms": 250,
            }),
        )
        .await;
    let second = changed.header(header::ETAG).to_owned();
    assert_ne!(first, second);
    let tenant = changed.ok(200);
    assert_eq!(plane.get(path).await.ok(200), tenant);
    for (member, value) in
        [("plan_tier", json!("starter")), ("storage_limit_gb", json!(5)), ("lock_timeout_ms", json!(250))]
    {
        assert_eq!(tenant[member], value, "{member}");
    }

    let cleared = json!({
        "allowed_domains": null, "max_agents": null, "stripe_customer_id": null, "statement_timeout_ms": null,
    });
    let with = |tag: &str| [("if-match", tag.to_owned())];
    let stale = with(&first);
    let stale = stale.each_ref().map(|(name, tag)| (*name, tag.as_str()));
    let answer = plane.send(Method::PATCH, path, Some(&plane.token), &stale, Some(cleared.clone())).await;
    assert_eq!(answer.face().1, "version_conflict");
    assert_eq!(answer.ok(409)["current"], tenant, "the tenant as it is now");
    let fresh = with(&second);
    let fresh = fresh.each_ref().map(|(name, tag)| (*name, tag.as_str()));
    let tenant = plane.send(Method::PATCH, path, Some(&plane.token), &fresh, Some(cleared)).await.ok(200);
    assert_eq!(tenant["allowed_domains"], json!([]));
    for member in ["max_agents", "stripe_customer_id", "statement_timeout_ms"] {
        assert_eq!(tenant[member], Value::Null, "{member}");
    }
    assert_eq!((&tenant["stripe_subscription_id"], &tenant["max_tasks_per_month"]), (&json!("sub_1"), &json!(4)));
    let forged = plane.send(Method::PATCH, path, Some(&plane.token), &[("if-match", "*")], Some(json!({}))).await;
    assert_eq!(forged.face().1, "invalid_precondition");
}

/// A tenant's connections keep its scope between requests, and must not keep time limits that an operator has changed.
#[tokio::test]
async fn changed_time_limits_reach_connections_in_use() {
    static LIMITS: Statement =
        Statement::new("LIMITS", "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')", &[]);
    let plane = Plane::start().await;
    plane.tenant("acme").await;
    let limits = async || {
        let context = plane.world.context("acme").await;
        let row = plane.world.db.single(&context).await.unwrap().query_one(&LIMITS, &[]).await.unwrap();
        (row.get::<_, String>(0), row.get::<_, String>(1))
    };
    let defaults = limits().await;
    assert_eq!(defaults, ("30s".to_owned(), "5s".to_owned()));
    for (patch, expected) in [
        (json!({ "statement_timeout_ms": 1500, "lock_timeout_ms": 250 }), ("1500ms".to_owned(), "250ms".to_owned())),
        (json!({ "statement_timeout_ms": null, "lock_timeout_ms": null }), defaults),
    ] {
        plane.patch("/admin/v1/tenants/acme", patch).await.ok(200);
        let deadline = Instant::now() + Duration::from_secs(10);
        while limits().await != expected {
            assert!(Instant::now() < deadline, "the limits are still not {expected:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn of_two_changes_based_on_one_version_one_wins() {
    let plane = Plane::start().await;
    plane.tenant("acme").await;
    let path = "/admin/v1/tenants/acme";
    let tag = plane.get(path).await.header(header::ETAG).to_owned();
    let headers = [("if-match", tag.as_str())];
    let change =
        |n: i32| plane.send(Method::PATCH, path, Some(&plane.token), &headers, Some(json!({ "max_agents": n })));
    let (one, two, three) = tokio::join!(change(1), change(2), change(3));
    let mut statuses = [one, two, three].map(|answer| answer.status.as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409]);
}

#[tokio::test]
async fn of_simultaneous_creations_of_one_slug_one_wins() {
    let plane = Plane::start().await;
    let new = || plane.post("/admin/v1/tenants", json!({ "slug": "acme", "admin_email": "it@acme.example" }));
    let (one, two, three) = tokio::join!(new(), new(), new());
    let mut answers = [one, two, three];
    answers.sort_unstable_by_key(|answer| answer.status);
    assert_eq!(answers.each_ref().map(|a| a.status.as_u16()), [201, 409, 409]);
    assert!(answers[1..].iter().all(|a| a.face() == (409, "tenant_exists", "/slug")));
    let key = answers[0].body["api_key"]["token"].as_str().unwrap();
    assert_eq!(plane.whoami(key).await.ok(200)["slug"], "acme");
    let audited = plane.get("/admin/v1/audit?action=tenant.create").await.ok(200);
    assert_eq!(audited["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn tenants_are_listed_by_page_and_filter() {
    let plane = Plane::start().await;
    for slug in ["beta", "acme", "acme-2"] {
        plane.tenant(slug).await;
    }
    plane.patch("/admin/v1/tenants/acme-2", json!({ "plan_tier": "growth" })).await.ok(200);
    plane.step("/admin/v1/tenants/beta/suspend").await.ok(200);
    let slugs = async |query: &str| {
        let page = plane.get(&format!("/admin/v1/tenants{query}")).await.ok(200);
        let rows = page["data"].as_array().unwrap();
        (rows.iter().map(|t| t["slug"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), page["next_cursor"].clone())
    };
    assert_eq!(slugs("").await, (vec!["acme".into(), "acme-2".into(), "beta".into()], Value::Null));
    assert_eq!(slugs("?status=suspended").await.0, ["beta"]);
    assert_eq!(slugs("?plan_tier=growth").await.0, ["acme-2"]);
    assert_eq!(slugs("?prefix=acme&status=active&plan_tier=free").await.0, ["acme"]);
    assert_eq!(slugs("?prefix=%25").await.0, [""; 0], "a prefix is no pattern");
    let (first, cursor) = slugs("?limit=2").await;
    let (second, end) = slugs(&format!("?limit=2&cursor={}", cursor.as_str().unwrap())).await;
    assert_eq!((first, second, end), (vec!["acme".into(), "acme-2".into()], vec!["beta".into()], Value::Null));
    let plans = plane.get("/admin/v1/plans").await.ok(200);
    let tiers: Vec<_> = plans["data"].as_array().unwrap().iter().map(|p| p["tier"].as_str().unwrap()).collect();
    assert_eq!(tiers, ["free", "starter", "growth", "enterprise"]);
}

#[tokio::test]
async fn a_dedicated_tenant_has_a_cell_of_its_own() {
    let plane = Plane::with_grace(TimeDelta::zero()).await;
    let shared = plane.tenant("acme").await;
    let new =
        json!({ "slug": "bigcorp", "admin_email": "it@big.example", "plan_tier": "enterprise", "dedicated": true });
    let own = plane.post("/admin/v1/tenants", new).await.ok(201);
    assert_ne!(own["tenant"]["cell"], shared["tenant"]["cell"]);
    assert_eq!(plane.whoami(own["api_key"]["token"].as_str().unwrap()).await.ok(200)["slug"], "bigcorp");
    plane.delete("/admin/v1/tenants/bigcorp").await.ok(200);
    plane.post("/admin/v1/tenants/bigcorp/purge", json!({ "confirm": "bigcorp" })).await.ok(200);
}

impl Plane {
    async fn tenant_taken(&self, slug: &str) -> (u16, String) {
        let answer = self.post("/admin/v1/tenants", json!({ "slug": slug, "admin_email": "it@x.example" })).await;
        let (status, code, _) = answer.face();
        (status, code.to_owned())
    }
}
