use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tenantry_core::{Slug, TenantId};
use tenantry_http::{ApiQuery, OperatorScope, Problem};
use tenantry_postgres::{AuditFilter, Provisioner};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::api::respond::{Common, OfTenant};
use crate::model::AuditEvent;
use crate::page::{Limit, List, Page, invalid_query};

/// The kinds of those who act.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ActorKind {
    /// A tenant's API key.
    ApiKey,
    /// A token of the identity provider.
    Token,
    /// An operator in the control plane.
    Operator,
    /// Somebody at the command line.
    Cli,
    /// The platform itself.
    System,
    /// Nobody known.
    Anonymous,
}

impl ActorKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Token => "token",
            Self::Operator => "operator",
            Self::Cli => "cli",
            Self::System => "system",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Which events, and which page of them. All conditions hold at once.
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
    /// Only actions that begin so, such as `key.`.
    action_prefix: Option<String>,
    /// Only by this kind of actor.
    #[param(inline)]
    actor_kind: Option<ActorKind>,
    /// Only by this actor, as events name it.
    actor: Option<String>,
    /// Only on this target, such as `tenant/<id>`.
    target: Option<String>,
    /// Only of the request with this id.
    request_id: Option<String>,
    /// Only events whose details hold this text, in any case. Give a tenant or a time as well, or much is searched.
    text: Option<String>,
    /// Only from this moment on.
    since: Option<DateTime<Utc>>,
    /// Only before this moment.
    until: Option<DateTime<Utc>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    after: Option<String>,
}

impl ListAuditEvents {
    /// Nothing that a column could not hold: PostgreSQL would refuse the whole statement.
    fn check(&self) -> Result<(), Problem> {
        let word = |text: &str| (1..=100).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        for (name, value) in [("action", &self.action), ("action_prefix", &self.action_prefix)] {
            if value.as_deref().is_some_and(|value| !word(value)) {
                return Err(invalid_query(name, "must have 1 to 100 printable ASCII characters"));
            }
        }
        let line = |text: &str| (1..=400).contains(&text.len()) && !text.chars().any(char::is_control);
        for (name, value) in
            [("actor", &self.actor), ("target", &self.target), ("request_id", &self.request_id), ("text", &self.text)]
        {
            if value.as_deref().is_some_and(|value| !line(value)) {
                return Err(invalid_query(name, "must have 1 to 400 bytes and no control characters"));
            }
        }
        let years = |at: &DateTime<Utc>| (1970..=9999).contains(&chrono::Datelike::year(at));
        for (name, value) in [("since", &self.since), ("until", &self.until)] {
            if value.as_ref().is_some_and(|at| !years(at)) {
                return Err(invalid_query(name, "must lie in the years 1970 to 9999"));
            }
        }
        Ok(())
    }
}

/// Searches the audit trail, newest first. Nobody can change or remove an event.
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
    query.check()?;
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
    let filter = AuditFilter {
        tenant,
        action: query.action,
        action_prefix: query.action_prefix,
        actor_kind: query.actor_kind.map(|kind| kind.as_str().to_owned()),
        actor: query.actor,
        target: query.target,
        request_id: query.request_id,
        text: query.text,
        since: query.since,
        until: query.until,
        before,
        limit: limit.probe(),
    };
    let events = provisioner.audit_events(&filter).await?;
    Ok(Json(Page::cut(events, limit, List::Audit, |event| event.id.to_string())))
}
