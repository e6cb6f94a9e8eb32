//! Our server, complete, in this process.

use std::net::SocketAddr;

use tenantry::{Server, Settings};
use tenantry_http::Drained;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::ground::Ground;

pub(crate) struct Ours {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Drained>,
}

impl Ours {
    pub(crate) async fn start(ground: &Ground, settings: &Settings) -> anyhow::Result<Self> {
        let server = Server::start(&ground.config, settings).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let ended = async {
                let _ = stopped.await;
            };
            server.serve(listener, ended).await
        });
        Ok(Self { address, stop, task })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        self.task.await?;
        Ok(())
    }
}
