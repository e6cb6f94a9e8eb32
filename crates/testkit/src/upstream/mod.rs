//! A provider that is not run here: a real HTTP server that speaks OpenAI's and Anthropic's protocols, does what the model's name asks for
//! ([`Plan`]), and keeps a log of what it ran. The log is the truth that metering is held against: a provider bills what is in it.

mod anthropic;
mod log;
mod openai;
mod plan;
mod reply;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;

pub use log::{Log, Ran, Received};
pub use plan::{Plan, Tokens};

/// A running one.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    log: Arc<Log>,
}

impl Upstream {
    /// Starts one on a port of its own, in the runtime of the test.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let log = Arc::new(Log::default());
        let router = router(Arc::clone(&log));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, log }
    }

    /// Serves on a listener for ever.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(listener: TcpListener) -> std::io::Result<()> {
        axum::serve(TcpNoDelay(listener), router(Arc::default())).await
    }

    /// The base address of OpenAI's API, version included.
    #[must_use]
    pub fn openai(&self) -> String {
        format!("http://{}/openai/v1", self.address)
    }

    /// The base address of Anthropic's.
    #[must_use]
    pub fn anthropic(&self) -> String {
        format!("http://{}/anthropic/v1", self.address)
    }

    /// What it has seen and done.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }
}

struct TcpNoDelay(TcpListener);

impl axum::serve::Listener for TcpNoDelay {
    type Io = tokio::net::TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer) = axum::serve::Listener::accept(&mut self.0).await;
        drop(stream.set_nodelay(true));
        (stream, peer)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The APIs of both providers, and `/log`, which tells the log and, by `DELETE`, begins a new one.
pub fn router(log: Arc<Log>) -> Router {
    Router::new()
        .route("/openai/v1/chat/completions", post(openai::chat))
        .route("/openai/v1/responses", post(openai::responses))
        .route("/openai/v1/embeddings", post(openai::embeddings))
        .route("/openai/v1/models", get(openai::models))
        .route("/openai/v1/models/{id}", get(openai::model))
        .route("/anthropic/v1/messages", post(anthropic::messages))
        .route("/anthropic/v1/messages/count_tokens", post(anthropic::count_tokens))
        .route("/anthropic/v1/models", get(anthropic::models))
        .route("/anthropic/v1/models/{id}", get(anthropic::model))
        .layer(from_fn_with_state(Arc::clone(&log), receive))
        .route("/log", get(tell).delete(forget))
        .with_state(log)
        .layer(axum::extract::DefaultBodyLimit::disable())
}

async fn tell(State(log): State<Arc<Log>>) -> Response {
    Json(json!({ "ran": log.ran(), "received": log.received(), "keys_seen": log.keys_seen() })).into_response()
}

async fn forget(State(log): State<Arc<Log>>) -> StatusCode {
    log.clear();
    StatusCode::NO_CONTENT
}

/// Notes every request as it came, and refuses those without a credential of ours.
async fn receive(State(log): State<Arc<Log>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return StatusCode::BAD_REQUEST.into_response() };
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
    let id = log.receive(&parts.method, &path, &parts.headers, &body);
    if let Ok(id) = HeaderValue::try_from(&id) {
        parts.headers.insert(log::NAME, id);
    }
    let anthropic = path.starts_with("/anthropic/");
    let mut response = if credential(&parts.headers).is_some_and(|secret| secret.starts_with("sk-good")) {
        next.run(Request::from_parts(parts, Body::from(body))).await
    } else if anthropic {
        anthropic::error(401, "authentication_error", "invalid x-api-key")
    } else {
        openai::error(401, "invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided")
    };
    let headers = response.headers_mut();
    let name = if anthropic { "request-id" } else { "x-request-id" };
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(name, id);
    }
    headers.insert("x-ratelimit-remaining-tokens", HeaderValue::from_static("149984"));
    headers.insert("x-new-header-of-tomorrow", HeaderValue::from_static("kept"));
    headers.append(header::SET_COOKIE, HeaderValue::from_static("__cf_bm=1; HttpOnly"));
    response
}

fn credential(headers: &HeaderMap) -> Option<&str> {
    let of = |name: &str| headers.get(name)?.to_str().ok();
    let bearer = of("authorization").and_then(|value| value.strip_prefix("Bearer "));
    bearer.or_else(|| of("x-api-key")).or_else(|| of("api-key"))
}

/// What comes before any answer: the pause, the connection that is dropped, the answer that never comes.
async fn before(plan: &Plan) -> Result<(), std::io::Error> {
    if let Some(pause) = plan.delay {
        tokio::time::sleep(pause).await;
    }
    if plan.hang {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        pending::<()>().await;
    }
    if plan.drop { Err(std::io::Error::other("dropped")) } else { Ok(()) }
}

/// A body that ends the connection before it has said what it announced.
fn broken(body: Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    let parts = [Ok(half), Err(std::io::Error::other("cut"))];
    Body::from_stream(futures_util::stream::iter(parts))
}
