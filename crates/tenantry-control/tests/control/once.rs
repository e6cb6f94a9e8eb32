//! `Idempotency-Key` in the control plane.

use axum::http::{HeaderName, Method};
use serde_json::{Value, json};

use crate::plane::{Answer, Plane};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

impl Plane {
    async fn keyed(&self, token: &str, path: &str, key: &str, body: Option<Value>) -> Answer {
        self.send(Method::POST, path, Some(token), &[("idempotency-key", key)], body).await
    }
}

#[tokio::test]
async fn a_tenant_is_made_once_and_its_first_key_told_again() {
    let plane = Plane::start().await;
    let body = json!({ "slug": "acme", "admin_email": "it@acme.example" });
    let send = || plane.keyed(&plane.token, "/admin/v1/tenants", "create acme", Some(body.clone()));
    let (one, two) = tokio::join!(send(), send());
    let again = send().await;
    let replays = [&one, &two, &again].iter().filter(|answer| answer.header(REPLAYED) == "true").count();
    assert_eq!(replays, 2, "one made it");
    let (one, two, again) = (one.ok(201), two.ok(201), again.ok(201));
    assert_eq!((&one, &one), (&two, &again));
    let token = one["api_key"]["token"].as_str().unwrap();
    assert_eq!(plane.whoami(token).await.ok(200)["slug"], "acme");

    let other = json!({ "slug": "globex", "admin_email": "it@acme.example" });
    let reused = plane.keyed(&plane.token, "/admin/v1/tenants", "create acme", Some(other)).await;
    assert_eq!(reused.face(), (422, "idempotency_key_reused", ""));
    let without = plane.post("/admin/v1/tenants", body.clone()).await;
    assert_eq!(without.face(), (409, "tenant_exists", "/slug"));

    let secret = token.splitn(3, '_').nth(2).unwrap();
    let sql = "SELECT count(*) FROM public.idempotent_requests r WHERE position($1 IN r::text) > 0 OR r::text LIKE '%create acme%'";
    let found: i64 = plane.world.admin().await.query_one(sql, &[&secret]).await.unwrap().get(0);
    assert_eq!(found, 0, "neither the token nor the key is stored");
}

#[tokio::test]
async fn warm_and_dedicated_tenants_are_made_once_as_well() {
    let plane = Plane::start().await;
    plane.world.provisioner.refill(1, std::time::Duration::ZERO).await.unwrap();
    for (slug, dedicated) in [("warm-one", false), ("alone", true)] {
        let body = json!({ "slug": slug, "admin_email": "it@acme.example", "dedicated": dedicated });
        let first = plane.keyed(&plane.token, "/admin/v1/tenants", slug, Some(body.clone())).await.ok(201);
        let second = plane.keyed(&plane.token, "/admin/v1/tenants", slug, Some(body)).await.ok(201);
        assert_eq!(first, second);
        assert_eq!(plane.whoami(first["api_key"]["token"].as_str().unwrap()).await.ok(200)["slug"], slug);
    }
    assert_eq!(plane.world.provisioner.warm_status().await.unwrap().ready, 0, "the warm one was taken");
}

#[tokio::test]
async fn what_was_made_is_told_again_when_its_end_has_passed() {
    let plane = Plane::start().await;
    plane.tenant("acme").await;
    for (path, mut body) in [
        ("/admin/v1/tenants/acme/keys", json!({ "name": "ci" })),
        ("/admin/v1/operators", json!({ "name": "grace", "role": "support" })),
    ] {
        let end = chrono::Utc::now() + chrono::TimeDelta::seconds(2);
        body["expires_at"] = json!(end);
        let send = || plane.keyed(&plane.token, path, path, Some(body.clone()));
        let first = send().await.ok(201);
        while chrono::Utc::now() <= end {
            assert_eq!(send().await.ok(201), first);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(send().await.ok(201), first, "{path}");
        assert_eq!(plane.post(path, body.clone()).await.face(), (422, "validation_failed", "/expires_at"));
    }
}

#[tokio::test]
async fn every_change_by_post_can_be_repeated() {
    let plane = Plane::with_grace(chrono::TimeDelta::zero()).await;
    plane.tenant("acme").await;
    let at = "/admin/v1/tenants/acme";
    for (path, body) in [
        (format!("{at}/keys"), Some(json!({ "name": "ci" }))),
        ("/admin/v1/operators".to_owned(), Some(json!({ "name": "grace", "role": "support" }))),
        ("/admin/v1/plans".to_owned(), Some(json!({ "tier": "team" }))),
        (format!("{at}/suspend"), None),
        (format!("{at}/resume"), None),
    ] {
        let first = plane.keyed(&plane.token, &path, &format!("key of {path}"), body.clone()).await;
        let second = plane.keyed(&plane.token, &path, &format!("key of {path}"), body).await;
        assert_eq!((first.header(REPLAYED), second.header(REPLAYED)), ("", "true"), "{path}: {}", second.body);
        assert_eq!(
            (first.status, &first.headers.get("etag"), &first.body),
            (second.status, &second.headers.get("etag"), &second.body)
        );
    }
    // what was answered before stays answered, whatever came later
    let resumed =
        plane.keyed(&plane.token, &format!("{at}/suspend"), &format!("key of {at}/suspend"), None).await.ok(200);
    assert_eq!(resumed["status"], "suspended");
    assert_eq!(plane.get(at).await.ok(200)["status"], "active");
    plane.delete(at).await.ok(200);
    let path = format!("{at}/purge");
    let purge = || plane.keyed(&plane.token, &path, "p", Some(json!({ "confirm": "acme" })));
    assert_eq!(purge().await.ok(200), purge().await.ok(200), "also when the tenant is gone");

    let other = plane.operator("other", tenantry_core::OperatorRole::Admin).await;
    let theirs =
        plane.keyed(&other, "/admin/v1/plans", "key of /admin/v1/plans", Some(json!({ "tier": "team" }))).await;
    assert_eq!(theirs.face().0, 409, "another operator's key is another key");
    for bad in ["", "ü", &"k".repeat(256)] {
        let answer = plane.keyed(&plane.token, "/admin/v1/plans", bad, Some(json!({ "tier": "x" }))).await;
        assert_eq!(answer.face().1, "invalid_idempotency_key");
    }
}
