//! What was taken away is refused by every server within a second, also by one that cannot hear of it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where it cannot go on, and tells its figures"
)]

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use isolation::backends::{PATIENCE, eventually};
use isolation::marks::{ADD, ALL, schema};
use isolation::proxy::{Proxy, Traffic};
use isolation::through::parts;
use secrecy::{ExposeSecret as _, SecretString};
use tenantry_core::{PresentedToken, TokenKind};
use tenantry_postgres::{AccessError, Actor, DbError, NewKey, TenantContext};
use testkit::{TestDatabase, World, WorldConfig};

/// The contract.
const BOUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 30;

async fn server(database: TestDatabase) -> World {
    World::on(database, WorldConfig::new(schema())).await
}

async fn two_servers() -> [World; 2] {
    let database = TestDatabase::create().await;
    let servers = [server(database.clone()).await, server(database).await];
    servers[0].tenant("acme").await;
    servers
}

fn actor() -> Actor {
    Actor::system("test")
}

fn token(secret: &SecretString, kind: TokenKind) -> PresentedToken {
    PresentedToken::parse(secret.expose_secret(), kind).expect("a token of ours")
}

/// Whether a server still serves a context it gave before.
async fn serves(server: &World, context: &TenantContext) -> Result<bool, DbError> {
    match server.db.single(context).await {
        Ok(mut tx) => tx.query(&ALL, &[]).await.map(|_| true),
        Err(DbError::ContextExpired) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn key_is_good(server: &World, token: &PresentedToken) -> bool {
    match server.registry.authenticate_key(token).await {
        Ok(_) => true,
        Err(AccessError::InvalidCredential) => false,
        Err(error) => panic!("neither good nor bad: {error}"),
    }
}

async fn operator_is_good(server: &World, token: &PresentedToken) -> bool {
    match server.registry.authenticate_operator(token).await {
        Ok(_) => true,
        Err(AccessError::InvalidCredential) => false,
        Err(error) => panic!("neither good nor bad: {error}"),
    }
}

/// The time from before the change to the first refusal, on both servers, while both are asked all the time.
async fn first_refusals<C, A>(change: C, mut allowed: impl FnMut(usize) -> A) -> [Duration; 2]
where
    C: Future<Output = ()>,
    A: AsyncFnMut() -> bool,
{
    let began = Instant::now();
    let refusal = |mut allowed: A| async move {
        while allowed().await {
            assert!(began.elapsed() < PATIENCE, "it is never refused");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        began.elapsed()
    };
    let ((), first, second) = tokio::join!(change, refusal(allowed(0)), refusal(allowed(1)));
    [first, second]
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!("{what}: first refusal after p50 {:?}, p99 {:?}, of {} on two servers", at(50), at(99), times.len());
    assert!(*times.last().unwrap() < BOUND, "{what}: {times:?}");
}

#[tokio::test]
async fn two_servers_refuse_a_suspended_tenant_within_the_bound() {
    let servers = two_servers().await;
    let contexts = [servers[0].context("acme").await, servers[1].context("acme").await];
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        for (server, context) in servers.iter().zip(&contexts) {
            eventually("both serve it", async || serves(server, context).await.unwrap()).await;
        }
        let suspend = async { drop(servers[0].provisioner.suspend("acme", &actor()).await.unwrap()) };
        let (servers, contexts) = (&servers, &contexts);
        let refused = first_refusals(suspend, |n| async move || serves(&servers[n], &contexts[n]).await.unwrap());
        times.extend(Box::pin(refused).await);
        for server in servers {
            let again = server.registry.system_context(&"acme".parse().unwrap(), "test").await;
            assert!(matches!(again, Err(AccessError::Inactive { .. })), "no new context either: {again:?}");
        }
        servers[1].provisioner.resume("acme", &actor()).await.unwrap();
    }
    report("suspension", times);
}

#[tokio::test]
async fn two_servers_refuse_a_deleted_tenant_within_the_bound() {
    let servers = two_servers().await;
    let contexts = [servers[0].context("acme").await, servers[1].context("acme").await];
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        for (server, context) in servers.iter().zip(&contexts) {
            eventually("both serve it", async || serves(server, context).await.unwrap()).await;
        }
        let delete =
            async { drop(servers[0].provisioner.delete("acme", TimeDelta::days(30), &actor()).await.unwrap()) };
        let (servers, contexts) = (&servers, &contexts);
        let refused = first_refusals(delete, |n| async move || serves(&servers[n], &contexts[n]).await.unwrap());
        times.extend(Box::pin(refused).await);
        servers[1].provisioner.restore("acme", &actor()).await.unwrap();
    }
    report("deletion", times);
}

#[tokio::test]
async fn two_servers_refuse_revoked_keys_and_operators_within_the_bound() {
    let servers = two_servers().await;
    let (mut of_keys, mut of_operators) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let key = servers[0].provisioner.create_key("acme", &NewKey::named("short-lived"), &actor()).await.unwrap();
        let name = format!("operator {round}");
        let operator = servers[0].provisioner.create_operator(&name, &actor()).await.unwrap();
        let operator = token(&operator, TokenKind::Operator);
        let presented = token(&key.token, TokenKind::TenantKey);
        for server in &servers {
            assert!(key_is_good(server, &presented).await && operator_is_good(server, &operator).await);
        }
        let (servers, presented, operator) = (&servers, &presented, &operator);
        let revoke = async { drop(servers[0].provisioner.revoke_key("acme", key.info.id, &actor()).await.unwrap()) };
        of_keys.extend(first_refusals(revoke, |n| async move || key_is_good(&servers[n], presented).await).await);
        let revoke = async { servers[0].provisioner.revoke_operator(&name, &actor()).await.unwrap() };
        of_operators
            .extend(first_refusals(revoke, |n| async move || operator_is_good(&servers[n], operator).await).await);
    }
    report("key revocation", of_keys);
    report("operator revocation", of_operators);
}

/// A server whose way to the database can be made to fail, beside one whose way is sound.
struct Cut {
    sound: World,
    cut: World,
    proxy: Proxy,
    context: TenantContext,
    key: PresentedToken,
    operator: PresentedToken,
}

impl Cut {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let (host, port, ..) = parts(database.server());
        let proxy = Proxy::start(&host, port).await;
        let sound = server(database.clone()).await;
        let created = sound.tenant("acme").await;
        let operator = sound.provisioner.create_operator("alice", &actor()).await.unwrap();
        let cut = server(database.by_way_of(proxy.port())).await;
        let context = cut.context("acme").await;
        let (key, operator) = (token(&created.key.token, TokenKind::TenantKey), token(&operator, TokenKind::Operator));
        let all = Self { sound, cut, proxy, context, key, operator };
        all.warm().await;
        all
    }

    /// Everything is served by the server to be cut, so that it has everything in its cache.
    async fn warm(&self) {
        eventually("it is served", async || matches!(serves(&self.cut, &self.context).await, Ok(true))).await;
        assert!(key_is_good(&self.cut, &self.key).await && operator_is_good(&self.cut, &self.operator).await);
        assert!(self.cut.registry.wait_until_listening(PATIENCE).await);
    }

    /// Takes everything away by way of the sound server.
    async fn take_all_away(&self) {
        let provisioner = &self.sound.provisioner;
        provisioner.suspend("acme", &actor()).await.unwrap();
        for key in provisioner.keys("acme").await.unwrap() {
            provisioner.revoke_key("acme", key.id, &actor()).await.unwrap();
        }
        provisioner.revoke_operator("alice", &actor()).await.unwrap();
    }

    /// From the bound on, nothing is granted: it is refused where the server can read, or it says that it cannot know.
    async fn grants_nothing_after_the_bound(&self, may_read: bool) {
        // The contract's second, and what is true after it: nothing to wait for but the clock.
        tokio::time::sleep(BOUND).await;
        let slug = "acme".parse().unwrap();
        let registry = &self.cut.registry;
        let (tenant, context, key, operator) = tokio::join!(
            self.cut.db.single(&self.context),
            registry.system_context(&slug, "test"),
            registry.authenticate_key(&self.key),
            registry.authenticate_operator(&self.operator),
        );
        match tenant.map(drop) {
            Err(DbError::ContextExpired) if may_read => {}
            Err(DbError::Unavailable(_)) if !may_read => {}
            other => panic!("the tenant: {other:?}"),
        }
        let fine = |error: &AccessError| match error {
            AccessError::InvalidCredential | AccessError::Inactive { .. } => may_read,
            AccessError::Stale(_) => !may_read,
            _ => false,
        };
        assert!(context.as_ref().is_err_and(fine), "a new context: {context:?}");
        assert!(key.as_ref().is_err_and(fine), "the key: {key:?}");
        assert!(operator.as_ref().is_err_and(fine), "the operator's token: {operator:?}");
    }

    /// With the way mended the server hears and serves again, without being started again.
    async fn mend(&self) {
        self.proxy.set(Traffic::Pass);
        self.sound.provisioner.resume("acme", &actor()).await.unwrap();
        assert!(self.cut.registry.wait_until_listening(PATIENCE).await, "the listener comes back");
        eventually("it is served again", async || {
            // A request has a time limit; one that meets a connection which is silently dead runs into it.
            let request = async {
                let mut tx = self.cut.db.single(&self.context).await?;
                tx.execute(&ADD, &[&"acme", &uuid::Uuid::new_v4().to_string(), &1]).await
            };
            matches!(tokio::time::timeout(BOUND, request).await, Ok(Ok(1)))
        })
        .await;
    }

    /// Ends the listener's session at the server; its connection looks like any of the registry's, but it listens.
    async fn end_the_listener(&self) {
        let admin = self.sound.admin().await;
        // The sound server's listener dies, too: it must come back by itself.
        let ended = admin
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND usename = 'tenantry_control' AND query LIKE '%tenantry_beat_%'",
                &[],
            )
            .await
            .unwrap();
        assert!(ended >= 2, "two servers listen, {ended} were ended");
    }
}

#[tokio::test]
async fn a_server_whose_notifications_are_lost_reads_again() {
    let stage = Cut::new().await;
    stage.proxy.set(Traffic::NoNotifications);
    stage.take_all_away().await;
    stage.grants_nothing_after_the_bound(true).await;
    assert!(!stage.cut.registry.readiness().await.is_empty(), "it says that it is not ready");
    stage.mend().await;
}

#[tokio::test]
async fn a_server_whose_listener_was_ended_reads_again() {
    let stage = Cut::new().await;
    stage.cut.registry.cut_listener(Duration::from_secs(3));
    stage.end_the_listener().await;
    stage.take_all_away().await;
    stage.grants_nothing_after_the_bound(true).await;
    stage.mend().await;
}

#[tokio::test]
async fn a_server_without_database_refuses_what_it_cannot_know() {
    let stage = Cut::new().await;
    stage.proxy.set(Traffic::Refuse);
    stage.take_all_away().await;
    stage.grants_nothing_after_the_bound(false).await;
    assert!(!stage.cut.registry.readiness().await.is_empty(), "it says that it is not ready");
    stage.mend().await;
}

#[tokio::test]
async fn a_server_whose_database_is_silent_refuses_what_it_cannot_know() {
    let stage = Cut::new().await;
    stage.proxy.set(Traffic::Silence);
    stage.take_all_away().await;
    stage.grants_nothing_after_the_bound(false).await;
    stage.mend().await;
}
