use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::error::{EmbeddedError, IoContext as _};

/// The account that PostgreSQL and PgBouncer run as: our own, or, as both refuse to run as root, one
/// without privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: u32,
    gid: u32,
    switched: bool,
}

impl Account {
    /// Our own account, or `postgres` (if it exists, else `nobody`) when we are root.
    ///
    /// # Errors
    ///
    /// When we are root and `/etc/passwd` has neither account.
    pub fn for_servers() -> Result<Self, EmbeddedError> {
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            return Ok(Self {
                name: format!("uid {}", uid.as_raw()),
                uid: uid.as_raw(),
                gid: rustix::process::getegid().as_raw(),
                switched: false,
            });
        }
        let path = Path::new("/etc/passwd");
        let passwd = fs::read_to_string(path).on("read", path)?;
        ["postgres", "nobody"].iter().find_map(|name| lookup(&passwd, name)).ok_or_else(|| EmbeddedError::Unusable {
            path: path.to_owned(),
            reason: "it has no account `postgres` or `nobody` to run PostgreSQL as, which refuses to run as root"
                .into(),
        })
    }

    /// The account's name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is another account than the one we run as.
    #[must_use]
    pub const fn is_switched(&self) -> bool {
        self.switched
    }

    pub(crate) const fn uid(&self) -> u32 {
        self.uid
    }

    /// A command that runs under this account, in `/` (our own working directory may be closed to it),
    /// without the caller's `PG*` variables and with messages in English, as some are looked at.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        if self.switched {
            // The standard library drops the supplementary groups as well when root does this.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// A directory for the time of a server, which this account can use.
    pub(crate) fn temp_dir(&self, prefix: &str) -> Result<TempDir, EmbeddedError> {
        let mut parent = std::env::temp_dir();
        if !self.can_live_in(&parent)? {
            parent = PathBuf::from("/tmp");
        }
        let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(&parent).on("create a directory in", &parent)?;
        self.own(dir.path())?;
        Ok(dir)
    }

    /// Gives a file or directory to this account.
    pub(crate) fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        if self.switched {
            chown(path, Some(self.uid), Some(self.gid)).on("change the owner of", path)?;
        }
        Ok(())
    }

    /// Makes a directory that only this account can use.
    pub(crate) fn private_dir(&self, path: &Path) -> Result<(), EmbeddedError> {
        fs::DirBuilder::new().mode(0o700).create(path).on("create", path)?;
        self.own(path)
    }

    /// Whether this account could keep its files in a directory below `dir`. It is tried rather than
    /// computed from permissions: access lists, user namespaces and network file systems have their say.
    pub(crate) fn can_live_in(&self, dir: &Path) -> Result<bool, EmbeddedError> {
        if !self.switched {
            return Ok(true);
        }
        let probe = dir.join(format!("probe-{}", std::process::id()));
        let made = self.private_dir(&probe);
        let usable = made.is_ok()
            && self
                .command("/bin/sh")
                .args(["-c", "cd -- \"$1\" && : > probe && rm probe", "sh"])
                .arg(&probe)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
        match fs::remove_dir_all(&probe) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).on("remove", &probe),
            _ => Ok(usable),
        }
    }
}

fn lookup(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then(|| Account { name: name.to_owned(), uid, gid, switched: true })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_an_account_and_never_root() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nevil:x:0:0::/:\npostgres:x:101:104:admin,,,:/var:/bin/sh\n";
        let found = lookup(passwd, "postgres").unwrap();
        assert_eq!((found.uid, found.gid), (101, 104));
        assert_eq!(lookup(passwd, "evil"), None);
        assert_eq!(lookup(passwd, "nobody"), None);
    }
}
