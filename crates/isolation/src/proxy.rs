//! A proxy that speaks enough of PostgreSQL's protocol to fail in chosen ways between a server of ours and its database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with the connections through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Passes everything on.
    Pass,
    /// Passes everything on but the server's notifications.
    NoNotifications,
    /// Keeps connections open, takes new ones, and passes nothing on, as a firewall does that lost its state.
    /// A connection that lived through this stays silent for ever.
    Silence,
    /// Closes all connections and every new one.
    Refuse,
}

/// A running proxy on a port of 127.0.0.1; it ends with the value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: (String, u16),
    traffic: watch::Sender<Traffic>,
    /// Requests passed on since [`Proxy::hold_after`].
    passed: AtomicUsize,
    /// How many requests pass before everything is held.
    limit: AtomicUsize,
    held: watch::Sender<bool>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.traffic.send_replace(Traffic::Refuse);
    }
}

impl Proxy {
    /// Starts one in front of a server.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(host: &str, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let own_port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared {
            upstream: (host.to_owned(), port),
            traffic: watch::Sender::new(Traffic::Pass),
            passed: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            held: watch::Sender::new(false),
        });
        let accepting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&accepting)));
            }
        });
        Self { port: own_port, shared, task }
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what happens from now on.
    pub fn set(&self, traffic: Traffic) {
        self.shared.traffic.send_replace(traffic);
    }

    /// Passes `requests` more requests (a simple query, or a statement up to its `Sync`) to the server, then holds
    /// everything in both directions: the answer to the last one never arrives.
    pub fn hold_after(&self, requests: usize) {
        self.shared.passed.store(0, Ordering::SeqCst);
        self.shared.limit.store(requests, Ordering::SeqCst);
        self.shared.held.send_replace(requests == 0);
    }

    /// Lets everything pass again.
    pub fn release(&self) {
        self.shared.limit.store(usize::MAX, Ordering::SeqCst);
        self.shared.held.send_replace(false);
    }

    /// Waits until requests are held.
    pub async fn held(&self) {
        // The sender lives in `shared`, so the wait cannot fail.
        let _ = self.shared.held.subscribe().wait_for(|held| *held).await;
    }

    /// Requests passed on since [`hold_after`](Self::hold_after).
    #[must_use]
    pub fn passed(&self) -> usize {
        self.shared.passed.load(Ordering::SeqCst)
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let traffic = shared.traffic.subscribe();
    let now = *traffic.borrow();
    match now {
        Traffic::Refuse => return,
        Traffic::Silence => return silence(client, traffic).await,
        Traffic::Pass | Traffic::NoNotifications => {}
    }
    let Ok(server) = TcpStream::connect((shared.upstream.0.as_str(), shared.upstream.1)).await else { return };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Whichever side ends first takes the other with it.
    tokio::select! {
        () = requests(from_client, to_server, &shared) => {}
        () = answers(from_server, to_client, &shared) => {}
        () = refused(traffic) => {}
    }
}

/// Keeps a connection that leads nowhere until connections are refused.
async fn silence(mut client: TcpStream, traffic: watch::Receiver<Traffic>) {
    let swallow = async {
        let mut buffer = [0; 4096];
        while client.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    };
    tokio::select! {
        () = swallow => {}
        () = refused(traffic) => {}
    }
}

async fn refused(mut traffic: watch::Receiver<Traffic>) {
    until(&mut traffic, Traffic::Refuse).await;
}

/// Waits for a value; false when the proxy is gone before.
async fn until<T: PartialEq>(state: &mut watch::Receiver<T>, wanted: T) -> bool {
    state.wait_for(|now| *now == wanted).await.is_ok()
}

/// Bytes of one direction, cut into the protocol's messages.
struct Messages {
    source: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Messages {
    /// The next message; its kind is 0 for the first of a client, which has no type byte.
    async fn next(&mut self, first: bool) -> Option<(u8, Vec<u8>)> {
        let head = if first { 4 } else { 5 };
        loop {
            if self.buffer.len() >= head {
                let length: [u8; 4] = self.buffer[head - 4..head].try_into().ok()?;
                let whole = head - 4 + usize::try_from(u32::from_be_bytes(length)).ok()?;
                if self.buffer.len() >= whole {
                    let rest = self.buffer.split_off(whole);
                    let message = std::mem::replace(&mut self.buffer, rest);
                    return Some((if first { 0 } else { message[0] }, message));
                }
            }
            if self.source.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Reads on to the end of the connection and passes nothing on.
    async fn swallow(&mut self) {
        loop {
            self.buffer.clear();
            if !self.source.read_buf(&mut self.buffer).await.is_ok_and(|n| n > 0) {
                return;
            }
        }
    }
}

async fn requests(source: OwnedReadHalf, mut server: OwnedWriteHalf, shared: &Shared) {
    let mut messages = Messages { source, buffer: Vec::new() };
    let mut traffic = shared.traffic.subscribe();
    let mut held = shared.held.subscribe();
    let mut first = true;
    loop {
        let message = tokio::select! {
            _ = until(&mut traffic, Traffic::Silence) => return messages.swallow().await,
            message = messages.next(first) => message,
        };
        let Some((kind, message)) = message else { return };
        first = false;
        // Logging in is no request.
        let login = kind == 0 || kind == b'p';
        if !login && *held.borrow() {
            tokio::select! {
                released = until(&mut held, false) => if !released { return },
                // The client's end must be seen here, too: its other messages are not waited for.
                () = closed(&mut messages) => return,
            }
        }
        // Held before the server has the request, so that its answer cannot slip through.
        if matches!(kind, b'Q' | b'S')
            && shared.passed.fetch_add(1, Ordering::SeqCst) + 1 == shared.limit.load(Ordering::SeqCst)
        {
            shared.held.send_replace(true);
        }
        if server.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// Waits for the client's end, keeping what it sends meanwhile.
async fn closed(messages: &mut Messages) {
    while messages.source.read_buf(&mut messages.buffer).await.is_ok_and(|n| n > 0) {}
}

async fn answers(source: OwnedReadHalf, mut client: OwnedWriteHalf, shared: &Shared) {
    let mut messages = Messages { source, buffer: Vec::new() };
    let mut traffic = shared.traffic.subscribe();
    let mut held = shared.held.subscribe();
    let mut ready = false;
    loop {
        let message = tokio::select! {
            _ = until(&mut traffic, Traffic::Silence) => return messages.swallow().await,
            message = messages.next(false) => message,
        };
        let Some((kind, message)) = message else { return };
        if ready && *held.borrow() {
            tokio::select! {
                released = until(&mut held, false) => if !released { return },
                () = closed(&mut messages) => return,
            }
        }
        // The first of these ends the login, which is never held.
        ready |= kind == b'Z';
        let muted = *traffic.borrow() == Traffic::NoNotifications && kind == b'A';
        if !muted && client.write_all(&message).await.is_err() {
            return;
        }
    }
}
