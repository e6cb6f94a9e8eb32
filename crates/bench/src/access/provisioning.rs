//! What creating a tenant costs in a full fleet, and costs the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tenantry_postgres::Provisioner;
use uuid::Uuid;

use crate::ground::{self, Ground};
use crate::report::{Report, Row};
use crate::stats::{median, percentile};

/// Creations in each cluster; one more before them warms the connection.
const CREATIONS: usize = 60;

/// Creates a tenant every second while something else goes on.
pub(super) async fn beside<T>(
    provisioner: &Provisioner,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let (done, provisioner) = (Arc::clone(&stop), provisioner.clone());
    let creating = tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        loop {
            beat.tick().await;
            if done.load(Ordering::Relaxed) {
                return anyhow::Ok(());
            }
            one(&provisioner).await?;
        }
    });
    let result = work.await;
    stop.store(true, Ordering::Relaxed);
    creating.await??;
    result
}

/// The p50 of creating a tenant in the full fleet over that in an empty cluster, in turns.
pub(super) async fn growth(full: &Ground, count: usize, report: &mut Report) -> anyhow::Result<()> {
    let empty = Ground::start("empty", None).await?;
    one(&full.provisioner).await?;
    one(&empty.provisioner).await?;
    let (mut in_full, mut in_empty) = (Vec::new(), Vec::new());
    for n in 0..CREATIONS {
        if n.is_multiple_of(20) {
            eprintln!("bench: {n} of {CREATIONS} tenants created in the full and in an empty cluster");
        }
        in_empty.push(one(&empty.provisioner).await?);
        in_full.push(one(&full.provisioner).await?);
    }
    empty.finish().await?;
    let (full, empty) = (median(&in_full), median(&in_empty));
    report.push(Row::lower("provisioning_p50_0", empty, "ms"));
    report.push(Row::lower("provisioning_p90_0", percentile(&in_empty, 0.9), "ms"));
    report.push(Row::lower(format!("provisioning_p50_{count}"), full, "ms"));
    report.push(Row::lower(format!("provisioning_p90_{count}"), percentile(&in_full, 0.9), "ms"));
    report.push(Row::lower("provisioning_growth", full / empty, "ratio").goal(1.3));
    Ok(())
}

/// Creates a tenant that is no part of the fleet; in milliseconds.
async fn one(provisioner: &Provisioner) -> anyhow::Result<f64> {
    let slug = format!("extra-{}", &Uuid::new_v4().simple().to_string()[..12]);
    let began = Instant::now();
    ground::create(provisioner, &slug).await?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}
