use std::fs;
use std::io;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::process::Command;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::error::{EmbeddedError, IoContext as _};
use crate::place::{Place, secret_file};

/// The superuser of every private cluster.
pub(crate) const SUPERUSER: &str = "postgres";

/// Creates the cluster. It is made in a directory beside its place and renamed at the end, so a kill in
/// between leaves only something that the next start removes.
pub(crate) async fn create(
    place: &Place,
    binaries: &Binaries,
    account: &Account,
    password: &SecretString,
    durable: bool,
) -> Result<(), EmbeddedError> {
    remove_leftovers(place.home())?;
    let unique = std::process::id();
    let dir = place.home().join(format!("initdb-{unique}"));
    let secret = place.home().join(format!("initdb-{unique}.password"));
    account.private_dir(&dir)?;
    secret_file(&secret, password.expose_secret())?;
    account.own(&secret)?;

    // The C collation sorts the same on every machine and survives its upgrades; C.UTF-8 as character
    // type still knows letters beyond ASCII. Systems without it get plain C.
    let mut outcome = initdb(&dir, &secret, binaries, account, durable, "C.UTF-8").await;
    if matches!(&outcome, Err(EmbeddedError::Initdb { output, .. }) if output.contains("invalid locale name")) {
        fs::remove_dir_all(&dir).on("remove", &dir)?;
        account.private_dir(&dir)?;
        outcome = initdb(&dir, &secret, binaries, account, durable, "C").await;
    }
    let _ = fs::remove_file(&secret);
    if outcome.is_err() {
        let _ = fs::remove_dir_all(&dir);
    }
    outcome?;
    let pgdata = place.pgdata();
    fs::rename(&dir, &pgdata).on("rename", &dir)?;
    if durable {
        let home = place.home();
        fs::File::open(home).and_then(|file| file.sync_all()).on("sync", home)?;
    }
    Ok(())
}

async fn initdb(
    dir: &Path,
    secret: &Path,
    binaries: &Binaries,
    account: &Account,
    durable: bool,
    ctype: &str,
) -> Result<(), EmbeddedError> {
    let program = binaries.program("initdb");
    let mut command = account.command(&program);
    command
        .arg("--pgdata")
        .arg(dir)
        .arg("--pwfile")
        .arg(secret)
        .args(["--username", SUPERUSER, "--auth", "scram-sha-256", "--encoding", "UTF8"])
        .args(["--locale", "C", "--lc-ctype", ctype, "--data-checksums"]);
    if !durable {
        command.arg("--no-sync");
    }
    let output = Command::from(command).kill_on_drop(true).output().await.on("run", &program)?;
    if output.status.success() {
        return Ok(());
    }
    Err(EmbeddedError::Initdb {
        dir: dir.to_owned(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn remove_leftovers(home: &Path) -> Result<(), EmbeddedError> {
    for entry in fs::read_dir(home).on("read", home)? {
        let entry = entry.on("read", home)?;
        if !entry.file_name().to_string_lossy().starts_with("initdb-") {
            continue;
        }
        let path = entry.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).on("remove", &path);
            }
            _ => {}
        }
    }
    Ok(())
}
