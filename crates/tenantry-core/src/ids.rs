use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not the id it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a valid {kind}: a UUID is expected")]
pub struct IdError {
    kind: &'static str,
    given: String,
}

/// Declares a typed id over a UUID; two kinds never compare or convert into each other.
#[macro_export]
macro_rules! typed_id {
    ($(#[$meta:meta])* $name:ident, $kind:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(::uuid::Uuid);

        impl $name {
            /// A new, time-ordered id (UUID version 7).
            #[must_use]
            pub fn generate() -> Self {
                Self(::uuid::Uuid::now_v7())
            }

            /// Wraps a UUID that is known to name this kind of thing, such as a column's value.
            #[must_use]
            pub const fn from_uuid(uuid: ::uuid::Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID, for a statement's parameter.
            #[must_use]
            pub const fn as_uuid(&self) -> &::uuid::Uuid {
                &self.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::IdError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::IdError::parse(text, $kind).map(Self)
            }
        }
    };
}

impl IdError {
    /// Parses a UUID for an id of the given kind; used by [`typed_id!`](crate::typed_id).
    #[doc(hidden)]
    pub fn parse(text: &str, kind: &'static str) -> Result<Uuid, Self> {
        Uuid::try_parse(text).map_err(|_| Self { kind, given: text.chars().take(64).collect() })
    }
}

typed_id!(
    /// Names a tenant for good: it survives a rename, a move and a restore.
    TenantId,
    "tenant id"
);
typed_id!(
    /// Names one API key (not its secret).
    ApiKeyId,
    "api key id"
);
typed_id!(
    /// Names one member of a tenant.
    MemberId,
    "member id"
);

/// The id of one request, from the caller's `X-Request-Id` or made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// A fresh id.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7().to_string())
    }

    /// The text, safe to put into a log line or a header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = IdError;
    /// Accepts 1 to 128 characters of `[A-Za-z0-9._-]`; anything else could forge log lines.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let fine = (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError { kind: "request id", given: text.chars().take(64).collect() })
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
