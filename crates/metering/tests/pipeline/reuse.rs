//! Files of segments that are used again.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use metering::ship::Shipping;

use super::stage::{Stage, call, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_records_are_shipped_is_written_again() {
    let stage = Stage::new().await;
    let metering = stage.metering();
    let shipping = Shipping::start(&metering, &stage.settings()).unwrap();
    let (mut numbers, mut files, mut ids) = (HashSet::new(), HashSet::new(), Vec::new());
    for _ in 0..40 {
        let calls: Vec<_> = (0..20).map(|_| call(1, "0.01")).collect();
        ids.extend(calls.iter().map(|call| call.id));
        metering.spool.record(&calls).await.unwrap();
        until(&metering, |state| state.records == 0).await;
        for path in stage.segments() {
            numbers.insert(path.clone());
            // one may go while it is looked at
            files.extend(fs::metadata(path).map(|file| file.ino()));
        }
    }
    assert!(numbers.len() > 8 && files.len() < numbers.len() / 2, "{} in {}", numbers.len(), files.len());
    shipping.stop(Duration::from_secs(5)).await;
    assert_eq!(metering.health().bytes, 0, "nothing is left");
    ids.sort();
    assert_eq!(stage.ids().await, ids);
    stage.agree().await;
}

/// A process was killed when it had made a file ready to be used again, or was about to.
#[tokio::test(flavor = "multi_thread")]
async fn what_such_a_file_had_is_not_read_again() {
    let stage = Stage::new().await;
    let ids = stage.left(60).await;
    let first = stage.segments()[0].clone();
    let mut bytes = fs::read(&first).unwrap();
    fs::write(first.with_file_name("00000050.old"), &bytes).unwrap();
    let state = stage.ship().await;
    assert_eq!((state.shipped, state.repeated), (60, 0), "{state:?}");
    bytes[..64].fill(0);
    fs::write(first.with_file_name("00000090.seg"), &bytes).unwrap();
    let state = stage.ship().await;
    assert_eq!((state.shipped, state.repeated, state.damaged_bytes), (0, 0, 0), "{state:?}");
    assert_eq!(stage.ids().await, ids);
    let left: Vec<_> = fs::read_dir(first.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("0000")), "{left:?}");
}

/// What has come is shipped when it is worth a transaction, before its time is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_portion_does_not_wait() {
    let stage = Stage::new().await;
    let metering = stage.metering();
    let settings =
        metering::MeteringSettings { ship_interval: Duration::from_secs(3600), ship_portion: 3, ..stage.settings() };
    let shipping = Shipping::start(&metering, &settings).unwrap();
    for n in 1..=2 {
        for _ in 0..3 {
            metering.spool.record(&[call(1, "0.01")]).await.unwrap();
        }
        until(&metering, |state| state.shipped == 3 * n).await;
    }
    metering.spool.record(&[call(1, "0.01")]).await.unwrap();
    shipping.stop(Duration::from_secs(5)).await;
    assert_eq!(metering.health().shipped, 7, "an end waits for nothing");
}
