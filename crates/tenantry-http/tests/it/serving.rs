//! Connections: the end in good order, the end by force, and peers that do nothing.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tenantry_http::{Drained, HttpConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::{Inside, Running, Stay, client, eventually, to_end};

/// A route that answers when told to.
struct Gate {
    inside: Inside,
    open: watch::Sender<bool>,
}

impl Gate {
    fn new() -> (Self, Router) {
        let (open, opened) = watch::channel(false);
        let inside = Inside::default();
        let entered = inside.clone();
        let wait = move || {
            let (mut opened, inside) = (opened.clone(), entered.clone());
            async move {
                let _stay = Stay::begin(&inside);
                let _ = opened.wait_for(|open| *open).await;
                "finished"
            }
        };
        let routes = Router::new().route("/wait", get(wait)).route("/hello", get(|| async { "hello" }));
        let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
        (Self { inside, open }, routes.route("/peer", get(peer)))
    }
}

async fn read_some(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4096];
    let read = stream.read(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

#[tokio::test]
async fn a_shutdown_finishes_what_runs_and_refuses_what_comes() {
    let (gate, routes) = Gate::new();
    let server = Running::start(routes, HttpConfig::default()).await;
    let (url, address) = (server.url("/wait"), server.address);
    let running = tokio::spawn(async move { client().get(url).send().await.unwrap().text().await });
    let mut idle = server.connect().await;
    idle.write_all(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_some(&mut idle).await.ends_with("hello"));
    eventually("the request runs", || gate.inside.count() == 1).await;
    drop(server.stop);
    assert_eq!(to_end(&mut idle).await, "", "an idle connection is closed at once");
    assert!(TcpStream::connect(address).await.is_err(), "nobody is let in any more");
    assert!(!server.served.is_finished(), "the running request is waited for");
    gate.open.send(true).unwrap();
    assert_eq!(running.await.unwrap().unwrap(), "finished");
    assert_eq!(server.served.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_request_that_outlives_the_drain_is_cut() {
    let (gate, routes) = Gate::new();
    let config = HttpConfig { drain_timeout: Duration::from_millis(50), ..HttpConfig::default() };
    let server = Running::start(routes, config).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    eventually("the request runs", || gate.inside.count() == 1).await;
    drop(server.stop);
    assert_eq!(server.served.await.unwrap(), Drained { cut: 1 });
    assert_eq!(gate.inside.count(), 0, "its handler does not run on");
    assert_eq!(to_end(&mut stream).await, "");
}

#[tokio::test]
async fn peers_without_a_complete_head_are_let_go() {
    let (_gate, routes) = Gate::new();
    let config = HttpConfig { header_timeout: Duration::from_secs(1), ..HttpConfig::default() };
    let server = Running::start(routes, config).await;
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    // a byte now and then does not buy more time
    let mut dripping = server.connect().await;
    let dripped = tokio::spawn(async move {
        let begin = dripping.write_all(b"GET /hello HTTP/1.1\r\nX-Slow: ").await;
        let mut sent = 0;
        while begin.is_ok() && sent < 2000 && dripping.write_all(b"a").await.is_ok() {
            sent += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sent
    });
    let mut idle = server.connect().await;
    idle.write_all(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_some(&mut idle).await.ends_with("hello"));
    for (what, stream) in [("silent", &mut silent), ("half", &mut half), ("idle", &mut idle)] {
        let rest = to_end(stream).await;
        assert!(!rest.contains("200 OK"), "{what}: {rest}");
    }
    assert!(dripped.await.unwrap() < 2000, "the dripping peer was let go");
    let hello = client().get(server.url("/hello")).send().await.unwrap();
    assert_eq!(hello.text().await.unwrap(), "hello", "others are served meanwhile");
}

#[tokio::test]
async fn handlers_know_the_peer() {
    let (_gate, routes) = Gate::new();
    let server = Running::start(routes, HttpConfig::default()).await;
    let mut stream = server.connect().await;
    let own = stream.local_addr().unwrap().to_string();
    stream.write_all(b"GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(to_end(&mut stream).await.ends_with(&own));
}
