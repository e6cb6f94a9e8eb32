use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use secrecy::{ExposeSecret as _, SecretString};

use crate::account::Account;
use crate::binaries::{Binaries, Search, Version};
use crate::config::{ClusterConfig, StopMode};
use crate::error::{EmbeddedError, IoContext as _};
use crate::initdb::{self, SUPERUSER};
use crate::logfile::LogFile;
use crate::place::{Place, SocketDir};
use crate::port;
use crate::process::{Readiness, ServerProcess, accepts_connections};
use crate::recovery::Processes;

const HOST: &str = "127.0.0.1";
const IMMEDIATE: Duration = Duration::from_secs(10);
/// How often another port is tried when one is taken between the choice and the start.
const PORTS: usize = 10;

/// A PostgreSQL server of our own, running as a child process. Dropping it stops the server at once
/// (without a checkpoint, so the next start recovers); [`Cluster::stop`] does it in good order.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: first the process, last the place with its lock.
    process: Option<ServerProcess>,
    socket_dir: SocketDir,
    port: u16,
    password: SecretString,
    binaries: Binaries,
    account: Account,
    processes: Processes,
    config: ClusterConfig,
    place: Place,
}

impl Cluster {
    /// Starts the cluster in `config.data_dir`; creates it before if there is none. Whatever an earlier
    /// run left behind (a running server, half a cluster, a stale pid file) is cleared first.
    ///
    /// # Errors
    ///
    /// When another process uses the directory, there are no usable binaries, or the server does not
    /// come up; see [`EmbeddedError`].
    pub async fn start(config: ClusterConfig) -> Result<Self, EmbeddedError> {
        let account = Account::for_servers()?;
        let place = Place::hold(&config.data_dir, &account, &config.progress)?;
        let major = place.major();
        let binaries = match &config.bin {
            Some(dir) => Binaries::at(dir, &account)?,
            None => {
                let search = Search { cache: config.cache.clone(), major, progress: config.progress.clone() };
                search.find_or_install(&account).await?
            }
        };
        if let Some(cluster) = major.filter(|major| *major != binaries.version().major) {
            return Err(EmbeddedError::VersionMismatch {
                dir: place.pgdata(),
                cluster,
                binaries: binaries.version().major,
            });
        }
        let password = place.password()?;
        if major.is_none() {
            let home = place.home().display();
            let version = binaries.version();
            config.progress.say(format!("creating a PostgreSQL {version} cluster in `{home}`"));
            initdb::create(&place, &binaries, &account, &password, config.durable).await?;
        }
        let processes = Processes::of(&place.pgdata());
        processes.clear(&config.progress).await?;
        let mut cluster = Self {
            process: None,
            socket_dir: place.socket_dir(&account)?,
            port: 0,
            password,
            binaries,
            account,
            processes,
            config,
            place,
        };
        let wanted = cluster.config.port.or_else(|| cluster.place.last_port());
        cluster.launch(wanted).await?;
        Ok(cluster)
    }

    /// The address that the server listens on.
    #[must_use]
    pub const fn host(&self) -> &'static str {
        HOST
    }

    /// The server's TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the server's Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        self.socket_dir.path()
    }

    /// The name of the superuser.
    #[must_use]
    pub const fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    /// The superuser's password.
    #[must_use]
    pub const fn password(&self) -> &SecretString {
        &self.password
    }

    /// A connection URL for the superuser. It contains the password: not for logs.
    #[must_use]
    pub fn superuser_url(&self, dbname: &str) -> String {
        let password = self.password.expose_secret();
        let dbname = percent_encode(dbname);
        format!("postgres://{SUPERUSER}:{password}@{HOST}:{}/{dbname}", self.port)
    }

    /// The server's process, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.process.as_ref().map(ServerProcess::pid)
    }

    /// The server's log file.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.place.log()
    }

    /// PostgreSQL's data directory.
    #[must_use]
    pub fn pgdata(&self) -> PathBuf {
        self.place.pgdata()
    }

    /// The directory of the server's programs.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        self.binaries.dir()
    }

    /// The server's version.
    #[must_use]
    pub const fn version(&self) -> &Version {
        self.binaries.version()
    }

    /// The account that the server runs as.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// Waits until the server process has ended, for whatever reason. Cancel safe.
    pub async fn exited(&mut self) -> Option<ExitStatus> {
        match &mut self.process {
            Some(process) => process.wait().await,
            None => None,
        }
    }

    /// Stops the server and lets go of the directory.
    ///
    /// # Errors
    ///
    /// When a process of the server does not go away even when killed.
    pub async fn stop(mut self, mode: StopMode) -> Result<(), EmbeddedError> {
        self.halt(mode).await
    }

    /// Kills the server and all its sessions with SIGKILL: what a fault test does, never a user. The server
    /// can be started again with [`Cluster::restart`].
    pub fn kill9(&self) {
        if let Some(process) = &self.process {
            process.kill();
        }
        self.processes.kill_all();
    }

    /// Stops the server if it still runs, and starts it again, on the same port if that is free.
    ///
    /// # Errors
    ///
    /// As for [`Cluster::start`].
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.halt(StopMode::Fast).await?;
        self.resume().await
    }

    /// Stops the server, but keeps the directory, the port and the password for [`Cluster::resume`].
    ///
    /// # Errors
    ///
    /// As for [`Cluster::stop`].
    pub async fn halt(&mut self, mode: StopMode) -> Result<(), EmbeddedError> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        let immediate = [(Signal::QUIT, IMMEDIATE), (Signal::KILL, IMMEDIATE)];
        if mode == StopMode::Fast {
            process.end(&[(Signal::INT, self.config.stop_timeout)]).await;
        }
        if process.ended().is_none() {
            process.end(&immediate).await;
        }
        drop(process);
        self.processes.end_sessions().await
    }

    /// Whether the server is durable from the next start on; see [`ClusterConfig::durable`].
    pub const fn set_durable(&mut self, durable: bool) {
        self.config.durable = durable;
    }

    /// Starts the server again after [`Cluster::halt`] or after it was killed.
    ///
    /// # Errors
    ///
    /// As for [`Cluster::start`].
    pub async fn resume(&mut self) -> Result<(), EmbeddedError> {
        if let Some(process) = &mut self.process
            && process.ended().is_none()
        {
            return Ok(());
        }
        self.process = None;
        self.processes.clear(&self.config.progress).await?;
        self.launch(Some(self.port)).await
    }

    /// Starts the server on the wanted port, or, unless the caller insists on it, on another one.
    async fn launch(&mut self, wanted: Option<u16>) -> Result<(), EmbeddedError> {
        let insists = self.config.port.is_some();
        let mut tried = HashSet::new();
        let mut next = wanted.filter(|port| insists || port::is_free(*port));
        for _ in 0..PORTS {
            let port = match next.take() {
                Some(port) => port,
                None => port::pick(&tried)?,
            };
            tried.insert(port);
            let log = LogFile::open(self.place.log())?;
            let process = self.spawn(port, &log)?;
            let Some(error) = self.await_start(process, &log).await? else {
                self.port = port;
                return self.place.keep_port(port);
            };
            if !log.since_start().contains("Address already in use") {
                return Err(error);
            }
            if insists {
                return Err(EmbeddedError::PortTaken { port });
            }
        }
        Err(EmbeddedError::NoFreePort)
    }

    fn spawn(&self, port: u16, log: &LogFile) -> Result<ServerProcess, EmbeddedError> {
        let mut command = self.account.command(self.binaries.program("postgres"));
        command.arg("-D").arg(self.place.pgdata());
        for (name, value) in self.settings(port) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.envs(self.config.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(log.stdio()?).stderr(log.stdio()?);
        ServerProcess::spawn(command, &self.account, "INT", Signal::QUIT)
    }

    /// The settings in the order of the command line, on which the last one wins.
    fn settings(&self, port: u16) -> Vec<(String, String)> {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut settings =
            vec![own("timezone", "UTC"), own("log_timezone", "UTC"), own("log_line_prefix", "%m [%p] %q%u@%d ")];
        if !self.config.durable {
            // Not `synchronous_commit`: without it a killed server forgets what it had acknowledged, also while the
            // machine stays up, and without `fsync` it costs next to nothing.
            settings.extend(["fsync", "full_page_writes"].map(|name| own(name, "off")));
        }
        settings.extend(self.config.settings.iter().cloned());
        let sockets = self.socket_dir.path().display().to_string().replace('"', "\"\"");
        settings.extend([
            own("listen_addresses", HOST),
            own("port", &port.to_string()),
            own("unix_socket_directories", &format!("\"{sockets}\"")),
            own("cluster_name", self.processes.token()),
        ]);
        settings
    }

    /// Waits for a started server and keeps it; otherwise says why there is none.
    async fn await_start(
        &mut self,
        mut process: ServerProcess,
        log: &LogFile,
    ) -> Result<Option<EmbeddedError>, EmbeddedError> {
        let (pgdata, pid) = (self.place.pgdata(), process.pid());
        let ready = process.until(self.config.start_timeout, || accepts_connections(&pgdata, pid)).await;
        let reason = match ready {
            Readiness::Ready => {
                self.process = Some(process);
                return Ok(None);
            }
            Readiness::Ended(status) => status.to_string(),
            Readiness::TimedOut => {
                format!("not ready after {} s", self.config.start_timeout.as_secs())
            }
        };
        drop(process);
        self.processes.end_sessions().await?;
        Ok(Some(EmbeddedError::Start { program: "postgres", reason, log: log.path().to_owned(), tail: log.tail() }))
    }

    /// Ends the server without the help of the runtime.
    pub(crate) fn end_now(&mut self) {
        self.process = None;
    }

    /// Removes the cluster and everything that belongs to it. The server must have been halted.
    pub(crate) fn remove_files(&self) -> Result<(), EmbeddedError> {
        let home = self.place.home();
        std::fs::remove_dir_all(home).on("remove", home)
    }
}

pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
