use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tenantry_core::MemberId;
use tenantry_http::respond::{Common, versioned};
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::Registry;

use super::model::Member;

/// Shows a member.
#[utoipa::path(
    get,
    path = "/v1/members/{id}",
    operation_id = "get_member",
    tag = "members",
    params(("id" = uuid::Uuid, Path, description = "the member's id")),
    responses(
        Common,
        (status = 200, description = "the member", body = Member, headers(("ETag" = String, description = "the version"))),
        (status = 404, description = "no member has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_member(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    ApiPath(id): ApiPath<MemberId>,
) -> Result<Response, Problem> {
    let member = registry.member(&context, id).await?;
    Ok(versioned(StatusCode::OK, member.version, &Member::from(member)))
}
