//! An identity provider: keys in files, signed tokens, and a JWKS document served over HTTP.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::Utc;
use isolation::server::serve_aside;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tenantry_http::{JwtAlgorithm, JwtConfig, JwtKeyFile};

pub(super) const ISSUER: &str = "https://id.example";
pub(super) const AUDIENCE: &str = "tenantry";

/// A file of the test keys.
pub(super) fn key_file(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tenantry-http/tests/keys")).join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(key_file(name)).unwrap()
}

/// Acceptance of tokens signed with any of the test keys, each under its own name.
pub(super) fn jwt_config() -> JwtConfig {
    let key = |kid: &str, algorithm, file| JwtKeyFile { kid: Some(kid.to_owned()), algorithm, file: key_file(file) };
    JwtConfig {
        keys: vec![
            key("hs", JwtAlgorithm::Hs256, "secret.bin"),
            key("rs", JwtAlgorithm::Rs256, "rsa.pub.pem"),
            key("es", JwtAlgorithm::Es256, "p256.pub.pem"),
            key("ed", JwtAlgorithm::EdDsa, "ed25519.pub.pem"),
        ],
        ..JwtConfig::new(ISSUER, AUDIENCE)
    }
}

/// The claims of a good token for a tenant; members of `change` replace them, `null` removes.
pub(super) fn claims(slug: &str, change: Value) -> Value {
    let now = Utc::now().timestamp();
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ada@example.com", "exp": now + 600, "nbf": now - 10, "tenant_slug": slug,
    });
    let members = claims.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        members.insert(name.clone(), value.clone());
    }
    members.retain(|_, value| !value.is_null());
    claims
}

/// The secret of HS256, as the server reads it from the file.
pub(super) fn secret() -> EncodingKey {
    let bytes = bytes("secret.bin");
    EncodingKey::from_secret(bytes.strip_suffix(b"\n").unwrap_or(&bytes))
}

/// A public key's file taken for a secret: what key confusion signs with.
pub(super) fn public_key_as_secret(name: &str) -> EncodingKey {
    EncodingKey::from_secret(&bytes(name))
}

pub(super) fn rsa(name: &str) -> EncodingKey {
    EncodingKey::from_rsa_pem(&bytes(name)).unwrap()
}

pub(super) fn p256() -> EncodingKey {
    EncodingKey::from_ec_pem(&bytes("p256.key.pem")).unwrap()
}

pub(super) fn ed25519() -> EncodingKey {
    EncodingKey::from_ed_pem(&bytes("ed25519.key.pem")).unwrap()
}

/// A signed token.
pub(super) fn sign(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

/// A good token for a tenant, with the secret.
pub(super) fn token_for(slug: &str) -> String {
    sign(Algorithm::HS256, Some("hs"), &secret(), &claims(slug, json!({})))
}

/// Base64url of a text or of a JSON value's text.
pub(super) fn encode(part: impl ToString) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// The DER bytes of a public key's file.
fn der(name: &str) -> Vec<u8> {
    let pem = String::from_utf8(bytes(name)).unwrap();
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>()).unwrap()
}

/// The second RSA key as a JWK. A modulus of 2048 bits stands 256 bytes before the exponent at the end.
pub(super) fn rsa_jwk(kid: &str) -> Value {
    let der = der("rsa2.pub.pem");
    let exponent = der.len() - 5;
    assert_eq!(der[exponent..], [2, 3, 1, 0, 1], "the exponent is 65537");
    let modulus = URL_SAFE_NO_PAD.encode(&der[exponent - 256..exponent]);
    json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": modulus, "e": "AQAB" })
}

/// The Ed25519 key as a JWK; the key is the last 32 bytes.
pub(super) fn ed25519_jwk(kid: &str) -> Value {
    let der = der("ed25519.pub.pem");
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": URL_SAFE_NO_PAD.encode(&der[der.len() - 32..]) })
}

/// A JWKS endpoint whose answer can be changed.
#[derive(Clone)]
pub(super) struct Jwks(Arc<Mutex<(StatusCode, Value)>>);

impl Jwks {
    /// Serves keys; gives also the address of the document.
    pub(super) async fn serve(keys: Value) -> (Self, String) {
        let jwks = Self(Arc::new(Mutex::new((StatusCode::OK, json!({ "keys": keys })))));
        let answer = async |State(Self(answer)): State<Self>| {
            let (status, document) = answer.lock().unwrap().clone();
            (status, Json(document))
        };
        let base = serve_aside(Router::new().route("/jwks.json", get(answer)).with_state(jwks.clone())).await;
        (jwks, format!("{base}/jwks.json"))
    }

    pub(super) fn publish(&self, keys: Value) {
        *self.0.lock().unwrap() = (StatusCode::OK, json!({ "keys": keys }));
    }

    pub(super) fn break_down(&self) {
        *self.0.lock().unwrap() = (StatusCode::INTERNAL_SERVER_ERROR, Value::Null);
    }
}
