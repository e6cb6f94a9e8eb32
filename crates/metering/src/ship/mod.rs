//! From the spool to the database.
//!
//! A shipment is one transaction: rows, counters and marked hours are there together or not at all. The spool is told when it has
//! committed. What comes between, an end of this process or a lost connection, has the same rows shipped again, and those that are
//! there already change nothing.
//!
//! Whatever the database refuses for what it is (no month for it, a number that does not fit) is found by halving, kept in a file and
//! counted, so that it holds nothing else up. All other failures are waited for.

mod keep;
mod progress;
mod shipment;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::meter::Metering;
use crate::settings::MeteringSettings;
use crate::spool::Spool;
pub use progress::Progress;

/// Between two tries when the database is away: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Between two looks for calls that never ended, and the longest sleep.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks for what servers have left that are gone.
const ADOPTION: Duration = Duration::from_secs(30);

/// The shipping of a server, from its start to its end.
#[derive(Debug)]
pub struct Shipping {
    stop: CancellationToken,
    own: JoinHandle<()>,
    others: JoinHandle<()>,
    keeping: JoinHandle<()>,
}

impl Shipping {
    /// Ships what comes to the server's spool and what others left beside it, and keeps the partitions.
    #[must_use]
    pub fn start(metering: &Metering, settings: &MeteringSettings) -> Self {
        let stop = CancellationToken::new();
        let shipper = Shipper {
            metering: metering.clone(),
            settings: settings.clone(),
            stop: stop.clone(),
            recovered: Arc::default(),
        };
        Self {
            own: tokio::spawn(shipper.clone().run()),
            others: tokio::spawn(shipper.adopt()),
            keeping: tokio::spawn(keep::keep(metering.partitions.clone(), settings.retention())),
            stop,
        }
    }

    /// Ships what is there, for so long at most, and closes the spool. What is left stays on the disk, for the next start.
    pub async fn stop(self, patience: Duration) {
        self.keeping.abort();
        self.others.abort();
        self.stop.cancel();
        let mut own = self.own;
        if tokio::time::timeout(patience, &mut own).await.is_err() {
            own.abort();
            let _ = own.await;
        }
    }
}

#[derive(Debug, Clone)]
struct Shipper {
    metering: Metering,
    settings: MeteringSettings,
    stop: CancellationToken,
    /// Whether all is shipped that an earlier process of this server had left.
    recovered: Arc<AtomicBool>,
}

impl Shipper {
    async fn run(self) {
        let spool = self.metering.spool.clone();
        let closing = CloseAtEnd(spool.clone());
        while !self.stop.is_cancelled() {
            tokio::select! {
                () = self.due(&spool) => {}
                () = self.stop.cancelled() => break,
            }
            self.ship_all(&spool, &self.stop).await;
        }
        // For as long as whoever stops it is patient.
        self.ship_all(&spool, &CancellationToken::new()).await;
        drop(closing);
        spool.close().await;
    }

    /// Enough has come, or has waited long enough.
    async fn due(&self, spool: &Spool) {
        let all = u64::try_from(self.settings.ship_batch).unwrap_or(u64::MAX);
        let quiet = async {
            while spool.waiting() == 0 {
                spool.news().await;
            }
            let gather = async {
                while spool.waiting() < all {
                    spool.news().await;
                }
            };
            let _ = tokio::time::timeout(self.settings.ship_interval, gather).await;
        };
        let _ = tokio::time::timeout(LOOK.max(self.settings.ship_interval), quiet).await;
    }

    /// Ships until nothing is left, waiting for the database where it must; or until told to stop.
    async fn ship_all(&self, spool: &Spool, stop: &CancellationToken) {
        let mut pause = PAUSES.0;
        loop {
            match self.round(spool).await {
                Ok(false) => return,
                Ok(true) => pause = PAUSES.0,
                Err(error) => {
                    self.metering.shipping.failed(&error.to_string(), spool.waiting());
                    tokio::select! {
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
                        () = stop.cancelled() => return,
                    }
                }
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }

    /// Ships what servers have left that are gone.
    async fn adopt(self) {
        loop {
            let spool = self.metering.spool.clone();
            match tokio::task::spawn_blocking(move || spool.adopt()).await {
                Ok(Ok(Some(left))) => {
                    tracing::info!(target: "tenantry::ship", directory = %left.directory().display(), "shipping what a server has left");
                    self.ship_all(&left, &self.stop).await;
                    left.close().await;
                    self.metering.shipping.adopted();
                    continue;
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => {
                    tracing::error!(target: "tenantry::ship", %error, "what other servers have left cannot be taken up")
                }
                Err(error) => {
                    tracing::error!(target: "tenantry::ship", %error, "what other servers have left cannot be looked for")
                }
            }
            tokio::time::sleep(ADOPTION).await;
        }
    }
}

/// Closes the spool of a shipping that is cut off, too.
struct CloseAtEnd(Spool);

impl Drop for CloseAtEnd {
    fn drop(&mut self) {
        self.0.end();
    }
}
