mod csv;
mod focus;
mod stream;

use axum::Extension;
use axum::extract::{FromRef, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workforce::text_enum;

use super::query::question;
use crate::store::analytics;
use crate::{Metering, codes};
use stream::{Exports, Rows};

const DATA_AS_OF: HeaderName = HeaderName::from_static("x-data-as-of");
const PENDING_HOURS: HeaderName = HeaderName::from_static("x-pending-hours");

text_enum! {
    /// What an export looks like.
    pub enum Format("format") {
        /// Comma-separated values with a line of names (RFC 4180).
        Csv = "csv",
        /// A JSON object a line.
        Jsonl = "jsonl",
        /// Comma-separated values with the columns of FOCUS 1.2, the FinOps Foundation's specification of cost and usage data.
        Focus = "focus",
    }
}

text_enum! {
    /// What the lines of an export are.
    pub enum Lines("kind of line") {
        /// Calls and adjustments, one a line.
        Calls = "calls",
        /// Sums of a day for one of each provider, model, operation, agent, key, account and kind of work.
        Days = "days",
    }
}

question! {
    /// Which calls, and how they are written.
    ExportQuery {
        /// What it looks like; `csv` unless given.
        #[param(inline)]
        format: Option<Format>,
        /// What its lines are; `calls` unless given.
        #[param(inline)]
        rows: Option<Lines>,
    }
}

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Metering: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(export_calls)).layer(Extension(Exports::default()))
}

/// Exports calls, or their sums by day. The answer is a stream: it is made while it is read, from one moment's state of the database, so its
/// lines add up to what the other questions answer at that moment. A connection that breaks off before the end is an export that has failed.
///
/// Texts that a spreadsheet would take for a formula begin with an apostrophe in comma-separated values. A cost that nobody knows is empty.
#[utoipa::path(
    get,
    path = "/v1/analytics/export",
    operation_id = "export_calls",
    tag = "analytics",
    params(ExportQuery),
    responses(
        Common,
        (status = 200, description = "the lines", headers(
            ("Content-Disposition" = String, description = "an attachment with a name made of the tenant and the period"),
            ("X-Data-As-Of" = String, description = "when the newest call of the tenant was recorded, if there is one"),
            ("X-Pending-Hours" = i64, description = "hours of the period whose sums are older than their calls; of no matter for `rows=calls`"),
        ), content(
            (String = "text/csv", example = json!("day,provider,model,operation,agent_id,api_key_id,provider_account_id,task_type,calls,…\r\n\
                2026-10-31,openai,gpt-5,chat.completions,,,,support,12,…\r\n")),
            (String = "application/x-ndjson", example = json!("{\"day\":\"2026-10-31\",\"provider\":\"openai\",\"model\":\"gpt-5\",\"calls\":12}\n")),
        )),
    ),
)]
pub(super) async fn export_calls(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    Extension(exports): Extension<Exports>,
    ApiQuery(query): ApiQuery<ExportQuery>,
) -> Result<Response, Problem> {
    let (scope, _) = query.scope(&context, &metering)?;
    let (format, lines) = (query.format.unwrap_or(Format::Csv), query.rows.unwrap_or(Lines::Calls));
    let running = exports.begin(context.id()).ok_or_else(|| {
        Problem::of(&codes::EXPORT_RUNNING).detail("the tenant has an export on its way from this server already")
    })?;
    let mut tx = db.snapshot(&context).await?;
    let fresh = analytics::freshness(&mut tx, &scope.period).await?;
    let (from, to) = (scope.period.from(), scope.period.to());
    let (extension, media) = match format {
        Format::Csv => ("csv", "text/csv; charset=utf-8"),
        Format::Focus => ("focus.csv", "text/csv; charset=utf-8"),
        Format::Jsonl => ("jsonl", "application/x-ndjson"),
    };
    let name = format!("{}-{lines}-{from}-{to}.{extension}", context.slug());
    let rows = Rows::new(tx, running, &context, scope, format, lines);
    let mut response = rows.first_page().await?.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    let told = [
        (header::CONTENT_DISPOSITION, Some(format!("attachment; filename=\"{name}\""))),
        (DATA_AS_OF, fresh.data_as_of.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))),
        (PENDING_HOURS, Some(fresh.pending_hours.to_string())),
    ];
    for (name, text) in told {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}
