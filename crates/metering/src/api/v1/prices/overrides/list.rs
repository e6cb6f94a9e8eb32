use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;
use workforce::{Fields, List, Page, Position};

use super::super::model::PriceOverride;
use crate::store::overrides;

/// Which overrides, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListPriceOverrides {
    /// Only for this provider.
    provider: Option<String>,
    /// Only these members of each override, separated by commas.
    #[param(schema_with = workforce::fields::parameter::<PriceOverride>, required = false)]
    fields: Option<Fields<PriceOverride>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

/// Lists the company's overrides, the newest first, those that are over included.
#[utoipa::path(
    get,
    path = "/v1/prices/overrides",
    operation_id = "list_price_overrides",
    tag = "prices",
    params(ListPriceOverrides),
    responses(Common, (status = 200, description = "a page of overrides", body = Page<PriceOverride>)),
)]
pub(super) async fn list_price_overrides(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListPriceOverrides>,
) -> Result<Json<Page<PriceOverride>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::PriceOverrides)).transpose()?;
    let provider = query.provider.as_deref().filter(|provider| !provider.contains('\0'));
    let mut tx = db.single(&context).await?;
    Ok(Json(overrides::list(&mut tx, provider, after.as_ref(), limit).await?.only(query.fields)))
}
