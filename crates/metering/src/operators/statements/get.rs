use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use tenantry_control::Common;
use tenantry_http::{ApiPath, ApiQuery, OperatorScope, Problem, ProblemBody};
use utoipa::IntoParams;

use super::tenant;
use crate::Metering;
use crate::answers::{Format, statement};
use crate::statements::{Month, Statement, find};
use crate::store::Reader;

/// How a statement is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetTenantStatement {
    /// `json` or `csv`; what `Accept` asks for unless given.
    #[param(inline)]
    format: Option<Format>,
}

/// Reads a tenant's statement of a month, or a preview of it, as the tenant does.
#[utoipa::path(
    get,
    path = "/admin/v1/metering/statements/{slug}/{month}",
    operation_id = "get_tenant_statement",
    tag = "metering",
    params(
        ("slug" = String, Path, description = "the tenant's slug"),
        ("month" = String, Path, description = "the month, such as `2026-10`"),
        GetTenantStatement,
    ),
    responses(
        Common,
        (status = 200, description = "the statement", content((Statement = "application/json"), (String = "text/csv"))),
        (status = 404, description = "no such tenant, or the month has not begun", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_tenant_statement(
    _: OperatorScope,
    State(metering): State<Metering>,
    ApiPath((slug, month)): ApiPath<(String, Month)>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<GetTenantStatement>,
) -> Result<Response, Problem> {
    let tx = metering.db.snapshot().await?;
    let of = tenant(&tx, &slug).await?;
    let settings = &metering.settings.statements;
    let found = find(&mut Reader::Meter(&tx, of.party.id), &of.party, month, settings, metering.clock.now()).await?;
    tx.rollback().await?;
    statement(found, month, Format::wanted(query.format, &headers))
}
