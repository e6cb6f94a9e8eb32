//! A service of the outside world, over TLS: for credentials that are used, on names that lead to this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use workforce::keychain::egress::{Found, Laboratory, Lookup};

/// The authority that a test trusts.
pub const AUTHORITY: &[u8] = include_bytes!("../tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../tls/service.pem");
const KEY: &[u8] = include_bytes!("../tls/service.key.pem");

/// Leads every name to this machine.
struct Here;

impl Lookup for Here {
    fn lookup(&self, _: String) -> Found {
        Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) })
    }
}

/// The internet of a test: names lead here, and the test's authority is trusted.
#[must_use]
pub fn laboratory() -> Laboratory {
    Laboratory { trust: Some(AUTHORITY.to_vec()), lookup: Some(Arc::new(Here)), loopback: true, unchecked: false }
}

/// The port of a service that every test of the process shares. It tells what it was sent:
///
/// * `/echo` and below: method, path, query, headers and body as JSON;
/// * `/redirect`: 302 to another host; `/large`: more than a mebibyte; `/gzip`: a body that says it is compressed;
///   `/slow`: nothing for a long time; `/bytes`: a body that is not text; `/status/{code}`: that status.
///
/// # Panics
/// When it cannot be started.
pub fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::channel();
        // A thread with a runtime of its own: the test that comes first ends before the others.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
                tell.send(listener.local_addr().expect("an address").port()).expect("somebody waits");
                serve(listener, router()).await;
            });
        });
        told.recv().expect("the service starts")
    })
}

/// Serves a router over TLS, with the certificate for `service.test` and the names below it.
///
/// # Panics
/// When serving ends.
pub async fn serve(listener: TcpListener, router: Router) {
    let certificates = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<_, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .expect("certificate and key belong together");
    let listener = Tls { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
    axum::serve(listener, router).await.expect("serving goes on");
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            // One that speaks no TLS, or does not trust us, is none of ours.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn router() -> Router {
    Router::new()
        .route("/echo", any(echo))
        .route("/echo/{*rest}", any(echo))
        .route(
            "/redirect",
            get(|| async { (StatusCode::FOUND, [(header::LOCATION, "https://evil.service.test/echo")]) }),
        )
        .route("/large", get(|| async { "x".repeat(1024 * 1024 + 1) }))
        .route("/gzip", get(|| async { ([(header::CONTENT_ENCODING, "gzip")], "not really") }))
        .route("/bytes", get(|| async { vec![0xff_u8, 0xfe, 0] }))
        .route("/status/{code}", any(status))
        .route(
            "/slow",
            any(|| async {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }),
        )
}

async fn status(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)
}

async fn echo(
    method: axum::http::Method,
    uri: axum::http::Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let sent: serde_json::Map<String, serde_json::Value> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    let authorization = headers.get(header::AUTHORIZATION).cloned();
    let body = json!({
        "method": method.as_str(), "path": uri.path(), "query": query, "headers": sent,
        "body": String::from_utf8_lossy(&body),
    });
    let mut response = Json(body).into_response();
    let answer = response.headers_mut();
    answer.insert(header::SET_COOKIE, header::HeaderValue::from_static("session=1"));
    answer.insert("keep-alive", header::HeaderValue::from_static("timeout=5"));
    if let Some(authorization) = authorization {
        answer.insert("x-you-sent", authorization);
    }
    response
}
