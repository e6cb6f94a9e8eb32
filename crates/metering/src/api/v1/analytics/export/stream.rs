//! An export is made page by page, as it is read.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use chrono::NaiveDate;
use futures_util::stream::{StreamExt as _, once, unfold};
use tenantry_core::TenantId;
use tenantry_postgres::{DbError, TenantContext, TenantTx};

use super::focus::Account;
use super::{Format, Lines, csv, focus};
use crate::insight::{Period, after};
use crate::store::analytics::calls::{self, After};
use crate::store::analytics::{Scope, sums};

/// Whose exports are on their way. Each holds a connection for as long as its reader takes, and a tenant has few.
#[derive(Debug, Clone, Default)]
pub(in crate::api::v1::analytics) struct Exports(Arc<Mutex<HashSet<TenantId>>>);

/// An export that is on its way.
#[derive(Debug)]
pub(super) struct Running {
    exports: Exports,
    tenant: TenantId,
}

impl Exports {
    /// Begins one, unless the tenant has one already.
    pub(super) fn begin(&self, tenant: TenantId) -> Option<Running> {
        let new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant);
        new.then(|| Running { exports: self.clone(), tenant })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.exports.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.tenant);
    }
}

/// Where an export is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Calls(After),
    Day(NaiveDate),
    End,
}

/// The rows of an export that are still to come.
#[derive(Debug)]
pub(super) struct Rows {
    tx: TenantTx,
    _running: Running,
    account: Account,
    scope: Scope,
    format: Format,
    place: Place,
    begun: bool,
}

impl Rows {
    pub(super) fn new(
        tx: TenantTx,
        running: Running,
        context: &TenantContext,
        scope: Scope,
        format: Format,
        lines: Lines,
    ) -> Self {
        let place = match lines {
            Lines::Calls => Place::Calls(calls::START),
            Lines::Days => Place::Day(scope.period.from()),
        };
        let account =
            Account { id: context.id().to_string(), name: context.slug().to_string(), zone: scope.period.zone() };
        Self { tx, _running: running, account, scope, format, place, begun: false }
    }

    /// Reads the first page, so that a refusal of the database is an answer of its own, and gives the body of all.
    pub(super) async fn first_page(mut self) -> Result<Body, DbError> {
        let first = self.next().await?.unwrap_or_default();
        let rest = unfold(Some(self), |rows| async move {
            let mut rows = rows?;
            match rows.next().await {
                Ok(Some(page)) => Some((Ok(page), Some(rows))),
                Ok(None) => None,
                Err(error) => {
                    tracing::warn!(%error, "an export broke off");
                    Some((Err(error), None))
                }
            }
        });
        let first = once(async move { Ok::<_, DbError>(first) });
        // Whoever compresses asks once more after the end.
        Ok(Body::from_stream(first.chain(rest).fuse()))
    }

    /// The next page as it is sent; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, DbError> {
        let names = !std::mem::replace(&mut self.begun, true);
        let page = match self.place {
            Place::End => return Ok(None),
            Place::Calls(after) => {
                let page = calls::page(&mut self.tx, &self.scope, after).await?;
                self.place = match page.last() {
                    Some(last) if page.len() == calls::PAGE => Place::Calls((last.timestamp, last.id)),
                    _ => Place::End,
                };
                match self.format {
                    Format::Csv => csv::calls(&page, names),
                    Format::Jsonl => csv::json_lines(&page),
                    Format::Focus => focus::calls(&page, &self.account, names),
                }
            }
            Place::Day(day) => {
                let scope = self.scope.in_period(Period::between(day, day, self.scope.period.zone()));
                let lines = sums::lines(&mut self.tx, &scope).await?;
                self.place = if day < self.scope.period.to() { Place::Day(after(day, 1)) } else { Place::End };
                match self.format {
                    Format::Csv => csv::lines(&lines, names),
                    Format::Jsonl => csv::json_lines(&lines),
                    Format::Focus => focus::lines(&lines, &self.account, names),
                }
            }
        };
        Ok(Some(page.into()))
    }
}
