//! `tenantry init`.

use std::path::PathBuf;

use clap::Args;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tenantry::Settings;
use tenantry_postgres::{Actor, ProvisionError, initialise, is_installed, secret_fits};

use super::secret::secret_is_given;
use super::{CliError, Global, Output, output, read_or_create_secret, say};

/// The name of the operator whose token `init` prints.
pub(crate) const FIRST_OPERATOR: &str = "admin";

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Do not make a token for the first operator
    #[arg(long)]
    no_operator: bool,
    /// Give every login of an existing installation the password of another secret
    #[arg(long)]
    change_secret: bool,
}

pub(super) async fn run(args: InitArgs, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let url = settings.database_url.as_deref().ok_or_else(|| {
        CliError::usage("no database is named").hint("pass `--database-url` with a user that may create roles")
    })?;
    let file = settings.secret_file.clone().unwrap_or_else(|| PathBuf::from("tenantry.secret"));
    // The server first: a wrong URL leaves no secret behind.
    let installed = is_installed(url).await?;
    let mind = |what: String| {
        CliError::usage(what).hint(
            "name the installation's secret with `--secret-file`; `--change-secret` gives every login another one, and servers with \
             the old one are refused",
        )
    };
    if installed && !args.change_secret && !secret_is_given(&file) {
        return Err(mind(format!("the server has an installation, and there is no secret in `{}`", file.display())));
    }
    let (secret, created) = read_or_create_secret(&file)?;
    if created {
        say(format!("made a new secret in `{}`: keep it safe, every server needs it", file.display()));
    }
    let database = super::open::configure(url, None, secret)?;
    if installed && !args.change_secret && !secret_fits(&database).await? {
        return Err(mind("the secret is not the one of the server's installation".to_owned()));
    }
    let report = initialise(url, &database).await?;
    let provisioner = global.provisioner(&Settings { secret_file: Some(file), ..settings.clone() })?;
    let token = if args.no_operator {
        None
    } else {
        match provisioner.create_operator(FIRST_OPERATOR, &Actor::cli()).await {
            Ok(token) => Some(token.expose_secret().to_owned()),
            // it was made by an earlier run
            Err(ProvisionError::OperatorTaken(_)) => None,
            Err(error) => return Err(error.into()),
        }
    };
    for warning in &report.warnings {
        say(format!("warning: {warning}"));
    }
    if global.output == Output::Json {
        return output::json(&json!({
            "roles_created": report.roles_created, "migrations_applied": report.migrations_applied,
            "warnings": report.warnings, "operator_token": token,
        }));
    }
    let what = |done: &[String]| if done.is_empty() { "nothing to do".to_owned() } else { done.join(", ") };
    output::print(&format!("roles       {}", what(&report.roles_created)))?;
    output::print(&format!("migrations  {}", what(&report.migrations_applied)))?;
    if let Some(token) = token {
        output::print(&format!("operator    {FIRST_OPERATOR}\ntoken       {token}"))?;
        say("the token is shown once; `tenantry operator create` makes further ones");
    }
    Ok(())
}
