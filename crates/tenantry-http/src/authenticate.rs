//! Finds the one credential of a request and has it proved.

use axum::http::{HeaderMap, HeaderName, header};
use tenantry_core::{PresentedToken, TokenKind};
use tenantry_postgres::{AccessError, Principal, Registry};

use crate::codes;
use crate::jwt::{JwtVerifier, TokenError};
use crate::problem::Problem;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A credential as presented: its shape is right, nothing more.
#[derive(Debug)]
pub(crate) enum Credential<'h> {
    /// A tenant's API key.
    Key(PresentedToken),
    /// An operator's token.
    Operator(PresentedToken),
    /// Anything else after `Bearer`: a token of the identity provider, if one is configured.
    Token(&'h str),
}

impl<'h> Credential<'h> {
    /// Reads `Authorization: Bearer` and `X-Api-Key`.
    ///
    /// The same credential in both is one credential; two different ones are refused rather than ranked, because
    /// a proxy and this server might rank them differently.
    pub(crate) fn from_headers(headers: &'h HeaderMap) -> Result<Option<Self>, Problem> {
        let bearer = headers.get_all(header::AUTHORIZATION).into_iter().map(|v| v.to_str().ok().and_then(bearer));
        let keys = headers.get_all(X_API_KEY).into_iter().map(|v| v.to_str().ok().map(str::trim));
        let mut presented = bearer.chain(keys);
        let Some(first) = presented.next() else { return Ok(None) };
        if presented.any(|other| other != first) {
            return Err(
                Problem::of(&codes::CONFLICTING_CREDENTIALS).detail("the request carries more than one credential")
            );
        }
        let text = first.filter(|text| !text.is_empty()).ok_or_else(|| {
            invalid("the credential is not of the form `Authorization: Bearer …` or `X-Api-Key: tnk_…`")
        })?;
        if PresentedToken::looks_like(text, TokenKind::TenantKey) {
            return PresentedToken::parse(text, TokenKind::TenantKey)
                .map(|key| Some(Self::Key(key)))
                .map_err(|_| invalid("the API key is incomplete or damaged"));
        }
        if PresentedToken::looks_like(text, TokenKind::Operator) {
            return PresentedToken::parse(text, TokenKind::Operator)
                .map(|token| Some(Self::Operator(token)))
                .map_err(|_| invalid("the operator token is incomplete or damaged"));
        }
        if headers.contains_key(X_API_KEY) {
            return Err(invalid("`X-Api-Key` takes an API key (`tnk_…`) only"));
        }
        Ok(Some(Self::Token(text)))
    }
}

/// The credential of a `Bearer` header (RFC 6750 section 2.1; the scheme's case does not matter).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ')?;
    let credential = rest.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !credential.contains(char::is_whitespace)).then_some(credential)
}

/// Has a credential proved by the registry or the identity provider's keys.
pub(crate) async fn prove(
    credential: Credential<'_>,
    registry: &Registry,
    tokens: Option<&JwtVerifier>,
) -> Result<Principal, Refused> {
    match credential {
        Credential::Key(key) => Ok(registry.authenticate_key(&key).await?),
        Credential::Operator(_) => Err(invalid("an operator token opens no tenant's endpoints").into()),
        Credential::Token(text) => {
            let tokens = tokens.ok_or_else(|| invalid("the server accepts API keys only"))?;
            let token = tokens.verify(text).await.map_err(refuse_token)?;
            Ok(registry.authenticate_token(token, tokens.unlisted_role()).await?)
        }
    }
}

/// Why a credential was refused: by the registry, or before it was asked.
pub(crate) enum Refused {
    Access(AccessError),
    Problem(Problem),
}

impl From<AccessError> for Refused {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

pub(crate) fn invalid(detail: &'static str) -> Problem {
    Problem::of(&codes::INVALID_CREDENTIAL).detail(detail)
}

/// The caller learns what helps an honest one: that it must sign in again. The log gets the reason.
fn refuse_token(error: TokenError) -> Problem {
    tracing::info!(target: "tenantry::access", reason = %error, "token refused");
    match error {
        TokenError::KeysUnavailable => Problem::of(&codes::TOKEN_KEYS_UNAVAILABLE)
            .detail("the token cannot be checked at the moment")
            .retry_after(std::time::Duration::from_secs(5)),
        TokenError::Expired => invalid("the token has expired"),
        TokenError::NotYetValid => invalid("the token is not valid yet"),
        _ => invalid("the token is not valid"),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "tnk_abcdefghijkl_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const OPERATOR: &str = "top_abcdefghijkl_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    /// `none`, the kind of credential, or the code of the problem.
    fn outcome(lines: &[(&'static str, &str)]) -> &'static str {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        match Credential::from_headers(&headers) {
            Ok(None) => "none",
            Ok(Some(Credential::Key(_))) => "key",
            Ok(Some(Credential::Operator(_))) => "operator",
            Ok(Some(Credential::Token(_))) => "token",
            Err(problem) => problem.code(),
        }
    }

    #[test]
    fn each_kind_is_recognised() {
        assert_eq!(outcome(&[]), "none");
        assert_eq!(outcome(&[("authorization", &format!("Bearer {KEY}"))]), "key");
        assert_eq!(outcome(&[("authorization", &format!("bEARER  {KEY} "))]), "key");
        assert_eq!(outcome(&[("x-api-key", KEY)]), "key");
        assert_eq!(outcome(&[("authorization", &format!("Bearer {OPERATOR}"))]), "operator");
        assert_eq!(outcome(&[("authorization", "Bearer a.b.c")]), "token");
    }

    #[test]
    fn damaged_ones_are_invalid() {
        for value in ["", "Bearer", "Bearer ", "Basic YTpi", KEY, "Bearer a b", "Bearer tnk_short_x", "Bearer top_"] {
            assert_eq!(outcome(&[("authorization", value)]), "invalid_credential", "{value:?}");
        }
        for value in ["", "a.b.c", "tnk_", &KEY[1..]] {
            assert_eq!(outcome(&[("x-api-key", value)]), "invalid_credential", "{value:?}");
        }
    }

    #[test]
    fn one_credential_only() {
        let bearer = format!("Bearer {KEY}");
        let other = KEY.replace('a', "b");
        assert_eq!(outcome(&[("authorization", &bearer), ("x-api-key", KEY)]), "key");
        assert_eq!(outcome(&[("authorization", &bearer), ("authorization", &bearer)]), "key");
        assert_eq!(outcome(&[("authorization", &bearer), ("x-api-key", &other)]), "conflicting_credentials");
        assert_eq!(outcome(&[("x-api-key", KEY), ("x-api-key", &other)]), "conflicting_credentials");
        assert_eq!(outcome(&[("authorization", "Basic YTpi"), ("x-api-key", KEY)]), "conflicting_credentials");
        assert_eq!(
            outcome(&[("authorization", "Bearer a.b.c"), ("authorization", &bearer)]),
            "conflicting_credentials"
        );
    }

    proptest! {
        #[test]
        fn no_header_panics(authorization in "[ -~]{0,80}", key in "[ -~]{0,80}") {
            outcome(&[("authorization", &authorization), ("x-api-key", &key)]);
            outcome(&[("authorization", &format!("Bearer {key}"))]);
            outcome(&[("authorization", &format!("Bearer tnk_{key}"))]);
        }
    }
}
