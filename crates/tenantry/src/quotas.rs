//! Looks after what tenants use: measures it now and then, and tells those who come near a limit.

use std::time::Duration;

use serde_json::json;
use tenantry_core::NameError;
use tenantry_postgres::{AccessError, DbError, Measured, ProvisionError, Provisioner, QuotaNotice, Registry, TenantDb};

use crate::AppState;

/// How long to wait after a measurement that failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures the fleet and publishes `quota.warning` in the events of tenants that have come to 80, 90 or 100 % of a limit.
#[derive(Debug, Clone)]
pub struct QuotaWatch {
    provisioner: Provisioner,
    registry: Registry,
    db: TenantDb,
    interval: Duration,
}

#[derive(Debug, thiserror::Error)]
enum NotTold {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Provision(#[from] ProvisionError),
}

impl QuotaWatch {
    /// Measures tenants whose last measurement is older than the interval.
    #[must_use]
    pub fn new(state: &AppState, interval: Duration) -> Self {
        Self {
            provisioner: state.provisioner.clone(),
            registry: state.tenancy.registry().clone(),
            db: state.tenancy.db().clone(),
            interval,
        }
    }

    /// Goes on for as long as it is polled. Of several servers one measures, and the others find nothing due.
    pub async fn run(&self) {
        loop {
            let pause = match self.once().await {
                Ok(measured) => {
                    let (failed, frozen) = (measured.failed.len(), measured.frozen.len());
                    tracing::debug!(target: "tenantry::usage", tenants = measured.tenants, failed, frozen, "measured");
                    self.interval
                }
                Err(error) => {
                    tracing::warn!(target: "tenantry::usage", %error, "what tenants use cannot be measured");
                    PATIENCE
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Measures what is due, and tells.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn once(&self) -> Result<Measured, ProvisionError> {
        let measured = self.provisioner.measure(self.interval, &[]).await?;
        for id in &measured.frozen {
            tracing::warn!(target: "tenantry::usage", tenant_id = %id, "the storage is used up: writes are refused");
        }
        for id in &measured.thawed {
            tracing::info!(target: "tenantry::usage", tenant_id = %id, "writes are taken again");
        }
        for notice in &measured.notices {
            match self.tell(notice).await {
                Ok(()) => {}
                // It is told when it is served again.
                Err(NotTold::Access(AccessError::Inactive { .. } | AccessError::SchemaBehind { .. })) => {}
                Err(error) => {
                    tracing::warn!(target: "tenantry::usage", tenant = notice.slug, %error, "a tenant was not told of its use");
                }
            }
        }
        Ok(measured)
    }

    /// Once for each threshold: that it was told is noted after it was, so a kill in between tells it twice rather than never.
    #[expect(clippy::disallowed_methods, reason = "the platform itself tells the tenant; nobody has asked")]
    async fn tell(&self, notice: &QuotaNotice) -> Result<(), NotTold> {
        let context = self.registry.system_context(&notice.slug.parse()?, "quota warning").await?;
        let mut tx = self.db.begin(&context).await?;
        tx.publish("quota.warning", json!(notice));
        tx.commit().await?;
        self.provisioner.warned(notice).await?;
        Ok(())
    }
}
