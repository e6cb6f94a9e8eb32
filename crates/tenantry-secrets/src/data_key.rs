use std::fmt;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

/// A key of 256 bits in clear, for as short as possible: wiped when it is dropped, never printed.
pub struct DataKey(Zeroizing<[u8; DataKey::BYTES]>);

impl DataKey {
    /// The length of a key.
    pub const BYTES: usize = 32;

    /// A new key from the operating system's randomness.
    ///
    /// # Panics
    /// When the operating system has no randomness to give; nothing safe can be done then.
    #[must_use]
    pub fn generate() -> Self {
        let mut key = Self(Zeroizing::new([0; Self::BYTES]));
        rand::fill(&mut key.0[..]).expect("the operating system gives randomness");
        key
    }

    /// Takes a key's bytes; `None` when there are not as many as there should be.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut key = Self(Zeroizing::new([0; Self::BYTES]));
        if bytes.len() != Self::BYTES {
            return None;
        }
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    /// The bytes. Whoever copies them wipes the copy.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0[..]
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}
