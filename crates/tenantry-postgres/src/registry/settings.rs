use serde_json::json;
use tenantry_core::calendar::Tz;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{Registry, TenantContext};
use crate::clients::typed;
use crate::error::DbError;
use crate::provision::{audit, begin};

const COLUMNS: &str = "time_zone, display_currency, settings_version";

/// What a tenant has decided about itself, as the registry has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSettings {
    /// Where its days and months begin.
    pub time_zone: Tz,
    /// ISO 4217.
    pub display_currency: String,
    /// Grows by one with every change.
    pub version: i64,
}

/// What a tenant changes; the rest stays.
#[derive(Debug, Clone, Default)]
pub struct SettingsChange {
    /// Another zone.
    pub time_zone: Option<Tz>,
    /// Another currency: whoever calls has checked that it is one.
    pub display_currency: Option<String>,
}

/// Why settings were not changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// They were changed since the version that the change is based on.
    #[error("the settings have version {}", .0.version)]
    Conflict(TenantSettings),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Registry {
    /// A tenant's settings as they are now, not as they are remembered.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn settings(&self, context: &TenantContext) -> Result<TenantSettings, DbError> {
        let clients = &self.inner.clients;
        let sql = format!("SELECT {COLUMNS} FROM public.tenants WHERE id = $1");
        let id = *context.id().as_uuid();
        let read = async {
            let client = clients.get().await?;
            let rows = client.query_typed(&sql, &[typed(&id, Type::UUID)]).await?;
            client.give_back();
            Ok(rows)
        };
        settings(clients.in_time(read).await?.first().ok_or(DbError::ContextExpired)?)
    }

    /// Changes a tenant's settings that still have the version `expected`, with an audit event. Every server hears of it.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub async fn change_settings(
        &self,
        context: &TenantContext,
        expected: i64,
        change: &SettingsChange,
    ) -> Result<TenantSettings, SettingsError> {
        let client = self.inner.clients.get().await?;
        begin(&client).await?;
        let uuid = *context.id().as_uuid();
        let id = typed(&uuid, Type::UUID);
        let held =
            format!("SELECT {COLUMNS} FROM public.tenants WHERE id = $1 AND status = 'active' FOR NO KEY UPDATE");
        let rows = client.query_typed(&held, std::slice::from_ref(&id)).await.map_err(DbError::from)?;
        let before = settings(rows.first().ok_or(DbError::ContextExpired)?)?;
        if before.version != expected {
            client.batch_execute("ROLLBACK").await.map_err(DbError::from)?;
            client.give_back();
            return Err(SettingsError::Conflict(before));
        }
        let after = TenantSettings {
            time_zone: change.time_zone.unwrap_or(before.time_zone),
            display_currency: change.display_currency.clone().unwrap_or_else(|| before.display_currency.clone()),
            version: before.version + 1,
        };
        let zone = after.time_zone.name();
        client
            .execute_typed(
                "UPDATE public.tenants SET time_zone = $2, display_currency = $3, settings_version = $4 WHERE id = $1",
                &[
                    id,
                    typed(&zone, Type::TEXT),
                    typed(&after.display_currency, Type::TEXT),
                    typed(&after.version, Type::INT8),
                ],
            )
            .await
            .map_err(DbError::from)?;
        let facts = json!({
            "version": after.version,
            "from": { "time_zone": before.time_zone.name(), "display_currency": before.display_currency },
            "to": { "time_zone": zone, "display_currency": after.display_currency },
        });
        let target = format!("tenant/{}", context.id());
        audit(&client, Some(uuid), &context.actor(), "settings.update", &target, facts).await?;
        client.batch_execute("COMMIT").await.map_err(DbError::from)?;
        client.give_back();
        Ok(after)
    }
}

pub(super) fn settings(row: &Row) -> Result<TenantSettings, DbError> {
    Ok(TenantSettings {
        time_zone: zone(row.try_get("time_zone")?),
        display_currency: row.try_get("display_currency")?,
        version: row.try_get("settings_version")?,
    })
}

/// A zone that another program has stored and this one does not know must not make a tenant unreachable.
pub(super) fn zone(name: &str) -> Tz {
    name.parse().unwrap_or_else(|_| {
        tracing::error!(target: "tenantry::registry", zone = name, "a tenant's time zone is not known here; UTC is used");
        Tz::UTC
    })
}
