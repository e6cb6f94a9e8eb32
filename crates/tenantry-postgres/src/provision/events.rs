use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tenantry_core::TenantId;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Provisioner;
use crate::clients::{Typed, typed};
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
    /// Only actions that begin so, such as `key.`.
    pub action_prefix: Option<String>,
    /// Only by actors of this kind.
    pub actor_kind: Option<String>,
    /// Only by this actor.
    pub actor: Option<String>,
    /// Only on this target.
    pub target: Option<String>,
    /// Only of this request.
    pub request_id: Option<String>,
    /// Only events whose details hold this text, in any case.
    pub text: Option<String>,
    /// Only from this moment on.
    pub since: Option<DateTime<Utc>>,
    /// Only before this moment.
    pub until: Option<DateTime<Utc>>,
    /// Only events older than this one.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

fn text(value: &String) -> Typed<'_> {
    typed(value, Type::TEXT)
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
        let wanted: [(&str, Option<Typed<'_>>); 10] = [
            ("tenant_id = $", tenant.as_ref().map(|id| typed(id, Type::UUID))),
            ("action = $", filter.action.as_ref().map(text)),
            ("starts_with(action, $)", filter.action_prefix.as_ref().map(text)),
            ("actor_kind = $", filter.actor_kind.as_ref().map(text)),
            ("actor = $", filter.actor.as_ref().map(text)),
            ("target = $", filter.target.as_ref().map(text)),
            ("request_id = $", filter.request_id.as_ref().map(text)),
            ("position(lower($) IN lower(details::text)) > 0", filter.text.as_ref().map(text)),
            ("at >= $", filter.since.as_ref().map(|at| typed(at, Type::TIMESTAMPTZ))),
            ("at < $", filter.until.as_ref().map(|at| typed(at, Type::TIMESTAMPTZ))),
        ];
        for (condition, param) in wanted {
            if let Some(param) = param {
                params.push(param);
                conditions.push_str(&format!(" AND {}", condition.replace('$', &format!("${}", params.len()))));
            }
        }
        let sql = format!(
            "SELECT id, tenant_id, at, actor_kind, actor, action, target, request_id, client_ip, details \
             FROM audit.events WHERE {conditions} ORDER BY id DESC LIMIT $2"
        );
        let client = self.control.get().await?;
        // A search that finds little goes through much of the trail.
        client.batch_execute("BEGIN READ ONLY; SET LOCAL statement_timeout = '15s'").await?;
        let rows = client.query_typed(&sql, &params).await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(rows.iter().map(event).collect())
    }
}
