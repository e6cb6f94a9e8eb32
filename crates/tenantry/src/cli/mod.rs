//! Commands: parsed here, one file per group.

mod api;
mod api_body;
mod api_limits;
mod api_table;
mod audit;
mod audit_export;
mod audit_verify;
mod confirm;
mod doctor;
mod error;
mod import;
mod import_file;
mod import_report;
mod init;
mod key;
mod member;
mod metering;
mod metering_bills;
mod metering_close;
mod metering_replay;
mod metering_reports;
mod metering_reprice;
mod metering_verify;
mod migrate;
mod migrate_drift;
mod migrate_lint;
mod migrate_plan;
mod migrate_progress;
mod migrate_run;
mod open;
mod operator;
mod output;
mod plan;
mod prices;
mod progress;
mod quota;
mod reference;
mod secret;
mod secrets;
mod serve;
mod tenant;
mod tenant_args;
mod tenant_usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tenantry::{LogFormat, Settings};

use crate::{dev, logging};

pub(crate) use error::CliError;
pub(crate) use open::LocalRun;
pub(crate) use output::say;
pub(crate) use secret::{read_or_create_secret, write_private};
pub(crate) use secrets::ensure_master_key;
pub(crate) use serve::{Signals, bind};

/// A multi-tenant backend on PostgreSQL
///
/// Each customer gets a schema, a database role, limits and keys of its own. Start with `tenantry dev`: it runs a private
/// PostgreSQL with two demo tenants and prints a tour.
#[derive(Debug, Parser)]
#[command(name = "tenantry", version, after_help = error::EXIT_CODES, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Global {
    /// Settings file; `tenantry.toml` in the working directory is read when it exists
    #[arg(long, global = true, env = "TENANTRY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database; without one, the database of a running `tenantry dev`
    #[arg(long, global = true, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// File with the installation's secret
    #[arg(long, global = true, env = "TENANTRY_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// File with the master keys that tenants' secrets are kept under
    #[arg(long, global = true, env = "TENANTRY_MASTER_KEY_FILE", value_name = "FILE")]
    master_key_file: Option<PathBuf>,
    /// Directory of `tenantry dev`
    #[arg(long, global = true, env = "TENANTRY_DATA_DIR", value_name = "DIR", default_value = ".tenantry")]
    pub(crate) data_dir: PathBuf,
    /// How to print results
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    output: Output,
    /// What to log, such as `debug` or `info,tenantry::access=warn`
    #[arg(long, global = true, env = "TENANTRY_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// The shape of log lines
    #[arg(long, global = true, env = "TENANTRY_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    log_format: Option<LogShape>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogShape {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on a private PostgreSQL, with two demo tenants and a tour
    Dev(dev::DevArgs),
    /// Prepare a database: roles, privileges, registry; repeatable
    Init(init::InitArgs),
    /// Look for what is wrong with the database, the installation and the pooler, and say how to mend it
    Doctor(doctor::DoctorArgs),
    /// Serve HTTP
    Serve(serve::ServeArgs),
    /// Migrate all tenants' schemas, and the registry's and the analytics' tables
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Create, show and end tenants
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Tenants' API keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Tenants' members: who may act for them with tokens of the identity provider
    #[command(subcommand)]
    Member(member::MemberCommand),
    /// What calls to providers cost: the price catalogue
    #[command(subcommand)]
    Prices(prices::PricesCommand),
    /// Calls to providers as they are recorded, and what they cost all tenants: sums compared, traces, reports, bills, statements
    #[command(subcommand)]
    Metering(metering::MeteringCommand),
    /// Plans and their limits
    #[command(subcommand)]
    Plan(plan::PlanCommand),
    /// The counters behind tenants' limits
    #[command(subcommand)]
    Quota(quota::QuotaCommand),
    /// Operators of the control plane and their tokens
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// Use the API as a tenant: its records and events, over HTTP with a key of the tenant
    Api(api::ApiArgs),
    /// The trail of what was done by whom: verify it, write it out
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Tenants' secrets at rest: the keys they are kept under
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Print the OpenAPI document
    Openapi,
    /// Print the reference of error codes, as Markdown
    Errors,
}

impl Global {
    /// The settings file with what the command line and the environment put over it.
    pub(crate) fn settings(&self) -> Result<Settings, CliError> {
        let mut settings = Settings::read(self.config.as_deref())?;
        let replace = |given: &Option<String>, setting: &mut Option<String>| {
            if let Some(value) = given {
                *setting = Some(value.clone());
            }
        };
        replace(&self.database_url, &mut settings.database_url);
        if self.secret_file.is_some() {
            settings.secret_file.clone_from(&self.secret_file);
        }
        self.name_master_keys(&mut settings.secrets);
        if let Some(filter) = &self.log {
            settings.log.filter.clone_from(filter);
        }
        match self.log_format {
            Some(LogShape::Json) => settings.log.format = LogFormat::Json,
            Some(LogShape::Text) => settings.log.format = LogFormat::Text,
            None => {}
        }
        Ok(settings)
    }
}

/// Runs the command of the process's arguments.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = cli.global.output;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CliError::failed(format!("cannot start the runtime: {error}")).report(output),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(output),
    }
}

async fn run(cli: Cli) -> Result<(), CliError> {
    let Cli { global, command } = cli;
    let mut settings = global.settings()?;
    let long_running = matches!(command, Command::Dev(_) | Command::Serve(_));
    if !long_running && global.log.is_none() {
        "warn".clone_into(&mut settings.log.filter);
    }
    logging::start(&settings.log)?;
    match command {
        // Boxed: it is a whole server.
        Command::Dev(args) => Box::pin(dev::run(args, &global, settings)).await,
        Command::Init(args) => init::run(args, &global, &settings).await,
        Command::Doctor(args) => doctor::run(args, &global, settings).await,
        Command::Serve(args) => serve::run(args, &global, settings).await,
        Command::Migrate(command) => migrate::run(command, &global, &settings).await,
        Command::Tenant(command) => tenant::run(command, &global, &settings).await,
        Command::Key(command) => key::run(command, &global, &settings).await,
        Command::Member(command) => member::run(command, &global, &settings).await,
        Command::Prices(command) => prices::run(command, &global, &settings).await,
        Command::Plan(command) => plan::run(command, &global, &settings).await,
        Command::Quota(command) => quota::run(command, &global, &settings).await,
        Command::Operator(command) => operator::run(command, &global, &settings).await,
        Command::Api(args) => api::run(args, &global).await,
        Command::Audit(command) => audit::run(command, &global, &settings).await,
        Command::Metering(command) => metering::run(command, &global, &settings).await,
        Command::Secrets(command) => secrets::run(command, &global, &settings).await,
        Command::Openapi => reference::openapi(),
        Command::Errors => reference::errors(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }
}
