//! The registry's cache: what it remembers, how it hears of changes, and what it refuses when it cannot know.

#![expect(clippy::disallowed_methods, reason = "a superuser looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::future::Future;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use tenantry_core::{PresentedToken, Role, Slug, TenantStatus, TokenKind};
use tenantry_postgres::{
    AccessError, Actor, DbError, Identified, NewKey, NewTenant, NotReady, TenantPatch, TenantSchema, VerifiedToken,
};
use testkit::{World, WorldConfig, admin_client};

fn no_tables() -> TenantSchema {
    TenantSchema::new("SELECT 1", &[])
}

async fn world() -> World {
    World::start(WorldConfig::new(no_tables())).await
}

fn actor() -> Actor {
    Actor::system("test")
}

fn key(token: &SecretString) -> PresentedToken {
    PresentedToken::parse(token.expose_secret(), TokenKind::TenantKey).unwrap()
}

/// Waits for what a notification brings about, and fails when it does not come.
async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn status(world: &World, slug: &str) -> Option<TenantStatus> {
    match world.registry.system_context(&slug.parse().unwrap(), "test").await {
        Ok(_) => Some(TenantStatus::Active),
        Err(AccessError::Inactive { status, .. }) => Some(status),
        Err(_) => None,
    }
}

#[tokio::test]
async fn every_kind_of_change_reaches_a_running_server() {
    let world = world().await;
    let (p, r, who) = (&world.provisioner, &world.registry, actor());
    let acme = world.tenant("acme").await;
    let operator = p.create_operator("olga", &who).await.unwrap();
    let olga = PresentedToken::parse(operator.expose_secret(), TokenKind::Operator).unwrap();
    let admin = world.admin().await;
    // Everything is remembered once.
    let before = world.context("acme").await.tenant().clone();
    assert_eq!((before.generation.0, before.limits.requests_per_minute), (1, None));
    r.authenticate_key(&key(&acme.key.token)).await.unwrap();
    assert_eq!(r.authenticate_operator(&olga).await.unwrap().name(), "olga");
    assert!(!r.domain_is_known("agents.acme.example").await.unwrap());
    let late: Slug = "late".parse().unwrap();
    assert!(matches!(r.system_context(&late, "test").await, Err(AccessError::UnknownTenant { .. })));

    p.suspend("acme", &who).await.unwrap();
    eventually("suspended", || async { status(&world, "acme").await == Some(TenantStatus::Suspended) }).await;
    p.resume("acme", &who).await.unwrap();
    eventually("resumed", || async { status(&world, "acme").await == Some(TenantStatus::Active) }).await;

    let moved = "UPDATE public.tenant_placements SET generation = 2 WHERE tenant_id = $1";
    admin.execute(moved, &[acme.tenant.id.as_uuid()]).await.unwrap();
    eventually("moved", || async { world.context("acme").await.tenant().generation.0 == 2 }).await;

    admin.batch_execute("UPDATE public.plans SET requests_per_minute = 77 WHERE tier = 'enterprise'").await.unwrap();
    eventually("plan", || async { world.context("acme").await.tenant().limits.requests_per_minute == Some(77) }).await;

    let patch = TenantPatch { allowed_domains: Some(vec!["agents.acme.example".into()]), ..TenantPatch::default() };
    p.update("acme", &patch, &who).await.unwrap();
    eventually("a domain appeared", || async { r.domain_is_known("agents.acme.example").await.unwrap() }).await;
    let patch = TenantPatch { allowed_domains: Some(vec![]), ..TenantPatch::default() };
    p.update("acme", &patch, &who).await.unwrap();
    eventually("a domain went", || async { !r.domain_is_known("agents.acme.example").await.unwrap() }).await;

    world.tenant("late").await;
    eventually("a tenant appeared", || async { r.system_context(&late, "test").await.is_ok() }).await;

    p.revoke_key("acme", acme.key.info.id, &who).await.unwrap();
    eventually("key", || async { r.authenticate_key(&key(&acme.key.token)).await.is_err() }).await;
    p.revoke_operator("olga", &who).await.unwrap();
    eventually("operator", || async { r.authenticate_operator(&olga).await.is_err() }).await;
}

#[tokio::test]
async fn a_name_that_moved_to_another_tenant_is_not_followed_to_the_old_one() {
    let world = world().await;
    let (old, other) = (world.tenant("old").await.tenant.id, world.tenant("other").await.tenant.id);
    assert_eq!(world.context("old").await.id(), old);
    let admin = world.admin().await;
    let swap = "UPDATE public.tenants SET slug = 'renamed' WHERE slug = 'old'; \
                UPDATE public.tenants SET slug = 'old' WHERE slug = 'other'";
    admin.batch_execute(swap).await.unwrap();
    let slug: Slug = "old".parse().unwrap();
    eventually("swapped", || async {
        world.registry.system_context(&slug, "test").await.is_ok_and(|c| c.id() == other)
    })
    .await;
    eventually("renamed", || async { world.context("renamed").await.id() == old }).await;
}

#[tokio::test]
async fn an_entry_is_trusted_while_changes_are_heard_and_not_for_longer() {
    // Longer than the default, so that a slow machine does not lose its trust by itself.
    let mut config = WorldConfig::new(no_tables());
    config.registry.stale_after = Duration::from_secs(3);
    let world = World::start(config).await;
    world.tenant("acme").await;
    let admin = world.admin().await;
    world.context("acme").await;
    // A change that nobody tells of: what is remembered is served, as long as the listener proves that it hears.
    let silent = "ALTER TABLE public.tenants DISABLE TRIGGER tenants_announce; \
                  UPDATE public.tenants SET status = 'suspended' WHERE slug = 'acme'; \
                  ALTER TABLE public.tenants ENABLE TRIGGER tenants_announce";
    admin.batch_execute(silent).await.unwrap();
    assert_eq!(status(&world, "acme").await, Some(TenantStatus::Active), "from memory");

    world.registry.cut_listener(Duration::from_secs(30));
    let cut = Instant::now();
    eventually("read again", || async { status(&world, "acme").await == Some(TenantStatus::Suspended) }).await;
    assert!(world.registry.readiness().await.contains(&NotReady::Listener), "after {:?}", cut.elapsed());
    // A context from before is of no use either.
    assert_eq!(status(&world, "acme").await, Some(TenantStatus::Suspended));
}

#[tokio::test]
async fn what_was_missed_while_nobody_listened_is_made_up_for() {
    let world = world().await;
    world.tenant("acme").await;
    world.context("acme").await;
    world.registry.cut_listener(Duration::from_millis(300));
    eventually("cut", || async { world.registry.readiness().await.contains(&NotReady::Listener) }).await;
    world.provisioner.suspend("acme", &actor()).await.unwrap();
    assert!(world.registry.wait_until_listening(Duration::from_secs(10)).await);
    assert_eq!(status(&world, "acme").await, Some(TenantStatus::Suspended));
}

#[tokio::test]
async fn without_the_database_nobody_is_served() {
    let world = world().await;
    let acme = world.tenant("acme").await;
    let context = world.context("acme").await;
    world.registry.authenticate_key(&key(&acme.key.token)).await.unwrap();
    let server = admin_client("postgres").await;
    let name = &world.database.name;
    server.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
    server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", &[name]).await.unwrap();
    let stale = |r: Result<_, AccessError>| matches!(r, Err(AccessError::Stale(_)));
    eventually("the key", || async { stale(world.registry.authenticate_key(&key(&acme.key.token)).await.map(|_| ())) })
        .await;
    eventually("the tenant", || async {
        stale(world.registry.system_context(context.slug(), "test").await.map(|_| ()))
    })
    .await;
    assert!(matches!(world.db.single(&context).await, Err(DbError::Unavailable(_))), "not even with a context");
    let reasons = world.registry.readiness().await;
    assert!(reasons.contains(&NotReady::Listener) && reasons.len() == 2, "{reasons:?}");

    server.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await.unwrap();
    eventually("back by itself", || async { world.registry.readiness().await.is_empty() }).await;
    world.registry.authenticate_key(&key(&acme.key.token)).await.unwrap();
    world.db.single(&context).await.unwrap();
}

#[tokio::test]
async fn identification_and_credential_must_agree() {
    let world = world().await;
    let who = actor();
    let hosted = NewTenant {
        slug: "acme".parse().unwrap(),
        admin_email: "a@acme.example".into(),
        plan_tier: "free".into(),
        allowed_domains: vec!["agents.acme.example".into()],
        dedicated: false,
    };
    let acme = world.provisioner.create(&hosted, &who).await.unwrap();
    world.tenant("globex").await;
    let r = &world.registry;
    let principal = r.authenticate_key(&key(&acme.key.token)).await.unwrap();
    let slug = |s: &str| Identified::Slug(s.parse().unwrap());
    let host = |h: &str| Identified::Domain(h.into());
    for fine in [vec![], vec![slug("acme")], vec![host("agents.acme.example"), slug("acme")]] {
        assert_eq!(r.context(&principal, &fine).await.unwrap().slug().as_str(), "acme");
    }
    for foreign in [slug("globex"), slug("nobody"), host("agents.globex.example")] {
        let refused = r.context(&principal, &[slug("acme"), foreign.clone()]).await;
        assert!(matches!(refused, Err(AccessError::Mismatch { .. })), "{foreign:?}");
    }
    let token = |s: &str| VerifiedToken::vouch(s.parse().unwrap(), "u".into(), vec![]);
    let unknown = r.authenticate_token(token("nobody"), Some(Role::Member)).await;
    assert!(matches!(unknown, Err(AccessError::UnknownTenant { slug }) if slug == "nobody"));
    assert_eq!(r.authenticate_token(token("acme"), Some(Role::Member)).await.unwrap().tenant(), acme.tenant.id);

    // Another key's public part with this key's secret proves nothing.
    let other = world.provisioner.create_key("acme", &NewKey::named("other"), &who).await.unwrap();
    let mine = acme.key.token.expose_secret();
    let forged = format!("tnk_{}_{}", other.info.lookup, &mine["tnk_".len() + 13..]);
    let forged = PresentedToken::parse(&forged, TokenKind::TenantKey).unwrap();
    assert!(matches!(r.authenticate_key(&forged).await, Err(AccessError::InvalidCredential)));
}

#[tokio::test]
async fn a_refusal_that_cannot_be_stored_does_not_keep_the_others_out() {
    let world = world().await;
    for presented in ["nul\0 inside".to_owned(), "x".repeat(100_000), "fine".to_owned()] {
        world.registry.record_refusal(tenantry_postgres::Refusal {
            tenant: None,
            kind: "token",
            subject: "somebody".into(),
            action: "access.mismatch",
            presented,
            client_ip: None,
            request_id: "request-1".into(),
        });
    }
    let admin = world.admin().await;
    let count = "SELECT count(*), max(length(target)) FROM audit.events WHERE action = 'access.mismatch'";
    eventually("all three", || async { admin.query_one(count, &[]).await.unwrap().get::<_, i64>(0) == 3 }).await;
    assert_eq!(admin.query_one(count, &[]).await.unwrap().get::<_, i32>(1), 256);
}

#[tokio::test]
async fn an_end_loses_no_refusal() {
    let world = world().await;
    let refused = 1000_i64;
    for i in 0..refused {
        world.registry.record_refusal(tenantry_postgres::Refusal {
            tenant: None,
            kind: "api_key",
            subject: "key:7".into(),
            action: "access.mismatch",
            presented: "globex".into(),
            client_ip: None,
            request_id: format!("request-{i}"),
        });
    }
    assert!(world.registry.drain_refusals(Duration::from_secs(60)).await, "everything is written");
    let told = "SELECT count(*) FILTER (WHERE action = 'access.mismatch' AND actor_kind = 'api_key' AND actor = 'key:7'), \
                sum((details->>'not_recorded_before')::bigint)::bigint FROM audit.events WHERE action LIKE 'access.%'";
    let row = world.admin().await.query_one(told, &[]).await.unwrap();
    let (rows, counted): (i64, i64) = (row.get(0), row.get(1));
    assert!(counted > 0, "more than the queue holds");
    assert_eq!(rows + counted, refused);
    assert!(world.registry.drain_refusals(Duration::ZERO).await, "nothing is left to wait for");
}
