//! What becomes of a connection when its transaction is dropped.

use std::sync::Arc;

use super::connection::Connection;
use super::pool::{CLEANING, Pool};
use super::tx::{Extent, Phase, TenantTx};

impl Drop for TenantTx {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let pool = Arc::clone(&self.pool);
        let permits = self.permits.take();
        if self.in_flight {
            if tokio::runtime::Handle::try_current().is_err() {
                pool.discard(connection);
                return;
            }
            // Until the server was told, the connection stays and its place counts as taken: cancelled requests must not
            // pile up sessions, and a pooler must not give the session to others while it is being cancelled.
            spawn(async move {
                let _permits = permits;
                pool.cancel(connection.wire.client().cancel_token()).await;
                pool.discard(connection);
            });
            return;
        }
        let open = self.extent != Extent::Single && matches!(self.phase, Phase::Open | Phase::Failed);
        if !open && !connection.tainted {
            pool.put_back(connection);
            return;
        }
        if tokio::runtime::Handle::try_current().is_err() {
            pool.discard(connection);
            return;
        }
        spawn(async move {
            let _permits = permits;
            let cleaned = tokio::time::timeout(CLEANING, clean(&mut connection, open, &pool)).await;
            if matches!(cleaned, Ok(Ok(()))) {
                pool.put_back(connection);
            } else {
                pool.discard(connection);
            }
        });
    }
}

/// Without a runtime nothing can be awaited, and the future is dropped.
fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(future);
    }
}

async fn clean(connection: &mut Connection, open: bool, pool: &Pool) -> Result<(), tokio_postgres::Error> {
    if open {
        connection.bound = None;
    }
    let (client, link) = connection.wire.split();
    if open {
        link.drive(client.batch_execute("ROLLBACK")).await?;
    }
    #[cfg(feature = "negative-controls")]
    let reset = pool.config.defences.reset;
    #[cfg(not(feature = "negative-controls"))]
    let reset = true;
    let _ = pool;
    if connection.tainted && reset {
        link.drive(client.batch_execute("DISCARD ALL")).await?;
        connection.forget_statements();
        connection.bound = None;
        connection.tainted = false;
    }
    Ok(())
}
