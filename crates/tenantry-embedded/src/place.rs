use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rand::distr::{Alphanumeric, SampleString as _};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use crate::account::Account;
use crate::config::Progress;
use crate::error::{EmbeddedError, IoContext as _};

const POINTER: &str = "postgres-location";
/// Where the cluster goes when root keeps its data where nobody else can look.
const ELSEWHERE: &str = "/var/lib/tenantry";
/// A Unix socket's path has at most 107 bytes; PostgreSQL appends `/.s.PGSQL.NNNNN`.
const LONGEST_SOCKET_DIR: usize = 90;

/// The files of one cluster, held by this process.
///
/// In the directory that was asked for: `postgres.lock` and, if the cluster lies elsewhere,
/// `postgres-location`. In its home (the same directory or the other one): `postgres` (PostgreSQL's data
/// directory), `postgres.log`, `postgres.port` and `postgres.password`.
#[derive(Debug)]
pub(crate) struct Place {
    home: PathBuf,
    _lock: Lock,
}

/// A lock on a directory. It ends with this process, however that ends.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing the file is not enough: a child that another thread is just starting holds a copy of it until it
    /// becomes another program, and the lock with it.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Place {
    /// Makes the directory if need be, takes its lock and finds out where the cluster lives.
    pub(crate) fn hold(dir: &Path, account: &Account, progress: &Progress) -> Result<Self, EmbeddedError> {
        fs::create_dir_all(dir).on("create", dir)?;
        let dir = fs::canonicalize(dir).on("resolve", dir)?;
        let lock = lock(&dir)?;
        let home = home(&dir, account, progress)?;
        let place = Self { home, _lock: lock };
        place.check_owner(account)?;
        Ok(place)
    }

    /// PostgreSQL's own data directory.
    pub(crate) fn pgdata(&self) -> PathBuf {
        self.home.join("postgres")
    }

    /// The directory of the side files.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The server's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.home.join("postgres.log")
    }

    /// The major version that the cluster was made by, if it exists.
    pub(crate) fn major(&self) -> Option<u32> {
        let text = fs::read_to_string(self.pgdata().join("PG_VERSION")).ok()?;
        text.trim().parse().ok()
    }

    /// The port of the last start.
    pub(crate) fn last_port(&self) -> Option<u16> {
        let text = fs::read_to_string(self.home.join("postgres.port")).ok()?;
        text.trim().parse().ok()
    }

    pub(crate) fn keep_port(&self, port: u16) -> Result<(), EmbeddedError> {
        let path = self.home.join("postgres.port");
        fs::write(&path, format!("{port}\n")).on("write", &path)
    }

    /// The superuser's password, made on the first call. It is on disk before the cluster exists, so no
    /// kill can leave a cluster that nobody can enter.
    pub(crate) fn password(&self) -> Result<SecretString, EmbeddedError> {
        let path = self.home.join("postgres.password");
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).on("read", &path),
        }
        if self.major().is_some() {
            return Err(EmbeddedError::Unusable {
                path: self.pgdata(),
                reason: format!(
                    "the superuser's password is gone\nhint: put `{}` back, or remove both for a new cluster",
                    path.display()
                ),
            });
        }
        let password = Alphanumeric.sample_string(&mut rand::rng(), 32);
        secret_file(&path, &password)?;
        Ok(password.into())
    }

    /// An empty directory for the server's Unix socket: in the home, or, as such a path must be short,
    /// in the system's directory for temporary files.
    pub(crate) fn socket_dir(&self, account: &Account) -> Result<SocketDir, EmbeddedError> {
        let path = self.home.join("socket");
        if path.as_os_str().len() > LONGEST_SOCKET_DIR {
            let dir = tempfile::Builder::new()
                .prefix("tenantry-socket-")
                .tempdir_in("/tmp")
                .on("create a directory in", Path::new("/tmp"))?;
            account.own(dir.path())?;
            return Ok(SocketDir::Temporary(dir));
        }
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).on("remove", &path);
            }
            _ => account.private_dir(&path)?,
        }
        Ok(SocketDir::Home(path))
    }

    fn check_owner(&self, account: &Account) -> Result<(), EmbeddedError> {
        let pgdata = self.pgdata();
        match fs::metadata(&pgdata) {
            Ok(meta) if meta.uid() != account.uid() => Err(EmbeddedError::Unusable {
                path: pgdata,
                reason: format!(
                    "it belongs to uid `{}`, PostgreSQL would run as `{}`\nhint: start as the user who made it, or use another data directory",
                    meta.uid(),
                    account.name()
                ),
            }),
            _ => Ok(()),
        }
    }
}

/// Where the Unix socket is.
#[derive(Debug)]
pub(crate) enum SocketDir {
    Home(PathBuf),
    Temporary(tempfile::TempDir),
}

impl SocketDir {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Home(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

/// Writes a file that only we can read, as a whole or not at all.
pub(crate) fn secret_file(path: &Path, content: &str) -> Result<(), EmbeddedError> {
    let new = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        // The mode counts for new files only, and there may be one from an interrupted run.
        file.set_permissions(Permissions::from_mode(0o600))?;
        writeln!(file, "{content}")?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().on("write", path)
}

fn lock(dir: &Path) -> Result<Lock, EmbeddedError> {
    let path = dir.join("postgres.lock");
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).on("open", &path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            return Err(EmbeddedError::InUse {
                dir: dir.to_owned(),
                holder: match holder.trim() {
                    "" => "unknown".into(),
                    pid => pid.into(),
                },
            });
        }
        Err(TryLockError::Error(error)) => return Err(error).on("lock", &path),
    }
    file.set_len(0).on("write", &path)?;
    writeln!(file, "{}", std::process::id()).on("write", &path)?;
    Ok(Lock(file))
}

/// Where an earlier start put the cluster of `dir`, if it is not in `dir` itself.
pub(crate) fn moved_to(dir: &Path) -> Result<Option<PathBuf>, EmbeddedError> {
    let pointer = dir.join(POINTER);
    let text = match fs::read_to_string(&pointer) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.on("read", &pointer)?,
    };
    let home = PathBuf::from(text.lines().next().unwrap_or_default());
    if !home.is_absolute() {
        return Err(EmbeddedError::Unusable {
            path: pointer,
            reason: "its first line is not the path of a cluster\nhint: remove it for a new cluster".into(),
        });
    }
    Ok(Some(home))
}

fn home(dir: &Path, account: &Account, progress: &Progress) -> Result<PathBuf, EmbeddedError> {
    if let Some(home) = moved_to(dir)? {
        fs::create_dir_all(&home).on("create", &home)?;
        return Ok(home);
    }
    if dir.join("postgres").exists() || account.can_live_in(dir)? {
        return Ok(dir.to_owned());
    }
    // A random part: a directory of the same name that was removed and made anew is another one, and
    // must not meet the old one's data.
    let random = Alphanumeric.sample_string(&mut rand::rng(), 4).to_lowercase();
    let home = Path::new(ELSEWHERE).join(format!("{}-{random}", short_hash(dir)));
    for path in [Path::new(ELSEWHERE), &home] {
        fs::create_dir_all(path).on("create", path)?;
        fs::set_permissions(path, Permissions::from_mode(0o755)).on("set permissions of", path)?;
    }
    let note = format!(
        "{}\n\nThe PostgreSQL cluster of this directory lies there: PostgreSQL does not run as root, and the\n\
         account `{}` cannot use this directory. Remove both to start anew.\n",
        home.display(),
        account.name()
    );
    // Complete or not at all, like everything that a later start relies on.
    let pointer = dir.join(POINTER);
    let new = pointer.with_extension("new");
    fs::write(&new, note).on("write", &new)?;
    fs::rename(&new, &pointer).on("rename", &new)?;
    progress.say(format!(
        "the account `{}`, which PostgreSQL runs as, cannot use `{}`: the cluster goes to `{}`",
        account.name(),
        dir.display(),
        home.display()
    ));
    Ok(home)
}

pub(crate) fn short_hash(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}
