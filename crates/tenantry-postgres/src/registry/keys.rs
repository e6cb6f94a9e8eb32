//! A tenant's API keys, as its own people manage them: by their context only.

use chrono::{DateTime, Utc};
use serde_json::json;
use tenantry_core::{ApiKeyId, TokenKind};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{Registry, TenantContext, Via};
use crate::clients::typed;
use crate::error::{DbError, ProvisionError};
use crate::once::{self, OnceRequest};
use crate::provision::keys::{self, COLUMNS};
use crate::provision::{ApiKeyInfo, CreatedKey, audit, check_name};

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// What it is limited to; none is nothing in particular.
    pub scopes: Vec<String>,
    /// Not valid from then on.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Registry {
    /// Keys of the context's tenant, revoked ones too, the latest first.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn keys(
        &self,
        context: &TenantContext,
        after: Option<ApiKeyId>,
        limit: i64,
    ) -> Result<Vec<ApiKeyInfo>, ProvisionError> {
        self.still_served(context).await?;
        let client = self.inner.clients.get().await?;
        let keys = keys::list_of(&client, context.id(), after, limit).await?;
        client.give_back();
        Ok(keys)
    }

    /// One key of the context's tenant.
    ///
    /// # Errors
    /// [`ProvisionError::UnknownKey`], [`ProvisionError::Database`].
    pub async fn api_key(&self, context: &TenantContext, id: ApiKeyId) -> Result<ApiKeyInfo, ProvisionError> {
        self.still_served(context).await?;
        let client = self.inner.clients.get().await?;
        let found = find(&client, context, id).await?;
        client.give_back();
        found.ok_or_else(|| ProvisionError::UnknownKey(id.to_string()))
    }

    /// Creates a key of the context's tenant; its token is in the answer and nowhere else. Whether who asks may give these
    /// scopes is the caller's to check; that a key does not outlive the one that made it is checked here.
    ///
    /// # Errors
    /// [`ProvisionError::Invalid`], [`ProvisionError::KeyReused`], [`ProvisionError::Database`].
    pub async fn create_key(
        &self,
        context: &TenantContext,
        new: &NewKey,
        once: Option<&OnceRequest>,
    ) -> Result<CreatedKey, ProvisionError> {
        check_name(&new.name)?;
        keys::check_scopes(&new.scopes)?;
        self.still_served(context).await?;
        let token = |id: ApiKeyId| once::mint(once, &self.inner.secret, TokenKind::TenantKey, *id.as_uuid());
        let client = self.inner.clients.get().await?;
        if let Some(info) = once::start::<ApiKeyInfo>(&client, once::BEGIN, once).await? {
            client.give_back();
            return Ok(CreatedKey { token: token(info.id).text, info });
        }
        if let Via::ApiKey { id, .. } = context.principal().via() {
            let maker = find(&client, context, *id).await?.ok_or(DbError::ContextExpired)?;
            ends_with(new.expires_at, maker.expires_at)?;
        }
        let id = ApiKeyId::generate();
        let minted = token(id);
        let stored = keys::insert(&client, context.id(), id, &minted, &new.name, &new.scopes, new.expires_at).await;
        let info = stored.map_err(|error| match error {
            // purged a moment ago
            gone if gone.is_foreign_key_violation() => DbError::ContextExpired,
            other => other,
        })?;
        let details = json!({ "name": info.name, "scopes": info.scopes, "expires_at": info.expires_at });
        note(&client, context, "key.create", id, details).await?;
        once::finish(&client, once, &info).await?;
        client.give_back();
        Ok(CreatedKey { info, token: minted.text })
    }

    /// Revokes a key of the context's tenant; every server refuses it within a second. Revoking again changes nothing.
    ///
    /// # Errors
    /// [`ProvisionError::UnknownKey`], [`ProvisionError::Database`].
    pub async fn revoke_key(&self, context: &TenantContext, id: ApiKeyId) -> Result<ApiKeyInfo, ProvisionError> {
        self.still_served(context).await?;
        let client = self.inner.clients.get().await?;
        client.batch_execute(once::BEGIN).await?;
        let sql = format!(
            "UPDATE public.tenant_api_keys SET revoked_at = clock_timestamp() \
             WHERE id = $1 AND tenant_id = $2 AND revoked_at IS NULL RETURNING {COLUMNS}"
        );
        let tenant = context.id();
        let params = [typed(id.as_uuid(), Type::UUID), typed(tenant.as_uuid(), Type::UUID)];
        let revoked = client.query_typed(&sql, &params).await?.first().map(keys::info);
        let key = match revoked {
            Some(key) => {
                note(&client, context, "key.revoke", id, json!({})).await?;
                key
            }
            None => find(&client, context, id).await?.ok_or_else(|| ProvisionError::UnknownKey(id.to_string()))?,
        };
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(key)
    }
}

async fn find(client: &Client, context: &TenantContext, id: ApiKeyId) -> Result<Option<ApiKeyInfo>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM public.tenant_api_keys WHERE id = $1 AND tenant_id = $2");
    let tenant = context.id();
    let params = [typed(id.as_uuid(), Type::UUID), typed(tenant.as_uuid(), Type::UUID)];
    Ok(client.query_typed(&sql, &params).await?.first().map(keys::info))
}

async fn note(
    client: &Client,
    context: &TenantContext,
    action: &str,
    id: ApiKeyId,
    details: serde_json::Value,
) -> Result<(), DbError> {
    audit(client, Some(*context.id().as_uuid()), &context.actor(), action, &format!("key/{id}"), details).await
}

/// A key that would outlive its maker would be more than the maker has.
fn ends_with(wanted: Option<DateTime<Utc>>, maker: Option<DateTime<Utc>>) -> Result<(), ProvisionError> {
    match (wanted, maker) {
        (_, None) => Ok(()),
        // The database keeps microseconds.
        (Some(at), Some(end)) if at.timestamp_micros() <= end.timestamp_micros() => Ok(()),
        (_, Some(end)) => {
            let detail = format!("a key ends no later than the key that makes it, at {}", end.to_rfc3339());
            Err(ProvisionError::Invalid { member: "expires_at", detail })
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_key_does_not_outlive_its_maker() {
        let now = Utc::now();
        let day = |n| now + TimeDelta::days(n);
        for (wanted, maker, fine) in [
            (None, None, true),
            (Some(day(1)), None, true),
            (Some(day(1)), Some(day(1)), true),
            (Some(day(2)), Some(day(1)), false),
            (None, Some(day(1)), false),
        ] {
            assert_eq!(ends_with(wanted, maker).is_ok(), fine);
        }
    }
}
