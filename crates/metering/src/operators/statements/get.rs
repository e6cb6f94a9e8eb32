use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use tenantry_control::{Caller, Common};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody};
use tenantry_postgres::Provisioner;
use utoipa::IntoParams;

use super::{reason, tenant};
use crate::Metering;
use crate::answers::{Format, statement};
use crate::statements::{Month, Statement, find};
use crate::store::Reader;

/// How a statement is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetTenantStatement {
    /// Why, in 10 to 500 characters. The tenant finds it in its audit trail.
    #[param(value_type = String, required = true, min_length = 10, max_length = 500, example = "ticket 4711: the sum of October")]
    reason: Option<String>,
    /// `json` or `csv`; what `Accept` asks for unless given.
    #[param(inline)]
    format: Option<Format>,
}

/// Reads a tenant's statement of a month, or a preview of it, as the tenant does. The event `operator.read` with the reason is in the tenant's
/// audit trail before the answer is given.
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
        (status = 200, description = "the statement", content(
            (Statement = "application/json"),
            (String = "text/csv", example = json!("month,status,number,line,kind,for_month,provider,model,calls,unpriced_calls,estimated_calls,unsettled_calls,\
                tokens_input,tokens_output,cost_usd,amount_usd\r\n2026-10,closed,7,1,usage,2026-10,openai,gpt-5,12,0,0,0,51200,6400,1.25,1.25\r\n")),
        )),
        (status = 404, description = "no such tenant, or the month has not begun", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_tenant_statement(
    Caller(actor): Caller,
    State(metering): State<Metering>,
    State(provisioner): State<Provisioner>,
    ApiPath((slug, month)): ApiPath<(String, Month)>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<GetTenantStatement>,
) -> Result<Response, Problem> {
    let reason = reason(query.reason)?;
    let tx = metering.db.snapshot().await?;
    let of = tenant(&tx, &slug).await?;
    let settings = &metering.settings.statements;
    let found = find(&mut Reader::Meter(&tx, of.party.id), &of.party, month, settings, metering.clock.now()).await?;
    tx.rollback().await?;
    provisioner.note_read(&slug, &format!("statement/{month}"), &reason, &actor).await?;
    statement(found, month, Format::wanted(query.format, &headers))
}
