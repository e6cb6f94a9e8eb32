use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tenantry_control::Common;
use tenantry_control::Page;
use tenantry_http::{ApiQuery, Limit, OperatorScope, Problem};
use utoipa::{IntoParams, ToSchema};

use crate::Metering;
use crate::reports::{BurnRate, burn};

/// Who is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    /// Tenants.
    Tenant,
    /// Agents of tenants.
    Agent,
}

/// Which minutes decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) enum Window {
    /// The last five.
    #[serde(rename = "5")]
    Five,
    /// The last sixty.
    #[serde(rename = "60")]
    Sixty,
}

/// Who is shown, and in what order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListBurn {
    /// `tenant` unless given, or `agent`.
    #[param(inline)]
    by: Option<By>,
    /// The minutes that the order goes by: `5` unless given, or `60`.
    #[param(inline)]
    minutes: Option<Window>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
}

/// Shows who spends most per minute now. It is a ranking and has one page: the next one would be of another moment.
#[utoipa::path(
    get,
    path = "/admin/v1/metering/burn",
    operation_id = "list_burn",
    tag = "metering",
    params(ListBurn),
    responses(Common, (status = 200, description = "those that spend most", body = Page<BurnRate>)),
)]
pub(super) async fn list_burn(
    _: OperatorScope,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ListBurn>,
) -> Result<Json<Page<BurnRate>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let (by_agent, of_an_hour) = (query.by == Some(By::Agent), query.minutes == Some(Window::Sixty));
    let tx = metering.db.snapshot().await?;
    let data = burn(&tx, metering.clock.now(), by_agent, of_an_hour, limit.probe() - 1).await?;
    tx.rollback().await?;
    Ok(Json(Page { data, next_cursor: None }))
}
