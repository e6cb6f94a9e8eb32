use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_control::Common;
use tenantry_control::Page;
use tenantry_http::{ApiQuery, Limit, OperatorScope, Problem};
use utoipa::IntoParams;

use super::page;
use super::respond::invalid_query;
use crate::Metering;
use crate::reports::{ProviderHealth, providers};

/// Of how many hours.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListProviders {
    /// 1 to 24 hours up to now; 1 unless given.
    #[param(minimum = 1, maximum = 24)]
    hours: Option<i32>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same other parameters.
    cursor: Option<String>,
}

/// Shows how providers answered lately: errors, refusals as too many, latency.
#[utoipa::path(
    get,
    path = "/admin/v1/metering/providers",
    operation_id = "list_provider_health",
    tag = "metering",
    params(ListProviders),
    responses(Common, (status = 200, description = "a page of providers", body = Page<ProviderHealth>)),
)]
pub(super) async fn list_provider_health(
    _: OperatorScope,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ListProviders>,
) -> Result<Json<Page<ProviderHealth>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = page::place("providers", query.cursor.as_deref())?;
    let hours = query.hours.unwrap_or(1);
    if !(1..=24).contains(&hours) {
        return Err(invalid_query("hours", &format!("must be 1 to 24, is `{hours}`")));
    }
    let tx = metering.db.snapshot().await?;
    let rows = providers(&tx, metering.clock.now(), hours, after.as_ref(), limit.probe()).await?;
    tx.rollback().await?;
    Ok(Json(page::placed(rows, limit, "providers")))
}
