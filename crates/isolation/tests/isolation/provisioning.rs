//! A change of the fleet happens whole or not at all: killed at any point, and two at once.
//!
//! The points are not marked in the code, where one could be forgotten: a proxy counts the requests of a change on the
//! wire and stops after each of them in turn, so a request added later is a point as well.

#![expect(clippy::unwrap_used, reason = "where a test cannot go on, it ends")]

use std::time::Duration;

use isolation::backends::{PATIENCE, eventually, sessions_of};
use isolation::marks::{ADD, ALL, schema};
use isolation::proxy::Proxy;
use isolation::through::parts;
use tenantry_core::{PresentedToken, TenantStatus, TokenKind};
use tenantry_embedded::{Throwaway, ThrowawayConfig};
use tenantry_postgres::{Actor, NewKey, ProvisionError};
use testkit::{TestDatabase, World, WorldConfig};
use tokio_postgres::Client;

use crate::child::{Change, provisioner};

/// Everything in the server that could be left over, each with the query that finds it. The server has one database of
/// ours, so roles are all its own.
const LEFT_OVER: &[(&str, &str)] = &[
    (
        "a schema without tenant",
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant\\_%' EXCEPT SELECT schema_name FROM everybody",
    ),
    ("a tenant without schema", "SELECT schema_name FROM everybody EXCEPT SELECT nspname FROM pg_namespace"),
    (
        "a schema without its table",
        "SELECT schema_name FROM everybody EXCEPT SELECT schemaname FROM pg_tables WHERE tablename = 'marks'",
    ),
    (
        "a schema of another owner",
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant\\_%' AND nspowner <> 'tenantry_owner'::regrole",
    ),
    (
        "a role without tenant",
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tnt\\_%' EXCEPT SELECT 'tnt_' || replace(id::text, '-', '') FROM everybody",
    ),
    (
        "a tenant without role",
        "SELECT 'tnt_' || replace(id::text, '-', '') FROM everybody EXCEPT SELECT rolname FROM pg_roles",
    ),
    (
        "a cell's login without cell",
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenantry\\_cell\\_%' EXCEPT SELECT login_role FROM public.cells",
    ),
    (
        "a cell without login",
        "SELECT login_role FROM public.cells EXCEPT SELECT rolname FROM pg_roles WHERE rolcanlogin",
    ),
    (
        "a tenant without placement",
        "SELECT id::text FROM public.tenants EXCEPT SELECT tenant_id::text FROM public.tenant_placements",
    ),
    (
        "a cell that counts wrongly",
        "SELECT c.id::text FROM public.cells c WHERE c.tenants <> (SELECT count(*) FROM everybody p WHERE p.cell_id = c.id)",
    ),
    ("a dedicated cell without tenant", "SELECT id::text FROM public.cells WHERE dedicated AND tenants <> 1"),
    (
        "a membership too many or too few",
        "(SELECT c.login_role || ' in ' || 'tnt_' || replace(p.id::text, '-', '') AS m FROM everybody p JOIN public.cells c ON c.id = p.cell_id WHERE NOT c.dedicated \
       UNION ALL SELECT 'tnt_' || replace(id::text, '-', '') || ' in tenantry_tenant' FROM everybody) \
      EXCEPT SELECT m.member::regrole || ' in ' || m.roleid::regrole FROM pg_auth_members m \
      UNION ALL (SELECT m.member::regrole || ' in ' || m.roleid::regrole FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles w ON w.oid = m.member \
       WHERE (r.rolname LIKE 'tnt\\_%' AND w.rolname LIKE 'tenantry\\_cell\\_%') \
       EXCEPT SELECT c.login_role || ' in ' || 'tnt_' || replace(p.id::text, '-', '') FROM everybody p JOIN public.cells c ON c.id = p.cell_id)",
    ),
    (
        "a right of nobody",
        "SELECT acl.grantee::text FROM (SELECT (aclexplode(datacl)).grantee FROM pg_database UNION ALL SELECT (aclexplode(nspacl)).grantee FROM pg_namespace UNION ALL SELECT (aclexplode(relacl)).grantee FROM pg_class) acl WHERE acl.grantee <> 0 AND NOT EXISTS (SELECT 1 FROM pg_roles r WHERE r.oid = acl.grantee)",
    ),
    (
        "a tenant without key",
        "SELECT id::text FROM public.tenants EXCEPT SELECT tenant_id::text FROM public.tenant_api_keys",
    ),
    (
        "a tenant without its domain",
        "SELECT id::text FROM public.tenants EXCEPT SELECT tenant_id::text FROM public.tenant_domains",
    ),
    (
        "a tenant created other than once by the audit trail",
        "SELECT t.id::text FROM public.tenants t WHERE 1 <> (SELECT count(*) FROM audit.events e WHERE e.tenant_id = t.id AND e.action = 'tenant.create')",
    ),
    (
        "an audit event of a tenant that never was",
        "SELECT e.tenant_id::text FROM audit.events e WHERE e.tenant_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM public.tenants t WHERE t.id = e.tenant_id) AND NOT EXISTS (SELECT 1 FROM audit.events p WHERE p.tenant_id = e.tenant_id AND p.action = 'tenant.purge')",
    ),
    (
        "an audit event of a purge that was not",
        "SELECT t.id::text FROM public.tenants t JOIN audit.events e ON e.tenant_id = t.id WHERE e.action = 'tenant.purge'",
    ),
    (
        "a status other than the audit trail's last",
        "SELECT t.id::text FROM public.tenants t WHERE t.status <> (SELECT CASE e.action WHEN 'tenant.suspend' THEN 'suspended' WHEN 'tenant.delete' THEN 'deleted' ELSE 'active' END FROM audit.events e WHERE e.tenant_id = t.id AND e.action LIKE 'tenant.%' ORDER BY e.id DESC LIMIT 1)",
    ),
];

/// Tenants and warm schemas, which have schema, role and place alike.
const EVERYBODY: &str = "WITH everybody AS (SELECT t.id, t.schema_name::text, p.cell_id FROM public.tenants t JOIN public.tenant_placements p ON p.tenant_id = t.id \
    UNION ALL SELECT id, schema_name, cell_id FROM public.warm_schemas) ";

async fn nothing_is_left_over(admin: &Client, after: &str) {
    for (what, sql) in LEFT_OVER {
        let found: Vec<String> = admin
            .query(&format!("{EVERYBODY}{sql}"), &[])
            .await
            .unwrap()
            .iter()
            .map(|r| r.get::<_, Option<String>>(0).unwrap_or_default())
            .collect();
        assert!(found.is_empty(), "{what} after {after}: {found:?}");
    }
}

struct Stage {
    _server: Throwaway,
    world: World,
    admin: Client,
    proxy: Proxy,
}

impl Stage {
    /// A server of its own: roles belong to the whole of it, and a killed session takes all others along.
    async fn new() -> Self {
        // A crash must not lose what was acknowledged; no machine crashes here, so the disk need not be waited for.
        let settings = vec![("synchronous_commit".into(), "on".into())];
        let server = Throwaway::start(ThrowawayConfig { settings, ..ThrowawayConfig::default() }).await.unwrap();
        let database = TestDatabase::create_on(&server.cluster().superuser_url("postgres")).await;
        let (host, port, ..) = parts(database.server());
        let proxy = Proxy::start(&host, port).await;
        let mut config = WorldConfig::new(schema());
        config.cell_capacity = 1;
        let world = World::on(database, config).await;
        let admin = world.admin().await;
        Self { _server: server, world, admin, proxy }
    }

    fn proxied(&self) -> TestDatabase {
        self.world.database.by_way_of(self.proxy.port())
    }

    /// Brings a tenant to where the change can begin.
    async fn prepare(&self, change: Change, slug: &str) {
        let direct = provisioner(&self.world.database);
        direct.reduce(0).await.unwrap();
        let before: &[Change] = match change {
            Change::Create | Change::CreateDedicated | Change::Refill => &[],
            Change::Claim | Change::Reduce => &[Change::Refill],
            Change::Delete => &[Change::Create],
            // The one that has most to remove.
            Change::Purge => &[Change::CreateDedicated, Change::Delete],
        };
        for step in before {
            step.run(&direct, slug).await.unwrap();
        }
    }

    /// The number of requests that the change sends.
    async fn requests(&self, change: Change) -> usize {
        let slug = format!("count-{}", format!("{change:?}").to_lowercase());
        self.prepare(change, &slug).await;
        self.proxy.release();
        let before = self.proxy.passed();
        change.run(&provisioner(&self.proxied()), &slug).await.unwrap();
        nothing_is_left_over(&self.admin, &slug).await;
        self.proxy.passed() - before
    }

    async fn sessions_end(&self) {
        for role in ["tenantry\\_migrator", "tenantry\\_control"] {
            // The registry's own connections are the control role's as well, and stay idle.
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE $1 \
                       AND state IS DISTINCT FROM 'idle'";
            eventually("the killed session ends", async || {
                self.admin.query_one(sql, &[&role]).await.unwrap().get::<_, i64>(0) == 0
            })
            .await;
        }
    }

    /// The tenant is as before the change or as after it, works as such, and the change can be made (again).
    async fn is_whole(&self, change: Change, slug: &str, after: &str) {
        nothing_is_left_over(&self.admin, after).await;
        let direct = provisioner(&self.world.database);
        match change.run(&direct, slug).await {
            Ok(()) => {}
            // It was complete, only nobody has its key: that was to be shown once. Another can be made.
            Err(ProvisionError::SlugTaken(_))
                if matches!(change, Change::Create | Change::CreateDedicated | Change::Claim) => {}
            Err(ProvisionError::NotFound(_)) if change == Change::Purge => {}
            Err(error) => panic!("after {after}: {error}"),
        }
        nothing_is_left_over(&self.admin, &format!("{after}, then again")).await;
        let wanted = match change {
            Change::Create | Change::CreateDedicated | Change::Claim => TenantStatus::Active,
            Change::Refill | Change::Reduce => {
                let ready = i64::from(change == Change::Refill);
                assert_eq!(direct.warm_status().await.unwrap().ready, ready, "after {after}");
                // What waits is a whole tenant but for its name.
                if change == Change::Refill {
                    Change::Claim.run(&direct, slug).await.unwrap();
                    nothing_is_left_over(&self.admin, &format!("{after}, then claimed")).await;
                    self.is_usable(slug).await;
                }
                return;
            }
            Change::Delete => TenantStatus::Deleted,
            Change::Purge => {
                assert!(matches!(direct.show(slug).await, Err(ProvisionError::NotFound(_))), "after {after}");
                return;
            }
        };
        assert_eq!(direct.show(slug).await.unwrap().status, wanted, "after {after}");
        if wanted == TenantStatus::Active {
            self.is_usable(slug).await;
        }
    }

    async fn is_usable(&self, slug: &str) {
        use secrecy::ExposeSecret as _;
        let key =
            self.world.provisioner.create_key(slug, &NewKey::named("another"), &Actor::system("test")).await.unwrap();
        let token = PresentedToken::parse(key.token.expose_secret(), TokenKind::TenantKey).unwrap();
        let registry = &self.world.registry;
        let principal = registry.authenticate_key(&token).await.unwrap();
        eventually("the tenant is served", async || registry.context(&principal, &[]).await.is_ok()).await;
        let context = registry.context(&principal, &[]).await.unwrap();
        let mut tx = self.world.db.begin(&context).await.unwrap();
        tx.execute(&ADD, &[&slug, &"first", &1]).await.unwrap();
        let rows = tx.query(&ALL, &[]).await.unwrap();
        assert!(rows.len() == 1 && rows[0].get::<_, &str>(0) == slug);
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_a_change_is_made_whole_or_not_at_all() {
    let stage = Stage::new().await;
    for change in Change::ALL {
        let requests = stage.requests(change).await;
        println!("{change:?}: {requests} requests");
        assert!(requests >= change.least_requests(), "{change:?} goes through the proxy");
        assert!(change != Change::Claim || requests == 1, "a claim is one request, not {requests}");
        for passed in 0..=requests {
            let slug = format!("{}-{passed}", format!("{change:?}").to_lowercase());
            let after = format!("{change:?} killed after {passed} of {requests} requests");
            stage.prepare(change, &slug).await;
            stage.proxy.hold_after(passed);
            let mut child = change.start(&stage.proxied(), &slug);
            if passed > 0 {
                tokio::time::timeout(PATIENCE, stage.proxy.held()).await.unwrap_or_else(|_| panic!("never: {after}"));
            } else {
                eventually("it has logged in", async || {
                    sessions_of(&stage.admin, "tenantry\\_migrator").await
                        + sessions_of(&stage.admin, "tenantry\\_control").await
                        > 1
                })
                .await;
            }
            // SIGKILL.
            child.kill().await.unwrap();
            stage.sessions_end().await;
            stage.proxy.release();
            stage.is_whole(change, &slug, &after).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_session_leaves_a_change_whole_or_not_made() {
    let mut stage = Stage::new().await;
    // Those that make, rename and remove what is not in the registry.
    for change in [Change::Create, Change::Purge, Change::Refill, Change::Claim] {
        let requests = stage.requests(change).await;
        // A crash of the whole server each: every other point, and the two around COMMIT.
        for passed in (1..=requests).filter(|n| n % 3 == 0 || *n + 1 >= requests) {
            let slug = format!("{}-{passed}", format!("{change:?}").to_lowercase());
            let after = format!("{change:?} whose session was killed after {passed} of {requests} requests");
            stage.prepare(change, &slug).await;
            stage.proxy.hold_after(passed);
            let proxied = stage.proxied();
            let running = tokio::spawn({
                let slug = slug.clone();
                async move { change.run(&provisioner(&proxied), &slug).await }
            });
            tokio::time::timeout(PATIENCE, stage.proxy.held()).await.unwrap_or_else(|_| panic!("never: {after}"));
            let pid: i32 = stage
                .admin
                .query_one(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tenantry_migrator' \
                     ORDER BY backend_start DESC LIMIT 1",
                    &[],
                )
                .await
                .unwrap()
                .get(0);
            let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
            assert!(killed.success());
            let outcome = tokio::time::timeout(PATIENCE, running).await.expect("it notices").unwrap();
            assert!(outcome.is_err(), "the answer to its last request never came");
            stage.proxy.release();
            let admin = stage.world.database.clone();
            // First it ends all its sessions, and only then recovers.
            eventually("the server falls", async || stage.admin.is_closed()).await;
            eventually("the server recovers", async || {
                let logged_in = tokio_postgres::connect(admin.server(), tokio_postgres::NoTls).await;
                logged_in.is_ok()
            })
            .await;
            stage.admin = admin.admin().await;
            stage.is_whole(change, &slug, &after).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_for_one_slug_one_wins() {
    let mut config = WorldConfig::new(schema());
    config.cell_capacity = 2;
    let world = World::start(config).await;
    let all = (0..8).map(|_| {
        let provisioner = provisioner(&world.database);
        tokio::spawn(async move { Change::Create.run(&provisioner, "wanted").await })
    });
    let mut won = 0;
    for one in all.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(()) => won += 1,
            Err(ProvisionError::SlugTaken(slug)) => assert_eq!(slug, "wanted"),
            Err(error) => panic!("neither won nor taken: {error}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(world.provisioner.keys("wanted").await.unwrap().len(), 1);
}

/// Starts a creation in one process, stops it in the middle, starts another in a second process and waits until that waits.
async fn two_processes(slug: &str) -> (World, Proxy, tokio::process::Child, tokio::process::Child) {
    let world = World::start(WorldConfig::new(schema())).await;
    let (host, port, ..) = parts(world.database.server());
    let proxy = Proxy::start(&host, port).await;
    // BEGIN, the registry's row, the cell.
    proxy.hold_after(3);
    let first = Change::Create.start(&world.database.by_way_of(proxy.port()), slug);
    tokio::time::timeout(PATIENCE, proxy.held()).await.unwrap();
    let second = Change::Create.start(&world.database, slug);
    let admin = world.admin().await;
    eventually("the second waits for the first", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND usename = 'tenantry_migrator' AND wait_event_type = 'Lock'";
        admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    (world, proxy, first, second)
}

async fn outcome(child: tokio::process::Child) -> String {
    let output = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|l| l.split_once("outcome: ").map(|(_, o)| o.to_owned())).unwrap_or(text)
}

#[tokio::test]
async fn of_two_processes_for_one_slug_the_first_wins() {
    let (world, proxy, first, second) = two_processes("wanted").await;
    proxy.release();
    assert_eq!((outcome(first).await.as_str(), outcome(second).await.as_str()), ("done", "taken"));
    assert_eq!(world.provisioner.keys("wanted").await.unwrap().len(), 1);
}

#[tokio::test]
async fn of_two_processes_for_one_slug_the_second_wins_when_the_first_is_killed() {
    let (world, _proxy, mut first, second) = two_processes("wanted").await;
    first.kill().await.unwrap();
    assert_eq!(outcome(second).await, "done");
    assert_eq!(world.provisioner.keys("wanted").await.unwrap().len(), 1);
}
