use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{ApiJson, Early, Idempotency, ProblemBody, TenantScope};
use tenantry_postgres::{TenantDb, TenantTx};
use utoipa::ToSchema;

use crate::agent::{Agent, CreateAgent, UpdateAgent};
use crate::api::bulk::{self, Bulk, BulkResult, Item};
use crate::quota::Quota;
use crate::store::{agents, quotas};
use crate::{AgentId, Error, Valid};

/// Many new and changed agents at once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "atomic": true, "items": [
    { "op": "create", "name": "Mira", "role": "support" },
    { "op": "update", "id": "0192f0a1-7e3c-7b52-9c1e-3f1d2a4b5c6d", "version": 3, "status": "offline" },
] }))]
pub(super) struct BulkAgents {
    /// All items or none; otherwise each item succeeds or fails by itself.
    #[serde(default)]
    #[schema(required = false)]
    atomic: bool,
    /// 1 to 1,000 items, done in their order.
    #[schema(schema_with = bulk::items::<CreateAgent, UpdateAgent>)]
    items: Vec<Value>,
}

/// Agents in bulk.
struct Agents;

impl Bulk for Agents {
    type Id = AgentId;
    type Create = CreateAgent;
    type Update = UpdateAgent;
    type Record = Agent;

    fn version(update: &UpdateAgent) -> Option<i64> {
        update.version
    }

    async fn hold(tx: &mut TenantTx, items: &[&Item<Self>]) -> Result<(), Error> {
        let changed = items.iter().filter_map(|item| match item {
            Item::Create(_) => None,
            Item::Update { id, .. } => Some(*id),
        });
        agents::hold_many(tx, &changed.collect::<Vec<_>>()).await?;
        // Also where none is made: names are given to one request at a time, so that two do not wait for each other's.
        quotas::hold(tx, &[Quota::Agents]).await
    }

    async fn create(tx: &mut TenantTx, new: &Valid<CreateAgent>) -> Result<Agent, Error> {
        agents::create(tx, new).await
    }

    async fn update(
        tx: &mut TenantTx,
        id: AgentId,
        expected: i64,
        change: &Valid<UpdateAgent>,
    ) -> Result<Agent, Error> {
        agents::update(tx, id, expected, change).await
    }
}

/// Makes and changes many agents, up to 1,000 items in one transaction. Each item is what `POST /v1/agents` or `PATCH /v1/agents/{id}`
/// takes, with `op` and for an update `id` and `version` beside it, and has a result of its own in the answer, in the same order.
#[utoipa::path(
    post,
    path = "/v1/agents/bulk",
    operation_id = "bulk_agents",
    tag = "agents",
    request_body = BulkAgents,
    responses(
        Common,
        WithBody,
        (status = 200, description = "all items were done", body = BulkResult<Agent>),
        (status = 207, description = "some items were done, others failed", body = BulkResult<Agent>),
        (status = 422, description = "the body is invalid, or `atomic` was asked for and an item failed (`items` holds those, and nothing \
            was done)", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn bulk_agents(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<BulkAgents>,
) -> Result<Response, Early> {
    bulk::answer::<Agents>(&db, &context, idempotency, body.atomic, body.items).await
}
