//! Segments that are damaged, torn, or there twice.

use std::fs;
use std::path::PathBuf;

use super::stage::{Stage, call, unsettled};

impl Stage {
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let inside = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<PathBuf> = inside(self.spools()).flat_map(inside).collect();
        found.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        found.sort();
        found
    }

    /// Records calls, and leaves the spool as a killed process would.
    pub(crate) async fn left(&self, calls: usize) -> Vec<uuid::Uuid> {
        let metering = self.metering();
        let calls: Vec<_> = (0..calls).map(|_| call(1, "0.01")).collect();
        for call in &calls {
            metering.spool.record(std::slice::from_ref(call)).await.unwrap();
        }
        metering.spool.close().await;
        calls.iter().map(|call| call.id).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_told_of_and_costs_itself_only() {
    let stage = Stage::new().await;
    let ids = stage.left(120).await;
    let path = stage.segments()[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    let hit = ids[10].to_string().into_bytes();
    let at = bytes.windows(hit.len()).position(|window| window == hit).unwrap();
    bytes[at] ^= 0x01;
    fs::write(&path, bytes).unwrap();
    let state = stage.ship().await;
    assert!(state.damaged_bytes > 300 && state.damaged_bytes < 2000, "{state:?}");
    let expected: Vec<_> = ids.iter().copied().filter(|id| *id != ids[10]).collect();
    assert_eq!(stage.ids().await, expected);
    assert!(path.with_extension("damaged").exists(), "it is kept for people to look at");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_torn_off_at_the_end_was_never_acknowledged() {
    let stage = Stage::new().await;
    let ids = stage.left(20).await;
    let path = stage.segments()[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    let last = ids[19].to_string().into_bytes();
    let at = bytes.windows(last.len()).rposition(|window| window == last).unwrap();
    bytes[at..].fill(0);
    fs::write(&path, bytes).unwrap();
    let state = stage.ship().await;
    assert_eq!(state.damaged_bytes, 0, "{state:?}");
    assert_eq!(stage.ids().await, ids[..19]);
    // what comes after goes elsewhere
    let more = stage.left(1).await;
    stage.ship().await;
    assert_eq!(stage.ids().await, [&ids[..19], &more].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_are_there_twice_or_again_are_booked_once() {
    let stage = Stage::new().await;
    let ids = stage.left(120).await;
    let segments = stage.segments();
    assert!(segments.len() > 2);
    let kept: Vec<_> = segments.iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    // the same under another number, in the same spool
    fs::write(segments[0].with_file_name("00000077.seg"), &kept[0].1).unwrap();
    stage.ship().await;
    assert_eq!(stage.ids().await, ids);
    // all again, after they were shipped, without the note that they were
    for (path, bytes) in &kept {
        fs::write(path, bytes).unwrap();
    }
    fs::remove_file(segments[0].with_file_name("position.json")).unwrap();
    let state = stage.ship().await;
    assert_eq!(stage.ids().await, ids);
    assert!(state.repeated >= 120 && state.shipped == 0, "{state:?}");
    // and once more with the note, which is about another spool: they are not taken for shipped
    for (path, bytes) in &kept {
        fs::write(path, bytes).unwrap();
    }
    let state = stage.ship().await;
    assert!(state.repeated >= 120 && state.shipped == 0, "{state:?}");
    stage.agree().await;
}

/// A call that is under way for long does not keep the segments of all others.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_intent_moves_on() {
    let stage = Stage::new().await;
    let metering = stage.metering();
    let long = call(1, "2");
    metering.spool.intend(&unsettled(&long, "3")).await.unwrap();
    let shipping = metering::ship::Shipping::start(&metering, &stage.settings()).unwrap();
    for _ in 0..4 {
        let calls: Vec<_> = (0..60).map(|_| call(2, "0.01")).collect();
        metering.spool.record(&calls).await.unwrap();
        super::stage::until(&metering, |state| state.records == 0).await;
    }
    assert!(!stage.segments().iter().any(|path| path.ends_with("00000001.seg")), "{:?}", stage.segments());
    // and is there after a kill
    shipping.stop(std::time::Duration::from_secs(5)).await;
    stage.ship().await;
    let sql = "SELECT usage_source, cost_usd = 3 FROM analytics.provider_api_calls WHERE id = $1";
    let row = stage.admin.query_one(sql, &[&long.id]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("unsettled", true));
    stage.agree().await;
}
