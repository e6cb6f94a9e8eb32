//! A server in front of the server, which sees what is asked and fails in chosen ways.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not reach the server: an answer as of a proxy whose server is away.
    BadGateway,
    /// It does not reach the server, which asks for patience of so many seconds.
    TooMany(u8),
    /// The server sees to it, and the answer is lost on its way.
    LostAnswer,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    http: reqwest::Client,
    seen: Mutex<BTreeSet<String>>,
    faults: Mutex<VecDeque<Fault>>,
    /// Counts up when all streams are cut.
    cuts: watch::Sender<u64>,
}

/// It ends with the test.
#[derive(Debug)]
pub(crate) struct Relay {
    url: String,
    shared: Arc<Shared>,
}

impl Relay {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            upstream,
            http: isolation::server::client(),
            seen: Mutex::default(),
            faults: Mutex::default(),
            cuts: watch::Sender::new(0),
        });
        let router = axum::Router::new().fallback(pass).with_state(shared.clone());
        Self { url: isolation::server::serve_aside(router).await, shared }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The requests so far, as `GET /v1/agents`.
    pub(crate) fn seen(&self) -> BTreeSet<String> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// What happens to the next requests.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.faults.lock().unwrap().extend(faults);
    }

    /// How many faults are still to happen.
    pub(crate) fn left(&self) -> usize {
        self.shared.faults.lock().unwrap().len()
    }

    /// Breaks off all answers that are still on their way.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    shared.seen.lock().unwrap().insert(format!("{} {}", parts.method, parts.uri.path()));
    let fault = shared.faults.lock().unwrap().pop_front();
    match fault {
        Some(Fault::BadGateway) => return (StatusCode::BAD_GATEWAY, "<html>bad gateway</html>").into_response(),
        Some(Fault::TooMany(seconds)) => {
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())]).into_response();
        }
        Some(Fault::LostAnswer) | None => {}
    }
    let url = format!("http://{}{}", shared.upstream, parts.uri);
    let mut headers = parts.headers;
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let answer = shared.http.request(parts.method, url).headers(headers).body(body).send().await.unwrap();
    if fault == Some(Fault::LostAnswer) {
        let lost = futures_util::stream::once(async { Err::<Vec<u8>, _>(std::io::Error::other("cut off")) });
        return Body::from_stream(lost).into_response();
    }
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    let cuts = shared.cuts.subscribe();
    let chunks = futures_util::stream::unfold(Some(answer), move |answer| {
        let mut cuts = cuts.clone();
        async move {
            let mut answer = answer?;
            tokio::select! {
                chunk = answer.chunk() => {
                    let chunk = chunk.transpose()?.map_err(std::io::Error::other);
                    Some((chunk, Some(answer)))
                }
                _ = cuts.changed() => Some((Err(std::io::Error::other("cut off")), None)),
            }
        }
    });
    (status, headers, Body::from_stream(chunks)).into_response()
}
