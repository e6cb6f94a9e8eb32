//! Schemas made in advance, and creations that run at the same time.

#![expect(clippy::disallowed_methods, reason = "a test looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "where a test cannot go on, it ends")]

use std::collections::BTreeSet;
use std::time::Duration;

use tenantry_postgres::{Actor, CreatedTenant, NewTenant, ProvisionError, Provisioner, TenantSchema};
use testkit::{World, WorldConfig};
use tokio_postgres::Client;

/// A little of everything that a catalog holds.
fn schema() -> TenantSchema {
    let sql = "CREATE TABLE tenant.authors (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE); \
              CREATE TABLE tenant.notes (id serial PRIMARY KEY, author bigint NOT NULL REFERENCES tenant.authors (id) ON DELETE CASCADE, \
                  body text NOT NULL DEFAULT 'none' CHECK (length(body) < 1000), tenant_id uuid DEFAULT tenantry.current_tenant()); \
              CREATE INDEX notes_body ON tenant.notes (lower(body)) WHERE body <> ''; \
              ALTER TABLE tenant.notes ENABLE ROW LEVEL SECURITY; ALTER TABLE tenant.notes FORCE ROW LEVEL SECURITY; \
              CREATE POLICY own ON tenant.notes USING (EXISTS (SELECT FROM tenant.authors a WHERE a.id = author)); \
              CREATE FUNCTION tenant.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; \
              CREATE TRIGGER touched BEFORE UPDATE ON tenant.notes FOR EACH ROW EXECUTE FUNCTION tenant.touch()";
    TenantSchema { version: 2, ..TenantSchema::new(sql, &["authors", "notes"]).with_append_only(&["authors"]) }
}

async fn world() -> World {
    World::start(WorldConfig::new(schema())).await
}

fn new(slug: &str) -> NewTenant {
    NewTenant {
        slug: slug.parse().unwrap(),
        admin_email: format!("admin@{slug}.example"),
        plan_tier: "free".into(),
        allowed_domains: vec![format!("{slug}.example.org")],
        dedicated: false,
    }
}

fn actor() -> Actor {
    Actor::system("test")
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn is_warm(admin: &Client, created: &CreatedTenant) -> bool {
    let sql = "SELECT coalesce((details ->> 'warm')::boolean, false) FROM audit.events WHERE tenant_id = $1";
    admin.query_one(sql, &[created.tenant.id.as_uuid()]).await.unwrap().get(0)
}

const NO_PAUSE: Duration = Duration::ZERO;

/// Everything of a schema that the catalog holds, with the names of schema and role made equal.
async fn catalog(admin: &Client, created: &CreatedTenant) -> BTreeSet<String> {
    let sql = "WITH s AS (SELECT oid FROM pg_namespace WHERE nspname = $1), c AS (SELECT * FROM pg_class WHERE relnamespace = (SELECT oid FROM s)) \
        SELECT concat_ws(' ', 'schema', nspowner::regrole, nspacl) FROM pg_namespace WHERE oid = (SELECT oid FROM s) \
        UNION ALL SELECT concat_ws(' ', 'relation', relname, relkind, relowner::regrole, relacl, relrowsecurity, relforcerowsecurity, reloptions) FROM c \
        UNION ALL SELECT concat_ws(' ', 'column', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attacl, \
            (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum)) \
            FROM c JOIN pg_attribute a ON a.attrelid = c.oid WHERE a.attnum > 0 \
        UNION ALL SELECT concat_ws(' ', 'constraint', conname, pg_get_constraintdef(o.oid)) FROM c JOIN pg_constraint o ON o.conrelid = c.oid \
        UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid)) FROM c JOIN pg_index i ON i.indrelid = c.oid \
        UNION ALL SELECT concat_ws(' ', 'policy', polname, polcmd, pg_get_expr(polqual, polrelid)) FROM c JOIN pg_policy p ON p.polrelid = c.oid \
        UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid)) FROM c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT tgisinternal \
        UNION ALL SELECT concat_ws(' ', 'function', pg_get_functiondef(p.oid), p.proacl) FROM pg_proc p WHERE p.pronamespace = (SELECT oid FROM s) \
        UNION ALL SELECT concat_ws(' ', 'role', r.rolcanlogin, r.rolinherit, r.rolconfig, (SELECT array_agg(roleid::regrole ORDER BY 1) FROM pg_auth_members WHERE member = r.oid), \
            (SELECT count(*) FROM pg_auth_members WHERE roleid = r.oid)) FROM pg_roles r WHERE rolname = $2";
    let role = format!("tnt_{}", created.tenant.id.as_uuid().simple());
    let rows = admin.query(sql, &[&created.tenant.schema_name, &role]).await.unwrap();
    let same = |row: &tokio_postgres::Row| {
        row.get::<_, String>(0).replace(&created.tenant.schema_name, "SCHEMA").replace(&role, "ROLE")
    };
    rows.iter().map(same).collect()
}

#[tokio::test]
async fn a_claimed_tenant_is_what_a_cold_one_is() {
    let world = world().await;
    let admin = world.admin().await;
    let cold = world.provisioner.create(&new("cold"), &actor()).await.unwrap();
    world.provisioner.refill(1, NO_PAUSE).await.unwrap();
    let warm = world.provisioner.create(&new("warm"), &actor()).await.unwrap();
    assert!(is_warm(&admin, &warm).await && !is_warm(&admin, &cold).await);
    let (of_cold, of_warm) = (catalog(&admin, &cold).await, catalog(&admin, &warm).await);
    assert!(of_cold.len() > 30, "{of_cold:#?}");
    assert_eq!(of_cold, of_warm);
    for created in [&cold, &warm] {
        let slug = created.tenant.slug.as_str();
        let shown = world.provisioner.show(slug).await.unwrap();
        assert_eq!(serde_json::to_value(&shown).unwrap(), serde_json::to_value(&created.tenant).unwrap());
        let keys = world.provisioner.keys(slug).await.unwrap();
        assert_eq!(
            serde_json::to_value(&keys).unwrap(),
            serde_json::to_value(std::slice::from_ref(&created.key.info)).unwrap()
        );
        let context = world.context(slug).await;
        world.db.begin(&context).await.unwrap().commit().await.unwrap();
    }
    assert_eq!(number(&admin, "SELECT count(*) FROM public.tenant_domains").await, 2);
    assert_eq!(number(&admin, "SELECT tenants::bigint FROM public.cells").await, 2);
}

#[tokio::test]
async fn a_refused_claim_gives_its_schema_back() {
    let world = world().await;
    world.provisioner.refill(1, NO_PAUSE).await.unwrap();
    world.provisioner.create(&new("acme"), &actor()).await.unwrap();
    world.provisioner.refill(1, NO_PAUSE).await.unwrap();
    let taken = world.provisioner.create(&new("acme"), &actor()).await.unwrap_err();
    assert!(matches!(taken, ProvisionError::SlugTaken(_)), "{taken}");
    let no_plan = NewTenant { plan_tier: "gold".into(), ..new("globex") };
    let unknown = world.provisioner.create(&no_plan, &actor()).await.unwrap_err();
    assert!(matches!(unknown, ProvisionError::UnknownPlan(_)), "{unknown}");
    let others_domain = NewTenant { allowed_domains: vec!["acme.example.org".into()], ..new("globex") };
    let held = world.provisioner.create(&others_domain, &actor()).await.unwrap_err();
    assert!(matches!(held, ProvisionError::DomainTaken(_)), "{held}");
    assert_eq!(world.provisioner.warm_status().await.unwrap().ready, 1);
}

#[tokio::test]
async fn an_older_version_is_not_claimed_and_is_replaced() {
    let world = world().await;
    let admin = world.admin().await;
    let older = Provisioner::new(&world.database.config, TenantSchema { version: 1, ..schema() }, 200);
    older.refill(2, NO_PAUSE).await.unwrap();
    let status = world.provisioner.warm_status().await.unwrap();
    assert_eq!((status.ready, status.behind, status.version), (0, 2, 2));
    let cold = world.provisioner.create(&new("cold"), &actor()).await.unwrap();
    assert!(!is_warm(&admin, &cold).await && cold.tenant.schema_version == 2);
    // As after a migration of the fleet: as many, of the new version.
    let renewed = world.provisioner.renew_warm().await.unwrap();
    assert_eq!((renewed.made, renewed.removed), (2, 2));
    assert_eq!(world.provisioner.renew_warm().await.unwrap().made, 0);
    // A program of before takes a newer one, as it serves newer tenants.
    let newer = older.create(&new("newer"), &actor()).await.unwrap();
    assert!(is_warm(&admin, &newer).await && newer.tenant.schema_version == 2);
    assert_eq!(number(&admin, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenant\\_%'").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_neither_overshoot_nor_share() {
    let world = world().await;
    let admin = world.admin().await;
    let refills = (0..3).map(|_| {
        let provisioner = Provisioner::new(&world.database.config, schema(), 200);
        tokio::spawn(async move { provisioner.refill(4, NO_PAUSE).await.unwrap().made })
    });
    let mut made = 0;
    for refill in refills.collect::<Vec<_>>() {
        made += refill.await.unwrap();
    }
    assert_eq!((made, world.provisioner.warm_status().await.unwrap().ready), (4, 4));
    // More than wait: the others are made cold.
    let creations = (0..7).map(|n| {
        let provisioner = world.provisioner.clone().with_connections(2);
        tokio::spawn(async move { provisioner.create(&new(&format!("t{n}")), &actor()).await.unwrap() })
    });
    let mut ids = BTreeSet::new();
    for creation in creations.collect::<Vec<_>>() {
        ids.insert(creation.await.unwrap().tenant.id);
    }
    let claimed = "SELECT count(*) FROM audit.events WHERE details -> 'warm' = 'true'";
    assert_eq!((ids.len(), number(&admin, claimed).await), (7, 4));
    assert_eq!(number(&admin, "SELECT tenants::bigint FROM public.cells").await, 7);
    assert_eq!(world.provisioner.warm_status().await.unwrap().ready, 0);
}

#[tokio::test]
async fn a_schema_that_remembers_its_name_is_not_made_in_advance() {
    // What finds out the name of the schema it is in.
    let own = "(SELECT relnamespace::regnamespace FROM pg_class WHERE relname = 'renamed')";
    let path = format!(
        "CREATE FUNCTION tenant.path() RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         DO $$ BEGIN EXECUTE format('ALTER FUNCTION %s.path() SET search_path = %1$s', {own}); END $$"
    );
    let text =
        format!("DO $$ BEGIN EXECUTE format('ALTER TABLE %s.renamed ALTER a SET DEFAULT ''of %1$s''', {own}); END $$");
    let body = "CREATE FUNCTION tenant.greet() RETURNS bigint LANGUAGE plpgsql \
                AS $$ BEGIN RETURN (SELECT count(*) FROM tenant.renamed); END $$";
    for (what, sql) in [("function greet", body), ("function path", &path), ("default of", &text)] {
        let sql = format!("CREATE TABLE tenant.renamed (a text); {sql}");
        let schema = TenantSchema::new(&sql, &["renamed"]);
        let world = World::start(WorldConfig::new(schema)).await;
        let error = world.provisioner.refill(1, NO_PAUSE).await.unwrap_err();
        assert!(matches!(&error, ProvisionError::NotRenamable(name) if name.starts_with(what)), "{error}");
        let admin = world.admin().await;
        assert_eq!(number(&admin, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenant\\_%'").await, 0);
        // Without warm schemas such a domain works.
        world.provisioner.create(&new("acme"), &actor()).await.unwrap();
    }
}

#[tokio::test]
async fn who_waits_in_vain_for_the_same_slug_is_told_that_it_is_taken() {
    let world = world().await;
    let admin = world.admin().await;
    admin
        .batch_execute(
            "BEGIN; INSERT INTO public.tenants (slug, schema_name, admin_email, allowed_domains) \
             VALUES ('acme', 'tenant_acme', 'a@b.example', '{crm.acme.example}')",
        )
        .await
        .unwrap();
    let same_domain = NewTenant { allowed_domains: vec!["crm.acme.example".into()], ..new("globex") };
    let acme = new("acme");
    let who = actor();
    let (slug, domain) =
        tokio::join!(world.provisioner.create(&acme, &who), world.provisioner.create(&same_domain, &who));
    assert!(matches!(slug, Err(ProvisionError::SlugTaken(_))), "{slug:?}");
    assert!(matches!(domain, Err(ProvisionError::DomainTaken(_))), "{domain:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_at_once_fill_one_cell_before_they_open_another() {
    let mut config = WorldConfig::new(schema());
    config.cell_capacity = 6;
    let world = World::start(config).await;
    world.provisioner.create(&new("first"), &actor()).await.unwrap();
    let creations = (0..5).map(|n| {
        let provisioner = world.provisioner.clone().with_connections(1);
        tokio::spawn(async move { provisioner.create(&new(&format!("t{n}")), &actor()).await.unwrap() })
    });
    for creation in creations.collect::<Vec<_>>() {
        creation.await.unwrap();
    }
    let admin = world.admin().await;
    assert_eq!(number(&admin, "SELECT count(*) FROM public.cells").await, 1);
    // Each dedicated one changes the database's rights, which PostgreSQL lets one at a time do.
    let dedicated = (0..4).map(|n| {
        let provisioner = world.provisioner.clone().with_connections(1);
        let new = NewTenant { dedicated: true, ..new(&format!("d{n}")) };
        tokio::spawn(async move { provisioner.create(&new, &actor()).await })
    });
    for creation in dedicated.collect::<Vec<_>>() {
        creation.await.unwrap().unwrap();
    }
    assert_eq!(number(&admin, "SELECT count(*) FROM public.cells WHERE dedicated").await, 4);
}
