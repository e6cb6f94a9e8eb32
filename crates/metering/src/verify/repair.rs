//! Sums made anew where they are wrong.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use tenantry_core::TenantId;
use tenantry_postgres::{DbError, MeterDb};

use super::{Difference, Table};
use crate::rollup::{Hour, Rollup, RollupSettings, day};
use crate::store::{rollup, verify as store};

pub(super) async fn repair(db: &MeterDb, differences: &[Difference]) -> Result<usize, DbError> {
    let hours: BTreeSet<Hour> = differences
        .iter()
        .filter_map(|wrong| Some(Hour { tenant: wrong.tenant_id, day: wrong.day, hour: wrong.hour? }))
        .collect();
    let by_day = |table: Table| -> BTreeSet<(TenantId, NaiveDate)> {
        differences.iter().filter(|wrong| wrong.table == table).map(|wrong| (wrong.tenant_id, wrong.day)).collect()
    };
    let (days, counters) = (by_day(Table::Daily), by_day(Table::Counters));
    let job = Rollup::new(db.clone(), RollupSettings::default());
    for hour in &hours {
        job.repair(hour).await?;
    }
    for (tenant, day) in &days {
        let tx = day::hold(db, *tenant, &BTreeSet::from([*day])).await?;
        rollup::sum_day(&tx, *tenant, *day).await?;
        tx.commit().await?;
    }
    for (tenant, day) in &counters {
        let tx = db.begin().await?;
        store::count_day(&tx, *tenant, *day).await?;
        tx.commit().await?;
    }
    Ok(hours.len() + days.len() + counters.len())
}
