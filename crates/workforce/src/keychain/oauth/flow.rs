//! An authorization from its beginning to the account that it makes.

use oauth2::{AuthorizationCode, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, Scope};
use secrecy::{ExposeSecret as _, SecretString};
use tenantry_core::Slug;
use tenantry_postgres::{TenantContext, TenantDb, TenantTx};

use super::{NoTokens, OAuth, http, no_tokens, tokens, word};
use crate::account::{Authorization, ProviderAccount, StartAuthorization};
use crate::keychain::{Keychain, KeychainError};
use crate::store::accounts::{self, Connected};
use crate::store::oauth::{self, Begun};
use crate::store::sealed::pkce_verifier;
use crate::{Error, FieldError, Valid};

/// What a provider has sent back through a browser.
#[derive(Debug, Clone, Default)]
pub struct Answered {
    /// The provider of the path.
    pub provider: String,
    /// What leads back to the tenant.
    pub state: String,
    /// What tokens are given for.
    pub code: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// Who says so (RFC 9207).
    pub issuer: Option<String>,
}

const UNKNOWN: KeychainError = KeychainError::State(
    "the answer belongs to no authorization that is under way: it was answered before, or is too old",
);

impl OAuth {
    /// The tenant that an answer is for, if it is one to something that began here.
    ///
    /// # Errors
    /// [`KeychainError::State`].
    pub fn tenant_of(&self, state: &str) -> Result<Slug, KeychainError> {
        let read = self.inner.tickets.read(state);
        read.map(|(tenant, _)| tenant).ok_or(KeychainError::State("the answer's `state` was not given out here"))
    }
}

/// Begins an authorization in the caller's transaction.
///
/// # Errors
/// [`KeychainError::UnknownProvider`], [`Error::NotFound`] for an account to connect again that does not exist.
pub async fn start(
    tx: &mut TenantTx,
    keychain: &Keychain,
    new: &Valid<StartAuthorization>,
) -> Result<Authorization, Error> {
    let context = tx.context().clone();
    let provider = keychain.oauth.provider(&new.provider)?;
    if let Some(id) = new.provider_account_id {
        let account = accounts::find(tx, id).await.map_err(|error| match error {
            Error::NotFound { .. } => Error::UnknownProviderAccount(*id.as_uuid()),
            other => other,
        })?;
        if account.provider != new.provider {
            let (pointer, detail) =
                ("/provider_account_id".to_owned(), format!("is an account of `{}`", account.provider));
            return Err(Error::Invalid(vec![FieldError { pointer, detail }]));
        }
        if account.status == crate::account::AccountStatus::Revoked {
            return Err(KeychainError::Revoked.into());
        }
    }
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let ticket = keychain.oauth.inner.tickets.issue(context.slug());
    let scopes = if new.scopes.is_empty() { &provider.scopes } else { &new.scopes };
    let mut request = provider
        .client
        .authorize_url(|| CsrfToken::new(ticket.text.clone()))
        .add_scopes(scopes.iter().cloned().map(Scope::new))
        .set_pkce_challenge(challenge);
    for (name, value) in &provider.extra {
        request = request.add_extra_param(name.as_str(), value.as_str());
    }
    let (url, _) = request.url();
    let id = uuid::Uuid::now_v7();
    let verifier = SecretString::from(verifier.secret().clone());
    let sealed = keychain.secrets.seal(&context, pkce_verifier(id), &verifier).await?;
    let begun = Begun { id, digest: ticket.digest, verifier: sealed, scopes: scopes.clone() };
    let expires_at = oauth::begin(tx, &begun, new).await?;
    Ok(Authorization { authorization_url: url.into(), state: ticket.text, expires_at })
}

/// Takes a provider's answer: spends it, gets the tokens, and makes or renews the account.
///
/// # Errors
/// [`KeychainError`] for an answer that is none, is refused, or for which the provider gives nothing.
pub async fn finish(
    db: &TenantDb,
    keychain: &Keychain,
    context: &TenantContext,
    answered: &Answered,
) -> Result<ProviderAccount, Error> {
    let oauth = &keychain.oauth;
    let (_, digest) = oauth.inner.tickets.read(&answered.state).ok_or(UNKNOWN)?;
    // Spent and committed before anything is asked: of several answers at once, one finds it.
    let mut tx = db.begin(context).await?;
    let spent = match oauth::spend(&mut tx, &digest).await {
        Ok(spent) => spent,
        Err(error) => {
            drop(tx.rollback().await);
            return Err(error);
        }
    };
    tx.commit().await?;
    let spent = spent.ok_or(UNKNOWN)?;
    if spent.provider != answered.provider {
        return Err(KeychainError::State("the answer comes from another provider than was asked").into());
    }
    let provider = oauth.provider(&spent.provider)?;
    match (&answered.issuer, &provider.issuer) {
        (Some(said), Some(known)) if said != known => {
            return Err(KeychainError::State("the answer comes from another issuer than was asked").into());
        }
        (None, _) if provider.requires_issuer => {
            return Err(KeychainError::State("the answer does not say which issuer it comes from").into());
        }
        _ => {}
    }
    if let Some(error) = &answered.error {
        return Err(KeychainError::Denied(word(error)).into());
    }
    let code = answered.code.clone().ok_or(KeychainError::State("the answer has no `code`"))?;
    let verifier = keychain.secrets.open(context, pkce_verifier(spent.id), &spent.verifier).await?;
    let http = http::sender(&oauth.inner.http);
    let given = provider
        .client
        .exchange_code(AuthorizationCode::new(code))
        .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()))
        .request_async(&http)
        .await
        .map(tokens)
        .map_err(no_tokens);
    let given = given.map_err(|why| match why {
        NoTokens::Refused(word) => KeychainError::Exchange(word),
        NoTokens::Away(reason) => KeychainError::Exchange(reason),
    })?;
    let now = oauth.inner.clock.now();
    let connected = Connected {
        account: spent.account,
        provider: spent.provider,
        name: spent.name,
        owner_key: spent.owner_key,
        scopes: given.scopes.clone().unwrap_or(spent.scopes),
        started_by: spent.started_by,
        expires_at: given.lifetime.and_then(|lifetime| now.checked_add_signed(lifetime)),
        refresh_at: given
            .refresh
            .as_ref()
            .and(given.lifetime)
            .map(|lifetime| super::refresh::before_end(now, lifetime)),
        access: given.access,
        refresh: given.refresh,
    };
    let mut tx = db.begin(context).await?;
    match accounts::connect(&mut tx, &keychain.secrets, &connected).await {
        Ok(account) => {
            tx.commit().await?;
            Ok(account)
        }
        Err(error) => {
            drop(tx.rollback().await);
            Err(error)
        }
    }
}
