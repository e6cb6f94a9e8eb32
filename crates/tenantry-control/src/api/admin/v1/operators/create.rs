use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_http::{ApiJson, Problem, ProblemBody};
use tenantry_postgres::Provisioner;
use utoipa::ToSchema;

use crate::api::caller::{Caller, Repeatable};
use crate::api::respond::{Common, WithBody, created};
use crate::model::{NewOperator, Role};

/// An operator to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "tess", "role": "viewer", "expires_at": "2027-10-31T00:00:00Z" }))]
pub(super) struct CreateOperator {
    /// Who it is, 1 to 100 characters. The audit trail names the operator so, and no other ever gets the name.
    name: String,
    /// What the token may do; `viewer` unless given.
    #[serde(default)]
    #[schema(required = false)]
    role: Role,
    /// Not valid from then on; valid until it is revoked unless given.
    expires_at: Option<DateTime<Utc>>,
}

/// Makes an operator's token. It is shown in this answer only.
#[utoipa::path(
    post,
    path = "/admin/v1/operators",
    operation_id = "create_operator",
    tag = "operators",
    request_body = CreateOperator,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new operator with the token", body = NewOperator, headers(
            ("Location" = String, description = "the operator's address, to revoke the token"),
        )),
        (status = 409, description = "the name is taken", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_operator(
    Caller(actor): Caller,
    once: Repeatable,
    State(provisioner): State<Provisioner>,
    ApiJson(body): ApiJson<CreateOperator>,
) -> Result<Response, Problem> {
    let made = once.on(&provisioner).issue_operator(&body.name, body.role.into(), body.expires_at, &actor).await?;
    Ok(once.answer(created(format!("/admin/v1/operators/{}", made.info.id), &NewOperator::from(made))))
}
