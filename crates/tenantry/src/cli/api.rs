//! `tenantry api …`: what a tenant's developer does, over HTTP with a key of the tenant.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tenantry_client::{CallsOf, Client, Event, Method};

use super::api_body::Fields;
use super::api_table as table;
use super::{CliError, Global, LocalRun, Output, api_limits, output, say};

/// Which server, as whom, and what to do.
#[derive(Debug, Args)]
pub(super) struct ApiArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: ApiCommand,
}

/// A server and a key.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
struct Connection {
    /// The server; without one, that of a running `tenantry dev`
    #[arg(long, global = true, env = "TENANTRY_URL", value_name = "URL")]
    url: Option<String>,
    /// The tenant's key; other users of the machine can see arguments, so prefer the variable or a file
    #[arg(long, global = true, env = "TENANTRY_API_KEY", value_name = "KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// File with the tenant's key
    #[arg(long, global = true, env = "TENANTRY_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Act as a demo tenant of a running `tenantry dev`, such as `acme`
    #[arg(long, global = true, value_name = "SLUG", conflicts_with_all = ["api_key", "api_key_file"])]
    demo: Option<String>,
}

/// Kinds of records and single operations.
#[derive(Debug, Subcommand)]
enum ApiCommand {
    /// Agents: who does the work
    #[command(subcommand)]
    Agents(Action),
    /// Tasks: the work
    #[command(subcommand)]
    Tasks(Action),
    /// Messages, and drafts to people outside
    #[command(subcommand)]
    Messages(Action),
    /// The activity log
    #[command(subcommand)]
    Activity(Action),
    /// Sessions: runs of agents
    #[command(subcommand)]
    Sessions(Action),
    /// Schedules, which make tasks
    #[command(subcommand)]
    Schedules(Action),
    /// API keys; `delete` revokes one
    #[command(subcommand)]
    Keys(Action),
    /// Members: people with tokens of the identity provider
    #[command(subcommand)]
    Members(Action),
    /// Show who the key is, and what it may do
    Me,
    /// Show the plan and the limits in force
    Plan,
    /// Show how much of each limit is used
    Usage,
    /// Print provider calls, or their sums by day, as CSV, JSON lines or FOCUS; of this month unless told otherwise
    Export {
        /// Which, and how: `from=2026-11-01`, `to=2026-11-30`, `format=focus`, `rows=days`, `provider=openai`; docs/guides/analytics.md lists
        /// what there is
        #[arg(value_name = "NAME=VALUE")]
        parameters: Vec<String>,
    },
    /// Accounts at providers; secrets are best sent with `--data @FILE`
    #[command(subcommand)]
    ProviderAccounts(Action),
    /// Credentials that agents use by name
    #[command(subcommand)]
    Credentials(Action),
    /// Print what happens, as it happens
    Events(EventArgs),
    /// Any operation of the API
    #[command(after_help = FIELDS)]
    Call {
        /// GET, POST, PATCH or DELETE
        method: Method,
        /// The path, with a query where one is wanted, such as `/v1/tasks?limit=1`
        path: String,
        #[command(flatten)]
        body: Body,
    },
}

const FIELDS: &str = "\
Fields:
  name=text     a member that is a text
  name:=json    a member that is any JSON: version:=3, capabilities:='[\"mail\"]', deadline:=null";

/// What can be done with a kind of record.
#[derive(Debug, Subcommand)]
enum Action {
    /// Show many, the newest first
    List {
        /// Only those with this, such as `status=pending,blocked` or `sort=deadline`; docs/openapi.json lists what there is
        #[arg(value_name = "NAME=VALUE")]
        filters: Vec<String>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_name = "ROWS")]
        limit: usize,
        /// All of them
        #[arg(long, conflicts_with = "limit")]
        all: bool,
    },
    /// Show one
    Get {
        /// Its id
        id: String,
    },
    /// Make one
    #[command(after_help = FIELDS)]
    Create {
        #[command(flatten)]
        body: Body,
    },
    /// Change one: the members named, and nothing else
    #[command(after_help = FIELDS)]
    Update {
        /// Its id
        id: String,
        #[command(flatten)]
        body: Body,
        #[command(flatten)]
        version: Version,
    },
    /// Delete one
    Delete {
        /// Its id
        id: String,
        #[command(flatten)]
        version: Version,
    },
    /// Take a step: `tasks do claim agent_id=ID`, `messages do approve --id ID version:=1`, `sessions do end --id ID`
    #[command(after_help = FIELDS)]
    Do {
        /// The step: the last part of its path
        step: String,
        /// The record's id, where the step is one record's
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        #[command(flatten)]
        body: Body,
    },
}

/// What is sent.
#[derive(Debug, Args)]
struct Body {
    /// Members of the body, as `name=text` or `name:=json`
    #[arg(value_name = "FIELD")]
    fields: Vec<String>,
    /// The body as JSON: the text itself, `@FILE`, or `-` for standard input. Fields are put over it
    #[arg(long, short, value_name = "JSON")]
    data: Option<String>,
    /// Repeated with the same key, also after a crash, it is done once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Which version the caller has read.
#[derive(Debug, Args)]
struct Version {
    /// Only if it still has this version; refused when somebody was faster
    #[arg(long, value_name = "VERSION")]
    if_version: Option<i64>,
}

#[derive(Debug, Args)]
struct EventArgs {
    /// Only these types, such as `task.updated` or `agent.*`; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Begin after the event with this id; 0 is the first that is kept
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    /// End after so many events
    #[arg(long, value_name = "EVENTS")]
    count: Option<usize>,
}

pub(super) async fn run(args: ApiArgs, global: &Global) -> Result<(), CliError> {
    let client = args.connection.client(global)?;
    let (path, action) = match args.command {
        ApiCommand::Agents(action) => ("/v1/agents", action),
        ApiCommand::Tasks(action) => ("/v1/tasks", action),
        ApiCommand::Messages(action) => ("/v1/messages", action),
        ApiCommand::Activity(action) => ("/v1/activity", action),
        ApiCommand::Sessions(action) => ("/v1/sessions", action),
        ApiCommand::Schedules(action) => ("/v1/schedules", action),
        ApiCommand::Keys(action) => ("/v1/keys", action),
        ApiCommand::Members(action) => ("/v1/members", action),
        ApiCommand::Me => return shown(&client.call(Method::GET, "/v1/me").await?, global.output),
        ApiCommand::Plan => return api_limits::plan(&client.plan().await?, global.output),
        ApiCommand::Usage => return api_limits::usage(&client.usage().await?, global.output),
        ApiCommand::Export { parameters } => return export(&client, &parameters).await,
        ApiCommand::ProviderAccounts(action) => ("/v1/provider-accounts", action),
        ApiCommand::Credentials(action) => ("/v1/credentials", action),
        ApiCommand::Events(args) => return events(&client, args, global.output).await,
        ApiCommand::Call { method, path, body } => {
            if !path.starts_with('/') {
                return Err(CliError::usage(format!("`{path}` is no path: it begins with `/v1/`")));
            }
            return send(&client, method, path, body, None, global.output).await;
        }
    };
    match action {
        Action::List { filters, limit, all } => {
            let limit = if all { usize::MAX } else { limit };
            list(&client, path, &filters, limit, global.output).await
        }
        Action::Get { id } => shown(&client.call(Method::GET, below(path, &id)?).await?, global.output),
        Action::Create { body } => send(&client, Method::POST, path.to_owned(), body, None, global.output).await,
        Action::Update { id, body, version } => {
            send(&client, Method::PATCH, below(path, &id)?, body, version.if_version, global.output).await
        }
        Action::Delete { id, version } => {
            let mut call = client.call::<Value>(Method::DELETE, below(path, &id)?);
            if let Some(version) = version.if_version {
                call = call.version(version);
            }
            match call.await? {
                Value::Null => say(format!("deleted `{id}`")),
                left => shown(&left, global.output)?,
            }
            Ok(())
        }
        Action::Do { step, id, body } => {
            let path = id.map_or(Ok(path.to_owned()), |id| below(path, &id))?;
            send(&client, Method::POST, below(&path, &step)?, body, None, global.output).await
        }
    }
}

/// A path below another. What is typed in is one segment, never a way to another operation.
fn below(path: &str, segment: &str) -> Result<String, CliError> {
    let plain = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if segment.is_empty() || !plain || segment.bytes().all(|byte| byte == b'.') {
        return Err(CliError::usage(format!("`{}` is no id", segment.escape_debug())));
    }
    Ok(format!("{path}/{segment}"))
}

async fn send(
    client: &Client,
    method: Method,
    path: String,
    body: Body,
    version: Option<i64>,
    output: Output,
) -> Result<(), CliError> {
    let mut call = client.call::<Value>(method, path);
    if let Some(body) = Fields::read(body.data.as_deref(), &body.fields)? {
        call = call.body(&body);
    }
    if let Some(key) = body.idempotency_key {
        call = call.idempotency_key(key);
    }
    if let Some(version) = version {
        call = call.version(version);
    }
    shown(&call.await?, output)
}

async fn list(client: &Client, path: &str, filters: &[String], limit: usize, output: Output) -> Result<(), CliError> {
    let query = pairs(filters)?;
    let page = u8::try_from(limit.clamp(1, 200)).unwrap_or(200);
    let mut stream = client.list::<Value>(path, query).page_size(page).stream();
    let mut rows = Vec::new();
    let mut more = false;
    while let Some(row) = stream.try_next().await? {
        more = rows.len() == limit;
        if more {
            break;
        }
        rows.push(row);
    }
    let columns = table::columns(path, rows.first());
    output::list(output, &rows, &columns, |row| columns.iter().map(|name| table::cell(&row[*name])).collect())?;
    if more {
        say(format!("there are more than these {limit}; `--limit` or `--all` shows them"));
    }
    Ok(())
}

fn pairs(filters: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let pair = |filter: &String| {
        let (name, value) = filter.split_once('=').ok_or_else(|| {
            CliError::usage(format!("`{filter}` is no filter")).hint("filters look like `status=pending`")
        })?;
        Ok((name.to_owned(), value.to_owned()))
    };
    filters.iter().map(pair).collect()
}

async fn export(client: &Client, parameters: &[String]) -> Result<(), CliError> {
    let export = client.analytics().export(&CallsOf::default());
    let export = pairs(parameters)?.into_iter().fold(export, |export, (name, value)| export.query(name, value));
    let mut parts = export.stream().await?;
    while let Some(part) = parts.try_next().await? {
        if !output::bytes(&part)? {
            break;
        }
    }
    Ok(())
}

fn shown(answer: &Value, output: Output) -> Result<(), CliError> {
    match answer {
        Value::Null => Ok(()),
        Value::Object(members) => {
            let lines: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), table::cell(value))).collect();
            output::record(output, answer, &lines)
        }
        other => output::json(other),
    }
}

async fn events(client: &Client, args: EventArgs, format: Output) -> Result<(), CliError> {
    let mut events = client.events().types(args.types);
    if let Some(id) = args.after {
        events = events.after(id);
    }
    let mut stream = events.stream();
    let mut told = 0;
    while args.count.is_none_or(|count| told < count) {
        let Some(event) = stream.try_next().await? else { break };
        told += 1;
        let line = match (event, format) {
            (Event::Reset { newest }, Output::Table) => {
                say(format!("events up to {newest} are gone or were not seen; read everything anew"));
                continue;
            }
            (Event::Reset { newest }, Output::Json) => json!({ "type": "reset", "newest": newest }).to_string(),
            (Event::Published(event), Output::Table) => {
                let at = output::time(event.created_at);
                format!("{at}  {}  {}  {}", event.id, table::cell(&Value::String(event.kind)), table::cell(&event.data))
            }
            (Event::Published(event), Output::Json) => {
                json!({ "id": event.id, "type": event.kind, "created_at": event.created_at, "data": event.data })
                    .to_string()
            }
        };
        output::print(&line)?;
    }
    Ok(())
}

impl Connection {
    fn client(self, global: &Global) -> Result<Client, CliError> {
        let local = LocalRun::read(&global.data_dir);
        let key = self.key(local.as_ref())?;
        let url = self.url.or_else(|| local.map(|local| local.base_url)).ok_or_else(|| {
            CliError::usage("no server is named")
                .hint("pass `--url` (or TENANTRY_URL), or start `tenantry dev` in this directory first")
        })?;
        Ok(Client::builder(url, &key).build()?)
    }

    fn key(&self, local: Option<&LocalRun>) -> Result<String, CliError> {
        if let Some(slug) = &self.demo {
            return local.and_then(|local| local.keys.get(slug)).cloned().ok_or_else(|| {
                CliError::usage(format!("there is no demo tenant `{slug}` here"))
                    .hint("start `tenantry dev` in this directory first; its tenants are `acme` and `globex`")
            });
        }
        if let Some(key) = &self.api_key {
            return Ok(key.clone());
        }
        let file = self.api_key_file.as_ref().ok_or_else(|| {
            CliError::usage("no key is given")
                .hint("pass TENANTRY_API_KEY, `--api-key-file` or `--api-key`, or `--demo acme` with a running `tenantry dev`")
        })?;
        std::fs::read_to_string(file)
            .map_err(|error| CliError::usage(format!("cannot read the key file `{}`: {error}", file.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_in_stays_one_segment() {
        assert_eq!(below("/v1/tasks", "0192f0a1-7e3c").unwrap(), "/v1/tasks/0192f0a1-7e3c");
        for bad in ["", "..", "a/b", "a?b", "%2e", "a b", "a#b"] {
            assert!(below("/v1/tasks", bad).is_err(), "{bad:?}");
        }
    }
}
