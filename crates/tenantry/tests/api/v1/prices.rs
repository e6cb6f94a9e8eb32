use isolation::server::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::company::{Company, pointers, refusal};

const OVERRIDES: &str = "/v1/prices/overrides";

async fn listed(company: &Company, query: &str) -> Vec<Value> {
    let page = company.get(&format!("/v1/prices?{query}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.json()["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_company_sees_what_it_pays() {
    let company = Company::open().await;
    let first = company.get("/v1/prices?provider=openai&limit=3").await.json();
    assert_eq!(first["data"].as_array().unwrap().len(), 3);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = listed(&company, &format!("provider=openai&limit=3&cursor={cursor}")).await;
    assert!(second[0]["model"].as_str() > first["data"][2]["model"].as_str());
    assert_eq!(company.get("/v1/prices?cursor=x").await.verdict(), refusal(400, "invalid_cursor"));
    let o3 = listed(&company, "provider=openai&model=o3-2025&at=2025-06-09T00:00:00Z").await;
    assert_eq!((&o3[0]["price"]["input"], &o3[0]["valid_to"]), (&json!("10"), &json!("2025-06-10T00:00:00Z")));

    let made = company.make(OVERRIDES, json!({ "provider": "openai", "model": "o3", "multiplier": "0.9" })).await;
    let own = listed(&company, "provider=openai&model=o3").await;
    assert_eq!((&own[0]["source"], &own[0]["multiplier"]), (&json!("override"), &json!("0.9")));
    assert_eq!(own[0]["override_id"], made["id"]);
    let path = format!("{OVERRIDES}/{}", made["id"].as_str().unwrap());
    assert_eq!(company.get(&path).await.json(), made);
    assert_eq!(company.get(OVERRIDES).await.json()["data"], json!([made]));
    let again =
        company.post(OVERRIDES, json!({ "provider": "openai", "model": "o3", "price": { "input": "1" } })).await;
    assert_eq!(again.verdict(), refusal(409, "price_override_overlaps"));
    assert_eq!(company.delete(&path).await.status, 204);
    assert_eq!(company.delete(&path).await.verdict(), refusal(404, "price_override_not_found"));
    assert_eq!(listed(&company, "provider=openai&model=o3").await[0]["source"], "catalogue");
}

#[tokio::test]
async fn overrides_that_are_wrong_are_refused() {
    let company = Company::open().await;
    let refused = async |body: Value| {
        let answer = company.post(OVERRIDES, body).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        pointers(&answer)
    };
    let with = |more: Value| {
        let mut body = json!({ "provider": "openai", "model": "o3" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    assert_eq!(refused(with(json!({}))).await, ["/price"]);
    assert_eq!(refused(with(json!({ "multiplier": "0.9", "price": { "input": "1" } }))).await, ["/multiplier"]);
    assert_eq!(refused(with(json!({ "multiplier": "0.12345" }))).await, ["/multiplier"]);
    assert_eq!(refused(with(json!({ "multiplier": 0.9 }))).await, ["/multiplier"]);
    assert_eq!(refused(with(json!({ "price": { "input": "9000" } }))).await, ["/price"]);
    assert_eq!(refused(with(json!({ "price": { "input": 2.5 } }))).await, ["/price/input"]);
    assert_eq!(refused(json!({ "provider": "O", "model": "a*b", "multiplier": "1" })).await, ["/provider", "/model"]);
    let ends = json!({ "multiplier": "1", "valid_from": "2026-01-01T00:00:00Z", "valid_to": "2026-01-01T00:00:00Z" });
    assert_eq!(refused(with(ends)).await, ["/valid_to"]);
}

#[tokio::test]
async fn operators_load_catalogues_and_price_calls_again() {
    let company = Company::open().await;
    let operator = company.server.operator("tess").await;
    let send = async |method: Method, path: &str, body: Option<Value>| {
        let request = company.server.request(method, path).bearer_auth(&operator);
        Answer::to(body.iter().fold(request, |request, body| request.json(body))).await
    };
    let catalogue = "format = 1\n[[provider]]\nname = \"acme_ai\"\n[[provider.model]]\nname = \"m\"\n[[provider.model.price]]\n\
        from = \"2020-01-01\"\nsource = \"contract\"\nchecked = \"2026-01-01\"\ninput = \"1\"\n";
    let load = async |text: &str, dry_run: bool| {
        let body = json!({ "catalogue": text, "note": "contract 7", "dry_run": dry_run });
        send(Method::POST, "/admin/v1/prices", Some(body)).await
    };
    let wrong = load(&catalogue.replace("\"1\"", "\"9999\""), false).await;
    assert_eq!(wrong.verdict(), refusal(422, "invalid_catalogue"));
    assert_eq!(
        (&wrong.json()["flaws"][0]["line"], &wrong.json()["flaws"][0]["place"]),
        (&json!(6), &json!("acme_ai/m from 2020-01-01"))
    );
    assert!(load(catalogue, true).await.json()["id"].is_null());
    assert!(listed(&company, "provider=acme_ai").await.is_empty());
    let loaded = load(catalogue, false).await;
    assert_eq!((loaded.status, &loaded.json()["id"]), (200, &json!(1)));
    assert_eq!(listed(&company, "provider=acme_ai").await.len(), 1);
    let shown = send(Method::GET, "/admin/v1/prices?provider=acme_ai", None).await.json();
    assert_eq!(shown["data"][0]["price"], json!({ "input": "1" }));

    let call = "INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, model, operation, latency_ms, usage) \
                SELECT gen_random_uuid(), id, 'acme_ai', 'm', 'o', 1, '{\"input\": 1000}' FROM public.tenants";
    company.server.database.admin().await.batch_execute(call).await.unwrap();
    let reprice = async |body: Value| send(Method::POST, "/admin/v1/prices/reprice", Some(body)).await;
    assert_eq!(pointers(&reprice(json!({ "reason": " " })).await), ["/reason"]);
    assert_eq!(pointers(&reprice(json!({ "reason": "r", "changed": true })).await), ["/since"]);
    assert_eq!(pointers(&reprice(json!({ "reason": "r", "after": "x" })).await), ["/after"]);
    assert_eq!(reprice(json!({ "reason": "r", "tenant": "nobody" })).await.verdict(), refusal(404, "tenant_not_found"));
    let done = reprice(json!({ "reason": "it was not in the list", "tenant": "acme" })).await.json();
    assert_eq!(
        (&done["adjusted"], &done["delta_usd"], &done["next"]),
        (&json!(1), &json!("0.001000000000"), &Value::Null)
    );
    assert_eq!(reprice(json!({ "reason": "again" })).await.json()["adjusted"], 0);
}
