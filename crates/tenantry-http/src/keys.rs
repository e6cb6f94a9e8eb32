//! Keys that verify tokens. A key knows its one algorithm; a token cannot talk it into another.

use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};

/// The bytes of an uncompressed point on P-256.
const P256_POINT: usize = 65;
const ED25519_KEY: usize = 32;
/// A modulus of 2048 bits; less is not secure and the verifier would refuse it anyway.
const MIN_RSA_MODULUS: usize = 256;
/// RFC 7518 section 3.2: a key for HS256 has at least as many bits as its hash.
const MIN_SECRET: usize = 32;

/// The signature algorithms accepted; everything else (`none` first of all) is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256 and a shared secret.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl JwtAlgorithm {
    /// Reads the `alg` of a token's header.
    #[must_use]
    pub fn from_header(alg: &str) -> Option<Self> {
        match alg {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }

    const fn implementation(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A key in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtKeyFile {
    /// The `kid` that tokens name it by. Without one it serves tokens of its algorithm that no other key claims.
    #[serde(default)]
    pub kid: Option<String>,
    /// The only algorithm it is used with.
    pub algorithm: JwtAlgorithm,
    /// The file: a public key in PEM, or for HS256 the secret's bytes (one line break at the end is not part of it).
    pub file: PathBuf,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("key file `{0}` cannot be read")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// The file does not hold what its algorithm needs.
    #[error("key file `{0}` is not usable: {1}")]
    Unusable(PathBuf, &'static str),
}

/// A key with its name and its algorithm.
#[derive(Clone)]
pub(crate) struct VerifyingKey {
    pub(crate) kid: Option<Box<str>>,
    pub(crate) algorithm: JwtAlgorithm,
    key: DecodingKey,
}

impl VerifyingKey {
    pub(crate) fn load(config: &JwtKeyFile) -> Result<Self, KeyError> {
        let bytes = std::fs::read(&config.file).map_err(|e| KeyError::Unreadable(config.file.clone(), e))?;
        let key = decode_file(&bytes, config.algorithm).map_err(|why| unusable(&config.file, why))?;
        Ok(Self { kid: config.kid.as_deref().map(Into::into), algorithm: config.algorithm, key })
    }

    /// Takes a public key of a JWKS; `None` for one that is not for verifying, or not with an algorithm of ours.
    pub(crate) fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let for_signatures = common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify));
        // a shared secret has no place in a public document, so `oct` keys are never taken
        let (algorithm, stated) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (JwtAlgorithm::Rs256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => {
                (JwtAlgorithm::Es256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => {
                (JwtAlgorithm::EdDsa, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        if !for_signatures || common.key_algorithm.is_some_and(|a| a != stated) {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok().filter(|key| has_right_size(key, algorithm))?;
        Some(Self { kid: common.key_id.as_deref().map(Into::into), algorithm, key })
    }

    /// Whether `signature` (base64url) over `message` was made with this key.
    pub(crate) fn verifies(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, self.algorithm.implementation())
            .unwrap_or(false)
    }
}

fn unusable(file: &Path, why: &'static str) -> KeyError {
    KeyError::Unusable(file.to_owned(), why)
}

fn decode_file(bytes: &[u8], algorithm: JwtAlgorithm) -> Result<DecodingKey, &'static str> {
    let is_pem = bytes.windows(10).any(|w| w == b"-----BEGIN");
    if algorithm == JwtAlgorithm::Hs256 {
        let secret = bytes.strip_suffix(b"\n").map_or(bytes, |b| b.strip_suffix(b"\r").unwrap_or(b));
        return match secret.len() {
            // a public key as HMAC secret is the key confusion attack, made by the configuration itself
            _ if is_pem => Err("a PEM file is not an HS256 secret"),
            0..MIN_SECRET => Err("an HS256 secret has at least 32 bytes"),
            _ => Ok(DecodingKey::from_secret(secret)),
        };
    }
    if bytes.windows(11).any(|w| w == b"PRIVATE KEY") {
        return Err("it holds a private key; give the server the public one");
    }
    let key = match algorithm {
        JwtAlgorithm::Rs256 => DecodingKey::from_rsa_pem(bytes),
        JwtAlgorithm::Es256 => DecodingKey::from_ec_pem(bytes),
        JwtAlgorithm::EdDsa | JwtAlgorithm::Hs256 => DecodingKey::from_ed_pem(bytes),
    };
    key.ok()
        .filter(|key| has_right_size(key, algorithm))
        .ok_or("expected a public key in PEM: RSA of at least 2048 bits for RS256, P-256 for ES256, Ed25519 for EdDSA")
}

fn has_right_size(key: &DecodingKey, algorithm: JwtAlgorithm) -> bool {
    match (key.kind(), algorithm) {
        (jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. }, JwtAlgorithm::Rs256) => {
            n.len() >= MIN_RSA_MODULUS
        }
        (jsonwebtoken::DecodingKeyKind::SecretOrDer(bytes), algorithm) => match algorithm {
            JwtAlgorithm::Rs256 => bytes.len() > MIN_RSA_MODULUS,
            JwtAlgorithm::Es256 => bytes.len() == P256_POINT,
            JwtAlgorithm::EdDsa => bytes.len() == ED25519_KEY,
            JwtAlgorithm::Hs256 => bytes.len() >= MIN_SECRET,
        },
        _ => false,
    }
}

/// Finds the key for a token. With a `kid`, the key of that name; without, the only key of the algorithm.
/// The algorithm must be the key's own in any case.
pub(crate) fn find<'k>(
    keys: &'k [VerifyingKey],
    kid: Option<&str>,
    algorithm: JwtAlgorithm,
) -> Option<&'k VerifyingKey> {
    let only = |unnamed: bool| {
        let mut fitting = keys.iter().filter(|k| k.algorithm == algorithm && (!unnamed || k.kid.is_none()));
        fitting.next().filter(|_| fitting.next().is_none())
    };
    match kid {
        Some(kid) => {
            keys.iter().find(|k| k.algorithm == algorithm && k.kid.as_deref() == Some(kid)).or_else(|| only(true))
        }
        None => only(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
    }

    fn load(name: &str, algorithm: JwtAlgorithm) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::load(&JwtKeyFile { kid: None, algorithm, file: file(name) })
    }

    #[test]
    fn each_algorithm_takes_its_own_kind_of_file_only() {
        use JwtAlgorithm::{EdDsa, Es256, Hs256, Rs256};
        let files = [
            ("rsa.pub.pem", Some(Rs256)),
            ("p256.pub.pem", Some(Es256)),
            ("ed25519.pub.pem", Some(EdDsa)),
            ("secret.bin", Some(Hs256)),
            ("p384.pub.pem", None),
            ("rsa1024.pub.pem", None),
            ("rsa.key.pem", None),
        ];
        for (name, fits) in files {
            for algorithm in [Hs256, Rs256, Es256, EdDsa] {
                assert_eq!(load(name, algorithm).is_ok(), fits == Some(algorithm), "{name} as {algorithm:?}");
            }
        }
    }

    #[test]
    fn errors_name_the_file() {
        let missing = load("absent.pem", JwtAlgorithm::Rs256).err().unwrap().to_string();
        assert!(missing.contains("absent.pem"), "{missing}");
        let private = load("rsa.key.pem", JwtAlgorithm::Rs256).err().unwrap().to_string();
        assert!(private.contains("private"), "{private}");
    }

    #[test]
    fn only_public_signature_keys_of_a_jwks_are_taken() {
        let take = |json: serde_json::Value| {
            serde_json::from_value::<Jwk>(json).ok().as_ref().and_then(VerifyingKey::from_jwk)
        };
        let x = "A".repeat(43);
        let ec = |extra: serde_json::Value| {
            let mut key = serde_json::json!({ "kty": "EC", "crv": "P-256", "x": x, "y": x, "kid": "k" });
            key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            take(key)
        };
        assert!(ec(serde_json::json!({})).is_some());
        assert!(ec(serde_json::json!({ "use": "sig", "alg": "ES256", "key_ops": ["verify"] })).is_some());
        assert!(ec(serde_json::json!({ "use": "enc" })).is_none());
        assert!(ec(serde_json::json!({ "alg": "RS256" })).is_none());
        assert!(ec(serde_json::json!({ "key_ops": ["encrypt"] })).is_none());
        assert!(ec(serde_json::json!({ "crv": "P-384" })).is_none());
        assert!(take(serde_json::json!({ "kty": "oct", "k": x, "kid": "k" })).is_none());
        assert!(take(serde_json::json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" })).is_none());
    }
}
