//! Accounts whose tokens come from an authorization and are renewed.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::json;
use tenantry_postgres::{TenantTx, statements};
use tenantry_secrets::Secrets;

use super::{INSERT_ACCOUNT, ROTATE_ACCOUNT, columns, note, read, ring, seal_both, why_not_rotated};
use crate::account::{AccountStatus, ProviderAccount};
use crate::store::column;
use crate::{Error, ProviderAccountId};

statements! {
    /// Takes accounts whose tokens are due, for a while.
    TAKE_DUE_ACCOUNTS(TIMESTAMPTZ, TIMESTAMPTZ, INT8) =
        "UPDATE tenant.provider_accounts SET refresh_leased_until = $2 WHERE id IN ( \
           SELECT id FROM tenant.provider_accounts \
           WHERE status = 'active' AND refresh_at <= $1 AND encrypted_refresh_token IS NOT NULL \
             AND (refresh_leased_until IS NULL OR refresh_leased_until <= $1) \
           ORDER BY refresh_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED) \
         RETURNING id, provider, encrypted_refresh_token, access_token_expires_at";
    /// New tokens in the place of exactly those that were spent.
    STORE_RENEWED(UUID, BYTEA, BYTEA, TIMESTAMPTZ, BYTEA, TEXT, TIMESTAMPTZ) = concat!(
        "UPDATE tenant.provider_accounts SET \
           encrypted_access_token = $3, access_token_expires_at = $4, encrypted_refresh_token = $5, secret_hint = $6, \
           refresh_at = $7, refresh_leased_until = NULL, last_error = NULL, last_error_at = NULL, \
           version = version + 1, updated_at = now() \
         WHERE id = $1 AND encrypted_refresh_token = $2 RETURNING ", columns!()
    );
    /// What went wrong, and whether it is tried again.
    NOTE_NOT_RENEWED(UUID, BYTEA, TEXT, TIMESTAMPTZ, TEXT, TIMESTAMPTZ) = concat!(
        "UPDATE tenant.provider_accounts SET \
           status = $3, last_error = $5, last_error_at = $4, refresh_at = $6, refresh_leased_until = NULL, \
           version = version + 1, updated_at = now() \
         WHERE id = $1 AND encrypted_refresh_token = $2 AND status = 'active' RETURNING ", columns!()
    );
    /// When the next token is due.
    NEXT_DUE_ACCOUNT() =
        "SELECT min(greatest(refresh_at, refresh_leased_until)) AS at FROM tenant.provider_accounts \
         WHERE status = 'active' AND refresh_at IS NOT NULL AND encrypted_refresh_token IS NOT NULL";
}

/// What an authorization has brought.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) account: Option<ProviderAccountId>,
    pub(crate) provider: String,
    pub(crate) name: Option<String>,
    pub(crate) owner_key: Option<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) started_by: String,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) refresh_at: Option<DateTime<Utc>>,
    pub(crate) access: SecretString,
    pub(crate) refresh: Option<SecretString>,
}

/// Makes an account of an authorization, or gives one its new tokens.
///
/// # Errors
/// For one that was revoked or removed meanwhile: [`KeychainError::Revoked`], [`Error::NotFound`].
pub(crate) async fn connect(
    tx: &mut TenantTx,
    secrets: &Secrets,
    connected: &Connected,
) -> Result<ProviderAccount, Error> {
    let context = tx.context().clone();
    let id = connected.account.unwrap_or_else(ProviderAccountId::generate);
    let (access, refresh) = (&connected.access, connected.refresh.as_ref());
    let sealed = seal_both(secrets, &context, *id.as_uuid(), access, refresh).await?;
    let scopes = json!(connected.scopes);
    let nothing = None::<DateTime<Utc>>;
    let row = if connected.account.is_some() {
        tx.query_opt(
            &ROTATE_ACCOUNT,
            &[
                id.as_uuid(),
                &None::<i64>,
                &sealed.access,
                &connected.expires_at,
                &sealed.refresh,
                &nothing,
                &sealed.hint,
                &connected.refresh_at,
                &Some(scopes),
            ],
        )
        .await?
    } else {
        let name = connected.name.as_deref().unwrap_or_default();
        tx.query_opt(
            &INSERT_ACCOUNT,
            &[
                id.as_uuid(),
                &connected.provider,
                &name,
                &connected.owner_key,
                &sealed.access,
                &connected.expires_at,
                &sealed.refresh,
                &nothing,
                &scopes,
                &json!({}),
                &sealed.hint,
                &connected.refresh_at,
            ],
        )
        .await?
    };
    let Some(row) = row else { return Err(why_not_rotated(tx, id, None).await) };
    let account = read(&row)?;
    let details = json!({ "provider": account.provider, "started_by": connected.started_by });
    note(tx, if connected.account.is_some() { "reconnect" } else { "connect" }, &account, details);
    ring(tx, connected.refresh_at).await?;
    Ok(account)
}

/// An account whose tokens are due, taken for a while.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) id: ProviderAccountId,
    pub(crate) provider: String,
    pub(crate) sealed_refresh: Vec<u8>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

/// Takes accounts whose tokens are due, so that no other server is at them until then.
pub(crate) async fn take_due(
    tx: &mut TenantTx,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    most: i64,
) -> Result<Vec<Due>, Error> {
    let rows = tx.query(&TAKE_DUE_ACCOUNTS, &[&now, &until, &most]).await?;
    let mut due = Vec::with_capacity(rows.len());
    for row in &rows {
        due.push(Due {
            id: ProviderAccountId::from_uuid(column!(row, "id")),
            provider: column!(row, "provider"),
            sealed_refresh: column!(row, "encrypted_refresh_token"),
            expires_at: column!(row, "access_token_expires_at"),
        });
    }
    Ok(due)
}

/// What became of a renewal.
pub(crate) enum Renewed {
    /// New tokens; without a new one, the refresh token stays.
    Tokens {
        access: SecretString,
        refresh: Option<SecretString>,
        expires_at: Option<DateTime<Utc>>,
        refresh_at: Option<DateTime<Utc>>,
    },
    /// The account is of no use any more, and why.
    Lost(String),
    /// It is tried again then.
    Later(String, DateTime<Utc>),
}

/// Keeps what became of a renewal, unless somebody has given the account other tokens meanwhile.
pub(crate) async fn renew(
    tx: &mut TenantTx,
    secrets: &Secrets,
    due: &Due,
    renewed: &Renewed,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let context = tx.context().clone();
    let id = *due.id.as_uuid();
    let row = match renewed {
        Renewed::Tokens { access, refresh, expires_at, refresh_at } => {
            let sealed = seal_both(secrets, &context, id, access, refresh.as_ref()).await?;
            let kept = sealed.refresh.as_ref().unwrap_or(&due.sealed_refresh);
            tx.query_opt(
                &STORE_RENEWED,
                &[&id, &due.sealed_refresh, &sealed.access, expires_at, kept, &sealed.hint, refresh_at],
            )
            .await?
        }
        Renewed::Lost(why) => {
            let status = AccountStatus::Error.as_str();
            let never = None::<DateTime<Utc>>;
            tx.query_opt(&NOTE_NOT_RENEWED, &[&id, &due.sealed_refresh, &status, &now, why, &never]).await?
        }
        Renewed::Later(why, at) => {
            let status = AccountStatus::Active.as_str();
            tx.query_opt(&NOTE_NOT_RENEWED, &[&id, &due.sealed_refresh, &status, &now, why, &Some(*at)]).await?
        }
    };
    let Some(row) = row else { return Ok(()) };
    let account = read(&row)?;
    match renewed {
        Renewed::Tokens { .. } => note(tx, "refresh", &account, json!({})),
        Renewed::Lost(why) => note(tx, "error", &account, json!({ "reason": why })),
        // The event of a try that is repeated every half minute would tell nothing.
        Renewed::Later(..) => {}
    }
    Ok(())
}

/// Sets the alarm to the next account that is due.
pub(crate) async fn set_alarm_anew(tx: &mut TenantTx, kind: &'static str) -> Result<(), Error> {
    tx.hold_alarm(kind).await?;
    let row = tx.query_one(&NEXT_DUE_ACCOUNT, &[]).await?;
    let next: Option<DateTime<Utc>> = column!(row, "at");
    Ok(tx.reset_alarm(kind, next, None).await?)
}
