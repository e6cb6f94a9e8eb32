use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::account::Account;
use crate::cluster::{Cluster, percent_encode};
use crate::error::{EmbeddedError, IoContext as _};
use crate::logfile::LogFile;
use crate::place::secret_file;
use crate::port;
use crate::process::{Readiness, ServerProcess, find_program};

const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(5);
const RELOADED: &str = "got SIGHUP";

/// When a pooler gives a server connection to another client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PoolMode {
    /// After each transaction.
    #[default]
    Transaction,
    /// When the client disconnects.
    Session,
    /// After each statement.
    Statement,
}

impl fmt::Display for PoolMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transaction => "transaction",
            Self::Session => "session",
            Self::Statement => "statement",
        })
    }
}

/// What a [`PgBouncer`] is made of.
#[derive(Clone)]
pub struct PgBouncerConfig {
    /// The PostgreSQL server's host.
    pub upstream_host: String,
    /// The PostgreSQL server's port.
    pub upstream_port: u16,
    /// Who may connect: names and plain passwords, the same ones that the server knows them by.
    pub users: Vec<(String, String)>,
    /// When server connections change hands.
    pub pool_mode: PoolMode,
    /// Server connections per pair of user and database.
    pub default_pool_size: u32,
    /// Client connections altogether.
    pub max_client_conn: u32,
    /// What is run on a server connection when a client lets go of it; in session mode only, unless the
    /// setting `server_reset_query_always` says otherwise.
    pub server_reset_query: String,
    /// Further settings of `pgbouncer.ini` (`name`, `value`); they win over the ones above.
    pub settings: Vec<(String, String)>,
}

impl PgBouncerConfig {
    /// A pooler in transaction mode in front of a server, with the program's own defaults.
    #[must_use]
    pub fn new(upstream_host: impl Into<String>, upstream_port: u16) -> Self {
        Self {
            upstream_host: upstream_host.into(),
            upstream_port,
            users: Vec::new(),
            pool_mode: PoolMode::default(),
            default_pool_size: 20,
            max_client_conn: 1_000,
            server_reset_query: "DISCARD ALL".into(),
            settings: Vec::new(),
        }
    }

    /// A pooler in front of a private cluster that lets its superuser through.
    #[must_use]
    pub fn in_front_of(cluster: &Cluster) -> Self {
        Self::new(cluster.host(), cluster.port()).user(cluster.superuser(), cluster.password().expose_secret())
    }

    /// Lets a user through.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }

    fn ini(&self, port: u16, userlist: &Path) -> String {
        let mut ini =
            format!("[databases]\n* = host={} port={}\n\n[pgbouncer]\n", self.upstream_host, self.upstream_port);
        let own = [
            ("listen_addr", "127.0.0.1".to_owned()),
            ("listen_port", port.to_string()),
            ("unix_socket_dir", String::new()),
            ("auth_type", "scram-sha-256".to_owned()),
            ("auth_file", userlist.display().to_string()),
            ("pool_mode", self.pool_mode.to_string()),
            ("default_pool_size", self.default_pool_size.to_string()),
            ("max_client_conn", self.max_client_conn.to_string()),
            ("server_reset_query", self.server_reset_query.clone()),
            // The default of 15 s would answer for that long with an old error after a restart.
            ("server_login_retry", "0.2".to_owned()),
            ("ignore_startup_parameters", "extra_float_digits".to_owned()),
            ("stats_period", "3600".to_owned()),
        ];
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let given = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // The last one wins.
        for (name, value) in own.chain(given) {
            let _ = writeln!(ini, "{name} = {value}");
        }
        ini
    }
}

impl fmt::Debug for PgBouncerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users: Vec<&str> = self.users.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("PgBouncerConfig")
            .field("upstream", &format_args!("{}:{}", self.upstream_host, self.upstream_port))
            .field("users", &users)
            .field("pool_mode", &self.pool_mode)
            .field("default_pool_size", &self.default_pool_size)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A real PgBouncer, running as a child process. Its users reach every database of the server. Dropping
/// it stops it and removes its files.
#[derive(Debug)]
pub struct PgBouncer {
    process: ServerProcess,
    port: u16,
    users: Vec<(String, String)>,
    account: Account,
    log: LogFile,
    dir: TempDir,
}

impl PgBouncer {
    /// Whether the program is installed.
    #[must_use]
    pub fn is_installed() -> bool {
        program().is_some()
    }

    /// Starts a pooler on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When `pgbouncer` is not installed or does not come up.
    pub async fn start(config: PgBouncerConfig) -> Result<Self, EmbeddedError> {
        let program = program().ok_or(EmbeddedError::MissingProgram {
            program: "pgbouncer",
            hint: "on Debian: `sudo apt-get install pgbouncer`",
        })?;
        let account = Account::for_servers()?;
        let mut dir = account.temp_dir("tenantry-pgbouncer-")?;
        let mut tried = HashSet::new();
        loop {
            let port = port::pick(&tried)?;
            tried.insert(port);
            let log = LogFile::open(dir.path().join("pgbouncer.log"))?;
            let process = spawn(&program, &config, port, dir.path(), &account, &log)?;
            let mut pooler = Self { process, port, users: config.users.clone(), account: account.clone(), log, dir };
            let Err(error) = pooler.await_start().await else {
                return Ok(pooler);
            };
            if tried.len() >= 5 || !pooler.log.since_start().contains("Address already in use") {
                return Err(error);
            }
            dir = pooler.dir;
        }
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The pooler's process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.since_start()
    }

    /// A connection URL for one of the users. It contains the password: not for logs. `None` for a name
    /// that is not among them.
    #[must_use]
    pub fn url_for(&self, user: &str, dbname: &str) -> Option<String> {
        let (name, password) = self.users.iter().find(|(name, _)| name == user)?;
        Some(format!(
            "postgres://{}:{}@127.0.0.1:{}/{}",
            percent_encode(name),
            percent_encode(password),
            self.port,
            percent_encode(dbname)
        ))
    }

    /// Replaces the users while the pooler runs; returns when it knows them. Sessions go on.
    ///
    /// # Errors
    ///
    /// When the list cannot be written or the pooler is gone.
    pub async fn reload_users(&mut self, users: Vec<(String, String)>) -> Result<(), EmbeddedError> {
        write_userlist(self.dir.path(), &users, &self.account)?;
        self.users = users;
        let before = self.log.since_start().matches(RELOADED).count();
        self.process.signal(Signal::HUP);
        // The whole reload happens in one turn of the pooler's event loop, which begins with this line.
        let deadline = Instant::now() + START;
        while self.log.since_start().matches(RELOADED).count() == before {
            if self.process.ended().is_some() || Instant::now() > deadline {
                return Err(self.failure("it does not answer a reload".into()));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Stops the pooler and removes its files.
    pub async fn stop(mut self) {
        self.process.end(&[(Signal::TERM, STOP), (Signal::KILL, STOP)]).await;
    }

    async fn await_start(&mut self) -> Result<(), EmbeddedError> {
        let address = (Ipv4Addr::LOCALHOST, self.port);
        match self.process.until(START, || TcpStream::connect(address).is_ok()).await {
            Readiness::Ready => Ok(()),
            Readiness::Ended(status) => Err(self.failure(status.to_string())),
            Readiness::TimedOut => Err(self.failure(format!("not ready after {} s", START.as_secs()))),
        }
    }

    fn failure(&self, reason: String) -> EmbeddedError {
        EmbeddedError::Start { program: "pgbouncer", reason, log: self.log.path().to_owned(), tail: self.log.tail() }
    }
}

fn program() -> Option<PathBuf> {
    find_program("pgbouncer")
}

fn spawn(
    program: &Path,
    config: &PgBouncerConfig,
    port: u16,
    dir: &Path,
    account: &Account,
    log: &LogFile,
) -> Result<ServerProcess, EmbeddedError> {
    let userlist = write_userlist(dir, &config.users, account)?;
    let ini = dir.join("pgbouncer.ini");
    secret_file(&ini, &config.ini(port, &userlist))?;
    account.own(&ini)?;
    let mut command = account.command(program);
    command.arg(&ini).stdout(log.stdio()?).stderr(log.stdio()?);
    ServerProcess::spawn(command, account, "TERM", Signal::TERM)
}

/// The passwords are plain, as the pooler itself has to log in with them.
fn write_userlist(dir: &Path, users: &[(String, String)], account: &Account) -> Result<PathBuf, EmbeddedError> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let list: String =
        users.iter().map(|(name, password)| format!("{} {}\n", quoted(name), quoted(password))).collect();
    let path = dir.join("userlist.txt");
    // Written under another name and given away before it takes its place: the pooler may read at any time.
    let prepared = dir.join("userlist.prepared");
    secret_file(&prepared, &list)?;
    account.own(&prepared)?;
    fs::rename(&prepared, &path).on("rename", &prepared)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_in_debug_output() {
        let config = PgBouncerConfig::new("127.0.0.1", 5432).user("app", "very-secret");
        let text = format!("{config:?}");
        assert!(text.contains("app") && !text.contains("very-secret"), "{text}");
    }

    #[test]
    fn given_settings_come_last() {
        let mut config = PgBouncerConfig::new("127.0.0.1", 5432);
        config.settings.push(("auth_type".into(), "plain".into()));
        let ini = config.ini(6432, Path::new("/tmp/users"));
        assert!(ini.rfind("auth_type = plain") > ini.find("auth_type = scram-sha-256"), "{ini}");
    }
}
