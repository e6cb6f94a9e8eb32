//! The spool's disk is full.

use testkit::FullDisk;

use super::child::{Recorder, Said};
use super::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_new_calls_and_ends_those_that_were_let_through() {
    let stage = Stage::new().await;
    let disk = FullDisk::new();
    let mut recorder = Recorder::start("disk", &stage, &disk.environment());
    recorder.hear("holding");
    disk.fill(stage.spools().to_str().unwrap());
    recorder.hear("full true");
    disk.free();
    recorder.hear("again false");
    let mut said = Said::default();
    said.add(&recorder.kill());
    let refused = said.begun.difference(&said.intended).count();
    assert!(refused > 0);
    stage.ship().await;
    said.compare(&stage).await;
    assert_eq!(stage.booked().await.0, i64::try_from(said.intended.len()).unwrap(), "what was refused is not there");
}
