//! Runs the example on a private PostgreSQL: two companies, a key for each, and commands to try.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tenantry_core::SystemClock;
use tenantry_embedded::{Throwaway, ThrowawayConfig};
use tenantry_http::{HttpConfig, TenancyState, serve};
use tenantry_postgres::migrate::{Events, Fleet, Options};
use tenantry_postgres::{
    AccessConfig, Actor, ClusterSecret, DatabaseConfig, NewTenant, Provisioner, Registry, RegistryConfig, TenantDb,
    initialise,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // 1. A database. Here one that is gone when the program ends.
    let postgres = Throwaway::start(ThrowawayConfig::default()).await?;
    let admin_url = format!("{}?sslmode=disable", postgres.cluster().superuser_url("postgres"));
    let secret = ClusterSecret::new("the example's secret: a real one comes from a file".to_owned().into())
        .map_err(anyhow::Error::msg)?;
    let database = DatabaseConfig::new(&admin_url, secret)?;
    initialise(&admin_url, &database).await?;

    // 2. The parts of tenancy, with this domain's tables.
    // Tenants that an earlier version of this program has made are brought to its version; in production a step of the deployment does this.
    let options = Options::new(Actor::system("bookings"));
    Fleet::new(&database, bookings::schema().migrations).up(&options, &Events::none()).await?;
    let registry = RegistryConfig { needs_version: bookings::schema().needs, ..RegistryConfig::default() };
    let registry = Registry::start(&database, &registry, Arc::new(SystemClock));
    let db = TenantDb::new(database.clone(), AccessConfig::default(), registry.clone());
    let provisioner = Provisioner::new(&database, bookings::schema(), 200);

    // 3. Two companies.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    let mut help = String::from("try:\n");
    for company in ["acme", "globex"] {
        let new = NewTenant {
            slug: company.parse()?,
            admin_email: format!("admin@{company}.example"),
            plan_tier: "free".to_owned(),
            allowed_domains: Vec::new(),
            dedicated: false,
        };
        let key = provisioner.create(&new, &Actor::system("example")).await?.key.token;
        let key = key.expose_secret();
        help += &format!(
            "  curl {base}/rooms -H 'X-Api-Key: {key}' -H 'Content-Type: application/json' -d '{{\"name\":\"{company} hall\",\"seats\":8}}'\n  \
             curl {base}/rooms -H 'X-Api-Key: {key}'\n"
        );
    }
    writeln!(std::io::stdout(), "{help}")?;

    // 4. The domain's endpoints, behind the tenant layer.
    let config = HttpConfig::default();
    let tenancy = TenancyState::new(registry, db, config.clone(), Arc::new(SystemClock))?;
    let interrupted = async {
        // without signals there is nothing to wait for
        let _ = tokio::signal::ctrl_c().await;
    };
    serve(listener, bookings::routes(&tenancy, &config), &config, interrupted).await;
    postgres.stop().await.context("stopping PostgreSQL")
}
