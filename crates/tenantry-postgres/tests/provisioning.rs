//! Tenants made, changed and removed on a real server.

#![expect(clippy::disallowed_methods, reason = "a superuser looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use secrecy::ExposeSecret as _;
use tenantry_core::{ApiKeyId, ManualClock, PresentedToken, TenantStatus, TokenKind};
use tenantry_postgres::{
    AccessError, Actor, CreatedKey, NewKey, NewTenant, ProvisionError, Provisioner, TenantFilter, TenantPatch,
    TenantSchema,
};
use testkit::{World, WorldConfig};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

fn schema() -> TenantSchema {
    let sql = "CREATE TABLE tenant.notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL); \
               CREATE TABLE tenant.activity_logs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, action text NOT NULL)";
    let schema = TenantSchema::new(sql, &["notes", "activity_logs"]).with_append_only(&["activity_logs"]);
    TenantSchema { version: 3, ..schema }
}

async fn world() -> World {
    World::start(WorldConfig::new(schema())).await
}

fn new(slug: &str) -> NewTenant {
    NewTenant {
        slug: slug.parse().unwrap(),
        admin_email: format!("admin@{slug}.example"),
        plan_tier: "free".into(),
        allowed_domains: vec![],
        dedicated: false,
    }
}

fn actor() -> Actor {
    Actor::system("test")
}

async fn number(client: &Client, sql: &str, params: &[&(dyn ToSql + Sync)]) -> i64 {
    client.query_one(sql, params).await.unwrap().get(0)
}

async fn flag(client: &Client, sql: &str, params: &[&(dyn ToSql + Sync)]) -> bool {
    client.query_one(sql, params).await.unwrap().get(0)
}

fn presented(key: &CreatedKey) -> PresentedToken {
    PresentedToken::parse(key.token.expose_secret(), TokenKind::TenantKey).unwrap()
}

/// Everything a creation leaves behind, counted.
const RESIDUE: &str = "SELECT (SELECT count(*) FROM public.tenants) + (SELECT count(*) FROM public.tenant_placements) \
    + (SELECT count(*) FROM public.cells) + (SELECT count(*) FROM public.tenant_api_keys) \
    + (SELECT count(*) FROM public.tenant_domains) + (SELECT count(*) FROM audit.events) \
    + (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenant\\_%') \
    + (SELECT count(*) FROM pg_roles, public.installation i WHERE rolname LIKE 'tenantry\\_cell\\_' || i.id || '\\_%')";

#[tokio::test]
async fn a_new_tenant_is_complete() {
    let world = world().await;
    let created = world.provisioner.create(&new("acme-eu"), &actor()).await.unwrap();
    world.provisioner.create(&new("globex"), &actor()).await.unwrap();
    let tenant = &created.tenant;
    assert_eq!((tenant.slug.as_str(), tenant.schema_name.as_str()), ("acme-eu", "tenant_acme_eu"));
    assert_eq!((tenant.status, tenant.schema_version, tenant.generation), (TenantStatus::Active, 3, 1));
    assert_eq!((tenant.plan_tier.as_str(), tenant.shard.as_str()), ("free", "main"));
    let principal = world.registry.authenticate_key(&presented(&created.key)).await.unwrap();
    assert_eq!(principal.tenant(), tenant.id);
    assert_eq!(world.provisioner.keys("acme-eu").await.unwrap().len(), 1);

    let admin = world.admin().await;
    let owners = admin
        .query(
            "SELECT DISTINCT r.rolname::text FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner \
             WHERE c.relnamespace = 'tenant_acme_eu'::regnamespace \
             UNION SELECT r.rolname::text FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = 'tenant_acme_eu'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(owners.iter().map(|r| r.get(0)).collect::<Vec<String>>(), ["tenantry_owner"]);

    let role = format!("tnt_{}", tenant.id.as_uuid().simple());
    let cell: String =
        admin.query_one("SELECT login_role FROM public.cells WHERE id = $1", &[&tenant.cell]).await.unwrap().get(0);
    let may = |who: &'static str, table: &'static str, right: &'static str| {
        let (admin, role, cell) = (&admin, role.clone(), cell.clone());
        async move {
            let who = match who {
                "tenant" => role,
                "cell" => cell,
                other => other.to_owned(),
            };
            flag(admin, "SELECT has_table_privilege($1, 'tenant_acme_eu.' || $2, $3)", &[&who, &table, &right]).await
        }
    };
    for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
        assert!(may("tenant", "notes", right).await, "{right}");
        let appends = matches!(right, "SELECT" | "INSERT");
        assert_eq!(may("tenant", "activity_logs", right).await, appends, "{right} on the log");
        for stranger in ["cell", "tenantry_control", "tenantry_meter", "tenantry_auditor", "tenantry_tenant"] {
            assert!(!may(stranger, "notes", right).await, "{stranger} {right}");
        }
    }
    for right in ["TRUNCATE", "REFERENCES", "TRIGGER"] {
        assert!(!may("tenant", "notes", right).await, "{right}");
    }
    let schema = "SELECT has_schema_privilege($1, $2, $3)";
    assert!(flag(&admin, schema, &[&role, &"tenant_acme_eu", &"USAGE"]).await);
    assert!(!flag(&admin, schema, &[&role, &"tenant_acme_eu", &"CREATE"]).await);
    for foreign in ["tenant_globex", "public"] {
        assert!(!flag(&admin, schema, &[&role, &foreign, &"USAGE"]).await, "{foreign}");
    }
    // The login sees nothing as itself, may become its tenants and nobody else, and keeps no rights of its own.
    let login = admin
        .query_one(
            "SELECT rolcanlogin AND NOT (rolinherit OR rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls) FROM pg_roles WHERE rolname = $1",
            &[&cell],
        )
        .await
        .unwrap();
    assert!(login.get::<_, bool>(0));
    let member_of = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid \
                     WHERE m.member = $1::text::regrole AND r.rolname NOT LIKE 'tnt\\_%'";
    assert_eq!(number(&admin, member_of, &[&cell]).await, 0);
    assert_eq!(number(&admin, "SELECT count(*) FROM audit.events WHERE action = 'tenant.create'", &[]).await, 2);
}

#[tokio::test]
async fn a_failed_creation_leaves_nothing() {
    let world = world().await;
    let admin = world.admin().await;
    assert_eq!(number(&admin, RESIDUE, &[]).await, 0);
    let roles = "SELECT count(*) FROM pg_roles r WHERE rolname LIKE 'tnt\\_%' AND NOT EXISTS ( \
                 SELECT 1 FROM pg_auth_members m WHERE m.roleid = r.oid) AND rolcanlogin = false";
    let before = number(&admin, roles, &[]).await;
    let broken = TenantSchema { sql: format!("{}; SELECT 1/0", schema().sql), ..schema() };
    let broken = Provisioner::new(&world.database.config, broken, 200);
    let error = broken.create(&new("acme"), &actor()).await.unwrap_err();
    assert!(matches!(error, ProvisionError::Database(_)), "{error}");
    for (bad, expected) in [
        (NewTenant { plan_tier: "gold".into(), ..new("acme") }, "plan `gold` does not exist"),
        (NewTenant { admin_email: "nobody".into(), ..new("acme") }, "`nobody` is not an e-mail address"),
        (NewTenant { allowed_domains: vec!["127.0.0.1".into()], ..new("acme") }, "`127.0.0.1` is not a host name"),
    ] {
        assert_eq!(world.provisioner.create(&bad, &actor()).await.unwrap_err().to_string(), expected);
    }
    assert_eq!(number(&admin, RESIDUE, &[]).await, 0);
    assert_eq!(number(&admin, roles, &[]).await, before);
    world.provisioner.create(&new("acme"), &actor()).await.unwrap();
}

#[tokio::test]
async fn of_two_at_once_for_one_slug_one_wins() {
    let world = world().await;
    let other = Provisioner::new(&world.database.config, schema(), 200);
    let (mine, yours) = (new("acme"), new("acme"));
    let who = actor();
    let (one, two) = tokio::join!(world.provisioner.create(&mine, &who), other.create(&yours, &who));
    let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
    won.unwrap();
    assert!(matches!(lost.unwrap_err(), ProvisionError::SlugTaken(slug) if slug == "acme"));
    let admin = world.admin().await;
    assert_eq!(number(&admin, "SELECT sum(tenants) FROM public.cells", &[]).await, 1);
    assert!(matches!(world.provisioner.create(&mine, &who).await, Err(ProvisionError::SlugTaken(_))));
}

#[tokio::test]
async fn many_at_once_never_overfill_a_cell() {
    let mut config = WorldConfig::new(schema());
    config.cell_capacity = 3;
    let world = World::start(config).await;
    let other = Provisioner::new(&world.database.config, schema(), 3);
    let made = (0..14).map(|n| {
        let provisioner = if n % 2 == 0 { world.provisioner.clone() } else { other.clone() };
        tokio::spawn(async move { provisioner.create(&new(&format!("t{n}")), &actor()).await.unwrap().tenant.slug })
    });
    let mut slugs = BTreeSet::new();
    for task in made.collect::<Vec<_>>() {
        slugs.insert(task.await.unwrap());
    }
    assert_eq!(slugs.len(), 14);
    let admin = world.admin().await;
    let wrong = "SELECT count(*) FROM public.cells c WHERE c.tenants > c.capacity OR c.tenants <> ( \
                 SELECT count(*) FROM public.tenant_placements p WHERE p.cell_id = c.id)";
    assert_eq!(number(&admin, wrong, &[]).await, 0);
    // Room that concurrency left is used by those who come later.
    let before = number(&admin, "SELECT count(*) FROM public.cells", &[]).await;
    let room = number(&admin, "SELECT sum(capacity - tenants) FROM public.cells", &[]).await;
    for n in 0..room {
        world.provisioner.create(&new(&format!("late{n}")), &actor()).await.unwrap();
    }
    assert_eq!(number(&admin, "SELECT count(*) FROM public.cells", &[]).await, before);
    assert_eq!(number(&admin, wrong, &[]).await, 0);
}

#[tokio::test]
async fn the_lifecycle_has_its_steps_and_no_others() {
    let world = world().await;
    let p = &world.provisioner;
    let who = actor();
    p.create(&new("acme"), &who).await.unwrap();
    let refused = |result: Result<tenantry_postgres::TenantRow, ProvisionError>| {
        matches!(result, Err(ProvisionError::Transition { .. }))
    };
    assert_eq!(p.suspend("acme", &who).await.unwrap().status, TenantStatus::Suspended);
    let again = p.suspend("acme", &who).await.unwrap();
    assert_eq!(again.status, TenantStatus::Suspended, "a repeated step is answered");
    assert!(refused(p.restore("acme", &who).await));
    assert_eq!(p.resume("acme", &who).await.unwrap().status, TenantStatus::Active);
    let early = p.purge("acme", TimeDelta::zero(), &who).await.unwrap_err();
    assert!(matches!(early, ProvisionError::NotPurgeable { .. }), "{early}");
    let deleted = p.delete("acme", TimeDelta::days(30), &who).await.unwrap();
    assert_eq!(deleted.purge_after, deleted.tenant.deleted_at.unwrap() + TimeDelta::days(30));
    assert!(refused(p.suspend("acme", &who).await));
    assert!(refused(p.resume("acme", &who).await));
    let early = p.purge("acme", TimeDelta::days(30), &who).await.unwrap_err();
    assert!(early.to_string().contains("its grace period lasts until"), "{early}");
    assert!(
        matches!(p.create(&new("acme"), &who).await, Err(ProvisionError::SlugTaken(_))),
        "kept in the grace period"
    );
    let restored = p.restore("acme", &who).await.unwrap();
    assert_eq!((restored.status, restored.deleted_at), (TenantStatus::Active, None));
    p.suspend("acme", &who).await.unwrap();
    p.delete("acme", TimeDelta::zero(), &who).await.unwrap();
    p.purge("acme", TimeDelta::zero(), &who).await.unwrap();
    for gone in [p.show("acme").await, p.suspend("acme", &who).await, p.purge("acme", TimeDelta::zero(), &who).await] {
        assert!(matches!(gone, Err(ProvisionError::NotFound(_))), "{gone:?}");
    }
    let admin = world.admin().await;
    let rows = admin.query("SELECT action FROM audit.events ORDER BY id", &[]).await.unwrap();
    let told: Vec<String> = rows.iter().map(|r| r.get::<_, String>(0).replace("tenant.", "")).collect();
    let expected = "create suspend resume delete restore suspend delete purge";
    assert_eq!(told.join(" "), expected, "what changed nothing is not told");
}

#[tokio::test]
async fn a_purge_removes_everything_but_the_audit() {
    let world = world().await;
    let who = actor();
    let with_domain = NewTenant { allowed_domains: vec!["agents.acme.example".into()], ..new("acme") };
    let acme = world.provisioner.create(&with_domain, &who).await.unwrap().tenant;
    let globex = world.provisioner.create(&new("globex"), &who).await.unwrap().tenant;
    let admin = world.admin().await;
    for id in [acme.id, globex.id] {
        let id = id.as_uuid();
        admin.execute("INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, operation, latency_ms) VALUES (gen_random_uuid(), $1, 'openai', 'chat', 1)", &[id]).await.unwrap();
        admin
            .execute(
                "INSERT INTO analytics.daily_metrics (tenant_id, date, provider) VALUES ($1, current_date, 'openai')",
                &[id],
            )
            .await
            .unwrap();
        admin.execute("INSERT INTO analytics.roi_calculations (tenant_id, period_start, period_end, actual_cost_usd, baseline_cost_usd, savings_usd, savings_percent, tasks_completed, optimal_routing_percent) VALUES ($1, now(), now() + interval '1 day', 1, 1, 1, 1, 1, 1)", &[id]).await.unwrap();
    }
    world.provisioner.delete("acme", TimeDelta::zero(), &who).await.unwrap();
    world.provisioner.purge("acme", TimeDelta::zero(), &who).await.unwrap();
    let rows = "SELECT (SELECT count(*) FROM public.tenants WHERE id = $1) \
        + (SELECT count(*) FROM public.tenant_placements WHERE tenant_id = $1) \
        + (SELECT count(*) FROM public.tenant_api_keys WHERE tenant_id = $1) \
        + (SELECT count(*) FROM public.tenant_domains WHERE tenant_id = $1) \
        + (SELECT count(*) FROM analytics.provider_api_calls WHERE tenant_id = $1) \
        + (SELECT count(*) FROM analytics.daily_metrics WHERE tenant_id = $1) \
        + (SELECT count(*) FROM analytics.roi_calculations WHERE tenant_id = $1) \
        + (SELECT count(*) FROM pg_roles WHERE rolname = 'tnt_' || replace($1::text, '-', ''))";
    assert_eq!(number(&admin, rows, &[acme.id.as_uuid()]).await, 0);
    assert_eq!(number(&admin, rows, &[globex.id.as_uuid()]).await, 7, "the neighbour keeps all");
    assert_eq!(number(&admin, "SELECT count(*) FROM pg_namespace WHERE nspname = 'tenant_acme'", &[]).await, 0);
    assert_eq!(number(&admin, "SELECT sum(tenants) FROM public.cells", &[]).await, 1);
    let told = "SELECT count(*) FROM audit.events WHERE tenant_id = $1";
    assert_eq!(number(&admin, told, &[acme.id.as_uuid()]).await, 3);
    // The slug is free again, for another tenant.
    let next = world.provisioner.create(&with_domain, &who).await.unwrap().tenant;
    assert_ne!(next.id, acme.id);
    assert_eq!(world.context("acme").await.id(), next.id);
}

#[tokio::test]
async fn keys_are_made_expire_and_are_revoked() {
    let mut config = WorldConfig::new(schema());
    let clock = Arc::new(ManualClock::new(Utc::now()));
    config.clock = Arc::clone(&clock) as Arc<_>;
    let world = World::start(config).await;
    let (p, who) = (&world.provisioner, actor());
    p.create(&new("acme"), &who).await.unwrap();
    p.create(&new("globex"), &who).await.unwrap();
    let ends = Utc::now() + TimeDelta::hours(1);
    let short = NewKey { expires_at: Some(ends), ..NewKey::named("short").scoped(&["agents:read".into()]) };
    let short = p.create_key("acme", &short, &who).await.unwrap();
    let long = p.create_key("acme", &NewKey::named("long"), &who).await.unwrap();
    assert_eq!(world.registry.authenticate_key(&presented(&short)).await.unwrap().scopes(), ["agents:read"]);
    clock.advance(TimeDelta::hours(2));
    let expired = world.registry.authenticate_key(&presented(&short)).await;
    assert!(matches!(expired, Err(AccessError::InvalidCredential)));
    world.registry.authenticate_key(&presented(&long)).await.unwrap();

    let foreign = p.revoke_key("globex", long.info.id, &who).await.unwrap_err();
    assert!(matches!(foreign, ProvisionError::UnknownKey(_)), "another tenant's key");
    let revoked = p.revoke_key("acme", long.info.id, &who).await.unwrap();
    let again = p.revoke_key("acme", long.info.id, &who).await.unwrap();
    assert_eq!(revoked.revoked_at, again.revoked_at);
    let unknown = p.revoke_key("acme", ApiKeyId::generate(), &who).await.unwrap_err();
    assert!(matches!(unknown, ProvisionError::UnknownKey(_)));
    let names: Vec<String> = p.keys("acme").await.unwrap().into_iter().map(|k| k.name).collect();
    assert_eq!(names, ["long", "short", "first key"]);
    for bad in [String::new(), "x".repeat(101)] {
        assert!(matches!(p.create_key("acme", &NewKey::named(&bad), &who).await, Err(ProvisionError::Invalid { .. })));
    }
    assert!(matches!(p.create_key("nobody", &NewKey::named("k"), &who).await, Err(ProvisionError::NotFound(_))));

    // Nothing of a token but its lookup and its hash is stored.
    let admin = world.admin().await;
    let stored: String =
        admin.query_one("SELECT string_agg(k::text, ' ') FROM public.tenant_api_keys k", &[]).await.unwrap().get(0);
    let secret = long.token.expose_secret().splitn(3, '_').nth(2).unwrap().to_owned();
    assert!(stored.contains(&long.info.lookup) && !stored.contains(&secret));
}

#[tokio::test]
async fn a_host_belongs_to_one_tenant() {
    let world = world().await;
    let (p, who) = (&world.provisioner, actor());
    let host = |host: &str| NewTenant { allowed_domains: vec![host.into()], ..new("acme") };
    let made = p.create(&host(" Agents.ACME.example. "), &who).await.unwrap();
    assert_eq!(made.tenant.allowed_domains, ["agents.acme.example"]);
    p.create(&new("globex"), &who).await.unwrap();
    assert!(world.registry.domain_is_known("agents.acme.example").await.unwrap());
    let domains = |list: &[&str]| TenantPatch {
        allowed_domains: Some(list.iter().map(|d| (*d).to_owned()).collect()),
        ..TenantPatch::default()
    };
    let taken = p.update("globex", &domains(&["agents.acme.example"]), &who).await.unwrap_err();
    assert!(matches!(taken, ProvisionError::DomainTaken(_)), "{taken}");
    p.update("acme", &domains(&["new.acme.example", "new.acme.example"]), &who).await.unwrap();
    p.update("globex", &domains(&["agents.acme.example"]), &who).await.unwrap();
    let admin = world.admin().await;
    assert_eq!(number(&admin, "SELECT count(*) FROM public.tenant_domains", &[]).await, 2);
}

#[tokio::test]
async fn a_dedicated_tenant_has_a_cell_of_its_own() {
    let world = world().await;
    let who = actor();
    world.provisioner.create(&new("acme"), &who).await.unwrap();
    let alone = NewTenant { dedicated: true, ..new("alone") };
    let alone = world.provisioner.create(&alone, &who).await.unwrap().tenant;
    let admin = world.admin().await;
    let role = format!("tnt_{}", alone.id.as_uuid().simple());
    let own = "SELECT count(*) FROM public.cells WHERE id = $1 AND dedicated AND capacity = 1 AND login_role = $2";
    assert_eq!(number(&admin, own, &[&alone.cell, &role]).await, 1);
    let members = "SELECT count(*) FROM pg_auth_members WHERE roleid = $1::text::regrole AND member <> 'tenantry_migrator'::regrole \
                   AND member <> 10";
    assert_eq!(number(&admin, members, &[&role]).await, 0, "nobody else may become it");
    world.provisioner.delete("alone", TimeDelta::zero(), &who).await.unwrap();
    world.provisioner.purge("alone", TimeDelta::zero(), &who).await.unwrap();
    assert_eq!(number(&admin, "SELECT count(*) FROM pg_roles WHERE rolname = $1", &[&role]).await, 0);
    assert_eq!(number(&admin, "SELECT count(*) FROM public.cells", &[]).await, 1);
}

#[tokio::test]
async fn lists_are_filtered_ordered_and_paged() {
    let world = world().await;
    let (p, who) = (&world.provisioner, actor());
    for slug in ["a-b", "ab", "a1", "b2", "b10"] {
        p.create(&new(slug), &who).await.unwrap();
    }
    p.suspend("ab", &who).await.unwrap();
    let patch = TenantPatch { plan_tier: Some("growth".into()), max_agents: Some(Some(7)), ..TenantPatch::default() };
    assert_eq!(p.update("b2", &patch, &who).await.unwrap().max_agents, Some(7));
    let back = TenantPatch { max_agents: Some(None), ..TenantPatch::default() };
    assert_eq!(p.update("b2", &back, &who).await.unwrap().max_agents, None);
    let list = |filter: TenantFilter| async move {
        let rows = p.list(&filter).await.unwrap();
        rows.iter().map(|t| t.slug.as_str().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let all = TenantFilter { limit: 10, ..TenantFilter::default() };
    assert_eq!(list(all.clone()).await, "a-b a1 ab b10 b2");
    assert_eq!(list(TenantFilter { after: Some("a1".into()), limit: 2, ..all.clone() }).await, "ab b10");
    assert_eq!(list(TenantFilter { prefix: Some("a".into()), ..all.clone() }).await, "a-b a1 ab");
    assert_eq!(list(TenantFilter { status: Some(TenantStatus::Suspended), ..all.clone() }).await, "ab");
    assert_eq!(list(TenantFilter { plan_tier: Some("growth".into()), ..all }).await, "b2");
    let negative = TenantPatch { max_agents: Some(Some(-1)), ..TenantPatch::default() };
    assert!(matches!(p.update("b2", &negative, &who).await, Err(ProvisionError::Invalid { .. })));
}
