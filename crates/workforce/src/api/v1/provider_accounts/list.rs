use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::account::{AccountFilter, AccountStatus, ProviderAccount};
use crate::api::text_parameter;
use crate::store::accounts;
use crate::{Error, Fields, List, Page, Position};

/// Which accounts, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListProviderAccounts {
    /// Only with this status.
    #[param(inline)]
    status: Option<AccountStatus>,
    /// Only of this provider.
    provider: Option<String>,
    /// Only with exactly this owner.
    owner_key: Option<String>,
    /// Only these members of each account, separated by commas.
    #[param(schema_with = crate::fields::parameter::<ProviderAccount>, required = false)]
    fields: Option<Fields<ProviderAccount>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

/// Lists provider accounts, newest first, without their secrets.
#[utoipa::path(
    get,
    path = "/v1/provider-accounts",
    operation_id = "list_provider_accounts",
    tag = "provider accounts",
    params(ListProviderAccounts),
    responses(Common, (status = 200, description = "a page of accounts", body = Page<ProviderAccount>)),
)]
pub(super) async fn list_provider_accounts(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListProviderAccounts>,
) -> Result<Json<Page<ProviderAccount>>, Problem> {
    let filter = AccountFilter {
        status: query.status,
        provider: text_parameter("provider", query.provider, 63)?,
        owner_key: text_parameter("owner_key", query.owner_key, 200)?,
    };
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::ProviderAccounts)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    Ok(Json(accounts::list(&mut tx, &filter, after, limit).await?.only(query.fields)))
}
