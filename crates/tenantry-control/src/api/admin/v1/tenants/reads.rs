use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::{ApiJson, ApiPath, Problem};
use tenantry_postgres::{Provisioner, ReadRequest};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::caller::Caller;
use crate::api::respond::{Common, OfTenant, WithBody};
use crate::api::slug::PathSlug;
use crate::model::Reading;
use crate::page::{Limit, List};

/// What to read, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "table": "tasks", "reason": "ticket 4711: tasks stay in progress", "limit": 20 }))]
pub(super) struct ReadRows {
    /// A table of the tenant, such as `tasks`. Tables of secrets cannot be read, and of others the columns that hold secrets are
    /// left out.
    table: String,
    /// Why, in 10 to 500 characters. The tenant finds it in its audit trail.
    #[schema(value_type = String, required = true, min_length = 10, max_length = 500)]
    reason: Option<String>,
    /// Only the row with this id.
    id: Option<Uuid>,
    /// 1 to 200; 50 unless given.
    #[schema(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, for the same table.
    cursor: Option<String>,
}

/// Reads rows of a tenant's table, by a database role that can only read and sees no secret. The event `operator.read` with the
/// reason is in the tenant's audit trail before the answer is given. It changes nothing, so it takes no `Idempotency-Key`: to keep an answer
/// would be to keep a tenant's rows outside the tenant. Read again, the rows are those of that moment, with an event of its own.
#[utoipa::path(
    post,
    path = "/admin/v1/tenants/{slug}/reads",
    operation_id = "read_rows",
    tag = "tenants",
    params(("slug" = String, Path, description = "the tenant's slug")),
    request_body = ReadRows,
    responses(Common, WithBody, OfTenant, (status = 200, description = "a page of rows", body = Reading)),
)]
pub(super) async fn read_rows(
    Caller(actor): Caller,
    State(provisioner): State<Provisioner>,
    ApiPath(slug): ApiPath<PathSlug>,
    ApiJson(body): ApiJson<ReadRows>,
) -> Result<Json<Reading>, Problem> {
    let limit = Limit::in_body(body.limit)?;
    let after = List::Rows.decode_member("cursor", body.cursor.as_deref())?;
    let request = ReadRequest {
        table: body.table,
        id: body.id,
        after,
        limit: limit.probe(),
        reason: body.reason.unwrap_or_default(),
    };
    let mut read = provisioner.read(slug.as_str(), &request, &actor).await?;
    let more = read.rows.len() > limit.page_len();
    read.rows.truncate(limit.page_len());
    let last = read.rows.last().filter(|_| more).and_then(|row| row["id"].as_str());
    let next_cursor = last.map(|id| List::Rows.encode(id));
    Ok(Json(Reading { table: request.table, columns: read.columns, data: read.rows, next_cursor }))
}
