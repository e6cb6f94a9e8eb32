use axum::Json;
use axum::extract::State;
use chrono::NaiveTime;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;
use uuid::Uuid;
use workforce::{List, Page, Position};

use crate::statements::{Month, StatementSummary, list};
use crate::store::Reader;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListStatements {
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists the closed statements, the latest first. Of a month that is not closed `GET /v1/statements/{month}` gives a preview.
#[utoipa::path(
    get,
    path = "/v1/statements",
    operation_id = "list_statements",
    tag = "statements",
    params(ListStatements),
    responses(Common, (status = 200, description = "a page of statements, without their lines", body = Page<StatementSummary>)),
)]
pub(super) async fn list_statements(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListStatements>,
) -> Result<Json<Page<StatementSummary>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let place = query.cursor.as_deref().map(|text| Position::decode(text, List::Statements)).transpose()?;
    let before = place.map(|place| Month::of_day(place.created_at.date_naive()));
    let mut tx = db.single(&context).await?;
    let rows = list(&mut Reader::Tenant(&mut tx), before, limit.probe()).await?;
    Ok(Json(Page::cut(rows, limit, List::Statements, |statement| Position {
        created_at: statement.month.first_day().and_time(NaiveTime::MIN).and_utc(),
        id: Uuid::nil(),
    })))
}
