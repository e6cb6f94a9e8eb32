//! Tokens are renewed before they end, by one server at a time.
//!
//! An alarm of the registry says which tenants have something due; in the tenant, an account is taken for a while before its
//! provider is asked, so that no two servers spend the same refresh token. New tokens replace exactly those that were spent: when
//! somebody has given the account others meanwhile, theirs stay.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use tenantry_core::Slug;
use tenantry_postgres::{AccessError, Registry, TenantContext, TenantDb};

use super::NoTokens;
use crate::Error;
use crate::keychain::Keychain;
use crate::store::accounts::{self, Due, Renewed};
use crate::store::sealed::refresh_token;

/// The alarm that tells of tokens to be renewed.
pub const ALARM: &str = "token_refresh";

/// A token is renewed so long before its end, or at half its life when that is shorter.
const MARGIN: TimeDelta = TimeDelta::minutes(5);
/// How long a server may be at an account or a tenant; longer than a provider may take to answer.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// Until the next try after a provider that was away.
const PAUSE: TimeDelta = TimeDelta::seconds(30);
/// A provider that is still away so long after the token's end has lost us the account.
const PATIENCE: TimeDelta = TimeDelta::minutes(30);
const TENANTS_AT_ONCE: i64 = 8;
const ACCOUNTS_AT_ONCE: i64 = 50;

/// When a token with this life is to be renewed.
pub(crate) fn before_end(now: DateTime<Utc>, lifetime: TimeDelta) -> DateTime<Utc> {
    let lifetime = lifetime.max(TimeDelta::zero());
    let margin = MARGIN.min(lifetime / 2);
    now.checked_add_signed(lifetime - margin).unwrap_or(now)
}

/// Renews tokens for as long as the server runs.
pub async fn keep_fresh(registry: Registry, db: TenantDb, keychain: Keychain, pause: Duration) {
    loop {
        match refresh_due(&registry, &db, &keychain).await {
            // More may be waiting.
            Ok(renewed) if renewed > 0 => continue,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(target: "tenantry::oauth", %error, "tokens that are due could not be looked for")
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// Renews what is due now; gives the number of accounts that were looked at.
///
/// # Errors
/// Only of the registry; what goes wrong in one tenant is logged and tried again.
pub async fn refresh_due(registry: &Registry, db: &TenantDb, keychain: &Keychain) -> Result<usize, Error> {
    let now = keychain.oauth.inner.clock.now();
    let tenants = registry.take_alarms(ALARM, now, LEASE, TENANTS_AT_ONCE).await?;
    let jobs = tenants.into_iter().map(async |slug| match of_tenant(registry, db, keychain, &slug).await {
        Ok(accounts) => accounts,
        Err(error) => {
            tracing::warn!(target: "tenantry::oauth", tenant = %slug, %error, "tokens of a tenant were not renewed");
            0
        }
    });
    Ok(futures_util::future::join_all(jobs).await.into_iter().sum())
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Domain(#[from] Error),
}

impl From<tenantry_postgres::DbError> for Failure {
    fn from(error: tenantry_postgres::DbError) -> Self {
        Self::Domain(error.into())
    }
}

#[expect(clippy::disallowed_methods, reason = "the platform renews tokens without being asked")]
async fn of_tenant(registry: &Registry, db: &TenantDb, keychain: &Keychain, slug: &Slug) -> Result<usize, Failure> {
    let context = registry.system_context(slug, "token refresh").await?;
    let now = keychain.oauth.inner.clock.now();
    let mut tx = db.begin(&context).await?;
    let due = accounts::take_due(&mut tx, now, now + LEASE, ACCOUNTS_AT_ONCE).await?;
    tx.commit().await?;
    let found = due.len();
    let mut jobs =
        futures_util::stream::iter(due.into_iter().map(|due| one(db, keychain, &context, due))).buffer_unordered(4);
    while let Some(outcome) = jobs.next().await {
        if let Err(error) = outcome {
            tracing::warn!(target: "tenantry::oauth", tenant = %slug, %error, "a token was not renewed");
        }
    }
    let mut tx = db.begin(&context).await?;
    accounts::set_alarm_anew(&mut tx, ALARM).await?;
    tx.commit().await?;
    Ok(found)
}

async fn one(db: &TenantDb, keychain: &Keychain, context: &TenantContext, due: Due) -> Result<(), Error> {
    let clock = &keychain.oauth.inner.clock;
    let refresh = keychain.secrets.open(context, refresh_token(*due.id.as_uuid()), &due.sealed_refresh).await?;
    let outcome = match keychain.oauth.provider(&due.provider) {
        Ok(provider) => keychain.oauth.renew(provider, &refresh).await,
        // Other servers of the installation may know it, and this one may be told tomorrow.
        Err(error) => Err(NoTokens::Away(error.to_string())),
    };
    let now = clock.now();
    let renewed = match outcome {
        Ok(given) => Renewed::Tokens {
            expires_at: given.lifetime.and_then(|lifetime| now.checked_add_signed(lifetime)),
            refresh_at: given.lifetime.map(|lifetime| before_end(now, lifetime)),
            access: given.access,
            refresh: given.refresh,
        },
        Err(NoTokens::Refused(word)) => Renewed::Lost(format!("the provider does not renew the token: {word}")),
        Err(NoTokens::Away(reason)) => {
            tracing::warn!(target: "tenantry::oauth", provider = due.provider, reason, "a provider did not answer");
            let why = "the provider could not be reached to renew the token".to_owned();
            let hopeless = due.expires_at.is_some_and(|end| end + PATIENCE < now);
            if hopeless { Renewed::Lost(why) } else { Renewed::Later(why, now + PAUSE) }
        }
    };
    let mut tx = db.begin(context).await?;
    match accounts::renew(&mut tx, &keychain.secrets, &due, &renewed, now).await {
        Ok(()) => Ok(tx.commit().await?),
        Err(error) => {
            drop(tx.rollback().await);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_its_end() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(before_end(now, TimeDelta::hours(1)), now + TimeDelta::minutes(55));
        assert_eq!(before_end(now, TimeDelta::seconds(60)), now + TimeDelta::seconds(30));
        assert_eq!(before_end(now, TimeDelta::zero()), now);
        assert!(before_end(DateTime::<Utc>::MAX_UTC, TimeDelta::hours(1)) > now);
    }
}
