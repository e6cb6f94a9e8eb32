use tokio_postgres::types::Type;

use crate::access::TenantDb;
use crate::error::{AccessError, DbError};
use crate::registry::TenantContext;
use crate::statement::Statement;

/// Removes the events older than so many seconds, and of the others all but the last so many. The very last one stays for good: by
/// it a client that was away longer than events are kept is known. Says whether any are left that will be too old some time.
pub(super) static SWEEP_EVENTS: Statement = Statement::new(
    "SWEEP_EVENTS",
    "WITH bounds AS ( \
       SELECT max(id) AS newest, \
              coalesce(min(id) FILTER (WHERE created_at >= now() - make_interval(secs => $1)), max(id)) AS young \
       FROM tenant.events), \
     cut AS (SELECT newest, greatest(young, newest - $2 + 1) AS first FROM bounds), \
     gone AS (DELETE FROM tenant.events AS e USING cut WHERE e.id < cut.first RETURNING 1) \
     SELECT coalesce(cut.first < cut.newest, false) AS left_over FROM cut",
    &[Type::FLOAT8, Type::INT8],
);

impl TenantDb {
    /// Removes old events of the context's tenant. True when some are left beside the last one.
    ///
    /// # Errors
    /// As [`TenantDb::begin`].
    pub async fn sweep_events(&self, context: &TenantContext) -> Result<bool, DbError> {
        let config = self.events().config();
        let seconds = config.keep.as_secs_f64();
        let rows = i64::from(config.keep_rows.max(1));
        let mut tx = self.begin(context).await?;
        let row = tx.query_one(&SWEEP_EVENTS, &[&seconds, &rows]).await?;
        tx.commit().await?;
        Ok(row.get("left_over"))
    }

    /// Removes old events of every tenant that this process has seen publish any, now and then, for ever.
    pub async fn keep_events_swept(&self) {
        loop {
            tokio::time::sleep(self.events().config().sweep).await;
            self.sweep_all_events().await;
        }
    }

    /// One round of [`keep_events_swept`](Self::keep_events_swept).
    pub async fn sweep_all_events(&self) {
        for (tenant, slug) in self.events().take_unswept() {
            let swept = match self.registry().system_context(&slug, "event retention").await {
                Ok(context) => self.sweep_events(&context).await,
                // its events go with it, or are removed once it is served again and publishes some
                Err(AccessError::UnknownTenant { .. } | AccessError::Inactive { .. }) => continue,
                Err(error) => Err(DbError::Unavailable(error.to_string())),
            };
            if swept.as_ref().is_ok_and(|left_over| !left_over) {
                continue;
            }
            if let Err(error) = swept {
                tracing::warn!(%error, tenant = slug.as_str(), "old events could not be removed yet");
            }
            self.events().sweep_again(tenant, slug);
        }
    }
}
