//! Finished tasks, counted on the days of their tenants.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use tenantry_core::TenantId;
use tenantry_core::calendar::{Tz, wall_clock};
use tenantry_postgres::{DbError, MeterDb};

use super::day;
use crate::store::{outcomes as store, rollup};

/// Tasks of one tenant counted in one transaction.
const AT_ONCE: i64 = 1000;

/// Counts a tenant's tasks that have ended since, and makes the sums of their days. Gives how many there were.
pub(super) async fn count(db: &MeterDb, tenant: TenantId, zone: &str) -> Result<u64, DbError> {
    // The registry takes no other name; a zone that this program does not know yet is no reason to count nothing.
    let zone: Tz = zone.parse().unwrap_or(Tz::UTC);
    let mut all = 0;
    loop {
        let tx = db.begin().await?;
        let ended = store::uncounted(&tx, tenant, AT_ONCE).await?;
        tx.commit().await?;
        if ended.is_empty() {
            return Ok(all);
        }
        let on_days: Vec<(&store::Ended, NaiveDate)> =
            ended.iter().map(|ended| (ended, wall_clock(ended.at, zone).date())).collect();
        // The day from before loses the task.
        let days: BTreeSet<NaiveDate> =
            on_days.iter().flat_map(|(ended, day)| [Some(*day), ended.counted_day]).flatten().collect();
        let tx = day::hold(db, tenant, &days).await?;
        let counted = store::count(&tx, tenant, &on_days).await?;
        for day in &days {
            rollup::sum_day(&tx, tenant, *day).await?;
        }
        tx.commit().await?;
        all += counted;
        if counted == 0 {
            // Others are at it, or each has ended once more meanwhile: the next look finds what is left.
            return Ok(all);
        }
    }
}
