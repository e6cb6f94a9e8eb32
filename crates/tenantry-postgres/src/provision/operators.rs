use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenantry_core::{OperatorRole, TokenKind};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Provisioner, audit, check_expiry, check_name};
use crate::clients::typed;
use crate::error::{DbError, ProvisionError};
use crate::once;
use crate::registry::Actor;

const COLUMNS: &str = "id, name, role, lookup, created_at, expires_at, revoked_at";

/// An operator's token without its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OperatorInfo {
    /// Id.
    pub id: Uuid,
    /// Name, by which audit events call the operator.
    pub name: String,
    /// What the token may do.
    pub role: OperatorRole,
    /// The public part of the token, to recognise it by.
    pub lookup: String,
    /// Created.
    pub created_at: DateTime<Utc>,
    /// Not valid from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// Revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// An operator's token just created.
#[derive(Debug)]
pub struct CreatedOperator {
    /// The operator.
    pub info: OperatorInfo,
    /// The whole token, shown once.
    pub token: SecretString,
}

fn info(row: &Row) -> OperatorInfo {
    OperatorInfo {
        id: row.get("id"),
        name: row.get("name"),
        // The table has a constraint. Whoever added a role to it and not here gets the least.
        role: row.get::<_, &str>("role").parse().unwrap_or(OperatorRole::Viewer),
        lookup: row.get("lookup"),
        created_at: row.get("created_at"),
        expires_at: row.get("expires_at"),
        revoked_at: row.get("revoked_at"),
    }
}

impl Provisioner {
    /// Creates an operator's token that may do everything, valid until it is revoked.
    ///
    /// # Errors
    /// As [`issue_operator`](Self::issue_operator).
    pub async fn create_operator(&self, name: &str, actor: &Actor) -> Result<SecretString, ProvisionError> {
        Ok(self.issue_operator(name, OperatorRole::Admin, None, actor).await?.token)
    }

    /// Creates an operator's token for the control plane.
    ///
    /// # Errors
    /// [`ProvisionError::OperatorTaken`], [`ProvisionError::Invalid`], [`ProvisionError::Database`].
    pub async fn issue_operator(
        &self,
        name: &str,
        role: OperatorRole,
        expires_at: Option<DateTime<Utc>>,
        actor: &Actor,
    ) -> Result<CreatedOperator, ProvisionError> {
        check_name(name)?;
        let token = |id| once::mint(self.once.as_deref(), &self.secret, TokenKind::Operator, id);
        let client = self.control.get().await?;
        if let Some(info) = self.start::<OperatorInfo>(&client).await? {
            client.give_back();
            return Ok(CreatedOperator { token: token(info.id).text, info });
        }
        check_expiry(expires_at, Utc::now())?;
        let id = Uuid::now_v7();
        let minted = token(id);
        let sql = format!(
            "INSERT INTO public.operator_tokens (id, name, lookup, hash, expires_at, role) VALUES ($1, $2, $3, $4, $5, $6) RETURNING {COLUMNS}"
        );
        let stored = client
            .query_typed(
                &sql,
                &[
                    typed(&id, Type::UUID),
                    typed(&name, Type::TEXT),
                    typed(&minted.lookup, Type::TEXT),
                    typed(&minted.hash.as_bytes(), Type::BYTEA),
                    typed(&expires_at, Type::TIMESTAMPTZ),
                    typed(&role.as_str(), Type::TEXT),
                ],
            )
            .await
            .map_err(DbError::from);
        let rows = match stored {
            Err(error) if error.constraint() == Some("operator_tokens_name_key") => {
                return Err(ProvisionError::OperatorTaken(name.to_owned()));
            }
            other => other?,
        };
        let row = rows.first().ok_or(DbError::Misuse("an operator was not stored"))?;
        let info = info(row);
        let details = json!({ "name": name, "role": role });
        audit(&client, None, actor, "operator.create", &format!("operator/{id}"), details).await?;
        self.finish(client, &info).await?;
        Ok(CreatedOperator { info, token: minted.text })
    }

    /// At most `limit` operators, revoked ones too, those made before the operator `after`, newest first.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn operators(&self, after: Option<Uuid>, limit: i64) -> Result<Vec<OperatorInfo>, ProvisionError> {
        let client = self.control.get().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM public.operator_tokens WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"
        );
        let rows = client.query_typed(&sql, &[typed(&after, Type::UUID), typed(&limit, Type::INT8)]).await?;
        client.give_back();
        Ok(rows.iter().map(info).collect())
    }

    /// Revokes an operator's token by its name, also the last one: whoever can call this can make a new one.
    ///
    /// # Errors
    /// [`ProvisionError::UnknownOperator`], [`ProvisionError::Database`].
    pub async fn revoke_operator(&self, name: &str, actor: &Actor) -> Result<(), ProvisionError> {
        let client = self.control.get().await?;
        let rows = client
            .query_typed("SELECT id FROM public.operator_tokens WHERE name = $1", &[typed(&name, Type::TEXT)])
            .await?;
        client.give_back();
        let id = rows.first().map(|row| row.get(0)).ok_or_else(|| ProvisionError::UnknownOperator(name.to_owned()))?;
        self.revoke(id, false, actor).await?;
        Ok(())
    }

    /// Revokes an operator's token by its id, unless it is the last valid one of an admin: operators cannot lock everybody out of the
    /// control plane, not even two at once that revoke each other. Revoking again changes nothing.
    ///
    /// # Errors
    /// [`ProvisionError::UnknownOperator`], [`ProvisionError::LastOperator`], [`ProvisionError::Database`].
    pub async fn revoke_operator_token(&self, id: Uuid, actor: &Actor) -> Result<OperatorInfo, ProvisionError> {
        self.revoke(id, true, actor).await
    }

    async fn revoke(&self, id: Uuid, keep_last: bool, actor: &Actor) -> Result<OperatorInfo, ProvisionError> {
        let client = self.control.get().await?;
        client.batch_execute(once::BEGIN).await?;
        // Locks every token that counts, in one order: a second revocation waits here and then sees the first.
        let sql = format!(
            "SELECT {COLUMNS}, expires_at <= clock_timestamp() AS expired FROM public.operator_tokens \
             WHERE revoked_at IS NULL OR id = $1 ORDER BY id FOR UPDATE"
        );
        let rows = client.query_typed(&sql, &[typed(&id, Type::UUID)]).await?;
        let found = rows.iter().map(info).find(|operator| operator.id == id);
        let Some(operator) = found else { return Err(ProvisionError::UnknownOperator(id.to_string())) };
        if operator.revoked_at.is_some() {
            client.batch_execute("COMMIT").await?;
            client.give_back();
            return Ok(operator);
        }
        let valid = |row: &Row| {
            row.get::<_, &str>("role") == OperatorRole::Admin.as_str()
                && row.get::<_, Option<DateTime<Utc>>>("revoked_at").is_none()
                && row.get::<_, Option<bool>>("expired") != Some(true)
        };
        let others = rows.iter().filter(|row| row.get::<_, Uuid>("id") != id && valid(row)).count();
        if keep_last && operator.role == OperatorRole::Admin && others == 0 {
            return Err(ProvisionError::LastOperator(operator.name));
        }
        let sql = format!(
            "UPDATE public.operator_tokens SET revoked_at = clock_timestamp() WHERE id = $1 RETURNING {COLUMNS}"
        );
        let rows = client.query_typed(&sql, &[typed(&id, Type::UUID)]).await?;
        let row = rows.first().ok_or(DbError::Misuse("a locked operator was not found"))?;
        let details = json!({ "name": operator.name });
        audit(&client, None, actor, "operator.revoke", &format!("operator/{id}"), details).await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(info(row))
    }
}
