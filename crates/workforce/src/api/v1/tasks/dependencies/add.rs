use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, ApiPath, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::dependency::{AddDependency, Dependency};
use crate::store::dependencies::{self, Added};
use crate::{TaskId, Validate as _};

/// Makes a task wait for another: it cannot be started before the other is completed. The waiting task must not be in progress
/// or ended. Adding what is there already changes nothing.
#[utoipa::path(
    post,
    path = "/v1/tasks/{id}/dependencies",
    operation_id = "add_dependency",
    tag = "tasks",
    params(("id" = uuid::Uuid, Path, description = "the id of the task that is to wait")),
    request_body = AddDependency,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the dependency, which was there already", body = Dependency),
        (status = 201, description = "the new dependency", body = Dependency),
        (status = 404, description = "no live task has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "it would close a cycle (`cycle` holds the tasks along it, from this one back to this one), or the \
            task is in progress or has ended", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the body is invalid, names a task that does not exist or is deleted, or there are too many \
            dependencies", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn add_dependency(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<TaskId>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<AddDependency>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = dependencies::add(write.tx(), id, &new).await;
    let outcome = outcome.map(|added| match added {
        Added::New(dependency) => Answer::status(StatusCode::CREATED, &dependency),
        Added::Known(dependency) => Answer::ok(&dependency),
    });
    write.finish(outcome).await
}
