use chrono::{Days, Utc};
use tenantry_postgres::MeterDb;
use tokio_util::sync::CancellationToken;

use crate::meter::Metering;
use crate::store;

/// Has what was shipped, and what purged tenants have left among refused rows, removed from the disk, until it is told to stop.
/// What it has begun it ends: files that nobody counts would stay.
pub(super) async fn forget(metering: Metering, db: MeterDb, stop: CancellationToken) {
    loop {
        match refused(&metering, &db).await {
            Ok(0) => {}
            Ok(rows) => {
                tracing::info!(target: "tenantry::ship", rows, "refused rows are removed: their time is over, or their tenant was purged")
            }
            Err(error) => tracing::warn!(target: "tenantry::ship", %error, "refused rows cannot be looked through"),
        }
        tokio::select! {
            () = tokio::time::sleep(metering.settings.forget_interval) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = metering.spool.renew().await {
            tracing::warn!(target: "tenantry::ship", %error, "what is shipped stays in the files of the spool for now");
        }
    }
}

/// Removes refused rows that nobody needs, and gives how many.
async fn refused(metering: &Metering, db: &MeterDb) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let tenants = metering.spool.rejected_tenants()?;
    let purged = if tenants.is_empty() { tenants } else { store::purged(db, &tenants).await? };
    let before = metering.clock.now().checked_sub_days(Days::new(metering.settings.keep_calls_days.into()));
    Ok(metering.spool.forget(&purged, before.unwrap_or(chrono::DateTime::<Utc>::MIN_UTC))?)
}
