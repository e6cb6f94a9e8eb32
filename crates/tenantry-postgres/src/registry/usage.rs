use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::{Registry, TenantContext};
use crate::clients::typed;
use crate::error::AccessError;

/// How large a tenant's data is, as it was measured last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasuredStorage {
    /// Bytes of its tables, with their indexes.
    pub bytes: i64,
    /// When.
    pub measured_at: DateTime<Utc>,
}

impl Registry {
    /// The size of the context's tenant; `None` before the first measurement.
    ///
    /// # Errors
    /// [`AccessError::Stale`] when the database cannot be asked.
    pub async fn storage(&self, context: &TenantContext) -> Result<Option<MeasuredStorage>, AccessError> {
        let clients = &self.inner.clients;
        let id = context.id();
        let read = async {
            let client = clients.get().await?;
            let sql = "SELECT storage_bytes, measured_at FROM public.tenant_usage WHERE tenant_id = $1";
            let rows = client.query_typed(sql, &[typed(id.as_uuid(), Type::UUID)]).await?;
            client.give_back();
            Ok(rows.first().map(|row| MeasuredStorage { bytes: row.get(0), measured_at: row.get(1) }))
        };
        clients.in_time(read).await.map_err(|error| AccessError::Stale(error.to_string()))
    }
}
