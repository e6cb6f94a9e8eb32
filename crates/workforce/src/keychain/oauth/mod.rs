//! OAuth 2.0 authorization code with PKCE (RFC 6749, RFC 7636, RFC 9700), and renewal of the tokens it gives.
//!
//! The provider's answer comes from a browser, without a credential of the tenant. What leads it back is the `state`: a sealed
//! ticket that names the tenant to us only, and whose digest must match a row in that tenant's schema. The row is deleted before
//! the code is spent, so an answer counts once, however many come at the same time. The provider of the row must be the one in
//! the path of the answer, and the issuer the one configured, so that one provider's answer is never taken to another (mix-up).

mod flow;
mod http;
mod refresh;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, AuthUrl, ClientId, ClientSecret, EndpointNotSet, EndpointSet, RedirectUrl, RefreshToken,
    RequestTokenError, TokenResponse as _, TokenUrl,
};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use tenantry_core::Clock;
use tenantry_postgres::DatabaseConfig;
use tenantry_secrets::Tickets;

use super::{Broken, KeychainError};

pub use flow::{Answered, finish, start};
pub use refresh::{ALARM, keep_fresh, refresh_due};
pub use settings::{ClientAuth, OAuthConfig, OAuthProvider};

/// A life longer than this is as good as none.
const LONGEST: chrono::TimeDelta = chrono::TimeDelta::days(3650);

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// Providers that give authorizations. Cheap to clone.
#[derive(Clone)]
pub struct OAuth {
    inner: Arc<Inner>,
}

struct Inner {
    providers: BTreeMap<String, Provider>,
    http: reqwest::Client,
    tickets: Tickets,
    clock: Arc<dyn Clock>,
}

struct Provider {
    client: Client,
    issuer: Option<String>,
    requires_issuer: bool,
    scopes: Vec<String>,
    extra: BTreeMap<String, String>,
}

/// What a provider has given.
pub(crate) struct Tokens {
    pub(crate) access: SecretString,
    pub(crate) refresh: Option<SecretString>,
    pub(crate) lifetime: Option<chrono::TimeDelta>,
    pub(crate) scopes: Option<Vec<String>>,
}

/// Why a provider has given nothing.
pub(crate) enum NoTokens {
    /// It said no, in these words; asking again would not help.
    Refused(String),
    /// It was not reached, or was not well.
    Away(String),
}

impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.inner.providers.keys()).finish()
    }
}

impl OAuth {
    /// From the settings.
    ///
    /// # Errors
    /// [`Broken`] when they cannot be used.
    pub fn new(database: &DatabaseConfig, config: &OAuthConfig, clock: Arc<dyn Clock>) -> Result<Self, Broken> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(config.timeout)
            .build()
            .map_err(|error| Broken(format!("requests to providers: {error}")))?;
        let providers = config
            .providers
            .iter()
            .map(|(name, provider)| Ok((name.clone(), configured(config, name, provider)?)))
            .collect::<Result<_, Broken>>()?;
        let tickets = Tickets::new(database, "oauth state");
        Ok(Self { inner: Arc::new(Inner { providers, http, tickets, clock }) })
    }

    /// Whether an authorization of this provider can be renewed here.
    #[must_use]
    pub fn knows(&self, provider: &str) -> bool {
        self.inner.providers.contains_key(provider)
    }

    /// When an account's tokens are to be renewed, if that can be done here.
    #[must_use]
    pub fn refresh_at(
        &self,
        provider: &str,
        expires_at: Option<chrono::DateTime<chrono::Utc>>,
    ) -> Option<chrono::DateTime<chrono::Utc>> {
        let now = self.inner.clock.now();
        expires_at.filter(|_| self.knows(provider)).map(|end| refresh::before_end(now, end - now))
    }

    fn provider(&self, name: &str) -> Result<&Provider, KeychainError> {
        self.inner.providers.get(name).ok_or_else(|| KeychainError::UnknownProvider(name.to_owned()))
    }

    async fn renew(&self, provider: &Provider, refresh: &SecretString) -> Result<Tokens, NoTokens> {
        let http = http::sender(&self.inner.http);
        let refresh = RefreshToken::new(refresh.expose_secret().to_owned());
        let given = provider.client.exchange_refresh_token(&refresh).request_async(&http).await;
        given.map(tokens).map_err(no_tokens)
    }
}

fn configured(config: &OAuthConfig, name: &str, provider: &OAuthProvider) -> Result<Provider, Broken> {
    let broken = |what: String| Broken(format!("`oauth.providers.{name}`: {what}"));
    let callback = config.callback_url.as_ref().ok_or_else(|| broken("needs `oauth.callback_url`".to_owned()))?;
    let safe = |url: &str| {
        let parsed = Url::parse(url).ok().filter(|url| {
            let here = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
            url.scheme() == "https" || (url.scheme() == "http" && here)
        });
        parsed.ok_or_else(|| broken(format!("`{url}` is not an `https` address")))
    };
    for url in [callback, &provider.authorization_url, &provider.token_url] {
        safe(url)?;
    }
    let wrong = |error: oauth2::url::ParseError| broken(error.to_string());
    let redirect = format!("{}/{name}", callback.trim_end_matches('/'));
    let mut client = BasicClient::new(ClientId::new(provider.client_id.clone()))
        .set_auth_uri(AuthUrl::new(provider.authorization_url.clone()).map_err(wrong)?)
        .set_token_uri(TokenUrl::new(provider.token_url.clone()).map_err(wrong)?)
        .set_redirect_uri(RedirectUrl::new(redirect).map_err(wrong)?)
        .set_auth_type(match provider.client_auth {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Body => AuthType::RequestBody,
        });
    if let Some(file) = &provider.client_secret_file {
        let secret = std::fs::read_to_string(file)
            .map_err(|error| broken(format!("cannot read `{}`: {error}", file.display())))?;
        client = client.set_client_secret(ClientSecret::new(secret.trim().to_owned()));
    }
    Ok(Provider {
        client,
        issuer: provider.issuer.clone(),
        requires_issuer: provider.requires_issuer,
        scopes: provider.scopes.clone(),
        extra: provider.authorization_parameters.clone(),
    })
}

fn tokens(given: oauth2::basic::BasicTokenResponse) -> Tokens {
    let secret = |text: &String| SecretString::from(text.clone());
    Tokens {
        access: secret(given.access_token().secret()),
        refresh: given.refresh_token().map(|token| secret(token.secret())),
        lifetime: given
            .expires_in()
            .and_then(|lifetime| chrono::TimeDelta::from_std(lifetime).ok())
            .filter(|lifetime| *lifetime < LONGEST),
        scopes: given.scopes().map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect()),
    }
}

type TokenError<E> = RequestTokenError<E, oauth2::basic::BasicErrorResponse>;

/// A provider's error code, which is a few words of ASCII, and never the text beside it: that could say anything.
fn no_tokens<E: std::error::Error>(error: TokenError<E>) -> NoTokens {
    match error {
        RequestTokenError::ServerResponse(answer) => NoTokens::Refused(word(answer.error().as_ref())),
        RequestTokenError::Request(error) => NoTokens::Away(error.to_string()),
        RequestTokenError::Parse(error, _) => NoTokens::Away(format!("its answer is not a token response: {error}")),
        RequestTokenError::Other(what) => NoTokens::Away(what),
    }
}

/// A provider's error code as far as it is one (RFC 6749, section 4.1.2.1).
fn word(text: &str) -> String {
    let word: String =
        text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')).take(64).collect();
    if word.is_empty() { "unknown".to_owned() } else { word }
}
