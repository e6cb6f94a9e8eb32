//! Secrets on a real database, with several servers.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod life;
mod rotation;
#[cfg(feature = "vault")]
mod vault;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use tenantry_core::{Clock, SystemClock};
use tenantry_postgres::{Actor, TenantContext, TenantSchema};
use tenantry_secrets::{
    Binding, DataKey, KeyRing, MasterKeyError, MasterKeys, Place, Secrets, SecretsError, Wrapped, new_key_line,
};
use testkit::{World, WorldConfig};
use uuid::Uuid;

const PLACE: Place = Place { table: "accounts", column: "token", row: Uuid::from_u128(1) };
const TTL: Duration = Duration::from_secs(300);

async fn world() -> World {
    World::start(WorldConfig::new(TenantSchema::new("SELECT 1", &[]))).await
}

fn actor() -> Actor {
    Actor::system("test")
}

/// A new ring of one key, as text.
fn line(id: &str) -> String {
    new_key_line(id).to_string()
}

fn ring(text: &str) -> Arc<KeyRing> {
    Arc::new(KeyRing::parse(text).unwrap())
}

/// A server with this keeper.
fn server(world: &World, masters: Arc<dyn MasterKeys>) -> Secrets {
    server_at(world, masters, Arc::new(SystemClock))
}

fn server_at(world: &World, masters: Arc<dyn MasterKeys>, clock: Arc<dyn Clock>) -> Secrets {
    Secrets::with(&world.database.config, masters, TTL, clock)
}

async fn seal(secrets: &Secrets, context: &TenantContext, text: &str) -> Vec<u8> {
    secrets.seal(context, PLACE, &SecretString::from(text.to_owned())).await.unwrap()
}

async fn open(secrets: &Secrets, context: &TenantContext, sealed: &[u8]) -> Result<String, SecretsError> {
    secrets.open(context, PLACE, sealed).await.map(|value| value.expose_secret().to_owned())
}

/// A ring that counts how often it is asked.
#[derive(Debug)]
struct Counting {
    ring: Arc<KeyRing>,
    unwrapped: AtomicU64,
}

impl Counting {
    fn new(ring: Arc<KeyRing>) -> Arc<Self> {
        Arc::new(Self { ring, unwrapped: AtomicU64::new(0) })
    }

    fn unwrapped(&self) -> u64 {
        self.unwrapped.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl MasterKeys for Counting {
    async fn current(&self) -> Result<String, MasterKeyError> {
        self.ring.current().await
    }

    async fn wrap(&self, key: &DataKey, binding: &Binding) -> Result<Wrapped, MasterKeyError> {
        self.ring.wrap(key, binding).await
    }

    async fn unwrap(&self, wrapped: &Wrapped, binding: &Binding) -> Result<DataKey, MasterKeyError> {
        self.unwrapped.fetch_add(1, Ordering::SeqCst);
        self.ring.unwrap(wrapped, binding).await
    }
}
