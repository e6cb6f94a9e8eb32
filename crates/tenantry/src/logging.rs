//! Logs to standard error, as text or JSON.

use std::io::{IsTerminal as _, stderr};

use tenantry::{LogFormat, LogSettings};
use tracing_subscriber::EnvFilter;

use crate::cli::CliError;

/// Starts logging for the rest of the process.
pub(crate) fn start(settings: &LogSettings) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&settings.filter).map_err(|error| {
        CliError::usage(format!("`{}` is not a log filter: {error}", settings.filter))
            .hint("such as `info`, or `info,tenantry::access=warn`")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match settings.format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
