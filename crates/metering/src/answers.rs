//! Answers that both planes give.

use axum::Json;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tenantry_http::Problem;
use utoipa::ToSchema;

use crate::codes;
use crate::statements::{Month, Statement, to_csv};

/// What an answer is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// One JSON object.
    Json,
    /// A table for spreadsheets.
    Csv,
}

impl Format {
    /// What a request asks for, by its query or else by what it accepts.
    pub(crate) fn wanted(given: Option<Self>, headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut kinds = accepted.flat_map(|value| value.split(',')).filter_map(|kind| kind.split(';').next());
        let accepted =
            if kinds.any(|kind| kind.trim().eq_ignore_ascii_case("text/csv")) { Self::Csv } else { Self::Json };
        given.unwrap_or(accepted)
    }
}

/// A statement, if there is one.
pub(crate) fn statement(found: Option<Statement>, month: Month, format: Format) -> Result<Response, Problem> {
    let Some(statement) = found else {
        let detail = format!("the month `{month}` has not begun");
        return Err(Problem::of(&codes::STATEMENT_NOT_FOUND).detail(detail));
    };
    if format == Format::Json {
        return Ok(Json(statement).into_response());
    }
    let csv = to_csv(&statement).map_err(|error| {
        tracing::error!(target: "tenantry::metering", %error, "a statement cannot be written as CSV");
        Problem::of(&tenantry_http::codes::INTERNAL_ERROR)
    })?;
    let disposition = format!("attachment; filename=\"statement-{month}.csv\"");
    let headers =
        [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, csv).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_counts_more_than_the_header() {
        let accepting = |kinds: &'static str| HeaderMap::from_iter([(header::ACCEPT, kinds.parse().unwrap())]);
        assert_eq!(Format::wanted(None, &HeaderMap::new()), Format::Json);
        assert_eq!(Format::wanted(None, &accepting("text/html, Text/CSV;q=0.9")), Format::Csv);
        assert_eq!(Format::wanted(Some(Format::Json), &accepting("text/csv")), Format::Json);
        assert_eq!(Format::wanted(Some(Format::Csv), &accepting("*/*")), Format::Csv);
    }
}
