//! What an earlier run may have left behind: a server whose owner was killed, sessions whose server was
//! killed, and the file `postmaster.pid` of either.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::sleep;

use crate::config::Progress;
use crate::error::{EmbeddedError, IoContext as _};
use crate::place::short_hash;

const POLL: Duration = Duration::from_millis(20);
const FAST: Duration = Duration::from_secs(30);
const IMMEDIATE: Duration = Duration::from_secs(10);

/// The processes of one cluster, recognised by the data directory and by the cluster's name.
#[derive(Debug, Clone)]
pub(crate) struct Processes {
    pgdata: PathBuf,
    token: String,
}

impl Processes {
    /// Those of the cluster with this data directory.
    pub(crate) fn of(pgdata: &Path) -> Self {
        Self { pgdata: pgdata.to_owned(), token: format!("tenantry-{}", short_hash(pgdata)) }
    }

    /// A short name of the cluster, unique on the machine, that its processes carry in their titles: the
    /// setting `cluster_name`.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Makes the data directory free for a start: stops a server that is still running on it, waits for
    /// (and in the end kills) sessions that outlived theirs, and removes a pid file that is not true
    /// any more. The caller holds the directory's lock, so nothing of this is anybody else's.
    pub(crate) async fn clear(&self, progress: &Progress) -> Result<(), EmbeddedError> {
        if let Some(pid) = self.running_server() {
            progress.say(format!(
                "stopping the PostgreSQL server `{pid}` that an interrupted run left on `{}`",
                self.pgdata.display()
            ));
            self.stop_server(pid).await?;
        }
        self.end_sessions().await?;
        let file = self.pgdata.join("postmaster.pid");
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).on("remove", &file),
            _ => Ok(()),
        }
    }

    /// Ends whatever is left of a server that is gone. A server must not start beside such sessions, and
    /// refuses to.
    pub(crate) async fn end_sessions(&self) -> Result<(), EmbeddedError> {
        let started = Instant::now();
        let mut signalled = false;
        loop {
            let left = self.all();
            let Some(first) = left.first() else {
                return Ok(());
            };
            let waited = started.elapsed();
            if waited > IMMEDIATE {
                return Err(self.stuck(*first));
            }
            // Sessions notice the loss by themselves, unless they are busy computing.
            if waited > Duration::from_secs(3) {
                signal_all(&left, Signal::KILL);
            } else if !signalled {
                signal_all(&left, Signal::QUIT);
                signalled = true;
            }
            sleep(POLL).await;
        }
    }

    /// Kills every process of the cluster at once.
    pub(crate) fn kill_all(&self) {
        signal_all(&self.all(), Signal::KILL);
    }

    async fn stop_server(&self, pid: Pid) -> Result<(), EmbeddedError> {
        for (signal, patience) in [(Signal::INT, FAST), (Signal::QUIT, IMMEDIATE), (Signal::KILL, IMMEDIATE)] {
            let _ = kill_process(pid, signal);
            let started = Instant::now();
            while started.elapsed() < patience {
                if !self.is_ours(pid) {
                    return Ok(());
                }
                sleep(POLL).await;
            }
        }
        Err(self.stuck(pid))
    }

    fn stuck(&self, pid: Pid) -> EmbeddedError {
        EmbeddedError::Stuck { pid: pid.as_raw_nonzero().get(), dir: self.pgdata.clone() }
    }

    /// The server that `postmaster.pid` names, if that process exists and is one of this cluster.
    fn running_server(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.pgdata.join("postmaster.pid")).ok()?;
        let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
        self.is_ours(pid).then_some(pid)
    }

    fn all(&self) -> Vec<Pid> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            .filter(|pid| self.is_ours(*pid))
            .collect()
    }

    /// Whether a process belongs to this cluster. The command line decides: in a container, root may
    /// lack the right to see another account's working directory. A process that has ended and was not
    /// yet collected has an empty one.
    fn is_ours(&self, pid: Pid) -> bool {
        if !Path::new("/proc/self").exists() {
            return test_kill_process(pid).is_ok();
        }
        let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let command = fs::read(proc.join("cmdline")).unwrap_or_default();
        if is_command_of(&command, &self.pgdata, &self.token) {
            return true;
        }
        let is_postgres = fs::read(proc.join("comm")).is_ok_and(|name| name.starts_with(b"postgres"));
        is_postgres && fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd == self.pgdata)
    }
}

/// `/usr/lib/postgresql/15/bin/postgres -D PGDATA …` is a server, `postgres: TOKEN: …` a process of it.
fn is_command_of(command: &[u8], pgdata: &Path, token: &str) -> bool {
    if command.starts_with(format!("postgres: {token}:").as_bytes()) {
        return true;
    }
    let mut args = command.split(|byte| *byte == 0);
    let program = args.next().unwrap_or_default();
    let named = program.rsplit(|byte| *byte == b'/').next() == Some(b"postgres");
    named && args.any(|arg| arg == pgdata.as_os_str().as_encoded_bytes())
}

fn signal_all(pids: &[Pid], signal: Signal) {
    for pid in pids {
        let _ = kill_process(*pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_its_own_processes_only() {
        let ours = |command: &[u8]| is_command_of(command, Path::new("/data/a b"), "tenantry-12ab");
        assert!(ours(b"/usr/lib/postgresql/15/bin/postgres\0-D\0/data/a b\0-p\x001\0"));
        assert!(ours(b"postgres: tenantry-12ab: checkpointer \0\0"));
        assert!(!ours(b"postgres: tenantry-12ac: checkpointer \0"));
        assert!(!ours(b"/usr/lib/postgresql/15/bin/postgres\0-D\0/data/a\0"));
        assert!(!ours(b"/usr/bin/psql\0/data/a b\0"));
        assert!(!ours(b""));
    }
}
