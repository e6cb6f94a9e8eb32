//! What the database itself holds: the registry of the approved design, audit and analytics, and who may do what with them.

#![expect(clippy::disallowed_methods, reason = "a superuser looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use tenantry_postgres::{TenantSchema, initialise};
use testkit::{TestDatabase, World, WorldConfig, url_for};
use tokio_postgres::Client;

async fn world() -> World {
    World::start(WorldConfig::new(TenantSchema::new("CREATE TABLE tenant.notes (body text)", &["notes"]))).await
}

/// The first column of all rows.
async fn lines(client: &Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The SQLSTATE that a statement ends with, or `ok`.
async fn state(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "ok".into(),
        Err(error) => error.code().unwrap().code().to_owned(),
    }
}

/// The superuser in the role of somebody else, as the server would see that login.
async fn as_role(world: &World, role: &str) -> Client {
    let client = world.admin().await;
    client.batch_execute(&format!("SET SESSION AUTHORIZATION {role}")).await.unwrap();
    client
}

fn role_of(created: &tenantry_postgres::CreatedTenant) -> String {
    format!("tnt_{}", created.tenant.id.as_uuid().simple())
}

#[tokio::test]
async fn the_tenants_table_is_the_designs() {
    let database = TestDatabase::create().await;
    let admin = database.admin().await;
    let columns = lines(
        &admin,
        "SELECT concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END, \
            'default ' || pg_get_expr(d.adbin, d.adrelid)) \
         FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid = 'public.tenants'::regclass AND a.attnum > 0 ORDER BY a.attnum",
    )
    .await;
    // What later migrations have added comes after.
    assert_eq!(
        columns[..16],
        [
            "id uuid not null default gen_random_uuid()",
            "slug character varying(63) not null",
            "schema_name character varying(63) not null",
            "status character varying(20) not null default 'active'::character varying",
            "plan_tier character varying(20) not null default 'free'::character varying",
            "created_at timestamp with time zone not null default now()",
            "updated_at timestamp with time zone not null default now()",
            "deleted_at timestamp with time zone",
            "allowed_domains text[]",
            "api_key_hash text",
            "max_agents integer",
            "max_tasks_per_month integer",
            "storage_limit_gb integer",
            "stripe_customer_id character varying(255)",
            "stripe_subscription_id character varying(255)",
            "admin_email character varying(255) not null",
        ]
    );
    // Named not-null constraints, which 18 lists too, are left aside.
    let constraints = lines(
        &admin,
        "SELECT conname || ': ' || pg_get_constraintdef(oid) FROM pg_constraint \
         WHERE conrelid = 'public.tenants'::regclass AND contype <> 'n' ORDER BY conname",
    )
    .await;
    assert_eq!(
        constraints,
        [
            "deleted_has_time: CHECK ((((status)::text = 'deleted'::text) = (deleted_at IS NOT NULL)))",
            "tenants_pkey: PRIMARY KEY (id)",
            "tenants_plan_tier_fkey: FOREIGN KEY (plan_tier) REFERENCES plans(tier)",
            "tenants_schema_name_key: UNIQUE (schema_name)",
            "tenants_slug_key: UNIQUE (slug)",
            "valid_schema_name: CHECK (((schema_name)::text ~ '^tenant_[a-z0-9_]+$'::text))",
            "valid_slug: CHECK (((slug)::text ~ '^[a-z0-9-]+$'::text))",
            "valid_status: CHECK (((status)::text = ANY ((ARRAY['active'::character varying, 'suspended'::character varying, 'deleted'::character varying])::text[])))",
        ]
    );
    let indexes = lines(
        &admin,
        "SELECT replace(indexdef, ' USING btree', '') FROM pg_indexes WHERE schemaname = 'public' AND tablename = 'tenants' \
         AND indexname LIKE 'idx\\_%' ORDER BY indexname",
    )
    .await;
    assert_eq!(
        indexes,
        [
            "CREATE INDEX idx_tenants_status ON public.tenants (status) WHERE ((status)::text = 'active'::text)",
            "CREATE INDEX idx_tenants_stripe ON public.tenants (stripe_customer_id) WHERE (stripe_customer_id IS NOT NULL)",
        ]
    );
    let insert = |slug: &str, schema: &str, status: &str| {
        format!(
            "INSERT INTO public.tenants (slug, schema_name, status, admin_email) VALUES ('{slug}', '{schema}', '{status}', 'a@b.c')"
        )
    };
    assert_eq!(state(&admin, &insert("fine", "tenant_fine", "active")).await, "ok");
    for bad in [insert("A", "tenant_a", "active"), insert("a", "public", "active"), insert("a", "tenant_a", "gone")] {
        assert_eq!(state(&admin, &bad).await, "23514", "{bad}");
    }
    let plans = lines(&admin, "SELECT concat_ws(' ', tier, requests_per_minute, max_agents, max_concurrent_tasks, storage_limit_gb) FROM public.plans ORDER BY requests_per_minute").await;
    assert_eq!(plans, ["free 100 5 10 1", "starter 500 20 50 10", "growth 2000 100 200 50", "enterprise"]);
}

#[tokio::test]
async fn the_database_keeps_updated_at() {
    let database = TestDatabase::create().await;
    let admin = database.admin().await;
    let insert = "INSERT INTO public.tenants (slug, schema_name, admin_email, updated_at) VALUES ('a', 'tenant_a', 'a@b.c', '2000-01-01')";
    admin.batch_execute(insert).await.unwrap();
    admin.batch_execute("UPDATE public.tenants SET max_agents = 1, updated_at = '2001-01-01'").await.unwrap();
    let fresh = "SELECT updated_at > now() - interval '1 hour' FROM public.tenants";
    assert!(admin.query_one(fresh, &[]).await.unwrap().get::<_, bool>(0), "not even a given value holds");
}

#[tokio::test]
async fn analytics_show_a_tenant_its_own_rows_only() {
    let world = world().await;
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    let meter = as_role(&world, "tenantry_meter").await;
    for (created, calls) in [(&acme, 2), (&globex, 3)] {
        let id = created.tenant.id;
        let rows = format!(
            "INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, operation, latency_ms, cost_usd) \
               SELECT gen_random_uuid(), '{id}', 'openai', 'chat', 5, 0.1 FROM generate_series(1, {calls}); \
             INSERT INTO analytics.daily_metrics (tenant_id, date, provider, total_calls) VALUES ('{id}', current_date, 'openai', {calls}); \
             INSERT INTO analytics.roi_calculations (tenant_id, period_start, period_end, actual_cost_usd, baseline_cost_usd, \
                 savings_usd, savings_percent, tasks_completed, optimal_routing_percent) \
               VALUES ('{id}', now(), now() + interval '1 day', 1, 2, 1, 50, {calls}, 100)"
        );
        meter.batch_execute(&rows).await.unwrap();
    }
    // One agent's day has one row, also when there is no agent.
    let id = acme.tenant.id;
    let again = format!(
        "INSERT INTO analytics.daily_metrics (tenant_id, date, provider) VALUES ('{id}', current_date, 'openai')"
    );
    assert_eq!(state(&meter, &again).await, "23505");

    let tenant = as_role(&world, &role_of(&acme)).await;
    for (table, own) in [("provider_api_calls", 2_i64), ("daily_metrics", 1), ("roi_calculations", 1)] {
        let row = tenant
            .query_one(
                &format!("SELECT count(*), count(*) FILTER (WHERE tenant_id <> '{id}') FROM analytics.{table}"),
                &[],
            )
            .await
            .unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (own, 0), "{table} without any filter");
        for write in [
            format!("UPDATE analytics.{table} SET tenant_id = tenant_id"),
            format!("DELETE FROM analytics.{table}"),
            format!("INSERT INTO analytics.{table} SELECT * FROM analytics.{table}"),
            format!("TRUNCATE analytics.{table}"),
        ] {
            assert_eq!(state(&tenant, &write).await, "42501", "{write}");
        }
    }
    let partitions = lines(
        &world.admin().await,
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent::regclass::text LIKE 'analytics.%' \
         AND (SELECT relkind FROM pg_class WHERE oid = inhparent) = 'p'",
    )
    .await;
    for partition in &partitions {
        assert_eq!(state(&tenant, &format!("SELECT FROM {partition}")).await, "42501", "{partition}");
        assert_eq!(state(&tenant, &format!("DELETE FROM {partition}")).await, "42501", "{partition}");
    }
    // The auditor reads across tenants and writes nothing; the registry's own role sees none of it.
    let auditor = as_role(&world, "tenantry_auditor").await;
    let all = auditor.query_one("SELECT count(*) FROM analytics.provider_api_calls", &[]).await.unwrap();
    assert_eq!(all.get::<_, i64>(0), 5);
    assert_eq!(state(&auditor, "DELETE FROM analytics.daily_metrics").await, "42501");
    let control = as_role(&world, "tenantry_control").await;
    assert_eq!(state(&control, "SELECT FROM analytics.daily_metrics").await, "42501");
}

#[tokio::test]
async fn analytics_have_partitions_ahead_and_forced_policies_on_all() {
    let database = TestDatabase::create().await;
    let admin = database.admin().await;
    let months = "SELECT count(*) FROM unnest(ARRAY['provider_api_calls', 'daily_metrics']) AS parent, generate_series(0, 1) AS ahead \
        WHERE to_regclass('analytics.' || parent || to_char(now() AT TIME ZONE 'UTC' + make_interval(months => ahead), '_YYYY_MM')) IS NOT NULL";
    assert_eq!(admin.query_one(months, &[]).await.unwrap().get::<_, i64>(0), 4, "this month and the next");
    // The operators' own, which no tenant may read.
    let of_operators = "SELECT count(*) FROM unnest(ARRAY['price_catalogues', 'price_work', 'provider_bills', 'provider_bill_lines', 'purged_tenants']) t \
         WHERE has_table_privilege('tenantry_tenant', 'analytics.' || t, 'SELECT') OR has_any_column_privilege('tenantry_tenant', 'analytics.' || t, 'SELECT')";
    assert_eq!(admin.query_one(of_operators, &[]).await.unwrap().get::<_, i64>(0), 0);
    let unforced = lines(
        &admin,
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'analytics'::regnamespace AND relkind IN ('r', 'p') \
         AND relname NOT IN ('price_catalogues', 'price_work', 'provider_bills', 'provider_bill_lines', 'purged_tenants') \
         AND NOT (relrowsecurity AND relforcerowsecurity)",
    )
    .await;
    assert!(unforced.is_empty(), "{unforced:?}");
    let more = "SET ROLE tenantry_owner; SELECT analytics.ensure_partitions(3)";
    admin.batch_execute(more).await.unwrap();
    let without_id = lines(
        &admin,
        "SELECT relname::text FROM pg_class c WHERE relnamespace = 'analytics'::regnamespace AND relkind IN ('r', 'p') \
           AND relname NOT IN ('price_catalogues', 'price_work', 'provider_bills', 'provider_bill_lines', 'purged_tenants') AND NOT EXISTS ( \
           SELECT 1 FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id' AND attnotnull)",
    )
    .await;
    assert!(without_id.is_empty(), "{without_id:?}");
}

#[tokio::test]
async fn the_audit_is_append_only_for_everybody() {
    let world = world().await;
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    let event = |tenant: &str| {
        format!(
            "INSERT INTO audit.events (tenant_id, actor_kind, actor, action, target) VALUES ({tenant}, 'system', 't', 'x', 'y')"
        )
    };
    let tenant = as_role(&world, &role_of(&acme)).await;
    let (own, foreign) = (format!("'{}'", acme.tenant.id), format!("'{}'", globex.tenant.id));
    let unnamed = "INSERT INTO audit.events (actor_kind, actor, action, target) VALUES ('system', 't', 'x', 'y')";
    for _ in 0..2 {
        assert_eq!(state(&tenant, unnamed).await, "ok", "its own by default");
    }
    let dated = unnamed.replace("(actor_kind", "(at, actor_kind").replace("('system'", "(now(), 'system'");
    for refused in [event(&own), event(&foreign), event("NULL"), dated, "SELECT FROM audit.events".into()] {
        assert_eq!(state(&tenant, &refused).await, "42501", "{refused}");
    }
    let row = world.admin().await;
    let defaulted = "SELECT count(*) FROM audit.events WHERE action = 'x' AND tenant_id = $1";
    assert_eq!(row.query_one(defaulted, &[acme.tenant.id.as_uuid()]).await.unwrap().get::<_, i64>(0), 2);

    for role in ["tenantry_control", "tenantry_owner", "tenantry_migrator", "tenantry_auditor", "postgres"] {
        let client = as_role(&world, role).await;
        for change in
            ["UPDATE audit.events SET actor = 'somebody else'", "DELETE FROM audit.events", "TRUNCATE audit.events"]
        {
            assert_eq!(state(&client, change).await, "42501", "{role}: {change}");
        }
    }
    for change in ["UPDATE audit.events SET actor = 'x'", "DELETE FROM audit.events", "TRUNCATE audit.events"] {
        assert_eq!(state(&tenant, change).await, "42501", "tenant: {change}");
    }
}

#[tokio::test]
async fn nobody_but_their_owners_may_reach_the_registry() {
    let world = world().await;
    let acme = world.tenant("acme").await;
    let cell: String = world
        .admin()
        .await
        .query_one("SELECT login_role FROM public.cells WHERE id = $1", &[&acme.tenant.cell])
        .await
        .unwrap()
        .get(0);
    let meter = as_role(&world, "tenantry_meter").await;
    // Whose day it is and what the plan is called; for staging it has temporary tables.
    assert_eq!(state(&meter, "SELECT id, slug, time_zone FROM public.tenants").await, "ok");
    for no in [
        "SELECT admin_email FROM public.tenants",
        "SELECT FROM public.cells",
        "SELECT FROM public.tenant_placements",
        "SELECT FROM public.tenant_api_keys",
        "SELECT FROM public.operator_tokens",
        "SELECT FROM public.installation",
        "UPDATE public.tenants SET time_zone = 'UTC'",
        "SELECT FROM tenant_acme.notes",
        "CREATE TABLE public.mine (n int)",
        "CREATE TABLE analytics.mine (n int)",
        "CREATE SCHEMA mine",
    ] {
        assert_eq!(state(&meter, no).await, "42501", "the meter: {no}");
    }
    for role in [role_of(&acme), format!("\"{cell}\"")] {
        let client = as_role(&world, &role).await;
        for table in
            ["tenants", "plans", "cells", "tenant_placements", "tenant_api_keys", "operator_tokens", "installation"]
        {
            assert_eq!(state(&client, &format!("SELECT FROM public.{table}")).await, "42501", "{role}: {table}");
        }
        for create in ["CREATE TABLE public.mine (n int)", "CREATE SCHEMA mine", "CREATE TEMP TABLE mine (n int)"] {
            assert_eq!(state(&client, create).await, "42501", "{role}: {create}");
        }
    }
    let control = as_role(&world, "tenantry_control").await;
    for no in ["DELETE FROM public.tenants", "UPDATE public.cells SET capacity = 1", "SELECT FROM tenant_acme.notes"] {
        assert_eq!(state(&control, no).await, "42501", "{no}");
    }
}

#[tokio::test]
async fn a_second_initialisation_changes_nothing() {
    let database = TestDatabase::create().await;
    let report = initialise(&url_for(&database.name), &database.config).await.unwrap();
    assert!(report.roles_created.is_empty() && report.migrations_applied.is_empty(), "{report:?}");
    assert!(report.warnings.is_empty(), "{report:?}");
}
