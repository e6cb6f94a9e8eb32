//! `tenantry dev`: everything on one machine, from an empty directory.

mod demo;
mod postgres;
mod tour;

use std::path::Path;

use clap::Args;
use tenantry::{Server, Settings};
use tenantry_postgres::migrate::{Events, Fleet, Options};
use tenantry_postgres::{Actor, DatabaseConfig, create_database, initialise};

use crate::cli::{CliError, Global, LocalRun, Signals, bind, ensure_master_key, read_or_create_secret, say};
use postgres::Postgres;

const DATABASE: &str = "tenantry";

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Address and port; port 0 takes a free one
    #[arg(long, env = "TENANTRY_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Do not print the tour
    #[arg(long)]
    no_tour: bool,
}

pub(crate) async fn run(args: DevArgs, global: &Global, mut settings: Settings) -> Result<(), CliError> {
    if let Some(listen) = args.listen {
        settings.listen = listen;
    }
    let mut signals = Signals::catch()?;
    // The address first: a second start beside a running one should say so at once.
    let listener = bind(&settings.listen).await?;
    let base_url = format!("http://{}", listener.local_addr()?);
    global.choose_spool(&mut settings);
    let data_dir = &global.data_dir;
    say(format!("starting PostgreSQL in `{}`", data_dir.display()));
    let postgres = tokio::select! {
        started = Postgres::start(data_dir) => started?,
        () = signals.received() => return Ok(()),
    };
    // Whatever an interruption interrupts, PostgreSQL is stopped in good order.
    let prepared = tokio::select! {
        prepared = prepare(&postgres, data_dir, base_url, &settings) => prepared.map(Some),
        () = signals.received() => Ok(None),
    };
    let outcome = match prepared {
        Ok(Some((server, local))) => {
            tour::print(&local, data_dir, !args.no_tour);
            server.serve(listener, async { signals.received().await }).await;
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    let stopped = postgres.stop().await;
    outcome.and(stopped)
}

/// Brings database, server and demo tenants to where the tour begins. Repeatable: what is there already stays.
async fn prepare(
    postgres: &Postgres,
    data_dir: &Path,
    base_url: String,
    settings: &Settings,
) -> Result<(Server, LocalRun), CliError> {
    let (secret, _) = read_or_create_secret(&LocalRun::secret_file(data_dir))?;
    create_database(&postgres.superuser_url("postgres"), DATABASE).await?;
    let database_url = postgres.public_url(DATABASE);
    let database = DatabaseConfig::new(&database_url, secret).map_err(|error| CliError::failed(error.to_string()))?;
    initialise(&postgres.superuser_url(DATABASE), &database).await?;
    migrate(&database).await?;
    let mut local = LocalRun { database_url, base_url, ..LocalRun::read(data_dir).unwrap_or_default() };
    let mut settings = settings.clone();
    ensure_master_key(data_dir, &mut settings.secrets)?;
    let server = Server::start(&database, &settings).await?;
    demo::fill(server.state(), &mut local).await?;
    local.write(data_dir)?;
    Ok((server, local))
}

/// Brings tenants of an earlier start to this program's version.
async fn migrate(database: &DatabaseConfig) -> Result<(), CliError> {
    let fleet = Fleet::new(database, workforce::tenant_schema().migrations);
    let report = fleet.up(&Options::new(Actor::system("tenantry dev")), &Events::none()).await?;
    if report.migrated > 0 {
        say(format!("migrated {} tenants to version {}", report.migrated, report.target));
    }
    for failure in &report.failed {
        say(format!("warning: `{}` stays at version {}: {}", failure.slug, failure.at, failure.error));
    }
    Ok(())
}
