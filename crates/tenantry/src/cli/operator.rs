//! `tenantry operator …`.

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tenantry::Settings;
use tenantry_core::OperatorRole;
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
        /// What it may do: `viewer` reads, `support` suspends, resumes and reads rows with a reason, `admin` does everything
        #[arg(long, value_enum, default_value_t = Role::Admin)]
        role: Role,
        /// When it ends, such as 2027-01-31T00:00:00Z
        #[arg(long, value_name = "TIME")]
        expires_at: Option<DateTime<Utc>>,
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

/// What an operator may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Role {
    Viewer,
    Support,
    Admin,
}

impl From<Role> for OperatorRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Support => Self::Support,
            Role::Admin => Self::Admin,
        }
    }
}

pub(super) async fn run(command: OperatorCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let provisioner = global.provisioner(settings)?;
    match command {
        OperatorCommand::Create { name, role, expires_at } => {
            if expires_at.is_some_and(|at| at <= Utc::now()) {
                return Err(CliError::usage("`--expires-at` is in the past"));
            }
            let made = provisioner.issue_operator(&name, role.into(), expires_at, &Actor::cli()).await?;
            let (token, role) = (made.token.expose_secret(), made.info.role);
            let lines = [("operator", name.clone()), ("role", role.to_string()), ("token", token.to_owned())];
            output::record(global.output, &json!({ "name": name, "role": role, "token": token }), &lines)?;
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
            output::list(global.output, &operators, &["name", "role", "token", "created", "expires", "revoked"], |o| {
                vec![
                    o.name.clone(),
                    o.role.to_string(),
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
