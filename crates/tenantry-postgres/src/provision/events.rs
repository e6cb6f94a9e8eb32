use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tenantry_core::TenantId;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Provisioner;
use crate::clients::typed;
use crate::error::ProvisionError;

/// One entry of the audit trail.
#[derive(Debug, Clone, Serialize)]
pub struct AuditEvent {
    /// Its number; later events have higher ones.
    pub id: i64,
    /// The tenant concerned, which may be purged by now.
    pub tenant_id: Option<TenantId>,
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
    pub request_id: Option<String>,
    /// The client's address.
    pub client_ip: Option<String>,
    /// What the action adds.
    pub details: Value,
}

/// Which events to list.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only this action.
    pub action: Option<String>,
    /// Only events older than this one.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

fn event(row: &Row) -> AuditEvent {
    AuditEvent {
        id: row.get("id"),
        tenant_id: row.get::<_, Option<Uuid>>("tenant_id").map(TenantId::from_uuid),
        at: row.get("at"),
        actor_kind: row.get("actor_kind"),
        actor: row.get("actor"),
        action: row.get("action"),
        target: row.get("target"),
        request_id: row.get("request_id"),
        client_ip: row.get("client_ip"),
        details: row.get("details"),
    }
}

impl Provisioner {
    /// The audit trail, newest first.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn audit_events(&self, filter: &AuditFilter) -> Result<Vec<AuditEvent>, ProvisionError> {
        // Each condition only where it is asked for, so that a generic plan is never needed and the index on the tenant is used.
        let mut conditions = String::from("id < $1");
        let before = filter.before.unwrap_or(i64::MAX);
        let tenant = filter.tenant.map(|id| *id.as_uuid());
        let mut params = vec![typed(&before, Type::INT8), typed(&filter.limit, Type::INT8)];
        if tenant.is_some() {
            params.push(typed(&tenant, Type::UUID));
            conditions.push_str(&format!(" AND tenant_id = ${}", params.len()));
        }
        if filter.action.is_some() {
            params.push(typed(&filter.action, Type::TEXT));
            conditions.push_str(&format!(" AND action = ${}", params.len()));
        }
        let sql = format!(
            "SELECT id, tenant_id, at, actor_kind, actor, action, target, request_id, client_ip, details \
             FROM audit.events WHERE {conditions} ORDER BY id DESC LIMIT $2"
        );
        let client = self.control.get().await?;
        let rows = client.query_typed(&sql, &params).await?;
        client.give_back();
        Ok(rows.iter().map(event).collect())
    }
}
