//! Operators read tenants' rows by a role that can do nothing else, and the tenant finds out who and why.

use isolation::server::{Answer, TestServer, actor};
use reqwest::Method;
use serde_json::{Value, json};
use tenantry_core::OperatorRole;
use testkit::{World, WorldConfig};
use tokio_postgres::Client;

async fn as_auditor(world: &World) -> Client {
    let password = isolation::Scene::password("tenantry_auditor");
    world.database.login("tenantry_auditor", &password).await.unwrap()
}

async fn refused(client: &Client, sql: &str) -> bool {
    match client.batch_execute(sql).await {
        Err(error) => error.code().is_some_and(|code| ["42501", "25006"].contains(&code.code())),
        Ok(()) => false,
    }
}

#[tokio::test]
async fn the_role_reads_what_is_listed_and_neither_secrets_nor_writes() {
    let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
    world.tenant("acme").await;
    let admin = world.admin().await;
    let auditor = as_auditor(&world).await;
    for table in workforce::AUDITED_TABLES {
        let columns = table.columns.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {columns} FROM tenant_acme.{} LIMIT 1", table.name);
        auditor.query(&sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    // Of every table and column there is, so that one that comes later is looked at as well.
    let sql = "SELECT c.relname::text, a.attname::text, has_column_privilege('tenantry_auditor', c.oid, a.attnum, 'SELECT'), \
                 has_table_privilege('tenantry_auditor', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') \
                 OR has_any_column_privilege('tenantry_auditor', c.oid, 'INSERT, UPDATE, REFERENCES') \
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
               WHERE c.relnamespace = 'tenant_acme'::regnamespace AND c.relkind = 'r'";
    let rows = admin.query(sql, &[]).await.unwrap();
    assert!(rows.len() > 80);
    for row in rows {
        let (table, column, reads, writes): (&str, &str, bool, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
        assert!(!writes, "the auditor writes {table}.{column}");
        let secret = ["encrypted", "secret", "password", "verifier", "hash", "fingerprint"];
        assert!(!reads || !secret.iter().any(|word| column.contains(word)), "the auditor reads {table}.{column}");
        let listed = workforce::AUDITED_TABLES.iter().any(|known| known.name == table);
        assert!(!reads || listed, "the auditor reads {table}, which nobody listed");
    }
    for sql in [
        "UPDATE tenant_acme.agents SET name = 'x'",
        "INSERT INTO tenant_acme.agents (name, role) VALUES ('x', 'y')",
        "DELETE FROM tenant_acme.tasks",
        "TRUNCATE tenant_acme.tasks",
        "SELECT encrypted_access_token FROM tenant_acme.provider_accounts",
        "SELECT * FROM tenant_acme.provider_accounts",
        "SELECT encrypted_value FROM tenant_acme.credential_proxies",
        "SELECT state FROM tenant_acme.oauth_transactions",
        "CREATE TABLE tenant_acme.own (id integer)",
        "CREATE TABLE public.own (id integer)",
        "SELECT hash FROM public.tenant_api_keys",
        "UPDATE public.tenants SET status = 'active'",
        "INSERT INTO audit.events (actor_kind, actor, action, target) VALUES ('operator', 'x', 'y', 'z')",
        "SET ROLE tenantry_control",
        "SET ROLE tenantry_owner",
    ] {
        assert!(refused(&auditor, sql).await, "{sql}");
    }
}

struct Desk {
    server: TestServer,
    support: String,
    viewer: String,
}

impl Desk {
    async fn open() -> Self {
        let server = TestServer::start().await;
        let issue = async |name: &str, role| {
            let made = server.state.provisioner.issue_operator(name, role, None, &actor()).await.unwrap();
            secrecy::ExposeSecret::expose_secret(&made.token).to_owned()
        };
        let (support, viewer) = (issue("sue", OperatorRole::Support).await, issue("vic", OperatorRole::Viewer).await);
        Self { server, support, viewer }
    }

    async fn read(&self, token: &str, slug: &str, body: Value) -> Answer {
        let request = self.server.request(Method::POST, &format!("/admin/v1/tenants/{slug}/reads"));
        Answer::to(request.bearer_auth(token).json(&body)).await
    }

    async fn events(&self) -> Vec<(String, String, Value)> {
        let sql = "SELECT t.slug::text, e.actor, e.details FROM audit.events e JOIN public.tenants t ON t.id = e.tenant_id \
                   WHERE e.action = 'operator.read' ORDER BY e.id";
        let rows = self.server.database.admin().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }
}

#[tokio::test]
async fn a_read_needs_a_reason_and_leaves_a_trace_with_the_tenant() {
    let desk = Desk::open().await;
    let acme = desk.server.tenant("acme").await;
    desk.server.tenant("globex").await;
    for name in ["Mira", "Noor", "Omar"] {
        let body = json!({ "name": name, "role": "support" });
        assert_eq!(Answer::to(desk.server.by(&acme, Method::POST, "/v1/agents").json(&body)).await.status, 201);
    }
    let reason = "ticket 4711: agents are not shown";
    for (body, pointer) in [
        (json!({ "table": "agents" }), "/reason"),
        (json!({ "table": "agents", "reason": "because" }), "/reason"),
        (json!({ "table": "agents", "reason": "          \n " }), "/reason"),
        (json!({ "table": "oauth_transactions", "reason": reason }), "/table"),
        (json!({ "table": "agents; DROP TABLE x", "reason": reason }), "/table"),
        (json!({ "table": "pg_authid", "reason": reason }), "/table"),
        (json!({ "table": "agents", "reason": reason, "limit": 0 }), "/limit"),
        (json!({ "table": "agents", "reason": reason, "cursor": "x" }), "/cursor"),
    ] {
        let answer = desk.read(&desk.support, "acme", body.clone()).await;
        assert_eq!(answer.verdict(), (422, "validation_failed".to_owned()), "{body}: {}", answer.text);
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}");
    }
    let body = json!({ "table": "agents", "reason": reason, "limit": 2 });
    assert_eq!(desk.read(&desk.viewer, "acme", body.clone()).await.verdict(), (403, "permission_denied".to_owned()));
    assert_eq!(desk.read(&desk.support, "nobody", body.clone()).await.verdict().0, 404);
    assert!(desk.events().await.is_empty(), "what was refused read nothing");

    let first = desk.read(&desk.support, "acme", body.clone()).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let page = first.json();
    assert_eq!(page["data"].as_array().unwrap().len(), 2);
    assert!(page["data"][0]["name"].is_string());
    let mut next = body.clone();
    next["cursor"] = page["next_cursor"].clone();
    let rest = desk.read(&desk.support, "acme", next).await.json();
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
    let nothing = desk.read(&desk.support, "globex", body).await.json();
    assert_eq!(nothing["data"], json!([]), "each tenant's own rows only");
    let events = desk.events().await;
    let seen: Vec<_> = events
        .iter()
        .map(|(slug, actor, details)| {
            (slug.as_str(), actor.as_str(), details["table"].as_str().unwrap(), details["reason"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        seen,
        [("acme", "sue", "agents", reason), ("acme", "sue", "agents", reason), ("globex", "sue", "agents", reason)]
    );
}

/// A suspended tenant is refused to itself, and is just the one that is looked into.
#[tokio::test]
async fn a_suspended_tenant_can_be_read() {
    let desk = Desk::open().await;
    desk.server.tenant("acme").await;
    desk.server.state.provisioner.suspend("acme", &actor()).await.unwrap();
    let answer = desk.read(&desk.support, "acme", json!({ "table": "tasks", "reason": "why was it suspended?" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}
