use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::account::Account;
use crate::error::{EmbeddedError, IoContext as _};
use crate::leash::Leash;

const POLL: Duration = Duration::from_millis(10);

/// A server process, child of this one. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    pid: Pid,
    leash: Option<Leash>,
    /// What ends it at once and in good order.
    quit: Signal,
}

impl ServerProcess {
    /// Starts `command` (made by `account`) in a process group of its own: Ctrl-C at the terminal goes to
    /// us alone, and we stop the server when nobody needs it any more. If we are killed, it gets
    /// `orphaned`, the name of a signal.
    pub(crate) fn spawn(
        mut command: std::process::Command,
        account: &Account,
        orphaned: &str,
        quit: Signal,
    ) -> Result<Self, EmbeddedError> {
        use std::os::unix::process::CommandExt as _;

        let program = PathBuf::from(command.get_program());
        command.process_group(0);
        let child = Command::from(command).kill_on_drop(true).spawn().on("run", &program)?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or(EmbeddedError::NotRunning)?;
        let mut server = Self { child, pid, leash: None, quit };
        let leash = Leash::tie(account, pid.as_raw_nonzero().get(), orphaned);
        server.leash = Some(leash.on("run", Path::new("/bin/sh"))?);
        Ok(server)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal, unless the process has ended (then its pid may be somebody else's).
    pub(crate) fn signal(&mut self, signal: Signal) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Kills the process, unless its end was seen before.
    pub(crate) fn kill(&self) {
        if self.child.id().is_some() {
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }

    /// Whether and how the process has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for the end of the process.
    pub(crate) async fn wait(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Sends the signals in turn, each with its time to take effect.
    pub(crate) async fn end(&mut self, steps: &[(Signal, Duration)]) {
        for (signal, patience) in steps {
            self.signal(*signal);
            if timeout(*patience, self.child.wait()).await.is_ok() {
                return;
            }
        }
    }

    /// Waits until `ready` says so, as long as the process lives.
    pub(crate) async fn until(&mut self, limit: Duration, ready: impl Fn() -> bool) -> Readiness {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Readiness::Ended(status);
            }
            if ready() {
                return Readiness::Ready;
            }
            if started.elapsed() > limit {
                return Readiness::TimedOut;
            }
            sleep(POLL).await;
        }
    }
}

impl Drop for ServerProcess {
    /// Ends the process without the help of the runtime, which may be going down as well.
    fn drop(&mut self) {
        self.signal(self.quit);
        let started = Instant::now();
        while self.ended().is_none() && started.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(POLL);
        }
        self.signal(Signal::KILL);
    }
}

/// What came of waiting for a server.
#[derive(Debug)]
pub(crate) enum Readiness {
    Ready,
    Ended(ExitStatus),
    TimedOut,
}

/// A program in PATH, or where only root's PATH leads: Debian puts servers there.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
}

/// Whether the PostgreSQL server `pid` accepts connections: it writes so into line 8 of its pid file
/// (`pg_ctl --wait` reads it, too).
pub(crate) fn accepts_connections(pgdata: &Path, pid: i32) -> bool {
    let text = std::fs::read_to_string(pgdata.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    let is_its = lines.next().and_then(|line| line.trim().parse().ok()) == Some(pid);
    is_its && lines.nth(6).is_some_and(|status| status.trim() == "ready")
}
