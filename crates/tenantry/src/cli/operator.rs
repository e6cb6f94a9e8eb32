//! `tenantry operator …`.

use clap::Subcommand;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tenantry::Settings;
use tenantry_postgres::Actor;

use super::{CliError, Global, output, say};

/// What to do with operators.
#[derive(Debug, Subcommand)]
pub(super) enum OperatorCommand {
    /// Make an operator's token; it is shown once
    Create {
        /// Who it is for; audit events carry this name
        name: String,
    },
}

pub(super) async fn run(command: OperatorCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let provisioner = global.provisioner(settings)?;
    match command {
        OperatorCommand::Create { name } => {
            let token = provisioner.create_operator(&name, &Actor::cli()).await?;
            let token = token.expose_secret();
            let lines = [("operator", name.clone()), ("token", token.to_owned())];
            output::record(global.output, &json!({ "name": name, "token": token }), &lines)?;
            say("the token is shown once and cannot be read again");
            Ok(())
        }
    }
}
