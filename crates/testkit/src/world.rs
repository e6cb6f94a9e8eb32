use std::sync::Arc;
use std::time::Duration;

use tenantry_core::{Clock, Slug, SystemClock};
use tenantry_postgres::{
    AccessConfig, Actor, CreatedTenant, NewTenant, Provisioner, Registry, RegistryConfig, TenantContext, TenantDb,
    TenantSchema,
};
use tokio_postgres::Client;

use crate::TestDatabase;

/// How a [`World`] is set up.
pub struct WorldConfig {
    /// The tenants' tables.
    pub schema: TenantSchema,
    /// Limits of access.
    pub access: AccessConfig,
    /// The registry's cache.
    pub registry: RegistryConfig,
    /// Tenants in a cell.
    pub cell_capacity: u16,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl WorldConfig {
    /// The product's defaults over the given tables.
    #[must_use]
    pub fn new(schema: TenantSchema) -> Self {
        Self {
            schema,
            access: AccessConfig::default(),
            registry: RegistryConfig::default(),
            cell_capacity: 200,
            clock: Arc::new(SystemClock),
        }
    }
}

/// A server's inside, on a database of its own.
#[derive(Debug, Clone)]
pub struct World {
    /// The database.
    pub database: TestDatabase,
    /// The registry.
    pub registry: Registry,
    /// Access to tenants.
    pub db: TenantDb,
    /// Changes of the fleet.
    pub provisioner: Provisioner,
}

impl World {
    /// Creates the database and starts everything on it.
    pub async fn start(config: WorldConfig) -> Self {
        let database = TestDatabase::create().await;
        Self::on(database, config).await
    }

    /// Starts a (further) server on a database.
    ///
    /// # Panics
    /// When the registry's changes are not heard within five seconds.
    pub async fn on(database: TestDatabase, config: WorldConfig) -> Self {
        let registry = Registry::start(&database.config, &config.registry, config.clock);
        assert!(registry.wait_until_listening(Duration::from_secs(5)).await, "the registry hears its changes");
        let db = TenantDb::new(database.config.clone(), config.access, registry.clone());
        let provisioner = Provisioner::new(&database.config, config.schema, config.cell_capacity);
        Self { database, registry, db, provisioner }
    }

    /// Creates a tenant on the enterprise plan, which has no limits.
    ///
    /// # Panics
    /// When it cannot be created.
    pub async fn tenant(&self, slug: &str) -> CreatedTenant {
        self.provisioner.create(&new_tenant(slug), &Actor::system("test")).await.expect("the tenant is created")
    }

    /// A context for a tenant.
    ///
    /// # Panics
    /// When the tenant is not served.
    #[expect(clippy::disallowed_methods, reason = "tests of access begin behind authentication")]
    pub async fn context(&self, slug: &str) -> TenantContext {
        let slug: Slug = slug.parse().expect("a slug");
        self.registry.system_context(&slug, "test").await.expect("the tenant is served")
    }

    /// A superuser's connection.
    pub async fn admin(&self) -> Client {
        self.database.admin().await
    }
}

/// A tenant for tests.
fn new_tenant(slug: &str) -> NewTenant {
    NewTenant {
        slug: slug.parse().expect("a slug"),
        admin_email: format!("admin@{slug}.example"),
        plan_tier: "enterprise".into(),
        allowed_domains: Vec::new(),
        dedicated: false,
    }
}
