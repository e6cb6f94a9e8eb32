use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_control::Common;
use tenantry_control::Page;
use tenantry_http::{ApiQuery, Limit, OperatorScope, Problem};
use utoipa::IntoParams;

use crate::Metering;
use crate::bills::ProviderBill;
use crate::operators::page;
use crate::operators::respond::text;
use crate::store::bills as store;

const LIST: &str = "bills";

/// Which bills.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListBills {
    /// Only of this provider.
    provider: Option<String>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same other parameters.
    cursor: Option<String>,
}

/// Lists the bills of providers that were imported, the latest import first.
#[utoipa::path(
    get,
    path = "/admin/v1/metering/bills",
    operation_id = "list_bills",
    tag = "metering",
    params(ListBills),
    responses(Common, (status = 200, description = "a page of bills", body = Page<ProviderBill>)),
)]
pub(super) async fn list_bills(
    _: OperatorScope,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ListBills>,
) -> Result<Json<Page<ProviderBill>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let provider = text("provider", query.provider)?;
    let before = match page::decode::<1>(LIST, query.cursor.as_deref())? {
        Some([seq]) => Some(page::parse::<i64>(&seq)?),
        None => None,
    };
    let tx = metering.db.snapshot().await?;
    let rows = store::list(&tx, provider.as_deref(), before, limit.probe()).await?;
    tx.rollback().await?;
    Ok(Json(page::cut(rows, limit, |(seq, _)| page::encode(LIST, &[&seq.to_string()]), |(_, bill)| bill)))
}
