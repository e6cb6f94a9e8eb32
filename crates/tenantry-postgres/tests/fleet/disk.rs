//! A disk that is full: the server is told so by its own system calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tenantry_embedded::{Throwaway, ThrowawayConfig};
use tenantry_postgres::TenantSchema;
use tenantry_postgres::migrate::{Drift, Event, Events, Fleet, Options, Outcome, Report};
use testkit::{FullDisk, TestDatabase};

use super::stage::{BASELINE, COLOR, Stage, TAGS, set};

const INDEX: (&str, &str) = ("0003_index.sql", "CREATE INDEX notes_color ON tenant.notes (color)");
const SMALL: (&str, &str) = ("0003_index.sql", "CREATE INDEX notes_color ON tenant.notes (color) TABLESPACE small");
const SMALL_BESIDE: (&str, &str) = (
    "0003_index.sql",
    "-- tenantry: no-transaction\nCREATE INDEX CONCURRENTLY notes_color ON tenant.notes (color) TABLESPACE small",
);
const LATER: (&str, &str) = ("0004_tags.sql", TAGS.1);

/// A fleet on a server of its own, whose disk is full when the test says so.
struct Filling {
    stage: Stage,
    disk: Arc<FullDisk>,
    files: Vec<(&'static str, &'static str)>,
    _server: Throwaway,
}

impl Filling {
    async fn of(tenants: usize, files: &[(&'static str, &'static str)]) -> Self {
        let disk = Arc::new(FullDisk::new());
        let config = ThrowawayConfig {
            settings: vec![("allow_in_place_tablespaces".into(), "on".into())],
            environment: disk.environment(),
            ..ThrowawayConfig::default()
        };
        let server = Throwaway::start(config).await.unwrap();
        let database = TestDatabase::create_on(&server.cluster().superuser_url("postgres")).await;
        let stage = Stage::on(database, tenants).await;
        stage.admin.batch_execute("CREATE TABLESPACE small LOCATION ''").await.unwrap();
        stage.admin.batch_execute("GRANT CREATE ON TABLESPACE small TO tenantry_owner").await.unwrap();
        Self { stage, disk, files: files.to_vec(), _server: server }
    }

    fn fleet(&self) -> Fleet {
        self.stage.fleet(&self.files)
    }

    /// Fills the disk for files with `part` in their path when `tenants` are migrated; frees it with the first failure, where asked.
    fn events(&self, tenants: usize, part: &'static str, free: bool) -> Events {
        let (disk, migrated) = (Arc::clone(&self.disk), AtomicUsize::new(0));
        Events::to(move |event| {
            assert!(!matches!(event, Event::Retry { .. }), "space does not come back by itself: {event:?}");
            if matches!(event, Event::Migrated { .. }) && migrated.fetch_add(1, Ordering::SeqCst) + 1 == tenants {
                disk.fill(part);
            }
            if free && matches!(event, Event::Failed(_)) {
                disk.free();
            }
        })
    }

    /// Every tenant is, catalog and privileges included, what its version says; nothing is left of what was not done.
    async fn is_whole(&self) {
        self.stage.is_tidy().await;
        let tables: &[&str] = if self.files.contains(&LATER) { &["notes", "tags"] } else { &["notes"] };
        let schema = TenantSchema::replaying(set(&self.files), tables).with_append_only(&["tags"]);
        let drift = Drift::new(&self.stage.world.database.config, schema);
        let report = drift.run(&[], 1, &|_| {}).await.unwrap();
        assert!(report.tenants.is_empty() && report.unknown.is_empty(), "{report:#?}");
        let strange: Vec<_> = report
            .installation
            .iter()
            .filter(|d| d.text.contains("belongs to no") || d.text.contains("tnt_"))
            .collect();
        assert!(strange.is_empty(), "{strange:#?}");
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid() \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        while self.stage.count(locks).await > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// There is space, and the failed tenants are tried again, by name as the command line says, and then all others.
    async fn goes_on(&self, report: &Report, tenants: i64) {
        let slugs: Vec<String> = report.failed.iter().map(|failure| failure.slug.clone()).collect();
        let (failed, only) = (slugs.len(), Options { tenants: slugs, ..Stage::options() });
        let again = self.fleet().up(&only, &Events::none()).await.unwrap();
        assert_eq!((&again.outcome, again.migrated), (&Outcome::Done, failed), "{again:?}");
        let rest = self.fleet().up(&Stage::options(), &Events::none()).await.unwrap();
        assert_eq!(rest.outcome, if report.remaining > 0 { Outcome::Done } else { Outcome::Nothing }, "{rest:?}");
        let latest = self.fleet().set().latest();
        assert_eq!(self.stage.at(latest).await, tenants);
        assert_eq!(self.fleet().status().await.unwrap().failed.len(), 0);
        self.is_whole().await;
    }
}

/// Each failure is the disk's, found at once and told with the server's words.
fn all_for_space(report: &Report) {
    for failure in &report.failed {
        assert_eq!((failure.sqlstate.as_deref(), failure.attempts), (Some("53100"), 1), "{failure:?}");
        assert!(failure.error.contains("No space left on device"), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_tablespace_is_full_fails_alone() {
    for files in [[BASELINE, COLOR, SMALL, LATER], [BASELINE, COLOR, SMALL_BESIDE, LATER]] {
        let filling = Filling::of(5, &files).await;
        let options = Options { jobs: 1, stop_share: "100".parse().unwrap(), ..Stage::options() };
        let report = filling.fleet().up(&options, &filling.events(2, "/pg_tblspc/", true)).await.unwrap();
        assert_eq!((&report.outcome, report.migrated, report.remaining), (&Outcome::Failed, 4, 0), "{report:?}");
        all_for_space(&report);
        let failed = &report.failed[0];
        assert_eq!((failed.migration.as_str(), failed.at), ("0003_index", 2), "the step before it is made");
        assert_eq!((filling.stage.at(4).await, filling.stage.at(2).await), (4, 1));
        if files[2] == SMALL {
            filling.is_whole().await;
        }
        let status = filling.fleet().status().await.unwrap();
        assert_eq!((status.failed.len(), status.failed[0].sqlstate.as_deref()), (1, Some("53100")));
        filling.goes_on(&report, 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_run_by_its_rule() {
    let filling = Filling::of(12, &[BASELINE, COLOR, INDEX, LATER]).await;
    let options = Options { jobs: 2, waves: vec!["100".parse().unwrap()], stop_failures: 3, ..Stage::options() };
    let report = filling.fleet().up(&options, &filling.events(2, "/base/", false)).await.unwrap();
    assert!(matches!(&report.outcome, Outcome::Stopped(_)), "{report:?}");
    all_for_space(&report);
    assert!((1..=4).contains(&report.failed.len()) && report.migrated >= 2 && report.remaining > 0, "{report:?}");
    // Nothing can be begun meanwhile, or it fails at once; either way it is said.
    let only = Options { tenants: vec![report.failed[0].slug.clone()], ..Stage::options() };
    match filling.fleet().up(&only, &Events::none()).await {
        Ok(again) => all_for_space(&again),
        Err(error) => assert!(error.to_string().contains("53100"), "{error}"),
    }
    filling.disk.free();
    filling.goes_on(&report, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_grow_undoes_the_step_and_is_told() {
    let filling = Filling::of(70, &[BASELINE, COLOR]).await;
    let path = "SELECT pg_relation_filepath('public.migration_ledger')";
    let path: String = filling.stage.admin.query_one(path, &[]).await.unwrap().get(0);
    filling.disk.fill(&path);
    let options = Options { jobs: 1, stop_failures: 100, ..Stage::options() };
    let report = filling.fleet().up(&options, &filling.stage.events()).await.unwrap();
    let Outcome::Stopped(reason) = &report.outcome else { panic!("{report:?}") };
    assert!(reason.contains("the ledger cannot be written") && reason.contains("53100"), "{reason}");
    all_for_space(&report);
    // The tenant is told although its row could not be written, and is where it was.
    assert_eq!((report.failed.len(), report.failed[0].at), (1, 1), "{report:?}");
    assert_eq!(report.migrated + report.remaining + 1, 70, "{report:?}");
    assert!(filling.stage.told().iter().any(|event| matches!(event, Event::Failed(_))));
    assert_eq!(filling.stage.ledger("failed").await, 0);
    filling.is_whole().await;
    filling.disk.free();
    filling.goes_on(&report, 70).await;
}
