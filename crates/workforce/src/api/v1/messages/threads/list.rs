use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::message::Thread;
use crate::store::threads;
use crate::{AgentId, Error, List, Page, Position};

/// Whose threads, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListThreads {
    /// Whose threads.
    #[param(value_type = uuid::Uuid)]
    agent_id: AgentId,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, of the same agent.
    cursor: Option<String>,
}

/// Lists an agent's threads: with whom, the newest message, how many are not read yet. The thread written to last comes
/// first; one that is written to while the pages are read moves to the front.
#[utoipa::path(
    get,
    path = "/v1/messages/threads",
    operation_id = "list_threads",
    tag = "messages",
    params(ListThreads),
    responses(Common, (status = 200, description = "a page of threads", body = Page<Thread>)),
)]
pub(super) async fn list_threads(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListThreads>,
) -> Result<Json<Page<Thread>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::Threads)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    Ok(Json(threads::list(&mut tx, query.agent_id, after, limit).await?))
}
