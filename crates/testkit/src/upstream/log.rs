use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, Method};
use serde::Serialize;

use super::plan::{Plan, Tokens};

/// A header that tells the handlers the name of the request.
pub(super) const NAME: &str = "x-name-of-the-request";
/// Requests that are kept whole.
const KEPT: usize = 1000;
/// How a key of a tenant begins. None has any business here.
const TENANTS_KEY: &[u8] = b"tnk_";

/// A call that a model ran for, so that it is billed.
#[derive(Debug, Clone, Serialize)]
pub struct Ran {
    /// The name of the answer, as it stands in its headers.
    pub request_id: String,
    /// The caller's own (`X-Client-Request-Id`).
    pub client_request_id: Option<String>,
    /// The model that was asked for, words included.
    pub model: String,
    /// What it used.
    pub tokens: Tokens,
}

/// A request as it came.
#[derive(Debug, Clone, Serialize)]
pub struct Received {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers, those of one name joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// What was asked and what was run.
#[derive(Debug, Default)]
pub struct Log {
    inner: Mutex<Inner>,
    requests: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    ran: Vec<Ran>,
    received: VecDeque<Received>,
    /// Requests that held a tenant's key anywhere.
    keys_seen: u64,
    busy: HashMap<String, u64>,
}

impl Log {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was run.
    #[must_use]
    pub fn ran(&self) -> Vec<Ran> {
        self.inner().ran.clone()
    }

    /// The last requests.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.inner().received.iter().cloned().collect()
    }

    /// How many requests there were that held a tenant's key.
    #[must_use]
    pub fn keys_seen(&self) -> u64 {
        self.inner().keys_seen
    }

    /// Begins anew.
    pub fn clear(&self) {
        *self.inner() = Inner::default();
    }

    /// Notes a request and names its answer.
    pub(super) fn receive(&self, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> String {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        let mut seen = holds_key(body) || holds_key(path.as_bytes());
        for (name, value) in headers {
            seen |= holds_key(value.as_bytes());
            let value = String::from_utf8_lossy(value.as_bytes());
            all.entry(name.to_string())
                .and_modify(|all| *all = format!("{all}, {value}"))
                .or_insert(value.into_owned());
        }
        let body = String::from_utf8_lossy(body).into_owned();
        let mut inner = self.inner();
        inner.keys_seen += u64::from(seen);
        if inner.received.len() == KEPT {
            inner.received.pop_front();
        }
        inner.received.push_back(Received { method: method.to_string(), path: path.to_owned(), headers: all, body });
        format!("req_{}", self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes that a model runs.
    pub(super) fn run(&self, headers: &HeaderMap, asked: &str, plan: &Plan) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let ran = Ran {
            request_id: text(NAME).unwrap_or_default(),
            client_request_id: text("x-client-request-id"),
            model: asked.to_owned(),
            tokens: plan.tokens,
        };
        self.inner().ran.push(ran);
    }

    /// Whether one more request with this name finds it busy.
    pub(super) fn is_busy(&self, asked: &str, most: u64) -> bool {
        let mut inner = self.inner();
        let times = inner.busy.entry(asked.to_owned()).or_default();
        *times += 1;
        *times <= most
    }

    /// A name for an answer's body.
    pub(super) fn name(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.requests.fetch_add(1, Ordering::Relaxed))
    }
}

fn holds_key(bytes: &[u8]) -> bool {
    bytes.windows(TENANTS_KEY.len()).any(|window| window == TENANTS_KEY)
}
