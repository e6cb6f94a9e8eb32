use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an operator may do, from least to most; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorRole {
    /// Reads the registry and the audit trail.
    Viewer,
    /// Suspends and resumes tenants, and reads a tenant's rows with a reason.
    Support,
    /// Everything.
    Admin,
}

impl OperatorRole {
    /// All roles, from least to most.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Support, Self::Admin];

    /// The registry's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Support => "support",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for OperatorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A role the registry must not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an operator's role: `viewer`, `support` or `admin`")]
pub struct UnknownOperatorRole(String);

impl FromStr for OperatorRole {
    type Err = UnknownOperatorRole;

    fn from_str(text: &str) -> Result<Self, UnknownOperatorRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownOperatorRole(text.chars().take(32).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_read_back() {
        assert!(OperatorRole::ALL.is_sorted());
        for role in OperatorRole::ALL {
            assert_eq!(role.as_str().parse::<OperatorRole>().unwrap(), role);
        }
        assert!("root".parse::<OperatorRole>().is_err());
    }
}
