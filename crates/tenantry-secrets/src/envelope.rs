//! The format of a sealed value, and what is authenticated with it.
//!
//! ```text
//! 1 byte   format, 1
//! 4 bytes  version of the tenant's data key, big-endian
//! 12 bytes nonce, random
//! rest     AES-256-GCM of the value, with its tag of 16 bytes
//! ```
//!
//! Associated data: the first five bytes, the tenant, the table, the column and the row, each with its length. A nonce is
//! random, so one data key may seal 2³² values (NIST SP 800-38D, section 8.3); a tenant has far fewer secrets.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use tenantry_core::TenantId;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::data_key::DataKey;

const FORMAT: u8 = 1;
const HEADER: usize = 1 + 4;
const TAG: usize = 16;

/// The most bytes that a value may have.
pub const MAX_BYTES: usize = 64 * 1024;

/// Where a sealed value stands. It opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The row.
    pub row: Uuid,
}

/// A tenant's data key, ready for use. The bytes are with the library, which wipes them when it is dropped.
pub(crate) struct Sealer {
    key: RandomizedNonceKey,
    version: i32,
}

impl Sealer {
    pub(crate) fn new(key: &DataKey, version: i32) -> Option<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, key.expose()).ok().map(|key| Self { key, version })
    }

    pub(crate) const fn version(&self) -> i32 {
        self.version
    }

    pub(crate) fn seal(&self, tenant: TenantId, place: &Place, value: &[u8]) -> Option<Vec<u8>> {
        let header = header(self.version);
        // With room for the tag, so that no copy of the value is left behind where the buffer was.
        let mut buffer = Vec::with_capacity(value.len() + TAG);
        buffer.extend_from_slice(value);
        let aad = Aad::from(associated(header, tenant, place));
        let Ok(nonce) = self.key.seal_in_place_append_tag(aad, &mut buffer) else {
            zeroize::Zeroize::zeroize(&mut buffer);
            return None;
        };
        let mut sealed = Vec::with_capacity(HEADER + NONCE_LEN + buffer.len());
        sealed.extend_from_slice(&header);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&buffer);
        Some(sealed)
    }

    /// The value, in a buffer that is wiped when it is dropped.
    pub(crate) fn open(&self, tenant: TenantId, place: &Place, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if key_version(sealed)? != self.version {
            return None;
        }
        let (header, rest) = sealed.split_at(HEADER);
        let (nonce, sealed) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(associated(header.try_into().ok()?, tenant, place));
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let length = self.key.open_in_place(nonce, aad, &mut buffer).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }
}

/// The version of the data key that a value was sealed with; `None` for what is no sealed value at all.
#[must_use]
pub fn key_version(sealed: &[u8]) -> Option<i32> {
    if sealed.len() < HEADER + NONCE_LEN + TAG || sealed[0] != FORMAT {
        return None;
    }
    sealed[1..HEADER].try_into().ok().map(i32::from_be_bytes).filter(|version| *version > 0)
}

/// What every value begins with that is sealed with a tenant's data key of this version; one that begins otherwise is due to be
/// sealed anew.
#[must_use]
pub fn prefix(key_version: i32) -> Vec<u8> {
    header(key_version).to_vec()
}

fn header(version: i32) -> [u8; HEADER] {
    let mut header = [FORMAT; HEADER];
    header[1..].copy_from_slice(&version.to_be_bytes());
    header
}

fn associated(header: [u8; HEADER], tenant: TenantId, place: &Place) -> Vec<u8> {
    let parts: [&[u8]; 6] = [
        b"tenantry sealed value",
        &header,
        tenant.as_uuid().as_bytes(),
        place.table.as_bytes(),
        place.column.as_bytes(),
        place.row.as_bytes(),
    ];
    joined(&parts)
}

/// Parts with their lengths, so that no two lists of parts make the same text.
pub(crate) fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place = Place { table: "accounts", column: "token", row: Uuid::from_u128(7) };

    fn tenant(n: u128) -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(n))
    }

    fn sealer(version: i32) -> Sealer {
        Sealer::new(&DataKey::from_bytes(&[9; 32]).unwrap(), version).unwrap()
    }

    #[test]
    fn a_value_opens_in_its_place_only() {
        let sealed = sealer(3).seal(tenant(1), &PLACE, b"hunter2").unwrap();
        assert_eq!(sealer(3).open(tenant(1), &PLACE, &sealed).unwrap().as_slice(), b"hunter2");
        let elsewhere = [
            (tenant(2), PLACE),
            (tenant(1), Place { table: "account", ..PLACE }),
            (tenant(1), Place { column: "refresh_token", ..PLACE }),
            (tenant(1), Place { row: Uuid::from_u128(8), ..PLACE }),
            // the same letters, divided elsewhere
            (tenant(1), Place { table: "accountst", column: "oken", ..PLACE }),
        ];
        for (tenant, place) in elsewhere {
            assert!(sealer(3).open(tenant, &place, &sealed).is_none(), "{place:?}");
        }
    }

    #[test]
    fn every_bit_counts() {
        let sealed = sealer(1).seal(tenant(1), &PLACE, b"x").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            // also under a key that bears the version which the bent header names
            for version in [1, key_version(&bent).unwrap_or(1)] {
                assert!(sealer(version).open(tenant(1), &PLACE, &bent).is_none(), "bit {bit}");
            }
        }
        for length in 0..sealed.len() {
            assert!(sealer(1).open(tenant(1), &PLACE, &sealed[..length]).is_none());
        }
    }

    #[test]
    fn the_format_is_the_documented_one() {
        let sealed = sealer(0x0102).seal(tenant(1), &PLACE, b"hunter2").unwrap();
        assert_eq!(&sealed[..5], [1, 0, 0, 1, 2]);
        assert_eq!(sealed.len(), 1 + 4 + 12 + 7 + 16);
        assert_eq!(key_version(&sealed), Some(0x0102));
        let again = sealer(0x0102).seal(tenant(1), &PLACE, b"hunter2").unwrap();
        assert_ne!(sealed, again, "each has a nonce of its own");
    }

    proptest! {
        #[test]
        fn values_round_trip(value in proptest::collection::vec(any::<u8>(), 0..300), version in 1..i32::MAX) {
            let sealed = sealer(version).seal(tenant(1), &PLACE, &value).unwrap();
            let opened = sealer(version).open(tenant(1), &PLACE, &sealed).unwrap();
            prop_assert_eq!(opened.as_slice(), value.as_slice());
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(sealer(1).open(tenant(1), &PLACE, &bytes).is_none());
        }
    }
}
