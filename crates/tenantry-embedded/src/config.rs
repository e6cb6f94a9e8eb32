use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where messages about slow or surprising steps go: one line each, lower case, no full stop.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(&str) + Send + Sync>);

impl Progress {
    /// Calls `report` for every message.
    pub fn new(report: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// Sends the messages to `tracing` at level info.
    #[must_use]
    pub fn log() -> Self {
        Self::new(|message| tracing::info!("{message}"))
    }

    pub(crate) fn say(&self, message: impl AsRef<str>) {
        (self.0)(message.as_ref());
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::log()
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress(..)")
    }
}

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopMode {
    /// Ends the sessions and writes a checkpoint (SIGINT). If that takes longer than
    /// [`ClusterConfig::stop_timeout`], goes on with [`StopMode::Immediate`].
    #[default]
    Fast,
    /// Stops at once, without a checkpoint (SIGQUIT); the next start recovers from the log.
    Immediate,
}

/// What a [`Cluster`](crate::Cluster) is made of.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The directory for the cluster and its side files (lock, port, password, log). Made if absent.
    pub data_dir: PathBuf,
    /// The TCP port on 127.0.0.1. With `None`, the port of the last start, or else a free one.
    pub port: Option<u16>,
    /// Server settings (`name`, `value`), as in `postgresql.conf`. They win over the ones below.
    pub settings: Vec<(String, String)>,
    /// Whether an acknowledged commit must survive a crash of the machine. `false` also switches off
    /// `fsync`, so a machine crash may destroy the cluster: for throwaway clusters only.
    pub durable: bool,
    /// The directory with `postgres` and `initdb`. With `None`, see [`Search`](crate::Search).
    pub bin: Option<PathBuf>,
    /// Where binaries are installed if none are found. With `None`, the account's cache directory.
    pub cache: Option<PathBuf>,
    /// How long a start may take, recovery included. Default: two minutes.
    pub start_timeout: Duration,
    /// How long a fast stop may take before it becomes an immediate one. Default: 30 s.
    pub stop_timeout: Duration,
    /// Variables of the server's environment (`name`, `value`), beside our own.
    pub environment: Vec<(String, String)>,
    /// Where to report slow or surprising steps.
    pub progress: Progress,
}

impl ClusterConfig {
    /// A durable cluster in `data_dir` with PostgreSQL's own defaults.
    #[must_use]
    pub fn new(data_dir: impl AsRef<Path>) -> Self {
        Self {
            data_dir: data_dir.as_ref().to_owned(),
            port: None,
            settings: Vec::new(),
            durable: true,
            bin: None,
            cache: None,
            start_timeout: Duration::from_secs(120),
            stop_timeout: Duration::from_secs(30),
            environment: Vec::new(),
            progress: Progress::default(),
        }
    }

    /// A cluster for tests: not durable, many connections, room for the locks of thousands of tables.
    #[must_use]
    pub fn for_tests(data_dir: impl AsRef<Path>) -> Self {
        Self { durable: false, ..Self::new(data_dir) }
            .setting("max_connections", "400")
            .setting("shared_buffers", "256MB")
            .setting("max_locks_per_transaction", "1024")
    }

    /// Adds a server setting.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}
