use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use tenantry_core::MemberId;
use tenantry_http::respond::{Common, unless_known};
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::Registry;

use super::model::Member;

/// Shows a member.
#[utoipa::path(
    get,
    path = "/v1/members/{id}",
    operation_id = "get_member",
    tag = "members",
    params(
        ("id" = uuid::Uuid, Path, description = "the member's id"),
        ("If-None-Match" = Option<String>, Header, description = "the `ETag` of a version that is known: no need to send it again"),
    ),
    responses(
        Common,
        (status = 200, description = "the member", body = Member, headers(("ETag" = String, description = "the version"))),
        (status = 304, description = "the version is the one that `If-None-Match` names"),
        (status = 404, description = "no member has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_member(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    ApiPath(id): ApiPath<MemberId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let member = registry.member(&context, id).await?;
    Ok(unless_known(&headers, member.version, &Member::from(member)))
}
