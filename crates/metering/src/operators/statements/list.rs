use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_control::Common;
use tenantry_control::Page;
use tenantry_http::{ApiPath, ApiQuery, Limit, OperatorScope, Problem, ProblemBody};
use utoipa::IntoParams;

use super::tenant;
use crate::Metering;
use crate::operators::page;
use crate::statements::{Month, StatementSummary, list};
use crate::store::Reader;

const LIST: &str = "statements";

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListTenantStatements {
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists the closed statements of a tenant, the latest first.
#[utoipa::path(
    get,
    path = "/admin/v1/metering/statements/{slug}",
    operation_id = "list_tenant_statements",
    tag = "metering",
    params(("slug" = String, Path, description = "the tenant's slug"), ListTenantStatements),
    responses(
        Common,
        (status = 200, description = "a page of statements, without their lines", body = inline(Page<StatementSummary>)),
        (status = 404, description = "no such tenant", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list_tenant_statements(
    _: OperatorScope,
    State(metering): State<Metering>,
    ApiPath(slug): ApiPath<String>,
    ApiQuery(query): ApiQuery<ListTenantStatements>,
) -> Result<Json<Page<StatementSummary>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let before = match page::decode::<1>(LIST, query.cursor.as_deref())? {
        Some([month]) => Some(page::parse::<Month>(&month)?),
        None => None,
    };
    let tx = metering.db.snapshot().await?;
    let of = tenant(&tx, &slug).await?;
    let rows = list(&mut Reader::Meter(&tx, of.party.id), before, limit.probe()).await?;
    tx.rollback().await?;
    let cursor = |row: &StatementSummary| page::encode(LIST, &[&row.month.to_string()]);
    Ok(Json(page::cut(rows, limit, cursor, |row| row)))
}
