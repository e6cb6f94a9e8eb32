//! Provider accounts: with which credential a company calls a provider.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::checks::{Checks, Validate};
use crate::text_enum::text_enum;
use crate::write_only::WriteOnly;
use crate::{Patch, ProviderAccountId};

const MAX_NAME_CHARS: usize = 200;
const MAX_OWNER_CHARS: usize = 200;
const MAX_SCOPES: usize = 100;
const MAX_SCOPE_CHARS: usize = 200;

text_enum! {
    /// Whether an account can be used.
    pub enum AccountStatus("provider account status") {
        /// It can.
        Active = "active",
        /// It was ended, and its secrets are gone.
        Revoked = "revoked",
        /// Its tokens could not be renewed; connect it again or give it new ones.
        Error = "error",
    }
}

/// A company's account at a provider. Its secrets are kept sealed and never given out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProviderAccount {
    /// Names the account for good.
    #[schema(value_type = uuid::Uuid)]
    pub id: ProviderAccountId,
    /// The provider, as the price catalogue calls it.
    #[schema(example = "openai")]
    pub provider: String,
    /// What people call it.
    pub name: String,
    /// Whether it can be used.
    pub status: AccountStatus,
    /// Whose it is within the company, in the company's own words.
    #[schema(required)]
    pub owner_key: Option<String>,
    /// The last four characters of the access token or key, where it is long enough.
    #[schema(required, example = "w9Xq")]
    pub secret_hint: Option<String>,
    /// Whether a token to renew it with is kept.
    pub has_refresh_token: bool,
    /// When the access token ends.
    #[schema(required)]
    pub access_token_expires_at: Option<DateTime<Utc>>,
    /// When the refresh token ends.
    #[schema(required)]
    pub refresh_token_expires_at: Option<DateTime<Utc>>,
    /// What the token is for, in the provider's words.
    pub scopes: Vec<String>,
    /// Whatever the company notes about it.
    #[schema(value_type = Object)]
    pub account_meta: Map<String, Value>,
    /// Why it could not be renewed or used last.
    #[schema(required)]
    pub last_error: Option<String>,
    /// When that was.
    #[schema(required)]
    pub last_error_at: Option<DateTime<Utc>>,
    /// When it was used last.
    #[schema(required)]
    pub last_used_at: Option<DateTime<Utc>>,
    /// Grows by one with every change that somebody makes.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl crate::Record for ProviderAccount {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "provider",
        "name",
        "status",
        "owner_key",
        "secret_hint",
        "has_refresh_token",
        "access_token_expires_at",
        "refresh_token_expires_at",
        "scopes",
        "account_meta",
        "last_error",
        "last_error_at",
        "last_used_at",
        "version",
        "created_at",
        "updated_at",
    ];
}

/// The body that makes an account.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "provider": "openai", "name": "Production", "access_token": "sk-proj-…", "account_meta": { "organization": "acme" }
}))]
pub struct CreateProviderAccount {
    /// 1 to 63 of `a-z`, `0-9`, `_`, `.` and `-`.
    #[schema(min_length = 1, max_length = 63, example = "openai")]
    pub provider: String,
    /// At most 200 characters.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// At most 200 characters.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub owner_key: Option<String>,
    /// The access token or API key. It is never given back.
    pub access_token: WriteOnly,
    /// When the access token ends.
    #[serde(default)]
    pub access_token_expires_at: Option<DateTime<Utc>>,
    /// The token to renew it with. It is never given back.
    #[serde(default)]
    pub refresh_token: Option<WriteOnly>,
    /// When the refresh token ends.
    #[serde(default)]
    pub refresh_token_expires_at: Option<DateTime<Utc>>,
    /// At most 100, each 1 to 200 characters.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub scopes: Vec<String>,
    /// Whatever the company notes about it; nothing secret, it is shown again.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub account_meta: Map<String, Value>,
}

impl Validate for CreateProviderAccount {
    fn check(&self, checks: &mut Checks) {
        checks.provider("/provider", &self.provider);
        check_line(checks, "/name", self.name.as_deref(), MAX_NAME_CHARS);
        check_line(checks, "/owner_key", self.owner_key.as_deref(), MAX_OWNER_CHARS);
        self.access_token.check(checks, "/access_token");
        check_instant(checks, "/access_token_expires_at", self.access_token_expires_at);
        if let Some(token) = &self.refresh_token {
            token.check(checks, "/refresh_token");
        }
        check_instant(checks, "/refresh_token_expires_at", self.refresh_token_expires_at);
        check_scopes(checks, &self.scopes);
        checks.json("/account_meta", &Value::Object(self.account_meta.clone()));
    }
}

/// The body that changes what is known about an account: a merge patch. Secrets are changed by `rotate`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 1, "name": "Production, EU" }))]
pub struct UpdateProviderAccount {
    /// The version this change is based on; may come as `If-Match` instead.
    pub version: Option<i64>,
    /// A new name; `null` empties it.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub name: Patch<String>,
    /// Whose it is; `null` for nobody's.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub owner_key: Patch<String>,
    /// All notes anew; `null` removes all.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub account_meta: Patch<Map<String, Value>>,
}

impl UpdateProviderAccount {
    /// The members that the patch names, for the audit trail.
    #[must_use]
    pub fn named(&self) -> Vec<&'static str> {
        let all = [
            ("name", self.name.is_named()),
            ("owner_key", self.owner_key.is_named()),
            ("account_meta", self.account_meta.is_named()),
        ];
        all.into_iter().filter_map(|(name, named)| named.then_some(name)).collect()
    }
}

impl Validate for UpdateProviderAccount {
    fn check(&self, checks: &mut Checks) {
        check_line(checks, "/name", self.name.value().map(String::as_str), MAX_NAME_CHARS);
        check_line(checks, "/owner_key", self.owner_key.value().map(String::as_str), MAX_OWNER_CHARS);
        if let Some(meta) = self.account_meta.value() {
            checks.json("/account_meta", &Value::Object(meta.clone()));
        }
    }
}

/// The body that gives an account new secrets, in the place of all that it had.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "access_token": "sk-proj-…" }))]
pub struct RotateProviderAccount {
    /// Change only this version; may come as `If-Match` instead. Without one, whatever version there is.
    pub version: Option<i64>,
    /// The new access token or API key. It is never given back.
    pub access_token: WriteOnly,
    /// When the access token ends.
    #[serde(default)]
    pub access_token_expires_at: Option<DateTime<Utc>>,
    /// The new token to renew it with; without one, none is kept. It is never given back.
    #[serde(default)]
    pub refresh_token: Option<WriteOnly>,
    /// When the refresh token ends.
    #[serde(default)]
    pub refresh_token_expires_at: Option<DateTime<Utc>>,
}

impl Validate for RotateProviderAccount {
    fn check(&self, checks: &mut Checks) {
        self.access_token.check(checks, "/access_token");
        check_instant(checks, "/access_token_expires_at", self.access_token_expires_at);
        if let Some(token) = &self.refresh_token {
            token.check(checks, "/refresh_token");
        }
        check_instant(checks, "/refresh_token_expires_at", self.refresh_token_expires_at);
    }
}

/// The body that begins an authorization (OAuth 2.0 authorization code with PKCE).
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "provider": "github_copilot", "name": "Mira's account" }))]
pub struct StartAuthorization {
    /// A provider that the operator has configured for authorization.
    #[schema(min_length = 1, max_length = 63, example = "github_copilot")]
    pub provider: String,
    /// What the account is to be called.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// Whose it is to be.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub owner_key: Option<String>,
    /// What to ask for, in the provider's words; what the operator has configured unless given.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub scopes: Vec<String>,
    /// The account to connect again, in the place of a new one. It must be of the same provider.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub provider_account_id: Option<ProviderAccountId>,
}

impl Validate for StartAuthorization {
    fn check(&self, checks: &mut Checks) {
        checks.provider("/provider", &self.provider);
        check_line(checks, "/name", self.name.as_deref(), MAX_NAME_CHARS);
        check_line(checks, "/owner_key", self.owner_key.as_deref(), MAX_OWNER_CHARS);
        check_scopes(checks, &self.scopes);
        for (i, scope) in self.scopes.iter().enumerate() {
            if scope.contains(' ') {
                checks.fail(format!("/scopes/{i}"), "must be one scope, without spaces");
            }
        }
    }
}

/// An authorization that has begun.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Authorization {
    /// Where to send the person who may give the authorization, in a browser.
    pub authorization_url: String,
    /// What the provider gives back with its answer; it is good for one answer.
    pub state: String,
    /// Until when the answer is taken.
    pub expires_at: DateTime<Utc>,
}

/// Which accounts a list shows.
#[derive(Debug, Clone, Default)]
pub struct AccountFilter {
    /// Only with this status.
    pub status: Option<AccountStatus>,
    /// Only of this provider.
    pub provider: Option<String>,
    /// Only with exactly this owner.
    pub owner_key: Option<String>,
}

fn check_line(checks: &mut Checks, pointer: &str, text: Option<&str>, max: usize) {
    if let Some(text) = text {
        checks.line(pointer, text, max);
    }
}

fn check_instant(checks: &mut Checks, pointer: &str, at: Option<DateTime<Utc>>) {
    if let Some(at) = at {
        checks.instant(pointer, at);
    }
}

fn check_scopes(checks: &mut Checks, scopes: &[String]) {
    if scopes.len() > MAX_SCOPES {
        checks.fail("/scopes", format!("must have at most {MAX_SCOPES} items, has {}", scopes.len()));
        return;
    }
    for (i, scope) in scopes.iter().enumerate() {
        checks.line(&format!("/scopes/{i}"), scope, MAX_SCOPE_CHARS);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Error;

    fn pointers<T: Validate + std::fmt::Debug>(body: T) -> Vec<String> {
        match body.validated() {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(errors)) => errors.into_iter().map(|e| e.pointer).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn provider_and_token_are_enough() {
        let body: CreateProviderAccount =
            serde_json::from_value(json!({ "provider": "openai", "access_token": "sk-12345678" })).unwrap();
        assert!(!format!("{body:?}").contains("12345678"));
        assert_eq!(pointers(body), Vec::<String>::new());
    }

    #[test]
    fn every_broken_rule_is_reported_at_once() {
        let body: CreateProviderAccount = serde_json::from_value(json!({
            "provider": "Open AI", "name": "", "access_token": "short", "refresh_token": "line\nbreak-in-it",
            "access_token_expires_at": "1969-01-01T00:00:00Z", "scopes": ["", "fine"],
        }))
        .unwrap();
        let expected =
            ["/provider", "/name", "/access_token", "/access_token_expires_at", "/refresh_token", "/scopes/0"];
        assert_eq!(pointers(body), expected);
        let body: StartAuthorization =
            serde_json::from_value(json!({ "provider": "x", "scopes": ["repo user"] })).unwrap();
        assert_eq!(pointers(body), ["/scopes/0"]);
    }
}
