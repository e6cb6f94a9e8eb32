//! Accounts that providers are called with.

use secrecy::SecretString;
use serde_json::{Map, Value};
use tenantry_postgres::{TenantContext, TenantTx, statements};
use tenantry_secrets::Secrets;
use uuid::Uuid;

use crate::account::AccountStatus;
use crate::store::column;
use crate::store::sealed::access_token;
use crate::{Error, Kind, UnknownWord};

statements! {
    /// An account to call a provider with: by id, by name, or the oldest active one of a provider.
    ACCOUNT_TO_CALL_WITH(UUID, TEXT, TEXT) =
        "SELECT id, provider, status, version, account_meta, encrypted_access_token FROM tenant.provider_accounts \
         WHERE CASE WHEN $1::uuid IS NOT NULL THEN id = $1 \
                    WHEN $2::text IS NOT NULL THEN name = $2 \
                    ELSE provider = $3 AND status = 'active' END \
         ORDER BY status = 'active' DESC, created_at, id LIMIT 1";
    /// Notes that an account was used, unless that was noted a moment ago. Not a change that somebody makes: the version stays.
    NOTE_ACCOUNT_USED(UUID) =
        "UPDATE tenant.provider_accounts SET last_used_at = now() \
         WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '30 seconds')";
    /// Notes that a provider refused an account's credential.
    NOTE_ACCOUNT_REFUSED(UUID, TEXT) =
        "UPDATE tenant.provider_accounts SET last_error = $2, last_error_at = now() WHERE id = $1 AND status = 'active'";
}

/// Which account to call a provider with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Which {
    /// This one.
    Id(Uuid),
    /// The one that is called so; the oldest active one, if several are.
    Named(String),
    /// The oldest active one of a provider.
    OldestOf(&'static str),
}

/// An account to call a provider with. Its secret is still sealed.
#[derive(Debug)]
pub struct ToCallWith {
    /// Its id.
    pub id: Uuid,
    /// The provider.
    pub provider: String,
    /// Whether it can be used.
    pub status: AccountStatus,
    /// Changes with the secret.
    pub version: i64,
    /// What the company notes about it.
    pub meta: Map<String, Value>,
    sealed: Vec<u8>,
}

impl ToCallWith {
    /// Opens its access token.
    ///
    /// # Errors
    /// [`Error::Secrets`].
    pub async fn open(&self, secrets: &Secrets, context: &TenantContext) -> Result<SecretString, Error> {
        Ok(secrets.open(context, access_token(self.id), &self.sealed).await?)
    }
}

/// Finds an account to call a provider with, usable or not; one statement.
///
/// # Errors
/// Only the database's.
pub async fn to_call_with(tx: &mut TenantTx, which: &Which) -> Result<Option<ToCallWith>, Error> {
    let (id, name, provider) = match which {
        Which::Id(id) => (Some(*id), None, None),
        Which::Named(name) => (None, Some(name.as_str()), None),
        Which::OldestOf(provider) => (None, None, Some(*provider)),
    };
    let Some(row) = tx.query_opt(&ACCOUNT_TO_CALL_WITH, &[&id, &name, &provider]).await? else { return Ok(None) };
    let id: Uuid = column!(row, "id");
    let corrupt = |column, reason: String| Error::Corrupt { kind: Kind::ProviderAccount, id, column, reason };
    let status: &str = column!(row, "status");
    let meta: Value = column!(row, "account_meta");
    Ok(Some(ToCallWith {
        id,
        provider: column!(row, "provider"),
        status: status.parse().map_err(|e: UnknownWord| corrupt("status", e.to_string()))?,
        version: column!(row, "version"),
        meta: serde_json::from_value(meta).map_err(|e| corrupt("account_meta", e.to_string()))?,
        sealed: column!(row, "encrypted_access_token"),
    }))
}

/// Notes that an account was used; one statement. Told often, it writes twice a minute at most.
///
/// # Errors
/// Only the database's.
pub async fn note_used(tx: &mut TenantTx, id: Uuid) -> Result<(), Error> {
    tx.execute(&NOTE_ACCOUNT_USED, &[&id]).await?;
    Ok(())
}

/// Notes that a provider refused an account's credential; one statement.
///
/// # Errors
/// Only the database's.
pub async fn note_refused(tx: &mut TenantTx, id: Uuid, why: &str) -> Result<(), Error> {
    tx.execute(&NOTE_ACCOUNT_REFUSED, &[&id, &why]).await?;
    Ok(())
}
