//! From the spool to the database.
//!
//! A shipment is one transaction: rows, counters and marked hours are there together or not at all. The spool is told when it has
//! committed. What comes between, an end of this process or a lost connection, has the same rows shipped again, and those that are
//! there already change nothing.
//!
//! Whatever the database refuses for what it is (no month for it, a number that does not fit) is found by halving, kept in a file and
//! counted, so that it holds nothing else up. All other failures are waited for.

mod forget;
mod keep;
mod lane;
mod progress;
mod shipment;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tenantry_postgres::MeterDb;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::meter::{Metering, MeteringError};
use crate::settings::MeteringSettings;
use crate::spool::Spool;
use lane::Lane;
pub use progress::Progress;

/// Between two tries when the database is away: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Between two looks for calls that never ended, and the longest sleep.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks for what servers have left that are gone.
const ADOPTION: Duration = Duration::from_secs(30);

/// Connections of shipping: what this server's calls come to and what others left, and now and then who was purged. They live on its thread, so nobody else has them.
const CONNECTIONS: usize = 2;

/// The shipping of a server, from its start to its end.
#[derive(Debug)]
pub struct Shipping {
    lane: Lane,
    stop: CancellationToken,
    own: JoinHandle<()>,
    others: JoinHandle<()>,
    keeping: JoinHandle<()>,
    forgetting: (JoinHandle<()>, CancellationToken),
}

impl Shipping {
    /// Ships what comes to the server's spool and what others left beside it, and keeps the partitions, on a thread of its own.
    ///
    /// # Errors
    /// [`MeteringError::Thread`].
    pub fn start(metering: &Metering, settings: &MeteringSettings) -> Result<Self, MeteringError> {
        let lane = Lane::open().map_err(MeteringError::Thread)?;
        let (stop, enough) = (CancellationToken::new(), CancellationToken::new());
        let shipper = Shipper {
            metering: metering.clone(),
            db: metering.db.with_connections(CONNECTIONS),
            settings: settings.clone(),
            stop: stop.clone(),
            recovered: Arc::default(),
        };
        Ok(Self {
            own: lane.runtime().spawn(shipper.clone().run()),
            keeping: lane.runtime().spawn(keep::keep(metering.partitions.clone(), settings.retention())),
            forgetting: (
                lane.runtime().spawn(forget::forget(metering.clone(), shipper.db.clone(), enough.clone())),
                enough,
            ),
            others: lane.runtime().spawn(shipper.adopt()),
            lane,
            stop,
        })
    }

    /// Ships what is there, for so long at most, and closes the spool. What is left stays on the disk, for the next start.
    pub async fn stop(self, patience: Duration) {
        self.keeping.abort();
        self.others.abort();
        let (forgetting, enough) = self.forgetting;
        enough.cancel();
        let _ = tokio::time::timeout(patience, forgetting).await;
        self.stop.cancel();
        let mut own = self.own;
        if tokio::time::timeout(patience, &mut own).await.is_err() {
            own.abort();
            let _ = own.await;
        }
        self.lane.close().await;
    }
}

#[derive(Debug, Clone)]
struct Shipper {
    metering: Metering,
    db: MeterDb,
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
            self.ship_while(&spool, self.portion(), &self.stop).await;
        }
        // For as long as whoever stops it is patient.
        self.ship_while(&spool, 1, &CancellationToken::new()).await;
        drop(closing);
        spool.close().await;
    }

    /// What is worth a transaction: small, so that one keeps a core of the database busy for a moment only while calls are served, and large enough
    /// that what a transaction costs by itself does not count. What has come meanwhile waits until it is as much again: shipped at once, it would be
    /// transactions of a few rows without end.
    fn portion(&self) -> u64 {
        u64::try_from(self.settings.ship_portion.clamp(1, self.settings.ship_batch.max(1))).unwrap_or(u64::MAX)
    }

    /// Enough has come, or has waited long enough.
    async fn due(&self, spool: &Spool) {
        let quiet = async {
            spool.waiting_for(1).await;
            let _ = tokio::time::timeout(self.settings.ship_interval, spool.waiting_for(self.portion())).await;
        };
        let _ = tokio::time::timeout(LOOK.max(self.settings.ship_interval), quiet).await;
    }

    /// Ships while so many rows are left, once at least, waiting for the database where it must; or until told to stop.
    async fn ship_while(&self, spool: &Spool, least: u64, stop: &CancellationToken) {
        let mut pause = PAUSES.0;
        loop {
            match self.round(spool, least).await {
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
                    self.ship_while(&left, 1, &self.stop).await;
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
