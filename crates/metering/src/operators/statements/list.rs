use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_control::{Caller, Common, Page};
use tenantry_http::{ApiPath, ApiQuery, Limit, Problem, ProblemBody};
use tenantry_postgres::Provisioner;
use utoipa::IntoParams;

use super::{reason, tenant};
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
    /// Why, in 10 to 500 characters. The tenant finds it in its audit trail.
    #[param(value_type = String, required = true, min_length = 10, max_length = 500, example = "ticket 4711: the sum of October")]
    reason: Option<String>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists the closed statements of a tenant, the latest first. The event `operator.read` with the reason is in the tenant's audit trail before
/// the answer is given.
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
    Caller(actor): Caller,
    State(metering): State<Metering>,
    State(provisioner): State<Provisioner>,
    ApiPath(slug): ApiPath<String>,
    ApiQuery(query): ApiQuery<ListTenantStatements>,
) -> Result<Json<Page<StatementSummary>>, Problem> {
    let reason = reason(query.reason)?;
    let limit = Limit::from_query(query.limit)?;
    let before = match page::decode::<1>(LIST, query.cursor.as_deref())? {
        Some([month]) => Some(page::parse::<Month>(&month)?),
        None => None,
    };
    let tx = metering.db.snapshot().await?;
    let of = tenant(&tx, &slug).await?;
    let rows = list(&mut Reader::Meter(&tx, of.party.id), before, limit.probe()).await?;
    tx.rollback().await?;
    provisioner.note_read(&slug, "statements", &reason, &actor).await?;
    let cursor = |row: &StatementSummary| page::encode(LIST, &[&row.month.to_string()]);
    Ok(Json(page::cut(rows, limit, cursor, |row| row)))
}
