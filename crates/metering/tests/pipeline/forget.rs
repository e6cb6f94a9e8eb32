//! What is shipped, or was refused, does not stay on the disk for good.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use metering::ship::Shipping;
use metering::{Call, Metering, MeteringSettings};
use tenantry_core::{ManualClock, SystemClock};

use super::stage::{Stage, call, unsettled, until};

const MARK: &str = "a text that nobody else has";

fn marked() -> Call {
    Call { provider_request_id: Some(MARK.into()), ..call(1, "0.01") }
}

impl Stage {
    fn forgetful(&self, after: Duration) -> (Metering, Shipping) {
        let settings = MeteringSettings { forget_interval: after, ..self.settings() };
        let metering = Metering::start(&self.database.config, &settings, Arc::new(SystemClock)).unwrap();
        let shipping = Shipping::start(&metering, &settings).unwrap();
        (metering, shipping)
    }

    /// Whether any file of the spools has this.
    fn has(&self, text: &str) -> bool {
        let contents =
            fs::read_dir(self.spools().join("0")).unwrap().filter_map(|entry| fs::read(entry.unwrap().path()).ok());
        contents.into_iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shipped_goes_from_the_disk_while_the_server_runs() {
    let stage = Stage::new().await;
    // the control: for as long as nothing else is done, it is there
    let (metering, shipping) = stage.forgetful(Duration::from_secs(3600));
    metering.spool.record(&[marked()]).await.unwrap();
    until(&metering, |state| state.shipped == 1).await;
    until(&metering, |state| state.records == 0).await;
    assert!(stage.has(MARK));
    shipping.stop(Duration::from_secs(5)).await;

    let (metering, shipping) = stage.forgetful(Duration::from_millis(50));
    for n in 1..=2 {
        metering.spool.record(&[marked()]).await.unwrap();
        until(&metering, |state| state.shipped == n).await;
        eventually("it is gone", || !stage.has(MARK)).await;
    }
    shipping.stop(Duration::from_secs(5)).await;
    assert_eq!((stage.booked().await.0, metering.health().bytes), (3, 0));
    stage.agree().await;
}

/// Whatever is under way or comes while files are exchanged is there, once.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_files_are_exchanged() {
    let stage = Stage::new().await;
    let (metering, shipping) = stage.forgetful(Duration::from_millis(10));
    let long = call(2, "0.5");
    metering.spool.intend(&unsettled(&long, "1")).await.unwrap();
    let files = || stage.segments();
    let (mut ids, before) = (vec![long.id], files());
    for _ in 0..200 {
        let calls: Vec<_> = (0..5).map(|_| call(1, "0.01")).collect();
        ids.extend(calls.iter().map(|call| call.id));
        metering.spool.record(&calls).await.unwrap();
    }
    eventually("no file of the beginning is there", || files().iter().all(|file| !before.contains(file))).await;
    metering.spool.settle(&long).await.unwrap();
    shipping.stop(Duration::from_secs(10)).await;
    ids.sort();
    let booked = stage.ids().await;
    let lost: Vec<_> = ids.iter().filter(|id| !booked.contains(id)).collect();
    assert_eq!((lost, booked.len(), metering.health().bytes), (vec![], ids.len(), 0));
    stage.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_kept_as_long_as_calls_are() {
    let stage = Stage::new().await;
    let metering = stage.metering();
    metering.spool.record(&[Call { provider_request_id: Some("no \0 here".into()), ..call(1, "1") }]).await.unwrap();
    metering.spool.close().await;
    assert_eq!(stage.ship().await.rejected, 1);
    let damaged = stage.spools().join("0/00000077.damaged");
    fs::write(&damaged, "damaged").unwrap();
    // of a server that is gone
    fs::create_dir(stage.spools().join("1")).unwrap();
    fs::copy(stage.spools().join("0/rejected.jsonl"), stage.spools().join("1/rejected.jsonl")).unwrap();
    for (days, kept) in [(89, true), (91, false)] {
        let metering = stage.metering_at(Arc::new(ManualClock::new(Utc::now() + TimeDelta::days(days))));
        assert_eq!(metering.health().rejected, 1, "{days}");
        let shipping = Shipping::start(&metering, &stage.settings()).unwrap();
        let left = || [0, 1].map(|n| stage.spools().join(format!("{n}/rejected.jsonl")).exists());
        if kept {
            // it is looked through as soon as shipping begins
            metering.spool.record(&[call(1, "1")]).await.unwrap();
            until(&metering, |state| state.shipped == 1).await;
        } else {
            eventually("they are gone", || left() == [false; 2]).await;
            until(&metering, |state| state.rejected == 0).await;
        }
        assert_eq!((left(), damaged.exists()), ([kept; 2], kept), "{days}");
        shipping.stop(Duration::from_secs(5)).await;
    }
}
