use axum::Json;
use axum::extract::State;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use tenantry_control::Common;
use tenantry_control::Page;
use tenantry_http::{ApiQuery, Limit, OperatorScope, Problem};
use utoipa::{IntoParams, ToSchema};

use super::page;
use super::respond::{period, text};
use crate::Metering;
use crate::reports::{ReconcileQuery, Reconciliation, reconcile};

const LIST: &str = "reconciliation";

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    /// All of a provider.
    Provider,
    /// Each account.
    Account,
}

/// What is compared, and of when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListReconciliation {
    /// The first day (UTC); the first of the last day's month unless given.
    #[param(example = "2026-10-01")]
    from: Option<NaiveDate>,
    /// The last day (UTC); today unless given.
    #[param(example = "2026-10-31")]
    to: Option<NaiveDate>,
    /// Only of this provider.
    provider: Option<String>,
    /// `provider` unless given, or `account`: what the bill calls an account is compared with ids of provider accounts.
    #[param(inline)]
    by: Option<By>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same other parameters.
    cursor: Option<String>,
}

/// Compares what was captured with what providers bill, day by day, the latest first.
#[utoipa::path(
    get,
    path = "/admin/v1/metering/reconciliation",
    operation_id = "list_reconciliation",
    tag = "metering",
    params(ListReconciliation),
    responses(Common, (status = 200, description = "a page of days", body = Page<Reconciliation>)),
)]
pub(super) async fn list_reconciliation(
    _: OperatorScope,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ListReconciliation>,
) -> Result<Json<Page<Reconciliation>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let place: Option<[String; 3]> = page::decode(LIST, query.cursor.as_deref())?;
    let after = match &place {
        Some([day, provider, account]) => Some((page::parse::<NaiveDate>(day)?, provider.as_str(), account.as_str())),
        None => None,
    };
    let which = ReconcileQuery {
        period: period(query.from, query.to, metering.clock.now())?,
        provider: text("provider", query.provider)?,
        by_account: query.by == Some(By::Account),
    };
    let tx = metering.db.snapshot().await?;
    let rows = reconcile(&tx, &metering.settings.reports, &which, after, limit.probe()).await?;
    tx.rollback().await?;
    let cursor = |row: &Reconciliation| {
        let account = row.account.as_deref().unwrap_or_default();
        page::encode(LIST, &[&row.day.to_string(), &row.provider, account])
    };
    Ok(Json(page::cut(rows, limit, cursor, |row| row)))
}
