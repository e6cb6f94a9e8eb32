//! `Idempotency-Key`: a request that is repeated, also after a crash, has one effect and gets one answer.
//!
//! The answer is stored in the transaction of the change it tells of, in the table `idempotency_keys` of the tenant's schema.
//! So either both last or neither, whenever the process is killed. A second request with the key waits for the first and
//! then gets its answer. Refusals are not stored: they changed nothing, and the repetition may do better.
//!
//! [`Once::begin`] takes the key before the work. Work that is little and stays within the transaction needs no key before it ends:
//! [`Once::optimistic`] stores key and answer together, in the message of the commit, and a repetition works in vain, which is undone.
//! What is done outside of the database is a [`Claim`](crate::Claim).
//! Work that is not the database's, and must go on without it, has its answer stored first: [`Idempotency::answer_ahead`].

mod ahead;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tenantry_postgres::{DbError, KeptAnswer, OnceRequest, Row, TenantContext, TenantDb, TenantTx, statements};

use crate::codes;
use crate::problem::Problem;

/// The header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Tells of an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const LONGEST_KEY: usize = 255;

statements! {
    /// Takes a key; one that is older than a day is free again. No row: it is taken.
    TAKE_KEY(BYTEA, BYTEA) =
        "INSERT INTO tenant.idempotency_keys AS k (id, fingerprint) VALUES ($1, $2) \
         ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, status = NULL, created_at = now() \
         WHERE k.created_at < now() - interval '1 day' RETURNING id";
    /// Takes a key with the answer that is about to be given under it. No row: it is taken.
    KEEP_AHEAD(BYTEA, BYTEA, INT2, TEXT, BYTEA) =
        "INSERT INTO tenant.idempotency_keys AS k (id, fingerprint, status, location, body) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status, etag = NULL, \
         location = excluded.location, body = excluded.body, created_at = now() \
         WHERE k.created_at < now() - interval '1 day' RETURNING id";
    /// What was answered under a key.
    FIND_ANSWER(BYTEA) =
        "SELECT fingerprint, status, etag, location, body FROM tenant.idempotency_keys \
         WHERE id = $1 AND created_at >= now() - interval '1 day'";
    /// Removes some keys that are of no use any more, not those that others are at.
    FORGET_KEYS() =
        "DELETE FROM tenant.idempotency_keys WHERE id IN (SELECT id FROM tenant.idempotency_keys \
         WHERE created_at < now() - interval '1 day' ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED)";
}

/// The key of a request, if it has one, with what the request is: left by the tenant layer.
#[derive(Debug, Clone, Default)]
pub struct Idempotency(Option<Key>);

#[derive(Debug, Clone)]
struct Key {
    key: String,
    fingerprint: [u8; 32],
}

impl Idempotency {
    /// Reads the key and, when there is one, the body, which it gives back.
    pub(crate) async fn read(parts: &Parts, body: Body, limit: usize) -> Result<(Self, Body), Problem> {
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok((Self(None), body)) };
        let key = value.to_str().ok().filter(|key| values.next().is_none() && is_key(key)).ok_or_else(|| {
            let detail = format!("`Idempotency-Key` must be 1 to {LONGEST_KEY} visible ASCII characters, once");
            Problem::of(&codes::INVALID_IDEMPOTENCY_KEY).detail(detail)
        })?;
        let body = read_whole(body, limit).await?;
        let mut hash = Sha256::new();
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        for part in [parts.method.as_str().as_bytes(), target.as_bytes(), &body] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Ok((Self(Some(Key { key: key.to_owned(), fingerprint: hash.finalize().into() })), Body::from(body)))
    }
}

impl Idempotency {
    /// The key for a change of the registry, which keeps the answer itself. Who asks is part of it: `tenant/<id>/<subject>` or
    /// `operator/<id>`.
    #[must_use]
    pub fn in_registry(&self, caller: String) -> Option<OnceRequest> {
        self.0.as_ref().map(|Key { key, fingerprint }| OnceRequest::new(caller, key, *fingerprint))
    }

    /// As [`in_registry`](Self::in_registry), of a tenant's principal.
    #[must_use]
    pub fn of_tenant(&self, context: &TenantContext) -> Option<OnceRequest> {
        self.in_registry(format!("tenant/{}/{}", context.id(), context.principal().subject()))
    }

    /// Whether the request has a key at all.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

/// Marks an answer to a change of the registry that was given before.
pub fn replayed(request: Option<&OnceRequest>, mut response: Response) -> Response {
    if request.is_some_and(OnceRequest::was_replayed) {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

fn is_key(text: &str) -> bool {
    (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

async fn read_whole(body: Body, limit: usize) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let too_large = std::error::Error::source(&error).is_some_and(|e| e.is::<http_body_util::LengthLimitError>());
        if too_large {
            Problem::of(&codes::BODY_TOO_LARGE)
        } else {
            Problem::of(&codes::UNREADABLE_BODY).detail("the body could not be read to its end")
        }
    })
}

impl<S: Sync> FromRequestParts<S> for Idempotency {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// An answer that can be given again: status, `ETag`, `Location` and a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    status: StatusCode,
    etag: Option<String>,
    location: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    /// 200 with a record.
    pub fn ok<T: Serialize>(record: &T) -> Self {
        Self::status(StatusCode::OK, record)
    }

    /// 200 with a record and its `ETag`.
    pub fn versioned<T: Serialize>(version: i64, record: &T) -> Self {
        Self { etag: Some(etag(version)), ..Self::ok(record) }
    }

    /// 201 with a record just made, its `ETag` and its address.
    pub fn created<T: Serialize>(version: i64, location: String, record: &T) -> Self {
        Self { etag: Some(etag(version)), location: Some(location), ..Self::status(StatusCode::CREATED, record) }
    }

    /// 201 with a record just made that has no version, and its address.
    pub fn made<T: Serialize>(location: String, record: &T) -> Self {
        Self { location: Some(location), ..Self::status(StatusCode::CREATED, record) }
    }

    /// 202 with a record that will be at an address.
    pub fn accepted<T: Serialize>(location: String, record: &T) -> Self {
        Self { location: Some(location), ..Self::status(StatusCode::ACCEPTED, record) }
    }

    /// Any success with a record.
    pub fn status<T: Serialize>(status: StatusCode, record: &T) -> Self {
        // The records of our APIs have text keys and no failing serializers; an empty body would be seen by every test.
        let body = serde_json::to_vec(record).unwrap_or_default();
        Self { status, etag: None, location: None, body }
    }

    /// A success without a body, such as 204.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self { status, etag: None, location: None, body: Vec::new() }
    }

    fn stored(row: &Row) -> Result<Option<Self>, DbError> {
        let status: Option<i16> = row.try_get("status")?;
        let status = status.and_then(|status| StatusCode::from_u16(status.unsigned_abs()).ok());
        let Some(status) = status else { return Ok(None) };
        let (etag, location, body) = (row.try_get("etag")?, row.try_get("location")?, row.try_get("body")?);
        Ok(Some(Self { status, etag, location, body }))
    }
}

pub(crate) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::ETAG, self.etag), (header::LOCATION, self.location)] {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        }
        if !self.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        (self.status, headers, self.body).into_response()
    }
}

/// A request that ends before its work: refused, or answered before.
#[derive(Debug)]
pub enum Early {
    /// Refused.
    Problem(Problem),
    /// The answer that was given to the same request.
    Replay(Answer),
}

impl From<Problem> for Early {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<DbError> for Early {
    fn from(error: DbError) -> Self {
        Self::Problem(error.into())
    }
}

impl IntoResponse for Early {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Replay(answer) => {
                let mut response = answer.into_response();
                response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                response
            }
        }
    }
}

/// A transaction that is done once under the request's key, if it has one.
#[derive(Debug)]
pub struct Once {
    tx: TenantTx,
    key: Option<Kept>,
}

/// Where an answer is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    db: TenantDb,
    id: Vec<u8>,
    fingerprint: Vec<u8>,
}

impl Once {
    /// Opens the transaction and takes the key, so that a repetition neither begins the work nor goes on before the first request has
    /// ended.
    ///
    /// # Errors
    /// [`Early::Replay`] when the work was done before; a problem when the key came with another request, or from the database.
    pub async fn begin(db: &TenantDb, context: &TenantContext, idempotency: Idempotency) -> Result<Self, Early> {
        let mut once = Self::optimistic(db, context, idempotency).await?;
        let Some(key) = &once.key else { return Ok(once) };
        match once.tx.query_opt(&TAKE_KEY, &[&key.id, &key.fingerprint]).await {
            Ok(Some(_)) => Ok(once),
            Ok(None) => match once.end().await {
                Some(early) => Err(early),
                None => Err(DbError::Misuse("an idempotency key was removed while it was taken").into()),
            },
            Err(error) => {
                roll_back(once.tx).await;
                Err(error.into())
            }
        }
    }

    /// Opens the transaction and presumes that the request is no repetition, which saves two statements. Only the end shows whether it is,
    /// so this is for work that leaves nothing behind when the transaction is undone.
    ///
    /// # Errors
    /// From the database.
    pub async fn optimistic(db: &TenantDb, context: &TenantContext, idempotency: Idempotency) -> Result<Self, Early> {
        Ok(Self { tx: db.begin(context).await?, key: Kept::of(db, context, &idempotency) })
    }

    /// The end of work that was claimed before.
    pub(crate) const fn of(tx: TenantTx, key: Option<Kept>) -> Self {
        Self { tx, key }
    }

    /// The transaction.
    pub fn tx(&mut self) -> &mut TenantTx {
        &mut self.tx
    }

    /// Keeps the answer and commits, or rolls back. Whatever the outcome: when the same request was answered before, that is the answer.
    ///
    /// # Errors
    /// [`Early::Replay`] when the work was done before; a problem when the key came with another request; else that of the outcome, or
    /// the database's.
    pub async fn finish<E: Into<Early>>(mut self, outcome: Result<Answer, E>) -> Result<Response, Early> {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => {
                let refusal = error.into();
                return Err(self.end().await.unwrap_or(refusal));
            }
        };
        let Some(key) = self.key else {
            self.tx.commit().await?;
            return Ok(answer.into_response());
        };
        if key.takes_old_ones_along() {
            self.tx.execute(&FORGET_KEYS, &[]).await?;
        }
        let context = self.tx.context().clone();
        self.tx.keep_answer(key.keeps(&answer));
        match self.tx.commit().await {
            Ok(()) => Ok(answer.into_response()),
            Err(error) if error.is_key_taken() => Err(key.answered(&context).await.unwrap_or_else(|| error.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Rolls back here and now, so that the connection is free for the next request before the answer is written, and looks for what
    /// was answered before.
    async fn end(self) -> Option<Early> {
        let context = self.tx.context().clone();
        roll_back(self.tx).await;
        self.key?.answered(&context).await
    }
}

impl Kept {
    pub(crate) fn of(db: &TenantDb, context: &TenantContext, idempotency: &Idempotency) -> Option<Self> {
        let Key { key, fingerprint } = idempotency.0.as_ref()?;
        Some(Self { db: db.clone(), id: id(context, key).to_vec(), fingerprint: fingerprint.to_vec() })
    }

    pub(crate) const fn db(&self) -> &TenantDb {
        &self.db
    }

    pub(crate) const fn id(&self) -> &Vec<u8> {
        &self.id
    }

    pub(crate) const fn fingerprint(&self) -> &Vec<u8> {
        &self.fingerprint
    }

    /// Now and then, so that what has expired goes away without a job of its own, at twenty for each eight.
    fn takes_old_ones_along(&self) -> bool {
        self.id.first().is_some_and(|first| *first < 32)
    }

    fn keeps(&self, answer: &Answer) -> KeptAnswer {
        let Answer { status, etag, location, body } = answer.clone();
        let status = i16::try_from(status.as_u16()).unwrap_or(i16::MAX);
        KeptAnswer { id: self.id.clone(), fingerprint: self.fingerprint.clone(), status, etag, location, body }
    }

    /// How a request under this key ends, if one was answered before.
    pub(crate) async fn answered(&self, context: &TenantContext) -> Option<Early> {
        match self.find(context).await {
            Ok(found) => found,
            Err(error) => Some(error.into()),
        }
    }

    async fn find(&self, context: &TenantContext) -> Result<Option<Early>, DbError> {
        let mut tx = self.db.single(context).await?;
        let Some(row) = tx.query_opt(&FIND_ANSWER, &[&self.id]).await? else { return Ok(None) };
        let stored: &[u8] = row.try_get("fingerprint")?;
        if stored != self.fingerprint {
            return Ok(Some(Problem::of(&codes::IDEMPOTENCY_KEY_REUSED).into()));
        }
        let answer = Answer::stored(&row)?;
        Ok(Some(answer.map_or_else(crate::claim::in_progress, Early::Replay)))
    }
}

/// Who asked is part of the identity: one client's key never meets another's.
fn id(context: &TenantContext, key: &str) -> [u8; 32] {
    let subject = context.principal().subject();
    let mut hash = Sha256::new();
    hash.update(u64::try_from(subject.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(subject);
    hash.update(key);
    hash.finalize().into()
}

async fn roll_back(tx: TenantTx) {
    if let Err(rollback) = tx.rollback().await {
        tracing::debug!(%rollback, "the connection was lost on rollback; the server undoes the transaction");
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn read(keys: &[&str], body: &str) -> Result<Option<Key>, Problem> {
        let mut request = Request::post("/v1/tasks?x=1");
        for key in keys {
            request = request.header(IDEMPOTENCY_KEY, *key);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (idempotency, again) = Idempotency::read(&parts, Body::from(body.to_owned()), 100).await?;
        assert_eq!(read_whole(again, 100).await.unwrap(), body, "the body is given back");
        Ok(idempotency.0)
    }

    #[tokio::test]
    async fn the_fingerprint_is_of_the_request() {
        assert!(read(&[], "{}").await.unwrap().is_none());
        let one = read(&["k"], "{}").await.unwrap().unwrap();
        assert_eq!(one.fingerprint, read(&["other"], "{}").await.unwrap().unwrap().fingerprint);
        assert_ne!(one.fingerprint, read(&["k"], "{} ").await.unwrap().unwrap().fingerprint);
    }

    #[tokio::test]
    async fn keys_are_short_visible_and_single() {
        for bad in [&["a", "b"][..], &[""], &["ä"], &["\t"], &[&"k".repeat(256)]] {
            assert_eq!(read(bad, "").await.unwrap_err().code(), "invalid_idempotency_key", "{bad:?}");
        }
        assert!(read(&[&"k".repeat(255)], "").await.unwrap().is_some());
        assert_eq!(read(&["k"], &"x".repeat(101)).await.unwrap_err().code(), "body_too_large");
    }
}
