//! Negative controls: with a defence left out, what the tests of operations look for is there.

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::{Router, http};
use isolation::server::{Answer, actor, client, serve_aside};
use tenantry::AppState;
use tenantry_http::{HttpConfig, TenantScope, harden};

use super::credentials::until_refused;
use super::*;

fn tenants_routes() -> Router<AppState> {
    workforce::router::<AppState>().merge(metering::api::router()).split_for_parts().0
}

#[tokio::test]
async fn without_the_tenant_layer_no_operation_answers() {
    let server = TestServer::start().await;
    let acme = Company::found(&server, "acme").await;
    let bare = serve_aside(harden(tenants_routes().with_state(server.state.clone()), &HttpConfig::default())).await;
    for operation in of_plane(Plane::Tenant) {
        let case = case_of(&operation);
        let path = case.path(&operation, &acme);
        let mut request = client().request(operation.method.clone(), format!("{bare}{path}"));
        request =
            request.header("x-api-key", &acme.tenant.key).header("x-tenant-slug", "acme").header("if-match", "\"1\"");
        if let Some(body) = case.body {
            request = request.json(&body(&acme));
        }
        let answer = Answer::to(request).await;
        assert_eq!(answer.verdict(), (401, "tenant_context_required".to_owned()), "{}", operation.id);
    }
}

/// The approved design's sketch: whoever names a tenant in the header gets it.
async fn believe_the_header(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let slug = request.headers()[http::HeaderName::from_static("x-tenant-slug")].to_str().unwrap().parse().unwrap();
    let context = state.tenancy.registry().system_context(&slug, "negative control").await.unwrap();
    request.extensions_mut().insert(TenantScope(context));
    request.extensions_mut().insert(state.tenancy.clone());
    next.run(request).await
}

#[tokio::test]
async fn with_a_layer_that_believes_the_header_the_others_rows_are_found() {
    let server = TestServer::start().await;
    let acme = Company::found(&server, "acme").await;
    let globex = Company::found(&server, "globex").await;
    let believing = tenants_routes().route_layer(from_fn_with_state(server.state.clone(), believe_the_header));
    let base = serve_aside(harden(believing.with_state(server.state.clone()), &HttpConfig::default())).await;
    let send = async |path: &str| {
        let request = client().get(format!("{base}{path}")).header("x-api-key", &acme.tenant.key);
        Answer::to(request.header("x-tenant-slug", "globex")).await
    };
    let found = foreign_rows_in_lists(&lists(&acme, &globex), send, &globex.mark).await;
    assert!(found.len() > 10, "the search for foreign rows finds them where they are: {found:?}");
    let read = send(&format!("/v1/agents/{}", globex.agent)).await;
    assert_eq!(read.status, 200, "and an id of the other leads somewhere");
    let before = globex.digests(&server).await;
    let delete = client().delete(format!("{base}/v1/agents/{}", globex.spare_agent));
    assert_eq!(Answer::to(delete.header("x-tenant-slug", "globex")).await.status, 204);
    assert_ne!(globex.digests(&server).await, before, "and the digests notice a change");
}

#[tokio::test]
async fn without_invalidation_a_suspended_tenant_is_served_on() {
    let deaf = TestServer::with(|settings| {
        settings.registry.invalidate = false;
        // a listener that reconnects on a slow machine would start with an empty cache
        settings.registry.stale_after = Duration::from_secs(60);
    })
    .await;
    let acme = Company::found(&deaf, "acme").await;
    let hearing = TestServer::on(deaf.database.clone(), |_| {}).await;
    hearing.state.provisioner.suspend("acme", &actor()).await.unwrap();
    until_refused(&hearing, &acme).await;
    let answer = Answer::to(deaf.by(&acme.tenant, Method::GET, "/v1/agents")).await;
    assert_eq!(answer.status, 200, "a server that hears of no change trusts what it has: {}", answer.text);
}

#[tokio::test]
async fn without_the_role_the_database_refuses_and_it_is_counted() {
    let founder = TestServer::start().await;
    let acme = Company::found(&founder, "acme").await;
    let server = TestServer::on(founder.database.clone(), |settings| settings.access.defences.role = false).await;
    let answer = Answer::to(server.by(&acme.tenant, Method::GET, "/v1/agents")).await;
    assert_eq!(answer.verdict(), (500, "scope_refused".to_owned()), "the login itself sees nothing");
    assert!(!answer.text.contains("permission") && !answer.text.contains(&acme.tenant.schema), "{}", answer.text);
    assert_eq!(server.state.tenancy.counters().cross_tenant_attempts(), 1);
    assert_eq!(refusals(&server, 1).await[0].action, "access.statement_refused");
}
