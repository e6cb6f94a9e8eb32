//! What has to be told is noticed after calls were shipped, when limits change, and now and then; each thing once, by a unique key.

use std::sync::Arc;

use chrono::NaiveDate;
use tenantry_postgres::DbError;

use super::admit::Inner;
use super::tenant::{Key, Tenant};
use crate::store::notices;

/// Periods looked at in one statement.
const BATCH: usize = 1000;

/// Writes down which thresholds are reached and which budgets have refused calls.
pub(super) async fn notice(inner: &Arc<Inner>) -> Result<(), DbError> {
    let mut touched: Vec<(Arc<Tenant>, Key, NaiveDate)> = Vec::new();
    let mut refusals: Vec<(Arc<Tenant>, Key, NaiveDate)> = Vec::new();
    for tenant in inner.all() {
        let [keys, refused] = tenant.state().news();
        touched.extend(keys.into_iter().map(|(key, end)| (Arc::clone(&tenant), key, end)));
        refusals.extend(refused.into_iter().map(|(key, end)| (Arc::clone(&tenant), key, end)));
    }
    let now = inner.clock.now();
    let mut outcome = Ok(());
    for (batch, refused) in [(&touched, false), (&refusals, true)] {
        for part in batch.chunks(BATCH) {
            let periods: Vec<(Key, NaiveDate)> = part.iter().map(|(_, key, end)| (*key, *end)).collect();
            if outcome.is_ok() {
                outcome = notices::notice(&inner.looking, &periods, refused, now).await;
            }
            if outcome.is_err() {
                for (tenant, key, _) in part {
                    tenant.state().touch(*key, refused);
                }
            }
        }
    }
    outcome
}
