use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tenantry_core::MemberId;
use tenantry_http::respond::{Common, WithBody, required_version, versioned};
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::{MemberPatch, Registry};
use utoipa::ToSchema;

use super::model::{Member, MemberRole};
use crate::permissions::highest_role;
use crate::{Error, FieldError, Patch};

/// A change of a member: a merge patch (RFC 7396). What is absent stays.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 1, "role": "member" }))]
pub struct UpdateMember {
    /// The version that the change is based on; may come as `If-Match` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// What they may do; not more than the caller may.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = MemberRole, required = false)]
    pub role: Patch<MemberRole>,
    /// How to reach them; `null` forgets it.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub email: Patch<String>,
}

/// Changes a member. Their tokens have the new role within a second. Nobody changes a member above the own role, and the last owner
/// stays one.
#[utoipa::path(
    patch,
    path = "/v1/members/{id}",
    operation_id = "update_member",
    tag = "members",
    params(
        ("id" = uuid::Uuid, Path, description = "the member's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the version that the change is based on"),
    ),
    request_body = UpdateMember,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the changed member", body = Member, headers(("ETag" = String, description = "the new version"))),
        (status = 404, description = "no member has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one (`current` holds the member), or the member is the last owner",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member of the body is invalid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "the change names no version", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_member(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    ApiPath(id): ApiPath<MemberId>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdateMember>,
) -> Result<Response, Problem> {
    let expected = required_version(&headers, body.version)?;
    if matches!(body.role, Patch::Clear) {
        let error = FieldError { pointer: "/role".to_owned(), detail: "must not be null".to_owned() };
        return Err(Error::Invalid(vec![error]).into());
    }
    let patch = MemberPatch {
        role: body.role.value().copied().map(Into::into),
        email: match body.email {
            Patch::Keep => None,
            Patch::Clear => Some(None),
            Patch::Set(email) => Some(Some(email)),
        },
    };
    let highest = highest_role(context.principal());
    let changed = registry.change_member(&context, highest, id, expected, &patch).await?;
    Ok(versioned(StatusCode::OK, changed.version, &Member::from(changed)))
}
