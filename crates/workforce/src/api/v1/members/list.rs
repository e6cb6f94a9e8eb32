use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_core::MemberId;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::{MemberFilter, Registry};
use utoipa::IntoParams;

use super::model::{Member, MemberRole};
use crate::{Error, Fields, List, Page, Position};

const MAX_SUBJECT: usize = 255;

/// Which members, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListMembers {
    /// Only with this role.
    #[param(inline)]
    role: Option<MemberRole>,
    /// Only with this subject.
    subject: Option<String>,
    /// Only these members of each member, separated by commas.
    #[param(schema_with = crate::fields::parameter::<Member>, required = false)]
    fields: Option<Fields<Member>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

/// Lists members, the latest first.
#[utoipa::path(
    get,
    path = "/v1/members",
    operation_id = "list_members",
    tag = "members",
    params(ListMembers),
    responses(Common, (status = 200, description = "a page of members", body = Page<Member>)),
)]
pub(super) async fn list_members(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    ApiQuery(query): ApiQuery<ListMembers>,
) -> Result<Json<Page<Member>>, Problem> {
    if query.subject.as_ref().is_some_and(|text| text.len() > MAX_SUBJECT || text.contains('\0')) {
        let detail = format!("must have at most {MAX_SUBJECT} bytes and no NUL");
        return Err(Error::InvalidQuery { parameter: "subject", detail }.into());
    }
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::Members)).transpose()?;
    let filter = MemberFilter {
        role: query.role.map(Into::into),
        subject: query.subject,
        after: after.map(|position| MemberId::from_uuid(position.id)),
        limit: limit.probe(),
    };
    let members = registry.members(&context, &filter).await?;
    let members: Vec<Member> = members.into_iter().map(Member::from).collect();
    Ok(Json(Page::cut(members, limit, List::Members, Member::position).only(query.fields)))
}
