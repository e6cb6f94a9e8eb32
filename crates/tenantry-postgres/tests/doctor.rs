//! The doctor finds what is broken, and its lines mend it.

#![expect(clippy::disallowed_methods, reason = "a test looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "where a test cannot go on, it ends")]

use std::time::Duration;

use tenantry_embedded::{PgBouncer, PgBouncerConfig, PoolMode, Throwaway, ThrowawayConfig};
use tenantry_postgres::doctor::{Expected, Finding, Severity, examine};
use tenantry_postgres::{AccessConfig, Actor, ClusterSecret, DatabaseConfig, NewTenant, RegistryConfig, TenantSchema};
use testkit::{TestDatabase, World, WorldConfig};
use tokio_postgres::Client;

/// A server of its own, for its settings and roles are broken, with tenants of each kind.
struct Ward {
    server: Throwaway,
    world: World,
    admin: Client,
    url: String,
    expected: Expected,
    /// The role of `acme`, and the login of its cell.
    role: String,
    login: String,
}

/// Waits for what the server does by itself.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < patience, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Ward {
    async fn new() -> Self {
        let on = |name: &str| (name.to_owned(), "on".to_owned());
        let settings = ["fsync", "full_page_writes", "synchronous_commit"].map(on).into();
        // What the command line says, no later line changes, so the others are set as an operator sets them.
        let server = Throwaway::start(ThrowawayConfig { settings, ..ThrowawayConfig::default() }).await.unwrap();
        let database = TestDatabase::create_on(&server.cluster().superuser_url("postgres")).await;
        let schema = TenantSchema::new("CREATE TABLE tenant.notes (id int PRIMARY KEY)", &["notes"]);
        let world = World::on(database, WorldConfig::new(schema)).await;
        let acme = world.tenant("acme").await.tenant;
        world.tenant("globex").await;
        let alone = NewTenant {
            slug: "alone".parse().unwrap(),
            admin_email: "a@alone.example".into(),
            plan_tier: "free".into(),
            allowed_domains: Vec::new(),
            dedicated: true,
        };
        world.provisioner.create(&alone, &Actor::system("test")).await.unwrap();
        world.provisioner.refill(1, Duration::ZERO).await.unwrap();
        let admin = world.admin().await;
        admin.batch_execute("ALTER SYSTEM SET jit = off").await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        until("jit is off", async || {
            let other = world.admin().await;
            other.query_one("SHOW jit", &[]).await.unwrap().get::<_, String>(0) == "off"
        })
        .await;
        let url = server.cluster().superuser_url(&world.database.name);
        let expected = Expected {
            servers: 2,
            access: AccessConfig::default(),
            registry: RegistryConfig::default(),
            version: 1,
            needs: 1,
        };
        let role = format!("tnt_{}", acme.id.as_uuid().simple());
        let sql = "SELECT login_role FROM public.cells WHERE id = $1";
        let login = admin.query_one(sql, &[&acme.cell]).await.unwrap().get(0);
        Self { server, world, admin, url, expected, role, login }
    }

    async fn findings(&self) -> Vec<Finding> {
        examine(&self.url, &self.world.database.config, &self.expected).await.unwrap()
    }

    /// What is not well of one check.
    async fn ill(&self, check: &str) -> Vec<Finding> {
        let mut found = self.findings().await;
        found.retain(|finding| finding.check == check && finding.severity > Severity::Ok);
        found
    }

    /// Statement by statement, as a person enters them: some cannot be in a transaction.
    async fn enter(&self, lines: &str) {
        let code = lines.split(" -- ").next().unwrap();
        let code = code.replace("{role}", &self.role).replace("{login}", &self.login);
        let code = code.replace("{database}", &self.world.database.name);
        let separator = if code.starts_with("DO ") { "\0" } else { "; " };
        for statement in code.split(separator) {
            self.admin.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
    }
}

/// What is broken, what the doctor calls it, how bad that is, and whether its lines are SQL or there is another way back.
const BREAKS: &[(&str, Severity, &str, Option<&str>)] = &[
    (
        "roles.attributes",
        Severity::Fail,
        "ALTER ROLE {role} BYPASSRLS; ALTER ROLE {login} INHERIT; ALTER ROLE tenantry_owner LOGIN",
        None,
    ),
    (
        "roles.attributes",
        Severity::Fail,
        "ALTER ROLE tenantry_control CREATEROLE; ALTER ROLE tenantry_migrator NOCREATEROLE",
        None,
    ),
    (
        "roles.memberships_missing",
        Severity::Fail,
        "REVOKE {role} FROM {login}; REVOKE tenantry_tenant FROM {role}",
        None,
    ),
    (
        "roles.memberships_superfluous",
        Severity::Fail,
        "GRANT {role} TO tenantry_meter; GRANT pg_read_all_data TO {login}; GRANT tenantry_tenant TO tenantry_meter",
        None,
    ),
    (
        "roles.settings",
        Severity::Fail,
        "ALTER ROLE {login} SET work_mem = '1GB'; ALTER ROLE {role} IN DATABASE {database} SET statement_timeout = 0",
        None,
    ),
    ("roles.settings", Severity::Fail, "ALTER ROLE {login} RESET ALL", None),
    (
        "roles.missing",
        Severity::Fail,
        "ALTER ROLE tenantry_auditor RENAME TO other",
        Some("ALTER ROLE other RENAME TO tenantry_auditor"),
    ),
    ("roles.logins", Severity::Fail, "ALTER ROLE {login} RENAME TO other", Some("ALTER ROLE other RENAME TO {login}")),
    ("grants.database", Severity::Fail, "GRANT CONNECT, TEMP ON DATABASE {database} TO PUBLIC", None),
    ("grants.schemas", Severity::Fail, "GRANT USAGE ON SCHEMA public, tenant_acme TO PUBLIC", None),
    (
        "grants.objects",
        Severity::Fail,
        "GRANT SELECT ON analytics.daily_metrics, tenant_acme.notes TO PUBLIC; GRANT EXECUTE ON FUNCTION audit.refuse_change() TO PUBLIC",
        None,
    ),
    (
        "grants.row_level_security",
        Severity::Fail,
        "ALTER TABLE audit.events NO FORCE ROW LEVEL SECURITY; ALTER TABLE analytics.roi_calculations DISABLE ROW LEVEL SECURITY",
        None,
    ),
    (
        "grants.partitions",
        Severity::Fail,
        "DO $$ BEGIN EXECUTE format('DROP TABLE analytics.%I', to_char(now() AT TIME ZONE 'UTC', '\"daily_metrics_\"YYYY_MM')); END $$",
        None,
    ),
    ("grants.functions", Severity::Warn, "GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO PUBLIC", None),
    (
        "fleet.schemas_missing",
        Severity::Fail,
        "ALTER SCHEMA tenant_acme RENAME TO elsewhere",
        Some("ALTER SCHEMA elsewhere RENAME TO tenant_acme"),
    ),
    ("fleet.roles_missing", Severity::Fail, "DROP OWNED BY {role}; DROP ROLE {role}", None),
    (
        "fleet.placements_missing",
        Severity::Fail,
        "DELETE FROM public.tenant_placements WHERE tenant_id = (SELECT id FROM public.tenants WHERE slug = 'globex')",
        None,
    ),
    ("fleet.schemas_orphaned", Severity::Warn, "CREATE SCHEMA tenant_lost; CREATE SCHEMA tenant__warm_lost", None),
    (
        "fleet.roles_orphaned",
        Severity::Warn,
        "CREATE ROLE tnt_00000000000000000000000000000000; GRANT SELECT ON public.plans TO tnt_00000000000000000000000000000000",
        None,
    ),
    ("fleet.cells", Severity::Fail, "UPDATE public.cells SET tenants = tenants + 5", None),
    (
        "fleet.migrations",
        Severity::Fail,
        "UPDATE public.schema_migrations SET version = -version WHERE scope = 'registry' AND version > 1",
        Some("UPDATE public.schema_migrations SET version = -version WHERE version < 0"),
    ),
    ("settings.autovacuum", Severity::Fail, "ALTER SYSTEM SET autovacuum = off; SELECT pg_reload_conf()", None),
    ("settings.track_counts", Severity::Fail, "ALTER SYSTEM SET track_counts = off; SELECT pg_reload_conf()", None),
    ("settings.jit", Severity::Warn, "ALTER SYSTEM SET jit = on; SELECT pg_reload_conf()", None),
    (
        "settings.password_encryption",
        Severity::Fail,
        "ALTER SYSTEM SET password_encryption = 'md5'; SELECT pg_reload_conf()",
        None,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_broken_is_found_and_mended() {
    let mut ward = Ward::new().await;
    let healthy = ward.findings().await;
    let ill: Vec<_> = healthy.iter().filter(|finding| finding.severity > Severity::Ok).collect();
    assert!(ill.is_empty(), "{ill:#?}");

    for (check, severity, broken, back) in BREAKS {
        assert!(healthy.iter().any(|finding| finding.check == *check), "{check} is reported when it is well");
        ward.enter(broken).await;
        // A setting is there when the server has read its file again.
        let reloaded = check.starts_with("settings.");
        if reloaded {
            until(check, async || !ward.ill(check).await.is_empty()).await;
        }
        let found = ward.ill(check).await;
        assert!(!found.is_empty(), "{check} after: {broken}");
        assert!(found.iter().all(|finding| finding.severity == *severity && !finding.reason.is_empty()), "{found:#?}");
        match back {
            Some(back) => ward.enter(back).await,
            None => {
                for finding in &found {
                    ward.enter(finding.mend.as_deref().unwrap()).await;
                }
            }
        }
        if reloaded {
            until(check, async || ward.ill(check).await.is_empty()).await;
        }
        let left = ward.ill(check).await;
        assert!(left.is_empty(), "{check} is mended: {left:#?}");
    }

    ward.expected.version = 2;
    assert_eq!(ward.ill("fleet.versions").await[0].severity, Severity::Warn);
    ward.expected.needs = 2;
    assert_eq!(ward.ill("fleet.versions").await[0].severity, Severity::Fail);
    (ward.expected.version, ward.expected.needs) = (1, 1);
    ward.expected.servers = 100;
    assert_eq!(ward.ill("settings.max_connections").await[0].severity, Severity::Fail);
    ward.expected.servers = 1;

    let other = ClusterSecret::new("another secret, which is long enough to be one".to_owned().into()).unwrap();
    let stranger = DatabaseConfig::new(&ward.url, other).unwrap();
    let found = examine(&ward.url, &stranger, &ward.expected).await.unwrap();
    assert_eq!(found.iter().filter(|f| f.check == "roles.secret" && f.severity == Severity::Fail).count(), 4);

    // With our own role instead of a superuser everything is seen as well.
    let own = ward.url.split_once('@').map(|(_, rest)| format!("postgres://{rest}")).unwrap();
    let found = examine(&own, &ward.world.database.config, &ward.expected).await.unwrap();
    let ill: Vec<_> = found.iter().filter(|finding| finding.severity > Severity::Ok).collect();
    assert!(ill.is_empty(), "{ill:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_prepared_is_told() {
    let server = Throwaway::start(ThrowawayConfig::default()).await.unwrap();
    let url = server.cluster().superuser_url("postgres");
    let secret = ClusterSecret::new("a secret, which is long enough to be one".to_owned().into()).unwrap();
    let database = DatabaseConfig::new(&url, secret).unwrap();
    let expected = Expected {
        servers: 1,
        access: AccessConfig::default(),
        registry: RegistryConfig::default(),
        version: 1,
        needs: 1,
    };
    let found = examine(&url, &database, &expected).await.unwrap();
    let failed: Vec<&str> = found.iter().filter(|f| f.severity == Severity::Fail).map(|f| f.check).collect();
    for check in ["fleet.migrations", "roles.secret", "settings.fsync"] {
        assert!(failed.contains(&check), "{check} is not in {failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_is_judged_by_its_console_or_by_what_it_does() {
    let ward = Ward::new().await;
    let cluster = ward.server.cluster();
    for mode in [PoolMode::Transaction, PoolMode::Session] {
        let mut config = PgBouncerConfig::in_front_of(cluster);
        config.pool_mode = mode;
        config.settings.push(("admin_users".into(), cluster.superuser().to_owned()));
        config.settings.push(("auth_user".into(), cluster.superuser().to_owned()));
        let query = "SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename=$1";
        config.settings.push(("auth_query".into(), query.into()));
        let pooler = PgBouncer::start(config).await.unwrap();
        let at = |url: &str| ward.world.database.config.clone().with_pooler(url).unwrap();
        let console = pooler.url_for(cluster.superuser(), &ward.world.database.name).unwrap();
        let stranger =
            format!("postgres://nobody@127.0.0.1:{}/{}?sslmode=disable", pooler.port(), ward.world.database.name);
        for (url, severe) in [(console, Severity::Fail), (stranger, Severity::Warn)] {
            let found = examine(&ward.url, &at(&url), &ward.expected).await.unwrap();
            let severity = |check: &str| found.iter().find(|f| f.check == check).map(|f| f.severity);
            assert_eq!(severity("pooler.reachable"), Some(Severity::Ok), "{found:#?}");
            let wanted = if matches!(mode, PoolMode::Session) { severe } else { Severity::Ok };
            assert_eq!(severity("pooler.pool_mode"), Some(wanted), "{found:#?}");
            assert_eq!(severity("pooler.console").is_some(), severe == Severity::Warn, "{found:#?}");
        }
        pooler.stop().await;
    }
    let nowhere = ward.world.database.config.clone().with_pooler("postgres://127.0.0.1:1/x?sslmode=disable").unwrap();
    let found = examine(&ward.url, &nowhere, &ward.expected).await.unwrap();
    assert!(found.iter().any(|f| f.check == "pooler.reachable" && f.severity == Severity::Fail), "{found:#?}");
}
