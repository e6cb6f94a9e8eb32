use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::api::query::instant;
use crate::message::{Message, MessageFilter, MessageOrder, MessageType};
use crate::several::{Several, all_of};
use crate::store::messages;
use crate::{AgentId, Error, Fields, MessageStatus, Page, Place};

/// Which messages, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListMessages {
    /// Only what this agent wrote or got.
    #[param(value_type = Option<Uuid>)]
    agent_id: Option<AgentId>,
    /// With `agent_id`: only what the two wrote to each other.
    #[param(value_type = Option<Uuid>)]
    with_agent_id: Option<AgentId>,
    /// Only what this agent wrote.
    #[param(value_type = Option<Uuid>)]
    from_agent_id: Option<AgentId>,
    /// Only what this agent got.
    #[param(value_type = Option<Uuid>)]
    to_agent_id: Option<AgentId>,
    /// Only of one of these types, separated by commas.
    #[serde(rename = "type")]
    #[param(min_items = 1, value_type = Option<Vec<MessageType>>, inline)]
    kind: Option<Several<MessageType>>,
    /// Only with one of these statuses, separated by commas.
    #[param(min_items = 1, value_type = Option<Vec<MessageStatus>>, inline)]
    status: Option<Several<MessageStatus>>,
    /// `true`: only those not read yet; `false`: only those read. Drafts are neither.
    unread: Option<bool>,
    /// Only those written at this instant or later (RFC 3339; write UTC as `Z`, a `+` in a URL is a space).
    since: Option<DateTime<Utc>>,
    /// Only those written before this instant.
    until: Option<DateTime<Utc>>,
    /// Only those of one broadcast.
    broadcast_id: Option<Uuid>,
    /// Deleted ones as well.
    #[serde(default)]
    #[param(required = false)]
    include_deleted: bool,
    /// The order; the newest first unless given. A minus turns it round.
    #[param(inline)]
    sort: Option<MessageOrder>,
    /// Only these members of each message, separated by commas.
    #[param(schema_with = crate::fields::parameter::<Message>, required = false)]
    fields: Option<Fields<Message>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters and the same order.
    cursor: Option<String>,
}

impl ListMessages {
    fn filter(&self) -> Result<MessageFilter, Error> {
        if self.with_agent_id.is_some() && self.agent_id.is_none() {
            let detail = "needs `agent_id` as well: a pair has two".to_owned();
            return Err(Error::InvalidQuery { parameter: "with_agent_id", detail });
        }
        Ok(MessageFilter {
            agent_id: self.agent_id,
            with_agent_id: self.with_agent_id,
            from_agent_id: self.from_agent_id,
            to_agent_id: self.to_agent_id,
            types: all_of(self.kind.clone()),
            statuses: all_of(self.status.clone()),
            unread: self.unread,
            since: instant("since", self.since)?,
            until: instant("until", self.until)?,
            broadcast_id: self.broadcast_id,
            include_deleted: self.include_deleted,
        })
    }
}

/// Lists messages, newest first unless asked otherwise.
#[utoipa::path(
    get,
    path = "/v1/messages",
    operation_id = "list_messages",
    tag = "messages",
    params(ListMessages),
    responses(Common, (status = 200, description = "a page of messages", body = Page<Message>)),
)]
pub(super) async fn list_messages(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListMessages>,
) -> Result<Json<Page<Message>>, Problem> {
    let filter = query.filter()?;
    let limit = Limit::from_query(query.limit)?;
    let order = query.sort.unwrap_or(MessageOrder::Newest);
    let after = query.cursor.as_deref().map(|text| Place::decode(text, order)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let page = messages::list(&mut tx, &filter, order, after.as_ref(), limit).await?;
    Ok(Json(page.only(query.fields)))
}
