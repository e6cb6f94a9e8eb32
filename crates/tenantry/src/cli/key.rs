//! `tenantry key …`.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use tenantry::Settings;
use tenantry_core::ApiKeyId;
use tenantry_postgres::{Actor, ApiKeyInfo};

use super::confirm::Confirm;
use super::output::{self, optional, time};
use super::{CliError, Global, say};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key; its token is shown once
    Create {
        /// The tenant
        slug: String,
        /// What the key is for
        #[arg(long, default_value = "key")]
        name: String,
        /// Limit the key to a scope; may be repeated
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// When it ends, such as 2027-01-31T00:00:00Z
        #[arg(long, value_name = "TIME")]
        expires_at: Option<DateTime<Utc>>,
    },
    /// Show a tenant's keys, revoked ones too
    List {
        /// The tenant
        slug: String,
    },
    /// End a key; every server refuses it within a second
    Revoke {
        /// The tenant
        slug: String,
        /// The key's id
        id: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// A key just made, with its token.
#[derive(Debug, Serialize)]
pub(super) struct NewKey<'a> {
    #[serde(flatten)]
    pub(super) key: &'a ApiKeyInfo,
    pub(super) token: &'a str,
}

pub(super) async fn run(command: KeyCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let provisioner = global.provisioner(settings)?;
    let actor = Actor::cli();
    match command {
        KeyCommand::Create { slug, name, scopes, expires_at } => {
            if expires_at.is_some_and(|at| at <= Utc::now()) {
                return Err(CliError::usage("`--expires-at` is in the past"));
            }
            let created = provisioner.create_key(&slug, &name, &scopes, expires_at, &actor).await?;
            let token = created.token.expose_secret();
            let mut lines = lines(&created.info);
            lines.push(("token", token.to_owned()));
            output::record(global.output, &NewKey { key: &created.info, token }, &lines)?;
            say("the token is shown once and cannot be read again");
            Ok(())
        }
        KeyCommand::List { slug } => {
            let keys = provisioner.keys(&slug).await?;
            output::list(global.output, &keys, &["id", "name", "key", "scopes", "created", "expires", "revoked"], |k| {
                vec![
                    k.id.to_string(),
                    k.name.clone(),
                    format!("tnk_{}_…", k.lookup),
                    if k.scopes.is_empty() { "-".to_owned() } else { k.scopes.join(" ") },
                    time(k.created_at),
                    optional(k.expires_at.map(time)),
                    optional(k.revoked_at.map(time)),
                ]
            })
        }
        KeyCommand::Revoke { slug, id, confirm } => {
            let id: ApiKeyId = id.parse()?;
            confirm.word(&format!("revoking a key of `{slug}` cannot be undone"), "revoke")?;
            let key = provisioner.revoke_key(&slug, id, &actor).await?;
            output::record(global.output, &key, &lines(&key))
        }
    }
}

fn lines(key: &ApiKeyInfo) -> Vec<(&'static str, String)> {
    vec![
        ("id", key.id.to_string()),
        ("name", key.name.clone()),
        ("created", time(key.created_at)),
        ("expires", optional(key.expires_at.map(time))),
        ("revoked", optional(key.revoked_at.map(time))),
    ]
}
