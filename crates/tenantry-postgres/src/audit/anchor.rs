use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use tenantry_core::TenantId;
use uuid::Uuid;

/// The word for the chain of what concerns no tenant.
const PLATFORM: &str = "platform";

/// Which chain: a tenant's, or that of what concerns no tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(Uuid);

impl ChainId {
    /// What concerns no tenant: operators and their tokens, strangers who were refused.
    pub const PLATFORM: Self = Self(Uuid::nil());

    /// A tenant's chain.
    #[must_use]
    pub const fn of(tenant: TenantId) -> Self {
        Self(*tenant.as_uuid())
    }

    /// The tenant, which may be purged by now.
    #[must_use]
    pub const fn tenant(self) -> Option<TenantId> {
        if self.0.is_nil() { None } else { Some(TenantId::from_uuid(self.0)) }
    }

    pub(super) const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    pub(super) const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nil() { f.write_str(PLATFORM) } else { fmt::Display::fmt(&self.0, f) }
    }
}

impl Serialize for ChainId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A place in a chain and the hash there, written down outside of the database: `<tenant id or platform>:<number>:<hash>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Of which chain.
    pub chain: ChainId,
    /// The number of the event.
    pub seq: i64,
    /// Its hash.
    pub hash: Vec<u8>,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.chain, self.seq, hex(&self.hash))
    }
}

impl Serialize for Anchor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is no anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an anchor: `<tenant id or platform>:<number>:<64 hexadecimal digits>`, as `export` and `verify` print it"
)]
pub struct AnchorError(String);

impl FromStr for Anchor {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Self, AnchorError> {
        parse(text.trim()).ok_or_else(|| AnchorError(text.chars().take(140).collect()))
    }
}

fn parse(text: &str) -> Option<Anchor> {
    let (chain, rest) = text.split_once(':')?;
    let (seq, digits) = rest.split_once(':')?;
    let chain = match chain {
        PLATFORM => ChainId::PLATFORM,
        id => ChainId(Uuid::try_parse(id).ok()?),
    };
    let fine = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    let hash = if fine { (0..64).step_by(2).map(byte).collect::<Option<Vec<u8>>>()? } else { return None };
    let seq = seq.parse().ok().filter(|seq| *seq > 0)?;
    Some(Anchor { chain, seq, hash })
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_read_as_it_is_written() {
        for chain in [ChainId::PLATFORM, ChainId(Uuid::from_u128(7))] {
            let anchor = Anchor { chain, seq: 42, hash: (0..32).collect() };
            assert_eq!(anchor.to_string().parse::<Anchor>().unwrap(), anchor);
        }
        let fine = format!("platform:1:{}", "ab".repeat(32));
        assert!(fine.parse::<Anchor>().is_ok());
        for bad in [
            "",
            "platform",
            "platform:1",
            "platform:0:ab",
            &fine[1..],
            &fine[..fine.len() - 1],
            &fine.replace("ab", "xy"),
        ] {
            assert!(bad.parse::<Anchor>().is_err(), "{bad}");
        }
    }
}
