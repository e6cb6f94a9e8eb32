use serde_json::json;
use tenantry_core::ApiKeyId;
use tokio_postgres::types::Type;

use super::keys::{COLUMNS, info};
use super::{ApiKeyInfo, Provisioner, audit, begin, check_limit, list};
use crate::clients::typed;
use crate::error::ProvisionError;
use crate::registry::Actor;

impl Provisioner {
    /// Sets how many requests a minute a key may send: `Some(None)` is as many as its tenant, `None` keeps what it is. Every server
    /// keeps to it within a second. With a [version](ApiKeyInfo::version) only that version is changed.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::UnknownKey`], [`ProvisionError::KeyChanged`], [`ProvisionError::Invalid`],
    /// [`ProvisionError::Database`].
    pub async fn limit_key(
        &self,
        slug: &str,
        key: ApiKeyId,
        requests_per_minute: Option<Option<i32>>,
        version: Option<i64>,
        actor: &Actor,
    ) -> Result<ApiKeyInfo, ProvisionError> {
        check_limit("requests_per_minute", requests_per_minute.flatten(), 1)?;
        let client = self.control.get().await?;
        begin(&client).await?;
        let tenant = list::by_slug(&client, slug).await?;
        if let Some(version) = version {
            // held until the commit, so that it stays the version that is changed
            let sql =
                format!("SELECT {COLUMNS} FROM public.tenant_api_keys WHERE id = $1 AND tenant_id = $2 FOR UPDATE");
            let params = [typed(key.as_uuid(), Type::UUID), typed(tenant.id.as_uuid(), Type::UUID)];
            let rows = client.query_typed(&sql, &params).await?;
            let current = info(rows.first().ok_or_else(|| ProvisionError::UnknownKey(key.to_string()))?);
            if current.version() != version {
                return Err(ProvisionError::KeyChanged(Box::new(current)));
            }
        }
        let sql = format!(
            "UPDATE public.tenant_api_keys SET requests_per_minute = CASE WHEN $3 THEN $4 ELSE requests_per_minute END \
             WHERE id = $1 AND tenant_id = $2 RETURNING {COLUMNS}"
        );
        let (named, limit) = (requests_per_minute.is_some(), requests_per_minute.flatten());
        let params = [
            typed(key.as_uuid(), Type::UUID),
            typed(tenant.id.as_uuid(), Type::UUID),
            typed(&named, Type::BOOL),
            typed(&limit, Type::INT4),
        ];
        let rows = client.query_typed(&sql, &params).await?;
        let Some(row) = rows.first() else { return Err(ProvisionError::UnknownKey(key.to_string())) };
        if let Some(limit) = requests_per_minute {
            let details = json!({ "requests_per_minute": limit });
            audit(&client, Some(*tenant.id.as_uuid()), actor, "key.limit", &format!("key/{key}"), details).await?;
        }
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(info(row))
    }
}
