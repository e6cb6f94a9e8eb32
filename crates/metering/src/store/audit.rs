//! What the metering tells the audit trail.

use serde_json::Value;
use tenantry_core::TenantId;
use tenantry_postgres::{Actor, DbError, MeterTx, statements};

statements! {
    /// An event of the audit trail.
    TELL(UUID, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, JSONB) =
        "INSERT INTO audit.events (tenant_id, actor_kind, actor, request_id, client_ip, action, target, details) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
}

/// Appends an event to the trail of a tenant, or of what concerns none. The database takes `prices.…` from the metering,
/// `statement.close` of a tenant and `bill.import` of none, and nothing else.
///
/// # Errors
/// [`DbError`].
pub async fn tell(
    tx: &MeterTx,
    tenant: Option<TenantId>,
    actor: &Actor,
    action: &str,
    target: &str,
    details: &Value,
) -> Result<(), DbError> {
    let tenant = tenant.map(|id| *id.as_uuid());
    let Actor { kind, name, request_id, client_ip } = actor;
    tx.execute(&TELL, &[&tenant, kind, name, request_id, client_ip, &action, &target, details]).await.map(drop)
}
