use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{ApiJson, Early, Idempotency, ProblemBody, TenantScope};
use tenantry_postgres::{TenantDb, TenantTx};
use utoipa::ToSchema;

use crate::api::bulk::{self, Bulk, BulkResult, Item};
use crate::quota::Quota;
use crate::store::tasks;
use crate::task::{CreateTask, Task, UpdateTask};
use crate::{Error, TaskId, Valid};

/// Many new and changed tasks at once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "atomic": false, "items": [
    { "op": "create", "agent_id": "0192f0a1-7e3c-7b52-9c1e-3f1d2a4b5c6d", "title": "Answer ticket 4711" },
    { "op": "update", "id": "0192f0a2-11aa-7b52-9c1e-3f1d2a4b5c6d", "version": 3, "status": "completed" },
] }))]
pub(super) struct BulkTasks {
    /// All items or none; otherwise each item succeeds or fails by itself.
    #[serde(default)]
    #[schema(required = false)]
    atomic: bool,
    /// 1 to 1,000 items, done in their order.
    #[schema(schema_with = bulk::items::<CreateTask, UpdateTask>)]
    items: Vec<Value>,
}

/// Tasks in bulk.
struct Tasks;

impl Bulk for Tasks {
    type Id = TaskId;
    type Create = CreateTask;
    type Update = UpdateTask;
    type Record = Task;

    fn version(update: &UpdateTask) -> Option<i64> {
        update.version
    }

    async fn hold(tx: &mut TenantTx, items: &[&Item<Self>]) -> Result<(), Error> {
        let (mut ids, mut agents, mut waits) = (Vec::new(), Vec::new(), false);
        let (mut makes, mut moves) = (false, false);
        for item in items {
            match item {
                Item::Create(new) => {
                    makes = true;
                    agents.push(new.agent_id);
                    agents.extend(new.created_by_id);
                    waits |= !new.depends_on.is_empty();
                }
                Item::Update { id, change, .. } => {
                    ids.push(*id);
                    moves |= change.status.is_named();
                    agents.extend(change.agent_id.value());
                }
            }
        }
        let counted: Vec<Quota> = [(moves, Quota::ConcurrentTasks), (makes, Quota::Tasks)]
            .into_iter()
            .filter(|(held, _)| *held)
            .map(|(_, q)| q)
            .collect();
        tasks::hold_many(tx, &ids, &agents, waits, &counted).await
    }

    async fn create(tx: &mut TenantTx, new: &Valid<CreateTask>) -> Result<Task, Error> {
        tasks::create(tx, new).await
    }

    async fn update(tx: &mut TenantTx, id: TaskId, expected: i64, change: &Valid<UpdateTask>) -> Result<Task, Error> {
        tasks::update(tx, id, expected, change).await
    }
}

/// Makes and changes many tasks, up to 1,000 items in one transaction. Each item is what `POST /v1/tasks` or `PATCH /v1/tasks/{id}`
/// takes, with `op` and for an update `id` and `version` beside it, and has a result of its own in the answer, in the same order.
#[utoipa::path(
    post,
    path = "/v1/tasks/bulk",
    operation_id = "bulk_tasks",
    tag = "tasks",
    request_body = BulkTasks,
    responses(
        Common,
        WithBody,
        (status = 200, description = "all items were done", body = BulkResult<Task>),
        (status = 207, description = "some items were done, others failed", body = BulkResult<Task>),
        (status = 422, description = "the body is invalid, or `atomic` was asked for and an item failed (`items` holds those, and nothing \
            was done)", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn bulk_tasks(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<BulkTasks>,
) -> Result<Response, Early> {
    bulk::answer::<Tasks>(&db, &context, idempotency, body.atomic, body.items).await
}
