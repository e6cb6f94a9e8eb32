use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use tenantry_postgres::DbError;

use super::Shipper;
use crate::call::Call;
use crate::spool::{Batch, Spool, SpoolError};
use crate::store;

/// A transaction that takes longer is given up: the connection may be dead without knowing.
const LIMIT: Duration = Duration::from_secs(60);

/// Why a round did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShipError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("the spool cannot be read: {0}")]
    Read(#[from] std::io::Error),
}

impl Shipper {
    /// Ships the next batch; whether there may be so many more.
    pub(super) async fn round(&self, spool: &Spool, least: u64) -> Result<bool, ShipError> {
        // On a full disk neither this nor what only makes room works at once, and shipping is what gives room.
        let reaped = spool.reap(self.settings.reap_after).await;
        let batch = spool.batch(self.settings.ship_batch).await?;
        if !batch.is_empty() {
            self.ship(spool, &batch).await?;
            if self.is_own(spool) {
                self.metering.budgets.shipped(&batch.calls);
            }
        }
        spool.acknowledge(&batch).await?;
        if self.is_own(spool) && spool.has_shipped_what_was_left() && !self.recovered.swap(true, Ordering::SeqCst) {
            self.metering.budgets.recovered();
        }
        reaped?;
        self.metering.shipping.good();
        Ok(spool.waiting() >= least && !batch.is_idle())
    }

    /// Whether this is what this server's calls come to, which its leases are for. Those of a server that is gone are left to expire.
    fn is_own(&self, spool: &Spool) -> bool {
        spool.id() == self.metering.spool.id()
    }

    /// Books a batch, without what the database refuses: that is kept beside.
    async fn ship(&self, spool: &Spool, batch: &Batch) -> Result<(), ShipError> {
        let calls = &batch.calls;
        let mut ranges: Vec<Range<usize>> = std::iter::once(0..calls.len()).collect();
        let mut refused = Vec::new();
        let mut without_month = HashSet::new();
        let mut looked = false;
        while let Some(range) = ranges.pop() {
            let places: Vec<usize> = range.clone().filter(|place| !without_month.contains(place)).collect();
            if places.is_empty() {
                continue;
            }
            match self.book(spool, calls, &range, &without_month).await {
                Ok(()) => {}
                Err(error) if is_missing_partition(&error) && !looked => {
                    looked = true;
                    without_month = self.without_month(calls).await?;
                    ranges.push(range);
                }
                Err(error) if is_for_what_it_is(&error) => {
                    if let [place] = places[..] {
                        refused.push((place, error.to_string()));
                        continue;
                    }
                    let middle = range.start + range.len() / 2;
                    ranges.extend([middle..range.end, range.start..middle]);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let missing = "there is no partition for its month: it is older than calls are kept, or its clock is ahead";
        refused.extend(without_month.into_iter().map(|place| (place, missing.to_owned())));
        for (place, reason) in &refused {
            let call = &calls[*place];
            tracing::error!(target: "tenantry::ship", id = %call.id, tenant = %call.tenant_id, reason, "a call cannot be booked: it is kept in `rejected.jsonl`");
            spool.reject(call, reason)?;
        }
        for (record, reason) in &batch.unreadable {
            tracing::error!(target: "tenantry::ship", reason, "a record is no call: it is kept in `rejected.jsonl`");
            spool.reject(record, reason)?;
        }
        Ok(())
    }

    /// One transaction. What else has to change together with the rows changes here.
    async fn book(
        &self,
        spool: &Spool,
        calls: &[Call],
        range: &Range<usize>,
        except: &HashSet<usize>,
    ) -> Result<(), DbError> {
        let begun = Instant::now();
        let some: Vec<Call>;
        let calls = if except.is_empty() {
            &calls[range.clone()]
        } else {
            some = range.clone().filter(|place| !except.contains(place)).map(|place| calls[place].clone()).collect();
            &some
        };
        let booked = async {
            let tx = self.db.begin().await?;
            let booked = store::book_batch(&tx, calls).await?;
            if self.is_own(spool) {
                let new: Vec<Call> = booked.new.iter().map(|place| calls[*place].clone()).collect();
                self.metering.budgets.in_shipment(&tx, &new).await?;
            }
            tx.commit().await?;
            Ok::<_, DbError>(booked)
        };
        let booked = tokio::time::timeout(LIMIT, booked)
            .await
            .map_err(|_| DbError::Unavailable(format!("a shipment took longer than {LIMIT:?}")))??;
        if !booked.purged.is_empty() {
            let tenants: BTreeSet<String> =
                booked.purged.iter().map(|place| calls[*place].tenant_id.to_string()).collect();
            tracing::warn!(target: "tenantry::ship", ?tenants, rows = booked.purged.len(), "calls of purged tenants are dropped");
        }
        self.metering.shipping.committed(&booked, calls.len(), begun.elapsed());
        Ok(())
    }

    /// Makes the months that calls are in, as far as they are ever made, and gives the calls that have none.
    async fn without_month(&self, calls: &[Call]) -> Result<HashSet<usize>, DbError> {
        let days: BTreeSet<NaiveDate> = calls.iter().map(|call| call.timestamp.date_naive()).collect();
        self.metering.partitions.ensure(&days.into_iter().collect::<Vec<_>>(), self.settings.retention()).await?;
        let months: BTreeSet<String> = calls.iter().map(month).collect();
        let tx = self.db.begin().await?;
        let missing = store::missing_months(&tx, &months.into_iter().collect::<Vec<_>>()).await?;
        tx.commit().await?;
        Ok(calls
            .iter()
            .enumerate()
            .filter(|(_, call)| missing.contains(&month(call)))
            .map(|(place, _)| place)
            .collect())
    }
}

fn month(call: &Call) -> String {
    call.timestamp.format("%Y_%m").to_string()
}

/// A row whose month has no table violates the check that each partition has.
fn is_missing_partition(error: &DbError) -> bool {
    error.sqlstate() == Some("23514") && error.constraint().is_none()
}

/// Whether another try with the same rows would fail again: they do not fit. Everything else is about the database, and passes.
fn is_for_what_it_is(error: &DbError) -> bool {
    match error.sqlstate() {
        Some(code) => code.starts_with("22") || code.starts_with("23"),
        // The driver, or we, could not even send it.
        None => matches!(error, DbError::Query(_) | DbError::Misuse(_)),
    }
}
