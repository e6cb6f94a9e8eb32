//! Vault's transit engine over its documented HTTP API.
//!
//! Neither Vault nor OpenBao is packaged where the tests run, so this server speaks their protocol: versions of a key, associated
//! data, tokens, and the errors as they are answered (transit secrets engine, HTTP API).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tenantry_secrets::{MasterSource, SecretsConfig, VaultConfig};

use super::*;

const TOKEN: &str = "hvs.test";

#[derive(Default)]
struct Transit {
    keys: Mutex<BTreeMap<String, Vec<[u8; 32]>>>,
    sealed: AtomicBool,
}

type Answer = (StatusCode, Json<Value>);

fn refused(status: StatusCode, why: &str) -> Answer {
    (status, Json(json!({ "errors": [why] })))
}

fn data(data: Value) -> Answer {
    let id = Uuid::new_v4();
    (
        StatusCode::OK,
        Json(json!({ "request_id": id, "lease_id": "", "renewable": false, "lease_duration": 0, "data": data })),
    )
}

impl Transit {
    fn rotate(&self, key: &str) {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        self.keys.lock().unwrap().entry(key.to_owned()).or_default().push(bytes);
    }

    fn admit(&self, headers: &HeaderMap) -> Option<Answer> {
        if self.sealed.load(Ordering::SeqCst) {
            return Some(refused(StatusCode::SERVICE_UNAVAILABLE, "Vault is sealed"));
        }
        let token = headers.get("x-vault-token").and_then(|value| value.to_str().ok());
        (token != Some(TOKEN)).then(|| refused(StatusCode::FORBIDDEN, "permission denied"))
    }

    fn versions(&self, key: &str) -> Option<Vec<[u8; 32]>> {
        self.keys.lock().unwrap().get(key).cloned()
    }
}

async fn read_key(State(vault): State<Arc<Transit>>, Path(key): Path<String>, headers: HeaderMap) -> Answer {
    if let Some(refused) = vault.admit(&headers) {
        return refused;
    }
    match vault.versions(&key) {
        Some(versions) => data(json!({ "type": "aes256-gcm96", "latest_version": versions.len(), "name": key })),
        None => refused(StatusCode::NOT_FOUND, "no such key"),
    }
}

fn associated(body: &Value) -> Vec<u8> {
    body["associated_data"].as_str().map(|text| STANDARD.decode(text).unwrap()).unwrap_or_default()
}

async fn encrypt(
    State(vault): State<Arc<Transit>>,
    Path(key): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    if let Some(refused) = vault.admit(&headers) {
        return refused;
    }
    let Some(versions) = vault.versions(&key) else {
        return refused(StatusCode::BAD_REQUEST, "encryption key not found");
    };
    let mut buffer = STANDARD.decode(body["plaintext"].as_str().unwrap()).unwrap();
    let sealer = RandomizedNonceKey::new(&AES_256_GCM, versions.last().unwrap()).unwrap();
    let nonce = sealer.seal_in_place_append_tag(Aad::from(associated(&body)), &mut buffer).unwrap();
    let bytes = [nonce.as_ref().as_slice(), &buffer].concat();
    let ciphertext = format!("vault:v{}:{}", versions.len(), STANDARD.encode(bytes));
    data(json!({ "ciphertext": ciphertext, "key_version": versions.len() }))
}

async fn decrypt(
    State(vault): State<Arc<Transit>>,
    Path(key): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    if let Some(refused) = vault.admit(&headers) {
        return refused;
    }
    let opened = (|| {
        let versions = vault.versions(&key)?;
        let (version, text) = body["ciphertext"].as_str()?.strip_prefix("vault:v")?.split_once(':')?;
        let master = versions.get(version.parse::<usize>().ok()?.checked_sub(1)?)?;
        let mut bytes = STANDARD.decode(text).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(bytes.get(..NONCE_LEN)?).ok()?;
        let opener = RandomizedNonceKey::new(&AES_256_GCM, master).ok()?;
        let plain = opener.open_in_place(nonce, Aad::from(associated(&body)), &mut bytes[NONCE_LEN..]).ok()?;
        Some(STANDARD.encode(plain))
    })();
    match opened {
        Some(plaintext) => data(json!({ "plaintext": plaintext })),
        None => refused(StatusCode::BAD_REQUEST, "cipher: message authentication failed"),
    }
}

async fn serve(vault: Arc<Transit>) -> String {
    let router = Router::new()
        .route("/v1/transit/keys/{key}", get(read_key))
        .route("/v1/transit/encrypt/{key}", post(encrypt))
        .route("/v1/transit/decrypt/{key}", post(decrypt))
        .with_state(vault);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

struct Setup {
    world: World,
    vault: Arc<Transit>,
    config: SecretsConfig,
    directory: tempfile::TempDir,
}

async fn setup() -> Setup {
    let vault = Arc::new(Transit::default());
    vault.rotate("tenantry");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let vault_config = json!({ "address": serve(vault.clone()).await, "token_file": directory.path().join("token") });
    let config = SecretsConfig {
        source: MasterSource::Vault,
        vault: Some(serde_json::from_value::<VaultConfig>(vault_config).unwrap()),
        cache_ttl: Duration::ZERO,
        ..SecretsConfig::default()
    };
    Setup { world: world().await, vault, config, directory }
}

async fn start(setup: &Setup, config: &SecretsConfig) -> Secrets {
    Secrets::start(&setup.world.database.config, config, Arc::new(SystemClock)).await.unwrap()
}

#[tokio::test]
async fn vault_wraps_and_its_rotation_is_followed() {
    let setup = setup().await;
    setup.world.tenant("acme").await;
    let context = setup.world.context("acme").await;
    let secrets = start(&setup, &setup.config).await;
    let sealed = seal(&secrets, &context, "hunter2").await;
    assert_eq!(secrets.status().await.unwrap().current_master_key, "vault:transit/tenantry:v1");
    setup.vault.rotate("tenantry");
    let status = secrets.status().await.unwrap();
    assert_eq!((status.current_master_key.as_str(), status.to_rewrap), ("vault:transit/tenantry:v2", 1));
    assert_eq!(open(&secrets, &context, &sealed).await.unwrap(), "hunter2");
    assert_eq!(secrets.rewrap(None, &actor(), |_| {}).await.unwrap().rewrapped, 1);
    assert_eq!(secrets.status().await.unwrap().to_rewrap, 0);
    // The first version is not needed any more.
    setup.vault.keys.lock().unwrap().get_mut("tenantry").unwrap()[0] = [0; 32];
    assert_eq!(open(&secrets, &context, &sealed).await.unwrap(), "hunter2");
}

#[tokio::test]
async fn a_vault_that_does_not_serve_is_told_from_one_that_refuses() {
    let setup = setup().await;
    setup.world.tenant("acme").await;
    let context = setup.world.context("acme").await;
    let secrets = start(&setup, &setup.config).await;
    let sealed = seal(&secrets, &context, "hunter2").await;
    setup.vault.sealed.store(true, Ordering::SeqCst);
    let away = open(&secrets, &context, &sealed).await.unwrap_err();
    assert!(away.is_temporary() && away.to_string().contains("Vault is sealed"), "{away}");
    setup.vault.sealed.store(false, Ordering::SeqCst);
    // The token's file is read anew for each request.
    std::fs::write(setup.directory.path().join("token"), "hvs.expired").unwrap();
    let denied = open(&secrets, &context, &sealed).await.unwrap_err();
    assert!(denied.to_string().contains("permission denied") && !denied.to_string().contains("hvs."), "{denied}");
    std::fs::write(setup.directory.path().join("token"), TOKEN).unwrap();
    assert_eq!(open(&secrets, &context, &sealed).await.unwrap(), "hunter2");
    // A wrapped key that was given to another tenant or another version is refused by Vault itself.
    let admin = setup.world.admin().await;
    admin.batch_execute("UPDATE public.tenant_data_keys SET version = 2").await.unwrap();
    let moved = secrets.current_version(&context).await.unwrap_err();
    assert!(matches!(moved, SecretsError::Master(MasterKeyError::Damaged)), "{moved}");
}

#[tokio::test]
async fn a_server_moves_from_a_file_to_vault() {
    let setup = setup().await;
    setup.world.tenant("acme").await;
    let context = setup.world.context("acme").await;
    let file = setup.directory.path().join("keys");
    std::fs::write(&file, line("2026-01")).unwrap();
    let of_file = SecretsConfig { source: MasterSource::File, file: Some(file), vault: None, ..setup.config.clone() };
    let sealed = seal(&start(&setup, &of_file).await, &context, "hunter2").await;
    let both = SecretsConfig { file: of_file.file.clone(), ..setup.config.clone() };
    let secrets = start(&setup, &both).await;
    assert_eq!(open(&secrets, &context, &sealed).await.unwrap(), "hunter2");
    assert_eq!(secrets.rewrap(None, &actor(), |_| {}).await.unwrap().rewrapped, 1);
    let of_vault = start(&setup, &setup.config).await;
    assert_eq!(open(&of_vault, &context, &sealed).await.unwrap(), "hunter2");
}
