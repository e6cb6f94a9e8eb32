//! The private PostgreSQL of a development server, kept running.

use std::path::Path;
use std::time::Duration;

use tenantry_embedded::{Cluster, ClusterConfig, Progress, StopMode};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cli::{CliError, say};

/// Between two tries to start a server that does not start.
const PAUSE: Duration = Duration::from_secs(1);

/// A running PostgreSQL. When its process ends by itself (killed, out of memory) it is started again.
#[derive(Debug)]
pub(super) struct Postgres {
    superuser: String,
    public: String,
    stop: oneshot::Sender<()>,
    keeper: JoinHandle<Result<(), CliError>>,
}

impl Postgres {
    pub(super) async fn start(data_dir: &Path) -> Result<Self, CliError> {
        let mut config = ClusterConfig::new(data_dir)
            .setting("max_connections", "200")
            .setting("max_locks_per_transaction", "256")
            .setting("shared_buffers", "256MB")
            .setting("jit", "off");
        config.progress = Progress::new(|message| say(message));
        let cluster = Cluster::start(config).await?;
        say(format!("PostgreSQL {} listens on {}:{}", cluster.version(), cluster.host(), cluster.port()));
        let superuser = cluster.superuser_url("");
        let public = format!("postgres://{}:{}/", cluster.host(), cluster.port());
        let (stop, stopped) = oneshot::channel();
        Ok(Self { superuser, public, stop, keeper: tokio::spawn(keep(cluster, stopped)) })
    }

    /// For the superuser: preparation only.
    pub(super) fn superuser_url(&self, database: &str) -> String {
        format!("{}{database}?sslmode=disable", self.superuser)
    }

    /// Without credentials.
    pub(super) fn public_url(&self, database: &str) -> String {
        format!("{}{database}?sslmode=disable", self.public)
    }

    /// Stops it in good order.
    pub(super) async fn stop(self) -> Result<(), CliError> {
        let _ = self.stop.send(());
        self.keeper.await.unwrap_or_else(|error| Err(CliError::failed(error.to_string())))
    }
}

async fn keep(mut cluster: Cluster, mut stopped: oneshot::Receiver<()>) -> Result<(), CliError> {
    loop {
        let status = tokio::select! {
            status = cluster.exited() => status,
            _ = &mut stopped => {
                cluster.stop(StopMode::Fast).await?;
                say("PostgreSQL has stopped");
                return Ok(());
            }
        };
        let how = status.map_or_else(|| "it does not run".to_owned(), |status| status.to_string());
        say(format!("PostgreSQL ended ({how}): starting it again"));
        while let Err(error) = cluster.resume().await {
            say(format!("PostgreSQL does not start: {error}"));
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = &mut stopped => return Ok(()),
            }
        }
    }
}
