use std::fs::{self, DirEntry, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::config::{ClusterConfig, Progress, StopMode};
use crate::error::{EmbeddedError, IoContext as _};
use crate::place::moved_to;
use crate::recovery::Processes;

const PREFIX: &str = "tenantry-throwaway-";
/// A directory younger than this may be one whose owner has not taken its lock yet.
const SETTLED: Duration = Duration::from_secs(60);

/// What a [`Throwaway`] is made of.
#[derive(Debug, Clone, Default)]
pub struct ThrowawayConfig {
    /// Server settings beside those of [`ClusterConfig::for_tests`].
    pub settings: Vec<(String, String)>,
    /// The directory with the binaries, as in [`ClusterConfig::bin`].
    pub bin: Option<PathBuf>,
    /// Variables of the server's environment, as in [`ClusterConfig::environment`].
    pub environment: Vec<(String, String)>,
    /// Where to report slow or surprising steps.
    pub progress: Progress,
}

/// A cluster for tests in a temporary directory. Nothing of it remains: not after [`Throwaway::stop`], not
/// after a drop, and after a kill the next throwaway removes what is left.
#[derive(Debug)]
pub struct Throwaway {
    cluster: Cluster,
    _dir: TempDir,
}

impl Throwaway {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// As for [`Cluster::start`].
    pub async fn start(config: ThrowawayConfig) -> Result<Self, EmbeddedError> {
        sweep(&std::env::temp_dir(), &config.progress).await;
        let dir =
            tempfile::Builder::new().prefix(PREFIX).tempdir().on("create a directory in", &std::env::temp_dir())?;
        // The server's account must be able to pass through; its own directory below is private.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).on("set permissions of", dir.path())?;
        let mut cluster = ClusterConfig::for_tests(dir.path());
        cluster.settings.extend(config.settings);
        cluster.bin = config.bin;
        cluster.environment = config.environment;
        cluster.progress = config.progress;
        let cluster = Cluster::start(cluster).await?;
        Ok(Self { cluster, _dir: dir })
    }

    /// The running cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The running cluster, for restarts.
    pub const fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// Stops the server and removes its files.
    ///
    /// # Errors
    ///
    /// When a process of the server does not go away, or a file cannot be removed.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        // Nobody will read the files again, so no checkpoint is needed.
        self.cluster.halt(StopMode::Immediate).await?;
        self.cluster.remove_files()
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        self.cluster.end_now();
        // The cluster may lie elsewhere than in the temporary directory.
        let _ = self.cluster.remove_files();
    }
}

/// Removes the throwaways of processes that were killed: those whose lock nobody holds.
async fn sweep(parent: &Path, progress: &Progress) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || !is_ours_to_remove(&entry) {
            continue;
        }
        if let Err(error) = remove_abandoned(&entry.path(), progress).await {
            tracing::debug!("left an abandoned directory: {error}");
        }
    }
}

/// Only our own directories: what another account wrote into its own must not decide what we remove.
fn is_ours_to_remove(entry: &DirEntry) -> bool {
    entry.metadata().is_ok_and(|meta| {
        let age = meta.modified().ok().and_then(|time| time.elapsed().ok());
        meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && age.is_some_and(|age| age > SETTLED)
    })
}

async fn remove_abandoned(dir: &Path, progress: &Progress) -> Result<(), EmbeddedError> {
    let dir = fs::canonicalize(dir).on("resolve", dir)?;
    let path = dir.join("postgres.lock");
    let lock = File::open(&path).on("open", &path)?;
    if lock.try_lock().is_err() {
        return Ok(());
    }
    progress.say(format!("removing `{}`, which an interrupted run left", dir.display()));
    let home = moved_to(&dir)?.unwrap_or_else(|| dir.clone());
    Processes::of(&home.join("postgres")).clear(progress).await?;
    if home != dir && home.exists() {
        fs::remove_dir_all(&home).on("remove", &home)?;
    }
    fs::remove_dir_all(&dir).on("remove", &dir)
}
