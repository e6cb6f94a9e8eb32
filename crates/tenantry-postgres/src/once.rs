//! Changes of the registry that are made once, however often their request is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tenantry_core::{MintedToken, TokenKind};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::clients::{Typed, typed};
use crate::config::ClusterSecret;
use crate::error::{DbError, ProvisionError};

/// Begins a change of the registry. It waits for nobody longer than a caller does.
pub(crate) const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '15s'";

/// Takes a key; one that is older than a day is free again.
const TAKE: &str = "INSERT INTO public.idempotent_requests AS r (caller, key_hash, request_hash) VALUES ($1, $2, $3) \
        ON CONFLICT (caller, key_hash) DO UPDATE SET request_hash = excluded.request_hash, answer = NULL, created_at = now() \
        WHERE r.created_at < now() - interval '1 day'";

/// Whoever stores an answer takes a few old ones along, so that they need no other keeper.
const EXPIRE: &str = "DELETE FROM public.idempotent_requests WHERE (caller, key_hash) IN ( \
        SELECT caller, key_hash FROM public.idempotent_requests WHERE created_at < now() - interval '1 day' \
        ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED)";

/// A request with an `Idempotency-Key`: the same one again gets the same answer, for a day.
///
/// The answer is stored by the transaction of the change, so a request that was killed has either done nothing or is answered
/// when it comes again. No answer holds a secret: a token that is made for such a request is derived from the key, which is
/// not stored, the installation's secret and the record's id.
#[derive(Clone)]
pub struct OnceRequest {
    caller: String,
    key: SecretString,
    key_hash: [u8; 32],
    request_hash: [u8; 32],
    replayed: Arc<AtomicBool>,
}

impl std::fmt::Debug for OnceRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OnceRequest({}, ..)", self.caller)
    }
}

impl OnceRequest {
    /// A request of this caller with this key. `request_hash` is SHA-256 of what must be the same the next time: method, path, body.
    #[must_use]
    pub fn new(caller: String, key: &str, request_hash: [u8; 32]) -> Self {
        let key_hash = Sha256::digest(key.as_bytes()).into();
        Self { caller, key: key.to_owned().into(), key_hash, request_hash, replayed: Arc::default() }
    }

    /// Whether it was answered before, once it was tried.
    #[must_use]
    pub fn was_replayed(&self) -> bool {
        self.replayed.load(Ordering::Relaxed)
    }

    fn token(&self, secret: &ClusterSecret, kind: TokenKind, id: Uuid) -> MintedToken {
        let kind_name: &[u8] = match kind {
            TokenKind::TenantKey => b"tenant key",
            TokenKind::Operator => b"operator",
        };
        let mut bytes = [0_u8; MintedToken::BYTES];
        for (block, part) in (0_u8..).zip(bytes.chunks_mut(32)) {
            let key = self.key.expose_secret().as_bytes();
            let made =
                secret.derive(&[b"tenantry token", &[block], kind_name, id.as_bytes(), self.caller.as_bytes(), key]);
            part.copy_from_slice(&made[..part.len()]);
        }
        MintedToken::from_bytes(kind, &bytes)
    }

    fn params<'a>(&'a self, hashes: &'a [&'a [u8]; 2]) -> [Typed<'a>; 3] {
        [typed(&self.caller, Type::TEXT), typed(&hashes[0], Type::BYTEA), typed(&hashes[1], Type::BYTEA)]
    }
}

/// The token of a record: random, or for a request that may be repeated the same each time.
pub(crate) fn mint(once: Option<&OnceRequest>, secret: &ClusterSecret, kind: TokenKind, id: Uuid) -> MintedToken {
    match once {
        Some(once) => once.token(secret, kind, id),
        None => MintedToken::mint(kind),
    }
}

/// Begins a transaction. Gives the answer of the same request, if it was answered before; then nothing is open any more.
/// Two at once: the second waits for the first.
pub(crate) async fn start<T: DeserializeOwned>(
    client: &Client,
    begin: &str,
    once: Option<&OnceRequest>,
) -> Result<Option<T>, ProvisionError> {
    client.batch_execute(begin).await?;
    let Some(once) = once else { return Ok(None) };
    let hashes: [&[u8]; 2] = [&once.key_hash, &once.request_hash];
    if client.execute_typed(TAKE, &once.params(&hashes)).await? == 1 {
        return Ok(None);
    }
    let kept = kept(client, once).await;
    client.batch_execute("ROLLBACK").await?;
    match kept? {
        Some(answer) => Ok(Some(answer)),
        None => Err(DbError::Misuse("an answer expired while it was asked for").into()),
    }
}

/// What is stored under a request's key; none when the key is not there, or has no answer yet.
async fn kept<T: DeserializeOwned>(client: &Client, once: &OnceRequest) -> Result<Option<T>, ProvisionError> {
    let hashes: [&[u8]; 2] = [&once.key_hash, &once.request_hash];
    let select = "SELECT request_hash = $3, answer FROM public.idempotent_requests WHERE caller = $1 AND key_hash = $2";
    let rows = client.query_typed(select, &once.params(&hashes)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    if !row.get::<_, bool>(0) {
        return Err(ProvisionError::KeyReused);
    }
    let Some(answer) = row.get::<_, Option<serde_json::Value>>(1) else { return Ok(None) };
    match serde_json::from_value(answer) {
        Ok(answer) => {
            once.replayed.store(true, Ordering::Relaxed);
            Ok(Some(answer))
        }
        Err(error) => {
            tracing::error!(%error, "a stored answer cannot be read");
            Err(DbError::Misuse("a stored answer cannot be read").into())
        }
    }
}

/// Stores the answer, if the request may be repeated, and commits.
pub(crate) async fn finish<T: Serialize>(
    client: &Client,
    once: Option<&OnceRequest>,
    answer: &T,
) -> Result<(), ProvisionError> {
    if let Some(once) = once {
        let answer = serde_json::to_value(answer).map_err(|_| DbError::Misuse("an answer is not JSON"))?;
        let key_hash: &[u8] = &once.key_hash;
        let params: [(&(dyn ToSql + Sync), Type); 3] =
            [typed(&once.caller, Type::TEXT), typed(&key_hash, Type::BYTEA), typed(&answer, Type::JSONB)];
        let store = "UPDATE public.idempotent_requests SET answer = $3 WHERE caller = $1 AND key_hash = $2";
        client.execute_typed(store, &params).await?;
        client.batch_execute(EXPIRE).await?;
    }
    Ok(client.batch_execute("COMMIT").await?)
}

/// Takes the key of a request whose change is not one transaction of the registry. Gives the answer, if there is one already.
///
/// The key is there before the change, and the answer after it. Whoever finds a key without an answer does the work as well, for the first
/// may have been killed; so the work must have one effect by itself.
pub(crate) async fn start_beside<T: DeserializeOwned>(
    client: &Client,
    once: &OnceRequest,
) -> Result<Option<T>, ProvisionError> {
    let hashes: [&[u8]; 2] = [&once.key_hash, &once.request_hash];
    if client.execute_typed(TAKE, &once.params(&hashes)).await? == 1 {
        return Ok(None);
    }
    kept(client, once).await
}

/// Stores the answer of such a request, or gives the one that another has stored meanwhile.
pub(crate) async fn finish_beside<T: Serialize + DeserializeOwned>(
    client: &Client,
    once: &OnceRequest,
    answer: T,
) -> Result<T, ProvisionError> {
    let value = serde_json::to_value(&answer).map_err(|_| DbError::Misuse("an answer is not JSON"))?;
    let hashes: [&[u8]; 2] = [&once.key_hash, &once.request_hash];
    let mut params = once.params(&hashes).to_vec();
    params.push(typed(&value, Type::JSONB));
    // The row may be gone: one that was refused at the same time has given the key back.
    let store = "INSERT INTO public.idempotent_requests AS r (caller, key_hash, request_hash, answer) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (caller, key_hash) DO UPDATE SET answer = excluded.answer \
                 WHERE r.request_hash = excluded.request_hash AND r.answer IS NULL";
    if client.execute_typed(store, &params).await? == 1 {
        client.batch_execute(EXPIRE).await?;
        return Ok(answer);
    }
    Ok(kept(client, once).await?.unwrap_or(answer))
}

/// Gives back the key of such a request that was refused: it changed nothing, and the key is free for another.
pub(crate) async fn forget_beside(client: &Client, once: &OnceRequest) -> Result<(), ProvisionError> {
    let hashes: [&[u8]; 2] = [&once.key_hash, &once.request_hash];
    let forget = "DELETE FROM public.idempotent_requests \
                  WHERE caller = $1 AND key_hash = $2 AND request_hash = $3 AND answer IS NULL";
    client.execute_typed(forget, &once.params(&hashes)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(caller: &str, key: &str, secret: &str, id: u128) -> String {
        let secret = ClusterSecret::new(secret.repeat(32).into()).unwrap();
        let once = OnceRequest::new(caller.to_owned(), key, [0; 32]);
        once.token(&secret, TokenKind::TenantKey, Uuid::from_u128(id)).text.expose_secret().to_owned()
    }

    #[test]
    fn a_token_follows_from_caller_key_secret_and_id_and_from_nothing_less() {
        let made = token("tenant/a", "k", "s", 1);
        assert_eq!(made, token("tenant/a", "k", "s", 1));
        for other in [
            token("tenant/b", "k", "s", 1),
            token("tenant/a", "l", "s", 1),
            token("tenant/a", "k", "t", 1),
            token("tenant/a", "k", "s", 2),
            token("tenant/ak", "", "s", 1),
        ] {
            assert_ne!(made, other);
        }
    }

    #[test]
    fn the_key_is_not_shown() {
        let once = OnceRequest::new("tenant/a".to_owned(), "my key", [0; 32]);
        assert!(!format!("{once:?}").contains("my key"));
    }
}
