//! The spool's disk is full, or broken.

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

/// Shipping is what makes room, so it must not need any.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_full_disk_ships_what_is_there() {
    let stage = Stage::new().await;
    let mut recorder = Recorder::start("record", &stage, &[]);
    for _ in 0..30 {
        recorder.hear("settled");
    }
    let mut said = Said::default();
    said.add(&recorder.kill());
    let disk = FullDisk::new();
    disk.fill(stage.spools().to_str().unwrap());
    let mut next = Recorder::start("drain", &stage, &disk.environment());
    next.hear("shipped");
    disk.free();
    next.hear("drained");
    said.compare(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_is_never_taken_for_done_nor_for_undone() {
    let stage = Stage::new().await;
    let disk = FullDisk::new();
    let mut recorder = Recorder::start("broken", &stage, &disk.environment());
    recorder.hear("settled");
    // One file that cannot be written: the records go to another, and nobody notices.
    disk.break_down("00000001.seg");
    for _ in 0..20 {
        recorder.hear("settled");
    }
    disk.free();
    // None that can be written.
    disk.break_down(".seg");
    for _ in 0..20 {
        recorder.hear("refused");
    }
    disk.free();
    for _ in 0..20 {
        recorder.hear("settled");
    }
    let mut said = Said::default();
    said.add(&recorder.kill());
    let state = stage.ship().await;
    assert_eq!(state.damaged_bytes, 0, "what was refused is no damage: {state:?}");
    said.compare(&stage).await;
}
