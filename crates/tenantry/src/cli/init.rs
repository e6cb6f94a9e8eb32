//! `tenantry init`.

use std::path::PathBuf;

use clap::Args;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tenantry::Settings;
use tenantry_postgres::{Actor, ProvisionError, initialise};

use super::{CliError, Global, Output, output, read_or_create_secret, say};

/// The name of the operator whose token `init` prints.
pub(crate) const FIRST_OPERATOR: &str = "admin";

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Do not make a token for the first operator
    #[arg(long)]
    no_operator: bool,
}

pub(super) async fn run(args: InitArgs, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let url = settings.database_url.as_deref().ok_or_else(|| {
        CliError::usage("no database is named").hint("pass `--database-url` with a user that may create roles")
    })?;
    let file = settings.secret_file.clone().unwrap_or_else(|| PathBuf::from("tenantry.secret"));
    let (secret, created) = read_or_create_secret(&file)?;
    if created {
        say(format!("made a new secret in `{}`: keep it safe, every server needs it", file.display()));
    }
    let database = super::open::configure(url, None, secret)?;
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
