//! Master keys that are read as text: several, each with its id, the last one current.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Binding, MasterKeyError, MasterKeys, Wrapped, shown};
use crate::data_key::DataKey;
use crate::settings::VARIABLE;

/// Between two readings because of an id that is not known: a made-up id must not make us read all the time.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Whether a text can be the id of a master key in a file: `[a-z0-9][a-z0-9_.-]{0,62}`.
#[must_use]
pub fn is_master_key_id(id: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&id.len())
        && id.bytes().next().is_some_and(word)
        && id.bytes().all(|b| word(b) || matches!(b, b'_' | b'.' | b'-'))
}

/// A line with a new master key under an id, to be appended to a file of keys.
#[must_use]
pub fn new_key_line(id: &str) -> Zeroizing<String> {
    let key = DataKey::generate();
    let encoded = Zeroizing::new(STANDARD.encode(key.expose()));
    Zeroizing::new(format!("{id} {}", encoded.as_str()))
}

/// Why a text is not a ring of master keys. No part of a key is told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// There is no key.
    #[error("there is no key in it")]
    Empty,
    /// A line is not an id and a key.
    #[error("line {0} is not an id and the base64 of 32 bytes")]
    Line(usize),
    /// An id stands twice.
    #[error("line {0} repeats an id")]
    Twice(usize),
}

/// Master keys by id; the last of the text is the current one.
pub struct KeyRing {
    keys: BTreeMap<String, RandomizedNonceKey>,
    current: String,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({:?}, current {})", self.keys.keys(), self.current)
    }
}

impl KeyRing {
    /// Reads lines of id and base64; empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// [`RingError`].
    pub fn parse(text: &str) -> Result<Self, RingError> {
        let (mut keys, mut current) = (BTreeMap::new(), None);
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, encoded) = line.split_once(char::is_whitespace).ok_or(RingError::Line(number))?;
            let bytes = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| RingError::Line(number))?);
            if !is_master_key_id(id) || bytes.len() != DataKey::BYTES {
                return Err(RingError::Line(number));
            }
            let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| RingError::Line(number))?;
            if keys.insert(id.to_owned(), key).is_some() {
                return Err(RingError::Twice(number));
            }
            current = Some(id.to_owned());
        }
        current.map(|current| Self { keys, current }).ok_or(RingError::Empty)
    }

    /// The id of the current key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.current
    }

    /// The ids of all keys.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    fn wrap_now(&self, key: &DataKey, binding: &Binding) -> Result<Wrapped, MasterKeyError> {
        let master = self.keys.get(&self.current).ok_or(MasterKeyError::Damaged)?;
        let mut buffer = Vec::with_capacity(DataKey::BYTES + AES_256_GCM.tag_len());
        buffer.extend_from_slice(key.expose());
        let aad = Aad::from(associated(&self.current, binding));
        let Ok(nonce) = master.seal_in_place_append_tag(aad, &mut buffer) else {
            zeroize::Zeroize::zeroize(&mut buffer);
            return Err(MasterKeyError::Damaged);
        };
        let bytes = [nonce.as_ref().as_slice(), &buffer].concat();
        Ok(Wrapped { master_key_id: self.current.clone(), bytes })
    }

    fn unwrap_now(&self, wrapped: &Wrapped, binding: &Binding) -> Result<DataKey, MasterKeyError> {
        let unknown = || MasterKeyError::UnknownKey(wrapped.master_key_id.clone());
        let master = self.keys.get(&wrapped.master_key_id).ok_or_else(unknown)?;
        let (nonce, sealed) = wrapped.bytes.split_at_checked(NONCE_LEN).ok_or(MasterKeyError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| MasterKeyError::Damaged)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let aad = Aad::from(associated(&wrapped.master_key_id, binding));
        let key = master.open_in_place(nonce, aad, &mut buffer).map_err(|_| MasterKeyError::Damaged)?;
        DataKey::from_bytes(key).ok_or(MasterKeyError::Damaged)
    }
}

/// A ring that stays as it is.
#[async_trait]
impl MasterKeys for KeyRing {
    async fn current(&self) -> Result<String, MasterKeyError> {
        Ok(self.current.clone())
    }

    async fn wrap(&self, key: &DataKey, binding: &Binding) -> Result<Wrapped, MasterKeyError> {
        self.wrap_now(key, binding)
    }

    async fn unwrap(&self, wrapped: &Wrapped, binding: &Binding) -> Result<DataKey, MasterKeyError> {
        self.unwrap_now(wrapped, binding)
    }
}

fn associated(id: &str, binding: &Binding) -> Vec<u8> {
    crate::envelope::joined(&[id.as_bytes(), &binding.bytes()])
}

/// Where the text comes from.
pub(crate) enum RingSource {
    File(PathBuf),
    Environment,
    #[cfg(feature = "aws")]
    Aws(super::aws::SecretsManager),
}

impl fmt::Debug for RingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl RingSource {
    fn name(&self) -> String {
        match self {
            Self::File(path) => shown(path),
            Self::Environment => VARIABLE.to_owned(),
            #[cfg(feature = "aws")]
            Self::Aws(secret) => secret.name(),
        }
    }

    async fn read(&self) -> Result<Zeroizing<String>, MasterKeyError> {
        match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map(Zeroizing::new)
                .map_err(|error| MasterKeyError::Unusable(format!("cannot read {}: {error}", self.name()))),
            Self::Environment => std::env::var(VARIABLE)
                .map(Zeroizing::new)
                .map_err(|_| MasterKeyError::Unusable(format!("{VARIABLE} is not set"))),
            #[cfg(feature = "aws")]
            Self::Aws(secret) => secret.value().await,
        }
    }

    async fn ring(&self) -> Result<KeyRing, MasterKeyError> {
        let text = self.read().await?;
        KeyRing::parse(&text).map_err(|error| MasterKeyError::Unusable(format!("{}: {error}", self.name())))
    }
}

/// A ring that is read again when it lacks a key, and before it wraps: a key that was appended is known without a restart.
#[derive(Debug)]
pub(crate) struct RingKeys {
    source: RingSource,
    held: RwLock<Option<Arc<KeyRing>>>,
    read_at: tokio::sync::Mutex<Option<Instant>>,
}

impl RingKeys {
    /// Reads the keys now.
    pub(crate) async fn load(source: RingSource) -> Result<Self, MasterKeyError> {
        let keys = Self::lazy(source);
        keys.read().await?;
        Ok(keys)
    }

    /// Reads the keys when they are asked for.
    pub(crate) fn lazy(source: RingSource) -> Self {
        Self { source, held: RwLock::default(), read_at: tokio::sync::Mutex::default() }
    }

    fn held(&self) -> Option<Arc<KeyRing>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn read(&self) -> Result<Arc<KeyRing>, MasterKeyError> {
        let ring = Arc::new(self.source.ring().await?);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&ring));
        Ok(ring)
    }

    /// The ring as it is now. When it cannot be read, the one held goes on serving.
    async fn fresh(&self) -> Result<Arc<KeyRing>, MasterKeyError> {
        match (self.read().await, self.held()) {
            (Ok(ring), _) => Ok(ring),
            (Err(error), Some(held)) => {
                tracing::warn!(target: "tenantry::secrets", %error, "master keys cannot be read again; those read before are used");
                Ok(held)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The ring for a key that the one held lacks.
    async fn again(&self) -> Result<Arc<KeyRing>, MasterKeyError> {
        let mut read_at = self.read_at.lock().await;
        if let (Some(at), Some(held)) = (*read_at, self.held())
            && at.elapsed() < READ_AGAIN
        {
            return Ok(held);
        }
        let ring = self.fresh().await;
        *read_at = Some(Instant::now());
        ring
    }
}

#[async_trait]
impl MasterKeys for RingKeys {
    async fn current(&self) -> Result<String, MasterKeyError> {
        Ok(self.fresh().await?.id().to_owned())
    }

    async fn wrap(&self, key: &DataKey, binding: &Binding) -> Result<Wrapped, MasterKeyError> {
        self.again().await?.wrap_now(key, binding)
    }

    async fn unwrap(&self, wrapped: &Wrapped, binding: &Binding) -> Result<DataKey, MasterKeyError> {
        if let Some(held) = self.held() {
            match held.unwrap_now(wrapped, binding) {
                Err(MasterKeyError::UnknownKey(_)) => {}
                answer => return answer,
            }
        }
        self.again().await?.unwrap_now(wrapped, binding)
    }
}

#[cfg(test)]
mod tests {
    use tenantry_core::TenantId;

    use super::*;

    fn binding() -> Binding {
        Binding { tenant: TenantId::generate(), version: 1 }
    }

    #[test]
    fn a_ring_has_several_keys_and_the_last_is_current() {
        let (one, two) = (new_key_line("2026-01"), new_key_line("2026-06"));
        let old = KeyRing::parse(&one).unwrap();
        let both = KeyRing::parse(&format!("# master keys\n\n{}\r\n  {}  \n", *one, *two)).unwrap();
        assert_eq!((old.id(), both.id()), ("2026-01", "2026-06"));
        assert_eq!(both.ids().collect::<Vec<_>>(), ["2026-01", "2026-06"]);
        let (key, binding) = (DataKey::generate(), binding());
        let (by_old, by_new) = (old.wrap_now(&key, &binding).unwrap(), both.wrap_now(&key, &binding).unwrap());
        for wrapped in [&by_old, &by_new] {
            assert_eq!(both.unwrap_now(wrapped, &binding).unwrap().expose(), key.expose());
        }
        assert!(matches!(old.unwrap_now(&by_new, &binding), Err(MasterKeyError::UnknownKey(id)) if id == "2026-06"));
    }

    #[test]
    fn a_wrapped_key_is_bound_to_tenant_version_and_master_key() {
        let (one, two) = (new_key_line("a"), new_key_line("b"));
        let ring = KeyRing::parse(&format!("{}\n{}", *one, *two)).unwrap();
        let (key, binding) = (DataKey::generate(), binding());
        let wrapped = ring.wrap_now(&key, &binding).unwrap();
        let refused = |wrapped: &Wrapped, binding: &Binding| {
            assert!(matches!(ring.unwrap_now(wrapped, binding), Err(MasterKeyError::Damaged)), "{wrapped:?}");
        };
        refused(&wrapped, &Binding { tenant: TenantId::generate(), ..binding });
        refused(&wrapped, &Binding { version: 2, ..binding });
        refused(&Wrapped { master_key_id: "a".to_owned(), ..wrapped.clone() }, &binding);
        for length in 0..wrapped.bytes.len() {
            refused(&Wrapped { bytes: wrapped.bytes[..length].to_vec(), ..wrapped.clone() }, &binding);
        }
    }

    #[test]
    fn what_is_no_ring_is_refused_without_telling_it() {
        let line = new_key_line("a");
        let encoded = line.split_once(' ').unwrap().1;
        let cases = [
            (String::new(), RingError::Empty),
            ("# nothing\n".to_owned(), RingError::Empty),
            (encoded.to_owned(), RingError::Line(1)),
            (format!("A {encoded}"), RingError::Line(1)),
            (format!("a {}", &encoded[4..]), RingError::Line(1)),
            (format!("\na {encoded}x"), RingError::Line(2)),
            (format!("a {encoded}\na {encoded}"), RingError::Twice(2)),
        ];
        for (text, expected) in cases {
            let error = KeyRing::parse(&text).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.to_string().contains(encoded));
        }
        assert!(!format!("{:?}", KeyRing::parse(&line).unwrap()).contains(encoded));
    }

    #[tokio::test]
    async fn a_key_that_was_appended_is_known_without_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, new_key_line("one").as_bytes()).unwrap();
        let server = RingKeys::load(RingSource::File(path.clone())).await.unwrap();
        let (key, binding) = (DataKey::generate(), binding());
        let before = server.wrap(&key, &binding).await.unwrap();
        let both = format!("{}\n{}\n", std::fs::read_to_string(&path).unwrap(), *new_key_line("two"));
        std::fs::write(&path, both).unwrap();
        let other = RingKeys::load(RingSource::File(path.clone())).await.unwrap();
        let after = other.wrap(&key, &binding).await.unwrap();
        assert_eq!((before.master_key_id.as_str(), after.master_key_id.as_str()), ("one", "two"));
        // Read a moment ago, it is not read again at once.
        let opened = loop {
            match server.unwrap(&after, &binding).await {
                Err(MasterKeyError::UnknownKey(_)) => tokio::time::sleep(READ_AGAIN / 20).await,
                answer => break answer.unwrap(),
            }
        };
        assert_eq!(opened.expose(), key.expose());
        assert_eq!(server.current().await.unwrap(), "two");
        std::fs::remove_file(&path).unwrap();
        assert!(
            server.unwrap(&before, &binding).await.is_ok(),
            "a file that is gone takes nothing from who has read it"
        );
    }
}
