//! A client and its connection in one: whoever runs a statement moves its bytes.
//!
//! The driver means its connection to run in a task of its own. Then each statement wakes that task, and its answer wakes the
//! request's: two more switches, often between threads, for the same bytes. A connection that belongs to one request at a time
//! needs no task; the future of a statement polls it.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sync_wrapper::SyncWrapper;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, Client, Connection, Error};

/// How long a connection that is given up may take for what still runs on it and for a goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// The driver's half that moves bytes.
pub(crate) trait Driven: Send {
    /// Moves what can be moved, and gives the next message nobody asked for. After the end or an error it is not called again.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<AsyncMessage, Error>>>;
}

impl<S, T> Driven for Connection<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<AsyncMessage, Error>>> {
        Self::poll_message(self, cx)
    }
}

/// A client and its connection. While no statement runs nobody looks at the connection: what the server sends meanwhile,
/// mostly that it ends, is seen at the next use.
pub(crate) struct Wire {
    // Dropped first: that is how the connection learns that nothing more will come.
    client: Client,
    link: Link,
}

impl Wire {
    pub(crate) fn new(client: Client, connection: Box<dyn Driven>) -> Self {
        let news = Arc::new(News::default());
        let waker = Waker::from(Arc::clone(&news));
        Self { client, link: Link { connection: SyncWrapper::new(Some(connection)), news, waker } }
    }

    /// What sends statements, and what awaits them.
    pub(crate) const fn split(&mut self) -> (&Client, &mut Link) {
        (&self.client, &mut self.link)
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the server has closed it, as far as is known here.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.link.look();
        self.link.connection.get_mut().is_none()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

/// The connection of a [`Wire`]; empty once it has ended.
pub(crate) struct Link {
    connection: SyncWrapper<Option<Box<dyn Driven>>>,
    news: Arc<News>,
    waker: Waker,
}

impl Link {
    /// Awaits something that waits for this connection alone, as its client's statements do, and moves its bytes.
    pub(crate) async fn drive<T>(&mut self, statement: impl Future<Output = T>) -> T {
        let mut statement = pin!(statement);
        self.news.raise();
        let answer = std::future::poll_fn(|cx| {
            loop {
                // What it waits for comes from the connection, which is polled here: it has to wake this loop and not the task.
                if self.news.taken()
                    && let Poll::Ready(answer) = statement.as_mut().poll(&mut Context::from_waker(&self.waker))
                {
                    return Poll::Ready(answer);
                }
                advance(self.connection.get_mut(), cx);
                if !self.news.raised() {
                    return Poll::Pending;
                }
            }
        })
        .await;
        // Or the first byte for the next one would wake this task.
        self.look();
        answer
    }

    /// Moves what is there, without waiting for more.
    fn look(&mut self) {
        advance(self.connection.get_mut(), &mut Context::from_waker(&self.waker));
    }
}

/// Moves what can be moved now. When the connection ends it is dropped, and that is how what waits for it hears of it.
fn advance(slot: &mut Option<Box<dyn Driven>>, cx: &mut Context<'_>) {
    while let Some(connection) = slot {
        match connection.poll_message(cx) {
            // A notice; nobody wants those of the stores' statements.
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_)) | None) => *slot = None,
            Poll::Pending => return,
        }
    }
}

impl Drop for Link {
    /// What runs comes to its end, if it does so soon, and the server hears that we leave.
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.get_mut().take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let ended =
                    async { while let Some(Ok(_)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {} };
                let _ = tokio::time::timeout(GOODBYE, ended).await;
            });
        }
    }
}

/// Whether there is something new for the statement that is driven.
#[derive(Debug, Default)]
struct News(AtomicBool);

impl News {
    fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn taken(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

impl Wake for News {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}
