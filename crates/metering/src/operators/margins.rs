use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tenantry_control::Common;
use tenantry_control::Page;
use tenantry_core::calendar::Tz;
use tenantry_http::{ApiQuery, Limit, OperatorScope, Problem};
use utoipa::{IntoParams, ToSchema};

use super::page;
use crate::Metering;
use crate::reports::{MarginQuery, PlanMargin, margins};
use crate::statements::Month;

/// What is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    /// The tenants of a plan.
    Plan,
    /// Nothing: each tenant by itself.
    Tenant,
}

/// Of when, and by what.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListMargins {
    /// The month; the running one unless given.
    #[param(value_type = Option<String>, example = "2026-10")]
    month: Option<Month>,
    /// `plan` unless given, or `tenant`.
    #[param(inline)]
    by: Option<By>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same other parameters.
    cursor: Option<String>,
}

/// Shows what plans or tenants pay by the prices of the settings and what they cost, the least margin first.
#[utoipa::path(
    get,
    path = "/admin/v1/metering/margins",
    operation_id = "list_margins",
    tag = "metering",
    params(ListMargins),
    responses(Common, (status = 200, description = "a page of margins", body = Page<PlanMargin>)),
)]
pub(super) async fn list_margins(
    _: OperatorScope,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ListMargins>,
) -> Result<Json<Page<PlanMargin>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = page::place("margins", query.cursor.as_deref())?;
    let month = query.month.unwrap_or_else(|| Month::of(metering.clock.now(), Tz::UTC));
    let which = MarginQuery { month, by_tenant: query.by == Some(By::Tenant) };
    let tx = metering.db.snapshot().await?;
    let rows = margins(&tx, &metering.settings.reports, which, after.as_ref(), limit.probe()).await?;
    tx.rollback().await?;
    Ok(Json(page::placed(rows, limit, "margins")))
}
