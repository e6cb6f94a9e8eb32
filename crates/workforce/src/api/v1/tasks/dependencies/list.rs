use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, ApiQuery, Limit, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::dependency::{Dependency, DependencyOrder};
use crate::store::dependencies;
use crate::{Error, Fields, Page, Place, TaskId};

/// Which dependencies, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListDependencies {
    /// Also what those tasks depend on, and so on to the end: each dependency once.
    #[serde(default)]
    #[param(required = false)]
    transitive: bool,
    /// Only these members of each dependency, separated by commas.
    #[param(schema_with = crate::fields::parameter::<Dependency>, required = false)]
    fields: Option<Fields<Dependency>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same `transitive`.
    cursor: Option<String>,
}

/// Lists what a task depends on, as it was added.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}/dependencies",
    operation_id = "list_dependencies",
    tag = "tasks",
    params(("id" = uuid::Uuid, Path, description = "the task's id"), ListDependencies),
    responses(
        Common,
        (status = 200, description = "a page of dependencies", body = Page<Dependency>),
        (status = 404, description = "no live task has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list_dependencies(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<TaskId>,
    ApiQuery(query): ApiQuery<ListDependencies>,
) -> Result<Json<Page<Dependency>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Place::decode(text, DependencyOrder)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let page = dependencies::list(&mut tx, id, query.transitive, after.as_ref(), limit).await?;
    Ok(Json(page.only(query.fields)))
}
