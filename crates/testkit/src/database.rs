use tenantry_postgres::{ClusterSecret, DatabaseConfig, initialise};
use tokio_postgres::{Client, NoTls};

const TEMPLATE: &str = "tenantry_template";
/// The secret of every installation on the test server: the roles are the server's, not a database's.
pub const SECRET: &str = "a secret of the test kit, for throwaway clusters only";

/// The superuser's URL of the test server.
///
/// # Panics
/// When no server is named: a test that silently skips proves nothing.
#[must_use]
pub fn server_url() -> String {
    std::env::var("TENANTRY_TEST_DATABASE_URL")
        .expect("TENANTRY_TEST_DATABASE_URL names no server; run `make test`, or a command under `with-postgres --`")
}

/// The superuser's URL of a database on the test server.
#[must_use]
pub fn url_for(database: &str) -> String {
    let url = server_url();
    let (base, query) = url.split_once('?').unwrap_or((url.as_str(), "sslmode=disable"));
    let root = base.rfind('/').filter(|at| !base[..*at].ends_with('/')).map_or(base, |at| &base[..at]);
    format!("{root}/{database}?{query}")
}

/// Connects as the superuser.
///
/// # Panics
/// When the server cannot be reached.
pub async fn admin_client(database: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(&url_for(database), NoTls).await.expect("the test server answers");
    tokio::spawn(connection);
    client
}

/// A superuser's connection that is alone in preparing databases, as long as it is open: roles belong to the server,
/// and two preparations at once would disturb each other.
///
/// # Panics
/// When the server refuses.
pub async fn alone() -> Client {
    let admin = admin_client("postgres").await;
    admin.batch_execute("SELECT pg_advisory_lock(7468657463)").await.expect("the lock is free in the end");
    admin
}

/// A database of one test's own, initialised and empty of tenants.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    /// Its name.
    pub name: String,
    /// How the product's roles reach it.
    pub config: DatabaseConfig,
}

impl TestDatabase {
    /// Clones the template, making it first when this is the first test of the server.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn create() -> Self {
        let admin = alone().await;
        let exists = admin
            .query("SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate", &[&TEMPLATE])
            .await
            .expect("pg_database is readable");
        if exists.is_empty() {
            admin
                .batch_execute(&format!("DROP DATABASE IF EXISTS {TEMPLATE}"))
                .await
                .expect("a half-made template goes");
            admin
                .batch_execute(&format!("CREATE DATABASE {TEMPLATE}"))
                .await
                .expect("the superuser may create databases");
            initialise(&url_for(TEMPLATE), &config(TEMPLATE)).await.expect("the template initialises");
            wait_unused(&admin, TEMPLATE).await;
            admin
                .batch_execute(&format!("ALTER DATABASE {TEMPLATE} IS_TEMPLATE true"))
                .await
                .expect("the template is ours");
        }
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        admin
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))
            .await
            .expect("a template can be cloned");
        // A clone has no database privileges, and roles are altered: both want to be alone.
        initialise(&url_for(&name), &config(&name)).await.expect("the clone initialises");
        let own = admin_client(&name).await;
        own.batch_execute("UPDATE public.installation SET id = substr(md5(gen_random_uuid()::text), 1, 8)")
            .await
            .expect("the installation has a row");
        drop(admin);
        Self { config: config(&name), name }
    }

    /// A superuser's connection to it.
    pub async fn admin(&self) -> Client {
        admin_client(&self.name).await
    }

    /// Connects as any role, with its password where it is one of ours.
    ///
    /// # Errors
    /// As the server says.
    pub async fn login(&self, role: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config: tokio_postgres::Config = url_for(&self.name).parse()?;
        let (client, connection) = config.user(role).password(password).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

async fn wait_unused(admin: &Client, database: &str) {
    for _ in 0..200 {
        let used = admin
            .query("SELECT 1 FROM pg_stat_activity WHERE datname = $1", &[&database])
            .await
            .expect("pg_stat_activity is readable");
        if used.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn config(database: &str) -> DatabaseConfig {
    let secret = ClusterSecret::new(SECRET.to_owned().into()).expect("the secret is long enough");
    DatabaseConfig::new(&url_for(database), secret).expect("the test server's URL parses")
}
