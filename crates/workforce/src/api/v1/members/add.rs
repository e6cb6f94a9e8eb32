use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Idempotency, Problem, ProblemBody, TenantScope, replayed};
use tenantry_postgres::{NewMember, Registry};
use utoipa::ToSchema;

use super::model::{Member, MemberRole};
use crate::permissions::highest_role;

/// A member to be added.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "subject": "auth0|62b0c1", "email": "ada@example.com", "role": "admin" }))]
pub struct AddMember {
    /// What the identity provider calls them: `sub` of their tokens, 1 to 255 bytes.
    pub subject: String,
    /// How to reach them.
    pub email: Option<String>,
    /// What they may do; not more than the caller may.
    pub role: MemberRole,
}

/// Adds a member. Their tokens have the role within a second.
#[utoipa::path(
    post,
    path = "/v1/members",
    operation_id = "add_member",
    tag = "members",
    request_body = AddMember,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new member", body = Member, headers(
            ("ETag" = String, description = "the version"),
            ("Location" = String, description = "the member's address"),
        )),
        (status = 409, description = "the subject is a member already", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member of the body is invalid", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn add_member(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<AddMember>,
) -> Result<Response, Problem> {
    let new = NewMember { subject: body.subject, email: body.email, role: body.role.into() };
    let once = idempotency.of_tenant(&context);
    let added = registry.add_member(&context, highest_role(context.principal()), &new, once.as_ref()).await?;
    let (version, location) = (added.version, format!("/v1/members/{}", added.id));
    Ok(replayed(once.as_ref(), Answer::created(version, location, &Member::from(added)).into_response()))
}
