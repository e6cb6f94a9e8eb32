use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use utoipa::IntoParams;

use crate::Metering;
use crate::prices::{PriceFilter, PricePage, page};

/// Which prices, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListPrices {
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

/// Lists what the company pays: its own prices, the first that fits a call first, then those of the catalogue. A call costs what the first
/// of them says that its provider, account, model and time fit.
#[utoipa::path(
    get,
    path = "/v1/prices",
    operation_id = "list_prices",
    tag = "prices",
    params(ListPrices),
    responses(Common, (status = 200, description = "a page of prices", body = PricePage)),
)]
pub(super) async fn list_prices(
    TenantScope(context): TenantScope,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ListPrices>,
) -> Result<Json<PricePage>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let filter = PriceFilter { provider: query.provider, model: query.model };
    let at = query.at.unwrap_or_else(|| metering.clock.now());
    let prices = metering.prices.list_for(context.id(), &filter, at);
    Ok(Json(page(prices, query.cursor.as_deref(), limit)?))
}
