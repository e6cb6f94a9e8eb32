//! Tokens of an identity provider, as a test server accepts them.

use std::path::{Path, PathBuf};

use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tenantry_http::{JwtAlgorithm, JwtConfig, JwtKeyFile};

const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "tenantry";

fn secret_file() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tenantry-http/tests/keys")).join("secret.bin")
}

/// Acceptance of the tokens of [`token`].
#[must_use]
pub fn accepting() -> JwtConfig {
    let key = JwtKeyFile { kid: Some("hs".to_owned()), algorithm: JwtAlgorithm::Hs256, file: secret_file() };
    JwtConfig { keys: vec![key], ..JwtConfig::new(ISSUER, AUDIENCE) }
}

/// A good token for a tenant.
#[must_use]
pub fn token(slug: &str, subject: &str) -> String {
    with(slug, subject, &json!({}))
}

/// A good token for a tenant with more claims, such as `scope`.
///
/// # Panics
/// When the test key cannot be read.
#[must_use]
pub fn with(slug: &str, subject: &str, more: &Value) -> String {
    let bytes = std::fs::read(secret_file()).expect("the test keys are there");
    let secret = EncodingKey::from_secret(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
    let now = Utc::now().timestamp();
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": now + 600, "nbf": now - 10, "tenant_slug": slug,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    let header = Header { kid: Some("hs".to_owned()), ..Header::new(Algorithm::HS256) };
    jsonwebtoken::encode(&header, &claims, &secret).expect("claims are JSON")
}
