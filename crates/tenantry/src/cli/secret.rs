//! The installation's secret: read, or made once.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rand::TryRngCore as _;
use secrecy::SecretString;
use tenantry::Settings;
use tenantry_postgres::ClusterSecret;

use super::CliError;

const VARIABLE: &str = "TENANTRY_SECRET";

/// The secret of the environment or of the file that the settings name.
pub(super) fn read_secret(settings: &Settings) -> Result<ClusterSecret, CliError> {
    if let Some(secret) = from_environment()? {
        return Ok(secret);
    }
    let path = settings.secret_file.as_deref().ok_or_else(|| {
        CliError::usage("the installation's secret is not known")
            .hint("name its file with `--secret-file` (or TENANTRY_SECRET_FILE); `tenantry init` makes a new one")
    })?;
    from_file(path)
}

/// Whether there is a secret, in the environment or in the file.
pub(super) fn secret_is_given(path: &Path) -> bool {
    std::env::var_os(VARIABLE).is_some() || path.exists()
}

/// As the settings say; a file that does not exist is made with a new secret. True if it was.
pub(crate) fn read_or_create_secret(path: &Path) -> Result<(ClusterSecret, bool), CliError> {
    if let Some(secret) = from_environment()? {
        return Ok((secret, false));
    }
    let mut bytes = [0_u8; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|error| CliError::failed(error.to_string()))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(|error| cannot("write", path, &error))?;
            Ok((parse(text, path)?, true))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok((from_file(path)?, false)),
        Err(error) => Err(cannot("create", path, &error)),
    }
}

/// Writes a file that only its owner may read; the old one stays until the new one is whole.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), CliError> {
    let temporary = path.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| cannot("write", path, &error))
}

fn from_environment() -> Result<Option<ClusterSecret>, CliError> {
    match std::env::var(VARIABLE) {
        Ok(text) => ClusterSecret::new(text.trim().to_owned().into())
            .map(Some)
            .map_err(|why| CliError::usage(format!("{VARIABLE} cannot be used: {why}"))),
        Err(_) => Ok(None),
    }
}

fn from_file(path: &Path) -> Result<ClusterSecret, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| cannot("read", path, &error))?;
    parse(text.trim().to_owned(), path)
}

fn parse(text: String, path: &Path) -> Result<ClusterSecret, CliError> {
    ClusterSecret::new(SecretString::from(text))
        .map_err(|why| CliError::usage(format!("the secret in `{}` cannot be used: {why}", path.display())))
}

fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> CliError {
    CliError::usage(format!("cannot {verb} the file `{}`: {error}", path.display()))
}
