//! Serving connections until told to stop, and then finishing what runs.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::Layer as _;

use crate::config::HttpConfig;

/// How long to wait when the process is out of file descriptors or memory for a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because their requests did not finish within the drain timeout.
    pub cut: usize,
}

/// Serves HTTP/1.1 until `shutdown` resolves; then accepts nothing more, closes idle connections at once and waits for
/// running requests, at most [`HttpConfig::drain_timeout`].
///
/// Handlers find the peer as [`ConnectInfo<SocketAddr>`](std::net::SocketAddr). A connection that sends no complete request head
/// within [`HttpConfig::header_timeout`] is closed, which also bounds idle ones.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: &HttpConfig,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    // resolves the routes' state once instead of on every connection
    let router: Router = router.with_state(());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(config.header_timeout);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener) => accepted,
        };
        // small answers must not wait for the previous packet's acknowledgement; a dead socket shows up soon enough
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(Extension(ConnectInfo(peer)).layer(router.clone()));
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(target: "tenantry::http", %peer, %error, "a connection ended early");
            }
        });
    }
    drop(listener);
    let finished = tokio::time::timeout(config.drain_timeout, graceful.shutdown()).await;
    while connections.try_join_next().is_some() {}
    let cut = if finished.is_ok() { 0 } else { connections.len() };
    if cut > 0 {
        tracing::warn!(target: "tenantry::http", cut, "requests did not finish in time and were cut off");
    }
    connections.shutdown().await;
    Drained { cut }
}

/// Accepts the next connection, past all that can go wrong with a single one.
async fn accept(listener: &TcpListener) -> (TcpStream, std::net::SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(target: "tenantry::http", %error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
