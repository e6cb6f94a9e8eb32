//! What servers leave that do not come back.

use std::time::Duration;

use metering::ship::Shipping;

use super::child::{Recorder, Said};
use super::stage::{Stage, call, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_leaves_beside_another_is_shipped_by_that_one() {
    let stage = Stage::new().await;
    let living = stage.metering();
    assert!(living.spool.directory().ends_with("0"));
    let mut recorder = Recorder::start("record", &stage, &[]);
    recorder.hear("settled");
    let mut said = Said::default();
    said.add(&recorder.kill());
    let own = call(1, "0.1");
    said.begun.insert(own.id);
    said.settled.insert(own.id);
    living.spool.record(&[own]).await.unwrap();
    let shipping = Shipping::start(&living, &stage.settings()).unwrap();
    until(&living, |state| state.adopted == 1 && state.records == 0).await;
    said.compare(&stage).await;
    assert!(
        std::fs::read_dir(stage.spools().join("1"))
            .unwrap()
            .all(|entry| { entry.unwrap().path().extension().is_none_or(|extension| extension != "seg") })
    );
    shipping.stop(Duration::from_secs(5)).await;
}
