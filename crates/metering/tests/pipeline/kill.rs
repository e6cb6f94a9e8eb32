//! `kill -9` of the process that records and ships.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::child::{Recorder, Said};
use super::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_before_a_kill_is_booked_once() {
    let stage = Stage::new().await;
    let mut said = Said::default();
    // A pause between 5 and 200 ms, by a seed: which instruction that hits is chance enough.
    let mut seed = 20_261_124_u64;
    for life in 0..8 {
        // In every second life nothing is shipped, so that the next one has much to take up.
        let mut recorder = Recorder::start(if life % 2 == 0 { "ship" } else { "record" }, &stage, &[]);
        recorder.hear("settled");
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(5 + (seed >> 33) % 195)).await;
        said.add(&recorder.kill());
    }
    let state = stage.ship().await;
    assert_eq!((state.rejected, state.damaged_bytes, state.write_errors), (0, 0, 0), "{state:?}");
    assert!(said.settled.len() > 200, "{} calls say little", said.settled.len());
    assert!(said.intended.len() > 50 && said.settled.len() > said.intended.len(), "both ways were taken");
    said.compare(&stage).await;
}

/// A negative control: what is compared above would tell of a loss.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_segment_is_noticed() {
    let stage = Stage::new().await;
    let mut recorder = Recorder::start("record", &stage, &[]);
    for _ in 0..30 {
        recorder.hear("settled");
    }
    let mut said = Said::default();
    said.add(&recorder.kill());
    std::fs::remove_file(stage.spools().join("0/00000001.seg")).unwrap();
    stage.ship().await;
    assert!(AssertUnwindSafe(said.compare(&stage)).catch_unwind().await.is_err());
}
