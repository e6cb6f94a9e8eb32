//! Who makes a day's sums.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use tenantry_core::TenantId;
use tenantry_postgres::{DbError, MeterDb, MeterTx};

use crate::store::rollup as store;

/// A transaction that alone makes the sums of a day; `None` when another one does.
pub(super) async fn try_hold(db: &MeterDb, tenant: TenantId, day: NaiveDate) -> Result<Option<MeterTx>, DbError> {
    loop {
        let tx = db.begin().await?;
        if store::try_hold_day(&tx, tenant, day).await? {
            return Ok(Some(tx));
        }
        let is_new = store::know_day(&tx, tenant, day).await?;
        tx.commit().await?;
        if !is_new {
            return Ok(None);
        }
    }
}

/// A transaction that alone makes the sums of these days, when those that do are done.
pub(crate) async fn hold(db: &MeterDb, tenant: TenantId, days: &BTreeSet<NaiveDate>) -> Result<MeterTx, DbError> {
    let tx = db.begin().await?;
    for day in days {
        store::know_day(&tx, tenant, *day).await?;
    }
    tx.commit().await?;
    let tx = db.begin().await?;
    for day in days {
        store::hold_day(&tx, tenant, *day).await?;
    }
    Ok(tx)
}
