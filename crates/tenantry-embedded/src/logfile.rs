use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::error::{EmbeddedError, IoContext as _};

const KEEP_BYTES: u64 = 16 * 1024 * 1024;
const TAIL_LINES: usize = 15;

/// A server's log: a file that it writes through its standard output and error.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    start: u64,
}

impl LogFile {
    /// Opens the log for appending. A large one is set aside first (one old log is kept).
    pub(crate) fn open(path: PathBuf) -> Result<Self, EmbeddedError> {
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > KEEP_BYTES) {
            let old = path.with_extension("log.old");
            fs::rename(&path, &old).on("rename", &path)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            // Failed statements are in it, with their values.
            .mode(0o600)
            .open(&path)
            .on("open", &path)?;
        let start = file.metadata().on("read", &path)?.len();
        Ok(Self { path, file, start })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A handle to give to a child process.
    pub(crate) fn stdio(&self) -> Result<Stdio, EmbeddedError> {
        Ok(self.file.try_clone().on("open", &self.path)?.into())
    }

    /// What was written since it was opened.
    pub(crate) fn since_start(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.start))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }

    /// The last lines written since it was opened.
    pub(crate) fn tail(&self) -> String {
        let text = self.since_start();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}
