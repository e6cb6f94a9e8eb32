//! Drift is found, whatever it is, and what mends it makes it vanish.

#![expect(clippy::disallowed_methods, reason = "a superuser looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use tenantry_postgres::migrate::{Drift, DriftReport, MigrationSet, Scope, repair_script};
use tenantry_postgres::{Actor, NewTenant, TenantSchema};
use testkit::{World, WorldConfig};

const NOTES: &str = "CREATE TABLE tenant.notes ( \
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), \
        number bigint GENERATED ALWAYS AS IDENTITY, \
        title text NOT NULL DEFAULT '' CHECK (length(title) < 100), \
        rank integer NOT NULL DEFAULT 3, \
        body text, \
        parent uuid CONSTRAINT notes_parent REFERENCES tenant.notes (id)); \
    CREATE INDEX notes_title ON tenant.notes (title) WHERE body IS NOT NULL; \
    CREATE TABLE tenant.secrets (tenant_id uuid NOT NULL DEFAULT tenantry.current_tenant(), secret bytea); \
    ALTER TABLE tenant.secrets ENABLE ROW LEVEL SECURITY; ALTER TABLE tenant.secrets FORCE ROW LEVEL SECURITY; \
    CREATE POLICY own_rows ON tenant.secrets \
        USING (tenant_id = (SELECT tenantry.current_tenant())) WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));";
const TAGS: &str = "CREATE TABLE tenant.tags (note uuid NOT NULL REFERENCES tenant.notes (id), tag text NOT NULL, PRIMARY KEY (note, tag)); \
    CREATE FUNCTION tenant.lower_tag() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp \
        AS $$ BEGIN NEW.tag := lower(NEW.tag); RETURN NEW; END $$; \
    REVOKE EXECUTE ON FUNCTION tenant.lower_tag() FROM PUBLIC; \
    CREATE TRIGGER lower_tag BEFORE INSERT ON tenant.tags FOR EACH ROW EXECUTE FUNCTION tenant.lower_tag(); \
    CREATE VIEW tenant.tagged AS SELECT note, count(*) AS tags FROM tenant.tags GROUP BY note;";
const TAGS_GRANT: &str = "GRANT SELECT, INSERT ON tenant.tags TO tenant_role;";
const COLOR: &str = "ALTER TABLE tenant.notes ADD COLUMN color text NOT NULL DEFAULT 'none';";
const COLOR_INDEX: &str = "-- tenantry: no-transaction\nCREATE INDEX CONCURRENTLY notes_color ON tenant.notes (color);";

fn migrations() -> MigrationSet {
    let tags = format!("{TAGS}{TAGS_GRANT}");
    let files = [
        ("0001_notes.sql", NOTES),
        ("0002_tags.sql", tags.as_str()),
        ("0003_color.sql", COLOR),
        ("0004_color_index.sql", COLOR_INDEX),
    ];
    MigrationSet::new(Scope::Tenant, &files).unwrap()
}

fn schema() -> TenantSchema {
    TenantSchema {
        sql: format!("{NOTES}{TAGS}{COLOR} CREATE INDEX notes_color ON tenant.notes (color);"),
        ..TenantSchema::replaying(migrations(), &["notes", "secrets", "tags"]).with_append_only(&["tags"])
    }
}

fn drift_of(world: &World) -> Drift {
    Drift::new(&world.database.config, schema())
}

async fn look(drift: &Drift, slugs: &[&str]) -> DriftReport {
    let slugs: Vec<String> = slugs.iter().map(|slug| (*slug).to_owned()).collect();
    drift.run(&slugs, 2, &|_| {}).await.unwrap()
}

#[tokio::test]
async fn a_tenant_from_the_baseline_is_one_from_all_migrations() {
    let world = World::start(WorldConfig::new(schema())).await;
    assert_eq!(drift_of(&world).baseline().await.unwrap(), []);
    // A baseline that forgot a grant, a default and an index is told so.
    let mut forgetful = schema();
    forgetful.tables.retain(|table| table != "tags");
    forgetful.sql =
        forgetful.sql.replace("DEFAULT 'none'", "").replace("CREATE INDEX notes_color ON tenant.notes (color);", "");
    let found = Drift::new(&world.database.config, forgetful).baseline().await.unwrap();
    let texts: Vec<&str> = found.iter().map(|difference| difference.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "- default tenant.notes.color is missing",
            "- grant INSERT, SELECT on table tenant.tags to tenant_role is missing",
            "- index tenant.notes_color is missing",
        ]
    );
}

/// What is done to a tenant, and how drift tells of it. `acme.` is its schema, `acme_role` its role, `globex_role` another
/// tenant's, `the_cell` the login of both.
const MUTATIONS: &[(&str, &str)] = &[
    ("DROP INDEX acme.notes_title", "- index tenant.notes_title is missing"),
    ("DROP INDEX acme.notes_title; CREATE INDEX notes_title ON acme.notes (body)", "~ index tenant.notes_title is"),
    ("CREATE INDEX more ON acme.notes (rank)", "+ index tenant.more: CREATE INDEX more ON tenant.notes"),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'acme.notes_title'::regclass",
        "+ index state tenant.notes_title: invalid",
    ),
    ("ALTER TABLE acme.notes ADD COLUMN extra text NOT NULL DEFAULT 'x'", "+ column tenant.notes.extra: text"),
    ("ALTER TABLE acme.notes DROP COLUMN title CASCADE", "- column tenant.notes.title is missing"),
    ("ALTER TABLE acme.notes ALTER COLUMN rank SET DEFAULT 4", "~ default tenant.notes.rank is `4`, not `3`"),
    ("ALTER TABLE acme.notes ALTER COLUMN rank DROP DEFAULT", "- default tenant.notes.rank is missing"),
    ("ALTER TABLE acme.notes ALTER COLUMN rank TYPE bigint", "~ column tenant.notes.rank is `bigint`, not `integer`"),
    (
        "ALTER TABLE acme.notes ALTER COLUMN title TYPE varchar(80)",
        "~ column tenant.notes.title is `character varying(80)`, not `text`",
    ),
    ("ALTER TABLE acme.notes ALTER COLUMN rank DROP NOT NULL", "- not null tenant.notes.rank is missing"),
    ("ALTER TABLE acme.notes ALTER COLUMN body SET NOT NULL", "+ not null tenant.notes.body"),
    (
        "ALTER TABLE acme.notes ALTER COLUMN number SET GENERATED BY DEFAULT",
        "~ identity tenant.notes.number is `BY DEFAULT`",
    ),
    ("ALTER TABLE acme.notes ALTER COLUMN number DROP IDENTITY", "- identity tenant.notes.number is missing"),
    (
        "ALTER TABLE acme.notes DROP CONSTRAINT notes_title_check",
        "- constraint tenant.notes.notes_title_check is missing",
    ),
    ("ALTER TABLE acme.notes DROP CONSTRAINT notes_pkey CASCADE", "- constraint tenant.notes.notes_pkey is missing"),
    (
        "ALTER TABLE acme.notes DROP CONSTRAINT notes_parent; ALTER TABLE acme.notes ADD CONSTRAINT notes_parent FOREIGN KEY (parent) REFERENCES acme.notes (id) NOT VALID",
        "~ constraint tenant.notes.notes_parent is `FOREIGN KEY (parent) REFERENCES tenant.notes(id) NOT VALID`",
    ),
    ("ALTER TABLE acme.notes ADD CONSTRAINT more CHECK (rank > 0) NOT VALID", "+ constraint tenant.notes.more"),
    ("ALTER TABLE acme.tags DISABLE TRIGGER ALL", "+ foreign key triggers tenant.tags"),
    (
        "ALTER TABLE acme.secrets DISABLE ROW LEVEL SECURITY",
        "~ row security tenant.secrets is `disabled, forced`, not `enabled, forced`",
    ),
    (
        "ALTER TABLE acme.secrets NO FORCE ROW LEVEL SECURITY",
        "~ row security tenant.secrets is `enabled`, not `enabled, forced`",
    ),
    ("DROP POLICY own_rows ON acme.secrets", "- policy tenant.secrets.own_rows is missing"),
    (
        "ALTER POLICY own_rows ON acme.secrets USING (true)",
        "~ policy tenant.secrets.own_rows is `AS PERMISSIVE FOR ALL TO PUBLIC USING (true)",
    ),
    (
        "CREATE POLICY open ON acme.secrets FOR SELECT TO acme_role USING (true)",
        "+ policy tenant.secrets.open: AS PERMISSIVE FOR SELECT TO tenant_role",
    ),
    ("GRANT SELECT ON acme.notes TO globex_role", "+ grant SELECT on table tenant.notes to tnt_"),
    ("GRANT SELECT ON acme.notes TO PUBLIC", "+ grant SELECT on table tenant.notes to PUBLIC"),
    (
        "GRANT SELECT, TRUNCATE ON acme.notes TO the_cell",
        "+ grant SELECT, TRUNCATE on table tenant.notes to the cell's login",
    ),
    ("GRANT SELECT (body) ON acme.notes TO globex_role", "+ grant SELECT on column tenant.notes.body to tnt_"),
    (
        "GRANT TRUNCATE ON acme.notes TO acme_role WITH GRANT OPTION",
        "+ grant TRUNCATE WITH GRANT OPTION on table tenant.notes to tenant_role",
    ),
    ("GRANT USAGE ON SCHEMA acme TO globex_role", "+ grant USAGE on schema tenant to tnt_"),
    ("GRANT CREATE ON SCHEMA acme TO acme_role", "+ grant CREATE on schema tenant to tenant_role"),
    (
        "GRANT EXECUTE ON FUNCTION acme.lower_tag() TO PUBLIC",
        "+ grant EXECUTE on function tenant.lower_tag() to PUBLIC",
    ),
    ("REVOKE INSERT ON acme.notes FROM acme_role", "- grant INSERT on table tenant.notes to tenant_role is missing"),
    ("REVOKE USAGE ON SCHEMA acme FROM acme_role", "- grant USAGE on schema tenant to tenant_role is missing"),
    ("GRANT UPDATE ON acme.tags TO acme_role", "+ grant UPDATE on table tenant.tags to tenant_role"),
    ("GRANT SELECT ON globex.notes TO acme_role", "+ tenant_role has a privilege on"),
    ("ALTER TABLE acme.notes OWNER TO acme_role", "~ owner of table tenant.notes is tenant_role, not tenantry_owner"),
    ("ALTER SCHEMA acme OWNER TO acme_role", "~ owner of schema tenant is tenant_role, not tenantry_owner"),
    (
        "ALTER DEFAULT PRIVILEGES FOR ROLE tenantry_owner IN SCHEMA acme GRANT SELECT ON TABLES TO PUBLIC",
        "+ default privilege tenantry_owner to TABLES to PUBLIC",
    ),
    ("CREATE TABLE acme.stray (n int PRIMARY KEY, b bigserial)", "+ table tenant.stray"),
    ("DROP VIEW acme.tagged; DROP TABLE acme.tags", "- table tenant.tags is missing"),
    ("DROP FUNCTION acme.lower_tag() CASCADE", "- function tenant.lower_tag() is missing"),
    ("CREATE FUNCTION acme.stray() RETURNS int LANGUAGE sql AS 'SELECT 1'", "+ function tenant.stray()"),
    (
        "CREATE OR REPLACE FUNCTION acme.lower_tag() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "~ function tenant.lower_tag() has another definition",
    ),
    ("ALTER FUNCTION acme.lower_tag() SECURITY DEFINER", "~ function tenant.lower_tag() has another definition"),
    (
        "CREATE TRIGGER more BEFORE INSERT ON acme.tags FOR EACH ROW EXECUTE FUNCTION acme.lower_tag()",
        "+ trigger tenant.tags.more",
    ),
    ("ALTER TABLE acme.tags DISABLE TRIGGER lower_tag", "+ trigger state tenant.tags.lower_tag: disabled"),
    ("CREATE TYPE acme.mood AS ENUM ('good', 'bad')", "+ type tenant.mood: ENUM ('good', 'bad')"),
    (
        "CREATE OR REPLACE VIEW acme.tagged AS SELECT note, 1::bigint AS tags FROM acme.tags",
        "~ view tenant.tagged has another definition",
    ),
    ("CREATE RULE quiet AS ON DELETE TO acme.notes DO INSTEAD NOTHING", "+ rule tenant.notes.quiet"),
    ("ALTER TABLE acme.notes SET (fillfactor = 70)", "+ option tenant.notes.fillfactor: 70"),
    ("GRANT acme_role TO globex_role", "is a member of tenant_role"),
    ("GRANT pg_read_all_data TO acme_role", "+ tenant_role is a member of pg_read_all_data"),
    ("REVOKE acme_role FROM the_cell GRANTED BY tenantry_migrator", "- the cell's login is no member of tenant_role"),
    ("ALTER ROLE acme_role LOGIN BYPASSRLS", "~ tenant_role is `NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN"),
    ("ALTER ROLE acme_role SET search_path = globex, public", "+ setting search_path = globex, public of tenant_role"),
    (
        "ALTER ROLE acme_role IN DATABASE the_database SET row_security = 'off'",
        "+ setting row_security = off of tenant_role in database",
    ),
];

#[tokio::test]
async fn every_kind_of_drift_is_told_and_mended() {
    let world = World::start(WorldConfig::new(schema())).await;
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    let dedicated = NewTenant {
        slug: "initech".parse().unwrap(),
        admin_email: "a@initech.example".into(),
        plan_tier: "enterprise".into(),
        allowed_domains: Vec::new(),
        dedicated: true,
    };
    world.provisioner.create(&dedicated, &Actor::system("test")).await.unwrap();
    let admin = world.admin().await;
    let role = |tenant: &tenantry_postgres::CreatedTenant| format!("tnt_{}", tenant.tenant.id.as_uuid().simple());
    let cell: String =
        admin.query_one("SELECT login_role FROM public.cells WHERE NOT dedicated", &[]).await.unwrap().get(0);
    let drift = drift_of(&world);
    let untouched = look(&drift, &[]).await;
    assert_eq!(untouched.checked, 3);
    assert!(!untouched.found(), "{untouched:#?}");

    for (mutation, text) in MUTATIONS {
        let sql = mutation
            .replace("acme_role", &role(&acme))
            .replace("globex_role", &role(&globex))
            .replace("the_cell", &cell)
            .replace("the_database", &world.database.name)
            .replace("SCHEMA acme", "SCHEMA tenant_acme")
            .replace("acme.", "tenant_acme.")
            .replace("globex.", "tenant_globex.");
        admin.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let report = look(&drift, &["acme", "globex", "initech"]).await;
        let differences: Vec<_> = report.tenants.iter().flat_map(|tenant| tenant.differences.clone()).collect();
        assert!(
            differences.iter().any(|difference| difference.text.contains(text)),
            "{mutation}: {:#?}",
            differences.iter().map(|difference| &difference.text).collect::<Vec<_>>()
        );
        assert!(report.tenants.iter().any(|tenant| tenant.slug == "acme"), "{mutation}");
        let script = repair_script(&differences, true);
        admin.batch_execute(&script).await.unwrap_or_else(|error| panic!("{mutation}: {error:?}\n{script}"));
        let after = look(&drift, &["acme", "globex"]).await;
        assert!(!after.found(), "{mutation}\n{script}\n{:#?}", after.tenants);
    }
    let untouched = look(&drift, &[]).await;
    assert!(!untouched.found(), "{untouched:#?}");
}

/// What is done outside the tenants' schemas. `the_cell` is a cell's login, `acme_role` a tenant's role of another cell,
/// `the_month` the name of this month's partition.
const OUTSIDE: &[(&str, &str)] = &[
    ("GRANT pg_read_all_data TO the_cell", "is a member of pg_read_all_data"),
    ("ALTER ROLE the_cell INHERIT", "INHERIT NOCREATEROLE NOCREATEDB LOGIN"),
    ("ALTER ROLE the_cell RESET search_path", "- setting search_path of"),
    ("ALTER ROLE the_cell SET role = 'acme_role'", "+ setting role=tnt_"),
    (
        "ALTER ROLE tenantry_control IN DATABASE the_database SET row_security = off",
        "+ setting row_security=off of tenantry_control",
    ),
    ("GRANT SELECT ON public.tenants TO the_cell", "+ grant SELECT on table public.tenants to tenantry_cell_"),
    // what it may read of the columns goes with what it may not read of the table
    ("GRANT SELECT ON public.tenants TO tenantry_meter", "+ grant SELECT on table public.tenants to tenantry_meter"),
    (
        "GRANT SELECT (admin_email) ON public.tenants TO acme_role",
        "+ grant SELECT on column public.tenants.admin_email to tnt_",
    ),
    (
        "REVOKE INSERT (action) ON audit.events FROM tenantry_tenant",
        "- grant INSERT on column audit.events.action to tenantry_tenant is missing",
    ),
    ("ALTER TABLE public.plans ADD COLUMN price numeric", "+ column public.plans.price: numeric"),
    ("DROP INDEX public.tenant_api_keys_tenant", "- index public.tenant_api_keys_tenant is missing"),
    ("ALTER TABLE audit.events DISABLE TRIGGER append_only", "+ trigger state audit.events.append_only: disabled"),
    (
        "ALTER TABLE analytics.daily_metrics DISABLE ROW LEVEL SECURITY",
        "~ row security analytics.daily_metrics is `disabled, forced`",
    ),
    ("ALTER TABLE analytics.the_month NO FORCE ROW LEVEL SECURITY", "~ row security analytics.daily_metrics_"),
    ("GRANT SELECT ON analytics.the_month TO tenantry_tenant", "+ grant SELECT on table analytics.daily_metrics_"),
    (
        "CREATE OR REPLACE FUNCTION tenantry.current_tenant() RETURNS uuid LANGUAGE sql STABLE RETURN NULL::uuid",
        "~ function tenantry.current_tenant() has another definition",
    ),
    ("GRANT CONNECT, TEMPORARY ON DATABASE the_database TO PUBLIC", "+ grant TEMPORARY on database"),
    (
        "SET ROLE tenantry_owner; REVOKE CONNECT ON DATABASE the_database FROM the_cell; RESET ROLE",
        "- grant CONNECT on database",
    ),
    ("GRANT CREATE ON SCHEMA public TO PUBLIC", "+ grant CREATE on schema public to PUBLIC"),
    (
        "GRANT EXECUTE ON FUNCTION pg_sleep(double precision) TO PUBLIC",
        "+ grant EXECUTE on function pg_sleep(double precision) to PUBLIC",
    ),
    ("GRANT SELECT ON pg_class TO PUBLIC", "+ grant SELECT on pg_catalog.pg_class to PUBLIC"),
    ("GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC", "+ grant USAGE on language plpgsql to PUBLIC"),
    ("GRANT acme_role TO the_cell", "is a member of tnt_"),
];

#[tokio::test]
async fn drift_outside_the_tenants_is_told_and_mended() {
    let world = World::start(WorldConfig { cell_capacity: 1, ..WorldConfig::new(schema()) }).await;
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    let admin = world.admin().await;
    let cells = "SELECT login_role FROM public.cells WHERE id = $1";
    let cell: String = admin.query_one(cells, &[&globex.tenant.cell]).await.unwrap().get(0);
    let month = "SELECT 'daily_metrics_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')";
    let month: String = admin.query_one(month, &[]).await.unwrap().get(0);
    let drift = drift_of(&world);
    for (mutation, text) in OUTSIDE {
        let sql = mutation
            .replace("acme_role", &format!("tnt_{}", acme.tenant.id.as_uuid().simple()))
            .replace("the_cell", &cell)
            .replace("the_database", &world.database.name)
            .replace("the_month", &month);
        admin.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let report = look(&drift, &[]).await;
        let of_tenants = report.tenants.iter().flat_map(|tenant| &tenant.differences);
        let differences: Vec<_> = report.installation.iter().chain(of_tenants).cloned().collect();
        assert!(
            report.installation.iter().any(|difference| difference.text.contains(text)),
            "{mutation}: {:#?}",
            differences.iter().map(|difference| &difference.text).collect::<Vec<_>>()
        );
        let script = repair_script(&differences, true);
        admin.batch_execute(&script).await.unwrap_or_else(|error| panic!("{mutation}: {error:?}\n{script}"));
        let after = look(&drift, &[]).await;
        assert!(!after.found(), "{mutation}\n{script}\n{after:#?}");
    }
    admin.batch_execute("CREATE SCHEMA tenant_orphan").await.unwrap();
    let told = look(&drift, &[]).await.installation;
    assert_eq!(told[0].text, "+ schema tenant_orphan belongs to no tenant");
    admin.batch_execute("DROP SCHEMA tenant_acme CASCADE").await.unwrap();
    let told = look(&drift, &["acme"]).await.tenants;
    assert_eq!(told[0].differences[0].text, "- schema tenant is missing");
}

#[tokio::test]
async fn what_comes_and_goes_by_itself_is_no_drift() {
    let world = World::start(WorldConfig::new(schema())).await;
    let admin = world.admin().await;
    let drift = drift_of(&world);
    // single calls are kept for less long than their sums
    let oldest = "SELECT min(c.relname)::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
                  WHERE i.inhparent = 'analytics.provider_api_calls'::regclass";
    let oldest: String = admin.query_one(oldest, &[]).await.unwrap().get(0);
    admin.batch_execute(&format!("DROP TABLE analytics.{oldest}")).await.unwrap();
    admin.batch_execute("SET ROLE tenantry_meter; CREATE TEMP TABLE booking (id uuid); RESET ROLE").await.unwrap();
    let report = look(&drift, &[]).await;
    assert!(!report.found(), "{report:#?}");
    admin
        .batch_execute("CREATE TABLE public.kept (id uuid); ALTER TABLE public.kept OWNER TO tenantry_meter")
        .await
        .unwrap();
    let told = look(&drift, &[]).await.installation;
    assert!(told.iter().any(|difference| difference.text.contains("tenantry_meter owns table")), "{told:#?}");
}

#[tokio::test]
async fn tenants_at_other_versions_are_compared_with_theirs() {
    let mut before = schema();
    before.version = 2;
    before.sql = format!("{NOTES}{TAGS}");
    let world = World::start(WorldConfig::new(before)).await;
    world.tenant("acme").await;
    world.tenant("globex").await;
    let admin = world.admin().await;
    let at = |slug: &str, version: i32| {
        format!(
            "UPDATE public.tenant_placements SET schema_version = {version} WHERE tenant_id = (SELECT id FROM public.tenants WHERE slug = '{slug}')"
        )
    };
    admin.batch_execute(&at("globex", 9)).await.unwrap();
    let drift = drift_of(&world);
    let report = look(&drift, &[]).await;
    assert_eq!((report.checked, report.tenants.len()), (1, 0), "{:#?}", report.tenants);
    assert_eq!((report.behind[0].slug.as_str(), report.behind[0].version), ("acme", 2));
    assert_eq!((report.unknown[0].slug.as_str(), report.unknown[0].version), ("globex", 9));
    // Somebody who says that it is migrated does not make it so.
    admin.batch_execute(&at("acme", 3)).await.unwrap();
    let report = look(&drift, &["acme"]).await;
    assert_eq!(report.tenants[0].differences[0].text, "- column tenant.notes.color is missing");
    admin.batch_execute(&repair_script(&report.tenants[0].differences, false)).await.unwrap();
    assert!(!look(&drift, &["acme"]).await.found());
    assert!(drift.run(&["nobody".into()], 1, &|_| {}).await.is_err());
}

#[tokio::test]
async fn a_warm_schema_is_compared_as_a_tenant_is_and_belongs_to_somebody() {
    let world = World::start(WorldConfig::new(schema())).await;
    world.tenant("acme").await;
    let drift = drift_of(&world);
    let before = look(&drift, &[]).await;
    world.provisioner.refill(2, std::time::Duration::ZERO).await.unwrap();
    let clean = look(&drift, &[]).await;
    assert!(!clean.found(), "neither schemas, roles nor the cell are anybody's left-over: {clean:#?}");
    assert_eq!(clean.checked, before.checked + 2);
    let admin = world.admin().await;
    let warm = "SELECT min(schema_name) FROM public.warm_schemas";
    let warm: String = admin.query_one(warm, &[]).await.unwrap().get(0);
    let stray = format!("GRANT SELECT ON {warm}.notes TO PUBLIC; DROP INDEX {warm}.notes_title");
    admin.batch_execute(&stray).await.unwrap();
    let report = look(&drift, &[]).await;
    assert_eq!((report.tenants.len(), report.tenants[0].schema_name.as_str()), (1, warm.as_str()), "{report:#?}");
    let texts: Vec<&str> = report.tenants[0].differences.iter().map(|difference| difference.text.as_str()).collect();
    for text in ["- index tenant.notes_title is missing", "+ grant SELECT on table tenant.notes to PUBLIC"] {
        assert!(texts.contains(&text), "{texts:#?}");
    }
    assert!(report.installation.is_empty(), "{report:#?}");
    admin.batch_execute(&repair_script(&report.tenants[0].differences, false)).await.unwrap();
    assert!(!look(&drift, &[]).await.found());
    // What makes it somebody's is its row.
    admin.batch_execute(&format!("DELETE FROM public.warm_schemas WHERE schema_name = '{warm}'")).await.unwrap();
    let told = look(&drift, &[]).await.installation;
    let orphan = format!("+ schema {warm} belongs to no tenant");
    assert!(told.iter().any(|difference| difference.text == orphan), "{told:#?}");
}
