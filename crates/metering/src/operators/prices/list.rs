use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_control::Common;
use tenantry_http::{ApiQuery, Limit, OperatorScope, Problem};
use utoipa::IntoParams;

use crate::Metering;
use crate::prices::{PriceFilter, PricePage, page};

/// Which prices, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListCatalogue {
    /// Only of this provider.
    provider: Option<String>,
    /// Only of models with a name that begins so.
    model: Option<String>,
    /// The prices of this moment; of now unless given.
    at: Option<DateTime<Utc>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

/// Lists the catalogue that counts: the one in the program under the one that was loaded.
#[utoipa::path(
    get,
    path = "/admin/v1/prices",
    operation_id = "list_catalogue",
    tag = "prices",
    params(ListCatalogue),
    responses(Common, (status = 200, description = "a page of prices", body = PricePage)),
)]
pub(super) async fn list_catalogue(
    _: OperatorScope,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ListCatalogue>,
) -> Result<Json<PricePage>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let filter = PriceFilter { provider: query.provider, model: query.model };
    let at = query.at.unwrap_or_else(|| metering.clock.now());
    Ok(Json(page(metering.prices.list(&filter, at), query.cursor.as_deref(), limit)?))
}
