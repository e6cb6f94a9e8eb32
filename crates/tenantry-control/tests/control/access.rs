use axum::http::Method;
use serde_json::{Value, json};
use tenantry_postgres::Provisioner;

use crate::plane::Plane;

/// Every operation of the control plane, with something in the place of its parameters.
fn operations() -> Vec<(Method, String)> {
    let (_, api) = tenantry_control::router::<Provisioner>().split_for_parts();
    let document = serde_json::to_value(api).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{slug}", "acme")
            .replace("{tier}", "free")
            .replace("{id}", "00000000-0000-0000-0000-000000000000");
        for method in methods.as_object().unwrap().keys() {
            operations.push((method.to_uppercase().parse().unwrap(), path.clone()));
        }
    }
    operations
}

#[tokio::test]
async fn nobody_but_operators_gets_in() {
    let plane = Plane::start().await;
    let tenant = plane.tenant("acme").await;
    let key = tenant["api_key"]["token"].as_str().unwrap();
    let unknown = format!("top_abcdefghijkl_{}", "a".repeat(43));
    // the right lookup with another secret
    let forged = format!("{}{}", &plane.token[..17], "a".repeat(43));
    let disguised = plane.token.replacen("top_", "tnk_", 1);
    let operations = operations();
    assert_eq!(operations.len(), tenantry_control::RULES.len());
    for (method, path) in operations {
        for (credential, code) in [
            (None, "operator_credential_required"),
            (Some(key), "invalid_credential"),
            (Some(unknown.as_str()), "invalid_credential"),
            (Some(forged.as_str()), "invalid_credential"),
            (Some(disguised.as_str()), "invalid_credential"),
            (Some("eyJhbGciOiJub25lIn0.e30."), "invalid_credential"),
        ] {
            let answer = plane.send(method.clone(), &path, credential, &[], Some(json!({ "confirm": "acme" }))).await;
            assert_eq!(answer.face(), (401, code, ""), "{method} {path} with {credential:?}");
            assert!(answer.headers.contains_key("www-authenticate"));
        }
        // a tenant's key cannot be lifted by naming its tenant, nor hidden beside an operator's token
        let headers = [("x-tenant-slug", "acme"), ("x-api-key", key)];
        assert_eq!(plane.send(method.clone(), &path, None, &headers, None).await.face().0, 401);
        let both = plane.send(method.clone(), &path, Some(&plane.token), &headers[1..], None).await;
        assert_eq!(both.face().1, "conflicting_credentials");
    }
    assert_eq!(
        plane.get("/admin/v1/tenants/acme").await.ok(200),
        tenant["tenant"],
        "nothing was changed by any of them"
    );
    let unknown_route = plane.send(Method::GET, "/admin/v1/nothing", None, &[], None).await;
    assert_eq!(unknown_route.face().1, "route_not_found");
}

#[tokio::test]
async fn an_operators_token_opens_no_tenant() {
    let plane = Plane::start().await;
    plane.tenant("acme").await;
    for headers in [&[][..], &[("x-tenant-slug", "acme")]] {
        let answer = plane.send(Method::GET, "/v1/whoami", Some(&plane.token), headers, None).await;
        assert_eq!(answer.face(), (401, "invalid_credential", ""));
        assert_eq!(answer.body["slug"], Value::Null);
    }
}
