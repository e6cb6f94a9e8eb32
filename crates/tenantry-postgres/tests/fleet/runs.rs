//! Whole runs, and runs that end early.

use tenantry_postgres::migrate::{Event, Events, Outcome};

use super::stage::{BASELINE, COLOR, Stage, TAGS};

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_migrated_once() {
    let stage = Stage::of(60).await;
    stage.admin.batch_execute("UPDATE public.tenants SET canary = true WHERE slug = 't33'").await.unwrap();
    stage.world.provisioner.suspend("t07", &tenantry_postgres::Actor::system("test")).await.unwrap();
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
