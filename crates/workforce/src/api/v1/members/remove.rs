use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tenantry_core::MemberId;
use tenantry_http::respond::{Common, expected_version};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::Registry;
use utoipa::IntoParams;

use crate::permissions::highest_role;

/// How a member is removed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RemoveMember {
    /// Remove only this version; may come as `If-Match` instead. Without one, any version is removed.
    version: Option<i64>,
}

/// Removes a member. Within a second their tokens may do what those of people who are no members may. Nobody removes a member above
/// the own role, and the last owner stays.
#[utoipa::path(
    delete,
    path = "/v1/members/{id}",
    operation_id = "remove_member",
    tag = "members",
    params(
        ("id" = uuid::Uuid, Path, description = "the member's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to remove"),
        RemoveMember,
    ),
    responses(
        Common,
        (status = 204, description = "removed"),
        (status = 404, description = "no member has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one (`current` holds the member), or the member is the last owner",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove_member(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    ApiPath(id): ApiPath<MemberId>,
    ApiQuery(query): ApiQuery<RemoveMember>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let expected = expected_version(&headers, query.version)?;
    registry.remove_member(&context, highest_role(context.principal()), id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}
