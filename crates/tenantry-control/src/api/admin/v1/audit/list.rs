use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_core::{Slug, TenantId};
use tenantry_http::{ApiQuery, OperatorScope, Problem};
use tenantry_postgres::{AuditFilter, Provisioner};
use utoipa::IntoParams;
use uuid::Uuid;

use crate::api::respond::{Common, OfTenant};
use crate::model::AuditEvent;
use crate::page::{Limit, List, Page, invalid_query};

/// Which events, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAuditEvents {
    /// Only of the tenant with this slug.
    tenant: Option<String>,
    /// Only of the tenant with this id; finds what a purged tenant has left.
    tenant_id: Option<Uuid>,
    /// Only this action, such as `tenant.create`.
    action: Option<String>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    after: Option<String>,
}

/// Lists the audit trail, newest first. Nobody can change or remove an event.
#[utoipa::path(
    get,
    path = "/admin/v1/audit",
    operation_id = "list_audit_events",
    tag = "audit",
    params(ListAuditEvents),
    responses(Common, OfTenant, (status = 200, description = "a page of events", body = Page<AuditEvent>)),
)]
pub(super) async fn list_audit_events(
    _: OperatorScope,
    State(provisioner): State<Provisioner>,
    ApiQuery(query): ApiQuery<ListAuditEvents>,
) -> Result<Json<Page<AuditEvent>>, Problem> {
    let word = |text: &String| (1..=100).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if query.action.as_ref().is_some_and(|action| !word(action)) {
        return Err(invalid_query("action", "must have 1 to 100 printable ASCII characters"));
    }
    let limit = Limit::from_query(query.limit)?;
    let before = List::Audit.decode("after", query.after.as_deref())?;
    let tenant = match (&query.tenant, query.tenant_id) {
        (Some(_), Some(_)) => return Err(invalid_query("tenant_id", "cannot be given together with `tenant`")),
        (Some(slug), None) => {
            let slug =
                Slug::from_registry(slug).map_err(|error| invalid_query("tenant", &format!("is no slug: {error}")))?;
            Some(provisioner.show(slug.as_str()).await?.id)
        }
        (None, id) => id.map(TenantId::from_uuid),
    };
    let filter = AuditFilter { tenant, action: query.action, before, limit: limit.probe() };
    let events = provisioner.audit_events(&filter).await?;
    Ok(Json(Page::cut(events, limit, List::Audit, |event| event.id.to_string())))
}
