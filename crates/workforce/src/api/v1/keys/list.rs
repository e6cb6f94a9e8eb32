use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_core::ApiKeyId;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::Registry;
use utoipa::IntoParams;

use super::model::ApiKey;
use crate::{Fields, List, Page, Position};

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListApiKeys {
    /// Only these members of each key, separated by commas.
    #[param(schema_with = crate::fields::parameter::<ApiKey>, required = false)]
    fields: Option<Fields<ApiKey>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists API keys, revoked ones too, the latest first.
#[utoipa::path(
    get,
    path = "/v1/keys",
    operation_id = "list_api_keys",
    tag = "keys",
    params(ListApiKeys),
    responses(Common, (status = 200, description = "a page of keys", body = Page<ApiKey>)),
)]
pub(super) async fn list_api_keys(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    ApiQuery(query): ApiQuery<ListApiKeys>,
) -> Result<Json<Page<ApiKey>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::Keys)).transpose()?;
    let after = after.map(|position| ApiKeyId::from_uuid(position.id));
    let keys = registry.keys(&context, after, limit.probe()).await?;
    let keys: Vec<ApiKey> = keys.into_iter().map(ApiKey::from).collect();
    Ok(Json(Page::cut(keys, limit, List::Keys, ApiKey::position).only(query.fields)))
}
