use chrono::{DateTime, TimeDelta, Utc};
use tenantry_core::Slug;
use tokio_postgres::types::Type;

use super::Registry;
use crate::clients::typed;
use crate::error::DbError;

/// Those of tenants that are not served wait until they are.
const TAKE: &str = "UPDATE tenantry.alarms a SET leased_until = $3 FROM public.tenants t \
    WHERE t.id = a.tenant_id AND a.kind = $1 AND a.tenant_id IN ( \
        SELECT d.tenant_id FROM tenantry.alarms d JOIN public.tenants s ON s.id = d.tenant_id \
        WHERE d.kind = $1 AND d.due_at <= $2 AND (d.leased_until IS NULL OR d.leased_until <= $2) AND s.status = 'active' \
        ORDER BY d.due_at LIMIT $4 FOR NO KEY UPDATE OF d SKIP LOCKED) \
    RETURNING t.slug";

impl Registry {
    /// Takes the alarms of one kind that are due: which tenants something has to be done for. They are this process's until `lease`
    /// is over, and if it has not set them anew by then, any other's.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn take_alarms(
        &self,
        kind: &'static str,
        now: DateTime<Utc>,
        lease: TimeDelta,
        most: i64,
    ) -> Result<Vec<Slug>, DbError> {
        let clients = &self.inner.clients;
        let take = async {
            let client = clients.get().await?;
            let until = now + lease;
            let params = [
                typed(&kind, Type::TEXT),
                typed(&now, Type::TIMESTAMPTZ),
                typed(&until, Type::TIMESTAMPTZ),
                typed(&most, Type::INT8),
            ];
            let rows = client.query_typed(TAKE, &params).await?;
            client.give_back();
            Ok(rows)
        };
        let rows = clients.in_time(take).await?;
        let slug = |row: &tokio_postgres::Row| {
            let slug: &str = row.get(0);
            Slug::from_registry(slug).map_err(|_| DbError::Misuse("the registry holds an invalid slug"))
        };
        rows.iter().map(slug).collect()
    }
}
