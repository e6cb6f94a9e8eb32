use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::account::Account;
use crate::error::EmbeddedError;
use crate::logfile::LogFile;
use crate::port;
use crate::process::{Readiness, ServerProcess, find_program};

const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(5);

/// A real Redis or Valkey, running as a child process; it keeps nothing on disk. Dropping it stops it.
#[derive(Debug)]
pub struct Redis {
    process: ServerProcess,
    port: u16,
    log: LogFile,
    // removed with its files when the server has ended
    _dir: TempDir,
}

impl Redis {
    /// Whether one of the programs is installed.
    #[must_use]
    pub fn is_installed() -> bool {
        program().is_some()
    }

    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When neither `redis-server` nor `valkey-server` is installed, or it does not come up.
    pub async fn start() -> Result<Self, EmbeddedError> {
        let mut tried = HashSet::new();
        loop {
            let port = port::pick(&tried)?;
            tried.insert(port);
            match Self::start_on(port).await {
                Err(EmbeddedError::Start { tail, .. })
                    if tried.len() < 5 && tail.contains("Address already in use") => {}
                outcome => return outcome,
            }
        }
    }

    /// Starts a server on this port, such as that of one that was killed.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_on(port: u16) -> Result<Self, EmbeddedError> {
        let program = program().ok_or(EmbeddedError::MissingProgram {
            program: "redis-server",
            hint: "on Debian: `sudo apt-get install redis-server`",
        })?;
        let account = Account::for_servers()?;
        let dir = account.temp_dir("tenantry-redis-")?;
        let log = LogFile::open(dir.path().join("redis.log"))?;
        let mut command = account.command(program);
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"])
            .arg(dir.path())
            .stdout(log.stdio()?)
            .stderr(log.stdio()?);
        let process = ServerProcess::spawn(command, &account, "TERM", Signal::TERM)?;
        let mut server = Self { process, port, log, _dir: dir };
        let address = (Ipv4Addr::LOCALHOST, port);
        match server.process.until(START, || TcpStream::connect(address).is_ok()).await {
            Readiness::Ready => Ok(server),
            Readiness::Ended(status) => Err(server.failure(status.to_string())),
            Readiness::TimedOut => Err(server.failure(format!("not ready after {} s", START.as_secs()))),
        }
    }

    /// Where it is reached.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Kills it with all that it remembers, as `kill -9` does, and waits for its end.
    pub async fn kill(mut self) {
        self.process.kill();
        self.process.wait().await;
    }

    /// Makes it stop in the middle of whatever it does, without closing a connection; [`resume`](Self::resume) goes on.
    pub fn freeze(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Stops it.
    pub async fn stop(mut self) {
        self.process.end(&[(Signal::TERM, STOP), (Signal::KILL, STOP)]).await;
    }

    fn failure(&self, reason: String) -> EmbeddedError {
        EmbeddedError::Start { program: "redis-server", reason, log: self.log.path().to_owned(), tail: self.log.tail() }
    }
}

fn program() -> Option<PathBuf> {
    find_program("redis-server").or_else(|| find_program("valkey-server"))
}
