use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Whose token it is, readable from its prefix, so that a leaked one can be recognised by scanners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A tenant's API key, `tnk_…`.
    TenantKey,
    /// An operator's token for the control plane, `top_…`.
    Operator,
}

impl TokenKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::TenantKey => "tnk",
            Self::Operator => "top",
        }
    }
}

/// A text that does not have a token's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this server")]
pub struct TokenError;

const LOOKUP_BYTES: usize = 9;
const SECRET_BYTES: usize = 32;

/// The SHA-256 of a token's secret part: all that is stored. The secret has 256 random bits, so a
/// slow hash would add nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Takes the stored bytes.
    #[must_use]
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// A token just made: the text is shown once, the lookup and the hash are stored.
#[derive(Debug)]
pub struct MintedToken {
    /// The whole token, to be shown once.
    pub text: SecretString,
    /// The public part by which the row is found.
    pub lookup: String,
    /// The hash of the secret part.
    pub hash: TokenHash,
}

impl MintedToken {
    /// Makes a token from the operating system's randomness.
    ///
    /// # Panics
    /// When the operating system has no randomness to give; nothing safe can be done then.
    #[must_use]
    pub fn mint(kind: TokenKind) -> Self {
        let mut bytes = [0_u8; Self::BYTES];
        rand::rngs::OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives randomness");
        Self::from_bytes(kind, &bytes)
    }

    /// How many bytes a token is made of.
    pub const BYTES: usize = LOOKUP_BYTES + SECRET_BYTES;

    /// Makes the token of these bytes, always the same. They must be as hard to guess as random ones: an HMAC under a secret
    /// key is.
    #[must_use]
    pub fn from_bytes(kind: TokenKind, bytes: &[u8; Self::BYTES]) -> Self {
        let lookup = URL_SAFE_NO_PAD.encode(&bytes[..LOOKUP_BYTES]).replace(['-', '_'], "x");
        let secret = URL_SAFE_NO_PAD.encode(&bytes[LOOKUP_BYTES..]);
        let hash = TokenHash(Sha256::digest(secret.as_bytes()).into());
        Self { text: format!("{}_{lookup}_{secret}", kind.prefix()).into(), lookup, hash }
    }
}

/// A token as somebody sent it: parsed, not yet believed.
pub struct PresentedToken {
    lookup: String,
    secret: SecretString,
}

impl PresentedToken {
    /// Parses the text of a token of the given kind.
    pub fn parse(text: &str, kind: TokenKind) -> Result<Self, TokenError> {
        let rest = text.strip_prefix(kind.prefix()).and_then(|r| r.strip_prefix('_')).ok_or(TokenError)?;
        let (lookup, secret) = rest.split_once('_').ok_or(TokenError)?;
        let shape = lookup.len() == 12
            && lookup.bytes().all(|b| b.is_ascii_alphanumeric())
            && secret.len() == 43
            && secret.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if !shape {
            return Err(TokenError);
        }
        Ok(Self { lookup: lookup.to_owned(), secret: secret.to_owned().into() })
    }

    /// Whether a text claims to be a token of this kind, whatever its shape.
    #[must_use]
    pub fn looks_like(text: &str, kind: TokenKind) -> bool {
        text.strip_prefix(kind.prefix()).is_some_and(|rest| rest.starts_with('_'))
    }

    /// The public part.
    #[must_use]
    pub fn lookup(&self) -> &str {
        &self.lookup
    }

    /// Whether the secret part has this hash; takes the same time whatever differs.
    #[must_use]
    pub fn matches(&self, stored: &TokenHash) -> bool {
        let hash: [u8; 32] = Sha256::digest(self.secret.expose_secret().as_bytes()).into();
        hash.ct_eq(&stored.0).into()
    }
}

impl fmt::Debug for PresentedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedToken({}, ..)", self.lookup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_token_matches_only_itself() {
        let one = MintedToken::mint(TokenKind::TenantKey);
        let two = MintedToken::mint(TokenKind::TenantKey);
        let presented = PresentedToken::parse(one.text.expose_secret(), TokenKind::TenantKey).unwrap();
        assert_eq!(presented.lookup(), one.lookup);
        assert!(presented.matches(&one.hash));
        assert!(!presented.matches(&two.hash));
    }

    #[test]
    fn the_same_bytes_make_the_same_token() {
        let make = |byte: u8| MintedToken::from_bytes(TokenKind::TenantKey, &[byte; MintedToken::BYTES]);
        assert_eq!(make(7).text.expose_secret(), make(7).text.expose_secret());
        assert_ne!(make(7).text.expose_secret(), make(8).text.expose_secret());
        assert!(
            PresentedToken::parse(make(7).text.expose_secret(), TokenKind::TenantKey).unwrap().matches(&make(7).hash)
        );
    }

    #[test]
    fn a_token_of_one_kind_is_not_one_of_the_other() {
        let key = MintedToken::mint(TokenKind::TenantKey);
        assert!(PresentedToken::parse(key.text.expose_secret(), TokenKind::Operator).is_err());
    }

    #[test]
    fn debug_never_shows_the_secret() {
        let minted = MintedToken::mint(TokenKind::Operator);
        let text = minted.text.expose_secret().to_owned();
        // Kind, public part, secret; the secret may hold the separator itself.
        let secret = text.splitn(3, '_').nth(2).unwrap().to_owned();
        let presented = PresentedToken::parse(&text, TokenKind::Operator).unwrap();
        assert!(!format!("{minted:?}{presented:?}").contains(&secret));
    }
}
