//! The access log of the servers that are measured in this process.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use anyhow::Context as _;

static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Logs as in production: JSON at level info, a line an event, unbuffered. One file for all benchmarks of a run. Says so.
pub(crate) fn start(dir: &Path) -> anyhow::Result<String> {
    let file = if let Some(file) = FILE.get() { file } else { begin(dir)? };
    Ok(format!("JSON, one event a request, `{}`", file.display()))
}

fn begin(dir: &Path) -> anyhow::Result<&'static PathBuf> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("access.log");
    let file = std::fs::File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_env_filter(tracing_subscriber::EnvFilter::new("info,tokio_postgres=warn"))
        .with_writer(Mutex::new(file))
        .finish();
    tracing::subscriber::set_global_default(subscriber).context("the log is set up once")?;
    Ok(FILE.get_or_init(|| path))
}
