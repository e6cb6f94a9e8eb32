//! Locks: of a tenant's own transactions, of another run, and indexes that are built beside the traffic.

use std::time::Duration;

use tenantry_postgres::migrate::{Event, Events, MigrateError, Options, Outcome};
use testkit::World;

use super::stage::{BASELINE, BESIDE, COLOR, Stage};

fn quick() -> Options {
    Options { lock_timeout: Duration::from_millis(50), ..Stage::options() }
}

async fn until(stage: &Stage, wanted: impl Fn(&Event) -> bool) {
    while !stage.told().iter().any(&wanted) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_tenant_is_tried_again() {
    let stage = Stage::of(8).await;
    let held = stage.world.admin().await;
    held.batch_execute("BEGIN; LOCK tenant_t03.notes IN ACCESS SHARE MODE").await.unwrap();
    let fleet = stage.fleet(&[BASELINE, COLOR]);
    let (options, events) = (Options { tries: 100, ..quick() }, stage.events());
    let run = tokio::spawn(async move { fleet.up(&options, &events).await });
    until(&stage, |event| matches!(event, Event::Retry { slug, sqlstate, .. } if slug == "t03" && sqlstate.as_deref() == Some("55P03"))).await;
    held.batch_execute("COMMIT").await.unwrap();
    let report = run.await.unwrap().unwrap();
    assert_eq!((&report.outcome, report.migrated), (&Outcome::Done, 8), "{report:?}");
    let tries = "SELECT max(attempts)::bigint FROM public.migration_ledger WHERE state = 'done'";
    assert!(stage.count(tries).await > 1);
    stage.is_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_stays_locked_is_given_up() {
    let stage = Stage::of(8).await;
    let held = stage.world.admin().await;
    held.batch_execute("BEGIN; LOCK tenant_t03.notes IN ACCESS SHARE MODE").await.unwrap();
    let fleet = stage.fleet(&[BASELINE, COLOR]);
    let options = Options { tries: 2, stop_share: "100".parse().unwrap(), ..quick() };
    let report = fleet.up(&options, &Events::none()).await.unwrap();
    assert_eq!((&report.outcome, report.migrated), (&Outcome::Failed, 7), "{report:?}");
    assert_eq!(
        (report.failed[0].slug.as_str(), report.failed[0].attempts, report.failed[0].sqlstate.as_deref()),
        ("t03", 2, Some("55P03"))
    );
    held.batch_execute("COMMIT").await.unwrap();
    assert_eq!(fleet.up(&quick(), &Events::none()).await.unwrap().migrated, 1);
    stage.is_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_statement_is_stopped_by_the_server() {
    let stage = Stage::of(1).await;
    let slow = ("0002_slow.sql", "CREATE TABLE tenant.a (); SELECT pg_sleep(60)");
    let options = Options { statement_timeout: Duration::from_millis(100), ..Stage::options() };
    let report = stage.fleet(&[BASELINE, slow]).up(&options, &Events::none()).await.unwrap();
    assert_eq!((report.failed[0].sqlstate.as_deref(), report.failed[0].attempts), (Some("57014"), 1));
    assert_eq!(stage.columns("a", "tableoid").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runs_the_second_is_told_who_runs() {
    let stage = Stage::of(3).await;
    let held = stage.world.admin().await;
    held.batch_execute("BEGIN; LOCK tenant_t00.notes").await.unwrap();
    let fleet = stage.fleet(&[BASELINE, COLOR]);
    let (first, events) = (fleet.clone(), stage.events());
    let options = Options { tries: 100, ..quick() };
    let run = tokio::spawn(async move { first.up(&options, &events).await });
    until(&stage, |event| matches!(event, Event::Retry { .. })).await;
    let refused = fleet.up(&quick(), &Events::none()).await.unwrap_err();
    let told = refused.to_string();
    assert!(
        matches!(refused, MigrateError::Busy(_)) && told.contains(&format!("process {}", std::process::id())),
        "{told}"
    );
    held.batch_execute("COMMIT").await.unwrap();
    assert_eq!(run.await.unwrap().unwrap().migrated, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_lock_was_lost_goes_on_unless_another_has_it() {
    let stage = Stage::of(6).await;
    let held = stage.world.admin().await;
    held.batch_execute("BEGIN; LOCK tenant_t00.notes").await.unwrap();
    let fleet = stage.fleet(&[BASELINE, COLOR]);
    let (first, events, options) = (fleet.clone(), stage.events(), Options { tries: 1000, jobs: 2, ..quick() });
    let run = tokio::spawn(async move { first.up(&options, &events).await });
    until(&stage, |event| matches!(event, Event::Retry { .. })).await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'tenantry migrate,%' AND datname = current_database()";
    assert!(stage.count(cut).await >= 2);
    until(&stage, |event| matches!(event, Event::Retry { sqlstate: Some(state), .. } if state == "55P03")).await;
    held.batch_execute("COMMIT").await.unwrap();
    assert_eq!(run.await.unwrap().unwrap().migrated, 6);
    stage.is_tidy().await;
}

async fn indexes(stage: &Stage, valid: bool) -> i64 {
    stage
        .count(&format!("SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE relname = 'notes_body' AND indisvalid = {valid}"))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_beside_the_traffic_and_again_when_that_failed() {
    let stage = Stage::of(4).await;
    let unique = (
        "0002_beside.sql",
        "-- tenantry: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY notes_body ON tenant.notes (body)",
    );
    stage.admin.batch_execute("INSERT INTO tenant_t02.notes VALUES (1, 'a'), (2, 'a')").await.unwrap();
    let fleet = stage.fleet(&[BASELINE, unique]);
    let options = Options { stop_share: "100".parse().unwrap(), ..Stage::options() };
    let report = fleet.up(&options, &Events::none()).await.unwrap();
    assert_eq!((report.migrated, report.failed[0].sqlstate.as_deref()), (3, Some("23505")), "{report:?}");
    assert_eq!((indexes(&stage, true).await, indexes(&stage, false).await), (3, 1), "PostgreSQL leaves an invalid one");
    stage.admin.batch_execute("DELETE FROM tenant_t02.notes WHERE id = 2").await.unwrap();
    assert_eq!(fleet.up(&options, &Events::none()).await.unwrap().outcome, Outcome::Done);
    assert_eq!((indexes(&stage, true).await, indexes(&stage, false).await), (4, 0));
    stage.is_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_whose_end_nobody_saw_is_accepted_or_built_again() {
    let stage = Stage::of(2).await;
    // As two killed runs leave it: built but not noted, and half built.
    for (slug, valid) in [("t00", true), ("t01", false)] {
        stage
            .admin
            .batch_execute(&format!(
                "CREATE INDEX notes_body ON tenant_{slug}.notes (body); ALTER INDEX tenant_{slug}.notes_body OWNER TO tenantry_owner; \
                 UPDATE pg_index SET indisvalid = {valid} WHERE indexrelid = 'tenant_{slug}.notes_body'::regclass; \
                 INSERT INTO public.migration_ledger (tenant_id, version, direction, state, started_at) \
                 SELECT id, 2, 'up', 'running', now() FROM public.tenants WHERE slug = '{slug}'"
            ))
            .await
            .unwrap();
    }
    let report = stage.fleet(&[BASELINE, BESIDE]).up(&Stage::options(), &Events::none()).await.unwrap();
    assert_eq!((&report.outcome, report.migrated), (&Outcome::Done, 2), "{report:?}");
    assert_eq!((indexes(&stage, true).await, indexes(&stage, false).await), (2, 0));
    stage.is_tidy().await;
}

/// A drop that broke off leaves the index invalid; it is the statement's to remove, and of another that only rebuilds it, to mend.
#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_index_is_not_taken_from_a_statement_about_it() {
    let stage = Stage::of(1).await;
    let drop = ("0002_beside.down.sql", "-- tenantry: no-transaction\nDROP INDEX CONCURRENTLY tenant.notes_body");
    let rebuild = ("0003_again.sql", "-- tenantry: no-transaction\nREINDEX INDEX CONCURRENTLY tenant.notes_body");
    let spoil = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tenant_t00.notes_body'::regclass";
    let fleet = stage.fleet(&[BASELINE, BESIDE, drop]);
    fleet.up(&Stage::options(), &Events::none()).await.unwrap();
    stage.admin.batch_execute(spoil).await.unwrap();
    let report = fleet.down(1, &Stage::options(), &Events::none()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    fleet.up(&Stage::options(), &Events::none()).await.unwrap();
    stage.admin.batch_execute(spoil).await.unwrap();
    let report = stage.fleet(&[BASELINE, BESIDE, drop, rebuild]).up(&Stage::options(), &Events::none()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!((indexes(&stage, true).await, indexes(&stage, false).await), (1, 0));
}

/// The version's text is remembered once for all tenants, in a row that the first ones write at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn tenants_of_a_long_migration_do_not_wait_for_each_other() {
    let stage = Stage::of(2).await;
    let slow = ("0003_slow.sql", "SELECT pg_sleep(1)");
    let options = Options { jobs: 2, tries: 1, waves: vec!["100".parse().unwrap()], ..Stage::options() };
    let options = Options { lock_timeout: Duration::from_millis(500), ..options };
    let report = stage.fleet(&[BASELINE, COLOR, slow]).up(&options, &Events::none()).await.unwrap();
    assert_eq!((&report.outcome, report.migrated), (&Outcome::Done, 2), "{report:?}");
}

/// Tries are counted for the steps at hand: one that had a hard time leaves the next all of its own.
#[tokio::test(flavor = "multi_thread")]
async fn each_step_has_all_its_tries() {
    let stage = Stage::of(1).await;
    stage.admin.batch_execute("CREATE TABLE public.gate (id int); INSERT INTO public.gate VALUES (1), (2); GRANT ALL ON public.gate TO tenantry_owner").await.unwrap();
    let wait = |n: i32| format!("SELECT 1 FROM public.gate WHERE id = {n} FOR UPDATE NOWAIT");
    let (first, last) = (wait(1), wait(2));
    let files =
        [BASELINE, ("0002_first.sql", first.as_str()), ("0003_beside.sql", BESIDE.1), ("0004_last.sql", last.as_str())];
    let held = [stage.world.admin().await, stage.world.admin().await];
    for (n, holder) in (1..).zip(&held) {
        holder.batch_execute(&format!("BEGIN; SELECT 1 FROM public.gate WHERE id = {n} FOR UPDATE")).await.unwrap();
    }
    let fleet = stage.fleet(&files);
    let (options, events) = (Options { tries: 3, ..quick() }, stage.events());
    let run = tokio::spawn(async move { fleet.up(&options, &events).await });
    // Each gate opens after the second try.
    for holder in &held {
        for _ in 0..2 {
            until(&stage, |event| matches!(event, Event::Retry { .. })).await;
        }
        holder.batch_execute("COMMIT").await.unwrap();
    }
    let report = run.await.unwrap().unwrap();
    assert_eq!((&report.outcome, stage.at(4).await), (&Outcome::Done, 1), "{report:?}");
}

/// One that was there before is somebody else's, and not taken for ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_index_of_the_same_name_is_not_adopted() {
    let stage = Stage::of(1).await;
    stage.admin.batch_execute("CREATE INDEX notes_body ON tenant_t00.notes (id)").await.unwrap();
    let report = stage.fleet(&[BASELINE, BESIDE]).up(&Stage::options(), &Events::none()).await.unwrap();
    assert_eq!(report.failed[0].sqlstate.as_deref(), Some("42P07"), "{report:?}");
}

/// A world on the same database whose program needs a version.
pub(crate) async fn needing(stage: &Stage, version: i32) -> World {
    let mut config = testkit::WorldConfig::new(tenantry_postgres::TenantSchema::new("SELECT 1", &[]));
    config.registry.needs_version = version;
    World::on(stage.world.database.clone(), config).await
}
