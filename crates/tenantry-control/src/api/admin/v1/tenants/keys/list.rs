use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::{ApiPath, ApiQuery, OperatorScope, Problem};
use tenantry_postgres::Provisioner;
use utoipa::IntoParams;

use crate::api::respond::{Common, OfTenant};
use crate::api::slug::PathSlug;
use crate::model::Key;
use crate::page::{Limit, List, Page};

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListKeys {
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists a tenant's API keys, revoked ones too, newest first.
#[utoipa::path(
    get,
    path = "/admin/v1/tenants/{slug}/keys",
    operation_id = "list_keys",
    tag = "keys",
    params(("slug" = String, Path, description = "the tenant's slug"), ListKeys),
    responses(Common, OfTenant, (status = 200, description = "a page of keys", body = Page<Key>)),
)]
pub(super) async fn list_keys(
    _: OperatorScope,
    State(provisioner): State<Provisioner>,
    ApiPath(slug): ApiPath<PathSlug>,
    ApiQuery(query): ApiQuery<ListKeys>,
) -> Result<Json<Page<Key>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = List::Keys.decode("cursor", query.cursor.as_deref())?;
    let keys = provisioner.keys_after(slug.as_str(), after, limit.probe()).await?;
    Ok(Json(Page::cut(keys, limit, List::Keys, |key| key.id.to_string())))
}
