use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tenantry_postgres as registry;
use utoipa::ToSchema;
use uuid::Uuid;

/// One entry of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEvent {
    /// Its number; later events have higher ones.
    pub id: i64,
    /// The tenant concerned, which may be purged by now.
    #[schema(required)]
    pub tenant_id: Option<Uuid>,
    /// When.
    pub at: DateTime<Utc>,
    /// `api_key`, `token`, `operator`, `cli`, `system` or `anonymous`.
    pub actor_kind: String,
    /// Who, within the kind.
    pub actor: String,
    /// What was done, such as `tenant.create`.
    pub action: String,
    /// To what, such as `tenant/<id>`.
    pub target: String,
    /// The request it was done in.
    #[schema(required)]
    pub request_id: Option<String>,
    /// The client's address.
    #[schema(required)]
    pub client_ip: Option<String>,
    /// What the action adds.
    #[schema(value_type = Object)]
    pub details: Value,
}

impl From<registry::AuditEvent> for AuditEvent {
    fn from(event: registry::AuditEvent) -> Self {
        Self {
            id: event.id,
            tenant_id: event.tenant_id.map(|id| *id.as_uuid()),
            at: event.at,
            actor_kind: event.actor_kind,
            actor: event.actor,
            action: event.action,
            target: event.target,
            request_id: event.request_id,
            client_ip: event.client_ip,
            details: event.details,
        }
    }
}
