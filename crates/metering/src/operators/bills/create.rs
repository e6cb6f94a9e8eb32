use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tenantry_control::{Caller, Common, Repeatable};
use tenantry_http::{ApiQuery, Problem, ProblemBody, codes as http};
use tenantry_postgres::Provisioner;
use utoipa::IntoParams;

use crate::bills::{BillError, BillFormat, Import, ProviderBill, import};
use crate::{Metering, codes};

/// Whose bill it is, and what the file looks like.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportBill {
    /// The provider, as the price catalogue calls it.
    #[param(example = "openai")]
    provider: String,
    /// `openai`, `anthropic` or `generic`; found out by the columns unless given.
    #[param(inline)]
    format: Option<BillFormat>,
    /// The account of lines that name none.
    account: Option<String>,
}

/// Imports a provider's bill from a CSV file: whole, or not at all. The same file again is answered with the bill that it was the first
/// time. Of several files that have the same day of an account the one imported last counts.
#[utoipa::path(
    post,
    path = "/admin/v1/metering/bills",
    operation_id = "import_bill",
    tag = "metering",
    params(ImportBill),
    request_body(content = String, content_type = "text/csv", description = "the file, in UTF-8 with titles in its first line",
        example = "day,account,model,amount_usd\n2026-10-01,,gpt-5,12.34\n"),
    responses(
        Common,
        (status = 200, description = "the same file was imported before", body = ProviderBill),
        (status = 201, description = "the new bill", body = ProviderBill),
        (status = 413, description = "the file is larger than the server accepts; `tenantry metering bill import` takes any",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the file is of no known format, or has lines that cannot be read; `errors` names them by their numbers",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn import_bill(
    Caller(actor): Caller,
    once: Repeatable,
    State(provisioner): State<Provisioner>,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ImportBill>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let bytes = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::of(&http::BODY_TOO_LARGE),
        _ => Problem::of(&http::UNREADABLE_BODY).detail("the body could not be read to its end"),
    })?;
    let file = Import {
        provider: &query.provider,
        format: query.format,
        account: query.account.as_deref().unwrap_or_default(),
        bytes: &bytes,
        by: &actor,
    };
    let importing = async {
        let imported = import(&metering.db, metering.clock.as_ref(), &file).await.map_err(problem)?;
        Ok::<_, Problem>((imported.repeated, imported.bill))
    };
    let (repeated, bill) = once.on(&provisioner).beside(importing).await?;
    let status = if repeated { StatusCode::OK } else { StatusCode::CREATED };
    Ok(once.answer((status, Json(bill)).into_response()))
}

fn problem(error: BillError) -> Problem {
    let text = error.to_string();
    match error {
        BillError::Refused(detail) => Problem::of(&codes::INVALID_BILL).detail(detail),
        BillError::Lines(lines) => lines
            .iter()
            .fold(Problem::of(&codes::INVALID_BILL), |problem, bad| {
                problem.pointer(&format!("/lines/{}", bad.line), &bad.detail)
            })
            .detail(text),
        BillError::Database(error) => error.into(),
    }
}
