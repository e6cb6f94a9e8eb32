use tenantry_http::Problem;
use tenantry_http::codes::ErrorCode;

use super::codes;
use super::egress::EgressError;

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub(crate) String);

/// Why something with accounts or credentials was not done. The text is for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum KeychainError {
    /// A credential's name is taken.
    #[error("a credential is called `{0}` already")]
    NameTaken(String),
    /// An account is named by tasks.
    #[error("tasks name the account; revoke it instead")]
    InUse,
    /// An account was revoked.
    #[error("the account is revoked")]
    Revoked,
    /// An agent may not use a credential.
    #[error("the agent may not use the credential `{0}`")]
    AgentNotAllowed(String),
    /// Nobody has configured how to get an authorization.
    #[error("no authorization is configured for the provider `{0}`")]
    UnknownProvider(String),
    /// A provider's answer that belongs to nothing.
    #[error("{0}")]
    State(&'static str),
    /// The provider said no.
    #[error("the provider answered `{0}`")]
    Denied(String),
    /// The provider gave no tokens. The reason is for the log.
    #[error("the provider gave no tokens: {0}")]
    Exchange(String),
    /// A request to a service.
    #[error(transparent)]
    Egress(#[from] EgressError),
}

impl From<KeychainError> for Problem {
    fn from(error: KeychainError) -> Self {
        let text = error.to_string();
        let problem = |code: &ErrorCode| Self::of(code).detail(text.clone());
        match error {
            KeychainError::NameTaken(_) => problem(&codes::CREDENTIAL_NAME_TAKEN).pointer("/name", &text),
            KeychainError::InUse => problem(&codes::PROVIDER_ACCOUNT_IN_USE),
            KeychainError::Revoked => problem(&codes::PROVIDER_ACCOUNT_REVOKED),
            KeychainError::AgentNotAllowed(_) => problem(&codes::AGENT_NOT_ALLOWED),
            KeychainError::UnknownProvider(_) => problem(&codes::OAUTH_PROVIDER_UNKNOWN).pointer("/provider", &text),
            KeychainError::State(_) => problem(&codes::OAUTH_STATE_INVALID),
            KeychainError::Denied(word) => problem(&codes::OAUTH_DENIED).with("provider_error", word),
            KeychainError::Exchange(reason) => {
                tracing::warn!(target: "tenantry::oauth", reason, "a provider gave no tokens");
                Self::of(&codes::OAUTH_EXCHANGE_FAILED).detail("the provider did not give tokens for its answer")
            }
            KeychainError::Egress(error) => problem(match error {
                EgressError::Refused(_) => &codes::EGRESS_REFUSED,
                EgressError::Unreachable(_) => &codes::SERVICE_UNREACHABLE,
                EgressError::Answer(_) => &codes::SERVICE_ANSWER_REFUSED,
                EgressError::Timeout => &codes::SERVICE_TIMEOUT,
            }),
        }
    }
}
