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
use crate::provision::{ApiKeyInfo, CreatedKey, audit, check_expiry, check_limit, check_name};

/// A key to be made.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// What it is limited to; none is nothing in particular.
    pub scopes: Vec<String>,
    /// What it may send in a minute; none is as much as the tenant.
    pub requests_per_minute: Option<i32>,
    /// Not valid from then on.
    pub expires_at: Option<DateTime<Utc>>,
}

impl NewKey {
    /// A key that is limited to nothing in particular.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The same key, limited to these.
    #[must_use]
    pub fn scoped(self, scopes: &[String]) -> Self {
        Self { scopes: scopes.to_vec(), ..self }
    }

    pub(crate) fn check(&self) -> Result<(), ProvisionError> {
        check_name(&self.name)?;
        keys::check_scopes(&self.scopes)?;
        check_limit("requests_per_minute", self.requests_per_minute, 1)
    }

    /// For the audit trail.
    pub(crate) fn details(&self) -> serde_json::Value {
        let Self { name, scopes, requests_per_minute, expires_at } = self;
        json!({ "name": name, "scopes": scopes, "requests_per_minute": requests_per_minute, "expires_at": expires_at })
    }
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
    /// scopes is the caller's to check; that a key neither outlives the one that made it nor may send more is checked here.
    ///
    /// # Errors
    /// [`ProvisionError::Invalid`], [`ProvisionError::KeyReused`], [`ProvisionError::Database`].
    pub async fn create_key(
        &self,
        context: &TenantContext,
        new: &NewKey,
        once: Option<&OnceRequest>,
    ) -> Result<CreatedKey, ProvisionError> {
        new.check()?;
        self.still_served(context).await?;
        let token = |id: ApiKeyId| once::mint(once, &self.inner.secret, TokenKind::TenantKey, *id.as_uuid());
        let client = self.inner.clients.get().await?;
        if let Some(info) = once::start::<ApiKeyInfo>(&client, once::BEGIN, once).await? {
            client.give_back();
            return Ok(CreatedKey { token: token(info.id).text, info });
        }
        check_expiry(new.expires_at, self.inner.clock.now())?;
        if let Via::ApiKey { id, .. } = context.principal().via() {
            let maker = find(&client, context, *id).await?.ok_or(DbError::ContextExpired)?;
            ends_with(new.expires_at, maker.expires_at)?;
            sends_with(new.requests_per_minute, maker.requests_per_minute)?;
        }
        let id = ApiKeyId::generate();
        let minted = token(id);
        let stored = keys::insert(&client, context.id(), id, &minted, new).await;
        let info = stored.map_err(|error| match error {
            // purged a moment ago
            gone if gone.is_foreign_key_violation() => DbError::ContextExpired,
            other => other,
        })?;
        note(&client, context, "key.create", id, new.details()).await?;
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

/// Nor may a key send more than its maker.
fn sends_with(wanted: Option<i32>, maker: Option<i32>) -> Result<(), ProvisionError> {
    match (wanted, maker) {
        (_, None) => Ok(()),
        (Some(limit), Some(most)) if limit <= most => Ok(()),
        (_, Some(most)) => {
            let detail = format!("a key sends no more than the key that makes it, `{most}` a minute");
            Err(ProvisionError::Invalid { member: "requests_per_minute", detail })
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

    #[test]
    fn a_key_does_not_send_more_than_its_maker() {
        for (wanted, maker, fine) in [
            (None, None, true),
            (Some(60), None, true),
            (Some(60), Some(60), true),
            (Some(61), Some(60), false),
            (None, Some(60), false),
        ] {
            assert_eq!(sends_with(wanted, maker).is_ok(), fine);
        }
    }
}
