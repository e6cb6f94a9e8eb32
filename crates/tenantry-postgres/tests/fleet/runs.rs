//! Whole runs, and runs that end early.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, TimeZone as _, Utc};
use tenantry_core::ManualClock;
use tenantry_postgres::migrate::{Event, Events, HistoryFilter, MigrateError, Options, Outcome};
use tenantry_postgres::{Actor, NewTenant, Provisioner, TenantPatch, TenantSchema};

use super::stage::{BASELINE, BESIDE, COLOR, COLOR_DOWN, Stage, TAGS, TAGS_DOWN, UNIQUE, set};

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_migrated_once() {
    let stage = Stage::of(60).await;
    let canary = TenantPatch { canary: Some(true), ..TenantPatch::default() };
    assert!(stage.world.provisioner.update("t33", &canary, &Actor::system("test")).await.unwrap().canary);
    stage.world.provisioner.suspend("t07", &Actor::system("test")).await.unwrap();
    let fleet = stage.fleet(&[BASELINE, COLOR, TAGS]);
    let report = fleet.up(&Stage::options(), &stage.events()).await.unwrap();
    assert_eq!((&report.outcome, report.migrated, report.remaining), (&Outcome::Done, 60, 0), "{report:?}");
    assert_eq!(
        (stage.at(3).await, stage.columns("notes", "color").await, stage.columns("tags", "name").await),
        (60, 60, 60)
    );
    assert_eq!(stage.ledger("done").await, 120);
    stage.is_tidy().await;
    let told = stage.told();
    let waves: Vec<(String, usize)> = told
        .iter()
        .filter_map(|event| match event {
            Event::Wave { name, tenants, .. } => Some((name.clone(), *tenants)),
            _ => None,
        })
        .collect();
    let expected = [("canary", 1), ("1 %", 1), ("10 %", 5), ("100 %", 53)];
    assert_eq!(waves, expected.map(|(name, n)| (name.to_owned(), n)));
    let first = told.iter().find_map(|event| match event {
        Event::Migrated { slug, .. } => Some(slug.as_str()),
        _ => None,
    });
    assert_eq!(first, Some("t33"));

    let again = fleet.up(&Stage::options(), &Events::none()).await.unwrap();
    assert_eq!((again.outcome, again.run, again.migrated), (Outcome::Nothing, None, 0));
    let status = fleet.status().await.unwrap();
    assert_eq!((status.latest, status.versions.len(), status.failed.len()), (3, 1, 0));
    assert_eq!(status.last_run.unwrap().outcome.as_deref(), Some("done"));
}

/// Gives a tenant two notes with the same text.
async fn spoil(stage: &Stage, slug: &str) {
    stage.admin.batch_execute(&format!("INSERT INTO tenant_{slug}.notes VALUES (1, 'a'), (2, 'a')")).await.unwrap();
}

async fn mend(stage: &Stage, slug: &str) {
    stage.admin.batch_execute(&format!("DELETE FROM tenant_{slug}.notes WHERE id = 2")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_is_told_and_tried_again_alone() {
    let stage = Stage::of(30).await;
    spoil(&stage, "t05").await;
    let files = [BASELINE, UNIQUE, TAGS];
    let fleet = stage.fleet(&files);
    let report = fleet.up(&Stage::options(), &stage.events()).await.unwrap();
    assert_eq!((&report.outcome, report.migrated, report.remaining), (&Outcome::Failed, 29, 0), "{report:?}");
    let failed = &report.failed[0];
    assert_eq!((failed.slug.as_str(), failed.migration.as_str(), failed.at), ("t05", "0002_unique", 1));
    assert_eq!((failed.sqlstate.as_deref(), failed.attempts), (Some("23505"), 1));
    assert!(failed.error.contains("notes_body") && !failed.error.contains("(a)"), "no customer's data: {failed:?}");
    assert_eq!((stage.at(3).await, stage.at(1).await), (29, 1));
    stage.is_tidy().await;
    let status = fleet.status().await.unwrap();
    assert_eq!((status.failed.len(), status.failed[0].slug.as_str(), status.failed[0].version), (1, "t05", 2));
    let history = HistoryFilter { slug: Some("t05".into()), limit: 10, ..HistoryFilter::default() };
    assert_eq!(fleet.history(&history).await.unwrap()[0].sqlstate.as_deref(), Some("23505"));

    // As it is, it fails again; the others are not touched.
    let only = Options { tenants: vec!["t05".into()], ..Stage::options() };
    let again = fleet.up(&only, &Events::none()).await.unwrap();
    assert_eq!((again.failed.len(), again.migrated), (1, 0));
    mend(&stage, "t05").await;
    let again = fleet.up(&only, &Events::none()).await.unwrap();
    assert_eq!((again.outcome, again.migrated), (Outcome::Done, 1));
    assert_eq!((stage.at(3).await, fleet.status().await.unwrap().failed.len()), (30, 0));
    let unknown = Options { tenants: vec!["nobody".into()], ..Stage::options() };
    assert!(
        matches!(fleet.up(&unknown, &Events::none()).await, Err(MigrateError::UnknownTenant(slug)) if slug == "nobody")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_before_the_one_that_fails_are_made() {
    let stage = Stage::of(1).await;
    spoil(&stage, "t00").await;
    let unique = ("0003_unique.sql", UNIQUE.1);
    let report = stage.fleet(&[BASELINE, COLOR, unique]).up(&Stage::options(), &Events::none()).await.unwrap();
    assert_eq!((report.failed[0].migration.as_str(), report.failed[0].at), ("0003_unique", 2));
    assert_eq!((stage.at(2).await, stage.columns("notes", "color").await), (1, 1));
    stage.is_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_stops_where_the_rule_says() {
    let stage = Stage::of(40).await;
    let files = [BASELINE, UNIQUE];
    let fleet = stage.fleet(&files);
    // A canary.
    spoil(&stage, "t39").await;
    let canary = Options { canaries: vec!["t39".into()], ..Stage::options() };
    let report = fleet.up(&canary, &Events::none()).await.unwrap();
    assert!(matches!(&report.outcome, Outcome::Stopped(why) if why.contains("canary `t39`")), "{report:?}");
    assert_eq!((report.migrated, report.remaining), (0, 39));
    // A number within a wave.
    for n in 10..30 {
        spoil(&stage, &format!("t{n}")).await;
    }
    let number = Options { stop_failures: 3, jobs: 1, waves: vec!["100".parse().unwrap()], ..Stage::options() };
    let report = fleet.up(&number, &Events::none()).await.unwrap();
    assert!(matches!(&report.outcome, Outcome::Stopped(why) if why.contains("3 tenants failed")), "{report:?}");
    assert_eq!((report.failed.len(), report.migrated + report.failed.len() + report.remaining), (3, 40));
    let reason = fleet.runs(1).await.unwrap()[0].reason.clone().unwrap();
    assert!(reason.contains("3 tenants failed"), "{reason}");
    // A share after a wave, of tenants that have not failed before.
    let share = Options {
        waves: vec!["50".parse().unwrap()],
        stop_failures: 100,
        stop_share: "20".parse().unwrap(),
        ..Stage::options()
    };
    let report = fleet.up(&share, &stage.events()).await.unwrap();
    assert!(matches!(&report.outcome, Outcome::Stopped(why) if why.contains("more than 20 %")), "{report:?}");
    assert!(report.remaining > 0 && stage.told().iter().filter(|e| matches!(e, Event::Wave { .. })).count() == 1);
    stage.is_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_database_must_agree() {
    let stage = Stage::of(3).await;
    // Changed before it was applied anywhere: fine.
    spoil(&stage, "t00").await;
    let only = Options { tenants: vec!["t00".into()], ..Stage::options() };
    stage.fleet(&[BASELINE, UNIQUE]).up(&only, &Events::none()).await.unwrap();
    let plain = (UNIQUE.0, "CREATE INDEX notes_body ON tenant.notes (body)");
    let report = stage.fleet(&[BASELINE, plain]).up(&Stage::options(), &Events::none()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    // Changed afterwards.
    let refused = stage.fleet(&[BASELINE, UNIQUE]).up(&Stage::options(), &Events::none()).await.unwrap_err();
    assert!(refused.to_string().contains("`0002_unique` of the tenant set has another text"), "{refused}");
    let other = ("0001_baseline.sql", "CREATE TABLE tenant.other ()");
    assert!(matches!(
        stage.fleet(&[other, plain]).up(&Stage::options(), &Events::none()).await,
        Err(MigrateError::Changed { label, .. }) if label == "0001_baseline"
    ));
    // A program that knows less.
    let refused = stage.fleet(&[BASELINE]).up(&Stage::options(), &Events::none()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the tenant set of the database is at version 2, this program knows 1");
    stage
        .admin
        .batch_execute("INSERT INTO public.schema_migrations (scope, version, name, checksum) VALUES ('registry', 99, 'later', '')")
        .await
        .unwrap();
    let refused = stage.fleet(&[BASELINE, plain]).up(&Stage::options(), &Events::none()).await.unwrap_err();
    assert!(refused.to_string().starts_with("the registry set of the database is at version 99"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back() {
    let stage = Stage::of(12).await;
    let files = [BASELINE, COLOR, COLOR_DOWN, TAGS, TAGS_DOWN];
    let fleet = stage.fleet(&files);
    fleet.up(&Stage::options(), &Events::none()).await.unwrap();
    let report = fleet.down(1, &Stage::options(), &Events::none()).await.unwrap();
    assert_eq!((&report.outcome, report.migrated, report.direction), (&Outcome::Done, 12, "down"));
    assert_eq!(
        (stage.at(1).await, stage.columns("notes", "color").await, stage.columns("tags", "name").await),
        (12, 0, 0)
    );
    stage.is_tidy().await;
    let again = fleet.down(1, &Stage::options(), &Events::none()).await.unwrap();
    assert_eq!(again.outcome, Outcome::Nothing);
    // What nobody has any more may be written anew.
    let blue = (COLOR.0, "ALTER TABLE tenant.notes ADD COLUMN color text NOT NULL DEFAULT 'blue'");
    let fleet = stage.fleet(&[BASELINE, blue, TAGS, TAGS_DOWN]);
    assert_eq!(fleet.up(&Stage::options(), &Events::none()).await.unwrap().migrated, 12);
    assert!(
        matches!(fleet.down(0, &Stage::options(), &Events::none()).await, Err(MigrateError::NoDown(label)) if label == "0002_color")
    );
    assert!(matches!(
        fleet.down(4, &Stage::options(), &Events::none()).await,
        Err(MigrateError::NoVersion { asked: 4, latest: 3 })
    ));
    assert_eq!(fleet.down(2, &Stage::options(), &Events::none()).await.unwrap().migrated, 12);
    assert_eq!(stage.at(2).await, 12);
    stage.is_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_ends_its_transaction_is_refused() {
    let stage = Stage::of(1).await;
    let commits = ("0002_commits.sql", "CREATE TABLE tenant.a (); COMMIT; CREATE TABLE tenant.b ()");
    let report = stage.fleet(&[BASELINE, commits]).up(&Stage::options(), &Events::none()).await.unwrap();
    assert!(report.failed[0].error.contains("ends its transaction itself"), "{report:?}");
    assert_eq!(stage.at(1).await, 1);
    // The session of the next step is as it should be, whatever the one before has set.
    let sets = ("0002_sets.sql", "SET search_path = public; SET statement_timeout = 1; RESET ROLE");
    let uses = ("0003_uses.sql", "CREATE TABLE tenant.c (a int); SELECT pg_sleep(0.01)");
    let report = stage.fleet(&[BASELINE, sets, uses]).up(&Stage::options(), &Events::none()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    let owner = "SELECT count(*) FROM pg_tables WHERE tablename = 'c' AND tableowner = 'tenantry_owner'";
    assert_eq!(stage.count(owner).await, 1);
    // So is the one of a step outside a transaction.
    let sets = ("0004_sets.sql", sets.1);
    let beside = ("0005_beside.sql", BESIDE.1);
    let report = stage
        .fleet(&[BASELINE, ("0002_sets.sql", sets.1), uses, sets, beside])
        .up(&Stage::options(), &Events::none())
        .await;
    assert_eq!(report.as_ref().unwrap().outcome, Outcome::Done, "{report:?}");
}

/// What the guide tells an operator about old rows.
#[tokio::test(flavor = "multi_thread")]
async fn old_rows_of_the_ledger_may_go() {
    let guide = include_str!("../../../../docs/guides/migrations.md");
    let begin = guide.find("SET ROLE tenantry_owner;\nDELETE").unwrap();
    let prune = &guide[begin..begin + guide[begin..].find("```").unwrap()];
    let stage = Stage::of(3).await;
    let fleet = stage.fleet(&[BASELINE, UNIQUE, TAGS]);
    spoil(&stage, "t01").await;
    fleet.up(&Stage::options(), &Events::none()).await.unwrap();
    stage
        .admin
        .batch_execute("UPDATE public.migration_ledger SET finished_at = finished_at - interval '2 years'")
        .await
        .unwrap();
    // Those of the last run are read by the next.
    stage.admin.batch_execute(prune).await.unwrap();
    assert_eq!((stage.ledger("done").await, stage.ledger("failed").await), (4, 1));
    fleet.up(&Stage::options(), &Events::none()).await.unwrap();
    stage.admin.batch_execute("SET SESSION AUTHORIZATION tenantry_migrator").await.unwrap();
    stage.admin.batch_execute(prune).await.unwrap();
    stage.admin.batch_execute("RESET SESSION AUTHORIZATION").await.unwrap();
    assert_eq!((stage.ledger("done").await, stage.ledger("failed").await), (0, 2));
    assert_eq!((fleet.status().await.unwrap().failed.len(), stage.at(3).await), (1, 2));
    mend(&stage, "t01").await;
    assert_eq!(fleet.up(&Stage::options(), &Events::none()).await.unwrap().outcome, Outcome::Done);
    // And how large a row is, which the guide tells as well.
    let before = stage.count("SELECT pg_total_relation_size('public.migration_ledger')").await;
    let rows = "INSERT INTO public.migration_ledger (run_id, tenant_id, version, direction, state, started_at, finished_at, duration_ms, checksum) \
        SELECT 9, gen_random_uuid(), 2, 'up', 'done', now(), now(), 1.5, sha256('x') FROM generate_series(1, 10000)";
    stage.admin.batch_execute(rows).await.unwrap();
    let size = (stage.count("SELECT pg_total_relation_size('public.migration_ledger')").await - before) / 10_000;
    assert!((200..300).contains(&size), "{size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_outside_its_window_and_keeps_to_its_rate() {
    let stage = Stage::of(3).await;
    let clock = Arc::new(ManualClock::new(Utc.with_ymd_and_hms(2026, 5, 4, 12, 0, 0).unwrap()));
    let fleet = stage.fleet(&[BASELINE, COLOR]).with_clock(clock.clone());
    let options = Options { window: Some("22:00-04:00".parse().unwrap()), ..Stage::options() };
    let (running, events) = (options.clone(), stage.events());
    let run = tokio::spawn(async move { fleet.up(&running, &events).await });
    let opens = Utc.with_ymd_and_hms(2026, 5, 4, 22, 0, 0).unwrap();
    let paused = |event: &Event| matches!(event, Event::Paused { until } if *until == opens);
    while !stage.told().iter().any(paused) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(stage.at(1).await, 3);
    // Ended while it waits.
    options.stop.ask();
    assert_eq!(run.await.unwrap().unwrap().outcome, Outcome::Interrupted);
    clock.advance(TimeDelta::hours(10));
    let fleet = stage.fleet(&[BASELINE, COLOR]).with_clock(clock);
    let options = Options { window: options.window, rate: Some(10), ..Stage::options() };
    let report = fleet.up(&options, &Events::none()).await.unwrap();
    assert_eq!((report.migrated, report.duration_ms >= 200), (3, true), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_come_and_go_meanwhile() {
    let stage = Stage::of(6).await;
    let fleet = stage.fleet(&[BASELINE, COLOR]);
    // The first tenant waits, and with it the run.
    let held = stage.world.admin().await;
    held.batch_execute("BEGIN; LOCK tenant_t00.notes").await.unwrap();
    let options = Options { jobs: 1, tries: 100, lock_timeout: Duration::from_millis(100), ..Stage::options() };
    let events = stage.events();
    let run = tokio::spawn(async move { fleet.up(&options, &events).await });
    while !stage.told().iter().any(|event| matches!(event, Event::Retry { .. })) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let actor = Actor::system("test");
    let provisioner = &stage.world.provisioner;
    provisioner.delete("t04", TimeDelta::zero(), &actor).await.unwrap();
    provisioner.purge("t04", TimeDelta::zero(), &actor).await.unwrap();
    stage
        .admin
        .batch_execute("UPDATE public.tenant_placements SET generation = 2 WHERE tenant_id = (SELECT id FROM public.tenants WHERE slug = 't05')")
        .await
        .unwrap();
    // By a program that is older than the run's, and by one of the same age.
    stage.world.tenant("late").await;
    let newer = TenantSchema::replaying(set(&[BASELINE, COLOR]), &["notes"]);
    let newer = Provisioner::new(&stage.world.database.config, newer, 10);
    let new = NewTenant {
        slug: "new".parse().unwrap(),
        admin_email: "a@b.example".into(),
        plan_tier: "free".into(),
        allowed_domains: vec![],
        dedicated: true,
    };
    newer.create(&new, &actor).await.unwrap();
    held.batch_execute("ROLLBACK").await.unwrap();
    let report = run.await.unwrap().unwrap();
    assert_eq!((report.migrated, report.skipped, report.failed.len()), (6, 1, 0), "{report:?}");
    let touched = "SELECT count(*) FROM public.migration_ledger l JOIN public.tenants t ON t.id = l.tenant_id WHERE t.slug = 'new'";
    assert_eq!(stage.count(touched).await, 0);
    let skipped: Vec<Event> = stage.told().into_iter().filter(|e| matches!(e, Event::Skipped { .. })).collect();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!((stage.ledger("skipped").await, stage.at(2).await), (1, 6 + 1));
}

/// The registry alone says who is behind: no schema is looked at, so tenants that exist on paper only will do.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_do_is_told_at_once_whatever_the_size() {
    let stage = Stage::of(1).await;
    stage
        .admin
        .batch_execute(
            "SET session_replication_role = replica; \
             INSERT INTO public.tenants (slug, schema_name, admin_email) SELECT 'p' || n, 'tenant_p' || n, 'a@b.example' FROM generate_series(1, 10000) n; \
             INSERT INTO public.tenant_placements (tenant_id, cell_id, schema_version) \
               SELECT t.id, (SELECT min(id) FROM public.cells), 2 FROM public.tenants t WHERE slug LIKE 'p%'",
        )
        .await
        .unwrap();
    let fleet = stage.fleet(&[BASELINE, COLOR]);
    assert_eq!(fleet.up(&Stage::options(), &Events::none()).await.unwrap().migrated, 1);
    let begun = std::time::Instant::now();
    let again = fleet.up(&Stage::options(), &Events::none()).await.unwrap();
    println!("nothing to do for 10,001 tenants: {:?}", begun.elapsed());
    assert_eq!(again.outcome, Outcome::Nothing);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let begun = std::time::Instant::now();
    assert_eq!(fleet.status().await.unwrap().versions[0].tenants, 10_001);
    println!("status: {:?}", begun.elapsed());
}
