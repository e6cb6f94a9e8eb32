use std::io;
use std::path::{Path, PathBuf};

/// Why a private server could not be found, started or stopped. The texts are for the person at the
/// terminal; where there is something to do about it, a `hint:` line says what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// Another process holds the data directory.
    #[error("data directory `{}` is in use by process `{holder}`\nhint: stop it, or choose another directory", dir.display())]
    InUse {
        /// The directory that was asked for.
        dir: PathBuf,
        /// The process that holds it, as far as it can be told.
        holder: String,
    },
    /// No PostgreSQL binaries here, and none could be installed.
    #[error("no PostgreSQL binaries found ({searched})\nhint: {hint}")]
    NoBinaries {
        /// Where they were looked for.
        searched: String,
        /// How to get them.
        hint: String,
    },
    /// A directory was named, but it has no usable binaries.
    #[error("the PostgreSQL binaries in `{}` cannot be used: {reason}", dir.display())]
    UnusableBinaries {
        /// The directory with the binaries.
        dir: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// The cluster belongs to another major version than the binaries.
    #[error("the cluster in `{}` was made by PostgreSQL `{cluster}`, the binaries are of `{binaries}`\nhint: install PostgreSQL `{cluster}`, or start with another data directory", dir.display())]
    VersionMismatch {
        /// The data directory.
        dir: PathBuf,
        /// Its major version.
        cluster: u32,
        /// The binaries' major version.
        binaries: u32,
    },
    /// Installing binaries failed.
    #[error("cannot install PostgreSQL: {reason}\nhint: {hint}")]
    Install {
        /// What failed, with the tool's own words.
        reason: String,
        /// What to do instead.
        hint: String,
    },
    /// `initdb` failed.
    #[error("cannot create a PostgreSQL cluster in `{}`: {output}", dir.display())]
    Initdb {
        /// Where it was to be.
        dir: PathBuf,
        /// The tool's own words.
        output: String,
    },
    /// The server process ended, or never became ready.
    #[error("`{program}` did not start: {reason}\nlog `{}` ends with:\n{tail}", log.display())]
    Start {
        /// Which program.
        program: &'static str,
        /// What happened.
        reason: String,
        /// Where its log is.
        log: PathBuf,
        /// The end of that log.
        tail: String,
    },
    /// A server or one of its processes does not go away.
    #[error("process `{pid}` of the cluster in `{}` does not stop", dir.display())]
    Stuck {
        /// The process.
        pid: i32,
        /// Its data directory.
        dir: PathBuf,
    },
    /// The port that was asked for is taken.
    #[error("port `{port}` on 127.0.0.1 is in use\nhint: choose another port, or none to have a free one picked")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// No port is free.
    #[error("no free port on 127.0.0.1")]
    NoFreePort,
    /// The data directory cannot be used as it is.
    #[error("cannot use `{}`: {reason}", path.display())]
    Unusable {
        /// The offending path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A program this crate needs is not installed.
    #[error("`{program}` is not installed\nhint: {hint}")]
    MissingProgram {
        /// The program.
        program: &'static str,
        /// How to get it.
        hint: &'static str,
    },
    /// The server is not running (it was killed or stopped).
    #[error("the server is not running")]
    NotRunning,
    /// The operating system refused something.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Adds what was attempted, and on which path, to an [`io::Error`].
pub(crate) trait IoContext<T> {
    fn on(self, what: &'static str, path: &Path) -> Result<T, EmbeddedError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn on(self, what: &'static str, path: &Path) -> Result<T, EmbeddedError> {
        self.map_err(|source| EmbeddedError::Io { what, path: path.to_owned(), source })
    }
}
