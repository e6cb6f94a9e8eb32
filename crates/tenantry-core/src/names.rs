use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::TenantId;

/// PostgreSQL truncates identifiers silently past this many bytes; ours never reach the limit unchecked.
const MAX_IDENTIFIER: usize = 63;
const SCHEMA_PREFIX: &str = "tenant_";
/// A slug begins with a letter or a digit, so no slug's schema has two underscores here.
const WARM_PREFIX: &str = "tenant__warm_";
const ROLE_PREFIX: &str = "tnt_";
/// The longest slug whose schema name is the plain one. A plain name is thus at most 62 bytes and a
/// shortened one exactly 63, so the two can never meet.
const MAX_PLAIN: usize = MAX_IDENTIFIER - 1 - SCHEMA_PREFIX.len();
const HASH_DIGITS: usize = 32;

/// Labels that belong to the platform and are never a tenant's.
const RESERVED: &[&str] = &[
    "admin",
    "analytics",
    "api",
    "app",
    "assets",
    "auth",
    "billing",
    "cdn",
    "console",
    "dashboard",
    "default",
    "dev",
    "docs",
    "ftp",
    "gateway",
    "grafana",
    "health",
    "help",
    "internal",
    "localhost",
    "login",
    "mail",
    "metrics",
    "ns1",
    "ns2",
    "operator",
    "postgres",
    "public",
    "root",
    "smtp",
    "staging",
    "static",
    "status",
    "support",
    "system",
    "tenant",
    "tenantry",
    "test",
    "webhook",
    "webhooks",
    "www",
];

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a DNS label of lower-case letters, digits and hyphens.
    #[error("`{0}` is not a slug: use 1 to 63 of a-z, 0-9 and `-`, with a letter or digit at both ends")]
    InvalidSlug(String),
    /// A label the platform keeps for itself.
    #[error("`{0}` is reserved and cannot be a tenant's slug")]
    Reserved(String),
    /// A schema name the registry must not hold.
    #[error("`{0}` is not a tenant schema name")]
    InvalidSchema(String),
}

/// A tenant's public name: a DNS label that is not reserved.
///
/// ```
/// use tenantry_core::Slug;
/// assert!("acme-eu".parse::<Slug>().is_ok());
/// assert!("x'; DROP SCHEMA tenant_bob; --".parse::<Slug>().is_err());
/// assert!("www".parse::<Slug>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(Box<str>);

impl Slug {
    /// The text, for display and as a statement's parameter.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a slug as the registry stores it: a label may have been reserved after it was given away.
    pub fn from_registry(text: &str) -> Result<Self, NameError> {
        Self::checked(text).map(|text| Self(text.into()))
    }

    fn checked(text: &str) -> Result<&str, NameError> {
        let bytes = text.as_bytes();
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let fine = bytes.len() <= 63
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if !fine {
            return Err(NameError::InvalidSlug(text.chars().take(80).collect()));
        }
        Ok(text)
    }
}

impl FromStr for Slug {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = Self::checked(text)?;
        if RESERVED.binary_search(&text).is_ok() {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Slug {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0.into()
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The schema that holds a tenant's tables. Made from a slug by one total, injective function.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SchemaName(Box<str>);

impl SchemaName {
    /// The schema of a slug: `tenant_` and the slug with `-` as `_`.
    ///
    /// A slug has no underscore, so two slugs never share a name. One longer than 55 bytes keeps its
    /// first 23 characters and gets 32 hexadecimal digits of its SHA-256, 63 bytes in all: a length that no plain
    /// name has.
    ///
    /// ```
    /// use tenantry_core::{SchemaName, Slug};
    /// let slug: Slug = "acme-eu".parse().unwrap();
    /// assert_eq!(SchemaName::for_slug(&slug).as_str(), "tenant_acme_eu");
    /// ```
    #[must_use]
    pub fn for_slug(slug: &Slug) -> Self {
        let flat = slug.as_str().replace('-', "_");
        if flat.len() <= MAX_PLAIN {
            return Self(format!("{SCHEMA_PREFIX}{flat}").into());
        }
        let digest = Sha256::digest(slug.as_str().as_bytes());
        let hex: String = digest.iter().map(|b| format!("{b:02x}")).take(HASH_DIGITS / 2).collect();
        let keep = MAX_IDENTIFIER - SCHEMA_PREFIX.len() - 1 - HASH_DIGITS;
        Self(format!("{SCHEMA_PREFIX}{}_{hex}", &flat[..keep]).into())
    }

    /// The schema that waits, complete, for the tenant of this id; whoever claims it renames it. No slug has this name.
    #[must_use]
    pub fn warm(id: TenantId) -> Self {
        Self(format!("{WARM_PREFIX}{}", id.as_uuid().simple()).into())
    }

    /// Takes a name as the registry stores it.
    pub fn from_registry(text: &str) -> Result<Self, NameError> {
        let fine = text.len() <= MAX_IDENTIFIER
            && text.strip_prefix(SCHEMA_PREFIX).is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            });
        if fine { Ok(Self(text.into())) } else { Err(NameError::InvalidSchema(text.chars().take(80).collect())) }
    }

    /// The bare name, as catalogs hold it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The quoted identifier, for SQL.
    #[must_use]
    pub fn quoted(&self) -> String {
        quote_identifier(&self.0)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The database role of one tenant: `tnt_` and the tenant's id without hyphens.
///
/// Row level security reads the tenant from this name, so it is made from the id and from nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoleName(Box<str>);

impl RoleName {
    /// The role of a tenant.
    #[must_use]
    pub fn for_tenant(id: TenantId) -> Self {
        Self(format!("{ROLE_PREFIX}{}", id.as_uuid().simple()).into())
    }

    /// The bare name, as catalogs hold it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The quoted identifier, for SQL.
    #[must_use]
    pub fn quoted(&self) -> String {
        quote_identifier(&self.0)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Quotes an identifier for SQL. Inner quotes are doubled; NUL cannot be sent and is dropped.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "").replace('"', "\"\""))
}

/// Quotes a literal for SQL where a parameter cannot stand (DDL, role options).
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let clean = text.replace('\0', "").replace('\'', "''");
    if clean.contains('\\') { format!(" E'{}'", clean.replace('\\', "\\\\")) } else { format!("'{clean}'") }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reserved_labels_are_sorted_for_the_search() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn refuses_what_is_not_a_label() {
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", "a b", "a\0", "127.0.0.1", &"a".repeat(64)] {
            assert!(bad.parse::<Slug>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn long_slugs_get_their_own_length() {
        let plain = SchemaName::for_slug(&"a".repeat(55).parse().unwrap());
        let short = SchemaName::for_slug(&"a".repeat(56).parse().unwrap());
        assert_eq!((plain.as_str().len(), short.as_str().len()), (62, 63));
    }

    proptest! {
        #[test]
        fn schema_names_are_total_valid_and_injective(slugs in proptest::collection::vec("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", 1..40)) {
            let mut seen: HashMap<String, Slug> = HashMap::new();
            for text in slugs {
                let Ok(slug) = text.parse::<Slug>() else { continue };
                let schema = SchemaName::for_slug(&slug);
                prop_assert!(SchemaName::from_registry(schema.as_str()).is_ok());
                if let Some(other) = seen.insert(schema.as_str().to_owned(), slug.clone()) {
                    prop_assert_eq!(other, slug);
                }
            }
        }

        #[test]
        fn no_slug_has_the_name_of_a_warm_schema(slug in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|warm-[0-9a-f]{32}|[a-z0-9-]{1,63}", id: u128) {
            let warm = SchemaName::warm(TenantId::from_uuid(uuid::Uuid::from_u128(id)));
            prop_assert!(SchemaName::from_registry(warm.as_str()).is_ok() && warm.as_str().starts_with("tenant__"));
            // Also what an older version may have stored.
            if let Ok(slug) = Slug::from_registry(&slug) {
                prop_assert!(!SchemaName::for_slug(&slug).as_str().starts_with("tenant__"), "{}", slug);
            }
        }

        #[test]
        fn any_text_parses_or_errs_but_never_passes_unchecked(text in ".{0,80}") {
            if let Ok(slug) = text.parse::<Slug>() {
                prop_assert!(slug.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            }
        }

        #[test]
        fn quoting_never_lets_a_quote_out(text in ".{0,60}") {
            let quoted = quote_identifier(&text);
            let inner = &quoted[1..quoted.len() - 1];
            prop_assert!(!inner.replace("\"\"", "").contains('"'));
        }
    }
}
