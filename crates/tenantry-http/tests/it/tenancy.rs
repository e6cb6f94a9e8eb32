//! The tenant layer in front of a domain that is not ours: who is let in, and what it costs to be refused.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tenantry_http::{ApiJson, ApiPath, ApiQuery, HttpConfig, Problem, TenancyState, TenantRouter, TenantScope};
use tenantry_postgres::{Actor, TenantDb, TenantSchema};
use testkit::{World, WorldConfig};

use crate::{Running, client};

tenantry_postgres::statements! {
    /// Adds a note.
    ADD_NOTE(INT4) = "INSERT INTO tenant.notes (number) VALUES ($1)";
    /// The numbers of all notes.
    LIST_NOTES() = "SELECT number FROM tenant.notes ORDER BY number LIMIT 100";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    number: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoQuery {}

async fn add(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(_shelf): ApiPath<i32>,
    ApiQuery(NoQuery {}): ApiQuery<NoQuery>,
    ApiJson(note): ApiJson<NewNote>,
) -> Result<String, Problem> {
    db.single(&context).await?.execute(&ADD_NOTE, &[&note.number]).await?;
    let mut tx = db.single(&context).await?;
    let rows = tx.query(&LIST_NOTES, &[]).await?;
    Ok(rows.iter().map(|row| row.get::<_, i32>(0).to_string()).collect::<Vec<_>>().join(","))
}

struct Notes {
    world: World,
    server: Running,
    tenancy: TenancyState,
}

impl Notes {
    async fn open() -> Self {
        let schema = TenantSchema::new("CREATE TABLE tenant.notes (number integer NOT NULL)", &["notes"]);
        let world = World::start(WorldConfig::new(schema)).await;
        let config = HttpConfig { body_limit: 1000, ..HttpConfig::default() };
        let clock = Arc::new(tenantry_core::SystemClock);
        let tenancy = TenancyState::new(world.registry.clone(), world.db.clone(), config.clone(), clock).unwrap();
        let routes: Router<TenancyState> = TenantRouter::new().post("/shelves/{shelf}/notes", add).protect(&tenancy);
        let server = Running::start(routes.with_state(tenancy.clone()), config).await;
        Self { world, server, tenancy }
    }

    async fn tenant(&self, slug: &str) -> String {
        self.world.tenant(slug).await.key.token.expose_secret().to_owned()
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> (u16, String) {
        let mut request = client().post(self.server.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap_or_default();
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    }
}

type Headers<'h> = Vec<(&'h str, &'h str)>;

const PATH: &str = "/shelves/7/notes";
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_refused_request_takes_no_connection() {
    let notes = Notes::open().await;
    let key = notes.tenant("acme").await;
    notes.tenant("globex").await;
    let suspended = notes.tenant("initech").await;
    notes.world.provisioner.suspend("initech", &Actor::system("test")).await.unwrap();
    let (own, body) = (("x-api-key", key.as_str()), r#"{"number":1}"#);
    let damaged = key.replace('_', "-");
    let wrong = format!("{}{}", &key[..key.len() - 4], "aaaa");
    let refused: Vec<(&str, Headers<'_>, String, (u16, &str))> = vec![
        (PATH, vec![JSON], body.into(), (400, "tenant_identifier_required")),
        (PATH, vec![JSON, ("x-tenant-slug", "acme")], body.into(), (401, "credential_required")),
        (PATH, vec![JSON, ("x-tenant-slug", "' OR 1=1")], body.into(), (400, "invalid_tenant_identifier")),
        (PATH, vec![JSON, ("host", "a b")], body.into(), (400, "invalid_host")),
        (PATH, vec![JSON, ("x-api-key", &damaged)], body.into(), (401, "invalid_credential")),
        (PATH, vec![JSON, ("x-api-key", &wrong)], body.into(), (401, "invalid_credential")),
        (PATH, vec![JSON, ("authorization", "Bearer a.b.c")], body.into(), (401, "invalid_credential")),
        (PATH, vec![JSON, own, ("authorization", "Bearer a.b.c")], body.into(), (400, "conflicting_credentials")),
        (PATH, vec![JSON, own, ("x-tenant-slug", "globex")], body.into(), (403, "tenant_mismatch")),
        (PATH, vec![JSON, own, ("x-tenant-slug", "nobody")], body.into(), (403, "tenant_mismatch")),
        (PATH, vec![JSON, ("x-api-key", &suspended)], body.into(), (403, "tenant_inactive")),
        ("/shelves", vec![JSON, own], body.into(), (404, "route_not_found")),
        ("/shelves/x/notes", vec![JSON, own], body.into(), (400, "invalid_path")),
        ("/shelves/7/notes?a=b", vec![JSON, own], body.into(), (400, "invalid_query")),
        (PATH, vec![own], body.into(), (415, "unsupported_media_type")),
        (PATH, vec![JSON, own], "{".into(), (400, "invalid_json")),
        (PATH, vec![JSON, own], r#"{"number":"x"}"#.into(), (422, "invalid_body")),
        (PATH, vec![JSON, own], "[1]".into(), (422, "invalid_body")),
        (PATH, vec![JSON, own], format!("{{\"number\":1{}}}", " ".repeat(1000)), (413, "body_too_large")),
    ];
    for (path, headers, body, (status, code)) in refused {
        assert_eq!(notes.post(path, &headers, body).await, (status, code.to_owned()), "{path} {headers:?}");
    }
    let stats = notes.world.db.stats();
    assert_eq!((stats.opened, stats.live), (0, 0), "nobody got as far as a connection");
    assert_eq!(notes.tenancy.counters().cross_tenant_attempts(), 2);
    assert_eq!(notes.tenancy.counters().unauthorized(), 4);
    assert_eq!(notes.post(PATH, &[JSON, own], body).await.0, 200);
    assert_eq!(notes.world.db.stats().opened, 1, "the first that is let in takes the first");
}

#[tokio::test]
async fn a_stranger_with_any_host_costs_the_database_nothing() {
    let notes = Notes::open().await;
    let admin = notes.world.admin().await;
    // whoever reads the registry now waits, and is answered 503 in the end
    let lock = "BEGIN; LOCK TABLE public.tenants IN ACCESS EXCLUSIVE MODE; LOCK TABLE public.tenant_domains IN ACCESS EXCLUSIVE MODE";
    admin.batch_execute(lock).await.unwrap();
    for host in ["one.stranger.example", "two.stranger.example"] {
        let answer = notes.post(PATH, &[JSON, ("host", host)], "{}").await;
        assert_eq!(answer, (401, "credential_required".to_owned()), "{host}");
    }
    admin.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn each_tenant_sees_its_own_and_the_layer_is_not_a_way_in() {
    let notes = Notes::open().await;
    let (acme, globex) = (notes.tenant("acme").await, notes.tenant("globex").await);
    let add = async |key: &str, number: i32| {
        let request = client().post(notes.server.url(PATH)).header("x-api-key", key).json(&json!({ "number": number }));
        request.send().await.unwrap().text().await.unwrap()
    };
    assert_eq!(add(&acme, 1).await, "1");
    assert_eq!(add(&globex, 2).await, "2");
    assert_eq!(add(&acme, 3).await, "1,3");
    // the same handler on a route without the layer answers nobody
    let bare = Router::new().route("/bare/{shelf}", axum::routing::post(self::add)).with_state(notes.tenancy.clone());
    let bare = Running::start(bare, HttpConfig::default()).await;
    let request = client().post(bare.url("/bare/7")).header("x-api-key", &acme).json(&json!({ "number": 4 }));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["code"], &body["error"]), (&json!("tenant_context_required"), &json!("Tenant context required")));
}
