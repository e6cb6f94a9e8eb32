use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use super::party;
use crate::Metering;
use crate::answers::{Format, statement};
use crate::statements::{Month, Statement, find};
use crate::store::Reader;

/// How a statement is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetStatement {
    /// `json` or `csv`; what `Accept` asks for unless given.
    #[param(inline)]
    format: Option<Format>,
}

/// Reads the statement of a month: what its calls cost, and corrections of earlier months. `status` tells whether it is closed and
/// final or a preview. As CSV it has a row for each line.
#[utoipa::path(
    get,
    path = "/v1/statements/{month}",
    operation_id = "get_statement",
    tag = "statements",
    params(
        ("month" = String, Path, description = "the month, such as `2026-10`"),
        GetStatement,
    ),
    responses(
        Common,
        (status = 200, description = "the statement", content(
            (Statement = "application/json"),
            (String = "text/csv", example = json!("month,status,number,line,kind,for_month,provider,model,calls,unpriced_calls,estimated_calls,unsettled_calls,\
                tokens_input,tokens_output,cost_usd,amount_usd\r\n2026-10,closed,7,1,usage,2026-10,openai,gpt-5,12,0,0,0,51200,6400,1.25,1.25\r\n")),
        )),
        (status = 404, description = "the month has not begun", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_statement(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiPath(month): ApiPath<Month>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<GetStatement>,
) -> Result<Response, Problem> {
    let party = party(&context);
    let mut tx = db.read_only(&context).await?;
    let settings = &metering.settings.statements;
    let found = find(&mut Reader::Tenant(&mut tx), &party, month, settings, metering.clock.now()).await?;
    statement(found, month, Format::wanted(query.format, &headers))
}
