use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_core::Slug;
use tenantry_http::{ApiQuery, OperatorScope, Problem};
use tenantry_postgres::{Provisioner, TenantFilter};
use utoipa::IntoParams;

use crate::api::respond::Common;
use crate::model::{Status, Tenant};
use crate::page::{Limit, List, Page, invalid_query};

/// Which tenants, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListTenants {
    /// Only with this status.
    #[param(inline)]
    status: Option<Status>,
    /// Only on this plan.
    plan_tier: Option<String>,
    /// Only slugs that begin so.
    prefix: Option<String>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

/// Lists tenants in the order of their slugs, deleted ones too.
#[utoipa::path(
    get,
    path = "/admin/v1/tenants",
    operation_id = "list_tenants",
    tag = "tenants",
    params(ListTenants),
    responses(Common, (status = 200, description = "a page of tenants", body = Page<Tenant>)),
)]
pub(super) async fn list_tenants(
    _: OperatorScope,
    State(provisioner): State<Provisioner>,
    ApiQuery(query): ApiQuery<ListTenants>,
) -> Result<Json<Page<Tenant>>, Problem> {
    let word = |text: &String| text.len() <= 63 && !text.chars().any(char::is_control);
    for (name, value) in [("plan_tier", &query.plan_tier), ("prefix", &query.prefix)] {
        if value.as_ref().is_some_and(|text| !word(text)) {
            return Err(invalid_query(name, "must have at most 63 bytes and no control characters"));
        }
    }
    let limit = Limit::from_query(query.limit)?;
    let after: Option<Slug> = List::Tenants.decode::<Cursor>("cursor", query.cursor.as_deref())?.map(|c| c.0);
    let filter = TenantFilter {
        status: query.status.map(Into::into),
        plan_tier: query.plan_tier,
        prefix: query.prefix,
        after: after.map(Into::into),
        limit: limit.probe(),
    };
    let rows = provisioner.list(&filter).await?;
    Ok(Json(Page::cut(rows, limit, List::Tenants, |row| row.slug.as_str().to_owned())))
}

/// A cursor may stand on a label that was reserved after it was given away.
struct Cursor(Slug);

impl std::str::FromStr for Cursor {
    type Err = tenantry_core::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Slug::from_registry(text).map(Self)
    }
}
