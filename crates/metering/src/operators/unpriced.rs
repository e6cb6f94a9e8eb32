use axum::Json;
use axum::extract::State;
use chrono::TimeDelta;
use serde::Deserialize;
use tenantry_control::Common;
use tenantry_control::Page;
use tenantry_http::{ApiQuery, Limit, OperatorScope, Problem};
use utoipa::IntoParams;

use super::page;
use super::respond::invalid_query;
use crate::Metering;
use crate::reports::{LONGEST, UnpricedModel, unpriced};

/// Of how many days.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListUnpriced {
    /// 1 to 400 days up to now; 30 unless given.
    #[param(minimum = 1, maximum = 400)]
    days: Option<i64>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same other parameters.
    cursor: Option<String>,
}

/// Lists models whose calls have no price, so that their cost is unknown; most calls first. One that was priced since is not here.
#[utoipa::path(
    get,
    path = "/admin/v1/metering/unpriced",
    operation_id = "list_unpriced",
    tag = "metering",
    params(ListUnpriced),
    responses(Common, (status = 200, description = "a page of models", body = Page<UnpricedModel>)),
)]
pub(super) async fn list_unpriced(
    _: OperatorScope,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ListUnpriced>,
) -> Result<Json<Page<UnpricedModel>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = page::place("unpriced", query.cursor.as_deref())?;
    let days = query.days.unwrap_or(30);
    if !(1..=LONGEST).contains(&days) {
        return Err(invalid_query("days", &format!("must be 1 to {LONGEST}, is `{days}`")));
    }
    let since = metering.clock.now() - TimeDelta::days(days);
    let tx = metering.db.snapshot().await?;
    let rows = unpriced(&tx, since, after.as_ref(), limit.probe()).await?;
    tx.rollback().await?;
    Ok(Json(page::placed(rows, limit, "unpriced")))
}
