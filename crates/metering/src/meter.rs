use std::fmt;
use std::sync::Arc;

use tenantry_core::Clock;
use tenantry_postgres::{DatabaseConfig, MeterDb, Partitions};

use crate::budgets::Budgets;
use crate::prices::Prices;
use crate::reports::Watch;
use crate::settings::MeteringSettings;
use crate::ship::Progress;
use crate::spool::{Spool, SpoolState};

/// Connections of the role that writes what is metered: shipping, sums, budgets and operators' reports share them.
const CONNECTIONS: usize = 6;

/// Why the metering does not start.
#[derive(Debug, thiserror::Error)]
pub enum MeteringError {
    /// The spool's directory cannot be used.
    #[error("the spool in `{}` cannot be opened: {source}", path.display())]
    Spool {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no thread to ship on.
    #[error("the thread that ships cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// What the endpoints and the gateway share. Cheap to clone.
#[derive(Clone)]
pub struct Metering {
    /// What calls cost.
    pub prices: Prices,
    /// What may be spent.
    pub budgets: Budgets,
    /// What was promised.
    pub spool: Spool,
    /// How the shipping goes.
    pub shipping: Progress,
    /// The shared tables.
    pub db: MeterDb,
    /// Their partitions.
    pub partitions: Partitions,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How it is set up.
    pub settings: Arc<MeteringSettings>,
    /// What operators were warned of.
    pub watch: Arc<Watch>,
}

impl fmt::Debug for Metering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metering").finish_non_exhaustive()
    }
}

impl Metering {
    /// From the settings: opens the spool and takes up what an earlier process left in it.
    ///
    /// # Errors
    /// [`MeteringError`].
    pub fn start(
        database: &DatabaseConfig,
        settings: &MeteringSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, MeteringError> {
        let options = settings.spool();
        let path = options.directory.clone();
        let spool = Spool::open(options, Arc::clone(&clock)).map_err(|source| MeteringError::Spool { path, source })?;
        Ok(Self {
            prices: Prices::default(),
            budgets: Budgets::start(database, &settings.budgets, Arc::clone(&clock), spool.id()),
            spool,
            shipping: Progress::default(),
            db: MeterDb::new(database, CONNECTIONS),
            partitions: Partitions::new(database),
            clock,
            settings: Arc::new(settings.clone()),
            watch: Arc::default(),
        })
    }

    /// How the spool and its shipping are.
    #[must_use]
    pub fn health(&self) -> SpoolState {
        self.shipping.complete(self.spool.state())
    }
}
