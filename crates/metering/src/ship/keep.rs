use std::time::Duration;

use tenantry_postgres::{Partitions, Retention};

/// Partitions are looked after so often, by one of the servers.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A start has enough to do: `init` has made what it needs.
const FIRST: Duration = Duration::from_secs(10);
/// After it could not be done.
const RETRY: Duration = Duration::from_secs(60);

/// Keeps partitions ahead of time and drops old ones, for as long as it is polled.
pub(super) async fn keep(partitions: Partitions, retention: Retention) {
    tokio::time::sleep(FIRST).await;
    loop {
        let pause = match partitions.keep(retention).await {
            Ok(kept) => {
                let kept = kept.unwrap_or_default();
                if kept.made > 0 || !kept.dropped.is_empty() {
                    tracing::info!(target: "tenantry::ship", made = kept.made, dropped = ?kept.dropped, "partitions are as they should be");
                }
                DAY
            }
            Err(error) => {
                tracing::warn!(target: "tenantry::ship", %error, "partitions cannot be looked after");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}
