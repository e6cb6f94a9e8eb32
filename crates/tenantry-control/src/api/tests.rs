use std::collections::BTreeSet;

use serde_json::Value;
use tenantry_postgres::Provisioner;

use super::router;

fn document() -> Value {
    let (_, api) = router::<Provisioner>().split_for_parts();
    serde_json::to_value(api).unwrap()
}

#[test]
fn every_operation_is_described_in_full() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with("/admin/v1/"), "{path}");
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            let responses = operation["responses"].as_object().unwrap();
            let mut expected = vec!["400", "401", "403", "429", "500", "503", "504"];
            if path.contains('{') {
                expected.push("404");
            }
            let creates = id.starts_with("create_");
            expected.push(if creates { "201" } else { "200" });
            if operation.get("requestBody").is_some() {
                expected.extend(["413", "415", "422"]);
            }
            // whatever can collide with what is there
            if method != "get" && !matches!(id, "create_key" | "revoke_key" | "delete_tenant" | "read_rows") {
                expected.push("409");
            }
            for status in &expected {
                assert!(responses.contains_key(*status), "{method} {path} does not describe {status}");
            }
            assert_eq!(
                responses.len(),
                expected.len() + usize::from(id == "list_audit_events"),
                "{method} {path}: {responses:?}"
            );
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
        }
    }
    let all = [
        "create_key",
        "create_operator",
        "create_plan",
        "create_tenant",
        "delete_plan",
        "delete_tenant",
        "get_plan",
        "get_tenant",
        "get_tenant_billing",
        "get_tenant_usage",
        "list_audit_events",
        "list_billing_events",
        "list_keys",
        "list_operators",
        "list_plans",
        "list_tenants",
        "purge_tenant",
        "read_rows",
        "restore_tenant",
        "resume_tenant",
        "revoke_key",
        "revoke_operator",
        "suspend_tenant",
        "update_key",
        "update_plan",
        "update_tenant",
    ];
    assert_eq!(ids.iter().map(String::as_str).collect::<Vec<_>>(), all);
}

#[test]
fn every_operation_has_a_least_role_and_nothing_else_has() {
    let mut known = 0;
    for (path, operations) in document()["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let Ok(method) = method.to_uppercase().parse::<axum::http::Method>() else { continue };
            assert!(
                super::least_role(super::RULES, &method, path).is_some(),
                "add a rule for {method} {path} to api/permissions.rs"
            );
            known += 1;
        }
    }
    assert_eq!(super::RULES.len(), known, "a rule without an operation");
}

#[test]
fn bodies_require_what_they_must_and_no_more() {
    let document = document();
    let required = |schema: &str| document["components"]["schemas"][schema]["required"].clone();
    assert_eq!(required("CreateTenant"), serde_json::json!(["slug", "admin_email"]));
    assert_eq!(required("CreateKey"), serde_json::json!(["name"]));
    assert_eq!(required("PurgeTenant"), serde_json::json!(["confirm"]));
    assert!(required("UpdateTenant").as_array().is_none_or(Vec::is_empty), "a patch requires nothing");
}

#[test]
fn secrets_are_in_the_answers_that_make_them_only() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let has_token = schema.to_string().contains("\"token\":");
        assert_eq!(has_token, matches!(name.as_str(), "NewKey" | "NewOperator"), "{name}");
    }
}
