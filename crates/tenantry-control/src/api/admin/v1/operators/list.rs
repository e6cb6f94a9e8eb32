use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::{ApiQuery, OperatorScope, Problem};
use tenantry_postgres::Provisioner;
use utoipa::IntoParams;

use crate::api::respond::Common;
use crate::model::Operator;
use crate::page::{Limit, List, Page};

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListOperators {
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists operators' tokens, revoked ones too, newest first.
#[utoipa::path(
    get,
    path = "/admin/v1/operators",
    operation_id = "list_operators",
    tag = "operators",
    params(ListOperators),
    responses(Common, (status = 200, description = "a page of operators", body = Page<Operator>)),
)]
pub(super) async fn list_operators(
    _: OperatorScope,
    State(provisioner): State<Provisioner>,
    ApiQuery(query): ApiQuery<ListOperators>,
) -> Result<Json<Page<Operator>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = List::Operators.decode("cursor", query.cursor.as_deref())?;
    let operators = provisioner.operators(after, limit.probe()).await?;
    Ok(Json(Page::cut(operators, limit, List::Operators, |operator| operator.id.to_string())))
}
