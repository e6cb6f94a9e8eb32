use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::api::text_parameter;
use crate::credential::Credential;
use crate::store::credentials;
use crate::{Error, Fields, List, Page, Position};

/// Which credentials, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListCredentials {
    /// Only for exactly this service.
    service: Option<String>,
    /// Only these members of each credential, separated by commas.
    #[param(schema_with = crate::fields::parameter::<Credential>, required = false)]
    fields: Option<Fields<Credential>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

/// Lists credentials, newest first, without their values.
#[utoipa::path(
    get,
    path = "/v1/credentials",
    operation_id = "list_credentials",
    tag = "credentials",
    params(ListCredentials),
    responses(Common, (status = 200, description = "a page of credentials", body = Page<Credential>)),
)]
pub(super) async fn list_credentials(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListCredentials>,
) -> Result<Json<Page<Credential>>, Problem> {
    let service = text_parameter("service", query.service, 200)?;
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::Credentials)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    Ok(Json(credentials::list(&mut tx, service.as_deref(), after, limit).await?.only(query.fields)))
}
