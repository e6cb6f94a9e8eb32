//! Every POST of both planes, sent twice under one `Idempotency-Key`.

use isolation::backends::eventually;
use isolation::server::{Answer, TestServer, actor};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::company::{Company, digest};
use super::document::{Operation, Plane, operations};
use super::{case_of, of_plane};

/// POSTs that take no key, and why.
const WITHOUT_KEY: &[(&str, &str)] =
    &[("read_rows", "it changes nothing, each reading is in the audit trail, and the rows are kept nowhere else")];

/// POSTs whose effect is with somebody else alone: it leaves no trace here to be counted.
const OUTSIDE: &[&str] = &["test_budget"];

/// What an operator's POST is sent with.
struct Step {
    operation: &'static str,
    path: &'static str,
    body: fn() -> Option<Value>,
    success: u16,
}

const CATALOGUE: &str = "format = 1\n[[provider]]\nname = \"acme_ai\"\n[[provider.model]]\nname = \"m*\"\n[[provider.model.price]]\n\
    from = \"2020-01-01\"\nsource = \"contract\"\nchecked = \"2026-01-01\"\ninput = \"1\"\noutput = \"10\"\n";
const BILL: &str = "day,account,model,amount_usd\n2026-10-01,,gpt-5,12.34\n";

/// In an order in which each of them can be done.
const STEPS: &[Step] = &[
    Step {
        operation: "create_tenant",
        path: "/admin/v1/tenants",
        body: || Some(json!({ "slug": "initech", "admin_email": "it@initech.example" })),
        success: 201,
    },
    Step {
        operation: "create_key",
        path: "/admin/v1/tenants/initech/keys",
        body: || Some(json!({ "name": "ci" })),
        success: 201,
    },
    Step { operation: "suspend_tenant", path: "/admin/v1/tenants/initech/suspend", body: || None, success: 200 },
    Step { operation: "resume_tenant", path: "/admin/v1/tenants/initech/resume", body: || None, success: 200 },
    Step { operation: "restore_tenant", path: "/admin/v1/tenants/initech/restore", body: || None, success: 200 },
    Step {
        operation: "purge_tenant",
        path: "/admin/v1/tenants/initech/purge",
        body: || Some(json!({ "confirm": "initech" })),
        success: 200,
    },
    Step {
        operation: "create_operator",
        path: "/admin/v1/operators",
        body: || Some(json!({ "name": "grace", "role": "support" })),
        success: 201,
    },
    Step { operation: "create_plan", path: "/admin/v1/plans", body: || Some(json!({ "tier": "team" })), success: 201 },
    Step {
        operation: "load_catalogue",
        path: "/admin/v1/prices",
        body: || Some(json!({ "catalogue": CATALOGUE, "note": "contract" })),
        success: 200,
    },
    Step {
        operation: "reprice_calls",
        path: "/admin/v1/prices/reprice",
        body: || Some(json!({ "reason": "a price was missing" })),
        success: 200,
    },
    Step {
        operation: "import_bill",
        path: "/admin/v1/metering/bills?provider=openai",
        body: || Some(json!(BILL)),
        success: 201,
    },
];

/// The operation's request with a body, which is what other bytes are the same request with.
type Send<'a> = dyn Fn(Option<String>) -> RequestBuilder + 'a;

/// Sends a request twice under one key, and a third time with another body. `state` is what it may have an effect on; tells whether it had one.
async fn repeat(
    id: &str,
    success: u16,
    body: Option<&Value>,
    send: &Send<'_>,
    state: impl AsyncFn() -> Vec<String>,
) -> bool {
    let sent = body.map(|body| body.as_str().map_or_else(|| body.to_string(), str::to_owned));
    // the same to a handler, but not the same bytes
    let other = sent.as_ref().map_or_else(|| "{}".to_owned(), |sent| format!("{sent}\n"));
    let keyed = |body: Option<String>| send(body).header("idempotency-key", format!("key of {id}"));
    let before = state().await;
    let first = Answer::to(keyed(sent.clone())).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (success, ""), "{id}: {}", first.text);
    let after = state().await;
    let second = Answer::to(keyed(sent)).await;
    assert_eq!(second.header("idempotency-replayed"), "true", "{id}: {}", second.text);
    let face = |answer: &Answer| {
        let headers = ["etag", "location", "content-type"].map(|name| answer.header(name).to_owned());
        (answer.status, headers, answer.text.clone())
    };
    assert_eq!(face(&second), face(&first), "{id}");
    let third = Answer::to(keyed(Some(other))).await;
    assert_eq!(third.verdict(), (422, "idempotency_key_reused".to_owned()), "{id}: {}", third.text);
    assert_eq!(state().await, after, "{id} has one effect");
    after != before
}

/// All that one company has, and its audit trail.
async fn state_of(server: &TestServer, company: &Company) -> Vec<String> {
    let tables = company.digests(server).await.into_iter().filter(|(table, _)| table != "idempotency_keys");
    let mut state: Vec<String> = tables.map(|(table, digest)| format!("{table}: {digest}")).collect();
    let admin = server.database.admin().await;
    // what the server does by itself is no effect of a request
    let events = format!(
        "SELECT e::text AS line FROM audit.events e WHERE actor_kind = 'api_key' AND tenant_id = \
         (SELECT id FROM public.tenants WHERE slug = '{}')",
        company.tenant.slug
    );
    state.push(format!("audit: {}", digest(&admin, &events).await));
    state
}

#[tokio::test]
async fn every_post_of_tenants_has_one_effect_under_one_key() {
    let server = TestServer::start().await;
    let acme = Company::found(&server, "acme").await;
    let mut without_effect = Vec::new();
    for operation in of_plane(Plane::Tenant).into_iter().filter(|operation| operation.method == Method::POST) {
        let case = case_of(&operation);
        let path = case.path(&operation, &acme);
        let body = case.body.map(|body| body(&acme));
        let send = |body: Option<String>| {
            let request = server.by(&acme.tenant, Method::POST, &path);
            match body {
                Some(body) => request.header("content-type", "application/json").body(body),
                None => request,
            }
        };
        if !repeat(&operation.id, case.success, body.as_ref(), &send, async || state_of(&server, &acme).await).await {
            without_effect.push(operation.id);
        }
    }
    assert_eq!(without_effect, OUTSIDE, "all others have an effect that could be doubled");
}

/// What operators change.
async fn state_of_fleet(server: &TestServer) -> Vec<String> {
    let admin = server.database.admin().await;
    let mut state = Vec::new();
    for table in [
        "public.tenants",
        "public.tenant_api_keys",
        "public.operator_tokens",
        "public.plans",
        "analytics.price_catalogues",
        "analytics.provider_bills",
        "analytics.provider_bill_lines",
    ] {
        let rows = format!("SELECT t::text AS line FROM {table} t");
        state.push(format!("{table}: {}", digest(&admin, &rows).await));
    }
    let adjustments = "SELECT c.id::text AS line FROM analytics.provider_api_calls c WHERE kind = 'adjustment'";
    state.push(format!("adjustments: {}", digest(&admin, adjustments).await));
    let events = "SELECT e::text AS line FROM audit.events e WHERE actor_kind = 'operator'";
    state.push(format!("audit: {}", digest(&admin, events).await));
    state
}

#[tokio::test]
async fn every_post_of_operators_has_one_effect_under_one_key() {
    let server = TestServer::with(|settings| settings.grace_days = 0).await;
    let token = server.operator("tess").await;
    let steps = STEPS.iter().map(|step| step.operation);
    let mut known: Vec<&str> = steps.chain(WITHOUT_KEY.iter().map(|(operation, _)| *operation)).collect();
    let of_operators: Vec<Operation> = of_plane(Plane::Operator);
    let posts = of_operators.iter().filter(|operation| operation.method == Method::POST);
    let mut posts: Vec<&str> = posts.map(|operation| operation.id.as_str()).collect();
    known.sort_unstable();
    posts.sort_unstable();
    assert_eq!(posts, known, "each POST of operators has a step in tests/isolation/operations/repeated.rs");
    let acme = server.tenant("acme").await;
    // a call that has no price before there is one
    let call = json!({
        "timestamp": chrono::Utc::now(), "provider": "acme_ai", "operation": "chat", "model": "m1", "latency_ms": 1, "usage": { "input": 1000 },
    });
    let recorded = Answer::to(server.by(&acme, Method::POST, "/v1/provider-calls").json(&call)).await;
    assert_eq!(recorded.status, 202, "{}", recorded.text);
    eventually("the call is in the database", async || server.state.metering.health().records == 0).await;
    for Step { operation, path, body, success } in STEPS {
        if *operation == "restore_tenant" || *operation == "purge_tenant" {
            server.state.provisioner.delete("initech", server.state.provisioner.grace(), &actor()).await.unwrap();
        }
        let body = body();
        let kind = if *operation == "import_bill" { "text/csv" } else { "application/json" };
        let send = |body: Option<String>| {
            let request = server.request(Method::POST, path).bearer_auth(&token);
            match body {
                Some(body) => request.header("content-type", kind).body(body),
                None => request,
            }
        };
        let had_effect =
            repeat(operation, *success, body.as_ref(), &send, async || state_of_fleet(&server).await).await;
        assert!(had_effect, "{operation} has an effect that could be doubled");
    }
}

#[test]
fn the_document_promises_a_key_where_it_is_honoured() {
    let document = serde_json::to_value(tenantry::openapi()).unwrap();
    for operation in operations() {
        let described = &document["paths"][&operation.path][operation.method.as_str().to_lowercase()]["parameters"];
        let promised = described.as_array().into_iter().flatten().any(|one| one["name"] == "Idempotency-Key");
        let exempt = WITHOUT_KEY.iter().any(|(id, _)| *id == operation.id);
        // what the gateway passes on is the provider's to repeat
        let ours = !matches!(operation.plane, Plane::Public | Plane::Passage);
        let expected = operation.method == Method::POST && ours && !exempt;
        assert_eq!(promised, expected, "{}", operation.id);
    }
}
