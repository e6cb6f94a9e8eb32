use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::json;
use tenantry_core::{ApiKeyId, MintedToken, TenantId, TokenKind};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::{ApiKeyInfo, CreatedKey, Provisioner, audit, list};
use crate::clients::typed;
use crate::error::{DbError, ProvisionError};
use crate::registry::Actor;

const COLUMNS: &str = "id, name, lookup, scopes, created_at, expires_at, revoked_at";

pub(super) async fn insert(
    client: &Client,
    tenant: TenantId,
    name: &str,
    scopes: &[String],
    expires_at: Option<DateTime<Utc>>,
) -> Result<(ApiKeyInfo, SecretString), DbError> {
    let minted = MintedToken::mint(TokenKind::TenantKey);
    let id = ApiKeyId::generate();
    let rows = client
        .query_typed(
            &format!(
                "INSERT INTO public.tenant_api_keys (id, tenant_id, name, lookup, hash, scopes, expires_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {COLUMNS}"
            ),
            &[
                typed(id.as_uuid(), Type::UUID),
                typed(tenant.as_uuid(), Type::UUID),
                typed(&name, Type::TEXT),
                typed(&minted.lookup, Type::TEXT),
                typed(&minted.hash.as_bytes(), Type::BYTEA),
                typed(&scopes, Type::TEXT_ARRAY),
                typed(&expires_at, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let row = rows.first().ok_or(DbError::Misuse("a key was not stored"))?;
    Ok((info(row), minted.text))
}

fn info(row: &Row) -> ApiKeyInfo {
    ApiKeyInfo {
        id: ApiKeyId::from_uuid(row.get("id")),
        name: row.get("name"),
        lookup: row.get("lookup"),
        scopes: row.get("scopes"),
        created_at: row.get("created_at"),
        expires_at: row.get("expires_at"),
        revoked_at: row.get("revoked_at"),
    }
}

impl Provisioner {
    /// Creates an API key; its token is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::Invalid`], [`ProvisionError::Database`].
    pub async fn create_key(
        &self,
        slug: &str,
        name: &str,
        scopes: &[String],
        expires_at: Option<DateTime<Utc>>,
        actor: &Actor,
    ) -> Result<CreatedKey, ProvisionError> {
        if name.is_empty() || name.chars().count() > 100 {
            return Err(ProvisionError::Invalid("a key's name has 1 to 100 characters".into()));
        }
        let client = self.control.get().await?;
        client.batch_execute("BEGIN").await?;
        let tenant = list::by_slug(&client, slug).await?;
        let (key, token) = insert(&client, tenant.id, name, scopes, expires_at).await?;
        audit(
            &client,
            Some(*tenant.id.as_uuid()),
            actor,
            "key.create",
            &format!("key/{}", key.id),
            json!({ "name": name }),
        )
        .await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(CreatedKey { info: key, token })
    }

    /// A tenant's keys, revoked ones too, newest first.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::Database`].
    pub async fn keys(&self, slug: &str) -> Result<Vec<ApiKeyInfo>, ProvisionError> {
        let client = self.control.get().await?;
        let tenant = list::by_slug(&client, slug).await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM public.tenant_api_keys WHERE tenant_id = $1 ORDER BY created_at DESC, id DESC"
        );
        let rows = client.query_typed(&sql, &[typed(tenant.id.as_uuid(), Type::UUID)]).await?;
        client.give_back();
        Ok(rows.iter().map(info).collect())
    }

    /// Revokes a key; every server refuses it within a second. Revoking again changes nothing.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::UnknownKey`], [`ProvisionError::Database`].
    pub async fn revoke_key(&self, slug: &str, key: ApiKeyId, actor: &Actor) -> Result<ApiKeyInfo, ProvisionError> {
        let client = self.control.get().await?;
        client.batch_execute("BEGIN").await?;
        let tenant = list::by_slug(&client, slug).await?;
        let sql = format!(
            "UPDATE public.tenant_api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 AND tenant_id = $2 RETURNING {COLUMNS}"
        );
        let rows = client
            .query_typed(&sql, &[typed(key.as_uuid(), Type::UUID), typed(tenant.id.as_uuid(), Type::UUID)])
            .await?;
        let Some(row) = rows.first() else { return Err(ProvisionError::UnknownKey(key.to_string())) };
        audit(&client, Some(*tenant.id.as_uuid()), actor, "key.revoke", &format!("key/{key}"), json!({})).await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(info(row))
    }

    /// Creates an operator's token for the control plane.
    ///
    /// # Errors
    /// [`ProvisionError::Invalid`] when the name is taken, [`ProvisionError::Database`].
    pub async fn create_operator(&self, name: &str, actor: &Actor) -> Result<SecretString, ProvisionError> {
        let minted = MintedToken::mint(TokenKind::Operator);
        let id = Uuid::now_v7();
        let client = self.control.get().await?;
        client.batch_execute("BEGIN").await?;
        let stored = client
            .execute_typed(
                "INSERT INTO public.operator_tokens (id, name, lookup, hash) VALUES ($1, $2, $3, $4)",
                &[
                    typed(&id, Type::UUID),
                    typed(&name, Type::TEXT),
                    typed(&minted.lookup, Type::TEXT),
                    typed(&minted.hash.as_bytes(), Type::BYTEA),
                ],
            )
            .await
            .map_err(DbError::from);
        if let Err(error) = stored {
            return Err(if error.is_unique_violation() {
                ProvisionError::Invalid(format!("operator `{name}` exists already"))
            } else {
                error.into()
            });
        }
        audit(&client, None, actor, "operator.create", &format!("operator/{id}"), json!({ "name": name })).await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(minted.text)
    }

    /// Revokes an operator's token by its name.
    ///
    /// # Errors
    /// [`ProvisionError::UnknownKey`], [`ProvisionError::Database`].
    pub async fn revoke_operator(&self, name: &str, actor: &Actor) -> Result<(), ProvisionError> {
        let client = self.control.get().await?;
        client.batch_execute("BEGIN").await?;
        let sql = "UPDATE public.operator_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE name = $1";
        if client.execute_typed(sql, &[typed(&name, Type::TEXT)]).await? == 0 {
            return Err(ProvisionError::UnknownKey(name.to_owned()));
        }
        audit(&client, None, actor, "operator.revoke", &format!("operator/{name}"), json!({})).await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(())
    }
}
