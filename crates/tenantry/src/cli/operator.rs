//! `tenantry operator …`.

use clap::Subcommand;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tenantry::Settings;
use tenantry_postgres::Actor;

use super::confirm::Confirm;
use super::output::{self, optional, time};
use super::{CliError, Global, say};

/// Operators read at once.
const PAGE: i64 = 200;

/// What to do with operators.
#[derive(Debug, Subcommand)]
pub(super) enum OperatorCommand {
    /// Make an operator's token; it is shown once
    Create {
        /// Who it is for; audit events carry this name
        name: String,
    },
    /// Show operators, revoked ones too
    List,
    /// End an operator's token; every server refuses it within a second
    Revoke {
        /// Whose
        name: String,
        #[command(flatten)]
        confirm: Confirm,
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
        OperatorCommand::List => {
            let mut operators = provisioner.operators(None, PAGE).await?;
            while let Some(last) = operators.last().map(|operator| operator.id) {
                let page = provisioner.operators(Some(last), PAGE).await?;
                if page.is_empty() {
                    break;
                }
                operators.extend(page);
            }
            output::list(global.output, &operators, &["name", "token", "created", "expires", "revoked"], |o| {
                vec![
                    o.name.clone(),
                    format!("top_{}_…", o.lookup),
                    time(o.created_at),
                    optional(o.expires_at.map(time)),
                    optional(o.revoked_at.map(time)),
                ]
            })
        }
        OperatorCommand::Revoke { name, confirm } => {
            confirm.word(&format!("revoking the token of operator `{name}` cannot be undone"), &name)?;
            provisioner.revoke_operator(&name, &Actor::cli()).await?;
            output::record(global.output, &json!({ "name": name, "revoked": true }), &[("revoked", name.clone())])
        }
    }
}
