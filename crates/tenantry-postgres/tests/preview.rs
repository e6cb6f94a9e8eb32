//! What `migrate plan` says, and that its try leaves nothing behind.

#![expect(clippy::disallowed_methods, reason = "a superuser looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use tenantry_postgres::migrate::{Fleet, MigrateError, MigrationSet, Options, Scope};
use tenantry_postgres::{Actor, TenantSchema};
use testkit::{World, WorldConfig};

const BASELINE: (&str, &str) = (
    "0001_baseline.sql",
    "CREATE TABLE tenant.notes (id integer PRIMARY KEY, body text); CREATE INDEX notes_body ON tenant.notes (body)",
);
const COLOR: (&str, &str) = ("0002_color.sql", "ALTER TABLE tenant.notes ADD COLUMN color text NOT NULL DEFAULT 'red'");
const COLOR_DOWN: (&str, &str) = ("0002_color.down.sql", "ALTER TABLE tenant.notes DROP COLUMN color");
const BIGGER: (&str, &str) = ("0003_bigger.sql", "ALTER TABLE tenant.notes ALTER COLUMN id TYPE bigint");
const TAGS: (&str, &str) = (
    "0004_tags.sql",
    "CREATE TABLE tenant.tags (note bigint REFERENCES tenant.notes (id)); GRANT SELECT ON tenant.tags TO tenant_role",
);
const BESIDE: (&str, &str) =
    ("0005_beside.sql", "-- tenantry: no-transaction\nCREATE INDEX CONCURRENTLY notes_color ON tenant.notes (color)");
const UNIQUE: (&str, &str) = ("0006_unique.sql", "CREATE UNIQUE INDEX notes_same ON tenant.notes (body)");

fn set(files: &[(&str, &str)]) -> MigrationSet {
    MigrationSet::new(Scope::Tenant, files).unwrap()
}

#[tokio::test]
async fn a_plan_says_what_runs_where_and_tries_it() {
    let world = World::start(WorldConfig::new(TenantSchema::replaying(set(&[BASELINE]), &["notes"]))).await;
    for slug in ["acme", "globex", "initech"] {
        world.tenant(slug).await;
    }
    let admin = world.admin().await;
    admin
        .batch_execute("INSERT INTO tenant_globex.notes VALUES (1, 'same'), (2, 'same'); ANALYZE tenant_globex.notes")
        .await
        .unwrap();
    let fleet = Fleet::new(&world.database.config, set(&[BASELINE, COLOR, COLOR_DOWN, BIGGER, TAGS, BESIDE, UNIQUE]));
    let options = Options::new(Actor::system("test"));

    // Without a canary nothing is tried, and it is said.
    let plan = fleet.preview(&options, None).await.unwrap();
    assert!(plan.dry_run.is_none() && plan.notes[0].contains("no canary is behind"), "{:?}", plan.notes);
    let steps: Vec<_> =
        plan.steps.iter().map(|s| (s.migration.as_str(), s.tenants, s.transactional, s.reversible)).collect();
    assert_eq!(steps[0], ("0002_color", 3, true, true));
    assert_eq!(steps[3], ("0005_beside", 3, false, false));
    assert_eq!(plan.waves.iter().map(|wave| wave.tenants).sum::<usize>(), 3);

    let canary = "UPDATE public.tenant_placements SET canary = true WHERE tenant_id = (SELECT id FROM public.tenants WHERE slug = 'globex')";
    admin.batch_execute(canary).await.unwrap();
    let plan = fleet.preview(&options, None).await.unwrap();
    assert_eq!(
        (plan.waves[0].wave.as_str(), plan.waves[0].canaries.as_slice()),
        ("canary", ["globex".to_owned()].as_slice())
    );
    let run = plan.dry_run.unwrap();
    assert_eq!((run.slug.as_str(), run.steps.len()), ("globex", 5));
    let lock =
        |step: usize| run.steps[step].locks.iter().map(|l| format!("{} {}", l.relation, l.mode)).collect::<Vec<_>>();
    assert_eq!(lock(0), ["notes AccessExclusiveLock"], "the column");
    assert!(run.steps[0].rewritten.is_empty());
    let rewritten: Vec<_> = run.steps[1].rewritten.iter().map(|r| (r.relation.as_str(), r.rows)).collect();
    assert_eq!(rewritten[0], ("notes", 2), "{rewritten:?}");
    assert!(rewritten.iter().any(|(relation, _)| *relation == "notes_pkey"));
    assert_eq!(run.steps[2].created, ["tags"]);
    assert!(lock(2).contains(&"notes ShareRowExclusiveLock".to_owned()), "{:?}", lock(2));
    assert_eq!(run.steps[3].created, ["notes_color"]);
    assert!(run.steps[3].note.is_some());
    assert!(
        run.steps[4].error.as_ref().unwrap().contains("23505"),
        "two notes have one text: {:?}",
        run.steps[4].error
    );

    // On a tenant without such notes it goes through; and nothing of it stays.
    let plan = fleet.preview(&options, Some("acme")).await.unwrap();
    assert!(plan.dry_run.unwrap().steps.iter().all(|step| step.error.is_none()));
    let left = "SELECT count(*) FROM information_schema.columns WHERE table_schema LIKE 'tenant\\_%' AND column_name = 'color'";
    assert_eq!(admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert!(matches!(fleet.preview(&options, Some("nobody")).await, Err(MigrateError::UnknownTenant(_))));

    // Somebody who holds a table stops the try, and not for long.
    let holder = world.admin().await;
    holder.batch_execute("BEGIN; LOCK TABLE tenant_acme.notes").await.unwrap();
    let hasty = Options { lock_timeout: std::time::Duration::from_millis(50), ..options.clone() };
    let plan = fleet.preview(&hasty, Some("acme")).await.unwrap();
    assert!(plan.dry_run.unwrap().steps[0].error.as_ref().unwrap().contains("lock"));
}
