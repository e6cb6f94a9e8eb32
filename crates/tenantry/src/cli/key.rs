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
        /// Requests a minute it may send; as many as the tenant unless given
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..))]
        requests_per_minute: Option<i32>,
        /// When it ends, such as 2027-01-31T00:00:00Z
        #[arg(long, value_name = "TIME")]
        expires_at: Option<DateTime<Utc>>,
    },
    /// Show a tenant's keys, revoked ones too
    List {
        /// The tenant
        slug: String,
    },
    /// Limit how many requests a minute a key may send; every server keeps to it within a second
    Limit {
        /// The tenant
        slug: String,
        /// The key's id
        id: String,
        /// Requests a minute, or `tenant` for as many as the tenant may send
        #[arg(value_name = "NUMBER|tenant", value_parser = rate)]
        requests_per_minute: Rate,
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

/// A limit of the key's own, or its tenant's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate(Option<i32>);

fn rate(text: &str) -> Result<Rate, String> {
    if text == "tenant" {
        return Ok(Rate(None));
    }
    match text.parse::<i32>() {
        Ok(number) if number > 0 => Ok(Rate(Some(number))),
        _ => Err("expected a number above 0 or `tenant`".to_owned()),
    }
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
        KeyCommand::Create { slug, name, scopes, requests_per_minute, expires_at } => {
            if expires_at.is_some_and(|at| at <= Utc::now()) {
                return Err(CliError::usage("`--expires-at` is in the past"));
            }
            let new = tenantry_postgres::NewKey { name, scopes, requests_per_minute, expires_at };
            let created = provisioner.create_key(&slug, &new, &actor).await?;
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
        KeyCommand::Limit { slug, id, requests_per_minute } => {
            let id: ApiKeyId = id.parse()?;
            let key = provisioner.limit_key(&slug, id, Some(requests_per_minute.0), None, &actor).await?;
            output::record(global.output, &key, &lines(&key))
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
        ("requests a minute", key.requests_per_minute.map_or_else(|| "tenant".to_owned(), |limit| limit.to_string())),
        ("created", time(key.created_at)),
        ("expires", optional(key.expires_at.map(time))),
        ("revoked", optional(key.revoked_at.map(time))),
    ]
}
