use chrono::{DateTime, Utc};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tenantry_core::{ApiKeyId, MintedToken, TenantId, TokenKind};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::{ApiKeyInfo, CreatedKey, Provisioner, audit, check_expiry, list};
use crate::clients::typed;
use crate::error::{DbError, ProvisionError};
use crate::once;
use crate::registry::{Actor, NewKey};

pub(crate) const COLUMNS: &str = "id, name, lookup, scopes, requests_per_minute, created_at, expires_at, revoked_at";

/// The first key of a tenant, for the statement that makes both.
pub(super) fn first(provisioner: &Provisioner) -> (ApiKeyId, MintedToken) {
    let id = ApiKeyId::generate();
    (id, provisioner.token(id))
}

/// What [`first`] made, once it is stored.
pub(super) fn stored_first(id: ApiKeyId, minted: MintedToken, created_at: DateTime<Utc>) -> CreatedKey {
    let info = ApiKeyInfo {
        id,
        name: "first key".to_owned(),
        lookup: minted.lookup,
        scopes: Vec::new(),
        requests_per_minute: None,
        created_at,
        expires_at: None,
        revoked_at: None,
    };
    CreatedKey { info, token: minted.text }
}

/// Stores a key.
pub(crate) async fn insert(
    client: &Client,
    tenant: TenantId,
    id: ApiKeyId,
    minted: &MintedToken,
    new: &NewKey,
) -> Result<ApiKeyInfo, DbError> {
    let rows = client
        .query_typed(
            &format!(
                "INSERT INTO public.tenant_api_keys (id, tenant_id, name, lookup, hash, scopes, requests_per_minute, expires_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {COLUMNS}"
            ),
            &[
                typed(id.as_uuid(), Type::UUID),
                typed(tenant.as_uuid(), Type::UUID),
                typed(&new.name, Type::TEXT),
                typed(&minted.lookup, Type::TEXT),
                typed(&minted.hash.as_bytes(), Type::BYTEA),
                typed(&new.scopes, Type::TEXT_ARRAY),
                typed(&new.requests_per_minute, Type::INT4),
                typed(&new.expires_at, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let row = rows.first().ok_or(DbError::Misuse("a key was not stored"))?;
    Ok(info(row))
}

pub(crate) fn info(row: &Row) -> ApiKeyInfo {
    ApiKeyInfo {
        id: ApiKeyId::from_uuid(row.get("id")),
        name: row.get("name"),
        lookup: row.get("lookup"),
        scopes: row.get("scopes"),
        requests_per_minute: row.get("requests_per_minute"),
        created_at: row.get("created_at"),
        expires_at: row.get("expires_at"),
        revoked_at: row.get("revoked_at"),
    }
}

/// At most `limit` keys, those made before the key `after`, newest first: ids are ordered by time.
pub(crate) async fn list_of(
    client: &Client,
    tenant: TenantId,
    after: Option<ApiKeyId>,
    limit: i64,
) -> Result<Vec<ApiKeyInfo>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM public.tenant_api_keys WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) \
         ORDER BY id DESC LIMIT $3"
    );
    let after = after.map(|id| *id.as_uuid());
    let params = [typed(tenant.as_uuid(), Type::UUID), typed(&after, Type::UUID), typed(&limit, Type::INT8)];
    Ok(client.query_typed(&sql, &params).await?.iter().map(info).collect())
}

impl Provisioner {
    /// The token of a key that is made for the request at hand.
    pub(super) fn token(&self, id: ApiKeyId) -> MintedToken {
        once::mint(self.once.as_deref(), &self.secret, TokenKind::TenantKey, *id.as_uuid())
    }

    /// Creates an API key; its token is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::Invalid`], [`ProvisionError::Database`].
    pub async fn create_key(&self, slug: &str, new: &NewKey, actor: &Actor) -> Result<CreatedKey, ProvisionError> {
        new.check()?;
        let client = self.control.get().await?;
        if let Some(info) = self.start::<ApiKeyInfo>(&client).await? {
            client.give_back();
            return Ok(CreatedKey { token: self.token(info.id).text, info });
        }
        check_expiry(new.expires_at, Utc::now())?;
        let tenant = list::by_slug(&client, slug).await?;
        let id = ApiKeyId::generate();
        let minted = self.token(id);
        let inserted = insert(&client, tenant.id, id, &minted, new).await;
        let key = inserted.map_err(|error| match error {
            // purged since it was found
            gone if gone.is_foreign_key_violation() => ProvisionError::NotFound(slug.to_owned()),
            other => other.into(),
        })?;
        audit(&client, Some(*tenant.id.as_uuid()), actor, "key.create", &format!("key/{}", key.id), new.details())
            .await?;
        self.finish(client, &key).await?;
        Ok(CreatedKey { info: key, token: minted.text })
    }

    /// All keys of a tenant, revoked ones too, newest first.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::Database`].
    pub async fn keys(&self, slug: &str) -> Result<Vec<ApiKeyInfo>, ProvisionError> {
        self.keys_after(slug, None, i64::MAX).await
    }

    /// At most `limit` keys of a tenant, those made before the key `after`, newest first: ids are ordered by time.
    ///
    /// # Errors
    /// As [`keys`](Self::keys).
    pub async fn keys_after(
        &self,
        slug: &str,
        after: Option<ApiKeyId>,
        limit: i64,
    ) -> Result<Vec<ApiKeyInfo>, ProvisionError> {
        let client = self.control.get().await?;
        let tenant = list::by_slug(&client, slug).await?;
        let keys = list_of(&client, tenant.id, after, limit).await?;
        client.give_back();
        Ok(keys)
    }

    /// Revokes a key; every server refuses it within a second. Revoking again changes nothing.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::UnknownKey`], [`ProvisionError::Database`].
    pub async fn revoke_key(&self, slug: &str, key: ApiKeyId, actor: &Actor) -> Result<ApiKeyInfo, ProvisionError> {
        let client = self.control.get().await?;
        client.batch_execute(once::BEGIN).await?;
        let tenant = list::by_slug(&client, slug).await?;
        let params = [typed(key.as_uuid(), Type::UUID), typed(tenant.id.as_uuid(), Type::UUID)];
        let sql = format!(
            "UPDATE public.tenant_api_keys SET revoked_at = clock_timestamp() \
             WHERE id = $1 AND tenant_id = $2 AND revoked_at IS NULL RETURNING {COLUMNS}"
        );
        let mut rows = client.query_typed(&sql, &params).await?;
        if rows.is_empty() {
            let sql = format!("SELECT {COLUMNS} FROM public.tenant_api_keys WHERE id = $1 AND tenant_id = $2");
            rows = client.query_typed(&sql, &params).await?;
        } else {
            audit(&client, Some(*tenant.id.as_uuid()), actor, "key.revoke", &format!("key/{key}"), json!({})).await?;
        }
        let Some(row) = rows.first() else { return Err(ProvisionError::UnknownKey(key.to_string())) };
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(info(row))
    }
}

impl ApiKeyInfo {
    /// Names the key as it is: made of what can change of it, so it is another after a change, and that of before when the change is
    /// taken back.
    #[must_use]
    pub fn version(&self) -> i64 {
        let mut hash = Sha256::new();
        hash.update(self.id.as_uuid().as_bytes());
        let revoked = self.revoked_at.map(|at| at.timestamp_micros());
        for part in [self.requests_per_minute.map(i64::from), revoked] {
            hash.update([u8::from(part.is_some())]);
            hash.update(part.unwrap_or_default().to_be_bytes());
        }
        let mut bytes = [0; 8];
        bytes[1..].copy_from_slice(&hash.finalize()[..7]);
        // as many bits as a number in JSON can have
        i64::from_be_bytes(bytes) >> 3
    }
}

/// Scopes are words that a domain gives a meaning; here they are only kept in shape.
pub(crate) fn check_scopes(scopes: &[String]) -> Result<(), ProvisionError> {
    let word = |s: &String| {
        (1..=64).contains(&s.len())
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'/' | b'*' | b'-'))
    };
    if scopes.len() <= 32 && scopes.iter().all(word) {
        return Ok(());
    }
    let detail = "at most 32 scopes, each 1 to 64 of A-Z, a-z, 0-9, `_`, `.`, `:`, `/`, `*` and `-`".to_owned();
    Err(ProvisionError::Invalid { member: "scopes", detail })
}
