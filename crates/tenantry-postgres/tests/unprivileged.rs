//! A database as a provider of managed PostgreSQL hands it out: its owner may create roles and is no superuser. A server
//! of its own, because the roles belong to whoever makes them first.

#![expect(clippy::disallowed_methods, reason = "a superuser looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tenantry_core::SystemClock;
use tenantry_embedded::{Progress, Throwaway, ThrowawayConfig};
use tenantry_postgres::{
    AccessConfig, Actor, ClusterSecret, DatabaseConfig, NewTenant, Provisioner, Registry, RegistryConfig, TenantDb,
    TenantSchema, initialise,
};
use tokio_postgres::{Client, NoTls};

tenantry_postgres::statements! {
    /// Adds a note.
    ADD(TEXT) = "INSERT INTO tenant.notes (body) VALUES ($1)";
    /// How many notes, and what the session is.
    COUNT() = "SELECT count(*), current_setting('is_superuser') FROM tenant.notes";
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn tenant(slug: &str, dedicated: bool) -> NewTenant {
    NewTenant {
        slug: slug.parse().unwrap(),
        admin_email: format!("admin@{slug}.example"),
        plan_tier: "enterprise".into(),
        allowed_domains: vec![format!("agents.{slug}.example")],
        dedicated,
    }
}

/// The migrations of a set, as reports call them.
fn files(set: &str) -> Vec<String> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations").to_owned() + "/" + set;
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(directory).unwrap().map(name).collect();
    names.retain(|name| !name.ends_with(".down.sql"));
    names.sort();
    names.iter().map(|name| format!("{set} {}", name.trim_end_matches(".sql"))).collect()
}

#[tokio::test]
async fn the_owner_of_a_managed_database_can_initialise_and_serve_it() {
    let config = ThrowawayConfig {
        bin: std::env::var_os("TENANTRY_TEST_PG_BIN").map(Into::into),
        progress: Progress::new(|_| {}),
        ..ThrowawayConfig::default()
    };
    let server = Throwaway::start(config).await.unwrap();
    let cluster = server.cluster();
    let root = connect(&cluster.superuser_url("postgres")).await;
    root.batch_execute("CREATE ROLE provider_admin LOGIN CREATEROLE PASSWORD 'given by the provider'").await.unwrap();
    root.batch_execute("CREATE DATABASE managed OWNER provider_admin").await.unwrap();
    let url = format!(
        "postgres://provider_admin:given%20by%20the%20provider@127.0.0.1:{}/managed?sslmode=disable",
        cluster.port()
    );
    let secret = ClusterSecret::new("a secret for one throwaway cluster only".to_owned().into()).unwrap();
    let database = DatabaseConfig::new(&url, secret).unwrap();

    let first = initialise(&url, &database).await.unwrap();
    assert_eq!(first.roles_created.len(), 6, "{first:?}");
    assert_eq!(first.migrations_applied, [files("registry"), files("analytics")].concat());
    assert_eq!(first.warnings.len(), 1, "what only a superuser can withdraw is said: {first:?}");
    let again = initialise(&url, &database).await.unwrap();
    assert!(again.roles_created.is_empty() && again.migrations_applied.is_empty(), "{again:?}");

    let actor = Actor::system("test");
    let schema = TenantSchema::new(
        "CREATE TABLE tenant.notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)",
        &["notes"],
    );
    let registry = Registry::start(&database, &RegistryConfig::default(), Arc::new(SystemClock));
    assert!(registry.wait_until_listening(Duration::from_secs(10)).await);
    assert_eq!(registry.readiness().await, []);
    let db = TenantDb::new(database.clone(), AccessConfig::default(), registry.clone());
    let provisioner = Provisioner::new(&database, schema, 2);
    for (slug, dedicated) in [("acme", false), ("globex", false), ("initech", false), ("alone", true)] {
        provisioner.create(&tenant(slug, dedicated), &actor).await.unwrap();
        let context = registry.system_context(&slug.parse().unwrap(), "test").await.unwrap();
        let mut tx = db.begin(&context).await.unwrap();
        tx.execute(&ADD, &[&slug]).await.unwrap();
        tx.audit("note.create", "note/1", serde_json::json!({}));
        tx.commit().await.unwrap();
        let row = db.single(&context).await.unwrap().query_one(&COUNT, &[]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (1, "off"));
    }

    let superusers = "SELECT count(*) FROM pg_stat_activity JOIN pg_roles ON rolname = usename \
                      WHERE datname = 'managed' AND rolsuper";
    assert_eq!(root.query_one(superusers, &[]).await.unwrap().get::<_, i64>(0), 0);
    let admin = connect(&cluster.superuser_url("managed")).await;
    let audited = "SELECT count(*) FILTER (WHERE action = 'tenant.create'), count(*) FILTER (WHERE action = 'note.create') \
                   FROM audit.events";
    let row = admin.query_one(audited, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (4, 4));

    for slug in ["acme", "alone"] {
        provisioner.suspend(slug, &actor).await.unwrap();
        provisioner.delete(slug, TimeDelta::zero(), &actor).await.unwrap();
        provisioner.purge(slug, TimeDelta::zero(), &actor).await.unwrap();
    }
    let left = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tnt\\_%'), \
                       (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenant\\_%')";
    let row = admin.query_one(left, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 2));

    // A superuser may withdraw later what the owner could not, and the owner still can run it again.
    let root_url = format!("{}?sslmode=disable", cluster.superuser_url("managed"));
    assert!(initialise(&root_url, &database).await.unwrap().warnings.is_empty());
    initialise(&url, &database).await.unwrap();
    provisioner.create(&tenant("umbrella", false), &actor).await.unwrap();
    db.close();
    registry.stop();
    drop((root, admin));
    server.stop().await.unwrap();
}

/// A superuser was first, and has withdrawn what the owner's run begins with.
#[tokio::test]
async fn the_owner_can_initialise_again_what_a_superuser_has_initialised() {
    let config = ThrowawayConfig {
        bin: std::env::var_os("TENANTRY_TEST_PG_BIN").map(Into::into),
        progress: Progress::new(|_| {}),
        ..ThrowawayConfig::default()
    };
    let server = Throwaway::start(config).await.unwrap();
    let cluster = server.cluster();
    let root = connect(&cluster.superuser_url("postgres")).await;
    root.batch_execute("CREATE ROLE provider_admin LOGIN CREATEROLE PASSWORD 'given'").await.unwrap();
    root.batch_execute("CREATE DATABASE managed OWNER provider_admin").await.unwrap();
    let url = format!("postgres://provider_admin:given@127.0.0.1:{}/managed?sslmode=disable", cluster.port());
    let root_url = format!("{}?sslmode=disable", cluster.superuser_url("managed"));
    let secret = ClusterSecret::new("a secret for one throwaway cluster only".to_owned().into()).unwrap();
    let database = DatabaseConfig::new(&url, secret).unwrap();
    initialise(&root_url, &database).await.unwrap();
    let version: i32 = root.query_one("SELECT current_setting('server_version_num')::int", &[]).await.unwrap().get(0);
    match initialise(&url, &database).await {
        Ok(report) => assert!(report.migrations_applied.is_empty(), "{report:?}"),
        // From 16 on only who has made a role, or was given it to administer, may change it.
        Err(error) => assert!(version >= 160_000 && format!("{error:?}").contains("alter role"), "{error:?}"),
    }
    drop(root);
    server.stop().await.unwrap();
}
