//! Asking a server to stop what a discarded connection still runs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, NoTls};

use crate::config::{AccessMode, DatabaseConfig};
use crate::connect::rustls_connector;

const LIMIT: Duration = Duration::from_secs(5);

/// Sends the request and waits until it was handled, at most for a while. Best effort: the statement timeout bounds
/// what a lost request leaves running.
pub(super) async fn cancel(database: &DatabaseConfig, mode: AccessMode, token: &CancelToken) {
    let sent = async {
        let pooler = database.pooler.as_ref().filter(|_| mode == AccessMode::Pooler);
        if pooler.unwrap_or(&database.direct).tls {
            let tls = rustls_connector().map_err(|e| e.to_string())?;
            match pooler {
                Some(pooler) => through(&pooler.postgres, token, tls).await,
                None => token.cancel_query(tls).await.map_err(|e| e.to_string()),
            }
        } else {
            match pooler {
                Some(pooler) => through(&pooler.postgres, token, NoTls).await,
                None => token.cancel_query(NoTls).await.map_err(|e| e.to_string()),
            }
        }
    };
    match tokio::time::timeout(LIMIT, sent).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a cancelled statement could not be stopped"),
        Err(_) => tracing::debug!("a cancelled statement could not be stopped in time"),
    }
}

/// The driver closes its end as soon as the request is written. A PgBouncer 1.18 to 1.19 that has not passed it on by then
/// ends with `bad client state: 0` and takes every tenant's connections with it (pgbouncer issue 801). So here the
/// other end closes first, as with libpq.
async fn through<T>(pooler: &tokio_postgres::Config, token: &CancelToken, mut tls: T) -> Result<(), String>
where
    T: MakeTlsConnect<Patient>,
{
    let port = pooler.get_ports().first().copied().unwrap_or(5432);
    let (stream, name): (Box<dyn Stream>, &str) = match pooler.get_hosts().first() {
        Some(Host::Tcp(host)) => {
            let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|e| e.to_string())?;
            (Box::new(stream), host)
        }
        Some(Host::Unix(dir)) => {
            let stream = UnixStream::connect(dir.join(format!(".s.PGSQL.{port}"))).await.map_err(|e| e.to_string())?;
            (Box::new(stream), "")
        }
        None => return Err("the pooler's URL names no host".into()),
    };
    let tls = tls.make_tls_connect(name).map_err(|e| e.into().to_string())?;
    token.cancel_query_raw(Patient(stream), tls).await.map_err(|e| e.to_string())
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream whose shutdown is complete when the other end has closed.
struct Patient(Box<dyn Stream>);

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 64];
        loop {
            let mut into = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.0).poll_read(cx, &mut into)) {
                Ok(()) if !into.filled().is_empty() => {}
                // Closed, or reset: either way it is over.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
