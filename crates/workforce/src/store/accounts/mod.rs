//! The table `provider_accounts`. Secrets come sealed, or are sealed here, and leave only to be used.

pub(super) mod calling;
pub(super) mod renewal;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tenantry_http::Limit;
use tenantry_postgres::{Row, TenantContext, TenantTx, statements};
use tenantry_secrets::Secrets;
use uuid::Uuid;

use super::column;
use super::sealed::{access_token, refresh_token};
use crate::account::{
    AccountFilter, AccountStatus, CreateProviderAccount, ProviderAccount, RotateProviderAccount, UpdateProviderAccount,
};
use crate::keychain::KeychainError;
use crate::keychain::oauth::ALARM;
use crate::page::{List, Page, Position};
use crate::write_only::{WriteOnly, hint};
use crate::{Error, Kind, Patch, ProviderAccountId, UnknownWord, Valid};

pub use calling::{ToCallWith, Which, note_refused, note_used, to_call_with};
pub(crate) use renewal::{Connected, Due, Renewed, connect, renew, set_alarm_anew, take_due};

macro_rules! columns {
    () => {
        "id, provider, name, status, owner_key, secret_hint, encrypted_refresh_token IS NOT NULL AS has_refresh_token, \
         access_token_expires_at, refresh_token_expires_at, scopes, account_meta, last_error, last_error_at, last_used_at, \
         version, created_at, updated_at"
    };
}
use columns;

statements! {
    /// One account by id.
    FIND_ACCOUNT(UUID) = concat!("SELECT ", columns!(), " FROM tenant.provider_accounts WHERE id = $1");
    /// A page of accounts.
    LIST_ACCOUNTS(TEXT, TEXT, TEXT, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", columns!(), " FROM tenant.provider_accounts \
         WHERE ($1::text IS NULL OR status = $1) \
           AND ($2::text IS NULL OR provider = $2) \
           AND ($3::text IS NULL OR owner_key = $3) \
           AND (created_at, id) < (COALESCE($4, 'infinity'::timestamptz), \
                                   COALESCE($5, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) \
         ORDER BY created_at DESC, id DESC LIMIT $6"
    );
    /// A new account.
    INSERT_ACCOUNT(UUID, TEXT, TEXT, TEXT, BYTEA, TIMESTAMPTZ, BYTEA, TIMESTAMPTZ, JSONB, JSONB, TEXT, TIMESTAMPTZ) = concat!(
        "INSERT INTO tenant.provider_accounts (id, provider, name, owner_key, encrypted_access_token, access_token_expires_at, \
           encrypted_refresh_token, refresh_token_expires_at, scopes, account_meta, secret_hint, refresh_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING ", columns!()
    );
    /// Changes what is not NULL; `owner_key` has a flag of its own because NULL is one of its values.
    UPDATE_ACCOUNT(UUID, INT8, TEXT, BOOL, TEXT, JSONB) = concat!(
        "UPDATE tenant.provider_accounts SET \
           name = COALESCE($3, name), \
           owner_key = CASE WHEN $4 THEN $5 ELSE owner_key END, \
           account_meta = COALESCE($6, account_meta), \
           version = version + 1, updated_at = now() \
         WHERE id = $1 AND version = $2 RETURNING ", columns!()
    );
    /// Other secrets in the place of all that there were. A revoked account gets none.
    ROTATE_ACCOUNT(UUID, INT8, BYTEA, TIMESTAMPTZ, BYTEA, TIMESTAMPTZ, TEXT, TIMESTAMPTZ, JSONB) = concat!(
        "UPDATE tenant.provider_accounts SET \
           encrypted_access_token = $3, access_token_expires_at = $4, encrypted_refresh_token = $5, \
           refresh_token_expires_at = $6, secret_hint = $7, refresh_at = $8, refresh_leased_until = NULL, \
           scopes = COALESCE($9, scopes), status = 'active', last_error = NULL, last_error_at = NULL, \
           version = version + 1, updated_at = now() \
         WHERE id = $1 AND ($2::int8 IS NULL OR version = $2) AND status <> 'revoked' RETURNING ", columns!()
    );
    /// Ends an account; nothing secret stays.
    REVOKE_ACCOUNT(UUID, INT8) = concat!(
        "UPDATE tenant.provider_accounts SET \
           status = 'revoked', encrypted_access_token = '', encrypted_refresh_token = NULL, secret_hint = NULL, \
           refresh_at = NULL, refresh_leased_until = NULL, version = version + 1, updated_at = now() \
         WHERE id = $1 AND ($2::int8 IS NULL OR version = $2) RETURNING ", columns!()
    );
    /// Removes an account.
    DELETE_ACCOUNT(UUID, INT8) = concat!(
        "DELETE FROM tenant.provider_accounts WHERE id = $1 AND ($2::int8 IS NULL OR version = $2) RETURNING ", columns!()
    );
}

/// Secrets of an account, sealed before a connection is taken.
#[derive(Debug)]
pub struct SealedTokens {
    id: Uuid,
    access: Vec<u8>,
    refresh: Option<Vec<u8>>,
    hint: Option<String>,
    refresh_at: Option<DateTime<Utc>>,
}

/// Seals the secrets of an account that is being made (`id`: `None`) or that gets others. `refresh_at`: when they are to be
/// renewed, if anybody can.
///
/// # Errors
/// [`Error::Secrets`].
pub async fn seal(
    secrets: &Secrets,
    context: &TenantContext,
    id: Option<ProviderAccountId>,
    (access, refresh): (&WriteOnly, Option<&WriteOnly>),
    refresh_at: Option<DateTime<Utc>>,
) -> Result<SealedTokens, Error> {
    let id = *id.unwrap_or_else(ProviderAccountId::generate).as_uuid();
    let refresh = refresh.map(WriteOnly::secret);
    let mut sealed = seal_both(secrets, context, id, access.secret(), refresh).await?;
    sealed.refresh_at = refresh.and(refresh_at);
    Ok(sealed)
}

async fn seal_both(
    secrets: &Secrets,
    context: &TenantContext,
    id: Uuid,
    access: &SecretString,
    refresh: Option<&SecretString>,
) -> Result<SealedTokens, Error> {
    let sealed_refresh = match refresh {
        Some(refresh) => Some(secrets.seal(context, refresh_token(id), refresh).await?),
        None => None,
    };
    let sealed_access = secrets.seal(context, access_token(id), access).await?;
    Ok(SealedTokens { id, access: sealed_access, refresh: sealed_refresh, hint: hint(access), refresh_at: None })
}

/// Inserts an account.
///
/// # Errors
/// Only the database's.
pub async fn create(
    tx: &mut TenantTx,
    new: &Valid<CreateProviderAccount>,
    sealed: &SealedTokens,
) -> Result<ProviderAccount, Error> {
    let row = tx
        .query_one(
            &INSERT_ACCOUNT,
            &[
                &sealed.id,
                &new.provider,
                &new.name.as_deref().unwrap_or_default(),
                &new.owner_key,
                &sealed.access,
                &new.access_token_expires_at,
                &sealed.refresh,
                &new.refresh_token_expires_at,
                &json!(new.scopes),
                &Value::Object(new.account_meta.clone()),
                &sealed.hint,
                &sealed.refresh_at,
            ],
        )
        .await?;
    let account = read(&row)?;
    note(tx, "create", &account, json!({ "provider": account.provider }));
    ring(tx, sealed.refresh_at).await?;
    Ok(account)
}

/// Finds an account; one statement.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tx: &mut TenantTx, id: ProviderAccountId) -> Result<ProviderAccount, Error> {
    let row = tx.query_opt(&FIND_ACCOUNT, &[id.as_uuid()]).await?;
    read(&row.ok_or_else(|| not_found(id))?)
}

/// A page of accounts, newest first; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    filter: &AccountFilter,
    after: Option<Position>,
    limit: Limit,
) -> Result<Page<ProviderAccount>, Error> {
    let rows = tx
        .query(
            &LIST_ACCOUNTS,
            &[
                &filter.status.map(AccountStatus::as_str),
                &filter.provider,
                &filter.owner_key,
                &after.map(|p| p.created_at),
                &after.map(|p| p.id),
                &limit.probe(),
            ],
        )
        .await?;
    let accounts = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let position = |a: &ProviderAccount| Position { created_at: a.created_at, id: *a.id.as_uuid() };
    Ok(Page::cut(accounts, limit, List::ProviderAccounts, position))
}

/// Changes what is known about an account that still has the version `expected`.
///
/// # Errors
/// [`Error::NotFound`], [`Error::VersionConflict`].
pub async fn update(
    tx: &mut TenantTx,
    id: ProviderAccountId,
    expected: i64,
    change: &Valid<UpdateProviderAccount>,
) -> Result<ProviderAccount, Error> {
    let name = match &change.name {
        Patch::Keep => None,
        Patch::Clear => Some(""),
        Patch::Set(name) => Some(name.as_str()),
    };
    let meta = match &change.account_meta {
        Patch::Keep => None,
        Patch::Clear => Some(Value::Object(Map::new())),
        Patch::Set(meta) => Some(Value::Object(meta.clone())),
    };
    let owner = (change.owner_key.is_named(), change.owner_key.value());
    let row = tx.query_opt(&UPDATE_ACCOUNT, &[id.as_uuid(), &expected, &name, &owner.0, &owner.1, &meta]).await?;
    let Some(row) = row else { return Err(why_unchanged(tx, id, Some(expected)).await) };
    let account = read(&row)?;
    note(tx, "update", &account, json!({ "changed": change.named() }));
    Ok(account)
}

/// Gives an account other secrets.
///
/// # Errors
/// [`Error::NotFound`], [`Error::VersionConflict`], [`KeychainError::Revoked`].
pub async fn rotate(
    tx: &mut TenantTx,
    id: ProviderAccountId,
    expected: Option<i64>,
    change: &Valid<RotateProviderAccount>,
    sealed: &SealedTokens,
) -> Result<ProviderAccount, Error> {
    let row = tx
        .query_opt(
            &ROTATE_ACCOUNT,
            &[
                id.as_uuid(),
                &expected,
                &sealed.access,
                &change.access_token_expires_at,
                &sealed.refresh,
                &change.refresh_token_expires_at,
                &sealed.hint,
                &sealed.refresh_at,
                &None::<Value>,
            ],
        )
        .await?;
    let Some(row) = row else { return Err(why_not_rotated(tx, id, expected).await) };
    let account = read(&row)?;
    note(tx, "rotate", &account, json!({}));
    ring(tx, sealed.refresh_at).await?;
    Ok(account)
}

/// Ends an account and removes its secrets. Repeated, it changes nothing that matters.
///
/// # Errors
/// [`Error::NotFound`]; with `expected` also [`Error::VersionConflict`].
pub async fn revoke(tx: &mut TenantTx, id: ProviderAccountId, expected: Option<i64>) -> Result<ProviderAccount, Error> {
    let row = tx.query_opt(&REVOKE_ACCOUNT, &[id.as_uuid(), &expected]).await?;
    let Some(row) = row else { return Err(why_unchanged(tx, id, expected).await) };
    let account = read(&row)?;
    note(tx, "revoke", &account, json!({}));
    Ok(account)
}

/// Removes an account that no task names.
///
/// # Errors
/// [`Error::NotFound`], [`KeychainError::InUse`]; with `expected` also [`Error::VersionConflict`].
pub async fn delete(tx: &mut TenantTx, id: ProviderAccountId, expected: Option<i64>) -> Result<(), Error> {
    let row = tx.query_opt(&DELETE_ACCOUNT, &[id.as_uuid(), &expected]).await;
    let row =
        row.map_err(|e| if e.is_foreign_key_violation() { KeychainError::InUse.into() } else { Error::from(e) })?;
    let Some(row) = row else { return Err(why_unchanged(tx, id, expected).await) };
    let account = read(&row)?;
    note(tx, "delete", &account, json!({}));
    Ok(())
}

/// Sees to it that the platform comes in time. The last statement of a transaction.
async fn ring(tx: &mut TenantTx, at: Option<DateTime<Utc>>) -> Result<(), Error> {
    match at {
        Some(at) => Ok(tx.set_alarm(ALARM, at).await?),
        None => Ok(()),
    }
}

/// The audit event of a change and the event that is published.
fn note(tx: &mut TenantTx, what: &str, account: &ProviderAccount, details: Value) {
    tx.audit(&format!("provider_account.{what}"), &format!("provider_account/{}", account.id), details);
    let kind = match what {
        "create" | "connect" => "provider_account.created",
        "delete" => "provider_account.deleted",
        _ => "provider_account.updated",
    };
    tx.publish(kind, json!(account));
}

async fn why_not_rotated(tx: &mut TenantTx, id: ProviderAccountId, expected: Option<i64>) -> Error {
    match find(tx, id).await {
        Ok(account) if account.status == AccountStatus::Revoked => KeychainError::Revoked.into(),
        Ok(_) => why_unchanged(tx, id, expected).await,
        Err(error) => error,
    }
}

/// A change that met no row: is the account gone, or has it another version?
async fn why_unchanged(tx: &mut TenantTx, id: ProviderAccountId, expected: Option<i64>) -> Error {
    match (find(tx, id).await, expected) {
        (Ok(account), Some(expected)) => Error::VersionConflict {
            kind: Kind::ProviderAccount,
            expected,
            actual: account.version,
            current: Box::new(json!(account)),
        },
        (Ok(_), None) => not_found(id),
        (Err(error), _) => error,
    }
}

fn not_found(id: ProviderAccountId) -> Error {
    Error::NotFound { kind: Kind::ProviderAccount, id: *id.as_uuid() }
}

fn read(row: &Row) -> Result<ProviderAccount, Error> {
    let id: Uuid = column!(row, "id");
    let corrupt = |column, reason: String| Error::Corrupt { kind: Kind::ProviderAccount, id, column, reason };
    let status: &str = column!(row, "status");
    let scopes: Value = column!(row, "scopes");
    let meta: Value = column!(row, "account_meta");
    Ok(ProviderAccount {
        id: ProviderAccountId::from_uuid(id),
        provider: column!(row, "provider"),
        name: column!(row, "name"),
        status: status.parse().map_err(|e: UnknownWord| corrupt("status", e.to_string()))?,
        owner_key: column!(row, "owner_key"),
        secret_hint: column!(row, "secret_hint"),
        has_refresh_token: column!(row, "has_refresh_token"),
        access_token_expires_at: column!(row, "access_token_expires_at"),
        refresh_token_expires_at: column!(row, "refresh_token_expires_at"),
        scopes: serde_json::from_value(scopes).map_err(|e| corrupt("scopes", e.to_string()))?,
        account_meta: serde_json::from_value(meta).map_err(|e| corrupt("account_meta", e.to_string()))?,
        last_error: column!(row, "last_error"),
        last_error_at: column!(row, "last_error_at"),
        last_used_at: column!(row, "last_used_at"),
        version: column!(row, "version"),
        created_at: column!(row, "created_at"),
        updated_at: column!(row, "updated_at"),
    })
}
