use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, ApiQuery, Limit, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use super::Sides;
use crate::api::finish;
use crate::message::Message;
use crate::store::threads;
use crate::{Error, Fields, List, Page, Position};

/// Which page of the thread.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetThread {
    /// Only these members of each message, separated by commas.
    #[param(schema_with = crate::fields::parameter::<Message>, required = false)]
    fields: Option<Fields<Message>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, of the same thread.
    cursor: Option<String>,
}

/// Reads what two agents wrote to each other, newest first. Drafts are in no thread: they go outside.
#[utoipa::path(
    get,
    path = "/v1/messages/threads/{agent_id}/{other_agent_id}",
    operation_id = "get_thread",
    tag = "messages",
    params(Sides, GetThread),
    responses(
        Common,
        (status = 200, description = "a page of the thread", body = Page<Message>),
        (status = 404, description = "one of the two agents never was", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_thread(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(sides): ApiPath<Sides>,
    ApiQuery(query): ApiQuery<GetThread>,
) -> Result<Json<Page<Message>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::Thread)).transpose()?;
    let mut tx = db.read_only(&context).await.map_err(Error::from)?;
    let outcome = threads::read(&mut tx, sides.agent_id, sides.other_agent_id, after, limit).await;
    Ok(Json(finish(tx, outcome).await?.only(query.fields)))
}
